//! Tasks in a network of their own, from the agent's flags to an address in their status.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    support::{self, Daemon, Folder, PATIENCE},
    text,
};

/// Where Debian has the plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// Ends what is in it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A bridge of the test's own.
struct Bridge(String);

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["link", "del", &self.0]).stderr(Stdio::null()).status());
    }
}

fn mezzo(master: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mezzo"));
    command.args(arguments).env("MEZZO_MASTER", format!("127.0.0.1:{master}")).env("NO_COLOR", "1");
    command.stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Addresses in the latest statuses of a framework's tasks, as the endpoint of daemon shows them.
fn addresses(port: u16, path: &str) -> Vec<String> {
    let (_, body) = support::request(port, "GET", path, &[], b"").expect("an answer");
    let state: Value = serde_json::from_slice(&body).expect("JSON");
    let mut found = Vec::new();
    collect(&state, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(address)) = object.get("ip_address") {
                found.push(address.clone());
            }
            object.values().for_each(|value| collect(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_task_has_an_address_of_its_own_and_keeps_it_over_a_restart_of_its_agent() {
    if !support::is_root("networks") {
        return;
    }
    if !Path::new(PLUGINS).join("bridge").exists() {
        return println!("networks: skipped, needs containernetworking-plugins");
    }
    let number = std::process::id();
    let bridge = Bridge(format!("me{number}"));
    let probe =
        Command::new("ip").args(["link", "add", &bridge.0, "type", "bridge"]).output().expect("run ip");
    if !probe.status.success() {
        return println!("networks: skipped, this kernel has no bridges");
    }
    let folder = Folder::new("networks");
    let configurations = folder.path().join("cni");
    fs::create_dir_all(&configurations).expect("a folder");
    let subnet = format!("10.{}.{}", 192 + number % 60, number / 60 % 250);
    let configuration = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "net",
        "plugins": [{
            "type": "bridge",
            "bridge": bridge.0,
            "isGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": folder.path().join("addresses"),
                "ranges": [[{"subnet": format!("{subnet}.0/24")}]],
            },
        }],
    });
    fs::write(configurations.join("net.conflist"), configuration.to_string()).expect("a file");
    let master = Daemon::master(folder.path(), &[]);
    let flags = [
        format!("--network_cni_config_dir={}", configurations.display()),
        format!("--network_cni_plugins_dir={PLUGINS}"),
        "--isolation=posix/cpu,posix/mem,network/cni".to_owned(),
        "--resources=cpus:4;mem:1024".to_owned(),
    ];
    let mut agent = Daemon::agent(folder.path(), master.port, &flags.each_ref().map(String::as_str));

    let unknown =
        mezzo(master.port, &["run", "--network", "nowhere", "--", "true"]).output().expect("run mezzo");
    assert!(!unknown.status.success());
    assert!(said(&unknown).contains("There is no network 'nowhere'"), "{}", said(&unknown));

    let own =
        ["run", "--network", "net", "--", "sh", "-c", "ip -o addr show eth0; ip -o addr show lo; hostname"];
    let output = mezzo(master.port, &own).output().expect("run mezzo");
    assert!(output.status.success(), "{}", said(&output));
    let shown = text(&output.stdout);
    assert!(shown.contains(&format!("inet {subnet}.2/24")) && shown.contains("inet 127.0.0.1/8"), "{shown}");

    let task = mezzo(master.port, &["run", "--name", "t", "--network", "net", "--", "sleep", "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start mezzo run");
    let task = Running(task);
    let own = |found: Vec<String>| found.into_iter().find(|address| address.starts_with(&subnet));
    // The first address was that of the task before.
    wait_until("the task has an address", || {
        let mut told = addresses(master.port, "/state").into_iter();
        told.any(|address| address.starts_with(&subnet) && address != format!("{subnet}.2"))
    });
    let address = own(addresses(agent.port, "/containers")).expect("an address");

    let session = mezzo(master.port, &["exec", "-n", "t", "--", "ip", "-o", "addr", "show", "eth0"]);
    let shown = { session }.output().expect("run mezzo");
    assert!(text(&shown.stdout).contains(&format!("inet {address}/24")), "{}", said(&shown));

    agent.kill();
    agent.start();
    assert_eq!(own(addresses(agent.port, "/containers")), Some(address));
    let killed = mezzo(master.port, &["kill", "last"]).output().expect("run mezzo");
    assert!(killed.status.success(), "{}", said(&killed));
    drop(task);
    wait_until("nothing of the network is left", || {
        let records = fs::read_dir(folder.path().join("agent/networks/containers"));
        let ports = fs::read_dir(format!("/sys/class/net/{}/brif", bridge.0));
        records.is_ok_and(|mut records| records.next().is_none())
            && ports.is_ok_and(|mut p| p.next().is_none())
    });
    let own = folder.path().to_string_lossy().into_owned();
    wait_until("no mount is left", || {
        !fs::read_to_string("/proc/self/mountinfo").expect("mounts").contains(&own)
    });
    assert!(agent.log_panics().is_empty());
}
