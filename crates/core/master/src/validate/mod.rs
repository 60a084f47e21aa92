//! Whether what somebody sent makes sense, with the texts that Mesos answers.
//!
//! Pure functions of the message and of what it must fit; nothing is changed here.

mod call;
mod checks;
mod command;
mod container;
mod framework;
mod group;
mod id;
mod limits;
mod role;
mod task;

pub use call::scheduler_call;
pub use framework::{framework_info, framework_update, suppressed_roles};
pub use id::{container_id, id};
pub use role::role;

pub(crate) use call::principal_matches;
pub(crate) use group::{GroupNeeds, prepare_group, validate_group};
pub(crate) use task::{Needs, Offered, prepare, task_id, validate_task};
