//! A thousand instances of an app with a health check, beside the same tasks launched by a bare scheduler.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use mezzo_mesos::v1::{self, TaskState, scheduler::call};
use serde_json::json;

use super::{Cluster, http};
use crate::{
    client::{PATIENCE, Scheduler, amount, command_task, parts, read_head},
    daemons::{Daemon, Folder},
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

/// From POST to the end of the deployment, which is when all are healthy.
pub(crate) fn thousand(table: &mut Table) -> Result<()> {
    let cluster = Cluster::start_with("services-thousand", &FLAGS)?;
    let mut agents = Vec::new();
    for n in 0..AGENTS {
        let folder = Folder::new(&format!("services-thousand-{n}"))?;
        agents.push((Daemon::agent(folder.path(), &cluster.master, &[RESOURCES])?, folder));
    }
    let bare = bare(&cluster.master)?;
    let ours = ours(&cluster)?;
    table.row(
        "1,000 instances, POST to all healthy, 10 agents",
        &format!("{ours:.1} s, {:.0} %", 100.0 * bare / ours),
        &format!("the same tasks and checks by a bare scheduler, SUBSCRIBE to all healthy: {bare:.1} s"),
        ">= 70 %",
    );
    Ok(())
}

/// Seconds with the services. Ends the tasks: they would outlive their agents.
fn ours(cluster: &Cluster) -> Result<f64> {
    let port = cluster.services.port;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    write!(stream, "GET /v2/events?event_type=deployment_success&event_type=deployment_failed {head}")?;
    let mut events = BufReader::new(stream);
    let (status, _) = read_head(&mut events)?;
    ensure!(status == 200, "the stream of events was answered {status}");
    let check = json!({"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 0, "intervalSeconds": 60});
    let app = json!({
        "id": "/web", "cmd": "sleep 1000", "cpus": CPUS, "mem": MEM, "instances": TASKS, "healthChecks": [check],
    });
    let start = Instant::now();
    cluster.send("POST", "/v2/apps", &app)?;
    let mut line = String::new();
    while !line.starts_with("event: deployment_") {
        line.clear();
        ensure!(events.read_line(&mut line)? > 0, "the stream of events has ended");
        ensure!(start.elapsed() < PATIENCE * 5, "the deployment does not end");
    }
    let took = start.elapsed().as_secs_f64();
    ensure!(line.trim_end() == "event: deployment_success", "{line}");
    let (_, body) = http::ask(port, "GET", "/v2/apps//web?embed=app.counts", b"")?;
    let shown: serde_json::Value = serde_json::from_slice(&body)?;
    ensure!(shown["app"]["tasksHealthy"] == TASKS, "{} are healthy", shown["app"]["tasksHealthy"]);
    cluster.send("PUT", "/v2/apps//web", &json!({"instances": 0}))?;
    cluster.settle()?;
    Ok(took)
}

/// Seconds with a scheduler that launches what fits as offers come. Ends the tasks.
fn bare(master: &Daemon) -> Result<f64> {
    let start = Instant::now();
    let mut scheduler = Scheduler::subscribe(master.port, "bench thousand")?;
    let (mut launched, mut healthy, mut ended) = (0, 0, 0);
    let mut took = None;
    while ended < TASKS {
        let event = scheduler
            .next_flushing()
            .with_context(|| format!("{launched} launched, {healthy} healthy, {ended} ended"))?;
        let (status, offers) = parts(event);
        if let Some(status) = status {
            scheduler.acknowledge(&status);
            healthy += usize::from(status.healthy == Some(true));
            ended += usize::from(status.state() == TaskState::TaskKilled);
            if healthy == TASKS && took.is_none() {
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
    // Nothing is left that would take part in what comes next.
    scheduler.queue(call::Type::Teardown, |_| {});
    scheduler.flush()?;
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
