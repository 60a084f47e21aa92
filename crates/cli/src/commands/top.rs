//! `mezzo top`

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use mezzo_http::Client;
use mezzo_mesos::v1::{self, agent, cgroup_info::blkio::Operation};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::{
    args::{Global, Top},
    client::{self, Master, State},
    error::{CliError, Exit},
    images,
    output::{bytes, number, scalar},
    table::{self, Format, Row},
    terminal,
};

/// Agents that are asked at the same time.
const AGENTS_MAX: usize = 32;
/// An agent's answer about the load of its containers; some hundred bytes each.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Shorter than this would measure the measuring.
const INTERVAL_MIN: Duration = Duration::from_millis(200);
/// What ends the live table: q, Ctrl-C and Ctrl-D.
const ENDS: [u8; 4] = [b'q', b'Q', 3, 4];

/// Another screen, which leaves what was on the first.
const OPEN_SCREEN: &str = "\x1b[?1049h\x1b[?25l";
const CLOSE_SCREEN: &str = "\x1b[?25h\x1b[?1049l";

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct TopRow {
    task: String,
    tasks: Vec<String>,
    container: String,
    node: String,
    /// Of one processor.
    cpu_percent: Option<f64>,
    cpus: Option<f64>,
    mem_bytes: Option<u64>,
    mem_limit_bytes: Option<u64>,
    disk_used_bytes: Option<u64>,
    disk_limit_bytes: Option<u64>,
    read_bytes_per_second: Option<f64>,
    written_bytes_per_second: Option<f64>,
    processes: Option<u64>,
    pressure: Option<serde_json::Value>,
}

impl Row for TopRow {
    const TITLES: &'static [&'static str] = &[
        "TASK",
        "NODE",
        "CPU %",
        "CPUS",
        "MEM",
        "LIMIT",
        "READ/S",
        "WRITE/S",
        "PROCS",
        "WAITS cpu/mem/io %",
    ];

    fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        let size = |count: Option<u64>| count.map_or_else(dash, bytes);
        let rate = |count: Option<f64>| count.map_or_else(dash, |count| bytes(count as u64));
        let more = self.tasks.len().saturating_sub(1);
        let task = if more > 0 { format!("{} +{more}", self.task) } else { self.task.clone() };
        vec![
            task,
            self.node.clone(),
            self.cpu_percent.map_or_else(dash, |percent| format!("{percent:.1}")),
            self.cpus.map_or_else(dash, number),
            size(self.mem_bytes),
            size(self.mem_limit_bytes),
            rate(self.read_bytes_per_second),
            rate(self.written_bytes_per_second),
            self.processes.map_or_else(dash, |count| count.to_string()),
            self.pressure.as_ref().map_or_else(dash, waits),
        ]
    }
}

/// The part of the last ten seconds in which somebody waited, for each of three.
fn waits(pressure: &serde_json::Value) -> String {
    let share = |name: &str| pressure[name]["some"]["avg10"].as_f64().unwrap_or_default();
    format!("{:.1}/{:.1}/{:.1}", share("cpu"), share("memory"), share("io"))
}

/// What one container used up to a moment.
#[derive(Clone, Debug, Default)]
struct Sample {
    node: String,
    executor: Option<String>,
    statistics: v1::ResourceStatistics,
    load: Load,
}

/// An agent's answer to `/usage`, which Mesos' agents have not.
#[derive(Debug, Default, Deserialize)]
struct Usage {
    containers: BTreeMap<String, Load>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Load {
    processes: Option<u64>,
    pressure: Option<serde_json::Value>,
}

type Samples = BTreeMap<String, Sample>;

/// Shows what containers use: once, or until somebody presses q.
pub(crate) async fn show(global: &Global, arguments: &Top) -> Result<(), CliError> {
    let interval = Duration::try_from_secs_f64(arguments.interval).unwrap_or(INTERVAL_MIN).max(INTERVAL_MIN);
    let mut master = Master::new(&global.master);
    let (is_input, is_output) = terminal::is_terminal();
    let live = global.output == Format::Table && !arguments.once && is_input && is_output;
    let (state, mut before) = sample(&mut master, live).await?;
    if !live {
        tokio::time::sleep(interval).await;
        let (_, after) = sample(&mut master, live).await?;
        return table::print(&rows(&state, &before, &after), global.output);
    }
    let screen = Screen::open()?;
    let mut keys = terminal::read()?;
    // The first table has no rates yet, but it is there at once.
    screen.show(&rows(&state, &before, &before))?;
    loop {
        if ended(&mut keys, interval).await {
            return Ok(());
        }
        let (state, after) = sample(&mut master, live).await?;
        screen.show(&rows(&state, &before, &after))?;
        before = after;
    }
}

/// Waits for a time; whether a key ended it.
async fn ended(keys: &mut mpsc::Receiver<Vec<u8>>, interval: Duration) -> bool {
    let until = tokio::time::Instant::now() + interval;
    loop {
        match tokio::time::timeout_at(until, keys.recv()).await {
            Err(_) => return false,
            Ok(None) => return true,
            Ok(Some(piece)) if piece.is_empty() || piece.iter().any(|key| ENDS.contains(key)) => return true,
            Ok(Some(_)) => {}
        }
    }
}

/// A screen of the terminal's own, until it is dropped.
struct Screen {
    _raw: terminal::Mode,
}

impl Screen {
    fn open() -> Result<Self, CliError> {
        let screen = Self { _raw: terminal::Mode::raw()? };
        screen.write(OPEN_SCREEN)?;
        Ok(screen)
    }

    fn show(&self, rows: &[TopRow]) -> Result<(), CliError> {
        let size = terminal::size();
        let (lines, columns) = size.map_or((24, 80), |size| (size.rows.max(3), size.columns.max(20)));
        let text = table::render(rows, Format::Table)?;
        let mut shown = "\x1b[H\x1b[2J".to_owned();
        for line in text.lines().take(lines as usize - 1) {
            shown.extend(line.chars().take(columns as usize));
            // The terminal adds nothing to what is written.
            shown.push_str("\r\n");
        }
        shown.push_str("q ends");
        self.write(&shown)
    }

    fn write(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| CliError::new(Exit::Failed, "write to stdout").why(error.to_string()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = self.write(CLOSE_SCREEN);
    }
}

/// Asks the master for tasks, and all agents for their containers. Agents that do not answer are told of unless
/// the screen is taken.
async fn sample(master: &mut Master, quiet: bool) -> Result<(State, Samples), CliError> {
    let state = master.state().await?;
    let turns = Arc::new(Semaphore::new(AGENTS_MAX));
    let mut answers = JoinSet::new();
    for (node, address) in images::agents(&state, None)? {
        let (client, turns) = (master.client().clone(), Arc::clone(&turns));
        answers.spawn(async move {
            let _turn = turns.acquire().await;
            (of_agent(&client, &node, &address).await, node)
        });
    }
    let mut samples = Samples::new();
    for (answer, node) in answers.join_all().await {
        match answer {
            Ok(mut found) => samples.append(&mut found),
            Err(error) if !quiet => eprintln!("{node}: {error}"),
            Err(_) => {}
        }
    }
    Ok((state, samples))
}

async fn of_agent(client: &Client, node: &str, address: &str) -> Result<Samples, CliError> {
    let call = agent::Call {
        r#type: Some(agent::call::Type::GetContainers as i32),
        get_containers: Some(agent::call::GetContainers {
            show_nested: Some(true),
            show_standalone: Some(true),
        }),
        ..Default::default()
    };
    let answer = client::agent_call(client, address, call).await?;
    let mut usage = usage(client, address).await.unwrap_or_default();
    let mut samples = Samples::new();
    for container in answer.get_containers.unwrap_or_default().containers {
        let status = container.container_status.as_ref();
        let Some(id) = status.and_then(|status| status.container_id.as_ref()).map(text) else { continue };
        let Some(statistics) = container.resource_statistics else { continue };
        let load = usage.containers.remove(&id).unwrap_or_default();
        let executor = container.executor_id.map(|executor| executor.value);
        samples.insert(id, Sample { node: node.to_owned(), executor, statistics, load });
    }
    Ok(samples)
}

/// What only our agents tell.
async fn usage(client: &Client, address: &str) -> Option<Usage> {
    let answer = client.get(address, "/usage").await.ok()?;
    if !answer.status.is_success() {
        return None;
    }
    serde_json::from_slice(&answer.bytes(ANSWER_BYTES_MAX).await.ok()?).ok()
}

/// `parent.child`.
fn text(id: &v1::ContainerId) -> String {
    id.parent.as_ref().map_or_else(|| id.value.clone(), |parent| format!("{}.{}", text(parent), id.value))
}

/// One row per container that runs something itself; those that use most processors first.
fn rows(state: &State, before: &Samples, after: &Samples) -> Vec<TopRow> {
    let mut tasks: BTreeMap<String, Vec<&v1::Task>> = BTreeMap::new();
    for task in &state.tasks.tasks {
        let container = task
            .statuses
            .iter()
            .rev()
            .find_map(|status| status.container_status.as_ref()?.container_id.as_ref());
        if let Some(container) = container {
            tasks.entry(text(container)).or_default().push(task);
        }
    }
    // A pod is shown by its tasks.
    let is_around_others = |id: &str| {
        let inside = format!("{id}.");
        after.range(inside.clone()..).next().is_some_and(|(next, _)| next.starts_with(&inside))
    };
    let mut rows: Vec<TopRow> = after
        .iter()
        .filter(|(id, _)| !is_around_others(id))
        .map(|(id, sample)| row(id, before.get(id), sample, tasks.get(id).map_or(&[], Vec::as_slice)))
        .collect();
    let key = |row: &TopRow| row.cpu_percent.unwrap_or_default();
    rows.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| a.task.cmp(&b.task)));
    rows
}

fn row(id: &str, before: Option<&Sample>, sample: &Sample, tasks: &[&v1::Task]) -> TopRow {
    let now = &sample.statistics;
    let then = before.map(|before| &before.statistics).filter(|then| now.timestamp > then.timestamp);
    let rate = |of: &dyn Fn(&v1::ResourceStatistics) -> Option<f64>| {
        let then = then?;
        // What counts from the start again has no rate.
        let grown = of(now)? - of(then)?;
        (grown >= 0.0).then(|| grown / (now.timestamp - then.timestamp))
    };
    let cpus: f64 = tasks.iter().map(|task| scalar(&task.resources, "cpus")).sum();
    let names: Vec<String> = tasks.iter().map(|task| task.task_id.value.clone()).collect();
    TopRow {
        task: names.first().or(sample.executor.as_ref()).map_or(id, String::as_str).to_owned(),
        tasks: names,
        container: id.to_owned(),
        node: sample.node.clone(),
        cpu_percent: rate(&seconds).map(|share| share * 100.0),
        cpus: now.cpus_limit.or((cpus > 0.0).then_some(cpus)).or(now.cpus_soft_limit),
        mem_bytes: now.mem_total_bytes.or(now.mem_rss_bytes),
        mem_limit_bytes: now.mem_limit_bytes,
        disk_used_bytes: now.disk_used_bytes,
        disk_limit_bytes: now.disk_limit_bytes,
        read_bytes_per_second: rate(&|all| disk(all, Operation::Read)),
        written_bytes_per_second: rate(&|all| disk(all, Operation::Write)),
        processes: sample.load.processes.or(now.processes.map(u64::from)),
        pressure: sample.load.pressure.clone(),
    }
}

fn seconds(statistics: &v1::ResourceStatistics) -> Option<f64> {
    Some(statistics.cpus_user_time_secs? + statistics.cpus_system_time_secs?)
}

/// Bytes read from or written to all disks.
fn disk(statistics: &v1::ResourceStatistics, operation: Operation) -> Option<f64> {
    let counted = statistics.blkio_statistics.as_ref()?;
    let devices = counted.throttling.iter().filter(|counts| counts.device.is_some());
    let values = devices.flat_map(|counts| &counts.io_service_bytes);
    Some(values.filter(|value| value.op() == operation).filter_map(|value| value.value).sum::<u64>() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(timestamp: f64, seconds: f64) -> Sample {
        let statistics = v1::ResourceStatistics {
            timestamp,
            cpus_user_time_secs: Some(seconds),
            cpus_system_time_secs: Some(0.0),
            mem_rss_bytes: Some(7_000_000),
            mem_limit_bytes: Some(32_000_000),
            ..Default::default()
        };
        let pressure = serde_json::json!({ "cpu": { "some": { "avg10": 1.25 } } });
        let load = Load { processes: Some(3), pressure: Some(pressure) };
        Sample { node: "n1".into(), executor: Some("e".into()), statistics, load }
    }

    #[test]
    fn rates_are_over_the_time_between_two_samples() {
        let task = v1::Task { task_id: v1::TaskId { value: "t".into() }, ..Default::default() };
        let shown = row("c", Some(&sample(10.0, 1.0)), &sample(12.0, 2.0), &[&task, &task]);
        assert_eq!(shown.cpu_percent, Some(50.0));
        let cells = shown.cells();
        assert_eq!(cells[..3], ["t +1", "n1", "50.0"]);
        assert_eq!(cells[4..], ["7 MB", "32 MB", "-", "-", "3", "1.2/0.0/0.0"]);
        // A container that has just come, and one that was started again.
        assert_eq!(row("c", None, &sample(12.0, 2.0), &[]).cpu_percent, None);
        let again = row("c", Some(&sample(10.0, 9.0)), &sample(12.0, 2.0), &[]);
        assert_eq!((again.cpu_percent, again.task.as_str()), (None, "e"));
    }

    #[test]
    fn a_pod_is_shown_by_its_tasks() {
        let state =
            State { tasks: Default::default(), frameworks: Default::default(), agents: Default::default() };
        let after: Samples =
            ["a", "a.x", "a.y", "ab"].into_iter().map(|id| (id.to_owned(), sample(1.0, 1.0))).collect();
        let mut shown: Vec<String> =
            rows(&state, &after, &after).into_iter().map(|row| row.container).collect();
        shown.sort();
        assert_eq!(shown, ["a.x", "a.y", "ab"]);
    }
}
