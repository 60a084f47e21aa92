//! Commands of checks inside the containers of their tasks: each run is a child of its own that the core
//! need not know, and nothing of it is left when it has ended (rule 344).

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use mezzo_agent::CheckOutcome;
use mezzo_container::{
    Confinement, ContainerEvent, Containers, Credentials, Input, LaunchRequest, Output, Recovered, Resources,
};
use mezzo_ids::{ContainerId, Uuid};
use rand_core::Rng;

use crate::convert;

/// What the last part of such a container's id begins with.
const NAME: &str = "check-";
/// How long the end of a run is waited for that was killed because its time was up.
const END_WAIT: Duration = Duration::from_secs(10);

/// The runs at this moment. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Runs {
    ends: Arc<Mutex<BTreeMap<ContainerId, mpsc::Sender<ContainerEvent>>>>,
}

/// A command of a check, with all choices made.
pub(super) struct Command {
    /// With `shell` the text given to `/bin/sh -c`.
    pub(super) program: String,
    /// With the program's own name; empty with `shell`.
    pub(super) arguments: Vec<String>,
    pub(super) shell: bool,
    pub(super) environment: Vec<(String, String)>,
    /// Those of them that are the check's own.
    pub(super) own: Vec<(String, String)>,
    pub(super) credentials: Option<Credentials>,
    /// Output is appended to its stderr file.
    pub(super) sandbox: PathBuf,
}

impl Command {
    /// The same for a run beside the task.
    pub(super) fn on_the_host(&self) -> mezzo_checks::Command {
        mezzo_checks::Command {
            program: self.program.clone(),
            arguments: self.arguments.iter().skip(1).cloned().collect(),
            shell: self.shell,
            environment: self.environment.clone(),
            owner: self.credentials.as_ref().map(|user| (user.uid, user.gid)),
            sandbox: self.sandbox.clone(),
        }
    }

    fn request(&self, containers: &Containers, parent: &ContainerId, id: &ContainerId) -> LaunchRequest {
        let (program, arguments) = if self.shell {
            ("/bin/sh".to_owned(), vec!["sh".to_owned(), "-c".to_owned(), self.program.clone()])
        } else if self.arguments.is_empty() {
            (self.program.clone(), vec![self.program.clone()])
        } else {
            (self.program.clone(), self.arguments.clone())
        };
        let output = || Output::File("stderr".to_owned());
        LaunchRequest {
            id: id.clone(),
            program,
            arguments,
            environment: convert::inherited(containers.environment(parent), &self.own)
                .unwrap_or_else(|| self.environment.clone()),
            sandbox: self.sandbox.clone(),
            credentials: self.credentials.clone(),
            rlimits: Vec::new(),
            stdin: Input::Null,
            stdout: output(),
            stderr: output(),
            resources: Resources::default(),
            share_cgroups: true,
            quotas: Vec::new(),
            ports: Vec::new(),
            confinement: Confinement { enter: Some(parent.clone()), ..Confinement::default() },
        }
    }
}

impl Runs {
    /// Keeps an event of a run; gives back that of any other container.
    pub(crate) fn take(&self, event: ContainerEvent) -> Option<ContainerEvent> {
        let (ContainerEvent::Started { id, .. }
        | ContainerEvent::LaunchFailed { id, .. }
        | ContainerEvent::Exited { id, .. }) = &event;
        let is_run = is_run(id);
        match self.ends().get(id) {
            // Who has stopped waiting does not want to know.
            Some(sender) if !matches!(event, ContainerEvent::Started { .. }) => drop(sender.send(event)),
            Some(_) => {}
            None => return (!is_run).then_some(event),
        }
        None
    }

    /// Kills runs and sessions of an earlier agent, for which nobody waits any more (rule 360); gives back all
    /// other containers.
    pub(crate) fn discard(&self, containers: &Containers, found: Vec<Recovered>) -> Vec<Recovered> {
        let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.debug);
        if own.is_empty() {
            return others;
        }
        let (this, containers) = (self.clone(), containers.clone());
        let killing = move || {
            for Recovered { id, .. } in own {
                let (sender, end) = mpsc::channel();
                this.ends().insert(id.clone(), sender);
                if containers.destroy(&id).is_ok() {
                    let _ = end.recv_timeout(END_WAIT);
                }
                this.ends().remove(&id);
                containers.remove(&id);
            }
        };
        if let Err(error) = thread::Builder::new().name("sessions".into()).spawn(killing) {
            tracing::warn!(%error, "start a thread that ends sessions of the earlier agent");
        }
        others
    }

    /// An id for a run inside a container.
    pub(super) fn id(parent: &ContainerId, rng: &mut impl Rng) -> ContainerId {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        ContainerId::from(format!("{parent}.{NAME}{}", Uuid::from_random(bytes)).as_str())
    }

    /// Runs a command inside a container. [`Runs::wait`] has to follow.
    pub(super) fn start(
        &self,
        containers: &Containers,
        (parent, id): (&ContainerId, &ContainerId),
        command: &Command,
    ) -> mpsc::Receiver<ContainerEvent> {
        let (sender, end) = mpsc::channel();
        self.ends().insert(id.clone(), sender);
        containers.launch(&command.request(containers, parent, id));
        end
    }

    /// Waits for the end of a run, or kills it when its time is up.
    pub(super) fn wait(
        &self,
        containers: &Containers,
        id: &ContainerId,
        end: &mpsc::Receiver<ContainerEvent>,
        timeout: Duration,
    ) -> CheckOutcome {
        let ended = if timeout.is_zero() {
            end.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            end.recv_timeout(timeout)
        };
        let outcome = match ended {
            Ok(event) => outcome(event),
            Err(RecvTimeoutError::Disconnected) => CheckOutcome::Failed("nobody tells of its end".into()),
            Err(RecvTimeoutError::Timeout) => {
                if containers.destroy(id).is_ok() {
                    let _ = end.recv_timeout(END_WAIT);
                }
                CheckOutcome::TimedOut
            }
        };
        self.ends().remove(id);
        containers.remove(id);
        outcome
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<ContainerId, mpsc::Sender<ContainerEvent>>> {
        // Every change is one operation on the map.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_run(id: &ContainerId) -> bool {
    id.rsplit('.').next().is_some_and(|last| last.starts_with(NAME))
}

/// 128 + n for signal n, as a shell has it.
fn outcome(event: ContainerEvent) -> CheckOutcome {
    match event {
        ContainerEvent::Exited { status: Some(status), .. } => match status & 0x7f {
            0 => CheckOutcome::Exit((status >> 8) & 0xff),
            signal => CheckOutcome::Exit(128 + signal),
        },
        ContainerEvent::LaunchFailed { message, .. } => CheckOutcome::Failed(message),
        ContainerEvent::Exited { .. } | ContainerEvent::Started { .. } => {
            CheckOutcome::Failed("nobody knows how it ended".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_344_events_of_runs_are_kept_and_others_passed_on() {
        let runs = Runs::default();
        let mut rng = crate::core::random().unwrap();
        let run = Runs::id(&"parent".into(), &mut rng);
        assert!(run.starts_with("parent.check-"), "{run}");
        let exited =
            |id: &ContainerId| ContainerEvent::Exited { id: id.clone(), status: Some(0), limitation: None };
        assert_eq!(runs.take(exited(&run)), None, "nobody waits");
        let (sender, end) = mpsc::channel();
        runs.ends().insert(run.clone(), sender);
        assert_eq!(runs.take(ContainerEvent::Started { id: run.clone(), pid: 1 }), None);
        assert_eq!(runs.take(exited(&run)), None);
        assert_eq!(end.try_iter().collect::<Vec<_>>(), [exited(&run)]);
        let other = ContainerId::from("check-1.child");
        assert_eq!(runs.take(exited(&other)), Some(exited(&other)));
    }

    #[test]
    fn rule_337_codes_and_signals() {
        let exited = |status| ContainerEvent::Exited { id: "c".into(), status, limitation: None };
        assert_eq!(outcome(exited(Some(3 << 8))), CheckOutcome::Exit(3));
        assert_eq!(outcome(exited(Some(9))), CheckOutcome::Exit(137));
        assert!(matches!(outcome(exited(None)), CheckOutcome::Failed(_)));
    }
}
