//! Mesos' v0 endpoints: their JSON and their request bodies. The only place where "slave" is spelled.
//!
//! A writer takes plain borrowed views, which a daemon fills from a snapshot or from the agent core, and
//! a [`Writer`] of `mezzo-json`; nothing is allocated per task, and a streaming writer keeps large
//! answers in pieces. Keys come in the order a genuine Mesos writes them; endpoints that Mesos answers
//! from a sorted tree go through [`alphabetical`].
//!
//! Who may see what is not decided here: leave it out of the view.

mod agent;
mod agent_state;
mod alphabetical;
mod common;
mod forms;
mod framework;
mod master;
pub mod names;
mod registry;
mod resources;
mod roles;
mod shapes;
mod task;

#[cfg(test)]
mod tests;

pub use mezzo_json::Writer;

pub use agent::{AgentView, ReservedView, write_agent, write_agent_full, write_agent_info};
pub use agent_state::{
    AgentState, AgentStateExecutor, AgentStateFramework, ContainerView, QueuedTask, agent_state, containers,
    monitor_statistics,
};
pub use alphabetical::alphabetical;
pub use common::{
    Build, FileEntry, JSONP_NAME_MAX, SystemStats, files_browse, files_debug, files_read, flags, jsonp_end,
    jsonp_start, metrics_snapshot, system_stats, version,
};
pub use forms::{Form, FormError, PAIRS_MAX, parse_query, path_tail};
pub use framework::{
    ExecutorView, FrameworkView, OfferView, Written, write_framework, write_framework_summary,
};
pub use master::{
    LeaderView, MasterState, StateSummary, TaskCounts, TaskQuery, frameworks, master_state, order_tasks,
    slaves, state_summary, tasks,
};
pub use registry::{RegistryView, registry};
pub use resources::{write_attributes, write_proto_resources, write_quantities, write_resources};
pub use roles::{RoleView, maintenance_schedule, maintenance_status, quota, roles, weights};
pub use task::write_task;
