//! The API with thousands of apps that have no instances, and what services take that have nothing to do.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Cluster, http};
use crate::{
    daemons::memory_mib,
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
    let cluster = Cluster::start_with("services-api", &FLAGS)?;
    idle(table, &cluster)?;
    // As flat as it can be, and all in one group beside nothing.
    cluster.send("PUT", "/v2/groups", &json!({"id": "/", "apps": apps(0..LISTED)}))?;
    cluster.settle()?;
    read_all(table, &cluster)?;
    cluster.send("PUT", "/v2/groups", &json!({"id": "/", "apps": apps(0..APPS)}))?;
    cluster.settle()?;
    change_one(table, &cluster, "flat", |n| format!("/v2/apps/app-{n}"))?;
    drop(cluster);

    let cluster = Cluster::start_with("services-api-groups", &FLAGS)?;
    let size = APPS / GROUPS;
    let group = |n: usize| json!({"id": format!("group-{n}"), "apps": apps(n * size..(n + 1) * size)});
    let groups: Vec<Value> = (0..GROUPS).map(group).collect();
    cluster.send("PUT", "/v2/groups", &json!({"id": "/", "groups": groups}))?;
    cluster.settle()?;
    change_one(table, &cluster, "in 100 groups", |n| format!("/v2/apps/group-{}/app-{n}", n / size))
}

/// Apps that have all a plain one has, and no instances.
fn apps(numbers: std::ops::Range<usize>) -> Vec<Value> {
    let app =
        |n| json!({"id": format!("app-{n}"), "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0});
    numbers.map(app).collect()
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
    let (mut samples, mut size) = (Vec::new(), 0);
    for _ in 0..READS {
        let start = Instant::now();
        let (status, body) = http::ask(cluster.services.port, "GET", "/v2/apps", b"")?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200, "GET /v2/apps was answered {status}");
        size = body.len();
    }
    let memory = memory_mib(cluster.services.pid(), "status", &["VmRSS"])?;
    table.row(
        "GET /v2/apps, 5,000 apps",
        &format!(
            "median {:.1} ms, p99 {:.1} ms",
            percentile(&mut samples, 0.5),
            percentile(&mut samples, 0.99)
        ),
        &format!(
            "{READS} times, each over a connection of its own; {:.1} MB; then {memory:.0} MiB",
            size as f64 / 1e6
        ),
        "<= 60 ms",
    );
    Ok(())
}

/// A field of one app after another, each when the deployment before is over. What is timed ends with the answer, which comes
/// when the change is written to the disk.
fn change_one(table: &mut Table, cluster: &Cluster, how: &str, path: impl Fn(usize) -> String) -> Result<()> {
    let mut samples = Vec::new();
    for n in 0..CHANGES {
        let path = path(n * (APPS / CHANGES));
        let start = Instant::now();
        cluster.send("PUT", &path, &json!({"cpus": 0.2}))?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        cluster.settle()?;
    }
    table.row(
        &format!("PUT of one field, 10,000 apps {how}"),
        &format!("median {:.1} ms", percentile(&mut samples, 0.5)),
        &format!(
            "worst of {CHANGES}: {:.1} ms; the whole answer, with its durable write",
            percentile(&mut samples, 1.0)
        ),
        "<= 5 ms to plan",
    );
    Ok(())
}
