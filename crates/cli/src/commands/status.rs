//! `mezzo status`

use std::collections::BTreeMap;

use mezzo_mesos::v1::master::call::Type;
use serde::Serialize;

use crate::{
    args::Global,
    client::Master,
    error::{CliError, Exit},
    output::{megabytes, number, scalar, state},
    table::Format,
};

#[derive(Debug, Serialize)]
struct Status {
    master: String,
    version: String,
    agents_active: usize,
    agents: usize,
    frameworks: usize,
    tasks: BTreeMap<String, usize>,
    cpus_used: f64,
    cpus: f64,
    mem_used: f64,
    mem: f64,
}

/// Prints how the cluster is.
pub(crate) async fn print(global: &Global) -> Result<(), CliError> {
    let mut master = Master::new(&global.master);
    let version = master.get(Type::GetVersion).await?.get_version;
    let snapshot = master.state().await?;
    let agents = &snapshot.agents.agents;
    // Folded from 0: the sum of no floats at all is -0.
    let sum = |amounts: &mut dyn Iterator<Item = f64>| amounts.fold(0.0, |sum, amount| sum + amount);
    let used = |name| sum(&mut agents.iter().map(|agent| scalar(&agent.allocated_resources, name)));
    let total = |name| sum(&mut agents.iter().map(|agent| scalar(&agent.total_resources, name)));
    let mut tasks = BTreeMap::new();
    for task in snapshot.tasks.tasks.iter().chain(&snapshot.tasks.unreachable_tasks) {
        *tasks.entry(state(task.state())).or_insert(0) += 1;
    }
    let status = Status {
        master: master.address().to_owned(),
        version: version.map(|version| version.version_info.version).unwrap_or_default(),
        agents_active: agents.iter().filter(|agent| agent.active).count(),
        agents: agents.len() + snapshot.agents.recovered_agents.len(),
        frameworks: snapshot.frameworks.frameworks.len(),
        tasks,
        cpus_used: used("cpus"),
        cpus: total("cpus"),
        mem_used: used("mem"),
        mem: total("mem"),
    };
    match global.output {
        Format::Json | Format::Jsonl => {
            let text = serde_json::to_string(&status)
                .map_err(|error| CliError::new(Exit::Failed, "write JSON").why(error.to_string()))?;
            println!("{text}");
        }
        Format::Name => println!("{}", status.master),
        Format::Table => print_text(&status),
    }
    Ok(())
}

fn print_text(status: &Status) {
    let all: usize = status.tasks.values().sum();
    println!("master      {}  (Mesos API {})", status.master, status.version);
    println!("agents      {}/{} active", status.agents_active, status.agents);
    println!("frameworks  {}", status.frameworks);
    let by_state: Vec<String> =
        status.tasks.iter().map(|(state, count)| format!("{count} {state}")).collect();
    println!("tasks       {all}{}{}", if all > 0 { ": " } else { "" }, by_state.join(", "));
    println!("cpus        {}/{} used", number(status.cpus_used), number(status.cpus));
    println!("mem         {}/{} used", megabytes(status.mem_used), megabytes(status.mem));
    if status.agents == 0 {
        println!("next:       mezzo agent --master={} --work_dir=PATH", status.master);
    }
}
