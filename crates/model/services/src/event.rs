//! What subscribers of `/v2/events` are told.

use std::sync::Arc;

use mezzo_time::Timestamp;

use crate::{App, AppHealthCheck, CanaryReport, Condition, Goal, InstanceId, PathId, Plan, TaskId};

/// Something that happened. The API's name of each stands in reference/marathon/events.tsv.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the API's, named in reference/marathon/events.tsv")]
pub enum EventKind {
    StreamAttached {
        remote_address: String,
    },
    StreamDetached {
        remote_address: String,
    },
    AppPosted {
        client_ip: String,
        uri: String,
        app: Arc<App>,
    },
    PodCreated {
        client_ip: String,
        uri: String,
    },
    PodUpdated {
        client_ip: String,
        uri: String,
    },
    PodDeleted {
        client_ip: String,
        uri: String,
    },
    SchedulerRegistered {
        framework_id: String,
        master: String,
    },
    SchedulerReregistered {
        master: String,
    },
    SchedulerDisconnected,
    FrameworkMessage {
        executor_id: String,
        agent_id: String,
        message: Vec<u8>,
    },
    HealthCheckAdded {
        app: PathId,
        version: Timestamp,
        check: AppHealthCheck,
    },
    HealthCheckRemoved {
        app: PathId,
    },
    HealthCheckFailed {
        app: PathId,
        instance: InstanceId,
        check: AppHealthCheck,
    },
    HealthStatusChanged {
        app: PathId,
        instance: InstanceId,
        version: Timestamp,
        alive: bool,
    },
    UnhealthyInstanceKilled {
        app: PathId,
        task: TaskId,
        instance: InstanceId,
        version: Timestamp,
        reason: String,
        host: String,
        agent_id: Option<String>,
    },
    GroupChanged {
        group: PathId,
        version: Timestamp,
    },
    GroupChangeFailed {
        group: PathId,
        version: Timestamp,
        reason: String,
    },
    DeploymentInfo {
        plan: Arc<Plan>,
        step: usize,
    },
    DeploymentStepSucceeded {
        plan: Arc<Plan>,
        step: usize,
    },
    DeploymentStepFailed {
        plan: Arc<Plan>,
        step: usize,
    },
    DeploymentSucceeded {
        plan: Arc<Plan>,
    },
    DeploymentFailed {
        plan: Arc<Plan>,
        reason: String,
    },
    TaskStatus {
        app: PathId,
        task: TaskId,
        agent_id: Option<String>,
        state: String,
        message: String,
        host: String,
        ip_addresses: Vec<String>,
        ports: Vec<u16>,
        version: Timestamp,
    },
    InstanceChanged {
        instance: InstanceId,
        run_spec: PathId,
        condition: Condition,
        goal: Goal,
        agent_id: Option<String>,
        host: Option<String>,
        version: Timestamp,
    },
    InstanceHealthChanged {
        instance: InstanceId,
        run_spec: PathId,
        version: Timestamp,
        healthy: Option<bool>,
    },
    UnknownInstanceTerminated {
        instance: InstanceId,
        run_spec: PathId,
        condition: Condition,
    },
    AppTerminated {
        app: PathId,
    },
    /// An extension of ours.
    CanaryChanged {
        report: CanaryReport,
    },
}
