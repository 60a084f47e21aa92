//! A thousand instances of an app with a health check, beside the same tasks launched by a bare scheduler.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use mezzo_mesos::v1::{self, TaskState, scheduler::call};
use serde_json::json;

use super::{Cluster, http, progress};
use crate::{
    client::{PATIENCE, Scheduler, amount, command_task, parts, read_head},
    daemons::{Daemon, Folder, cpu_time},
    table::Table,
};

const AGENTS: usize = 10;
const TASKS: usize = 1_000;
const CPUS: f64 = 0.1;
const MEM: f64 = 32.0;
/// All of them fit with room to spare.
const RESOURCES: &str = "--resources=cpus:16;mem:16384;disk:1024;ports:[31000-31999]";
/// As many instances as one agent has to take, and all launches at once; Marathon's defaults, 5 and 100, are bounds and no
/// measure of what the services can do.
const FLAGS: [&str; 2] = ["--max_instances_per_offer=100", "--launch_tokens=1000"];
/// How long one round may take, until all are healthy and until all have ended.
const ROUND_MAX: Duration = Duration::from_secs(240);
/// Between two words on how far it is.
const WORD: Duration = Duration::from_secs(2);

/// From POST to the end of the deployment, which is when all are healthy.
pub(crate) fn thousand(table: &mut Table) -> Result<()> {
    let cluster = Cluster::start("services-thousand", &FLAGS)?;
    progress("start 10 agents");
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        let folder = Folder::new(&format!("services-thousand-{n}"))?;
        agents.push((Daemon::agent(folder.path(), &cluster.master, &[RESOURCES])?, folder));
    }
    let bare = bare(&cluster.master)?;
    let before = cpu_time(cluster.services.pid())?;
    let ours = ours(&cluster)?;
    let spent = cpu_time(cluster.services.pid())?.saturating_sub(before).as_secs_f64();
    table.row(
        "1,000 instances, POST to all healthy, 10 agents",
        &format!("{ours:.1} s, {:.0} %", 100.0 * bare / ours),
        &format!(
            "the same tasks and checks by a bare scheduler, SUBSCRIBE to all healthy: {bare:.1} s; the services' processor \
             time, with the end of all {spent:.1} s"
        ),
        ">= 70 %",
    );
    Ok(())
}

/// Seconds with the services. Ends the tasks: they would outlive their agents.
fn ours(cluster: &Cluster) -> Result<f64> {
    progress("1,000 instances by the services");
    let names = deployments(cluster.services.port)?;
    let check = json!({"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 0, "intervalSeconds": 60});
    let app = json!({
        "id": "/web", "cmd": "sleep 1000", "cpus": CPUS, "mem": MEM, "instances": TASKS, "healthChecks": [check],
    });
    let start = Instant::now();
    cluster.send("POST", "/v2/apps", &app)?;
    let name = loop {
        match names.recv_timeout(WORD) {
            Ok(name) => break name?,
            Err(RecvTimeoutError::Disconnected) => bail!("the stream of events has ended"),
            Err(RecvTimeoutError::Timeout) => {
                let counts = counts(cluster)?;
                progress(&counts);
                ensure!(
                    start.elapsed() < ROUND_MAX,
                    "the deployment has not ended after {ROUND_MAX:?}: {counts}; see {}",
                    cluster.folder.path().display()
                );
            }
        }
    };
    let took = start.elapsed().as_secs_f64();
    ensure!(name == "deployment_success", "the deployment ended with {name}: {}", counts(cluster)?);
    let counts = counts(cluster)?;
    ensure!(counts.starts_with(&format!("{TASKS} healthy")), "all are to be healthy: {counts}");
    progress("end them");
    cluster.send("PUT", "/v2/apps//web", &json!({"instances": 0}))?;
    cluster.settle("end 1,000 instances")?;
    Ok(took)
}

/// The names of the events that tell of ended deployments, as they come.
fn deployments(port: u16) -> Result<Receiver<Result<String>>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    write!(stream, "GET /v2/events?event_type=deployment_success&event_type=deployment_failed {head}")?;
    let mut events = BufReader::new(stream);
    let (status, _) = read_head(&mut events).context("wait for the stream of events")?;
    ensure!(status == 200, "the stream of events was answered {status}");
    let (sender, names) = mpsc::channel();
    thread::spawn(move || {
        loop {
            let mut line = String::new();
            let name = match events.read_line(&mut line) {
                Ok(0) => return,
                Ok(_) => line.trim_end().strip_prefix("event: ").map(|name| Ok(name.to_owned())),
                // Signs of life come every ten seconds.
                Err(error) => Some(Err(anyhow::Error::new(error).context("read the stream of events"))),
            };
            let failed = matches!(name, Some(Err(_)));
            // Nobody listens any more once the row is there.
            if name.is_some_and(|name| sender.send(name).is_err()) || failed {
                return;
            }
        }
    });
    Ok(names)
}

/// How far the app is, in words.
fn counts(cluster: &Cluster) -> Result<String> {
    let (_, body) = http::ask(cluster.services.port, "GET", "/v2/apps//web?embed=app.counts", b"")?;
    let shown: serde_json::Value = serde_json::from_slice(&body).context("read the app")?;
    let app = &shown["app"];
    Ok(format!(
        "{} healthy, {} running, {} staged",
        app["tasksHealthy"], app["tasksRunning"], app["tasksStaged"]
    ))
}

/// Seconds with a scheduler that launches what fits as offers come. Ends the tasks.
fn bare(master: &Daemon) -> Result<f64> {
    progress("1,000 instances by a bare scheduler");
    let start = Instant::now();
    let mut scheduler = Scheduler::subscribe(master.port, "bench thousand")?;
    // An update may come again when its acknowledgement is slow.
    let (mut launched, mut healthy, mut ended) = (0, BTreeSet::new(), BTreeSet::new());
    let mut took = None;
    let mut word = start;
    while ended.len() < TASKS {
        let far = || format!("{launched} launched, {} healthy, {} ended", healthy.len(), ended.len());
        let event = scheduler.next_flushing().with_context(far)?;
        ensure!(start.elapsed() < ROUND_MAX, "the bare scheduler is not done after {ROUND_MAX:?}: {}", far());
        if word.elapsed() > WORD {
            progress(&far());
            word = Instant::now();
        }
        let (status, offers) = parts(event);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            if status.healthy == Some(true) {
                healthy.insert(status.task_id.value.clone());
            }
            if status.state() == TaskState::TaskKilled {
                ended.insert(status.task_id.value);
            }
            if healthy.len() == TASKS && took.is_none() {
                took = Some(start.elapsed().as_secs_f64());
                for n in 0..TASKS {
                    let kill =
                        call::Kill { task_id: v1::TaskId { value: format!("t{n}") }, ..Default::default() };
                    scheduler.queue(call::Type::Kill, |call| call.kill = Some(kill));
                }
            }
        }
        for offer in offers {
            let room = ((amount(&offer, "cpus") / CPUS).floor() as usize).min(TASKS / AGENTS);
            let room = room.min(TASKS - launched);
            let tasks = (launched..launched + room).map(|n| checked(&offer.agent_id, n)).collect();
            launched += room;
            scheduler.launch(vec![offer.id], tasks, 3600.0);
        }
    }
    // Nothing is left that would take part in what comes next. The stream ends when the framework has.
    scheduler.queue(call::Type::Teardown, |_| {});
    scheduler.flush()?;
    while scheduler.next().is_ok() {
        ensure!(
            start.elapsed() < ROUND_MAX,
            "the bare scheduler's framework has not ended after {ROUND_MAX:?}"
        );
    }
    took.context("not all were healthy")
}

/// `sleep 1000` in a shell, checked as the services have it checked.
fn checked(agent: &v1::AgentId, number: usize) -> v1::TaskInfo {
    let mut task = command_task(agent, format!("t{number}"), "sleep 1000", CPUS, MEM);
    let shell =
        |text: &str| v1::CommandInfo { shell: Some(true), value: Some(text.into()), ..Default::default() };
    task.command = Some(shell("sleep 1000"));
    task.health_check = Some(Box::new(v1::HealthCheck {
        r#type: Some(v1::health_check::Type::Command.into()),
        command: Some(shell("true")),
        delay_seconds: Some(0.0),
        interval_seconds: Some(60.0),
        ..Default::default()
    }));
    task
}
