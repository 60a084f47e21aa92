//! Files of the Container Device Interface: what a container needs in order to use a device, written down by
//! whoever has installed the device's driver.
//!
//! Of the specification (0.3 to 0.8) everything is followed but hooks, which would be programs of the host's run
//! as root for a container: they are left out and told of. A device with anything else that cannot be done is
//! left out altogether.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use crate::confinement::{DeviceNode, Mount, Source};

/// Bytes of a file; those of large machines have some ten thousand.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Files of a folder that are read.
const FILES_MAX: usize = 1_000;
/// Devices of one kind on one host.
const DEVICES_MAX: usize = 4_096;

/// What is done to a container that is given a device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edits {
    pub(crate) nodes: Vec<DeviceNode>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) environment: Vec<(String, String)>,
    /// Further groups of its user.
    pub(crate) groups: Vec<u32>,
}

impl Edits {
    /// Adds what is not there yet.
    pub(crate) fn add(&mut self, other: &Self) {
        for node in &other.nodes {
            if !self.nodes.contains(node) {
                self.nodes.push(node.clone());
            }
        }
        for mount in &other.mounts {
            if self.mounts.iter().all(|known| known.target != mount.target) {
                self.mounts.push(mount.clone());
            }
        }
        self.environment.retain(|(name, _)| other.environment.iter().all(|(theirs, _)| theirs != name));
        self.environment.extend(other.environment.iter().cloned());
        self.groups.extend(
            other.groups.iter().filter(|group| !self.groups.contains(group)).copied().collect::<Vec<_>>(),
        );
    }
}

/// A device with all it needs.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    /// Its own nodes, by which two names of one device are told from two devices.
    pub(crate) own: Vec<DeviceNode>,
    pub(crate) edits: Edits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Specification {
    cdi_version: String,
    kind: String,
    #[serde(default)]
    devices: Vec<RawDevice>,
    #[serde(default)]
    container_edits: RawEdits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDevice {
    name: String,
    #[serde(default)]
    container_edits: RawEdits,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawEdits {
    env: Vec<String>,
    device_nodes: Vec<RawNode>,
    mounts: Vec<RawMount>,
    hooks: Vec<serde_json::Value>,
    intel_rdt: Option<serde_json::Value>,
    additional_gids: Vec<u32>,
    net_devices: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawNode {
    path: String,
    host_path: Option<String>,
    r#type: Option<String>,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMount {
    host_path: String,
    container_path: String,
    r#type: Option<String>,
    #[serde(default)]
    options: Vec<String>,
}

/// The devices of one kind from all files of these folders. What a later folder says of a device counts. Files
/// and devices that cannot be used are told of by `refuse` and left out.
pub(crate) fn devices(folders: &[PathBuf], kind: &str, refuse: &mut dyn FnMut(String)) -> Vec<Device> {
    let mut all: BTreeMap<String, Device> = BTreeMap::new();
    let mut paths = Vec::new();
    for folder in folders {
        paths.append(&mut files(folder, refuse));
    }
    for path in paths {
        let specification = match read(&path) {
            Ok(specification) => specification,
            Err(why) => {
                refuse(format!("'{}' is not used: {why}", path.display()));
                continue;
            }
        };
        if specification.kind != kind {
            continue;
        }
        let mut hooks = specification.container_edits.hooks.len();
        for raw in specification.devices {
            hooks += raw.container_edits.hooks.len();
            if all.len() >= DEVICES_MAX {
                refuse(format!("'{}': there are more than {DEVICES_MAX} devices", path.display()));
                break;
            }
            match device(&raw, &specification.container_edits) {
                Ok(device) => drop(all.insert(device.name.clone(), device)),
                Err(why) => {
                    refuse(format!("device '{}' of '{}' is not used: {why}", raw.name, path.display()));
                }
            }
        }
        if hooks > 0 {
            refuse(format!("{hooks} hooks of '{}' are not run: nothing of the host's is", path.display()));
        }
    }
    all.into_values().collect()
}

/// The files of a folder, in order. A folder that is not there has none.
fn files(folder: &Path, refuse: &mut dyn FnMut(String)) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()).take(FILES_MAX) {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => files.push(path),
            Some("yaml" | "yml") => {
                refuse(format!("'{}' is not used: only files in the form of JSON are read", path.display()));
            }
            _ => {}
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> Result<Specification, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
    }
    let specification: Specification = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let version = specification.cdi_version.trim_start_matches('v');
    if version.split('.').next() != Some("0") && version.split('.').next() != Some("1") {
        return Err(format!("its version '{}' is not known", specification.cdi_version));
    }
    Ok(specification)
}

fn device(raw: &RawDevice, common: &RawEdits) -> Result<Device, String> {
    if raw.name.is_empty() || raw.name.len() > 256 || raw.name.contains(|c: char| c.is_whitespace()) {
        return Err("its name is not one".to_owned());
    }
    let own = edits(&raw.container_edits)?;
    let nodes = own.nodes.clone();
    let mut all = edits(common)?;
    all.add(&own);
    Ok(Device { name: raw.name.clone(), own: nodes, edits: all })
}

fn edits(raw: &RawEdits) -> Result<Edits, String> {
    if raw.intel_rdt.is_some() {
        return Err("it asks for Intel RDT, which is not supported".to_owned());
    }
    if !raw.net_devices.is_empty() {
        return Err("it asks for network devices, which are not supported".to_owned());
    }
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is no variable"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    Ok(Edits {
        nodes: raw.device_nodes.iter().map(node).collect::<Result<_, String>>()?,
        mounts: raw.mounts.iter().map(mount).collect::<Result<_, String>>()?,
        environment: raw.env.iter().map(variable).collect::<Result<_, String>>()?,
        groups: raw.additional_gids.iter().copied().filter(|group| *group != 0).collect(),
    })
}

fn node(raw: &RawNode) -> Result<DeviceNode, String> {
    let path = inside_dev(&raw.path)?;
    let host = PathBuf::from(raw.host_path.as_deref().unwrap_or(&raw.path));
    let found = existing_node(&path, &host);
    let (block, major, minor) = match (raw.r#type.as_deref(), raw.major, raw.minor) {
        (Some(kind @ ("b" | "c" | "u")), Some(major), Some(minor)) => (kind == "b", major, minor),
        (None | Some("b" | "c" | "u"), ..) => {
            let found = found.as_ref().map_err(Clone::clone)?;
            (found.block, raw.major.unwrap_or(found.major), raw.minor.unwrap_or(found.minor))
        }
        (Some(other), ..) => return Err(format!("'{}' is of the kind '{other}', which is none", raw.path)),
    };
    let access = raw.permissions.as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
    if access.contains(|letter| !"rwm".contains(letter)) {
        return Err(format!("'{access}' says not what is allowed with '{}'", raw.path));
    }
    let as_found = found.as_ref().map_or((0o666, (0, 0)), |found| (found.mode, found.owner));
    Ok(DeviceNode {
        path,
        block,
        major,
        minor,
        mode: raw.file_mode.unwrap_or(as_found.0) & 0o777,
        owner: (raw.uid.unwrap_or(as_found.1.0), raw.gid.unwrap_or(as_found.1.1)),
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    })
}

/// A node that the host has, for a place in containers.
pub(crate) fn existing_node(path: &Path, host: &Path) -> Result<DeviceNode, String> {
    let found = fs::metadata(host).map_err(|error| format!("look at '{}': {error}", host.display()))?;
    let kind = found.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Err(format!("'{}' is not a device", host.display()));
    }
    Ok(DeviceNode {
        path: path.to_path_buf(),
        block: kind.is_block_device(),
        major: rustix::fs::major(found.rdev()),
        minor: rustix::fs::minor(found.rdev()),
        mode: found.mode() & 0o777,
        owner: (found.uid(), found.gid()),
        read: true,
        write: true,
        mknod: true,
    })
}

/// A container's devices are in its /dev alone: everywhere else nodes do nothing.
fn inside_dev(path: &str) -> Result<PathBuf, String> {
    let inner = path.strip_prefix("/dev/").unwrap_or_default();
    let plain = Path::new(inner).components().all(|part| matches!(part, Component::Normal(_)));
    if inner.is_empty() || !plain {
        return Err(format!("'{path}' is not a place in /dev"));
    }
    Ok(PathBuf::from(path))
}

fn mount(raw: &RawMount) -> Result<Mount, String> {
    let target = PathBuf::from(&raw.container_path);
    if raw.r#type.as_deref().is_some_and(|kind| !matches!(kind, "bind" | "none" | "")) {
        return Err(format!("the mount '{}' is not one of a file or folder", raw.container_path));
    }
    if !target.is_absolute() || target.components().any(|part| part == Component::ParentDir) {
        return Err(format!("the mount '{}' has no absolute place", raw.container_path));
    }
    let read_only = !raw.options.iter().any(|option| option == "rw");
    Ok(Mount { source: Source::Host(PathBuf::from(&raw.host_path)), target, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> (Vec<Device>, Vec<String>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let mut told = Vec::new();
        let devices = devices(&[folder.path().into()], "nvidia.com/gpu", &mut |why| told.push(why));
        (devices, told)
    }

    #[test]
    fn nodes_mounts_and_variables_are_read() {
        let text = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
            "containerEdits": {"env": ["A=1", "B=all"], "deviceNodes": [{"path": "/dev/ctl", "hostPath": "/dev/null"}],
                "mounts": [{"hostPath": "/usr/lib", "containerPath": "/usr/lib/gpu", "options": ["ro", "bind"]}],
                "hooks": [{"hookName": "createContainer", "path": "/usr/bin/ldconfig"}]},
            "devices": [{"name": "0", "containerEdits": {"env": ["B=own"], "additionalGids": [0, 44],
                "deviceNodes": [{"path": "/dev/dri/card0", "type": "c", "major": 7, "minor": 8, "permissions": "rw",
                    "fileMode": 384, "gid": 44}]}}]}"#;
        let (devices, told) = found(&[("a.json", text)]);
        let [device] = &devices[..] else { panic!("{told:?}") };
        let edits = &device.edits;
        assert_eq!(edits.environment, [("A", "1"), ("B", "own")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(edits.groups, [44]);
        let [control, card] = &edits.nodes[..] else { panic!("{:?}", edits.nodes) };
        assert_eq!((control.path.as_path(), control.major, control.minor), (Path::new("/dev/ctl"), 1, 3));
        assert_eq!((card.major, card.minor, card.mode, card.owner), (7, 8, 0o600, (0, 44)));
        assert!(card.read && card.write && !card.mknod);
        assert_eq!(&device.own[..], std::slice::from_ref(card));
        assert!(edits.mounts[0].read_only);
        assert!(
            matches!(&told[..], [hooks] if hooks.contains("1 hooks") && hooks.contains("not run")),
            "{told:?}"
        );
    }

    #[test]
    fn what_cannot_be_done_is_told_and_left_out() {
        let device = |edits: &str| {
            format!(
                r#"{{"cdiVersion":"0.5.0","kind":"nvidia.com/gpu","devices":[{{"name":"0","containerEdits":{edits}}}]}}"#
            )
        };
        for (edits, why) in [
            (r#"{"deviceNodes":[{"path":"/etc/x","hostPath":"/dev/null"}]}"#, "not a place in /dev"),
            (r#"{"deviceNodes":[{"path":"/dev/../etc/x","hostPath":"/dev/null"}]}"#, "not a place in /dev"),
            (r#"{"deviceNodes":[{"path":"/dev/no-such-device"}]}"#, "No such file"),
            (r#"{"deviceNodes":[{"path":"/dev/null","type":"p"}]}"#, "the kind 'p'"),
            (r#"{"deviceNodes":[{"path":"/dev/null","permissions":"rx"}]}"#, "what is allowed"),
            (r#"{"mounts":[{"hostPath":"/a","containerPath":"/b","type":"tmpfs"}]}"#, "file or folder"),
            (r#"{"mounts":[{"hostPath":"/a","containerPath":"/b/../.."}]}"#, "absolute place"),
            (r#"{"env":["A"]}"#, "no variable"),
            (r#"{"intelRdt":{}}"#, "Intel RDT"),
        ] {
            let (devices, told) = found(&[("a.json", &device(edits))]);
            assert!(devices.is_empty() && told.iter().any(|said| said.contains(why)), "{edits}: {told:?}");
        }
        let other = device("{}").replace("nvidia.com/gpu", "other.com/net");
        let (devices, told) = found(&[
            ("a.json", "{"),
            ("b.yaml", "kind: x"),
            ("c.json", &other),
            ("d.txt", ""),
            ("e.json", &device("{}")),
        ]);
        assert_eq!(devices.len(), 1, "the others do not harm it");
        assert_eq!(told.len(), 2, "{told:?}");
    }
}
