//! Giving gpus to containers, and taking them back.

use std::{borrow::Cow, fs};

use mezzo_ids::ContainerId;

use crate::{
    confinement::DeviceNode,
    containers::{ContainerError, Shared},
    isolators::root_of,
    layout,
    request::LaunchRequest,
};

impl Shared {
    /// The request with what comes with its gpus, which are its own from here on until it ends.
    pub(crate) fn give_gpus<'a>(&self, request: &'a LaunchRequest) -> Result<Cow<'a, LaunchRequest>, String> {
        let count = request.resources.gpus;
        if count == 0 || !self.gpus.is_used() {
            return Ok(Cow::Borrowed(request));
        }
        let id = &request.id;
        let names = self.gpus.allocate(id, count)?;
        self.note_gpus(id, &names).map_err(|error| format!("Failed to launch: note the gpus: {error}"))?;
        let group = if request.share_cgroups { root_of(id) } else { id.clone() };
        self.let_use(&group, request.share_cgroups, &[]).map_err(|error| error.to_string())?;
        let edits = self.gpus.edits(&names);
        let mut request = request.clone();
        if request.confinement.root.is_some() {
            request.confinement.devices.extend(edits.nodes);
            // First, so that a task's own volumes lie above. Who has the host's files has these as well.
            request.confinement.mounts.splice(0..0, edits.mounts);
        }
        request.environment.retain(|(name, _)| edits.environment.iter().all(|(theirs, _)| theirs != name));
        request.environment.extend(edits.environment);
        if let Some(credentials) = &mut request.credentials {
            let missing = edits.groups.into_iter().filter(|group| !credentials.groups.contains(group));
            let missing: Vec<u32> = missing.collect();
            credentials.groups.extend(missing);
        }
        Ok(Cow::Owned(request))
    }

    /// Gives a running container more gpus, or takes some back; of no effect on one without a process.
    pub(crate) fn change_gpus(&self, id: &ContainerId, count: usize) -> Result<(), ContainerError> {
        if !self.gpus.is_used() || !self.state().table.contains_key(id) {
            return Ok(());
        }
        let had = self.gpus.of(id);
        if had.len() == count {
            return Ok(());
        }
        let failed = |source| ContainerError::System { id: id.clone(), what: "change the gpus of", source };
        let names = self.gpus.allocate(id, count).map_err(|why| failed(std::io::Error::other(why)))?;
        self.note_gpus(id, &names).map_err(failed)?;
        let own = self.state().table.get(id).is_some_and(|entry| entry.own_cgroups);
        let group = if own { id.clone() } else { root_of(id) };
        Ok(self.let_use(&group, !own, &self.gpus.edits(&had).nodes)?)
    }

    /// Takes back all gpus of a container that has ended.
    pub(crate) fn take_gpus(&self, id: &ContainerId) {
        let names = self.gpus.release(id);
        let root = root_of(id);
        // Control groups of its own end with it.
        if names.is_empty() || root == *id {
            return;
        }
        if let Err(error) = self.let_use(&root, true, &self.gpus.edits(&names).nodes) {
            tracing::debug!(container = %id, %error, "taking the gpus of a child from its parent failed");
        }
    }

    /// Lets a container's control groups use the gpus of all that are in them. `before` are nodes of gpus that
    /// were.
    fn let_use(
        &self,
        group: &ContainerId,
        with_children: bool,
        before: &[DeviceNode],
    ) -> Result<(), crate::IsolationError> {
        let nodes = match with_children {
            true => self.gpus.nodes_of_family(group),
            false => self.gpus.edits(&self.gpus.of(group)).nodes,
        };
        let taken: Vec<DeviceNode> = before.iter().filter(|node| !nodes.contains(node)).cloned().collect();
        self.isolators.allow_devices(group, &nodes, &taken)
    }

    fn note_gpus(&self, id: &ContainerId, names: &[String]) -> std::io::Result<()> {
        let directory = self.container_dir(id);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(layout::GPUS), names.join("\n"))
    }
}
