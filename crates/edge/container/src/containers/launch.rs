//! What is done for a container before its launcher is asked for it.

use std::{borrow::Cow, fs, io};

use mezzo_ids::ContainerId;

use super::{Containers, Entry, Shared};
use crate::{
    confinement::{BackEnd, Entered, LAYERS_MAX},
    enter,
    event::ContainerEvent,
    input,
    isolators::Isolators,
    layout,
    oci::{self, OciRuntime},
    projects,
    request::{LaunchRequest, Places},
};

impl Containers {
    /// Starts a container. The outcome comes as [`ContainerEvent::Started`] or
    /// [`ContainerEvent::LaunchFailed`].
    pub fn launch(&self, request: &LaunchRequest) {
        let shared = &*self.shared;
        let id = &request.id;
        if !layout::is_valid_id(id) {
            let message = format!("Failed to launch: '{}' is not a container id", id.as_str().escape_debug());
            return (shared.on_event)(ContainerEvent::LaunchFailed { id: id.clone(), message });
        }
        let own_cgroups = shared.isolators.uses_cgroups() && !request.share_cgroups;
        {
            let mut state = shared.state();
            if state.table.contains_key(id) {
                drop(state);
                let message = format!("Failed to launch: container '{id}' exists");
                return (shared.on_event)(ContainerEvent::LaunchFailed { id: id.clone(), message });
            }
            let has_scratch = request.confinement.has_scratch();
            state.table.insert(id.clone(), Entry { own_cgroups, has_scratch, ..Entry::default() });
            state.unremoved.remove(id);
        }
        if own_cgroups && let Err(error) = shared.isolators.prepare(id, &request.resources) {
            return shared.launch_failed(id, error.to_string());
        }
        if own_cgroups {
            shared.watch_memory(id);
        }
        let theirs = match input::make(request.stdin, request.credentials.as_ref()) {
            Ok(None) => Vec::new(),
            Ok(Some(ends)) => {
                if let Some(entry) = shared.state().table.get_mut(id) {
                    entry.input = Some(ends.ours);
                }
                ends.theirs
            }
            Err(errno) => {
                return shared.launch_failed(id, format!("Failed to make standard input: {errno}"));
            }
        };
        let with_gpus = match shared.give_gpus(request) {
            Ok(request) => request,
            Err(message) => return shared.launch_failed(id, message),
        };
        let request = &*with_gpus;
        if let Err(error) = shared.share_project(request) {
            return shared.launch_failed(id, format!("Failed to launch: limit what it writes: {error}"));
        }
        if shared.config.isolation.watches_disk()
            && let Err(error) = shared.watch_disk(id, &request.quotas)
        {
            return shared.launch_failed(id, format!("Failed to launch: watch the disk: {error}"));
        }
        if let Err(error) = shared.hold_ports(id, &request.ports, true) {
            return shared.launch_failed(id, format!("Failed to launch: watch the ports: {error}"));
        }
        if request.confinement.enter.is_some()
            && let Err(error) = shared.mark_debug(id)
        {
            return shared
                .launch_failed(id, format!("Failed to launch: mark what ends with the agent: {error}"));
        }
        let (request, entered) = match shared.entered(request) {
            Ok(entered) => entered,
            Err(message) => return shared.launch_failed(id, message),
        };
        let request = shared.with_places(request);
        let directory = shared.container_dir(id);
        // Who enters a container enters its network as well.
        let network = shared.networks.place(id).filter(|_| entered.is_none());
        let runtime = shared.config.runtime.as_ref().filter(|_| entered.is_none());
        let runtime = runtime.map(|runtime| shared.runtime_place(runtime, &request));
        let cgroup_entrances = match &request.confinement.enter {
            Some(parent) if oci::is_there(&shared.container_dir(parent)) => {
                shared.isolators.runtime_entrances(parent, request.share_cgroups)
            }
            _ => shared.isolators.cgroup_entrances(id, request.share_cgroups),
        };
        let places = Places {
            runtime_dir: &directory.to_string_lossy(),
            cgroup_entrances: &cgroup_entrances,
            scratch: &shared.scratch.folder(id),
            protected: &shared.config.protected,
            entered: entered.as_ref(),
            network: network.as_ref(),
            runtime: runtime.as_ref(),
        };
        let mut bytes = Vec::with_capacity(1024);
        if let Err(error) = request.encode(places, &mut bytes) {
            return shared.launch_failed(id, format!("Failed to launch: {error}"));
        }
        let sent = match &shared.state().launcher {
            Some(launcher) => launcher.send(&bytes, &theirs),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "there is no launcher")),
        };
        if let Err(error) = sent {
            shared.launch_failed(id, format!("Failed to ask the container launcher: {error}"));
        }
    }
}

impl Shared {
    pub(crate) fn launch_failed(&self, id: &ContainerId, message: String) {
        let removed = self.state().table.remove(id).unwrap_or_default();
        self.disks.forget(id);
        self.ports.forget(id);
        if removed.own_cgroups {
            self.isolators.cleanup(id);
        }
        if removed.has_scratch {
            self.scratch.remove(id);
        }
        self.tell_end(id, ContainerEvent::LaunchFailed { id: id.clone(), message });
    }

    /// What another runtime is told beside what every container's supervisor is.
    fn runtime_place(&self, runtime: &OciRuntime, request: &LaunchRequest) -> oci::Place {
        let filter = request.confinement.privileges.filter.as_ref();
        oci::Place {
            program: runtime.program.clone(),
            patience: runtime.patience,
            hierarchy: self.isolators.hierarchy().to_path_buf(),
            cgroup: self.isolators.runtime_group(&request.id, request.share_cgroups),
            devices: self.isolators.devices(),
            given: request.confinement.devices.iter().map(Isolators::device_line).collect(),
            profile: filter.map(|filter| filter.for_runtimes().to_vec()).unwrap_or_default(),
        }
    }

    /// What a container writes elsewhere than to its sandbox counts together with that.
    fn share_project(&self, request: &LaunchRequest) -> io::Result<()> {
        let Some(projects) = self.projects.as_ref().filter(|_| request.confinement.has_scratch()) else {
            return Ok(());
        };
        let Some(project) = projects.of(&request.sandbox) else { return Ok(()) };
        let folder = self.scratch.folder(&request.id);
        projects::make_folder(&folder)?;
        Ok(projects.share(&folder, project)?)
    }

    /// The request, with places for mounts below the layers of its image.
    fn with_places<'a>(&self, request: Cow<'a, LaunchRequest>) -> Cow<'a, LaunchRequest> {
        let root = request
            .confinement
            .root
            .as_ref()
            .filter(|root| root.back_end != BackEnd::Copy && root.layers.len() < LAYERS_MAX);
        let Some(layer) = root.and_then(|root| self.scratch.places(&root.sandbox)) else { return request };
        let mut request = request.into_owned();
        if let Some(root) = &mut request.confinement.root {
            root.layers.insert(0, layer);
        }
        Cow::Owned(request)
    }

    fn mark_debug(&self, id: &ContainerId) -> io::Result<()> {
        let directory = self.container_dir(id);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(layout::DEBUG), "")
    }

    /// What a request enters, and the request with what it takes over from there.
    fn entered<'a>(
        &self,
        request: &'a LaunchRequest,
    ) -> Result<(Cow<'a, LaunchRequest>, Option<Entered>), String> {
        let Some(parent) = &request.confinement.enter else { return Ok((Cow::Borrowed(request), None)) };
        let failed = |error| format!("Failed to enter container '{parent}': {error}");
        let running = self.state().table.get(parent).map(|entry| entry.pid);
        let pid = match running {
            Some(pid) => pid,
            None if self.container_dir(parent).join(layout::PID).exists() => {
                return Err(failed("it has ended".to_owned()));
            }
            // A pod has no process of its own, and so nothing that could be entered.
            None => return Ok((Cow::Borrowed(request), None)),
        };
        // One that is being prepared must not be entered (attack A016).
        let pid = pid.ok_or_else(|| failed("it does not run yet".to_owned()))?;
        if !enter::is_apart(pid).map_err(|error| failed(error.to_string()))? {
            return Ok((Cow::Borrowed(request), None));
        }
        let mut request = request.clone();
        if request.confinement.privileges.is_none() {
            request.confinement.privileges =
                enter::privileges_of(pid).map_err(|error| failed(error.to_string()))?;
        }
        let directory = self.container_dir(parent);
        Ok((Cow::Owned(request), Some(Entered { pid, directory })))
    }
}
