//! Acting on files with another user's rights, on this thread only.

use rustix::process::{Gid, getgroups};

/// Whose rights are used in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// For the cache (rule 389).
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl User {
    /// Runs `act` with this user's file rights. Only the calling thread is changed, and changed back
    /// also when `act` panics. Without root the agent can only be itself.
    pub(crate) fn act<T>(&self, act: impl FnOnce() -> T) -> T {
        if !rustix::process::geteuid().is_root() {
            return act();
        }
        let _restore = Restore {
            groups: getgroups().unwrap_or_default(),
            gid: nix::unistd::setfsgid(self.gid.into()),
            uid: {
                let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
                // Root may always do this; should it fail, the thread keeps the agent's groups, which
                // give no right that the agent was not started with.
                let _ = rustix::thread::set_thread_groups(&groups);
                nix::unistd::setfsuid(self.uid.into())
            },
        };
        act()
    }
}

struct Restore {
    groups: Vec<Gid>,
    gid: nix::unistd::Gid,
    uid: nix::unistd::Uid,
}

impl Drop for Restore {
    fn drop(&mut self) {
        nix::unistd::setfsuid(self.uid);
        nix::unistd::setfsgid(self.gid);
        let _ = rustix::thread::set_thread_groups(&self.groups);
    }
}
