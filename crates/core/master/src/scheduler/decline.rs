//! DECLINE: offers go back and are not made again for a while.

use mezzo_allocator::Filter;
use mezzo_ids::FrameworkId;
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
    let mut declined = 0;
    for id in &decline.offer_ids {
        let own = master.framework_offers.get(framework).and_then(|offers| offers.get(id.value.as_str()));
        if let Some(id) = own.cloned() {
            declined += 1;
            master.withdraw_offer(moment, &id, filter);
        }
    }
    if declined > 0 {
        master.counters().offers(framework, OfferFate::Declined, declined);
    }
}
