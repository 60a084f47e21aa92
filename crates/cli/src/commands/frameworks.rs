//! `mezzo frameworks`

use mezzo_mesos::v1::{FrameworkInfo, master::response::get_frameworks::Framework};
use serde::Serialize;

use crate::{
    args::{Frameworks, Global},
    client::{Master, State},
    error::CliError,
    output::{megabytes, number, scalar},
    table::{self, Row},
};

#[derive(Debug, Serialize)]
struct FrameworkRow {
    id: String,
    name: String,
    user: String,
    roles: Vec<String>,
    state: &'static str,
    tasks: usize,
    cpus: f64,
    mem: f64,
}

impl Row for FrameworkRow {
    const TITLES: &'static [&'static str] =
        &["FRAMEWORK", "NAME", "USER", "ROLES", "STATE", "TASKS", "CPUS", "MEM"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            self.user.clone(),
            self.roles.join(","),
            self.state.into(),
            self.tasks.to_string(),
            number(self.cpus),
            megabytes(self.mem),
        ]
    }
}

/// Lists frameworks by name.
pub(crate) async fn list(global: &Global, arguments: &Frameworks) -> Result<(), CliError> {
    let snapshot = Master::new(&global.master).state().await?;
    let ended = arguments.all.then_some(&snapshot.frameworks.completed_frameworks);
    let live = snapshot.frameworks.frameworks.iter().map(|framework| row(&snapshot, framework, false));
    let ended = ended.into_iter().flatten().map(|framework| row(&snapshot, framework, true));
    let mut rows: Vec<FrameworkRow> = live.chain(ended).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    table::print(&rows, global.output)
}

fn row(snapshot: &State, framework: &Framework, ended: bool) -> FrameworkRow {
    let info = &framework.framework_info;
    let mine = |task: &&mezzo_mesos::v1::Task| Some(&task.framework_id) == info.id.as_ref();
    FrameworkRow {
        id: info.id.as_ref().map(|id| id.value.clone()).unwrap_or_default(),
        name: info.name.clone(),
        user: info.user.clone(),
        roles: roles(info),
        state: state(framework, ended),
        tasks: snapshot.tasks.tasks.iter().filter(mine).count(),
        cpus: scalar(&framework.allocated_resources, "cpus"),
        mem: scalar(&framework.allocated_resources, "mem"),
    }
}

#[expect(deprecated, reason = "frameworks without the MULTI_ROLE capability use the older field")]
fn roles(info: &FrameworkInfo) -> Vec<String> {
    if info.roles.is_empty() { info.role.iter().cloned().collect() } else { info.roles.clone() }
}

pub(super) fn state(framework: &Framework, ended: bool) -> &'static str {
    if ended {
        "completed"
    } else if framework.recovered {
        "recovered"
    } else if !framework.connected {
        "disconnected"
    } else if framework.active {
        "active"
    } else {
        "inactive"
    }
}
