//! Executors end, and speak to their schedulers.

use mezzo_ids::{AgentId, ExecutorId, FrameworkId};
use mezzo_mesos::v1::scheduler;
use mezzo_protocol::link;

use crate::{
    events::scheduler_event,
    master::{Master, Moment},
    metrics::Counter,
    status,
};

/// An executor ended: its resources are free, and its framework is told unless it was one that stands
/// in for a command (rule 288).
pub(super) fn on_exited(
    master: &mut Master,
    moment: &mut Moment<'_>,
    agent: &AgentId,
    exited: link::ExecutorExited,
) {
    master.count(Counter::MessagesExitedExecutor);
    let (Some(framework), Some(executor_id)) = (exited.framework_id, exited.executor_id) else { return };
    let framework = FrameworkId::from(framework.value);
    let executor = ExecutorId::from(executor_id.value.as_str());
    master.remove_executor(moment, &framework, agent, &executor);
    if !exited.command_executor {
        master.send_failure(&framework, agent, Some((executor_id, exited.status)));
    }
}

/// Bytes of an executor for its scheduler.
pub(super) fn on_message(master: &mut Master, agent: &AgentId, message: link::ExecutorMessage) {
    master.count(Counter::MessagesExecutorToFramework);
    let (Some(framework), Some(executor_id)) = (message.framework_id, message.executor_id) else {
        return master.count(Counter::InvalidExecutorToFrameworkMessages);
    };
    let framework = FrameworkId::from(framework.value);
    if master.state.frameworks.get(&framework).is_none_or(|f| f.stream.is_none()) {
        return master.count(Counter::InvalidExecutorToFrameworkMessages);
    }
    master.count(Counter::ValidExecutorToFrameworkMessages);
    let message = Some(scheduler::event::Message {
        agent_id: status::agent_id(agent),
        executor_id,
        data: message.data,
    });
    master.send(&framework, scheduler::Event { message, ..scheduler_event(scheduler::event::Type::Message) });
}
