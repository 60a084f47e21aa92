//! Where things lie under the runtime directory (rule 356).

use std::path::{Path, PathBuf};

/// Held (flock) by the launcher, and by each supervisor until its container is on disk.
pub(crate) const LAUNCHER_LOCK: &str = "launcher.lock";

/// Bound by the agent; supervisors send [`crate::event::Notice`] here.
pub(crate) const EVENTS_SOCKET: &str = "events.sock";

/// All containers are below this directory.
pub(crate) const CONTAINERS: &str = "containers";

/// Process id of the container's program, locked by the supervisor while it lives.
pub(crate) const PID: &str = "pid";

/// The wait status as decimal text.
pub(crate) const STATUS: &str = "status";

/// Why the container could not be started.
pub(crate) const FAILED: &str = "failed";

/// Network namespaces, each held by a file with the name of its container.
pub(crate) const NETWORKS: &str = "networks";

/// The ports that the container holds, where listeners are watched.
pub(crate) const PORTS: &str = "ports";

/// The gpus that the container has, by name.
pub(crate) const GPUS: &str = "gpus";

/// How much of the disk the container may use, where that is watched.
pub(crate) const QUOTAS: &str = "quotas";

/// Marks what is inside another container, and ends when the agent does (rules 356 and 360).
pub(crate) const DEBUG: &str = "force_destroy_on_recovery";

/// The runtime directory of a container: `containers/<id>[/containers/<child>]`.
pub(crate) fn container_dir(runtime_dir: &Path, id: &str) -> PathBuf {
    let mut path = runtime_dir.to_path_buf();
    for component in id.split('.') {
        path.push(CONTAINERS);
        path.push(component);
    }
    path
}

/// Whether each component of a container id can be a directory name.
pub(crate) fn is_valid_id(id: &str) -> bool {
    id.split('.').all(|component| {
        // 200 bytes leave room for the names of files made beside a container's directory.
        !component.is_empty()
            && component.len() <= 200
            && component.bytes().all(|byte| byte > b' ' && byte != b'/' && byte != 0x7f)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_356_children_lie_below_their_parent() {
        assert_eq!(container_dir(Path::new("/r"), "a"), Path::new("/r/containers/a"));
        assert_eq!(container_dir(Path::new("/r"), "a.b"), Path::new("/r/containers/a/containers/b"));
    }

    #[test]
    fn ids_that_could_leave_the_directory_are_refused() {
        for id in ["", ".", "..", "a/b", "a..b", "a.", "a\0", "a\nb", "../x"] {
            assert!(!is_valid_id(id), "{id:?}");
        }
        assert!(is_valid_id("6e8d7f0a-1.check-2"));
    }
}
