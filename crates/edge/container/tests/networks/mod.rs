//! Containers in networks of their own: with Debian's plugins on this host, and with plugins that misbehave.

mod misbehaving;
mod ports;

use std::{
    fs, io,
    io::Read as _,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
    time::Duration,
};

use mezzo_container::{ContainerEvent, Containers, Isolation, NetworkError, NetworkSettings, RecoveredState};
use mezzo_mesos::v1::{NetworkInfo, network_info::PortMapping};

pub(crate) use misbehaving::*;
pub(crate) use ports::*;

use crate::{Agent, config, confined::rooted, shell, text, wait_until};

/// Makes this program an agent whose containers join networks until it is killed.
pub(crate) const BE_JOINING_AGENT: &str = "be-a-joining-agent";

/// Where Debian has its plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// How often such an agent is killed.
const KILLS: u64 = 12;

/// A bridge of this test's own, with all that belongs to it.
struct Network {
    bridge: String,
    isolation: Isolation,
    addresses: PathBuf,
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.bridge]).stderr(Stdio::null()).status();
    }
}

/// `None` where a test cannot have one.
fn network(dir: &Path) -> Option<Network> {
    if !rustix::process::geteuid().is_root() {
        println!("    skipped: needs root");
        return None;
    }
    let lacks = || !Path::new(PLUGINS).join("bridge").exists() || !Path::new("/usr/sbin/iptables").exists();
    if lacks() && std::env::var_os(crate::emulated::EMULATED).is_none() {
        let install = "apt-get update -qq && \
            apt-get install -y -qq --no-install-recommends containernetworking-plugins iptables";
        let _ = Command::new("sh").args(["-c", install]).output();
    }
    if !Path::new(PLUGINS).join("bridge").exists() {
        println!("    skipped: needs containernetworking-plugins");
        return None;
    }
    let number = std::process::id();
    let bridge = format!("mz{number}");
    let probe = Command::new("ip").args(["link", "add", &bridge, "type", "bridge"]).output().expect("run ip");
    if !probe.status.success() {
        println!(
            "    skipped: this kernel has no bridges: {}",
            String::from_utf8_lossy(&probe.stderr).trim()
        );
        return None;
    }
    let network = Network {
        bridge,
        isolation: isolation(dir, Path::new(PLUGINS), Duration::from_secs(60)),
        addresses: dir.join("addresses"),
    };
    let subnet = format!("10.{}.{}.0/24", 128 + number % 64, number / 64 % 250);
    let configuration = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "net",
        "plugins": [
            {
                "type": "bridge",
                "bridge": network.bridge,
                "isGateway": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": network.addresses,
                    "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
        ],
    });
    fs::write(dir.join("cni/net.conflist"), configuration.to_string()).expect("a file");
    Some(network)
}

fn isolation(dir: &Path, plugins: &Path, plugin_time_max: Duration) -> Isolation {
    let config_dir = dir.join("cni");
    fs::create_dir_all(&config_dir).expect("a folder");
    let networks = NetworkSettings {
        config_dir: Some(config_dir),
        plugin_dirs: vec![plugins.to_owned()],
        plugin_time_max,
        ..NetworkSettings::default()
    };
    Isolation { networks, ..Isolation::default() }
}

impl Network {
    /// Files of host-local that stand for addresses in use.
    fn addresses(&self) -> usize {
        let entries = fs::read_dir(self.addresses.join("net")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("10.")).count()
    }

    /// Interfaces at the bridge.
    fn ports(&self) -> usize {
        fs::read_dir(format!("/sys/class/net/{}/brif", self.bridge)).map_or(0, Iterator::count)
    }

    /// Waits until there is nothing of any container.
    fn assert_clean(&self, dir: &Path) {
        wait_until("nothing of any network is left", || is_left(dir).is_none());
        assert_eq!((self.addresses(), self.ports()), (0, 0), "addresses, interfaces");
    }
}

/// Something that was left of a network.
fn is_left(dir: &Path) -> Option<String> {
    for folder in ["networks/containers", "run/networks"] {
        if let Some(entry) = fs::read_dir(dir.join(folder)).into_iter().flatten().flatten().next() {
            return Some(format!("{folder}/{}", entry.file_name().to_string_lossy()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let own = dir.to_string_lossy().into_owned();
    mounts.lines().find(|line| line.contains(&own)).map(str::to_owned)
}

fn named(name: &str) -> NetworkInfo {
    NetworkInfo { name: Some(name.to_owned()), ..NetworkInfo::default() }
}

impl Agent {
    fn join(&self, id: &str, wanted: &[NetworkInfo]) -> Result<Vec<NetworkInfo>, NetworkError> {
        self.containers.join_networks(&id.into(), wanted, None, &AtomicBool::new(false))
    }

    /// Joins the test's network; the address that was given.
    fn join_net(&self, id: &str) -> String {
        address(&self.join(id, &[named("net")]).expect("joined"))
    }
}

fn address(networks: &[NetworkInfo]) -> String {
    networks[0].ip_addresses[0].ip_address.clone().expect("an address")
}

/// Serves one word on a port until it is ended.
fn serve(port: u16, word: &str) -> String {
    format!("while :; do busybox nc -l -p {port} -e echo {word}; done")
}

/// Connects until somebody answers.
fn ask(address: &str, port: u16) -> String {
    format!(
        "i=0; until out=$(busybox nc -w 2 {address} {port} </dev/null) && [ -n \"$out\" ] || [ $i -gt 100 ]; \
         do i=$((i+1)); sleep 0.05; done; echo $out"
    )
}

pub(crate) fn rule_368_containers_of_one_network_reach_each_other(dir: &Path) {
    let Some(network) = network(dir) else { return };
    let agent = Agent::isolated(dir, network.isolation.clone());
    let first = agent.join_net("c1");
    let command = format!("cat /etc/hosts /etc/hostname; hostname; ip -o addr; {}", serve(80, "hello"));
    let request = shell(dir, "c1", &command);
    agent.containers.launch(&request);
    agent.started();
    let second = agent.join_net("c2");
    assert_ne!(first, second);
    let asking = shell(dir, "c2", &ask(&first, 80));
    agent.containers.launch(&asking);
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(text(asking.sandbox.join("stdout")).trim(), "hello");
    let said = text(request.sandbox.join("stdout"));
    assert!(said.contains(&format!("{first} c1\n")) && said.contains("c1\nc1\n"), "{said}");
    assert!(
        said.contains("lo    inet 127.0.0.1/8") && said.contains(&format!("eth0    inet {first}/24")),
        "{said}"
    );
    assert_eq!(network.ports(), 1, "the end of a container is told when its network is gone");
    assert_eq!(agent.containers.networks().len(), 1);
    // The host has neither its files nor its name.
    assert!(!text("/etc/hosts".into()).contains(&first));
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
    for id in ["c1", "c2"] {
        agent.containers.remove(&id.into());
    }
    network.assert_clean(dir);
}

pub(crate) fn a_port_of_the_host_leads_into_a_container(dir: &Path) {
    let Some(network) = network(dir) else { return };
    let agent = Agent::isolated(dir, network.isolation.clone());
    let host = "198.51.100.7";
    let port = u32::from(free_port());
    let mapping = PortMapping { host_port: port, container_port: 80, protocol: None };
    let wanted = NetworkInfo { port_mappings: vec![mapping], ..named("net") };
    let joined = match agent.join("c1", &[wanted]) {
        Ok(joined) => joined,
        Err(error) if error.to_string().contains("'portmap'") => {
            return println!("    skipped: this kernel maps no ports: {error}");
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(joined[0].port_mappings[0].host_port, port);
    agent.containers.launch(&shell(dir, "c1", &serve(80, "mapped")));
    agent.started();
    // An address of the host that only this test has; the mapping is for all of them.
    let ip = |what: &str| {
        let done =
            Command::new("ip").args(["addr", what, &format!("{host}/32"), "dev", &network.bridge]).status();
        assert!(done.expect("run ip").success());
    };
    ip("add");
    let mut said = String::new();
    wait_until("the port leads somewhere", || {
        let Ok(mut stream) = TcpStream::connect((host, u16::try_from(port).expect("a port"))) else {
            return false;
        };
        said.clear();
        stream.read_to_string(&mut said).is_ok() && !said.is_empty()
    });
    assert_eq!(said, "mapped\n");
    agent.containers.destroy(&"c1".into()).expect("an order");
    agent.exited();
    let refused = TcpStream::connect((host, u16::try_from(port).expect("a port"))).expect_err("nobody");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    network.assert_clean(dir);
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address").port()
}

pub(crate) fn an_image_gets_the_files_of_its_network(dir: &Path) {
    let Some(network) = network(dir) else { return };
    let command = "cat /etc/hosts /etc/resolv.conf; hostname; ip addr; ls /sys/class/net; \
        echo x >> /etc/hosts; echo again $?";
    let Some(request) = rooted(dir, "c1", command) else { return };
    let agent = Agent::isolated(dir, network.isolation.clone());
    let joined = agent.containers.join_networks(
        &"c1".into(),
        &[named("net")],
        Some("web.example"),
        &AtomicBool::new(false),
    );
    let address = address(&joined.expect("joined"));
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains(&format!("{address} web.example\n")) && out.contains("\nweb.example\n"), "{out}");
    assert!(out.contains(&format!("inet {address}/24")), "{out}");
    assert!(
        out.contains("\neth0\n") && !out.contains(&network.bridge),
        "/sys shows its own interfaces: {out}"
    );
    // On the host's disk nobody counts what is written there.
    assert!(out.contains("again ") && !out.contains("again 0"), "{out}");
    assert!(out.contains(text("/etc/resolv.conf".into()).trim()), "{out}");
    network.assert_clean(dir);
}

pub(crate) fn children_and_sessions_are_in_the_network_around_them(dir: &Path) {
    let Some(network) = network(dir) else { return };
    let agent = Agent::isolated(dir, network.isolation.clone());
    // The container around a task group has no process.
    let address = agent.join_net("p");
    let first = shell(dir, "p.a", &serve(80, "inside"));
    agent.containers.launch(&first);
    agent.started();
    // Rule 318: children are told the address of what is around them.
    assert_eq!(agent.containers.address(&"p.a".into()).as_ref(), Some(&address));
    assert_eq!(agent.containers.address(&"q".into()), None);
    let second = shell(dir, "p.b", &format!("{}; hostname", ask("127.0.0.1", 80)));
    agent.containers.launch(&second);
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(text(second.sandbox.join("stdout")), "inside\np\n");
    let mut session = shell(dir, "p.a.s", "ip -o addr show eth0; hostname; cat /etc/hosts");
    session.confinement.enter = Some("p.a".into());
    agent.containers.launch(&session);
    agent.started();
    assert_eq!(agent.exited(), Some(0), "{}", text(session.sandbox.join("stderr")));
    let said = text(session.sandbox.join("stdout"));
    assert!(
        said.contains(&format!("inet {address}/24")) && said.contains(&format!("{address} p\n")),
        "{said}"
    );
    // As checks do it.
    let found = agent.containers.within_network(&"p.a".into(), || TcpStream::connect("127.0.0.1:80").is_ok());
    assert!(found.expect("entered"));
    // A later agent finds the network, as one of the children runs.
    drop(agent);
    let agent = Agent::isolated(dir, network.isolation.clone());
    let networks = agent.containers.networks();
    assert_eq!((networks[0].0.as_str(), self::address(&networks[0].1)), ("p", address));
    agent.containers.destroy(&"p.a".into()).expect("an order");
    agent.exited();
    assert_eq!(network.ports(), 1, "the network is that of the container around it");
    let (sender, left) = std::sync::mpsc::channel();
    agent.containers.leave_networks(&"p".into(), move || sender.send(()).expect("somebody waits"));
    left.recv().expect("left");
    network.assert_clean(dir);
}

pub(crate) fn be_joining_agent(directory: &Path) {
    let isolation = isolation(directory, Path::new(PLUGINS), Duration::from_secs(60));
    let (containers, _) = Containers::start(config(directory, isolation), |_| {}).expect("containers start");
    for n in 0.. {
        let id = format!("c{}n{n}", std::process::id());
        let joined =
            containers.join_networks(&id.as_str().into(), &[named("net")], None, &AtomicBool::new(false));
        joined.expect("joined");
        containers.launch(&shell(directory, &id, "sleep 1000"));
        let _ = containers.destroy(&id.as_str().into());
    }
}

pub(crate) fn f067_an_agent_killed_at_any_moment_leaves_no_network(dir: &Path) {
    let Some(network) = network(dir) else { return };
    let mut left = 0;
    for n in 0..KILLS {
        let mut agent = Command::new(std::env::current_exe().expect("a program"))
            .args([BE_JOINING_AGENT, dir.to_str().expect("text")])
            .stdout(Stdio::null())
            .spawn()
            .expect("an agent");
        wait_until("it joins", || is_left(dir).is_some());
        std::thread::sleep(Duration::from_micros(1 + n * 37_300 % 300_000));
        agent.kill().expect("killed");
        agent.wait().expect("ended");
        left += usize::from(is_left(dir).is_some());
        let agent = Agent::isolated(dir, network.isolation.clone());
        for container in &agent.recovered {
            if matches!(container.state, RecoveredState::Running { .. }) {
                let _ = agent.containers.destroy(&container.id);
                while !matches!(agent.next(), ContainerEvent::Exited { .. }) {}
            }
        }
        for container in &agent.recovered {
            agent.containers.remove(&container.id);
        }
        network.assert_clean(dir);
    }
    println!("    {left} of {KILLS} kills left something to undo");
}
