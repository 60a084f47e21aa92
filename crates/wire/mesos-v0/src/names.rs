//! Names of Mesos' older contract that daemons pass on without spelling them.

/// The Mesos version whose APIs these are; clients compare it.
pub const API_VERSION: &str = "1.12.0";
/// The process of an agent in paths and pids.
pub const AGENT_PROCESS: &str = "slave(1)";
/// Folder of sandboxes below an agent's work directory (rule 394).
pub const SANDBOX_FOLDER: &str = "slaves";
/// Tells an executor the id of its agent (rule 292).
pub const AGENT_ID_VARIABLE: &str = "MESOS_SLAVE_ID";
/// Tells an executor the pid of its agent (rule 292).
pub const AGENT_PID_VARIABLE: &str = "MESOS_SLAVE_PID";
/// First part of the names of an agent's own metrics.
pub const AGENT_METRICS: &str = "slave";
/// Virtual path of the agent's log in /files (rule 399).
pub const AGENT_LOG: &str = "/slave/log";
