//! Everything the agent can do.

use std::{sync::Arc, time::Duration};

use mezzo_ids::{ContainerId, ExecutorId, FrameworkId};
use mezzo_mesos::v1;
use mezzo_protocol::{link::ToMaster, records::AgentRecord};

use crate::input::{CheckId, RequestId, StreamId};

/// Performed in order; see the crate's page about durability.
#[derive(Debug)]
pub enum Effect {
    /// Make this durable before anything behind it.
    Persist(Box<AgentRecord>),
    /// Send to the master over the link; dropped when there is no session (the core sends again).
    ToMaster(Box<ToMaster>),
    /// Drop the link session and open a fresh one.
    Reconnect,
    /// Send an event to an executor.
    Event {
        /// Where to.
        stream: StreamId,
        /// What.
        event: Arc<v1::executor::Event>,
    },
    /// End an executor's stream after what was sent on it.
    CloseStream(StreamId),
    /// Answer a request.
    Answer {
        /// Which.
        request: RequestId,
        /// How.
        answer: Answer,
    },
    /// Make the sandbox, fetch, isolate and start; then [`crate::Input::Started`] or `LaunchFailed`.
    Launch(Box<ContainerSpec>),
    /// Change the limits of a running container.
    Update {
        /// Which.
        container: ContainerId,
        /// Its sandbox.
        sandbox: Arc<str>,
        /// The sum of its requests.
        resources: Vec<v1::Resource>,
        /// Limits above the requests.
        limits: Arc<Limits>,
    },
    /// Send a signal to the container's process group.
    Signal {
        /// Which.
        container: ContainerId,
        /// Its number.
        signal: i32,
    },
    /// Kill everything in the container; [`crate::Input::Exited`] follows.
    Destroy(ContainerId),
    /// Forget the runtime files of an ended container, and its sandbox when given.
    Remove {
        /// Which.
        container: ContainerId,
        /// To be deleted.
        sandbox: Option<Arc<str>>,
    },
    /// Run a check until stopped; each run ends in [`crate::Input::Checked`].
    StartCheck {
        /// Its handle.
        check: CheckId,
        /// The task's container.
        container: ContainerId,
        /// What to run.
        spec: Box<CheckSpec>,
    },
    /// Stop a check; results on their way are ignored by the core.
    StopCheck(CheckId),
    /// Show a sandbox under a virtual path of /files.
    Attach {
        /// As seen in the API.
        virtual_path: String,
        /// On the host.
        real_path: Arc<str>,
    },
    /// Hide it again, and everything below it.
    Detach {
        /// As seen in the API.
        virtual_path: String,
    },
    /// Make a symbolic link (runs/latest, tasks/<id>); replace what is there.
    Link {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// Delete a sandbox whose time has come; [`crate::Input::SandboxDeleted`] follows.
    DeleteSandbox(Arc<str>),
    /// Apply volumes: make or delete the directory of a persistent volume.
    Volume {
        /// Create, or delete with its content.
        create: bool,
        /// The resource with its disk info, post-refinement form.
        volume: Box<v1::Resource>,
    },
    /// Ask for [`crate::Input::DiskUsage`].
    MeasureDisk,
    /// Flush and exit with this status, telling why.
    Exit {
        /// 0 for an orderly end.
        status: i32,
        /// For the operator.
        message: String,
    },
}

/// Task limits: cpus and mem above the request, infinite allowed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// In cpus; `f64::INFINITY` for none.
    pub cpus: Option<f64>,
    /// In megabytes; `f64::INFINITY` for none.
    pub mem: Option<f64>,
}

/// One container to start, with all choices made.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    /// Its id.
    pub container: ContainerId,
    /// The container it is a child of.
    pub parent: Option<ContainerId>,
    /// Whose it is, for the fetcher cache and accounting; `None` for standalone containers.
    pub framework: Option<FrameworkId>,
    /// Host path of the sandbox, to be made with mode 0750 and owned by `user`.
    pub sandbox: Arc<str>,
    /// What to run: `shell` and `value`, or `value` and `arguments`.
    pub command: v1::CommandInfo,
    /// The whole environment, nothing is inherited (rule 293).
    pub environment: Vec<(String, String)>,
    /// To run as; `None` for the agent's own.
    pub user: Option<String>,
    /// The sum of its requests.
    pub resources: Vec<v1::Resource>,
    /// Limits above the requests.
    pub limits: Limits,
    /// Volumes, network, rlimits, as the isolators understand them.
    pub container_info: Option<v1::ContainerInfo>,
    /// Persistent volumes to show inside the sandbox: host path, container path, read only.
    pub volumes: Vec<(String, String, bool)>,
    /// Where the program starts; `None` for the sandbox.
    pub working_directory: Option<Arc<str>>,
    /// Destroyed when the agent restarts (DEBUG class).
    pub debug: bool,
    /// Does not run a process of its own: only a sandbox (the pod around a task group).
    pub pod: bool,
    /// The custom executor that this process is. It is given a token where executors have to show who
    /// they are (rule 451).
    pub executor: Option<ExecutorId>,
}

/// A check or health check, reduced to what a runner needs.
#[derive(Clone, Debug)]
pub struct CheckSpec {
    /// What is done.
    pub kind: CheckKind,
    /// Before the first run.
    pub delay: Duration,
    /// After the end of a run.
    pub interval: Duration,
    /// For one run; zero means none (rule 336).
    pub timeout: Duration,
}

/// What a check does.
#[derive(Clone, Debug)]
pub enum CheckKind {
    /// Runs a command with the task's user, environment and sandbox.
    Command {
        /// What to run.
        command: v1::CommandInfo,
        /// The task's.
        user: Option<String>,
        /// The task's with the check's own on top.
        environment: Vec<(String, String)>,
        /// The task's.
        sandbox: Arc<str>,
    },
    /// GET, following redirects, certificates not verified (rule 338).
    Http {
        /// http or https.
        scheme: String,
        /// On the loopback address.
        port: u16,
        /// Starts with a slash.
        path: String,
        /// ::1 instead of 127.0.0.1.
        ipv6: bool,
    },
    /// Connects (rule 339).
    Tcp {
        /// On 127.0.0.1.
        port: u16,
    },
}

/// Status and body of an answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// 200 without body, or the opening of a stream.
    Ok,
    /// 200 with a body.
    Response(Box<v1::agent::Response>),
    /// 202 without body.
    Accepted,
    /// 400 with a text.
    BadRequest(String),
    /// 403 with a text.
    Forbidden(String),
    /// 404 with a text.
    NotFound(String),
    /// 409 with a text.
    Conflict(String),
    /// 500 with a text.
    InternalError(String),
    /// 501 with a text.
    NotImplemented(String),
    /// 503 with a text.
    Unavailable(String),
}
