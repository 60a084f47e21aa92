//! The API with thousands of apps that have no instances, and what services take that have nothing to do.

use std::{
    fs,
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Cluster, http, planning::planning, progress};
use crate::{
    daemons::{cpu_time, memory_mib},
    table::{Table, percentile},
};

/// Apps of which the whole list is read, and how often.
const LISTED: usize = 5_000;
const READS: usize = 20;
/// Apps of which one is changed, in how many groups, and how often.
const APPS: usize = 10_000;
const GROUPS: usize = 100;
const CHANGES: usize = 30;
/// Making thousands of apps in one change may take longer than the ten seconds after which services answer otherwise.
const FLAGS: [&str; 1] = ["--group_manager_request_timeout=60000"];
/// Until what is done once after a start is over.
const REST: Duration = Duration::from_secs(3);

/// Memory of idle services, GET /v2/apps, and a PUT of one field among many apps.
pub(crate) fn api(table: &mut Table) -> Result<()> {
    let cluster = Cluster::start("services-api", &FLAGS)?;
    idle(table, &cluster)?;
    make(&cluster, &json!({"id": "/", "apps": apps(0..LISTED)}), "make 5,000 apps")?;
    read_all(table, &cluster)?;
    // As flat as it can be: all in one group, with nothing beside them.
    let flat = json!({"id": "/", "apps": apps(0..APPS)});
    make(&cluster, &flat, "make 10,000 apps in one group")?;
    change_one(table, &cluster, "flat", &flat, |n| format!("/app-{n}"))?;
    drop(cluster);

    let cluster = Cluster::start("services-api-groups", &FLAGS)?;
    let size = APPS / GROUPS;
    let group = |n: usize| json!({"id": format!("group-{n}"), "apps": apps(n * size..(n + 1) * size)});
    let groups: Vec<Value> = (0..GROUPS).map(group).collect();
    let tree = json!({"id": "/", "groups": groups});
    make(&cluster, &tree, "make 10,000 apps in 100 groups")?;
    change_one(table, &cluster, "in 100 groups", &tree, |n| format!("/group-{}/app-{n}", n / size))
}

/// Apps that have all a plain one has, and no instances.
fn apps(numbers: Range<usize>) -> Vec<Value> {
    let app =
        |n| json!({"id": format!("app-{n}"), "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0});
    numbers.map(app).collect()
}

/// Has the whole tree made in one change.
fn make(cluster: &Cluster, tree: &Value, what: &str) -> Result<()> {
    progress(what);
    cluster.send("PUT", "/v2/groups", tree)?;
    cluster.settle(what)
}

fn idle(table: &mut Table, cluster: &Cluster) -> Result<()> {
    thread::sleep(REST);
    let pid = cluster.services.pid();
    table.row(
        "idle services, RSS",
        &format!("{:.1} MiB", memory_mib(pid, "status", &["VmRSS"])?),
        &format!("{} threads, no apps", fs::read_dir(format!("/proc/{pid}/task"))?.count()),
        "<= 30 MiB",
    );
    Ok(())
}

fn read_all(table: &mut Table, cluster: &Cluster) -> Result<()> {
    progress("read /v2/apps");
    let (mut samples, mut size) = (Vec::new(), 0);
    let pid = cluster.services.pid();
    let before = cpu_time(pid)?;
    for _ in 0..READS {
        let start = Instant::now();
        let (status, body) = http::ask(cluster.services.port, "GET", "/v2/apps", b"")?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200, "GET /v2/apps was answered {status}");
        size = body.len();
    }
    let each = cpu_time(pid)?.saturating_sub(before) / READS as u32;
    let memory = memory_mib(pid, "status", &["VmRSS"])?;
    table.row(
        "GET /v2/apps, 5,000 apps",
        &format!(
            "median {:.1} ms, p99 {:.1} ms",
            percentile(&mut samples, 0.5),
            percentile(&mut samples, 0.99)
        ),
        &format!(
            "{READS} times, each over a connection of its own, {:.1} ms of the services' processor time each; {:.1} MB; \
             then {memory:.0} MiB",
            each.as_secs_f64() * 1e3,
            size as f64 / 1e6
        ),
        "<= 60 ms",
    );
    Ok(())
}

/// A field of one app after another, each when the deployment before is over: the planning alone, in this process, and the
/// whole request, whose answer comes when the change is written to the disk.
fn change_one(
    table: &mut Table,
    cluster: &Cluster,
    how: &str,
    tree: &Value,
    path: impl Fn(usize) -> String,
) -> Result<()> {
    progress(&format!("change one of 10,000 apps {how}"));
    let paths = || (0..CHANGES).map(|n| path(n * (APPS / CHANGES)));
    let mut planned = planning(tree, paths())?;
    let (mut samples, mut spent) = (Vec::new(), Vec::new());
    let pid = cluster.services.pid();
    for path in paths() {
        let (start, before) = (Instant::now(), cpu_time(pid)?);
        cluster.send("PUT", &format!("/v2/apps{path}"), &json!({"cpus": 0.2}))?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        spent.push(cpu_time(pid)?.saturating_sub(before).as_secs_f64() * 1e3);
        cluster.settle("change one app")?;
    }
    table.row(
        &format!("PUT of one field, 10,000 apps {how}, planned"),
        &format!("median {:.1} ms", percentile(&mut planned, 0.5)),
        &format!(
            "processor time, from document to plan, worst of {CHANGES}: {:.1} ms; whole requests with their durable \
             writes: median {:.1} ms of the services' processor time, {:.1} ms in all, worst {:.1} ms",
            percentile(&mut planned, 1.0),
            percentile(&mut spent, 0.5),
            percentile(&mut samples, 0.5),
            percentile(&mut samples, 1.0)
        ),
        "<= 5 ms to plan",
    );
    Ok(())
}
