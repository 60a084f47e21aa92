//! `mezzo why`

use mezzo_mesos::v1::{self, master::response::get_frameworks::Framework};
use serde_json::json;

use super::{frameworks, services};
use crate::{
    args::{Global, Why},
    client::{Master, State, Withheld},
    error::{CliError, Exit},
    files::agent_address,
    images,
    output::{age, megabytes, now, number, scalar, state},
    services::Services,
    table::Format,
};

/// The label that tells what a framework waits for; `mezzo run` sets it.
pub(super) const NEEDS_LABEL: &str = "mezzo.needs";

/// Explains where an app, task or framework is and what it waits for.
pub(crate) async fn explain(global: &Global, arguments: &Why) -> Result<(), CliError> {
    let services = Services::new(&arguments.server.services);
    // Names of tasks of apps are those of their apps, which say more; ids of tasks are no paths of apps.
    if let Some(lines) = services::app_lines(&services, &arguments.what).await? {
        return print(global, lines);
    }
    let mut master = Master::new(&global.master);
    let snapshot = master.state().await?;
    match snapshot.find_task(&arguments.what) {
        Ok(task) => {
            let mut lines = task_lines(&snapshot, task);
            if let Some(line) = image_line(&master, &snapshot, task).await {
                lines.insert(lines.len() - 1, line);
            }
            print(global, lines)
        }
        Err(error) if error.exit() != Exit::NotFound => Err(error),
        Err(_) => {
            let (framework, ended) = find_framework(&snapshot, &arguments.what)?;
            let mut lines = framework_lines(&snapshot, framework, ended);
            if let Some(id) = framework.framework_info.id.as_ref().filter(|_| !ended) {
                lines.extend(withheld_lines(&master.withheld(&id.value).await?.unwrap_or_default()));
            }
            print(global, lines)
        }
    }
}

fn print(global: &Global, lines: Vec<String>) -> Result<(), CliError> {
    match global.output {
        Format::Json | Format::Jsonl => println!("{}", json!({ "lines": lines })),
        Format::Table | Format::Name => lines.iter().for_each(|line| println!("{line}")),
    }
    Ok(())
}

fn task_lines(snapshot: &State, task: &v1::Task) -> Vec<String> {
    let framework = snapshot.framework_name(&task.framework_id).unwrap_or("?");
    let node = snapshot.agent(&task.agent_id);
    let node_name = node.map_or(task.agent_id.value.as_str(), |agent| agent.agent_info.hostname.as_str());
    let mut lines = vec![format!(
        "task {}   {} on {node_name}   framework {framework}",
        task.task_id.value,
        state(task.state())
    )];
    for status in &task.statuses {
        let mut line = format!(
            "  {:>5} ago  {}",
            age(now() - status.timestamp.unwrap_or_else(now)),
            state(status.state())
        );
        if let Some(message) = status.message.as_deref().filter(|message| !message.is_empty()) {
            line.push_str(&format!(": {message}"));
        }
        let reason = status.reason.and_then(|reason| v1::task_status::Reason::try_from(reason).ok());
        if let Some(reason) = reason {
            line.push_str(&format!("  ({})", reason.as_str_name()));
        }
        lines.push(line);
    }
    if node.is_none() {
        lines.push(format!("  its agent {} is not registered", task.agent_id.value));
    } else if is_on_its_way(task) {
        lines.push("  the agent has it and prepares its container".into());
    }
    lines.push(format!("  logs:  mezzo logs {0}     mezzo logs --stderr {0}", task.task_id.value));
    lines
}

fn is_on_its_way(task: &v1::Task) -> bool {
    matches!(task.state(), v1::TaskState::TaskStaging | v1::TaskState::TaskStarting)
}

/// How far the image is that a task waits for, by its agent.
async fn image_line(master: &Master, snapshot: &State, task: &v1::Task) -> Option<String> {
    let image = images::of_task(task).filter(|_| is_on_its_way(task))?;
    let address = agent_address(snapshot, &task.agent_id)?;
    let coming = images::coming(master.client(), &address, &image).await?;
    let others = match coming.waiting {
        0 | 1 => String::new(),
        waiting => format!("   ({waiting} wait for it)"),
    };
    Some(format!("  pulling {image}: {}{others}", coming.progress()))
}

fn find_framework<'a>(snapshot: &'a State, wanted: &str) -> Result<(&'a Framework, bool), CliError> {
    let live = snapshot.frameworks.frameworks.iter().map(|framework| (framework, false));
    let ended = snapshot.frameworks.completed_frameworks.iter().map(|framework| (framework, true));
    let id = |framework: &Framework| {
        framework.framework_info.id.as_ref().map(|id| id.value.clone()).unwrap_or_default()
    };
    let mut matching: Vec<_> = live
        .chain(ended)
        .filter(|(framework, _)| id(framework).starts_with(wanted) || framework.framework_info.name == wanted)
        .collect();
    if matching.len() > 1 {
        // A name that was used before means the one that lives.
        matching.retain(|(framework, ended)| !ended || id(framework) == wanted);
    }
    match matching[..] {
        [one] => Ok(one),
        [] => Err(CliError::new(Exit::NotFound, format!("no task or framework is called '{wanted}'"))
            .why("neither a task nor a framework, running or completed")
            .help("mezzo tasks --all")
            .help("mezzo frameworks --all")),
        _ => Err(CliError::new(Exit::Conflict, format!("'{wanted}' can mean several frameworks"))
            .why(format!("{} match", matching.len()))
            .help("mezzo frameworks")),
    }
}

fn framework_lines(snapshot: &State, framework: &Framework, ended: bool) -> Vec<String> {
    let info = &framework.framework_info;
    let id = info.id.as_ref().map(|id| id.value.as_str()).unwrap_or_default();
    let mut lines = vec![format!("framework {id}   {}   {}", info.name, frameworks::state(framework, ended))];
    let tasks = snapshot.tasks.tasks.iter().filter(|task| task.framework_id.value == id).count();
    lines.push(format!(
        "  runs {tasks} tasks with {} cpus {}; is offered {} cpus {}",
        number(scalar(&framework.allocated_resources, "cpus")),
        megabytes(scalar(&framework.allocated_resources, "mem")),
        number(scalar(&framework.offered_resources, "cpus")),
        megabytes(scalar(&framework.offered_resources, "mem")),
    ));
    if ended {
        return lines;
    }
    if !framework.connected {
        lines.push("  gets no offers: its scheduler is not connected".into());
    } else if !framework.active {
        lines.push("  gets no offers: it is deactivated".into());
    }
    let labels = info.labels.iter().flat_map(|labels| &labels.labels);
    let needs = labels.filter(|label| label.key == NEEDS_LABEL).find_map(|label| label.value.as_deref());
    if let Some((cpus, mem)) = needs.and_then(parse_needs) {
        lines.extend(placement_lines(snapshot, cpus, mem));
    }
    lines
}

/// What the allocator keeps from a framework, and by which rule.
fn withheld_lines(withheld: &[Withheld]) -> Vec<String> {
    let line = |sum: &Withheld| {
        let Withheld { role, reason, agents, cpus, mem } = sum;
        if *agents == 0 {
            return format!("  is offered nothing as {role}: {reason}");
        }
        let (cpus, mem) = (number(*cpus), megabytes(*mem));
        format!("  is not offered {agents} nodes with {cpus} cpus {mem} free as {role}: {reason}")
    };
    withheld.iter().map(line).collect()
}

/// `cpus:0.1;mem:64` as numbers.
fn parse_needs(text: &str) -> Option<(f64, f64)> {
    let amount = |name: &str| {
        let named = text.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix(':'));
        named?.trim().parse::<f64>().ok()
    };
    Some((amount("cpus")?, amount("mem")?))
}

/// Each agent's verdict about one more task of this size, and what limits.
pub(super) fn placement_lines(snapshot: &State, cpus: f64, mem: f64) -> Vec<String> {
    let agents = &snapshot.agents.agents;
    if agents.is_empty() {
        return vec!["  there is no agent".into()];
    }
    let mut lines =
        vec![format!("  {:<16} {:<16} {:<22} verdict", "node", "cpus free/need", "memory free/need")];
    let (mut short_cpus, mut short_mem, mut fits) = (0, 0, 0);
    for agent in agents {
        let free = |name| scalar(&agent.total_resources, name) - scalar(&agent.allocated_resources, name);
        let (free_cpus, free_mem) = (free("cpus"), free("mem"));
        let verdict = if !agent.active {
            "not active".to_owned()
        } else if free_cpus < cpus {
            short_cpus += 1;
            format!("short of {} cpus", number(cpus - free_cpus))
        } else if free_mem < mem {
            short_mem += 1;
            format!("short of {}", megabytes(mem - free_mem))
        } else {
            fits += 1;
            "ok".to_owned()
        };
        lines.push(format!(
            "  {:<16} {:<16} {:<22} {verdict}",
            agent.agent_info.hostname,
            format!("{}/{}", number(free_cpus), number(cpus)),
            format!("{}/{}", megabytes(free_mem), megabytes(mem)),
        ));
    }
    let all = agents.len();
    lines.push(if fits > 0 {
        format!("  fits on {fits} of {all} nodes: another framework may hold their offers   mezzo offers")
    } else if short_cpus >= short_mem && short_cpus > 0 {
        format!("  limiting: cpus, on {short_cpus} of {all} nodes")
    } else if short_mem > 0 {
        format!("  limiting: memory, on {short_mem} of {all} nodes")
    } else {
        "  limiting: no agent is active".to_owned()
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_withheld_is_told_by_role_and_reason() {
        let sum = |agents, reason: &str| Withheld {
            role: "web".into(),
            reason: reason.into(),
            agents,
            cpus: 4.0,
            mem: 512.0,
        };
        assert_eq!(
            withheld_lines(&[sum(0, "the framework suppressed offers for the role"), sum(3, "a filter")]),
            [
                "  is offered nothing as web: the framework suppressed offers for the role",
                "  is not offered 3 nodes with 4 cpus 512 MiB free as web: a filter",
            ]
        );
    }

    #[test]
    fn needs_are_read_from_their_label() {
        assert_eq!(parse_needs("cpus:0.1;mem:64;disk:0"), Some((0.1, 64.0)));
        assert_eq!(parse_needs("mem:64"), None);
    }
}
