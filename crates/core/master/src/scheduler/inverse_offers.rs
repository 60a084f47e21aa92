//! ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS: answers that are only recorded (rule 280).

use mezzo_ids::FrameworkId;
use mezzo_mesos::v1::{allocator::inverse_offer_status::Status, scheduler::call};

use crate::master::{Master, Moment};

/// The framework will vacate.
pub(super) fn on_accept(
    master: &mut Master,
    moment: &Moment<'_>,
    framework: &FrameworkId,
    accept: &call::AcceptInverseOffers,
) {
    let (ids, filters) = (&accept.inverse_offer_ids, accept.filters.as_ref());
    master.answer_inverse_offers(moment, framework, ids, Status::Accept, filters);
}

/// The framework will not vacate.
pub(super) fn on_decline(
    master: &mut Master,
    moment: &Moment<'_>,
    framework: &FrameworkId,
    decline: &call::DeclineInverseOffers,
) {
    let (ids, filters) = (&decline.inverse_offer_ids, decline.filters.as_ref());
    master.answer_inverse_offers(moment, framework, ids, Status::Decline, filters);
}
