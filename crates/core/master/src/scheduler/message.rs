//! MESSAGE: bytes for an executor, best effort.

use mezzo_ids::{AgentId, FrameworkId};
use mezzo_mesos::v1::{self, scheduler::call};
use mezzo_protocol::link;

use crate::{frameworks::to_agent, master::Master, metrics::Counter};

/// Passes the bytes on to the agent, which may know the executor.
pub(super) fn on_message(master: &mut Master, framework: &FrameworkId, message: call::Message) {
    master.count(Counter::MessagesFrameworkToExecutor);
    let agent = AgentId::from(message.agent_id.value.as_str());
    let Some(link) = master.state.agents.get(&agent).and_then(|agent| agent.link) else {
        return master.count(Counter::InvalidFrameworkToExecutorMessages);
    };
    master.count(Counter::ValidFrameworkToExecutorMessages);
    let message = link::FrameworkMessage {
        framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
        executor_id: Some(message.executor_id),
        data: message.data,
    };
    master.effects.push(to_agent(link, link::to_agent::Message::FrameworkMessage(message)));
}
