//! Kills: asked for by the scheduler, by an operator's drain, by a failed check or by the clock
//! (rules 225 to 229, 304 to 306, 314).

use std::time::Duration;

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;
use mezzo_protocol::{
    link,
    records::{ExecutorKind, KillRecord, agent_record::Record},
};
use mezzo_time::Timestamp;
use v1::executor::{Event, event};

use crate::{
    agent::{Agent, Moment},
    config::{KILL_GRACE_DEFAULT, KILL_REPEAT},
    effect::Effect,
    resources,
    state::{Kill, KillCause, Phase, Stage, Verdict, is_terminal},
    timers::Timer,
    updates::substitute,
};

const SIGTERM: i32 = 15;
/// What is told of a task that was killed before it ran.
const KILLED_EARLY: &str = "Killed before delivery to the executor";

impl Agent {
    pub(crate) fn on_kill(&mut self, m: &mut Moment<'_>, kill: link::Kill) {
        let (Some(framework), Some(task)) = (kill.framework_id, kill.task_id) else { return };
        let framework = FrameworkId::from(framework.value);
        let task = TaskId::from(task.value);
        let Some(owner) = self.framework(&framework) else { return };
        if owner.terminating {
            return;
        }
        let Some(executor) = self.executor_of(&framework, &task) else {
            if self.streams.contains_key(&(framework.clone(), task.clone())) {
                // Its last word is on the way already.
                return;
            }
            // Nothing here can say what became of it (rule 229).
            let state = substitute(Some(&owner.info), v1::TaskState::TaskDropped);
            let executor = ExecutorId::from(&*task);
            let reason = v1::task_status::Reason::ExecutorTerminated;
            let status = self.agent_status(m, &task, &executor, state, reason, "Cannot find executor");
            return self.update(m, &framework, &executor, status);
        };
        self.kill_task(m, &framework, &executor, &task, kill.kill_policy);
    }

    /// Kills a task, wherever it is in its life.
    pub(crate) fn kill_task(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
        policy: Option<v1::KillPolicy>,
    ) {
        let Some(executor) = self.executor(framework, id) else { return };
        let Some(known) = executor.tasks.get(task) else { return };
        if known.is_terminal() || executor.phase == Phase::Terminated {
            return;
        }
        if known.queued {
            return self.kill_queued(m, framework, id, task);
        }
        match executor.kind {
            ExecutorKind::Custom => {
                let Some(stream) = executor.stream else { return };
                let kill =
                    event::Kill { task_id: v1::TaskId { value: task.as_str().into() }, kill_policy: policy };
                let event =
                    Event { r#type: Some(event::Type::Kill as i32), kill: Some(kill), ..Default::default() };
                self.event(stream, event);
            }
            _ => {
                let grace = policy.and_then(|p| p.grace_period).map(|g| resources::duration(&g));
                self.kill_played(m, framework, id, task, grace, KillCause::Request);
            }
        }
    }

    /// A task that waits in the agent is not started at all; a group goes as a whole (rule 228).
    fn kill_queued(&mut self, m: &mut Moment<'_>, framework: &FrameworkId, id: &ExecutorId, task: &TaskId) {
        let Some(executor) = self.executor_mut(framework, id) else { return };
        let leader = executor.tasks.get(task).and_then(|t| t.group.clone());
        let victims: Vec<TaskId> = match &leader {
            None => vec![task.clone()],
            Some(leader) => executor
                .tasks
                .iter()
                .filter(|(_, t)| t.queued && t.group.as_ref() == Some(leader))
                .map(|(id, _)| id.clone())
                .collect(),
        };
        executor.queue.retain(|queued| !victims.contains(queued));
        let kind = executor.kind;
        for victim in victims {
            self.report_killed_early(m, framework, id, &victim);
        }
        let over = self
            .executor(framework, id)
            .is_some_and(|e| e.tasks.values().all(crate::state::Task::is_terminal));
        if over && kind == ExecutorKind::Default {
            // No process is there that could be told to end; a custom executor learns it when it
            // subscribes (rule 286).
            self.destroy_executor(framework, id, None);
        }
    }

    fn report_killed_early(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
    ) {
        let reason = v1::task_status::Reason::TaskKilledDuringLaunch;
        let state = v1::TaskState::TaskKilled;
        let status = self.agent_status(m, task, id, state, reason, KILLED_EARLY);
        self.update(m, framework, id, status);
    }

    /// Kills a task whose executor the agent plays: SIGTERM, and SIGKILL after the grace period.
    pub(crate) fn kill_played(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
        grace: Option<Duration>,
        cause: KillCause,
    ) {
        let Some(executor) = self.executor(framework, id) else { return };
        let Some(known) = executor.tasks.get(task) else { return };
        if known.is_terminal() || known.run.early_end.is_some() {
            return;
        }
        let own = known.info.kill_policy.and_then(|p| p.grace_period);
        let grace = grace.or_else(|| own.map(|g| resources::duration(&g))).unwrap_or(KILL_GRACE_DEFAULT);
        if let Some(kill) = &known.run.kill {
            let (since, old) = (kill.since, kill.deadline);
            return self.shorten_kill(m, framework, id, task, since + grace, old);
        }
        let container = known.container.clone();
        let starting = self.state.containers.get(&container).is_none_or(|c| c.stage == Stage::Starting);
        if starting {
            if container == executor.container {
                self.kill_starting_command(m, framework, id, task, cause);
            } else {
                self.kill_starting_child(m, framework, id, task, cause);
                self.effects.push(Effect::Destroy(container));
            }
            return;
        }
        let grace = if cause == KillCause::TimeUp { Duration::ZERO } else { grace };
        self.begin_kill(m, framework, id, task, grace, cause, container);
    }

    /// A command task whose container is being started: it may come to run before it is destroyed, so its
    /// end is told when the container's is known and not before.
    fn kill_starting_command(
        &mut self,
        m: &Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
        cause: KillCause,
    ) {
        let kill = Kill { since: m.now, deadline: m.now, cause };
        if self.is_checkpointed(framework) {
            self.persist(record(framework, id, task, &kill));
        }
        if let Some(known) = self.task_mut(framework, id, task) {
            known.run.kill = Some(kill);
        }
        self.end_starting_command(m, framework, id, task);
    }

    /// Ends the container of a command task that was killed before it was known to run.
    pub(crate) fn end_starting_command(
        &mut self,
        m: &Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
    ) {
        self.destroy_executor(framework, id, Some(killed_early()));
        self.arm_escalation(framework, id, task, m.now + KILL_REPEAT);
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, and each says what the kill is")]
    fn begin_kill(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
        grace: Duration,
        cause: KillCause,
        container: ContainerId,
    ) {
        let deadline = m.now + grace;
        if let Some(known) = self.task_mut(framework, id, task) {
            known.run.kill = Some(Kill { since: m.now, deadline, cause });
        }
        if self.is_checkpointed(framework) {
            self.persist(record(framework, id, task, &Kill { since: m.now, deadline, cause }));
        }
        let wants = self
            .framework(framework)
            .is_some_and(|f| f.has_capability(v1::framework_info::capability::Type::TaskKillingState));
        if wants && cause != KillCause::TimeUp {
            self.report_played(m, framework, id, task, v1::TaskState::TaskKilling);
        }
        self.stop_checks(framework, id, task);
        if grace.is_zero() {
            self.effects.push(Effect::Destroy(container));
            self.arm_escalation(framework, id, task, m.now + KILL_REPEAT);
        } else {
            self.effects.push(Effect::Signal { container, signal: SIGTERM });
            self.arm_escalation(framework, id, task, deadline);
        }
    }

    fn arm_escalation(&mut self, framework: &FrameworkId, id: &ExecutorId, task: &TaskId, at: Timestamp) {
        if let Some(kill) = self.task_mut(framework, id, task).and_then(|t| t.run.kill.as_mut()) {
            kill.deadline = at;
        }
        self.timers.set(at, Timer::Escalate(framework.clone(), id.clone(), task.clone()));
    }

    /// A second kill can only bring the end closer (rule 227).
    fn shorten_kill(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
        deadline: Timestamp,
        old: Timestamp,
    ) {
        let deadline = deadline.max(m.now);
        if deadline < old {
            self.timers.clear(old, Timer::Escalate(framework.clone(), id.clone(), task.clone()));
            self.arm_escalation(framework, id, task, deadline);
        }
    }

    pub(crate) fn on_escalate(
        &mut self,
        m: &mut Moment<'_>,
        at: Timestamp,
        framework: FrameworkId,
        id: ExecutorId,
        task: TaskId,
    ) {
        let Some(known) = self.task(&framework, &id, &task) else { return };
        if is_terminal(known.state) || known.run.kill.as_ref().is_none_or(|k| k.deadline != at) {
            return;
        }
        let container = known.container.clone();
        self.effects.push(Effect::Destroy(container));
        self.arm_escalation(&framework, &id, &task, m.now + KILL_REPEAT);
    }

    pub(crate) fn on_time_up(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        id: &ExecutorId,
        task: &TaskId,
    ) {
        let killed = self.task(framework, id, task).is_none_or(|t| t.run.kill.is_some());
        if !killed {
            self.kill_played(m, framework, id, task, Some(Duration::ZERO), KillCause::TimeUp);
        }
    }
}

/// What a command task is told of that was killed while its container was being started.
pub(crate) fn killed_early() -> Verdict {
    Verdict {
        state: v1::TaskState::TaskKilled,
        reason: v1::task_status::Reason::TaskKilledDuringLaunch,
        message: KILLED_EARLY.into(),
    }
}

/// A kill as it is written down.
pub(crate) fn record(framework: &FrameworkId, executor: &ExecutorId, task: &TaskId, kill: &Kill) -> Record {
    Record::Kill(KillRecord {
        framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
        executor_id: Some(v1::ExecutorId { value: executor.as_str().into() }),
        task_id: Some(v1::TaskId { value: task.as_str().into() }),
        since: Some(v1::TimeInfo { nanoseconds: kill.since.as_nanos() }),
        deadline: Some(v1::TimeInfo { nanoseconds: kill.deadline.as_nanos() }),
        cause: cause_code(kill.cause),
    })
}

/// How a cause is written down.
fn cause_code(cause: KillCause) -> u32 {
    match cause {
        KillCause::Request => 0,
        KillCause::Unhealthy => 1,
        KillCause::TimeUp => 2,
    }
}

/// Reads [`cause_code`]; a cause of a later version counts as a request.
pub(crate) fn cause(code: u32) -> KillCause {
    match code {
        1 => KillCause::Unhealthy,
        2 => KillCause::TimeUp,
        _ => KillCause::Request,
    }
}
