//! network/ports: the thread that looks for programs that listen on ports their containers do not hold.
//!
//! Containers with a network of their own have all its ports, and are left alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use mezzo_ids::ContainerId;

use crate::{
    containers::{Entry, Shared},
    event::Limitation,
    layout, processes,
};

/// The isolator's name.
pub(crate) const NAME: &str = "network/ports";

/// Ports from the first to the last, both included.
pub type PortRange = (u16, u16);

/// The kernel's tables of sockets, and how it writes the state of one that others can reach.
const TABLES: [(&str, &str); 4] =
    [("tcp", "0A"), ("tcp6", "0A"), ("udp", UNCONNECTED), ("udp6", UNCONNECTED)];
/// A socket for datagrams from anybody. One that only asks has the same state, and a port that the kernel
/// chose.
const UNCONNECTED: &str = "07";
/// Which ports the kernel chooses.
const CHOSEN: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The settings of the isolator.
#[derive(Clone, Debug)]
pub struct PortSettings {
    /// `--container_ports_watch_interval`.
    pub watch_interval: Duration,
    /// `--enforce_container_ports`: who listens where it must not is ended, and not only told of.
    pub enforce: bool,
    /// The only ports that are looked at, with `--container_ports_isolated_range` or
    /// `--check_agent_port_range_only`; `None` for all.
    pub isolated: Option<Vec<PortRange>>,
}

impl Default for PortSettings {
    fn default() -> Self {
        Self { watch_interval: Duration::from_secs(30), enforce: false, isolated: None }
    }
}

/// The ports that containers hold.
#[derive(Debug, Default)]
pub(crate) struct PortWatch {
    held: Mutex<BTreeMap<ContainerId, Held>>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    ports: Vec<PortRange>,
    /// What was told of last.
    told: BTreeSet<u16>,
}

impl PortWatch {
    fn held(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Held>> {
        // Every change is one operation on the map.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, id: &ContainerId) {
        self.held().remove(id);
    }

    /// The ports of all containers around one, and of itself.
    fn of_family(&self, id: &ContainerId) -> Vec<PortRange> {
        let root = id.split('.').next().unwrap_or(id);
        let held = self.held();
        let is_family = |other: &str| {
            other.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        held.iter().filter(|(other, _)| is_family(other)).flat_map(|(_, held)| held.ports.clone()).collect()
    }
}

impl Shared {
    /// Notes which ports a container holds. It is written down for an agent that comes later when there is a
    /// folder to do so.
    pub(crate) fn hold_ports(&self, id: &ContainerId, ports: &[PortRange], make: bool) -> io::Result<()> {
        if !self.config.isolation.watches_ports() {
            return Ok(());
        }
        self.ports.held().entry(id.clone()).or_default().ports = ports.to_vec();
        let directory = self.container_dir(id);
        if make {
            fs::create_dir_all(&directory)?;
        } else if !directory.join(layout::PID).exists() {
            return Ok(());
        }
        // With those of the container around it, which may have no folder of its own.
        fs::write(directory.join(layout::PORTS), write_ranges(&self.ports.of_family(id)))
    }

    /// Goes on watching a container of an earlier agent.
    pub(crate) fn watch_ports_again(&self, id: &ContainerId) {
        if let Ok(text) = fs::read_to_string(self.container_dir(id).join(layout::PORTS)) {
            self.ports.held().insert(id.clone(), Held { ports: read_ranges(&text), ..Held::default() });
        }
    }

    /// Looks once.
    fn look_for_listeners(&self) {
        let settings = &self.config.isolation.ports;
        let mut listeners = BTreeMap::new();
        let chosen = chosen(&fs::read_to_string(CHOSEN).unwrap_or_default());
        for (name, state) in TABLES {
            let text = fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
            let found = text.lines().filter_map(|line| listener(line, state));
            listeners.extend(found.filter(|(_, port)| state != UNCONNECTED || !contains(&chosen, *port)));
        }
        listeners.retain(|_, port| settings.isolated.as_ref().is_none_or(|all| contains(all, *port)));
        if listeners.is_empty() {
            return;
        }
        let watched: Vec<(ContainerId, u32)> = {
            let state = self.state();
            let supervisor = |(id, entry): (&ContainerId, &Entry)| Some((id.clone(), entry.supervisor?));
            state.table.iter().filter_map(supervisor).collect()
        };
        let table = processes::all();
        for (id, supervisor) in watched {
            if !self.ports.held().contains_key(&id) || self.networks.place(&id).is_some() {
                continue;
            }
            let allowed = self.ports.of_family(&id);
            let supervisor = i32::try_from(supervisor).unwrap_or_default();
            let mut ports = BTreeSet::new();
            for process in processes::descendants(&table, supervisor) {
                let found = sockets(process.pid).into_iter().filter_map(|inode| listeners.get(&inode));
                ports.extend(found.filter(|port| !contains(&allowed, **port)));
            }
            self.on_listening(&id, ports, settings.enforce);
        }
    }

    fn on_listening(&self, id: &ContainerId, ports: BTreeSet<u16>, enforce: bool) {
        let told = match self.ports.held().get_mut(id) {
            Some(held) => std::mem::replace(&mut held.told, ports.clone()),
            None => return,
        };
        if ports.is_empty() {
            return;
        }
        let message = format!(
            "Container '{id}' listens on ports that it does not hold: {}",
            ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        );
        if enforce {
            let ports = ports.into_iter().collect();
            self.end_for(id, Limitation::Ports { message, ports });
        } else if told != ports {
            tracing::warn!(container = %id, "{message}");
        }
    }
}

/// Starts the thread; it ends with the containers, after at most one interval.
pub(crate) fn spawn(shared: &Arc<Shared>, interval: Duration) -> io::Result<()> {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    std::thread::Builder::new().name("ports".to_owned()).spawn(move || {
        while let Some(shared) = shared.upgrade() {
            shared.look_for_listeners();
            drop(shared);
            std::thread::sleep(interval);
        }
    })?;
    Ok(())
}

/// The ports that programs get which ask for none in particular. All, where the kernel does not say: nobody is
/// ended by mistake.
fn chosen(text: &str) -> [PortRange; 1] {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(first), Some(last)) => [(first, last)],
        _ => [(0, u16::MAX)],
    }
}

/// The inode and the port of a line of the kernel's table of sockets, if that one is in this state.
fn listener(line: &str, state: &str) -> Option<(u64, u16)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != state {
        return None;
    }
    Some((fields.get(9)?.parse().ok()?, u16::from_str_radix(port, 16).ok()?))
}

/// Inodes of the sockets that a process has open; none when it is gone.
fn sockets(pid: i32) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| socket(&fs::read_link(entry.path()).ok()?)).collect()
}

fn socket(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn contains(ranges: &[PortRange], port: u16) -> bool {
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

fn write_ranges(ranges: &[PortRange]) -> String {
    ranges.iter().map(|(first, last)| format!("{first} {last}\n")).collect()
}

fn read_ranges(text: &str) -> Vec<PortRange> {
    let read = |line: &str| {
        let (first, last) = line.split_once(' ')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listens_is_found_in_the_kernels_table() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 \
            4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listener(line, "0A"), Some((4711, 8080)));
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), "0A"), None);
        let six = line.replace("0100007F:1F90", "00000000000000000000000000000000:0050");
        assert_eq!(listener(&six, "0A"), Some((4711, 80)));
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue", "0A"), None);
        assert_eq!(chosen("32768\t60999\n"), [(32_768, 60_999)]);
        assert_eq!(chosen(""), [(0, u16::MAX)]);
        assert_eq!(socket(Path::new("socket:[12]")), Some(12));
        assert_eq!(socket(Path::new("pipe:[12]")), None);
    }

    #[test]
    fn a_child_may_use_the_ports_of_its_family() {
        let watch = PortWatch::default();
        for (id, ports) in [("a", (1, 2)), ("a.b", (5, 5)), ("ab", (9, 9))] {
            watch.held().insert(id.into(), Held { ports: vec![ports], ..Held::default() });
        }
        assert_eq!(watch.of_family(&"a.c".into()), [(1, 2), (5, 5)]);
        assert!(contains(&[(1, 2), (5, 5)], 2) && !contains(&[(1, 2)], 3));
        assert_eq!(read_ranges(&write_ranges(&[(1, 2), (5, 65_535)])), [(1, 2), (5, 65_535)]);
    }

    #[test]
    fn this_process_is_found_by_its_socket() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        let text = fs::read_to_string("/proc/self/net/tcp").expect("the table");
        let listeners: BTreeMap<u64, u16> = text.lines().filter_map(|line| listener(line, "0A")).collect();
        let own = i32::try_from(std::process::id()).expect("a number");
        assert!(sockets(own).iter().any(|inode| listeners.get(inode) == Some(&port)));
    }
}
