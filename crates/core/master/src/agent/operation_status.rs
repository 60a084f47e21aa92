//! News of an operation.

use mezzo_ids::{AgentId, FrameworkId, Uuid};
use mezzo_protocol::link;

use crate::{
    agents,
    master::{Master, Moment},
    metrics::Counter,
    operations,
};

/// Books the status; forwards it when the operation has an id, otherwise acknowledges it here (rule 204).
pub(super) fn on_operation_status(
    master: &mut Master,
    moment: &mut Moment<'_>,
    agent: &AgentId,
    update: link::OperationStatusUpdate,
) {
    master.count(Counter::MessagesOperationStatusUpdate);
    let (Some(uuid), Some(status)) = (Uuid::from_slice(&update.operation_uuid), update.status) else {
        return master.count(Counter::InvalidOperationStatusUpdates);
    };
    let framework = update.framework_id.map(|id| FrameworkId::from(id.value));
    let latest = update.latest_status.unwrap_or_else(|| status.clone());
    operations::on_status(master, moment, agent, &uuid, framework.as_ref(), status, latest);
    agents::check_drained(master, moment, agent);
}
