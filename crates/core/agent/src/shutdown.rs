//! Ending executors, frameworks and the agent itself (rules 230, 249, 252, 297, 315, 414).

use std::time::Duration;

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{self, Unregister, to_master},
    records::{ExecutorKind, FrameworkEnded, agent_record::Record},
};
use v1::executor::{Event, event};

use crate::{
    agent::{Agent, Moment},
    config::KILL_GRACE_DEFAULT,
    effect::Effect,
    environment,
    state::{KillCause, Phase},
    timers::Timer,
};

impl Agent {
    pub(crate) fn on_shutdown_executor(&mut self, m: &mut Moment<'_>, call: link::ShutdownExecutor) {
        let (Some(framework), Some(executor)) = (call.framework_id, call.executor_id) else { return };
        self.shut_down(m, &FrameworkId::from(framework.value), &ExecutorId::from(executor.value));
    }

    pub(crate) fn on_shutdown_framework(&mut self, m: &mut Moment<'_>, call: link::ShutdownFramework) {
        let Some(id) = call.framework_id else { return };
        self.end_framework(m, &FrameworkId::from(id.value));
    }

    fn end_framework(&mut self, m: &mut Moment<'_>, id: &FrameworkId) {
        // Nobody is left to acknowledge.
        let before = self.streams.len();
        self.streams.retain(|(framework, _), _| framework != id);
        let Some(framework) = self.framework_mut(id) else {
            if self.streams.len() < before {
                // Updates of tasks that were refused outlive their framework here.
                let framework_id = Some(v1::FrameworkId { value: id.as_str().into() });
                self.persist(Record::FrameworkEnded(FrameworkEnded { framework_id }));
            }
            return;
        };
        framework.terminating = true;
        let executors: Vec<ExecutorId> = framework.executors.keys().cloned().collect();
        for executor in executors {
            self.shut_down(m, id, &executor);
            self.settle(m, id, &executor);
        }
        if self.framework(id).is_some_and(|f| f.executors.is_empty()) {
            self.complete_framework(m, id);
        }
    }

    /// Terminal tasks of a framework that is gone wait for nobody.
    fn settle(&mut self, m: &mut Moment<'_>, framework: &FrameworkId, id: &ExecutorId) {
        let Some(executor) = self.executor(framework, id) else { return };
        let over: Vec<TaskId> =
            executor.tasks.iter().filter(|(_, t)| t.is_terminal()).map(|(id, _)| id.clone()).collect();
        for task in over {
            self.complete_task(m, framework, id, &task);
        }
        self.complete_executor_if_done(m, framework, id);
    }

    /// Asks an executor to end, with a time limit.
    fn shut_down(&mut self, m: &mut Moment<'_>, framework: &FrameworkId, id: &ExecutorId) {
        let Some(executor) = self.executor(framework, id) else { return };
        if matches!(executor.phase, Phase::Terminated | Phase::Terminating) {
            return;
        }
        let grace = environment::shutdown_grace(&self.state.config, &executor.info);
        match executor.kind {
            ExecutorKind::Command => self.end_played(m, framework, id, Some(grace)),
            // Kill policies do not count at a shutdown (rule 315).
            ExecutorKind::Default => self.end_played(m, framework, id, Some(KILL_GRACE_DEFAULT)),
            _ => {
                if let Some(stream) = executor.stream {
                    let event = Event { r#type: Some(event::Type::Shutdown as i32), ..Default::default() };
                    self.event(stream, event);
                    self.begin_shutdown(m, framework, id);
                } else {
                    // Nobody listens who could end by himself.
                    self.destroy_executor(framework, id, None);
                }
            }
        }
    }

    /// Kills all tasks whose executor the agent plays.
    fn end_played(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        grace: Option<Duration>,
    ) {
        let Some(executor) = self.executor(framework, id) else { return };
        if executor.phase == Phase::Registering && executor.kind == ExecutorKind::Default {
            return self.destroy_executor(framework, id, None);
        }
        let tasks: Vec<TaskId> =
            executor.tasks.iter().filter(|(_, t)| !t.is_terminal()).map(|(id, _)| id.clone()).collect();
        for task in tasks {
            self.kill_played(m, framework, id, &task, grace, KillCause::Request);
        }
    }

    /// The executor was told to end; its container is destroyed when it does not (rule 297).
    pub(crate) fn begin_shutdown(&mut self, m: &Moment<'_>, framework: &FrameworkId, id: &ExecutorId) {
        let config = self.state.config.clone();
        let Some(executor) = self.executor_mut(framework, id) else { return };
        executor.phase = Phase::Terminating;
        let grace = environment::shutdown_grace(&config, &executor.info);
        let timer = Timer::ExecutorShutdown(framework.clone(), id.clone(), executor.container.clone());
        self.timers.set(m.now + grace, timer);
    }

    pub(crate) fn on_shutdown_timeout(
        &mut self,
        framework: &FrameworkId,
        id: &ExecutorId,
        container: &ContainerId,
    ) {
        let late = self
            .executor(framework, id)
            .is_some_and(|e| e.container == *container && e.phase == Phase::Terminating);
        if late {
            self.destroy_with_children(container.clone());
        }
    }

    /// The master wants this agent to end, for example because it was marked gone.
    pub(crate) fn on_shutdown(&mut self, m: &mut Moment<'_>, message: String) {
        let message =
            if message.is_empty() { "The master asked this agent to shut down".into() } else { message };
        self.leave(m, 1, message);
    }

    pub(crate) fn on_leave(&mut self, m: &mut Moment<'_>) {
        if self.state.registered {
            self.tell(to_master::Message::Unregister(Unregister {}));
        }
        self.leave(m, 0, "Left the cluster".into());
    }

    pub(crate) fn leave(&mut self, m: &mut Moment<'_>, status: i32, message: String) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some((status, message));
        let frameworks: Vec<FrameworkId> = self.state.frameworks.keys().cloned().collect();
        for framework in frameworks {
            self.end_framework(m, &framework);
        }
        self.exit_when_empty();
    }

    pub(crate) fn exit_when_empty(&mut self) {
        if let Some((status, message)) = self.leaving.clone().filter(|_| self.state.frameworks.is_empty()) {
            self.effects.push(Effect::Exit { status, message });
        }
    }
}
