//! Calls about offers.

use std::time::Duration;

use mezzo_mesos::v1::{
    self, Filters, offer,
    scheduler::{Call, call},
};

/// Uses offers of one agent for these operations.
pub fn accept(
    framework: &v1::FrameworkId,
    offers: Vec<v1::OfferId>,
    operations: Vec<offer::Operation>,
) -> Call {
    let accept = call::Accept { offer_ids: offers, operations, filters: None };
    Call {
        framework_id: Some(framework.clone()),
        r#type: Some(call::Type::Accept.into()),
        accept: Some(accept),
        ..Default::default()
    }
}

/// Gives offers back: for so long, or, when they could not be judged, for the master's short default (rule 96).
pub fn decline(framework: &v1::FrameworkId, offers: Vec<v1::OfferId>, refuse: Option<Duration>) -> Call {
    let filters = refuse.map(|refuse| Filters { refuse_seconds: Some(refuse.as_secs_f64()) });
    Call {
        framework_id: Some(framework.clone()),
        r#type: Some(call::Type::Decline.into()),
        decline: Some(call::Decline { offer_ids: offers, filters }),
        ..Default::default()
    }
}
