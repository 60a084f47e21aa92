//! The thread that looks how much of the disk containers use (rule 365).

use std::{
    fs, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use std::collections::BTreeMap;

use mezzo_ids::ContainerId;

use crate::{
    containers::Shared,
    event::Limitation,
    isolators::{Quota, Statistics, disk_used},
    layout,
};

/// A container's quotas, and what was found last.
#[derive(Debug, Default)]
struct Watched {
    quotas: Vec<Quota>,
    used: Vec<Option<u64>>,
}

/// All containers with quotas.
#[derive(Debug, Default)]
pub(crate) struct DiskWatch {
    watched: Mutex<BTreeMap<ContainerId, Watched>>,
}

impl DiskWatch {
    fn watched(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Watched>> {
        // Every change is one operation on the map.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: &ContainerId, quotas: Vec<Quota>) {
        if !quotas.is_empty() {
            let used = vec![None; quotas.len()];
            self.watched().insert(id.clone(), Watched { quotas, used });
        }
    }

    pub(crate) fn forget(&self, id: &ContainerId) {
        self.watched().remove(id);
    }

    /// Fills what was found last; the first quota is that of the sandbox.
    pub(crate) fn measure(&self, id: &ContainerId, statistics: &mut Statistics) {
        let watched = self.watched();
        let Some(first) = watched.get(id).and_then(|one| Some((one.quotas.first()?, *one.used.first()?)))
        else {
            return;
        };
        statistics.disk_limit_bytes = Some(first.0.bytes);
        statistics.disk_used_bytes = first.1;
    }
}

impl Shared {
    /// Watches the disk of a container that is about to be launched; written down for an agent that comes
    /// later.
    pub(crate) fn watch_disk(&self, id: &ContainerId, quotas: &[Quota]) -> io::Result<()> {
        if quotas.is_empty() {
            return Ok(());
        }
        let directory = self.container_dir(id);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(layout::QUOTAS), Quota::write_all(quotas))?;
        self.disks.add(id, quotas.to_vec());
        Ok(())
    }

    /// Goes on watching the disk of a container of an earlier agent.
    pub(crate) fn watch_disk_again(&self, id: &ContainerId) {
        if let Ok(text) = fs::read_to_string(self.container_dir(id).join(layout::QUOTAS)) {
            self.disks.add(id, Quota::read_all(&text));
        }
    }

    /// Looks at every folder once, one after another; the interval is spread over them.
    fn look(&self, interval: Duration, enforce: bool) {
        let all: Vec<(ContainerId, usize, Quota)> = self
            .disks
            .watched()
            .iter()
            .flat_map(|(id, one)| {
                one.quotas.iter().enumerate().map(|(n, quota)| (id.clone(), n, quota.clone()))
            })
            .collect();
        let pause = interval / u32::try_from(all.len()).unwrap_or(u32::MAX).max(1);
        if all.is_empty() {
            return std::thread::sleep(interval);
        }
        for (id, n, quota) in all {
            let mut used = disk_used(&quota.path);
            if n == 0 && self.scratch.has(&id) {
                // What it writes to its root counts as its sandbox does.
                used = used.saturating_add(disk_used(&self.scratch.folder(&id).join("upper")));
            }
            if let Some(slot) = self.disks.watched().get_mut(&id).and_then(|one| one.used.get_mut(n)) {
                *slot = Some(used);
            }
            if enforce && used > quota.bytes {
                self.end_for(
                    &id,
                    Limitation::Disk { message: quota.message(used), limit_bytes: quota.bytes },
                );
            }
            std::thread::sleep(pause);
        }
    }
}

/// Starts the thread; it ends with the containers, after at most one pause.
pub(crate) fn spawn(shared: &Arc<Shared>, interval: Duration, enforce: bool) -> io::Result<()> {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
        while let Some(shared) = shared.upgrade() {
            shared.look(interval, enforce);
        }
    })?;
    Ok(())
}
