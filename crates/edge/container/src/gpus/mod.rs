//! gpu/nvidia: whole gpus, each for one container at a time.
//!
//! What there is comes from files of the Container Device Interface ([`cdi`]), and where these say nothing from
//! the nodes that the driver has made. Who has a gpu is written down beside the container, for an agent that
//! comes later.

mod cdi;
mod give;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use mezzo_ids::ContainerId;

pub(crate) use cdi::Edits;
use cdi::{Device, existing_node};

use crate::{
    confinement::DeviceNode,
    isolators::{Isolation, IsolationError},
};

/// The isolator's name.
pub(crate) const NAME: &str = "gpu/nvidia";

/// Nodes that all gpus of the driver need.
const CONTROL: [&str; 4] =
    ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];
/// Gpus that are looked for one by one.
const NODES_MAX: u32 = 256;

/// The settings of the isolator.
#[derive(Clone, Debug)]
pub struct GpuSettings {
    /// `--nvidia_gpu_devices`: the numbers of those that are used; `None` for all.
    pub devices: Option<Vec<u32>>,
    /// `--cdi_spec_dirs`: folders with files of the Container Device Interface.
    pub spec_dirs: Vec<PathBuf>,
    /// `--cdi_gpu_kind`: which of their devices are gpus.
    pub kind: String,
}

impl Default for GpuSettings {
    fn default() -> Self {
        Self {
            devices: None,
            spec_dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            kind: "nvidia.com/gpu".to_owned(),
        }
    }
}

/// How many gpus an agent with these settings has: none without the isolator.
pub fn gpu_count(isolation: &Isolation) -> Result<usize, IsolationError> {
    Ok(Gpus::start(isolation)?.all.len())
}

/// All gpus, and who has which.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    all: Vec<Device>,
    held: Mutex<BTreeMap<ContainerId, Vec<String>>>,
}

impl Gpus {
    pub(crate) fn start(isolation: &Isolation) -> Result<Self, IsolationError> {
        let has = |wanted: &str| isolation.names.iter().any(|name| name == wanted);
        if !has(NAME) {
            return Ok(Self::default());
        }
        let refused = |reason| Err(IsolationError::Host { name: NAME, reason });
        // Without these everybody could use every gpu.
        if !has("cgroups/devices") && !has("cgroups/all") {
            return refused("it needs the isolator 'cgroups/devices'".to_owned());
        }
        match find(&isolation.gpus, Path::new("/dev")) {
            Ok(all) => Ok(Self { all, held: Mutex::default() }),
            Err(reason) => refused(reason),
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Vec<String>>> {
        // Every change is one operation on the map.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a container as many gpus as it is to have, beside those it has; more or fewer. Returns all that it
    /// has then.
    pub(crate) fn allocate(&self, id: &ContainerId, count: usize) -> Result<Vec<String>, String> {
        let mut held = self.held();
        let own = held.get(id).cloned().unwrap_or_default();
        let free: Vec<&str> = {
            let taken = |name: &str| held.values().flatten().any(|other| other == name);
            self.all.iter().map(|gpu| gpu.name.as_str()).filter(|name| !taken(name)).collect()
        };
        let more = count.saturating_sub(own.len());
        if more > free.len() {
            return Err(format!("Requested {more} gpus but only {} available", free.len()));
        }
        let mut names = own;
        names.truncate(count);
        names.extend(free.into_iter().take(more).map(str::to_owned));
        if names.is_empty() {
            held.remove(id);
        } else {
            held.insert(id.clone(), names.clone());
        }
        Ok(names)
    }

    /// What a container has of an earlier agent.
    pub(crate) fn recover(&self, id: &ContainerId, text: &str) {
        let names: Vec<String> = text.lines().map(str::to_owned).collect();
        if !names.is_empty() {
            self.held().insert(id.clone(), names);
        }
    }

    /// Whether there are any.
    pub(crate) fn is_used(&self) -> bool {
        !self.all.is_empty()
    }

    /// Those that a container has.
    pub(crate) fn of(&self, id: &ContainerId) -> Vec<String> {
        self.held().get(id).cloned().unwrap_or_default()
    }

    /// Takes all of a container back; returns them.
    pub(crate) fn release(&self, id: &ContainerId) -> Vec<String> {
        self.held().remove(id).unwrap_or_default()
    }

    /// What is done to a container that has these.
    pub(crate) fn edits(&self, names: &[String]) -> Edits {
        let mut edits = Edits::default();
        for gpu in self.all.iter().filter(|gpu| names.contains(&gpu.name)) {
            edits.add(&gpu.edits);
        }
        edits
    }

    /// The nodes that the processes in a container's control groups may use: its own, and those of its children.
    pub(crate) fn nodes_of_family(&self, root: &str) -> Vec<DeviceNode> {
        let is_family =
            |id: &str| id.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let names: Vec<String> =
            self.held().iter().filter(|(id, _)| is_family(id)).flat_map(|(_, names)| names.clone()).collect();
        self.edits(&names).nodes
    }
}

/// Those that are used, in the order of their numbers.
fn find(settings: &GpuSettings, dev: &Path) -> Result<Vec<Device>, String> {
    let mut told = Vec::new();
    let mut all = cdi::devices(&settings.spec_dirs, &settings.kind, &mut |why| {
        tracing::warn!(isolator = NAME, "{why}");
        told.push(why);
    });
    // One with all of them is none of them.
    all.retain(|device| device.name != "all" && !device.own.is_empty());
    if all.is_empty() {
        all = nodes(dev);
    }
    if all.is_empty() {
        let folders: Vec<_> = settings.spec_dirs.iter().map(|folder| folder.display().to_string()).collect();
        let mut why = format!(
            "there is no gpu: no file in {} names a device of the kind '{}', and there is no /dev/nvidia0",
            folders.join(" or "),
            settings.kind
        );
        for reason in told.iter().take(3) {
            why.push_str("; ");
            why.push_str(reason);
        }
        return Err(why);
    }
    // Numbers first: other names are for the same gpus.
    all.sort_by_key(|device| (device.name.parse::<u32>().unwrap_or(u32::MAX), device.name.clone()));
    let mut different: Vec<Device> = Vec::new();
    for device in all {
        if different.iter().all(|known| known.own != device.own) {
            different.push(device);
        }
    }
    let Some(wanted) = &settings.devices else { return Ok(different) };
    let mut chosen = Vec::with_capacity(wanted.len());
    for number in wanted {
        let name = number.to_string();
        let found = different.iter().find(|device| device.name == name);
        let found =
            found.ok_or_else(|| format!("--nvidia_gpu_devices names gpu {number}, which is not there"))?;
        if chosen.iter().any(|known: &Device| known.name == name) {
            return Err(format!("--nvidia_gpu_devices names gpu {number} twice"));
        }
        chosen.push(found.clone());
    }
    Ok(chosen)
}

/// The gpus that the driver has made nodes for.
fn nodes(dev: &Path) -> Vec<Device> {
    let node = |path: &str| {
        let host = dev.join(path.strip_prefix("/dev/")?);
        existing_node(Path::new(path), &host).ok()
    };
    let control: Vec<DeviceNode> = CONTROL.into_iter().filter_map(node).collect();
    let gpu = |number: u32| {
        let own = vec![node(&format!("/dev/nvidia{number}"))?];
        let nodes = own.iter().chain(&control).cloned().collect();
        Some(Device { name: number.to_string(), own, edits: Edits { nodes, ..Edits::default() } })
    };
    (0..NODES_MAX).filter_map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(names: &[&str]) -> Gpus {
        let device = |(number, name): (usize, &&str)| {
            let minor = u32::try_from(number).expect("few");
            let path = PathBuf::from(format!("/dev/gpu{name}"));
            let null = existing_node(&path, Path::new("/dev/null")).expect("a device");
            let own = vec![DeviceNode { minor: 100 + minor, ..null }];
            let edits = Edits { nodes: own.clone(), ..Edits::default() };
            Device { name: (*name).to_owned(), own, edits }
        };
        Gpus { all: names.iter().enumerate().map(device).collect(), held: Mutex::default() }
    }

    #[test]
    fn a_gpu_has_one_container_at_a_time() {
        let gpus = gpus(&["0", "1", "2"]);
        let (a, b) = (ContainerId::from("a"), ContainerId::from("b.c"));
        assert_eq!(gpus.allocate(&a, 1).expect("one"), ["0"]);
        assert_eq!(gpus.allocate(&b, 2).expect("two"), ["1", "2"]);
        assert_eq!(gpus.allocate(&a, 2).unwrap_err(), "Requested 1 gpus but only 0 available");
        assert_eq!(gpus.allocate(&b, 1).expect("fewer"), ["1"]);
        assert_eq!(gpus.allocate(&a, 2).expect("more"), ["0", "2"]);
        let minors =
            |root: &str| gpus.nodes_of_family(root).iter().map(|node| node.minor).collect::<Vec<_>>();
        assert_eq!(
            (minors("a"), minors("b"), minors("b.c"), minors("x")),
            (vec![100, 102], vec![101], vec![101], vec![])
        );
        assert_eq!(gpus.release(&a), ["0", "2"]);
        assert_eq!(gpus.release(&a), Vec::<String>::new());
        // What an earlier agent gave away stays given, also a gpu that is not there any more.
        gpus.recover(&a, "0\n9\n");
        assert!(gpus.allocate(&ContainerId::from("d"), 2).is_err());
    }

    #[test]
    fn names_of_one_gpu_are_one_gpu_and_the_flag_chooses() {
        let folder = tempfile::tempdir().expect("a folder");
        let device = |name: &str, minors: &[u32]| {
            let nodes: Vec<String> = minors
                .iter()
                .map(|minor| format!(r#"{{"path":"/dev/g{minor}","type":"c","major":9,"minor":{minor}}}"#))
                .collect();
            format!(r#"{{"name":"{name}","containerEdits":{{"deviceNodes":[{}]}}}}"#, nodes.join(","))
        };
        let devices = [
            device("GPU-f00", &[1]),
            device("1", &[1]),
            device("0", &[0]),
            device("all", &[0, 1]),
            device("none", &[]),
        ];
        let text =
            format!(r#"{{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu","devices":[{}]}}"#, devices.join(","));
        std::fs::write(folder.path().join("gpu.json"), text).expect("a file");
        let settings = GpuSettings { spec_dirs: vec![folder.path().into()], ..GpuSettings::default() };
        let names = |settings: &GpuSettings| {
            let found = find(settings, Path::new("/nowhere"))?;
            Ok::<_, String>(found.into_iter().map(|gpu| gpu.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&settings).expect("two"), ["0", "1"]);
        let some = |devices: &[u32]| GpuSettings { devices: Some(devices.to_vec()), ..settings.clone() };
        assert_eq!(names(&some(&[1])).expect("one"), ["1"]);
        assert!(names(&some(&[2])).unwrap_err().contains("gpu 2"));
        assert!(names(&some(&[1, 1])).unwrap_err().contains("twice"));
        let none = GpuSettings { kind: "other.com/gpu".to_owned(), ..settings };
        assert!(names(&none).unwrap_err().contains("other.com/gpu"));
    }

    #[test]
    fn the_isolator_says_what_it_needs() {
        let isolation = Isolation { names: vec![NAME.to_owned()], ..Isolation::default() };
        assert!(gpu_count(&isolation).unwrap_err().to_string().contains("cgroups/devices"));
        assert_eq!(gpu_count(&Isolation::default()).expect("none"), 0);
    }
}
