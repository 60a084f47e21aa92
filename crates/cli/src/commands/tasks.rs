//! `mezzo tasks`

use mezzo_mesos::v1;
use serde::Serialize;

use crate::{
    args::{Global, Tasks},
    client::{Master, State},
    error::CliError,
    output::{age, megabytes, now, number, scalar, state},
    table::{self, Row},
};

#[derive(Debug, Serialize)]
struct TaskRow {
    id: String,
    name: String,
    state: String,
    framework: String,
    node: String,
    cpus: f64,
    mem: f64,
    age_seconds: f64,
}

impl Row for TaskRow {
    const TITLES: &'static [&'static str] =
        &["TASK", "NAME", "STATE", "FRAMEWORK", "NODE", "CPUS", "MEM", "AGE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            self.state.clone(),
            self.framework.clone(),
            self.node.clone(),
            number(self.cpus),
            megabytes(self.mem),
            age(self.age_seconds),
        ]
    }
}

/// Lists tasks, newest first.
pub(crate) async fn list(global: &Global, arguments: &Tasks) -> Result<(), CliError> {
    let snapshot = Master::new(&global.master).state().await?;
    let ended = arguments.all.then_some(&snapshot.tasks.completed_tasks);
    let live = snapshot.tasks.tasks.iter().chain(&snapshot.tasks.unreachable_tasks);
    let mut rows: Vec<TaskRow> = live
        .chain(ended.into_iter().flatten())
        .filter(|task| of_framework(&snapshot, task, arguments.framework.as_deref()))
        .map(|task| row(&snapshot, task))
        .collect();
    rows.sort_by(|a, b| a.age_seconds.total_cmp(&b.age_seconds).then_with(|| a.id.cmp(&b.id)));
    table::print(&rows, global.output)
}

fn of_framework(snapshot: &State, task: &v1::Task, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return true };
    task.framework_id.value.starts_with(wanted) || snapshot.framework_name(&task.framework_id) == Some(wanted)
}

fn row(snapshot: &State, task: &v1::Task) -> TaskRow {
    let started = task.statuses.first().and_then(|status| status.timestamp);
    let node = snapshot.agent(&task.agent_id).map(|agent| agent.agent_info.hostname.clone());
    let framework = snapshot.framework_name(&task.framework_id).map(str::to_owned);
    TaskRow {
        id: task.task_id.value.clone(),
        name: task.name.clone(),
        state: state(task.state()),
        framework: framework.unwrap_or_else(|| task.framework_id.value.clone()),
        node: node.unwrap_or_else(|| task.agent_id.value.clone()),
        cpus: scalar(&task.resources, "cpus"),
        mem: scalar(&task.resources, "mem"),
        age_seconds: started.map_or(0.0, |started| (now() - started).max(0.0)),
    }
}
