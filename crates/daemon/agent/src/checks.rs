//! Runs the checks of tasks again and again until they are stopped.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_agent::{CheckId, CheckKind, CheckOutcome, CheckSpec, Input};
use mezzo_checks::{Command, Outcome, Probe};
use mezzo_container::resolve_user;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::{AbortHandle, spawn_blocking},
};

use crate::core::Core;

/// Checks that run at the same moment; each takes a thread. The others wait for their turn.
const RUNNING_MAX: usize = 64;

/// Checks by their handle.
pub(crate) struct Checks {
    runtime: Handle,
    core: Core,
    permits: Arc<Semaphore>,
    running: BTreeMap<CheckId, AbortHandle>,
}

impl Checks {
    pub(crate) fn new(runtime: Handle, core: Core) -> Self {
        Self { runtime, core, permits: Arc::new(Semaphore::new(RUNNING_MAX)), running: BTreeMap::new() }
    }

    /// Runs a check from now on: after its delay, and then an interval after each end (rule 336).
    pub(crate) fn start(&mut self, check: CheckId, spec: CheckSpec) {
        let (core, permits) = (self.core.clone(), self.permits.clone());
        let task = self.runtime.spawn(async move {
            let probe = match probe(&spec.kind) {
                Ok(probe) => Arc::new(probe),
                Err(why) => {
                    let outcome = CheckOutcome::Failed(why);
                    let _ = core.try_send(Input::Checked { check, outcome });
                    return;
                }
            };
            tokio::time::sleep(spec.delay).await;
            loop {
                let Ok(permit) = permits.clone().acquire_owned().await else { return };
                let (probe, timeout) = (probe.clone(), spec.timeout);
                let ran = spawn_blocking(move || {
                    let _permit = permit;
                    mezzo_checks::run(&probe, timeout)
                });
                let outcome = ran.await.map_or_else(|error| CheckOutcome::Failed(error.to_string()), outcome);
                if core.try_send(Input::Checked { check, outcome }).is_err() {
                    tracing::warn!(check = check.0, "result of a check is dropped, the agent is far behind");
                }
                tokio::time::sleep(spec.interval).await;
            }
        });
        self.running.insert(check, task.abort_handle());
    }

    /// Starts no further run of a check. One that runs ends by itself; the core ignores its result.
    pub(crate) fn stop(&mut self, check: CheckId) {
        if let Some(task) = self.running.remove(&check) {
            task.abort();
        }
    }
}

fn probe(kind: &CheckKind) -> Result<Probe, String> {
    Ok(match kind {
        CheckKind::Command { command, user, environment, sandbox } => {
            let owner = match user {
                None => None,
                Some(user) => {
                    let user = resolve_user(user).map_err(|error| error.to_string())?;
                    Some((user.uid, user.gid))
                }
            };
            Probe::Command(Command {
                program: command.value.clone().unwrap_or_default(),
                // The first one is the program's own name.
                arguments: command.arguments.iter().skip(1).cloned().collect(),
                shell: command.shell.unwrap_or(true),
                environment: environment.clone(),
                owner,
                sandbox: sandbox.as_ref().into(),
            })
        }
        CheckKind::Http { scheme, port, path, ipv6 } => {
            Probe::Http { scheme: scheme.clone(), port: *port, path: path.clone(), ipv6: *ipv6 }
        }
        CheckKind::Tcp { port } => Probe::Tcp { port: *port },
    })
}

fn outcome(outcome: Outcome) -> CheckOutcome {
    match outcome {
        Outcome::Exit(code) => CheckOutcome::Exit(code),
        Outcome::Status(status) => CheckOutcome::Status(status.into()),
        Outcome::Connected(connected) => CheckOutcome::Connected(connected),
        Outcome::TimedOut => CheckOutcome::TimedOut,
        Outcome::Failed(why) => CheckOutcome::Failed(why),
    }
}
