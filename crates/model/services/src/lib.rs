//! What services are: apps, pods and the groups they stand in, and the instances that run for them.
//!
//! Everything here is in its normal form: defaults filled in, paths absolute, one way to say each thing. The many forms in
//! which Marathon's API takes and gives these are the affair of `wire/marathon`; what to do with them, of `core/services`.
//! Resources are cpus (shares), and mem and disk in MiB.

mod app;
mod canary;
mod checks;
mod constraint;
mod container;
mod deployment;
mod event;
mod group;
mod instance;
mod network;
mod news;
mod outlook;
mod path;
mod pod;
mod ports;
mod resources;
mod run_spec;
mod secret;
mod strategy;
mod volume;

pub use app::{App, AppCommand, Artifact, EnvValue, VersionInfo};
pub use canary::{Canary, CanaryCheck, CanaryPhase, CanaryReport, CanarySize, OnFailure};
pub use checks::{
    AppHealthCheck, Check, CheckTarget, HealthCheck, HealthProtocol, HttpScheme, PortRef, ReadinessCheck,
};
pub use constraint::{Constraint, Operator};
pub use container::{Container, Docker, DockerParameter, Engine, IpcInfo, LinuxInfo, PullConfig, Seccomp};
pub use deployment::{Action, ActionKind, DeploymentId, Plan, Step};
pub use event::{Event, EventKind};
pub use group::Group;
pub use instance::{
    AgentRef, Condition, Goal, Instance, InstanceId, InstanceIdError, Reservation, ReservationState, Task,
    TaskId, VolumeId,
};
pub use network::{Network, NetworkMode};
pub use news::{Health, HttpAnswer, NoMatch, QueueItem, Readiness, TaskFailure, UnusedOffer};
pub use outlook::{NoPlace, Outlook};
pub use path::{PathId, PathIdError};
pub use pod::{Endpoint, Image, MesosExec, Pod, PodContainer, ShellOrArgs, VolumeMount};
pub use ports::{PortDefinition, PortMapping, Protocols};
pub use resources::{ExecutorResources, Limit, ResourceLimits, Resources};
pub use run_spec::RunSpec;
pub use secret::{InvalidSecretName, SealedSecret, SecretName};
pub use strategy::{Backoff, KillSelection, UnreachableStrategy, UpgradeStrategy};
pub use volume::{
    AppVolume, ExternalVolume, PersistentKind, PersistentVolume, PodVolume, ReadMode, VolumeSource,
};
