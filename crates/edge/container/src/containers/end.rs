//! What is done to containers that run until nothing of them is left.

use std::{fs, io, os::fd::AsFd};

use mezzo_ids::ContainerId;

use super::{ContainerError, Containers, Shared};
use crate::{kernel, layout, processes, recovery, supervisor::ORDER_DESTROY};

impl Containers {
    /// Sends a signal to the process group of the container's program.
    pub fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), ContainerError> {
        if !(1..=64).contains(&signal) {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(ContainerError::System { id: id.clone(), what: "signal", source });
        }
        self.order(id, signal, "signal")
    }

    /// Kills everything in the container. [`ContainerEvent::Exited`] follows.
    pub fn destroy(&self, id: &ContainerId) -> Result<(), ContainerError> {
        {
            let mut state = self.shared.state();
            let Some(entry) = state.table.get_mut(id) else {
                return Err(ContainerError::NotRunning(id.clone()));
            };
            if entry.supervisor.is_none() {
                entry.destroy = true;
                return Ok(());
            }
        }
        self.shared.isolators.kill(id);
        self.order(id, ORDER_DESTROY, "destroy")
    }

    fn order(&self, id: &ContainerId, order: i32, what: &'static str) -> Result<(), ContainerError> {
        if !self.shared.state().table.contains_key(id) {
            return Err(ContainerError::NotRunning(id.clone()));
        }
        let supervisor = recovery::open_supervisor(&self.shared.container_dir(id))
            .map_err(|source| ContainerError::System { id: id.clone(), what, source })?
            .ok_or_else(|| ContainerError::NotRunning(id.clone()))?;
        kernel::send_order(supervisor.as_fd(), order).map_err(|source| ContainerError::System {
            id: id.clone(),
            what,
            source,
        })
    }

    /// Forgets an ended container: its runtime files, control groups and, below them, its children.
    pub fn remove(&self, id: &ContainerId) {
        let directory = self.shared.container_dir(id);
        if !layout::is_valid_id(id) || self.shared.state().table.contains_key(id) {
            return;
        }
        self.shared.ports.forget(id);
        for name in [layout::PID, layout::STATUS] {
            let _ = fs::remove_file(directory.join(name));
        }
        self.shared.remove_folder(id);
        for (end, _) in id.as_str().match_indices('.') {
            let around = ContainerId::from(&id.as_str()[..end]);
            if self.shared.state().unremoved.contains(&around) {
                self.shared.remove_folder(&around);
            }
        }
        self.shared.isolators.cleanup(id);
        // Tried again where something was left.
        self.leave_networks(id, || {});
    }
}

impl Shared {
    /// Removes the folder of a container that has ended, with those of its children.
    fn remove_folder(&self, id: &ContainerId) {
        let directory = self.container_dir(id);
        let is_in_use = |error: &io::Error| error.kind() == io::ErrorKind::DirectoryNotEmpty;
        // What else may be in it, a reason why it could not be started or children, seldom is.
        let mut removed = fs::remove_dir(&directory);
        if removed.as_ref().is_err_and(is_in_use) {
            removed = fs::remove_dir_all(&directory);
        }
        let mut state = self.state();
        // A child that ends at this moment writes down how; it is removed later.
        if removed.as_ref().is_err_and(is_in_use) {
            state.unremoved.insert(id.clone());
        } else {
            state.unremoved.remove(id);
        }
    }

    /// Ends what a supervisor left behind that was itself killed.
    pub(crate) fn end_orphans(&self, id: &ContainerId, pid: Option<u32>) {
        self.isolators.kill(id);
        if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1) {
            processes::kill_session(pid);
        }
    }
}
