//! DECLINE: offers go back and are not made again for a while.

use mezzo_allocator::Filter;
use mezzo_ids::{FrameworkId, OfferId};
use mezzo_mesos::v1::scheduler::call;

use crate::{
    master::{Master, Moment},
    metrics::{Counter, OfferFate},
};

/// Returns the framework's own offers; ids that are not (any more) are ignored (rule 103).
pub(super) fn on_decline(
    master: &mut Master,
    moment: &Moment<'_>,
    framework: &FrameworkId,
    decline: &call::Decline,
) {
    master.count(Counter::MessagesDeclineOffers);
    let filter = Some(Filter::of_decline(decline.filters.as_ref()));
    for id in &decline.offer_ids {
        let id = OfferId::from(id.value.as_str());
        if master.framework_offers.get(framework).is_some_and(|offers| offers.contains(&id)) {
            master.counters().offers(framework, OfferFate::Declined, 1);
            master.withdraw_offer(moment, &id, filter);
        }
    }
}
