//! The environment of executors and tasks (rules 292, 293, 308, 318).

use mezzo_ids::AgentId;
use mezzo_mesos::v1;
use mezzo_time::format_duration;

use crate::{
    config::Config,
    state::{Executor, Framework},
};

/// Longest random wait of an executor library before it subscribes again.
const SUBSCRIPTION_BACKOFF_MAX: &str = "2secs";

/// Without it a shell finds no program; Mesos' launcher leaves the same default to its shell.
pub(crate) const PATH: (&str, &str) =
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

/// Room for what is always there and a few of the task's own.
const VARIABLES: usize = 32;

/// Collects variables; a later one of the same name wins.
struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Variables of a message; those of type SECRET are resolved elsewhere or not at all.
    fn add(&mut self, environment: Option<&v1::Environment>) {
        for variable in environment.into_iter().flat_map(|e| &e.variables) {
            if let Some(value) = &variable.value {
                self.set(&variable.name, value.clone());
            }
        }
    }

    /// By name.
    fn into_vec(mut self) -> Vec<(String, String)> {
        // Stable: of equal names the last one set comes last, and stays.
        self.0.sort_by(|a, b| a.0.cmp(&b.0));
        self.0.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        self.0
    }
}

/// What every executor's process gets. The agent's own environment is not inherited.
fn base(config: &Config, agent: &AgentId, framework: &Framework, executor: &Executor) -> Variables {
    let mut variables = Variables(Vec::with_capacity(VARIABLES));
    for (name, value) in &config.executor_environment {
        variables.set(name, value.clone());
    }
    if config.executor_environment.is_empty() {
        variables.set(PATH.0, PATH.1);
    }
    variables.set("LIBPROCESS_IP", config.ip.clone());
    variables.set("LIBPROCESS_PORT", "0");
    variables.set("MESOS_FRAMEWORK_ID", framework.id.as_str());
    variables.set("MESOS_EXECUTOR_ID", executor.id.as_str());
    variables.set(&config.legacy.agent_id_variable, agent.as_str());
    variables.set(&config.legacy.agent_pid_variable, config.legacy.agent_pid.clone());
    variables.set("MESOS_AGENT_ENDPOINT", [&*config.ip, ":", &config.port.to_string()].concat());
    variables.set("MESOS_DIRECTORY", &*executor.directory);
    variables.set("MESOS_SANDBOX", &*executor.directory);
    variables.set("MESOS_CHECKPOINT", if framework.checkpoint() { "1" } else { "0" });
    variables.set("MESOS_HTTP_COMMAND_EXECUTOR", "0");
    let grace = shutdown_grace(config, &executor.info);
    variables.set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", format_duration(grace));
    if framework.checkpoint() {
        variables.set("MESOS_RECOVERY_TIMEOUT", format_duration(config.recovery_timeout));
        variables.set("MESOS_SUBSCRIPTION_BACKOFF_MAX", SUBSCRIPTION_BACKOFF_MAX);
    }
    variables
}

/// Time between SHUTDOWN and the end of the container (rule 297).
pub(crate) fn shutdown_grace(config: &Config, info: &v1::ExecutorInfo) -> std::time::Duration {
    match info.shutdown_grace_period {
        Some(period) => crate::resources::duration(&period),
        None => config.executor_shutdown_grace_period,
    }
}

/// For the process of a custom executor.
pub(crate) fn executor(
    config: &Config,
    agent: &AgentId,
    framework: &Framework,
    executor: &Executor,
) -> Vec<(String, String)> {
    let mut variables = base(config, agent, framework, executor);
    variables.add(executor.info.command.as_ref().and_then(|c| c.environment.as_ref()));
    variables.into_vec()
}

/// For the process of a command task, or of a task in a group: the executor's, then what the built-in
/// executors add (rules 308 and 318), then the task's own.
pub(crate) fn task(
    config: &Config,
    agent: &AgentId,
    framework: &Framework,
    executor: &Executor,
    info: &v1::TaskInfo,
    sandbox: &str,
) -> Vec<(String, String)> {
    let mut variables = base(config, agent, framework, executor);
    variables.add(executor.info.command.as_ref().and_then(|c| c.environment.as_ref()));
    variables.set("MESOS_SANDBOX", sandbox);
    if let Some(role) = info.resources.iter().find_map(|r| r.allocation_info.as_ref()?.role.as_ref()) {
        variables.set("MESOS_ALLOCATION_ROLE", role.clone());
    }
    if executor.info.r#type() == v1::executor_info::Type::Default {
        variables.set("MESOS_CONTAINER_IP", config.ip.clone());
        variables.set("MESOS_TASK_ID", info.task_id.value.clone());
    }
    variables.add(info.command.as_ref().and_then(|c| c.environment.as_ref()));
    variables.into_vec()
}

/// A command's variables on top of an inherited environment.
pub(crate) fn over(
    inherited: Vec<(String, String)>,
    command: Option<&v1::CommandInfo>,
) -> Vec<(String, String)> {
    let mut variables = Variables(inherited);
    variables.add(command.and_then(|c| c.environment.as_ref()));
    variables.into_vec()
}
