//! What the API answers. Everything is written straight into a [`mezzo_json::Writer`], without a tree of values in between: the
//! list of thousands of apps is the answer that is asked for most.

pub(crate) mod app;
mod app_info;
mod canary;
mod deployment;
mod embed;
mod facts;
pub(crate) mod fields;
mod group;
mod info;
mod instance;
mod metrics;
mod problem;
mod queue;
mod secret;
pub(crate) mod shared;
mod state;
mod stats;
pub(crate) mod task;
#[cfg(test)]
mod tests;

mod versions;

pub use app::write_app;
pub use app_info::{write_app_info, write_app_infos, write_app_list, write_app_single, write_app_star};
pub use canary::write_canary_report;
pub(crate) use deployment::{current_step, write_plan, write_step};
pub use deployment::{write_deployment_result, write_deployments, write_steps_only};
pub use embed::{AppEmbeds, GroupEmbeds};
pub use facts::{DeploymentFacts, Facts, Sources};
pub use group::write_group;
pub use info::{Info, Setting, write_info, write_leader};
pub use instance::{write_instance, write_instances};
pub use metrics::{METRICS, MetricKind, MetricName, Metrics, Rates, Timing, write_metrics, write_prometheus};
pub use problem::{Problem, message_body};
pub use queue::write_queue;
pub use secret::write_secret_list;
pub use state::task_state;
pub use stats::Counts;
pub use task::{write_task, write_task_list};
pub use versions::{write_app_versions, write_versions};
