//! Where sandboxes lie and under which names /files shows them (rules 394, 395, 399).

use std::sync::Arc;

use mezzo_ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId};

use crate::{config::Config, effect::Effect, state::Executor};

/// Folder of all runs of an executor.
pub(crate) fn executor_root(
    config: &Config,
    agent: &AgentId,
    framework: &FrameworkId,
    executor: &str,
) -> String {
    [&*framework_root(config, agent, framework), "/executors/", executor].concat()
}

/// Folder of everything of a framework.
pub(crate) fn framework_root(config: &Config, agent: &AgentId, framework: &FrameworkId) -> String {
    [&*config.sandbox_root, "/", agent, "/frameworks/", framework].concat()
}

/// One run's sandbox (rule 394).
pub(crate) fn run_directory(
    config: &Config,
    agent: &AgentId,
    framework: &FrameworkId,
    executor: &ExecutorId,
    container: &ContainerId,
) -> Arc<str> {
    [&*executor_root(config, agent, framework, executor), "/runs/", container].concat().into()
}

/// Sandbox of a container without a parent and without a framework (rule 395).
pub(crate) fn standalone_directory(config: &Config, container: &ContainerId) -> Arc<str> {
    format!("{}/containers/{container}", config.work_dir).into()
}

/// Sandbox of a child (rule 355).
pub(crate) fn child_directory(parent: &str, child: &str) -> Arc<str> {
    format!("{parent}/containers/{child}").into()
}

/// The folder above `runs/<container>`.
pub(crate) fn executor_folder(directory: &str) -> &str {
    directory.rsplit_once("/runs/").map_or(directory, |(folder, _)| folder)
}

/// Short name of an executor's newest sandbox in /files.
pub(crate) fn virtual_latest(framework: &FrameworkId, executor: &ExecutorId) -> String {
    ["/frameworks/", framework, "/executors/", executor, "/runs/latest"].concat()
}

/// Shows a sandbox under its three names and points `latest` to it (rules 394 and 399).
pub(crate) fn attach(executor: &Executor, effects: &mut Vec<Effect>) {
    let directory = &executor.directory;
    let latest = [executor_folder(directory), "/runs/latest"].concat();
    effects.push(Effect::Attach { virtual_path: directory.to_string(), real_path: directory.clone() });
    effects.push(Effect::Attach { virtual_path: latest.clone(), real_path: directory.clone() });
    let short = virtual_latest(&executor.framework, &executor.id);
    effects.push(Effect::Attach { virtual_path: short, real_path: directory.clone() });
    // Beside the folder, so its name leads there; a text as short as this lies in the link's inode.
    let target = directory.rsplit('/').next().unwrap_or_default().to_owned();
    effects.push(Effect::Link { path: latest, target });
}

/// Shows a task's sandbox below its executor's (rules 316 and 399).
pub(crate) fn attach_task(executor: &Executor, task: &TaskId, sandbox: &Arc<str>, effects: &mut Vec<Effect>) {
    let name = format!("{}/tasks/{task}", executor.directory);
    let short = format!("{}/tasks/{task}", virtual_latest(&executor.framework, &executor.id));
    effects.push(Effect::Link { path: name.clone(), target: sandbox.to_string() });
    effects.push(Effect::Attach { virtual_path: name, real_path: sandbox.clone() });
    effects.push(Effect::Attach { virtual_path: short, real_path: sandbox.clone() });
}
