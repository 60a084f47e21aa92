//! namespaces/pid and namespaces/ipc.

use mezzo_mesos::v1::{LinuxInfo, linux_info::IpcMode};

use crate::confinement::Namespaces;

pub(super) const PID: &str = "namespaces/pid";
pub(super) const IPC: &str = "namespaces/ipc";

/// Which namespaces containers may have, and whether they may do without.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) pid: bool,
    pub(super) ipc: bool,
    pub(super) sharing_pid_disallowed: bool,
    pub(super) sharing_ipc_disallowed: bool,
    pub(super) shm_bytes: Option<u64>,
}

impl Settings {
    /// The namespaces of a container. One with an image has them whether or not the isolators are there, as
    /// it is restricted unless the operator lets it be otherwise.
    pub(super) fn of(
        &self,
        linux: Option<&LinuxInfo>,
        is_child: bool,
        has_root: bool,
    ) -> Result<Namespaces, String> {
        let shares_pid = linux.and_then(|linux| linux.share_pid_namespace).unwrap_or(false);
        let mode = linux.map_or(IpcMode::Unknown, |linux| linux.ipc_mode());
        let shm = linux.and_then(|linux| linux.shm_size);
        let shares_ipc = mode == IpcMode::ShareParent;
        if shm.is_some() && (shares_ipc || !(self.ipc || has_root)) {
            return Err("A container without IPC namespace of its own has no 'shm_size'".to_owned());
        }
        for (shares, isolator, disallowed, what) in [
            (shares_pid, self.pid, self.sharing_pid_disallowed, "pid"),
            (shares_ipc, self.ipc, self.sharing_ipc_disallowed, "IPC"),
        ] {
            if shares && is_child && (isolator || has_root) {
                return Err(format!("Sharing the {what} namespace of a task group is not supported"));
            }
            if shares && disallowed && isolator {
                return Err(format!("Sharing the agent's {what} namespace with the container is disallowed"));
            }
            if shares && has_root && !isolator {
                return Err(format!(
                    "Sharing the agent's {what} namespace needs the isolator 'namespaces/{}'",
                    what.to_ascii_lowercase()
                ));
            }
        }
        let megabytes = |size: u32| u64::from(size) << 20;
        Ok(Namespaces {
            pid: (self.pid || has_root) && !shares_pid,
            ipc: (self.ipc || has_root) && !shares_ipc,
            shm_bytes: shm.map(megabytes).or(self.shm_bytes),
            hostname: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a033_sharing_with_the_host_is_for_the_operator_to_allow() {
        let share = LinuxInfo { share_pid_namespace: Some(true), ..LinuxInfo::default() };
        let none = Settings::default();
        assert!(!none.of(None, false, false).unwrap().pid, "a plain container has the host's");
        let image = none.of(None, false, true).unwrap();
        assert!(image.pid && image.ipc);
        assert!(none.of(Some(&share), false, true).unwrap_err().contains("'namespaces/pid'"));
        let both = Settings { pid: true, ipc: true, ..Settings::default() };
        assert!(both.of(None, false, false).unwrap().pid);
        let shared = both.of(Some(&share), false, true).unwrap();
        assert!(!shared.pid && shared.ipc);
        assert!(both.of(Some(&share), true, true).is_err());
        let strict = Settings { sharing_pid_disallowed: true, ..both };
        assert!(strict.of(Some(&share), false, false).unwrap_err().contains("disallowed"));
    }

    #[test]
    fn shared_memory_has_a_size_only_when_it_is_private() {
        let both = Settings { pid: true, ipc: true, ..Settings::default() };
        let sized = LinuxInfo { shm_size: Some(8), ..LinuxInfo::default() };
        assert_eq!(both.of(Some(&sized), false, false).unwrap().shm_bytes, Some(8 << 20));
        assert!(Settings::default().of(Some(&sized), false, false).is_err());
        let shared = LinuxInfo { ipc_mode: Some(IpcMode::ShareParent as i32), ..sized };
        assert!(both.of(Some(&shared), false, false).is_err());
    }
}
