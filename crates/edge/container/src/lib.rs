//! Runs the containers of one agent, and goes on running them while the agent is away.
//!
//! Three kinds of process work together:
//! - the **agent** holds a [`Containers`]; it asks for launches, signals and ends, and hears events;
//! - the **launcher** ([`launcher_main`]) is a small single-threaded re-execution of the same binary.
//!   It only makes supervisors, most of which share its memory, which must therefore be small and
//!   free of threads;
//! - one **supervisor** per container, a process made by the launcher. It starts the task, reaps everything
//!   the task leaves behind, keeps `pid` and `status` under the runtime directory, and tells the
//!   agent over a datagram socket if one listens. It needs neither the agent nor the launcher alive.
//!
//! A supervisor holds a record lock on its `pid` file for as long as it lives. That lock, and not a
//! process id read from a file, is how a restarted agent knows which containers run: the kernel
//! names the holder, so a recycled process id can never be taken for a supervisor.
//!
//! Nothing here decides: limits, users and commands come from the caller. What one isolator cannot
//! do on this host is said when [`Containers::start`] is called. See behaviours 348 to 364.

mod bpf;
mod child;
mod confinement;
mod containers;
mod crew;
mod disk_watch;
mod enter;
mod event;
mod events;
mod filesystem;
mod filter;
mod gpus;
mod init;
mod input;
mod isolators;
mod job;
mod kernel;
mod launcher;
mod layout;
mod mount_api;
mod network;
mod oci;
mod outputs;
mod port_watch;
mod privileges;
mod processes;
mod projects;
mod recovery;
mod relay;
mod request;
mod scratch;
mod stage;
mod supervisor;
mod users;

pub use confinement::{
    BackEnd, Capabilities, Confinement, DeviceNode, LAYERS_MAX, Mount, Namespaces, Privileges, Root,
    SHM_BYTES, Source,
};
pub use containers::{Config, ContainerError, Containers, LauncherProgram, StartError};
pub use event::{ContainerEvent, Limitation};
pub use filter::{Filter, ProfileError};
pub use gpus::{GpuSettings, gpu_count};
pub use input::InputEnd;
pub use isolators::{
    AllowedDevice, Circumstances, ImageLayers, Isolation, IsolationError, Limit, Load, Pressure, Quota,
    Resources, Shares, Statistics, Support, Waits, check_isolation, parse_isolation, rlimits_of, support,
};
pub use launcher::{LAUNCHER_ARGUMENT, launcher_main};
pub use network::{DefaultNames, NetworkError, NetworkSettings};
pub use oci::{OciError, OciRuntime};
pub use port_watch::{PortRange, PortSettings};
pub use projects::ProjectSettings;
pub use recovery::{Recovered, RecoveredState};
pub use request::{Credentials, Input, LaunchRequest, Output, Rlimit, Rotation, WindowSize};
pub use users::{UserError, resolve_user};
