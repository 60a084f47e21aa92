//! Checks and health checks: the driver runs them, this decides what their results mean
//! (rules 335 to 345).

use mezzo_ids::{ExecutorId, FrameworkId, TaskId};
use mezzo_mesos::v1;

use crate::{
    agent::{Agent, Moment},
    effect::{CheckKind, CheckSpec, Effect},
    environment,
    input::{CheckId, CheckOutcome},
    resources::seconds,
    state::{Check, Health, KillCause},
};

/// Defaults of both kinds of checks (rule 335), in seconds.
const DELAY: f64 = 15.0;
const INTERVAL: f64 = 10.0;
const TIMEOUT: f64 = 20.0;
const GRACE: f64 = 10.0;
const CONSECUTIVE_FAILURES: u32 = 3;

impl Agent {
    /// Starts the checks of a task that is about to be reported RUNNING, or that was taken over.
    pub(crate) fn start_checks(
        &mut self,
        m: &Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
    ) {
        let Some(task) = self.task(framework, executor, id) else { return };
        let info = task.info.clone();
        let last = task.statuses.last().cloned();
        let container = task.container.clone();
        if let Some(check) = &info.health_check
            && let Some(kind) = self.health_kind(framework, executor, id, check)
        {
            let spec = CheckSpec {
                kind,
                delay: seconds(check.delay_seconds.unwrap_or(DELAY)),
                interval: seconds(check.interval_seconds.unwrap_or(INTERVAL)),
                timeout: seconds(check.timeout_seconds.unwrap_or(TIMEOUT)),
            };
            let handle = self.mint_check(framework, executor, id);
            if let Some(task) = self.task_mut(framework, executor, id) {
                task.run.health = Some(Health {
                    check: handle,
                    grace_until: m.now + seconds(check.grace_period_seconds.unwrap_or(GRACE)),
                    failures: 0,
                    failures_max: check.consecutive_failures.unwrap_or(CONSECUTIVE_FAILURES).max(1),
                    succeeded: last.as_ref().is_some_and(|s| s.healthy == Some(true)),
                });
            }
            let spec = Box::new(spec);
            self.effects.push(Effect::StartCheck { check: handle, container: container.clone(), spec });
        }
        if let Some(check) = &info.check
            && let Some(kind) = self.check_kind(framework, executor, id, check)
        {
            let spec = CheckSpec {
                kind,
                delay: seconds(check.delay_seconds.unwrap_or(DELAY)),
                interval: seconds(check.interval_seconds.unwrap_or(INTERVAL)),
                timeout: seconds(check.timeout_seconds.unwrap_or(TIMEOUT)),
            };
            let handle = self.mint_check(framework, executor, id);
            if let Some(task) = self.task_mut(framework, executor, id) {
                let known = last.and_then(|s| s.check_status).unwrap_or_else(|| empty_status(check.r#type()));
                task.run.check = Some(Check { check: handle, last: known });
            }
            let spec = Box::new(spec);
            self.effects.push(Effect::StartCheck { check: handle, container, spec });
        }
    }

    fn mint_check(&mut self, framework: &FrameworkId, executor: &ExecutorId, task: &TaskId) -> CheckId {
        let check = CheckId(self.next_check);
        self.next_check += 1;
        self.checks.insert(check, (framework.clone(), executor.clone(), task.clone()));
        check
    }

    /// A check's command runs where the task runs, with the task's user and environment and its own
    /// variables on top.
    fn command_kind(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        command: &v1::CommandInfo,
    ) -> Option<CheckKind> {
        let owner = self.framework(framework)?;
        let executor = owner.executors.get(executor)?;
        let task = executor.tasks.get(id)?;
        let container = self.state.containers.get(&task.container)?;
        let inherited = environment::task(
            &self.state.config,
            &self.id(),
            owner,
            executor,
            &task.info,
            &container.sandbox,
        );
        Some(CheckKind::Command {
            command: command.clone(),
            user: command
                .user
                .clone()
                .filter(|_| self.state.config.switch_user)
                .or_else(|| container.user.clone()),
            environment: environment::over(inherited, Some(command)),
            sandbox: container.sandbox.clone(),
        })
    }

    fn health_kind(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        check: &v1::HealthCheck,
    ) -> Option<CheckKind> {
        use v1::health_check::Type;
        let kind = match check.r#type() {
            // Older schedulers leave the type out and give only the command or the HTTP part.
            Type::Unknown if check.command.is_some() => Type::Command,
            Type::Unknown if check.http.is_some() => Type::Http,
            kind => kind,
        };
        match kind {
            Type::Command => self.command_kind(framework, executor, id, check.command.as_ref()?),
            Type::Http => {
                let http = check.http.as_ref()?;
                let v6 = v1::network_info::Protocol::IPv6 as i32;
                Some(CheckKind::Http {
                    scheme: http.scheme.clone().unwrap_or_else(|| "http".into()),
                    port: u16::try_from(http.port).ok()?,
                    path: absolute(http.path.as_deref()),
                    ipv6: http.protocol == Some(v6),
                })
            }
            // The protocol of a TCP health check has no effect (rule 339).
            Type::Tcp => Some(CheckKind::Tcp { port: u16::try_from(check.tcp.as_ref()?.port).ok()? }),
            Type::Unknown => None,
        }
    }

    fn check_kind(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        check: &v1::CheckInfo,
    ) -> Option<CheckKind> {
        use v1::check_info::Type;
        match check.r#type() {
            Type::Command => self.command_kind(framework, executor, id, &check.command.as_ref()?.command),
            Type::Http => {
                let http = check.http.as_ref()?;
                Some(CheckKind::Http {
                    scheme: "http".into(),
                    port: u16::try_from(http.port).ok()?,
                    path: absolute(http.path.as_deref()),
                    ipv6: false,
                })
            }
            Type::Tcp => Some(CheckKind::Tcp { port: u16::try_from(check.tcp.as_ref()?.port).ok()? }),
            Type::Unknown => None,
        }
    }

    /// Stops whatever checks a task has.
    pub(crate) fn stop_checks(&mut self, framework: &FrameworkId, executor: &ExecutorId, task: &TaskId) {
        let Some(task) = self.task(framework, executor, task) else { return };
        let health = task.run.health.as_ref().map(|h| h.check);
        let check = task.run.check.as_ref().map(|c| c.check);
        for check in health.into_iter().chain(check) {
            if self.checks.remove(&check).is_some() {
                self.effects.push(Effect::StopCheck(check));
            }
        }
    }

    pub(crate) fn on_checked(&mut self, m: &mut Moment<'_>, check: CheckId, outcome: CheckOutcome) {
        let Some((framework, executor, id)) = self.checks.get(&check).cloned() else { return };
        let Some(task) = self.task(&framework, &executor, &id) else { return };
        if task.run.health.as_ref().is_some_and(|h| h.check == check) {
            self.on_health(m, &framework, &executor, &id, &outcome);
        } else {
            self.on_check_result(m, &framework, &executor, &id, &outcome);
        }
    }

    fn on_health(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        outcome: &CheckOutcome,
    ) {
        let now = m.now;
        let Some(health) = self.task_mut(framework, executor, id).and_then(|t| t.run.health.as_mut()) else {
            return;
        };
        if is_healthy(outcome) {
            let news = !health.succeeded || health.failures > 0;
            health.succeeded = true;
            health.failures = 0;
            if news {
                self.report_health(m, framework, executor, id, true);
            }
            return;
        }
        if !health.succeeded && now < health.grace_until {
            // It may still be starting (rule 340).
            return;
        }
        health.failures += 1;
        let fatal = health.failures >= health.failures_max;
        self.report_health(m, framework, executor, id, false);
        if fatal {
            self.kill_played(m, framework, executor, id, None, KillCause::Unhealthy);
        }
    }

    fn report_health(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        healthy: bool,
    ) {
        let Some(owner) = self.executor(framework, executor) else { return };
        let Some(task) = owner.tasks.get(id) else { return };
        let mut status = self.played_status(m, owner, task, v1::TaskState::TaskRunning);
        status.healthy = Some(healthy);
        status.reason = Some(v1::task_status::Reason::TaskHealthCheckStatusUpdated as i32);
        self.update(m, framework, executor, status);
    }

    fn on_check_result(
        &mut self,
        m: &mut Moment<'_>,
        framework: &FrameworkId,
        executor: &ExecutorId,
        id: &TaskId,
        outcome: &CheckOutcome,
    ) {
        let Some(task) = self.task_mut(framework, executor, id) else { return };
        let kind = task.info.check.as_ref().map(|check| check.r#type()).unwrap_or_default();
        let Some(check) = task.run.check.as_mut() else { return };
        let status = check_status(kind, outcome);
        if check.last == status {
            return;
        }
        check.last = status;
        let Some(owner) = self.executor(framework, executor) else { return };
        let Some(task) = owner.tasks.get(id) else { return };
        let mut update = self.played_status(m, owner, task, v1::TaskState::TaskRunning);
        update.check_status = Some(status);
        update.reason = Some(v1::task_status::Reason::TaskCheckStatusUpdated as i32);
        self.update(m, framework, executor, update);
    }
}

fn absolute(path: Option<&str>) -> String {
    match path {
        None => "/".into(),
        Some(path) if path.starts_with('/') => path.into(),
        Some(path) => format!("/{path}"),
    }
}

/// Rule 337.
fn is_healthy(outcome: &CheckOutcome) -> bool {
    match outcome {
        CheckOutcome::Exit(code) => *code == 0,
        CheckOutcome::Status(status) => (200..400).contains(status),
        CheckOutcome::Connected(connected) => *connected,
        CheckOutcome::TimedOut | CheckOutcome::Failed(_) => false,
    }
}

/// What a check that has not run yet, failed or timed out has to say (rule 343).
fn empty_status(kind: v1::check_info::Type) -> v1::CheckStatusInfo {
    use v1::{check_info::Type, check_status_info as info};
    v1::CheckStatusInfo {
        r#type: Some(kind as i32),
        command: (kind == Type::Command).then(info::Command::default),
        http: (kind == Type::Http).then(info::Http::default),
        tcp: (kind == Type::Tcp).then(info::Tcp::default),
    }
}

fn check_status(kind: v1::check_info::Type, outcome: &CheckOutcome) -> v1::CheckStatusInfo {
    let mut status = empty_status(kind);
    match outcome {
        CheckOutcome::Exit(code) => {
            if let Some(command) = &mut status.command {
                command.exit_code = Some(*code);
            }
        }
        CheckOutcome::Status(code) => {
            if let Some(http) = &mut status.http {
                http.status_code = Some(*code);
            }
        }
        CheckOutcome::Connected(connected) => {
            if let Some(tcp) = &mut status.tcp {
                tcp.succeeded = Some(*connected);
            }
        }
        CheckOutcome::TimedOut | CheckOutcome::Failed(_) => {}
    }
    status
}
