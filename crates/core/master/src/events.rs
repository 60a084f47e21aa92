//! What is told to schedulers and to operators who watch.

use std::sync::Arc;

use mezzo_ids::{AgentId, FrameworkId};
use mezzo_mesos::v1::{self, master, scheduler};
use mezzo_resources::Form;

use crate::{
    effect::Effect,
    input::StreamId,
    master::Master,
    state::{Agent, Framework},
    status::time_info,
};

/// An event with nothing but its type.
pub(crate) fn scheduler_event(r#type: scheduler::event::Type) -> scheduler::Event {
    scheduler::Event { r#type: Some(r#type.into()), ..Default::default() }
}

/// The fatal event that ends a stream.
pub(crate) fn error_event(message: impl Into<String>) -> scheduler::Event {
    let error = scheduler::event::Error { message: message.into() };
    scheduler::Event { error: Some(error), ..scheduler_event(scheduler::event::Type::Error) }
}

fn master_event(r#type: master::event::Type) -> master::Event {
    master::Event { r#type: Some(r#type.into()), ..Default::default() }
}

impl Master {
    /// Sends an event to a framework's scheduler, if it is connected.
    pub(crate) fn send(&mut self, framework: &FrameworkId, event: scheduler::Event) {
        if let Some((stream, _)) = self.state.frameworks.get(framework).and_then(|f| f.stream.as_ref()) {
            Arc::make_mut(&mut self.state.counters).event(framework, event.r#type());
            let effect = Effect::Event { stream: *stream, event: Arc::new(event) };
            self.effects.push(effect);
        }
    }

    /// Sends a status to a framework's scheduler, if it is connected.
    pub(crate) fn send_update(&mut self, framework: &FrameworkId, status: v1::TaskStatus) {
        let update = scheduler::event::Update { status };
        let event =
            scheduler::Event { update: Some(update), ..scheduler_event(scheduler::event::Type::Update) };
        self.send(framework, event);
    }

    /// Sends a status of an operation to a framework's scheduler, if it is connected.
    pub(crate) fn send_operation_status(&mut self, framework: &FrameworkId, status: v1::OperationStatus) {
        let update = scheduler::event::UpdateOperationStatus { status };
        let event = scheduler::Event {
            update_operation_status: Some(Box::new(update)),
            ..scheduler_event(scheduler::event::Type::UpdateOperationStatus)
        };
        self.send(framework, event);
    }

    /// Tells a framework that an agent, or an executor on it, is lost.
    pub(crate) fn send_failure(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        executor: Option<(v1::ExecutorId, i32)>,
    ) {
        let (executor_id, status) = executor.unzip();
        let agent_id = Some(crate::status::agent_id(agent));
        let failure = scheduler::event::Failure { agent_id, executor_id, status };
        let event =
            scheduler::Event { failure: Some(failure), ..scheduler_event(scheduler::event::Type::Failure) };
        self.send(framework, event);
    }

    /// Ends a stream with an ERROR event (rules 51, 56).
    pub(crate) fn close_with_error(&mut self, stream: StreamId, message: impl Into<String>) {
        self.effects.push(Effect::Event { stream, event: Arc::new(error_event(message)) });
        self.effects.push(Effect::CloseStream(stream));
    }

    fn publish(&mut self, event: master::Event) {
        self.effects.push(Effect::Publish(Arc::new(event)));
    }

    pub(crate) fn publish_task_added(&mut self, task: &v1::Task) {
        if !self.watched {
            return;
        }
        let added = master::event::TaskAdded { task: task.clone() };
        self.publish(master::Event {
            task_added: Some(Box::new(added)),
            ..master_event(master::event::Type::TaskAdded)
        });
    }

    pub(crate) fn publish_task_updated(
        &mut self,
        framework: &FrameworkId,
        state: v1::TaskState,
        status: v1::TaskStatus,
    ) {
        let framework_id = v1::FrameworkId { value: framework.as_str().into() };
        let updated = master::event::TaskUpdated { framework_id, status, state: state.into() };
        self.publish(master::Event {
            task_updated: Some(Box::new(updated)),
            ..master_event(master::event::Type::TaskUpdated)
        });
    }

    pub(crate) fn publish_framework_added(&mut self, id: &FrameworkId) {
        let Some(framework) = self.state.frameworks.get(id) else { return };
        let added = master::event::FrameworkAdded { framework: framework_view(framework) };
        self.publish(master::Event {
            framework_added: Some(Box::new(added)),
            ..master_event(master::event::Type::FrameworkAdded)
        });
    }

    pub(crate) fn publish_framework_updated(&mut self, id: &FrameworkId) {
        let Some(framework) = self.state.frameworks.get(id) else { return };
        let updated = master::event::FrameworkUpdated { framework: framework_view(framework) };
        self.publish(master::Event {
            framework_updated: Some(Box::new(updated)),
            ..master_event(master::event::Type::FrameworkUpdated)
        });
    }

    pub(crate) fn publish_framework_removed(&mut self, info: &v1::FrameworkInfo) {
        let removed = master::event::FrameworkRemoved { framework_info: info.clone() };
        self.publish(master::Event {
            framework_removed: Some(Box::new(removed)),
            ..master_event(master::event::Type::FrameworkRemoved)
        });
    }

    pub(crate) fn publish_agent_added(&mut self, id: &AgentId) {
        let Some(agent) = self.state.agents.get(id) else { return };
        let added = master::event::AgentAdded { agent: agent_view(agent, &self.config.agent_url_path) };
        self.publish(master::Event {
            agent_added: Some(Box::new(added)),
            ..master_event(master::event::Type::AgentAdded)
        });
    }

    pub(crate) fn publish_agent_removed(&mut self, id: &AgentId) {
        let removed = master::event::AgentRemoved { agent_id: crate::status::agent_id(id) };
        self.publish(master::Event {
            agent_removed: Some(Box::new(removed)),
            ..master_event(master::event::Type::AgentRemoved)
        });
    }
}

/// A framework as events show it: without offers and sums, which only the read calls have.
pub(crate) fn framework_view(framework: &Framework) -> master::response::get_frameworks::Framework {
    let registered = time_info(framework.registered);
    master::response::get_frameworks::Framework {
        framework_info: (*framework.info).clone(),
        active: framework.active,
        connected: framework.stream.is_some(),
        recovered: framework.recovered,
        registered_time: Some(registered),
        reregistered_time: Some(framework.reregistered.map_or(registered, time_info)),
        unregistered_time: Some(v1::TimeInfo {
            nanoseconds: framework.unregistered.map_or(0, |at| at.as_nanos()),
        }),
        offer_constraints: framework.constraints.as_deref().cloned(),
        ..Default::default()
    }
}

/// An agent as AGENT_ADDED shows it.
pub(crate) fn agent_view(agent: &Agent, url_path: &str) -> master::response::get_agents::Agent {
    master::response::get_agents::Agent {
        agent_info: (*agent.info).clone(),
        active: agent.active,
        deactivated: Some(agent.deactivated),
        version: agent.version.clone(),
        pid: Some(format!("{}@{}:{}", url_path.trim_start_matches('/'), agent.ip, agent.port)),
        registered_time: Some(time_info(agent.registered)),
        reregistered_time: agent.reregistered.map(time_info),
        total_resources: agent.total.to_proto(Form::Endpoint),
        capabilities: agent.capabilities.to_vec(),
        drain_info: agent.drain,
        estimated_drain_start_time: agent.drain_started.map(time_info),
        ..Default::default()
    }
}
