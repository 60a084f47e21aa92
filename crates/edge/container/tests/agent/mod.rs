//! A small agent that both test programs use: it launches containers and reads what it is told of them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use mezzo_container::{
    Config, Confinement, ContainerEvent, Containers, Input, Isolation, LaunchRequest, LauncherProgram,
    OciRuntime, Output, Recovered, Resources, StartError,
};

/// Much longer than anything here takes, even in an emulated machine on a loaded one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Agent {
    pub(crate) containers: Containers,
    pub(crate) events: Receiver<ContainerEvent>,
    pub(crate) recovered: Vec<Recovered>,
}

impl Agent {
    pub(crate) fn configured(config: Config) -> Self {
        Self::try_configured(config).expect("containers start")
    }

    pub(crate) fn try_configured(config: Config) -> Result<Self, StartError> {
        let (sender, events) = channel();
        let (containers, recovered) = Containers::start(config, move |event| drop(sender.send(event)))?;
        Ok(Self { containers, events, recovered })
    }

    pub(crate) fn next(&self) -> ContainerEvent {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    pub(crate) fn started(&self) -> u32 {
        match self.next() {
            ContainerEvent::Started { pid, .. } => pid,
            other => panic!("expected a start, got {other:?}"),
        }
    }

    pub(crate) fn exited(&self) -> Option<i32> {
        match self.next() {
            ContainerEvent::Exited { status, .. } => status,
            other => panic!("expected an end, got {other:?}"),
        }
    }

    pub(crate) fn failed(&self) -> String {
        match self.next() {
            ContainerEvent::LaunchFailed { message, .. } => message,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    /// Runs a request to its end: status, standard output and standard error.
    pub(crate) fn finish(&self, request: &LaunchRequest) -> (Option<i32>, String, String) {
        self.containers.launch(request);
        self.started();
        let status = self.exited();
        (status, text(request.sandbox.join("stdout")), text(request.sandbox.join("stderr")))
    }

    /// The reason why a request could not be started.
    pub(crate) fn refusal(&self, request: &LaunchRequest) -> String {
        self.containers.launch(request);
        self.failed()
    }
}

/// What is of one test is in its folder.
pub(crate) fn configuration(dir: &Path, isolation: Isolation, runtime: Option<OciRuntime>) -> Config {
    Config {
        runtime_dir: dir.join("run"),
        launcher: LauncherProgram::default(),
        isolation,
        scratch_dir: dir.join("scratch"),
        networks_dir: dir.join("networks"),
        protected: vec![dir.join("run")],
        runtime,
    }
}

/// A shell that runs a command with the host's files and in none of its limits.
pub(crate) fn shell(dir: &Path, id: &str, command: &str) -> LaunchRequest {
    let sandbox = dir.join("sandboxes").join(id);
    fs::create_dir_all(&sandbox).expect("a sandbox");
    LaunchRequest {
        id: id.into(),
        program: "/bin/sh".to_owned(),
        arguments: ["sh", "-c", command].map(str::to_owned).to_vec(),
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        sandbox,
        credentials: None,
        rlimits: Vec::new(),
        stdin: Input::Null,
        stdout: Output::File("stdout".to_owned()),
        stderr: Output::File("stderr".to_owned()),
        resources: Resources::default(),
        share_cgroups: false,
        quotas: Vec::new(),
        ports: Vec::new(),
        confinement: Confinement::default(),
    }
}

pub(crate) fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

pub(crate) fn alive(pid: u32) -> bool {
    let stat = text(PathBuf::from(format!("/proc/{pid}/stat")));
    !stat.is_empty() && !stat.contains(") Z ")
}

pub(crate) fn parent(pid: u32) -> u32 {
    let stat = text(PathBuf::from(format!("/proc/{pid}/stat")));
    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok()).expect("a parent")
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not zero");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a kill");
}

pub(crate) fn mounts() -> String {
    text("/proc/self/mountinfo".into())
}

pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
