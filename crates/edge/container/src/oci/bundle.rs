//! The configuration of a container in the form of the OCI runtime specification.

use std::{
    ffi::{CStr, OsStr},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use nix::libc;
use serde_json::{Value, json};

use super::Assignment;
use crate::{
    confinement::{Capabilities, Confined, DeviceRef},
    filesystem::{Left, PROC_HIDDEN, READ_ONLY, SYS_HIDDEN},
    init,
    isolators::capability_names,
    job::Job,
    request::Rlimit,
};

/// The version of the specification that is needed, which all runtimes have.
const VERSION: &str = "1.0.2";
/// What the launcher, and so every container of our own, has.
const UMASK: u32 = 0o022;

/// All of `config.json`. The reason why there is none is to be read behind "Failed to".
pub(super) fn config(
    job: &Job,
    confined: &Confined<'_>,
    assignment: &Assignment<'_>,
    root: &Path,
    left: &[Left],
) -> Result<Vec<u8>, String> {
    let has_root = confined.root.is_some();
    let mut linux = json!({
        "namespaces": namespaces(confined),
        "cgroupsPath": text(assignment.cgroup),
        "resources": { "devices": devices(assignment, has_root)? },
        // As everywhere: what the host unmounts is unmounted there as well.
        "rootfsPropagation": "rslave",
    });
    if has_root {
        let below = |folder: &str, names: &[&[u8]]| -> Vec<String> {
            names.iter().map(|name| format!("/{folder}/{}", String::from_utf8_lossy(name))).collect()
        };
        linux["devices"] = confined.devices.iter().map(node).collect();
        let hidden = [below("proc", &PROC_HIDDEN), below("sys", &SYS_HIDDEN)].concat();
        linux["maskedPaths"] = hidden.into();
        linux["readonlyPaths"] = below("proc", &READ_ONLY).into();
    }
    if !assignment.profile.is_empty() {
        linux["seccomp"] = serde_json::from_slice(assignment.profile)
            .map_err(|error| format!("describe the filter of system calls: {error}"))?;
    }
    let read_only = confined.root.as_ref().is_some_and(|root| root.read_only);
    let mut config = json!({
        "ociVersion": VERSION,
        "process": process(job, confined)?,
        "root": { "path": root.to_string_lossy(), "readonly": read_only },
        "mounts": mounts(confined, root, left),
        "linux": linux,
    });
    if let Some(hostname) = confined.hostname.filter(|_| init::has_name(confined)) {
        config["hostname"] = text(hostname).into();
    }
    serde_json::to_vec(&config).map_err(|error| format!("describe the container: {error}"))
}

fn text(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

fn process(job: &Job, confined: &Confined<'_>) -> Result<Value, String> {
    let launch = &job.launch;
    let texts = |texts: &[&CStr]| texts.iter().map(|one| text(one)).collect::<Vec<_>>();
    // A bare name is looked for by the runtime, in the same PATH; it names the program and the zeroth argument.
    let mut arguments = texts(&launch.arguments);
    let program = match launch.candidates[..] {
        [only] => text(only),
        _ => {
            let first = launch.candidates.first().copied().unwrap_or_default();
            let name = first.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        }
    };
    match arguments.first_mut() {
        Some(first) => *first = program,
        None => arguments.push(program),
    }
    let directory = launch.start_directory().unwrap_or(c"/");
    // A descriptor of the runtime's, which is one of the host's, is a way out (attack A002).
    let first =
        directory.to_bytes().split(|byte| *byte == b'/').find(|part| !part.is_empty() && *part != b".");
    if confined.root.is_some() && first == Some(b"proc") {
        return Err(format!("change directory to '{}': Operation not permitted", text(directory)));
    }
    let user = match &launch.credentials {
        Some(user) => {
            json!({ "uid": user.uid, "gid": user.gid, "umask": UMASK, "additionalGids": user.groups })
        }
        None => {
            let groups = rustix::process::getgroups().unwrap_or_default();
            let groups: Vec<u32> = groups.iter().map(|group| group.as_raw()).collect();
            json!({ "uid": 0, "gid": 0, "umask": UMASK, "additionalGids": groups })
        }
    };
    let is_root = launch.credentials.as_ref().is_none_or(|user| user.uid == 0);
    Ok(json!({
        "terminal": launch.terminal,
        "user": user,
        "args": arguments,
        "env": texts(&launch.environment),
        "cwd": text(directory),
        "capabilities": capabilities(confined.capabilities, is_root),
        "rlimits": limits(&launch.rlimits)?,
        "noNewPrivileges": confined.no_new_privileges,
    }))
}

/// Without any said, those of the user: all that the agent has for root, and none for others. Never more than the
/// agent has.
fn capabilities(wanted: Option<Capabilities>, is_root: bool) -> Value {
    let own = own_bounding();
    let (effective, bounding) = match wanted {
        None => (if is_root { own } else { 0 }, own),
        // A program of root's gets all of the bounding set when it is executed.
        Some(wanted) if is_root => (wanted.effective & wanted.bounding, wanted.effective & wanted.bounding),
        Some(wanted) => (wanted.effective & wanted.bounding, wanted.bounding),
    };
    let (effective, bounding) = (names(effective & own), names(bounding & own));
    // Who is not root keeps over an execution only what is handed on.
    let handed_on = if is_root || wanted.is_none() { Vec::new() } else { effective.clone() };
    json!({
        "bounding": bounding,
        "effective": effective,
        "permitted": effective,
        "inheritable": handed_on,
        "ambient": handed_on,
    })
}

fn names(set: u64) -> Vec<String> {
    capability_names(set).map(|name| format!("CAP_{name}")).collect()
}

fn own_bounding() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default()
}

fn limits(limits: &[Rlimit]) -> Result<Value, String> {
    let described = limits.iter().map(|limit| {
        let name = match limit.resource {
            libc::RLIMIT_AS => "RLIMIT_AS",
            libc::RLIMIT_CORE => "RLIMIT_CORE",
            libc::RLIMIT_CPU => "RLIMIT_CPU",
            libc::RLIMIT_DATA => "RLIMIT_DATA",
            libc::RLIMIT_FSIZE => "RLIMIT_FSIZE",
            libc::RLIMIT_LOCKS => "RLIMIT_LOCKS",
            libc::RLIMIT_MEMLOCK => "RLIMIT_MEMLOCK",
            libc::RLIMIT_MSGQUEUE => "RLIMIT_MSGQUEUE",
            libc::RLIMIT_NICE => "RLIMIT_NICE",
            libc::RLIMIT_NOFILE => "RLIMIT_NOFILE",
            libc::RLIMIT_NPROC => "RLIMIT_NPROC",
            libc::RLIMIT_RSS => "RLIMIT_RSS",
            libc::RLIMIT_RTPRIO => "RLIMIT_RTPRIO",
            libc::RLIMIT_RTTIME => "RLIMIT_RTTIME",
            libc::RLIMIT_SIGPENDING => "RLIMIT_SIGPENDING",
            libc::RLIMIT_STACK => "RLIMIT_STACK",
            other => return Err(format!("set resource limit {other}: it is unknown")),
        };
        Ok(json!({ "type": name, "soft": limit.soft, "hard": limit.hard }))
    });
    described.collect::<Result<Vec<_>, _>>().map(Value::from)
}

/// Those the runtime makes; what is not in the list is the host's.
fn namespaces(confined: &Confined<'_>) -> Value {
    let mut made = vec![json!({ "type": "mount" })];
    let mut add = |wanted: bool, kind: &str| {
        if wanted {
            made.push(json!({ "type": kind }));
        }
    };
    add(confined.pid, "pid");
    add(confined.ipc, "ipc");
    add(init::has_name(confined), "uts");
    add(confined.root.is_some(), "cgroup");
    if let Some(network) = &confined.network {
        made.push(json!({ "type": "network", "path": text(network.namespace) }));
    }
    made.into()
}

/// What needs namespaces that only the runtime has; everything else is in the root already.
fn mounts(confined: &Confined<'_>, root: &Path, left: &[Left]) -> Value {
    const INERT: [&str; 3] = ["nosuid", "noexec", "nodev"];
    let options = |more: &[&str]| -> Vec<String> {
        INERT.iter().chain(more).map(|option| (*option).to_owned()).collect()
    };
    let mount = |target: &str, kind: &str, options: Vec<String>| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    let bind = |source: &Path, target: &str| json!({ "destination": target, "type": "bind", "source": source.to_string_lossy(), "options": ["rbind"] });
    let memory = || {
        let size = format!("size={}", confined.shm_bytes);
        mount("/dev/shm", "tmpfs", options(&["mode=1777", &size]))
    };
    let mut mounts = Vec::new();
    if confined.root.is_some() {
        mounts.push(mount("/proc", "proc", options(&[])));
        mounts.push(mount("/sys", "sysfs", options(&["ro"])));
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        mounts.push(mount(
            "/dev",
            "tmpfs",
            texts(&["nosuid", "noexec", "strictatime", "mode=755", "size=64k"]),
        ));
        let pts = texts(&["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]);
        mounts.push(mount("/dev/pts", "devpts", pts));
        mounts.push(memory());
        if confined.ipc {
            mounts.push(mount("/dev/mqueue", "mqueue", options(&[])));
        }
        for volume in left {
            let target = Path::new(OsStr::from_bytes(&volume.target)).to_string_lossy();
            mounts.push(bind(&volume.source, &target));
        }
        return mounts.into();
    }
    // Tells a runtime that these devices are not its own to arrange.
    mounts.push(bind(&root.join("dev"), "/dev"));
    if confined.pid {
        mounts.push(mount("/proc", "proc", options(&[])));
    }
    if confined.ipc {
        mounts.push(memory());
        // Runtimes make a place that is missing, which would be on the host.
        if root.join("dev/mqueue").is_dir() {
            mounts.push(mount("/dev/mqueue", "mqueue", options(&[])));
        }
    }
    mounts.into()
}

/// The list of devices begins with what holds for all others.
fn devices(assignment: &Assignment<'_>, has_root: bool) -> Result<Value, String> {
    if assignment.devices.is_none() && !has_root {
        return Ok(json!([{ "allow": true, "access": "rwm" }]));
    }
    let mut devices = vec![json!({ "allow": false, "access": "rwm" })];
    for line in assignment.devices.iter().flatten().chain(&assignment.given) {
        devices.push(device(&text(line)).ok_or("describe a device that is allowed")?);
    }
    Ok(devices.into())
}

/// A node for the /dev that the runtime makes.
fn node(device: &DeviceRef<'_>) -> Value {
    json!({
        "path": text(device.path),
        "type": if device.block { "b" } else { "c" },
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode & 0o777,
        "uid": device.owner.0,
        "gid": device.owner.1,
    })
}

/// From the kernel's form, `c 1:3 rwm`.
fn device(line: &str) -> Option<Value> {
    let mut parts = line.split(' ');
    let (kind, numbers, access) = (parts.next()?, parts.next()?, parts.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let mut device = json!({ "allow": true, "type": kind, "access": access });
    for (name, number) in [("major", major), ("minor", minor)] {
        if number != "*" {
            device[name] = number.parse::<i64>().ok()?.into();
        }
    }
    Some(device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confinement::NetworkRef;

    #[test]
    fn devices_are_those_of_the_isolator() {
        assert_eq!(
            device("c 136:* rwm"),
            Some(json!({ "allow": true, "type": "c", "major": 136, "access": "rwm" }))
        );
        assert_eq!(device("b *:* m"), Some(json!({ "allow": true, "type": "b", "access": "m" })));
        assert_eq!(device("c 1 rwm"), None);
    }

    #[test]
    fn namespaces_are_made_or_joined_as_asked() {
        let network = NetworkRef { namespace: c"/run/n", files: Vec::new() };
        let confined = Confined { pid: true, network: Some(network), ..Confined::default() };
        let kinds = [json!({ "type": "mount" }), json!({ "type": "pid" }), json!({ "type": "uts" })];
        let mut expected = kinds.to_vec();
        expected.push(json!({ "type": "network", "path": "/run/n" }));
        assert_eq!(namespaces(&confined), Value::from(expected));
        assert_eq!(namespaces(&Confined::default()), json!([{ "type": "mount" }]));
    }

    #[test]
    fn a023_capabilities_are_never_more_than_given() {
        let wanted = Capabilities { effective: 0b11, bounding: 0b111 };
        let own = own_bounding();
        let root = capabilities(Some(wanted), true);
        assert_eq!(root["bounding"], json!(names(0b11 & own)), "root's programs gain all of it");
        let other = capabilities(Some(wanted), false);
        assert_eq!(other["bounding"], json!(names(0b111 & own)));
        assert_eq!(other["ambient"], other["effective"]);
        assert_eq!(capabilities(None, false)["effective"], json!([]));
    }

    #[test]
    fn limits_have_names() {
        let limit = Rlimit { resource: 7, soft: 1, hard: u64::MAX };
        assert_eq!(
            limits(&[limit]).unwrap(),
            json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX }])
        );
        assert!(limits(&[Rlimit { resource: 99, ..limit }]).is_err());
    }
}
