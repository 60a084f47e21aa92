//! How fast containers start and end, beside bare `posix_spawn` and wait of the same program in the
//! same run; and what one running container costs in private memory.
//!
//! `cargo run --release -p mezzo-container --example launch_rate [count]`
//!
//! On a busy machine rates say little. With `CPU_USAGE` naming the `cpuacct.usage` file of a control
//! group that this program runs in, processor time per container is told as well.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use mezzo_container::{
    Config, Confinement, ContainerEvent, Containers, Isolation, LAUNCHER_ARGUMENT, LaunchRequest,
    LauncherProgram, Output, Resources, launcher_main,
};

/// Launches on their way at once, as an agent that gets tasks in batches has them.
const WINDOW: usize = 64;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some(LAUNCHER_ARGUMENT) {
        launcher_main();
    }
    let count = first.and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let directory = tempfile::TempDir::new().expect("a directory");
    let (sender, events) = channel();
    let config = Config {
        runtime_dir: directory.path().join("run"),
        launcher: LauncherProgram::default(),
        isolation: Isolation::default(),
        scratch_dir: directory.path().join("scratch"),
        networks_dir: directory.path().join("networks"),
        protected: Vec::new(),
        runtime: None,
    };
    let (containers, _) =
        Containers::start(config, move |event| drop(sender.send(event))).expect("containers start");
    for round in 0..3 {
        let before = cpu_micros();
        let bare = bare_rate(count / 2);
        let between = cpu_micros();
        let ours = container_rate(&containers, &events, directory.path(), round, count);
        let after = cpu_micros();
        println!("bare {bare:.0}/s  containers {ours:.0}/s  {:.0} %", 100.0 * ours / bare);
        if let (Some(before), Some(between), Some(after)) = (before, between, after) {
            let (bare, ours) = ((between - before) / count as u64, (after - between) / count as u64);
            println!("  processor time: bare {bare} us, container {ours} us, {} %", 100 * bare / ours.max(1));
        }
    }
    latency(&containers, &events, directory.path());
    memory(&containers, &events, directory.path());
}

fn cpu_micros() -> Option<u64> {
    let nanos: u64 = fs::read_to_string(std::env::var("CPU_USAGE").ok()?).ok()?.trim().parse().ok()?;
    Some(nanos / 1000)
}

/// Two callers, each starting `/bin/true` and waiting for it.
fn bare_rate(each: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..each {
                    let mut command = Command::new("/bin/true");
                    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                    command.status().expect("it runs");
                }
            });
        }
    });
    (2 * each) as f64 / start.elapsed().as_secs_f64()
}

fn request(directory: &Path, id: &str, arguments: &[&str]) -> LaunchRequest {
    LaunchRequest {
        id: id.into(),
        program: arguments[0].to_owned(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        environment: (0..12)
            .map(|n| (format!("VARIABLE_{n}"), "a value of usual length".to_owned()))
            .collect(),
        sandbox: directory.to_path_buf(),
        credentials: None,
        rlimits: Vec::new(),
        stdin: mezzo_container::Input::Null,
        stdout: Output::File("stdout".to_owned()),
        stderr: Output::File("stderr".to_owned()),
        resources: Resources::default(),
        share_cgroups: false,
        quotas: Vec::new(),
        ports: Vec::new(),
        confinement: Confinement::default(),
    }
}

fn container_rate(
    containers: &Containers,
    events: &Receiver<ContainerEvent>,
    directory: &Path,
    round: usize,
    count: usize,
) -> f64 {
    let start = Instant::now();
    let (mut launched, mut ended) = (0, 0);
    while ended < count {
        while launched < count && launched - ended < WINDOW {
            containers.launch(&request(directory, &format!("r{round}-{launched}"), &["/bin/true"]));
            launched += 1;
        }
        match events.recv().expect("an event") {
            ContainerEvent::Started { .. } => {}
            ContainerEvent::Exited { id, .. } => {
                containers.remove(&id);
                ended += 1;
            }
            ContainerEvent::LaunchFailed { message, .. } => panic!("{message}"),
        }
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn latency(containers: &Containers, events: &Receiver<ContainerEvent>, directory: &Path) {
    let mut micros = Vec::new();
    for n in 0..300 {
        let start = Instant::now();
        containers.launch(&request(directory, &format!("l{n}"), &["/bin/true"]));
        while let ContainerEvent::Started { .. } = events.recv().expect("an event") {
            micros.push(start.elapsed().as_micros());
        }
        containers.remove(&format!("l{n}").as_str().into());
    }
    micros.sort_unstable();
    println!("launch to Started: p50 {} us, p99 {} us", micros[150], micros[297]);
}

fn memory(containers: &Containers, events: &Receiver<ContainerEvent>, directory: &Path) {
    let mut pids = BTreeMap::new();
    for n in 0..100 {
        containers.launch(&request(directory, &format!("m{n}"), &["/bin/sleep", "1000"]));
        if let ContainerEvent::Started { id, pid } = events.recv().expect("an event") {
            pids.insert(id, pid);
        }
    }
    let mut total = 0;
    for pid in pids.values() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).expect("a parent");
        let rollup = fs::read_to_string(format!("/proc/{parent}/smaps_rollup")).expect("a supervisor");
        let private = rollup.lines().filter(|line| line.starts_with("Private_"));
        total += private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>();
    }
    println!("private memory of a supervisor: {} KiB (mean of 100)", total / 100);
    for id in pids.keys() {
        containers.destroy(id).expect("an order");
    }
    for _ in &pids {
        let _ = events.recv();
    }
}
