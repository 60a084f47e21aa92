//! Runs the checks of tasks again and again until they are stopped: commands inside the container where it is
//! apart from the host, beside it elsewhere.

mod inside;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mezzo_agent::{CheckId, CheckKind, CheckOutcome, CheckSpec, Input};
use mezzo_checks::{Outcome, Probe};
use mezzo_container::{Containers, resolve_user};
use mezzo_ids::ContainerId;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::{AbortHandle, spawn_blocking},
};

pub(crate) use self::inside::Runs;
use crate::{
    convert,
    core::{self, Core},
};

/// Checks that run at the same moment; each takes a thread. The others wait for their turn.
const RUNNING_MAX: usize = 64;

/// Checks by their handle.
pub(crate) struct Checks {
    runtime: Handle,
    core: Core,
    containers: Containers,
    runs: Runs,
    permits: Arc<Semaphore>,
    running: BTreeMap<CheckId, Running>,
}

struct Running {
    again: AbortHandle,
    inside: Arc<Mutex<Inside>>,
}

/// Where a check is that runs inside a container.
#[derive(Default)]
enum Inside {
    #[default]
    Nowhere,
    Run(ContainerId),
    /// It shall not run any more.
    Stopped,
}

/// What one check does, for the thread that it has while it runs.
struct Runner {
    containers: Containers,
    runs: Runs,
    container: ContainerId,
    action: Action,
    timeout: Duration,
    inside: Arc<Mutex<Inside>>,
}

enum Action {
    Command(inside::Command),
    Probe(Probe),
}

impl Checks {
    pub(crate) fn new(runtime: Handle, core: Core, containers: Containers, runs: Runs) -> Self {
        let permits = Arc::new(Semaphore::new(RUNNING_MAX));
        Self { runtime, core, containers, runs, permits, running: BTreeMap::new() }
    }

    /// Runs a check from now on: after its delay, and then an interval after each end (rule 336).
    pub(crate) fn start(&mut self, check: CheckId, container: ContainerId, spec: CheckSpec) {
        let (core, permits) = (self.core.clone(), self.permits.clone());
        let (containers, runs) = (self.containers.clone(), self.runs.clone());
        let inside = Arc::<Mutex<Inside>>::default();
        let shared = inside.clone();
        let task = self.runtime.spawn(async move {
            let runner = match action(spec.kind) {
                Ok(action) => {
                    Arc::new(Runner { containers, runs, container, action, timeout: spec.timeout, inside })
                }
                Err(why) => {
                    let outcome = CheckOutcome::Failed(why);
                    let _ = core.try_send(Input::Checked { check, outcome });
                    return;
                }
            };
            tokio::time::sleep(spec.delay).await;
            loop {
                let Ok(permit) = permits.clone().acquire_owned().await else { return };
                let runner = runner.clone();
                let ran = spawn_blocking(move || {
                    let _permit = permit;
                    runner.run()
                });
                let outcome = ran.await.unwrap_or_else(|error| CheckOutcome::Failed(error.to_string()));
                if core.try_send(Input::Checked { check, outcome }).is_err() {
                    tracing::warn!(check = check.0, "result of a check is dropped, the agent is far behind");
                }
                tokio::time::sleep(spec.interval).await;
            }
        });
        self.running.insert(check, Running { again: task.abort_handle(), inside: shared });
    }

    /// Starts no further run of a check. One inside a container is killed; another ends by itself, and the
    /// core ignores its result.
    pub(crate) fn stop(&mut self, check: CheckId) {
        let Some(running) = self.running.remove(&check) else { return };
        running.again.abort();
        let inside = std::mem::replace(&mut *lock(&running.inside), Inside::Stopped);
        if let Inside::Run(id) = inside
            && let Err(error) = self.containers.destroy(&id)
        {
            // It may just have ended.
            tracing::debug!(container = %id, error = &error as &dyn std::error::Error, "kill a check");
        }
    }
}

impl Runner {
    fn run(&self) -> CheckOutcome {
        match &self.action {
            // In the container's own network.
            Action::Probe(probe) => {
                let run = || mezzo_checks::run(probe, self.timeout);
                match self.containers.within_network(&self.container, run) {
                    Ok(ran) => outcome(ran),
                    Err(error) => CheckOutcome::Failed(error.to_string()),
                }
            }
            Action::Command(command) if self.containers.is_apart(&self.container) => self.run_inside(command),
            Action::Command(command) => {
                outcome(mezzo_checks::run(&Probe::Command(command.on_the_host()), self.timeout))
            }
        }
    }

    fn run_inside(&self, command: &inside::Command) -> CheckOutcome {
        let id = match core::random() {
            Ok(mut rng) => Runs::id(&self.container, &mut rng),
            Err(error) => return CheckOutcome::Failed(format!("read random bytes: {error}")),
        };
        let end = {
            let mut inside = lock(&self.inside);
            if matches!(*inside, Inside::Stopped) {
                return CheckOutcome::Failed("it was stopped".into());
            }
            // Known from here on: a stop finds it, or it does not start.
            *inside = Inside::Run(id.clone());
            self.runs.start(&self.containers, (&self.container, &id), command)
        };
        let outcome = self.runs.wait(&self.containers, &id, &end, self.timeout);
        let mut inside = lock(&self.inside);
        if matches!(*inside, Inside::Run(_)) {
            *inside = Inside::Nowhere;
        }
        outcome
    }
}

fn lock(inside: &Mutex<Inside>) -> std::sync::MutexGuard<'_, Inside> {
    // Every change is one assignment.
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

fn action(kind: CheckKind) -> Result<Action, String> {
    Ok(match kind {
        CheckKind::Command { command, user, environment, sandbox } => {
            let credentials = user.map(|user| resolve_user(&user)).transpose();
            let program = command.value.clone().unwrap_or_default();
            Action::Command(inside::Command {
                program,
                own: convert::variables(&command),
                arguments: command.arguments,
                shell: command.shell.unwrap_or(true),
                environment,
                credentials: credentials.map_err(|error| error.to_string())?,
                sandbox: PathBuf::from(&*sandbox),
            })
        }
        CheckKind::Http { scheme, port, path, ipv6 } => {
            Action::Probe(Probe::Http { scheme, port, path, ipv6 })
        }
        CheckKind::Tcp { port } => Action::Probe(Probe::Tcp { port }),
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
