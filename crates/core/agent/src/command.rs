//! Command tasks: the agent plays Mesos' command executor (rules 299 to 308).

use std::{collections::BTreeMap, sync::Arc};

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;

use crate::{
    agent::{Agent, Moment, container_proto},
    config::Config,
    resources,
    state::{Container, Executor, KillCause, Phase, Task, Termination},
    text,
    timers::Timer,
};

/// Longest command shown in full in the name of the executor, and what is kept of a longer one.
const NAME_COMMAND_MAX: usize = 15;
const NAME_COMMAND_CUT: usize = 12;

/// The executor that Mesos would start for this task, as the API shows it.
pub(crate) fn executor_info(
    config: &Config,
    framework: &FrameworkId,
    task: &v1::TaskInfo,
) -> v1::ExecutorInfo {
    let command = task.command.as_ref();
    v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: task.task_id.value.clone() },
        framework_id: Some(v1::FrameworkId { value: framework.as_str().into() }),
        command: Some(v1::CommandInfo {
            uris: command.map(|c| c.uris.clone()).unwrap_or_default(),
            shell: Some(false),
            value: Some([&*config.launcher_dir, "/mesos-executor"].concat()),
            arguments: vec!["mesos-executor".into(), ["--launcher_dir=", &*config.launcher_dir].concat()],
            user: command.and_then(|c| c.user.clone()),
            ..Default::default()
        }),
        container: task.container.clone(),
        resources: resources::command_executor(task),
        name: Some(
            ["Command Executor (Task: ", &*task.task_id.value, ") ", &*command_name(command)].concat(),
        ),
        source: Some(task.task_id.value.clone()),
        discovery: task.discovery.as_deref().cloned(),
        labels: task.labels.clone(),
        ..Default::default()
    }
}

/// The command part of the executor's name (rule 299).
fn command_name(command: Option<&v1::CommandInfo>) -> String {
    let shell = command.is_none_or(|c| c.shell.unwrap_or(true));
    match (command.and_then(|c| c.value.as_deref()), shell) {
        (None, true) => "(Command: NO COMMAND)".into(),
        (None, false) => "(Command: NO EXECUTABLE)".into(),
        (Some(value), true) => match cut(value) {
            Some(start) => ["(Command: sh -c '", start, "...')"].concat(),
            None => format!("(Command: sh -c '{value}')"),
        },
        (Some(value), false) => {
            let arguments = command.map(|c| c.arguments.join(", ")).unwrap_or_default();
            match cut(&arguments) {
                Some(start) => format!("(Command: [{value}, {start}...])"),
                None => format!("(Command: [{value}, {arguments}])"),
            }
        }
    }
}

/// The start of a text that is too long to be shown.
fn cut(text: &str) -> Option<&str> {
    let end = (0..=NAME_COMMAND_CUT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (text.len() > NAME_COMMAND_MAX).then(|| &text[..end])
}

/// Address of a task that has no network of its own (rule 216).
pub(crate) fn host_network(config: &Config) -> Vec<v1::NetworkInfo> {
    vec![v1::NetworkInfo {
        ip_addresses: vec![v1::network_info::IpAddress {
            // IPv4 is what an absent protocol means.
            protocol: None,
            ip_address: Some(config.ip.clone()),
        }],
        ..Default::default()
    }]
}

/// The networks that a container has joined, or one around it.
pub(crate) fn joined_networks<'a>(
    containers: &'a BTreeMap<ContainerId, Arc<Container>>,
    id: &ContainerId,
) -> Option<&'a [v1::NetworkInfo]> {
    let mut id: &str = id;
    loop {
        if let Some(container) = containers.get(id)
            && !container.networks.is_empty()
        {
            return Some(&container.networks);
        }
        (id, _) = id.rsplit_once('.')?;
    }
}

impl Agent {
    pub(crate) fn on_joined(&mut self, id: &ContainerId, networks: Vec<v1::NetworkInfo>) {
        if let Some(container) = self.container_mut(id) {
            container.networks = networks.into();
        }
    }

    /// The networks of a container: its own, or those of the closest container around it that has any, or the
    /// agent's address (rules 216 and 368).
    pub(crate) fn network_infos(&self, id: &ContainerId) -> Vec<v1::NetworkInfo> {
        joined_networks(&self.state.containers, id)
            .map_or_else(|| host_network(&self.state.config), <[_]>::to_vec)
    }

    /// A status in the name of the executor that the agent plays. What the last one said about health
    /// and checks goes on.
    pub(crate) fn played_status(
        &self,
        m: &mut Moment<'_>,
        executor: &Executor,
        task: &Task,
        state: v1::TaskState,
    ) -> v1::TaskStatus {
        let last = task.statuses.last();
        let command = executor.container == task.container;
        // A child's address and pid are known only while it runs; the command executor of Mesos
        // outlives its task and so does its address.
        let known = command || (task.run.pid.is_some() && !crate::state::is_terminal(state));
        v1::TaskStatus {
            task_id: task.info.task_id.clone(),
            state: state as i32,
            source: Some(v1::task_status::Source::Executor as i32),
            agent_id: Some(v1::AgentId { value: self.id().as_str().into() }),
            executor_id: Some(v1::ExecutorId { value: executor.id.as_str().into() }),
            timestamp: Some(m.now.as_secs_f64()),
            uuid: Some(m.uuid().to_vec()),
            healthy: last.and_then(|s| s.healthy),
            check_status: last.and_then(|s| s.check_status),
            container_status: Some(v1::ContainerStatus {
                container_id: Some(container_proto(&task.container)),
                network_infos: if known { self.network_infos(&task.container) } else { Vec::new() },
                cgroup_info: None,
                executor_pid: task.run.pid.filter(|_| known),
            }),
            ..Default::default()
        }
    }

    /// The process of a command task runs: STARTING and RUNNING follow at once (rule 301), because the
    /// moment between them is the executor's own start, which does not exist here.
    pub(crate) fn on_command_started(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        pid: u32,
    ) {
        let Some(owner) = self.executor_mut(framework, executor) else { return };
        owner.pid = Some(pid);
        if owner.phase == Phase::Registering {
            owner.phase = Phase::Running;
        }
        let Some((id, task)) = owner.tasks.first_key_value() else { return };
        let id = id.clone();
        // Of one that was killed while it was being started, only the end is told.
        if task.is_terminal() || owner.phase == Phase::Terminating {
            return;
        }
        if let Some(task) = owner.tasks.get_mut(&id) {
            task.run.pid = Some(pid);
        }
        self.report_played(m, framework, executor, &id, v1::TaskState::TaskStarting);
        self.announce(m, framework, executor, &id);
    }

    /// Reports TASK_RUNNING and starts what belongs to a running task: checks and the time limit.
    pub(crate) fn announce(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
    ) {
        let Some(task) = self.task_mut(framework, executor, id) else { return };
        task.run.announced = true;
        let limit = task.info.max_completion_time;
        self.start_checks(m, framework, executor, id);
        self.report_played(m, framework, executor, id, v1::TaskState::TaskRunning);
        if let Some(limit) = limit {
            let timer = Timer::TimeUp(framework.clone(), executor.clone(), id.clone());
            self.timers.set(m.now + resources::duration(&limit), timer);
        }
    }

    /// Reports a state of a task whose executor the agent plays.
    pub(crate) fn report_played(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        task: &TaskId,
        state: v1::TaskState,
    ) {
        let Some(owner) = self.executor(framework, executor) else { return };
        let Some(known) = owner.tasks.get(task) else { return };
        let mut status = self.played_status(m, owner, known, state);
        if state == v1::TaskState::TaskRunning
            && let Some(check) = &known.run.check
        {
            status.check_status = Some(check.last);
        }
        self.update(m, framework, executor, status);
    }

    /// Reports how a task ended whose executor the agent plays (rules 303, 305, 306).
    pub(crate) fn report_end(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        end: &Termination,
    ) {
        use v1::{TaskState as S, task_status::Reason};
        let Some(owner) = self.executor(framework, executor) else { return };
        let Some(task) = owner.tasks.get(id) else { return };
        if task.is_terminal() {
            return;
        }
        if let Some(limit) = &end.limitation {
            let child = owner.container != task.container;
            let mut status =
                self.agent_status(m, id, executor, S::TaskFailed, limit.reason, limit.message.clone());
            if child {
                status.source = Some(v1::task_status::Source::Executor as i32);
            }
            if !limit.resources.is_empty() {
                let resources = limit.resources.clone();
                status.limitation = Some(v1::TaskResourceLimitation { resources });
            }
            return self.update(m, framework, executor, status);
        }
        let cause = task.run.kill.as_ref().map(|k| k.cause);
        let state = match (cause, end.status) {
            (Some(KillCause::TimeUp), _) => S::TaskFailed,
            (Some(KillCause::Request | KillCause::Unhealthy), _) => S::TaskKilled,
            (None, Some(status)) if text::succeeded(status) => S::TaskFinished,
            (None, _) => S::TaskFailed,
        };
        let mut status = self.played_status(m, owner, task, state);
        status.message = Some(match end.status {
            Some(status) => format!("Command {}", text::wait_status(status)),
            None => "Command ended with an unknown status".into(),
        });
        match cause {
            Some(KillCause::TimeUp) => status.reason = Some(Reason::MaxCompletionTimeReached as i32),
            Some(KillCause::Unhealthy) => status.healthy = Some(false),
            _ => {}
        }
        self.update(m, framework, executor, status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(shell: bool, value: Option<&str>, arguments: &[&str]) -> String {
        let command = v1::CommandInfo {
            shell: Some(shell),
            value: value.map(Into::into),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            ..Default::default()
        };
        command_name(Some(&command))
    }

    #[test]
    fn rule_299_name_of_the_executor() {
        assert_eq!(named(true, Some("exit 3"), &[]), "(Command: sh -c 'exit 3')");
        assert_eq!(named(true, Some("echo hello from mesos"), &[]), "(Command: sh -c 'echo hello f...')");
        assert_eq!(named(true, Some("123456789012345"), &[]), "(Command: sh -c '123456789012345')");
        assert_eq!(named(false, Some("/bin/x"), &["x", "y"]), "(Command: [/bin/x, x, y])");
        assert_eq!(named(true, None, &[]), "(Command: NO COMMAND)");
        assert_eq!(named(false, None, &[]), "(Command: NO EXECUTABLE)");
        assert_eq!(named(true, Some("ééééééééééééé"), &[]), "(Command: sh -c 'éééééé...')");
    }
}
