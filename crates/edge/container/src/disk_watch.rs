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

    /// Fills what was found last, or what `latest` knows.
    pub(crate) fn measure(
        &self,
        id: &ContainerId,
        latest: &dyn Fn(&Quota) -> Option<u64>,
        statistics: &mut Statistics,
    ) {
        let watched = self.watched();
        let Some(one) = watched.get(id) else { return };
        for (quota, used) in one.quotas.iter().zip(&one.used) {
            let used = latest(quota).or(*used);
            statistics.disk_statistics.push(quota.statistics(used));
            if quota.volume.is_none() {
                statistics.disk_limit_bytes = Some(quota.bytes);
                statistics.disk_used_bytes = used;
            }
        }
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

    /// Changes the quota of a container's sandbox.
    pub(crate) fn resize_disk(&self, id: &ContainerId, bytes: u64) -> io::Result<()> {
        let text = {
            let mut watched = self.disks.watched();
            let Some(one) = watched.get_mut(id) else { return Ok(()) };
            let mut sandbox = one.quotas.iter_mut().filter(|quota| quota.volume.is_none());
            match sandbox.next() {
                Some(quota) if quota.bytes != bytes => quota.bytes = bytes,
                _ => return Ok(()),
            }
            Quota::write_all(&one.quotas)
        };
        fs::write(self.container_dir(id).join(layout::QUOTAS), text)
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
            let counted = self.projects.as_ref().and_then(|projects| projects.usage(&quota.path));
            let mut used = counted.unwrap_or_else(|| disk_used(&quota.path));
            if counted.is_none() && quota.volume.is_none() && self.scratch.has(&id) {
                // What it writes to its root, and to images in volumes, counts as its sandbox does.
                for folder in self.scratch.written(&id) {
                    used = used.saturating_add(disk_used(&folder));
                }
            }
            if let Some(slot) = self.disks.watched().get_mut(&id).and_then(|one| one.used.get_mut(n)) {
                *slot = Some(used);
            }
            if enforce && quota.enforced && used > quota.bytes {
                let message = quota.message(used);
                let limitation = Limitation::Disk { message, limit_bytes: quota.bytes, volume: quota.volume };
                self.end_for(&id, limitation);
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
