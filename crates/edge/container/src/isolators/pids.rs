//! cgroups/pids: how many processes and threads there may be.

use super::{
    IsolationError,
    cgroup::{Group, Host},
};

pub(super) const NAME: &str = "cgroups/pids";

/// The part of all processes the kernel can have that one container gets where nothing else is said: one
/// that forks without end leaves room for several like it, and the host still works.
const SHARE_PERCENT: u64 = 15;

#[derive(Debug)]
pub(super) struct Pids {
    pub(super) root: Group,
    limit: Option<u64>,
}

impl Pids {
    pub(super) fn start(host: &Host, limit: Option<u64>) -> Result<Self, IsolationError> {
        let root = host.controller(NAME, "pids")?;
        Ok(Self { root, limit: limit.or_else(usual) })
    }

    pub(super) fn prepare(&self, id: &str) -> Result<(), IsolationError> {
        let limit = self.limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
        self.root.child(id).write("pids.max", limit)
    }
}

fn usual() -> Option<u64> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let most = number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?);
    Some((most * SHARE_PERCENT / 100).max(1))
}
