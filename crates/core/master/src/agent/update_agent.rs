//! The totals of an agent changed.

use mezzo_ids::{AgentId, Uuid};
use mezzo_protocol::link;
use mezzo_resources::Resources;

use crate::{
    master::{Master, Moment},
    metrics::Counter,
    operations,
    profiles::agent_profile,
};

/// Takes new totals. Offers of revocable resources are taken back when those changed (rule 96).
pub(super) fn on_update_agent(
    master: &mut Master,
    moment: &mut Moment<'_>,
    id: &AgentId,
    update: link::UpdateAgent,
) {
    master.count(Counter::MessagesUpdateAgent);
    let total = Resources::from_proto(&update.resources);
    let oversubscribed = Resources::from_proto(&update.oversubscribed);
    let (Ok(mut total), Ok(oversubscribed)) = (total, oversubscribed) else { return };
    total += &oversubscribed;
    let total = master.alike.share(total);
    let Some(agent) = master.agent_mut(id) else { return };
    if let Some(version) = Uuid::from_slice(&update.resource_version_uuid) {
        agent.resource_version = version;
    }
    let revocable_changed = agent.total.revocable() != total.revocable();
    let changed = agent.total != total;
    agent.total = total;
    let profile = agent_profile(agent);
    if revocable_changed {
        let offers: Vec<_> = agent
            .offers
            .values()
            .filter(|offer| !offer.resources.revocable().is_empty())
            .map(|offer| offer.id.clone())
            .collect();
        for offer in offers {
            master.rescind_offer(moment, &offer);
        }
    }
    if changed {
        master.allocator.update_agent(id, profile);
    }
    if !update.operations.is_empty() {
        operations::on_agent_returned(master, moment, id, update.operations);
    }
}
