//! Control groups of either version, and what this host has of them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use super::IsolationError;

const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// How often, and after which time, a group that is in use is tried again: for five seconds.
const LATER_ATTEMPTS: usize = 500;
const LATER_PAUSE: Duration = Duration::from_millis(10);
/// Groups that are waited for at a time, each by a thread. More are only told of; the next agent removes them.
const WAITING_MAX: usize = 64;

/// Which of the two interfaces a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A control group: a directory.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

impl Group {
    pub(super) fn child(&self, name: &str) -> Group {
        Group { path: self.path.join(name), version: self.version }
    }

    /// The file into which a process with one thread writes itself to join. Of version 1 it is the one for threads: the kernel
    /// lets a thread that moves itself go at once, and makes one that moves a process wait for all processors to have passed
    /// by (`cgroup_threadgroup_rwsem`), which is 10 to 15 ms after a pause.
    pub(super) fn entrance(&self) -> PathBuf {
        self.path.join(match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        })
    }

    /// Its path in its hierarchy, which is mounted below a folder; `None` when it is not.
    pub(super) fn below(&self, mounts: &Path) -> Option<PathBuf> {
        let path = self.path.strip_prefix(mounts).ok()?;
        Some(match self.version {
            // The first is the controller's.
            Version::V1 => path.iter().skip(1).collect(),
            Version::V2 => path.strip_prefix("unified").unwrap_or(path).to_path_buf(),
        })
    }

    pub(super) fn create(&self) -> Result<(), IsolationError> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(IsolationError::Create { path: self.path.clone(), source: error })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn write(&self, file: &str, value: impl ToString) -> Result<(), IsolationError> {
        let (path, value) = (self.path.join(file), value.to_string());
        match fs::write(&path, &value) {
            Ok(()) => Ok(()),
            Err(source) => Err(IsolationError::Write { path, value, source }),
        }
    }

    pub(super) fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path.join(file)).ok()
    }

    /// A file that holds one number; `max` counts as the largest.
    pub(super) fn number(&self, file: &str) -> Option<u64> {
        let text = self.read(file)?;
        if text.trim() == "max" { Some(u64::MAX) } else { text.trim().parse().ok() }
    }

    /// One line `name value` of a file of such lines.
    pub(super) fn field(&self, file: &str, name: &str) -> Option<u64> {
        field(&self.read(file)?, name)
    }

    /// The names of the groups below.
    pub(super) fn children(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Kills all members at once; only v2 can.
    pub(super) fn kill(&self) {
        if self.version == Version::V2 {
            let _ = fs::write(self.path.join("cgroup.kill"), "1");
        }
    }

    /// Removes the group. Processes that are still in it are left to whoever reaps them; the group
    /// of a container is empty when its supervisor has reported the end.
    pub(super) fn remove(&self) {
        // The kernel counts a member a moment longer than its parent sees it.
        if !self.is_removed_within(10, Duration::from_millis(1)) {
            self.remove_later();
        }
    }

    fn is_removed_within(&self, attempts: usize, pause: Duration) -> bool {
        for _ in 0..attempts {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    // Another runtime may not have removed its own.
                    for name in self.children() {
                        let _ = fs::remove_dir(self.path.join(name));
                    }
                    thread::sleep(pause);
                }
                _ => return true,
            }
        }
        false
    }

    /// Where many wait for a processor the moment is longer. Who has others to look after does not wait for it.
    fn remove_later(&self) {
        static WAITING: AtomicUsize = AtomicUsize::new(0);
        let told = |path: &Path| {
            tracing::warn!(path = %path.display(), "a control group could not be removed: it is in use");
        };
        let group = self.clone();
        let wait = move || {
            if !group.is_removed_within(LATER_ATTEMPTS, LATER_PAUSE) {
                told(&group.path);
            }
            WAITING.fetch_sub(1, Ordering::Relaxed);
        };
        let is_waiting = WAITING.fetch_add(1, Ordering::Relaxed) < WAITING_MAX
            && thread::Builder::new().name("groups".to_owned()).spawn(wait).is_ok();
        if !is_waiting {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            told(&self.path);
        }
    }
}

/// The value behind a name in a file of `name value` lines.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Where the control groups of this host are.
#[derive(Debug)]
pub(super) struct Host {
    hierarchy: PathBuf,
    root: String,
}

impl Host {
    pub(super) fn inspect(hierarchy: &Path, root: &str) -> Self {
        Self { hierarchy: hierarchy.to_path_buf(), root: root.to_owned() }
    }

    /// The agent's own group below which its containers get theirs, made when missing. A v1
    /// hierarchy of the controller wins; then v2 alone or beside v1 (hybrid) is tried.
    pub(super) fn controller(&self, isolator: &'static str, name: &str) -> Result<Group, IsolationError> {
        let refused = |reason: String| IsolationError::Host { name: isolator, reason };
        if !rustix::process::geteuid().is_root() {
            return Err(refused("control groups need root".to_owned()));
        }
        let v1 = self.hierarchy.join(name);
        if magic(&v1) == Some(CGROUP_MAGIC) {
            let group = Group { path: v1.join(&self.root), version: Version::V1 };
            fs::create_dir_all(&group.path)
                .map_err(|source| IsolationError::Create { path: group.path.clone(), source })?;
            return Ok(group);
        }
        for mount in [self.hierarchy.clone(), self.hierarchy.join("unified")] {
            if magic(&mount) != Some(CGROUP2_MAGIC) {
                continue;
            }
            let available = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
            if available.split_whitespace().any(|known| known == name) {
                return self.unified(&mount, name).map_err(|error| refused(explain(&error)));
            }
        }
        let hierarchy = self.hierarchy.display();
        Err(refused(format!("no control group hierarchy below '{hierarchy}' has the controller '{name}'")))
    }

    /// The same for devices, which are no controller of v2: every group can have a program there.
    pub(super) fn devices(&self, isolator: &'static str) -> Result<Group, IsolationError> {
        let first = match self.controller(isolator, "devices") {
            Err(IsolationError::Host { name, reason }) => IsolationError::Host { name, reason },
            result => return result,
        };
        // Any controller will do to find the groups of containers.
        ["pids", "memory", "cpu", "io"]
            .iter()
            .find_map(|name| match self.controller(isolator, name) {
                Ok(group) if group.version == Version::V2 => Some(group),
                _ => None,
            })
            .ok_or(first)
    }

    /// Where the hierarchies are.
    pub(super) fn hierarchy(&self) -> &Path {
        &self.hierarchy
    }

    /// Passes a v2 controller down to `<root>/<container>`. Where the top may not be changed, the
    /// service manager has delegated the agent's own group, and the containers go below that.
    fn unified(&self, mount: &Path, name: &str) -> Result<Group, IsolationError> {
        let first = enable_below(mount, &self.root, name);
        if first.is_ok() {
            return first;
        }
        let Some(own) = own_group(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default()) else {
            return first;
        };
        if own.is_empty() {
            return first;
        }
        let base = mount.join(&own);
        // A group with members cannot pass controllers down: the agent moves to a leaf of its own.
        let leaf = Group { path: base.join("agent"), version: Version::V2 };
        leaf.create()?;
        leaf.write("cgroup.procs", "0")?;
        enable_below(&base, &self.root, name)
    }
}

fn enable_below(base: &Path, root: &str, name: &str) -> Result<Group, IsolationError> {
    let mut group = Group { path: base.to_path_buf(), version: Version::V2 };
    group.write("cgroup.subtree_control", format!("+{name}"))?;
    for component in root.split('/').filter(|component| !component.is_empty()) {
        group = group.child(component);
        group.create()?;
        group.write("cgroup.subtree_control", format!("+{name}"))?;
    }
    Ok(group)
}

/// The v2 path in `/proc/self/cgroup`, without its first slash.
fn own_group(text: &str) -> Option<String> {
    Some(text.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned())
}

fn magic(path: &Path) -> Option<u64> {
    let statistics = rustix::fs::statfs(path).ok()?;
    u64::try_from(statistics.f_type).ok()
}

fn explain(error: &IsolationError) -> String {
    use std::error::Error;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "cache 1\ntotal_cache 2\nrss 3\nrss_huge 4\n";
        assert_eq!(field(text, "cache"), Some(1));
        assert_eq!(field(text, "rss"), Some(3));
        assert_eq!(field(text, "rss_h"), None);
    }

    #[test]
    fn a_group_goes_when_its_last_member_has_gone() {
        let host = Host::inspect(Path::new("/sys/fs/cgroup"), &format!("mezzo-leave-{}", std::process::id()));
        let Ok(root) = host.controller("cgroups/pids", "pids") else {
            return println!("skipped, needs root and control groups");
        };
        let group = root.child("one");
        group.create().expect("made");
        let mut member = std::process::Command::new("sleep").arg("2").spawn().expect("started");
        group.write("cgroup.procs", member.id()).expect("moved");
        group.remove();
        assert!(group.path.exists(), "it is in use");
        member.wait().expect("ended");
        let start = std::time::Instant::now();
        while group.path.exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "it is left");
            thread::sleep(LATER_PAUSE);
        }
        root.remove();
    }

    #[test]
    fn a_group_has_one_path_in_all_hierarchies() {
        let group = |path: &str, version| Group { path: PathBuf::from(path), version };
        let mounts = Path::new("/sys/fs/cgroup");
        for (path, version, expected) in [
            ("/sys/fs/cgroup/memory/mesos", Version::V1, Some("mesos")),
            ("/sys/fs/cgroup/unified/mesos", Version::V2, Some("mesos")),
            ("/sys/fs/cgroup/a.slice/mesos", Version::V2, Some("a.slice/mesos")),
            ("/elsewhere/mesos", Version::V2, None),
        ] {
            assert_eq!(group(path, version).below(mounts), expected.map(PathBuf::from), "{path}");
        }
    }

    #[test]
    fn the_own_group_is_read_from_hybrid_and_pure_hosts() {
        assert_eq!(own_group("8:pids:/\n0::/a.slice/b\n").as_deref(), Some("a.slice/b"));
        assert_eq!(own_group("0::/\n").as_deref(), Some(""));
        assert_eq!(own_group("8:pids:/\n"), None);
    }
}
