//! News of a task: forwarded to its scheduler first, then booked.

use mezzo_ids::{AgentId, TaskId};
use mezzo_mesos::v1::TaskState;
use mezzo_protocol::link;

use crate::{
    master::{Master, Moment},
    metrics::Counter,
};

/// Forwards a status and applies it. A status of a task that is not known any more is forwarded as
/// well: its scheduler has to acknowledge it, or the agent would send it for ever.
pub(super) fn on_status_update(
    master: &mut Master,
    moment: &mut Moment<'_>,
    agent: &AgentId,
    update: link::StatusUpdate,
) {
    master.count(Counter::MessagesStatusUpdate);
    let latest = TaskState::try_from(update.latest_state).ok();
    let (Some(framework), Some(status)) = (update.framework_id, update.status) else {
        return master.count(Counter::InvalidStatusUpdates);
    };
    let framework = master.framework_id(&framework.value);
    if !master.state.frameworks.contains_key(&framework) {
        return master.count(Counter::InvalidStatusUpdates);
    }
    master.count(Counter::ValidStatusUpdates);
    let task = TaskId::from(status.task_id.value.as_str());
    if master.task_on(agent, &framework, &task).is_none() {
        return master.send_update(&framework, status);
    }
    master.send_update(&framework, status.clone());
    master.update_task_on(moment, agent, &framework, &task, status, latest);
}
