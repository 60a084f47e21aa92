//! Brings containers to life: sandbox, owner, volumes, fetched files, and then the process.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mezzo_agent::{ContainerSpec, ExecutorClaims, Input, LaunchStage, Limits};
use mezzo_container::{Circumstances, Confinement, Containers, Credentials, Root, UserError, resolve_user};
use mezzo_ids::ContainerId;
use mezzo_images::Image;
use mezzo_mesos::v1;
use thiserror::Error;
use tracing::{debug, warn};

use crate::{
    convert,
    core::Core,
    fetch::Fetching,
    images::{self, Images, Wanted},
    sandbox,
    tokens::{self, ExecutorTokens},
};

/// Containers whose files or images are fetched at the same time; each has a thread while it lasts. Many wait
/// for one image when a large job is the first to use it.
const FETCHES_MAX: usize = 1_024;

/// How long a user is not looked up again, which reads several files: long enough to serve the tasks
/// of one ACCEPT, too short for an operator to notice.
const USER_KEPT: Duration = Duration::from_secs(1);

/// Starts containers and steers them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Launches {
    shared: Arc<Shared>,
}

struct Shared {
    containers: Containers,
    core: Core,
    work_dir: PathBuf,
    fetching: Fetching,
    /// `None` where containers have no images.
    images: Option<Arc<Images>>,
    tokens: Option<Arc<ExecutorTokens>>,
    /// The user looked up last, and when.
    user: Mutex<Option<(String, Instant, Credentials)>>,
    /// Containers on their way to the launcher; set to true when they shall not start any more.
    preparing: Mutex<BTreeMap<ContainerId, Arc<AtomicBool>>>,
}

/// Why a sandbox is not ready for its container.
#[derive(Debug, Error)]
enum SandboxError {
    #[error(
        "Failed to create executor directory '{path}': Failed to chown directory to '{user}': No such user '{user}'"
    )]
    User { path: String, user: String },
    #[error("Failed to create executor directory '{path}': {source}")]
    Folder { path: String, source: std::io::Error },
    #[error("Failed to link persistent volume at '{path}': {source}")]
    Volume { path: String, source: std::io::Error },
}

impl Launches {
    pub(crate) fn new(
        containers: Containers,
        core: Core,
        work_dir: PathBuf,
        fetching: Fetching,
        images: Option<Arc<Images>>,
        tokens: Option<Arc<ExecutorTokens>>,
    ) -> Self {
        let (user, preparing) = (Mutex::default(), Mutex::default());
        let shared = Shared { containers, core, work_dir, fetching, images, tokens, user, preparing };
        Self { shared: Arc::new(shared) }
    }

    /// For reads of statistics.
    pub(crate) fn containers(&self) -> &Containers {
        &self.shared.containers
    }

    /// For calls about images.
    pub(crate) fn images(&self) -> Option<&Arc<Images>> {
        self.shared.images.as_ref()
    }

    /// Starts a container; the outcome reaches the core as an input.
    pub(crate) fn launch(&self, spec: ContainerSpec) {
        let owner = match self.prepare_sandbox(&spec) {
            Ok(owner) => owner,
            Err(error) => {
                return self.failed(spec.container, LaunchStage::Sandbox, error.to_string());
            }
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let (image, wanted) = match self.image_here(&spec, &cancelled) {
            Ok(known) => known,
            Err(why) => {
                let message = format!("Failed to launch container: {why}");
                return self.failed(spec.container, LaunchStage::Container, message);
            }
        };
        if spec.command.uris.is_empty() && wanted.is_none() && convert::networks(&spec).is_empty() {
            return self.start(&spec, owner, image.as_ref());
        }
        let waiting = {
            let mut preparing = self.preparing();
            preparing.insert(spec.container.clone(), cancelled.clone());
            preparing.len()
        };
        if waiting > FETCHES_MAX {
            self.preparing().remove(&spec.container);
            let message =
                format!("Failed to launch container: more than {FETCHES_MAX} containers are fetching");
            return self.failed(spec.container, LaunchStage::Container, message);
        }
        let (this, container) = (self.clone(), spec.container.clone());
        let spawned = thread::Builder::new()
            .name("fetch".into())
            .spawn(move || this.prepare_and_start(&spec, owner, image, wanted.as_ref(), &cancelled));
        if let Err(error) = spawned {
            self.preparing().remove(&container);
            let message = format!("Failed to launch container: start fetcher thread: {error}");
            self.failed(container, LaunchStage::Container, message);
        }
    }

    /// The image that a container asks for, or what is to be pulled for it.
    fn image_here(
        &self,
        spec: &ContainerSpec,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<(Option<Image>, Option<Wanted>), String> {
        let Some(wanted) = images::wanted(spec, cancelled)? else { return Ok((None, None)) };
        let images = self.shared.images.as_ref().ok_or("images need --image_providers=docker")?;
        match images.here(&wanted) {
            Some(image) => Ok((Some(image), None)),
            None => Ok((None, Some(wanted))),
        }
    }

    fn prepare_and_start(
        &self,
        spec: &ContainerSpec,
        owner: Option<Credentials>,
        image: Option<Image>,
        wanted: Option<&Wanted>,
        cancelled: &AtomicBool,
    ) {
        let prepared = self.pull_and_fetch(spec, owner.as_ref(), image, wanted).and_then(|image| {
            // Last: what was joined has to be left when anything fails.
            let networks = self.join_networks(spec, cancelled)?;
            Ok((image, networks))
        });
        // Held until the launcher has the request: who destroys the container from here on finds it
        // either in this map or among the containers.
        let mut preparing = self.preparing();
        preparing.remove(&spec.container);
        if cancelled.load(Ordering::Acquire) {
            // Told when it was destroyed.
            return self.shared.containers.leave_networks(&spec.container, || {});
        }
        match prepared {
            Ok((image, networks)) => {
                if !networks.is_empty() {
                    let container = spec.container.clone();
                    self.shared.core.send(Input::Joined { container, networks });
                }
                self.start(spec, owner, image.as_ref());
            }
            Err(why) => {
                drop(preparing);
                let message = format!("Failed to launch container: {why}");
                self.failed(spec.container.clone(), LaunchStage::Container, message);
            }
        }
    }

    /// Brings the image, then the files.
    fn pull_and_fetch(
        &self,
        spec: &ContainerSpec,
        owner: Option<&Credentials>,
        image: Option<Image>,
        wanted: Option<&Wanted>,
    ) -> Result<Option<Image>, String> {
        let container = &spec.container;
        let image = match (wanted, &self.shared.images) {
            (Some(wanted), Some(images)) => Some(images.pull(wanted).map_err(|error| {
                warn!(%container, error = &error as &dyn std::error::Error, "pull");
                error.to_string()
            })?),
            _ => image,
        };
        if !spec.command.uris.is_empty() {
            self.shared.fetching.fetch(spec, owner).map_err(|error| {
                warn!(%container, error = &error as &dyn std::error::Error, "fetch");
                format!("Failed to fetch all URIs for container '{container}': exited with status 1")
            })?;
        }
        Ok(image)
    }

    /// Joins the networks that a container names; returns them with its addresses.
    fn join_networks(
        &self,
        spec: &ContainerSpec,
        cancelled: &AtomicBool,
    ) -> Result<Vec<v1::NetworkInfo>, String> {
        let wanted = convert::networks(spec);
        if wanted.is_empty() {
            return Ok(wanted);
        }
        convert::check_mappings(spec, &wanted)?;
        let hostname = spec.container_info.as_ref().and_then(|info| info.hostname.as_deref());
        let joined = self.shared.containers.join_networks(&spec.container, &wanted, hostname, cancelled);
        joined.map_err(|error| {
            warn!(container = %spec.container, error = &error as &dyn std::error::Error, "join networks");
            error.to_string()
        })
    }

    fn start(&self, spec: &ContainerSpec, owner: Option<Credentials>, image: Option<&Image>) {
        if spec.pod {
            let resources = convert::container_resources(&spec.resources, &spec.limits);
            if let Err(error) = self.shared.containers.isolate(&spec.container, &resources) {
                let message = format!("Failed to launch container: {error}");
                return self.failed(spec.container.clone(), LaunchStage::Container, message);
            }
            self.shared.containers.hold_ports(&spec.container, &convert::ports(&spec.resources));
            // The agent itself is the process that watches over the children.
            let pid = std::process::id();
            return self.shared.core.send(Input::Started { container: spec.container.clone(), pid });
        }
        let owned = owner.as_ref().map(|owner| (owner.uid, owner.gid));
        let request = match (image, &self.shared.images) {
            (Some(image), Some(images)) => {
                let mut spec = spec.clone();
                images::apply(&mut spec, &image.config, images.settings()).and_then(|directory| {
                    let mut request = convert::launch_request(&spec, owner)?;
                    request.confinement = self.confinement(&spec, owned, Some(images.root(image)))?;
                    request.confinement.working_directory = directory;
                    // Before anything runs from it, so that no restart finds a container without.
                    images.keep(image, &spec.container)?;
                    Ok(request)
                })
            }
            _ => convert::launch_request(spec, owner).and_then(|mut request| {
                request.confinement = self.confinement(spec, owned, None)?;
                Ok(request)
            }),
        };
        let request = request.and_then(|mut request| {
            if let Some(parent) = request.confinement.enter.as_ref()
                && self.shared.containers.is_apart(parent)
                && let Some(environment) = convert::inherited(
                    self.shared.containers.environment(parent),
                    &convert::variables(&spec.command),
                )
            {
                request.environment = environment;
            }
            request.environment.extend(self.shared.containers.secret_variables(&spec.command)?);
            request.environment.extend(self.token(spec)?);
            if self.shared.containers.has_network(&spec.container) {
                convert::listen_everywhere(&mut request.environment);
            }
            Ok(request)
        });
        match request {
            Ok(request) => self.shared.containers.launch(&request),
            Err(why) => {
                let message = format!("Failed to launch container: {why}");
                self.failed(spec.container.clone(), LaunchStage::Container, message);
            }
        }
    }

    /// How a container is set apart from the host, by what it asks for and the isolators there are.
    fn confinement(
        &self,
        spec: &ContainerSpec,
        owner: Option<(u32, u32)>,
        root: Option<Root>,
    ) -> Result<Confinement, String> {
        let sandbox = Path::new(&*spec.sandbox);
        let circumstances = Circumstances {
            sandbox,
            // Rule 355: two folders above.
            parent_sandbox: spec.parent.as_ref().and_then(|_| sandbox.parent()?.parent()),
            owner,
            persistent: &spec.volumes,
        };
        let confined = self.shared.containers.confine(spec.container_info.as_ref(), root, &circumstances)?;
        // A session is inside the container that it is for (rule 353).
        let enter = spec.parent.clone().filter(|_| spec.debug);
        // One that is apart has it elsewhere: who enters starts where it works.
        let is_apart = enter.as_ref().is_some_and(|parent| self.shared.containers.is_apart(parent));
        let working_directory = spec.working_directory.as_deref().filter(|_| !is_apart).map(PathBuf::from);
        Ok(Confinement { enter, working_directory, ..confined })
    }

    /// The variable with the token of a custom executor, where there are tokens.
    fn token(&self, spec: &ContainerSpec) -> Result<Option<(String, String)>, String> {
        let (Some(tokens), Some(framework), Some(executor)) =
            (&self.shared.tokens, &spec.framework, &spec.executor)
        else {
            return Ok(None);
        };
        let claims = ExecutorClaims {
            framework: framework.clone(),
            executor: executor.clone(),
            container: spec.container.clone(),
        };
        let token = tokens.issue(&claims).map_err(|why| format!("make the executor's token: {why}"))?;
        Ok(Some((tokens::VARIABLE.to_owned(), token)))
    }

    fn prepare_sandbox(&self, spec: &ContainerSpec) -> Result<Option<Credentials>, SandboxError> {
        let path = Path::new(&*spec.sandbox);
        let owner = match &spec.user {
            None => None,
            Some(user) => Some(self.user(user).map_err(|error| {
                debug!(user, error = &error as &dyn std::error::Error, "look up user");
                SandboxError::User { path: spec.sandbox.to_string(), user: user.clone() }
            })?),
        };
        let ids = owner.as_ref().map(|owner| (owner.uid, owner.gid));
        let made = sandbox::make(&self.shared.work_dir, path, ids);
        made.map_err(|source| SandboxError::Folder { path: spec.sandbox.to_string(), source })?;
        for (host, inside, _read_only) in &spec.volumes {
            // Without a mount namespace a volume is a link in the sandbox, as in Mesos' posix isolator.
            if inside.starts_with('/') {
                continue;
            }
            let link = path.join(inside);
            let failed = |source| SandboxError::Volume { path: link.display().to_string(), source };
            let text = link.to_str().ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
            sandbox::link(&self.shared.work_dir, text, host).map_err(failed)?;
            if let Some(ids) = ids {
                sandbox::give(Path::new(host), ids).map_err(failed)?;
            }
        }
        Ok(owner)
    }

    fn user(&self, name: &str) -> Result<Credentials, UserError> {
        let mut last = self.shared.user.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, since, found)) if known == name && since.elapsed() < USER_KEPT => Ok(found.clone()),
            _ => {
                let found = resolve_user(name)?;
                *last = Some((name.to_owned(), Instant::now(), found.clone()));
                Ok(found)
            }
        }
    }

    /// Changes the limits of a container.
    pub(crate) fn update(&self, container: &ContainerId, resources: &[v1::Resource], limits: &Limits) {
        let ports = convert::ports(resources);
        let resources = convert::container_resources(resources, limits);
        if let Err(error) = self.shared.containers.update(container, &resources) {
            warn!(%container, error = &error as &dyn std::error::Error, "update limits");
        }
        self.shared.containers.hold_ports(container, &ports);
    }

    /// Signals a container's process group.
    pub(crate) fn signal(&self, container: &ContainerId, signal: i32) {
        if let Err(error) = self.shared.containers.signal(container, signal) {
            // It may just have ended; its end is on the way to the core.
            debug!(%container, signal, error = &error as &dyn std::error::Error, "signal");
        }
    }

    /// Ends a container, also one that is still being prepared.
    pub(crate) fn destroy(&self, container: &ContainerId) {
        if let Some(cancelled) = self.preparing().get(container) {
            // It never starts, whatever the fetcher is doing, and nobody has to wait for that.
            if !cancelled.swap(true, Ordering::AcqRel) {
                let message = "Failed to launch container: Container destroyed while fetching".to_owned();
                self.failed(container.clone(), LaunchStage::Container, message);
            }
            return;
        }
        if self.shared.containers.destroy(container).is_err() {
            // Nothing runs: a pod, or one whose end could not be seen. The core waits for an end.
            let ended = Input::Exited { container: container.clone(), status: None, limitation: None };
            let core = self.shared.core.clone();
            self.shared.containers.leave_networks(container, move || core.send(ended));
        }
    }

    /// Forgets the runtime files of an ended container.
    pub(crate) fn remove(&self, container: &ContainerId) {
        self.shared.containers.remove(container);
        if let Some(images) = &self.shared.images {
            images.release(container);
        }
    }

    fn failed(&self, container: ContainerId, stage: LaunchStage, message: String) {
        if let Some(images) = &self.shared.images {
            images.release(&container);
        }
        let core = self.shared.core.clone();
        let failed = Input::LaunchFailed { container: container.clone(), stage, message };
        self.shared.containers.leave_networks(&container, move || core.send(failed));
    }

    fn preparing(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContainerId, Arc<AtomicBool>>> {
        // Every change is one operation on the map.
        self.shared.preparing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
