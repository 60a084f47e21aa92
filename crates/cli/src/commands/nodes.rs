//! `mezzo nodes`

use mezzo_mesos::v1::master::response::get_agents::Agent;
use serde::Serialize;

use crate::{
    args::Global,
    client::{Master, State},
    error::CliError,
    output::{megabytes, number, scalar},
    table::{self, Row},
};

#[derive(Debug, Serialize)]
struct NodeRow {
    id: String,
    hostname: String,
    address: String,
    state: &'static str,
    cpus_used: f64,
    cpus: f64,
    mem_used: f64,
    mem: f64,
    tasks: usize,
}

impl Row for NodeRow {
    const TITLES: &'static [&'static str] = &["NODE", "ADDRESS", "STATE", "CPUS", "MEM", "TASKS", "ID"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.hostname.clone(),
            self.address.clone(),
            self.state.into(),
            format!("{}/{}", number(self.cpus_used), number(self.cpus)),
            format!("{}/{}", megabytes(self.mem_used), megabytes(self.mem)),
            self.tasks.to_string(),
            self.id.clone(),
        ]
    }
}

/// Lists agents by name.
pub(crate) async fn list(global: &Global) -> Result<(), CliError> {
    let snapshot = Master::new(&global.master).state().await?;
    let mut rows: Vec<NodeRow> = snapshot.agents.agents.iter().map(|agent| row(&snapshot, agent)).collect();
    rows.sort_by(|a, b| a.hostname.cmp(&b.hostname).then_with(|| a.id.cmp(&b.id)));
    table::print(&rows, global.output)
}

fn row(snapshot: &State, agent: &Agent) -> NodeRow {
    let id = agent.agent_info.id.clone().unwrap_or_default();
    NodeRow {
        hostname: agent.agent_info.hostname.clone(),
        address: crate::files::agent_address(snapshot, &id).unwrap_or_default(),
        state: state(agent),
        cpus_used: scalar(&agent.allocated_resources, "cpus"),
        cpus: scalar(&agent.total_resources, "cpus"),
        mem_used: scalar(&agent.allocated_resources, "mem"),
        mem: scalar(&agent.total_resources, "mem"),
        tasks: snapshot.tasks.tasks.iter().filter(|task| task.agent_id == id).count(),
        id: id.value,
    }
}

fn state(agent: &Agent) -> &'static str {
    if agent.drain_info.is_some() {
        "draining"
    } else if agent.deactivated == Some(true) {
        "deactivated"
    } else if agent.active {
        "active"
    } else {
        "disconnected"
    }
}
