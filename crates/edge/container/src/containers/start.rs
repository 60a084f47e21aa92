//! What an agent does before its first container: it takes over those of an earlier one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
};

use mezzo_ids::ContainerId;

use super::{Config, Containers, Entry, Shared, StartError, State};
use crate::{
    disk_watch::{self, DiskWatch},
    event::ContainerEvent,
    events,
    gpus::Gpus,
    isolators::Isolators,
    launcher::{self, Launcher},
    layout,
    network::Networks,
    oci,
    port_watch::{self, PortWatch},
    projects::Projects,
    recovery::{self, Recovered, RecoveredState},
    scratch::Scratch,
};

impl Containers {
    /// Starts the launcher and takes over the containers of an earlier agent.
    ///
    /// `on_event` is called for every container that is launched here or was recovered as running,
    /// from a thread of this crate or from within [`Containers::launch`]; it must not block. Events
    /// of recovered containers may come before this returns.
    pub fn start(
        config: Config,
        on_event: impl Fn(ContainerEvent) + Send + Sync + 'static,
    ) -> Result<(Self, Vec<Recovered>), StartError> {
        let directory = config.runtime_dir.clone();
        let runtime_dir = |source| StartError::RuntimeDir { path: directory.clone(), source };
        if !launcher::socket_path_fits(&directory.join(layout::EVENTS_SOCKET)) {
            return Err(StartError::PathTooLong(directory));
        }
        if let Some(runtime) = &config.runtime {
            let version = runtime.check()?;
            tracing::info!(program = %runtime.program.display(), version, "another runtime starts containers");
        }
        fs::create_dir_all(directory.join(layout::CONTAINERS)).map_err(runtime_dir)?;
        let isolators = Isolators::start(&config.isolation)?;
        let gpus = Gpus::start(&config.isolation)?;
        let projects = Projects::start(&config.isolation)?;
        recovery::await_earlier_launcher(&directory).map_err(runtime_dir)?;
        // Bound before the files are read: whoever writes a status after they were read is heard.
        let socket = events::bind(&directory).map_err(runtime_dir)?;
        let recovered = recovery::read(&directory).map_err(runtime_dir)?;
        let launcher = Launcher::spawn(&config.launcher, &directory).map_err(StartError::Launcher)?;
        let scratch = Scratch::start(&config.scratch_dir)
            .map_err(|source| StartError::ScratchDir { path: config.scratch_dir.clone(), source })?;
        let mut table = BTreeMap::new();
        for container in &recovered {
            if !matches!(container.state, RecoveredState::Running { .. }) {
                oci::settle(&layout::container_dir(&directory, &container.id));
            }
            let own_cgroups = isolators.recover(&container.id);
            let has_scratch = scratch.has(&container.id);
            if let RecoveredState::Running { pid } = container.state {
                let supervisor = Some(container.supervisor);
                let entry = Entry { pid, supervisor, own_cgroups, has_scratch, ..Entry::default() };
                table.insert(container.id.clone(), entry);
                let text =
                    fs::read_to_string(layout::container_dir(&directory, &container.id).join(layout::GPUS));
                gpus.recover(&container.id, &text.unwrap_or_default());
            }
        }
        // What has ended is kept until it is removed, but nothing uses its files any more.
        scratch.keep_only(|id| table.contains_key(id));
        // The container around a task group has control groups, but no process by which it would be found.
        let is_around =
            |id: &str, child: &str| child.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'));
        isolators.cleanup_unknown(|id| {
            recovered.iter().any(|known| known.id.as_str() == id || is_around(id, known.id.as_str()))
        });
        let namespaces = directory.join(layout::NETWORKS);
        let settings = config.isolation.networks.clone();
        let networks = Arc::new(Networks::start(settings, config.networks_dir.clone(), namespaces)?);
        let runs = |id: &str| {
            // The container around a task group has no process of its own.
            table.keys().any(|known: &ContainerId| {
                known.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let unwanted = networks.recover(runs).map_err(StartError::Networks)?;
        let state = State {
            launcher: Some(launcher),
            table,
            next_watch: 0,
            memory_watches: BTreeMap::new(),
            unremoved: BTreeSet::new(),
        };
        let (poll, ended, alive) = events::poll().map_err(StartError::Events)?;
        let shared = Arc::new(Shared {
            config,
            isolators,
            scratch,
            networks,
            disks: DiskWatch::default(),
            ports: PortWatch::default(),
            gpus,
            projects,
            state: Mutex::new(state),
            on_event: Arc::new(on_event),
            poll,
            _alive: alive,
        });
        if shared.networks.is_unsettled() {
            let networks = shared.networks.clone();
            let settle = move || networks.settle(&unwanted);
            std::thread::Builder::new()
                .name("network".to_owned())
                .spawn(settle)
                .map_err(StartError::Events)?;
        }
        let isolation = &shared.config.isolation;
        if isolation.watches_ports() {
            for container in &recovered {
                shared.watch_ports_again(&container.id);
            }
            port_watch::spawn(&shared, isolation.ports.watch_interval).map_err(StartError::Events)?;
        }
        if isolation.watches_disk() {
            for container in &recovered {
                if matches!(container.state, RecoveredState::Running { .. }) {
                    shared.watch_disk_again(&container.id);
                }
            }
            let interval = isolation.container_disk_watch_interval;
            disk_watch::spawn(&shared, interval, isolation.enforce_container_disk_quota)
                .map_err(StartError::Events)?;
        }
        events::spawn(&shared, socket, ended).map_err(StartError::Events)?;
        Ok((Self { shared }, recovered))
    }
}
