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
use mezzo_container::{Circumstances, Confinement, Containers, Credentials, UserError, resolve_user};
use mezzo_ids::ContainerId;
use mezzo_images::Image;
use mezzo_mesos::v1;
use thiserror::Error;
use tracing::{debug, warn};

use crate::{
    convert,
    core::Core,
    fetch::Fetching,
    images::{self, Had, Images, Wanted},
    sandbox,
    shared_volumes::SharedVolumes,
    tokens::{self, ExecutorTokens},
    volumes,
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
    volumes: SharedVolumes,
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
        volumes: SharedVolumes,
    ) -> Self {
        let (user, preparing) = (Mutex::default(), Mutex::default());
        let shared =
            Shared { containers, core, work_dir, fetching, images, tokens, volumes, user, preparing };
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
        let images = match self.images_here(&spec, &cancelled) {
            Ok(known) => known,
            Err(why) => {
                let message = format!("Failed to launch container: {why}");
                return self.failed(spec.container, LaunchStage::Container, message);
            }
        };
        let are_here = images.iter().all(|(_, image)| image.is_some());
        if spec.command.uris.is_empty() && are_here && convert::networks(&spec).is_empty() {
            let mut had = Had::default();
            for (wanted, image) in images {
                image.into_iter().for_each(|image| had.add(&wanted, image));
            }
            return self.start(&spec, owner, &had);
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
            .spawn(move || this.prepare_and_start(&spec, owner, images, &cancelled));
        if let Err(error) = spawned {
            self.preparing().remove(&container);
            let message = format!("Failed to launch container: start fetcher thread: {error}");
            self.failed(container, LaunchStage::Container, message);
        }
    }

    /// The images that a container asks for; those that are to be pulled for it are not here.
    fn images_here(
        &self,
        spec: &ContainerSpec,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Vec<(Wanted, Option<Image>)>, String> {
        let wanted = images::wanted(spec, cancelled)?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let images = self.shared.images.as_ref().ok_or("images need --image_providers=docker")?;
        Ok(wanted
            .into_iter()
            .map(|wanted| (images.here(&wanted), wanted))
            .map(|(image, wanted)| (wanted, image))
            .collect())
    }

    fn prepare_and_start(
        &self,
        spec: &ContainerSpec,
        owner: Option<Credentials>,
        images: Vec<(Wanted, Option<Image>)>,
        cancelled: &AtomicBool,
    ) {
        let prepared = self.pull_and_fetch(spec, owner.as_ref(), images).and_then(|images| {
            // Last: what was joined has to be left when anything fails.
            let networks = self.join_networks(spec, cancelled)?;
            Ok((images, networks))
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
            Ok((images, networks)) => {
                if !networks.is_empty() {
                    let container = spec.container.clone();
                    self.shared.core.send(Input::Joined { container, networks });
                }
                self.start(spec, owner, &images);
            }
            Err(why) => {
                drop(preparing);
                let message = format!("Failed to launch container: {why}");
                self.failed(spec.container.clone(), LaunchStage::Container, message);
            }
        }
    }

    /// Brings the images, then the files.
    fn pull_and_fetch(
        &self,
        spec: &ContainerSpec,
        owner: Option<&Credentials>,
        images: Vec<(Wanted, Option<Image>)>,
    ) -> Result<Had, String> {
        let container = &spec.container;
        let told = |pull| {
            self.shared.core.send(Input::Pulling { container: container.clone(), pull: Box::new(pull) });
        };
        let mut had = Had::default();
        for (wanted, image) in images {
            let image = match (image, &self.shared.images) {
                (None, Some(images)) => Some(images.pull(&wanted, &told).map_err(|error| {
                    warn!(%container, error = &error as &dyn std::error::Error, "pull");
                    error.to_string()
                })?),
                (image, _) => image,
            };
            image.into_iter().for_each(|image| had.add(&wanted, image));
        }
        if !spec.command.uris.is_empty() {
            self.shared.fetching.fetch(spec, owner).map_err(|error| {
                warn!(%container, error = &error as &dyn std::error::Error, "fetch");
                format!("Failed to fetch all URIs for container '{container}': exited with status 1")
            })?;
        }
        Ok(had)
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

    fn start(&self, spec: &ContainerSpec, owner: Option<Credentials>, had: &Had) {
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
        let request = match (&had.root, &self.shared.images) {
            (Some(image), Some(images)) => {
                let mut spec = spec.clone();
                images::apply(&mut spec, &image.config, images.settings()).and_then(|directory| {
                    let mut request = convert::launch_request(&spec, owner, &self.shared.work_dir)?;
                    request.confinement = self.confinement(&spec, owned, had)?;
                    request.confinement.working_directory = directory;
                    Ok(request)
                })
            }
            _ => convert::launch_request(spec, owner, &self.shared.work_dir).and_then(|mut request| {
                request.confinement = self.confinement(spec, owned, had)?;
                Ok(request)
            }),
        };
        let request = request.and_then(|mut request| {
            if let Some(images) = &self.shared.images {
                // Before anything runs from them, so that no restart finds a container without.
                images.keep(had, &spec.container)?;
            }
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
                let address = self.shared.containers.address(&spec.container);
                convert::live_elsewhere(&mut request.environment, address.as_deref());
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
        had: &Had,
    ) -> Result<Confinement, String> {
        let sandbox = Path::new(&*spec.sandbox);
        let (root, volumes) = match &self.shared.images {
            Some(images) => (had.root.as_ref().map(|image| images.root(image)), images.volumes(had)),
            None => (None, Vec::new()),
        };
        let circumstances = Circumstances {
            sandbox,
            // Rule 355: two folders above.
            parent_sandbox: spec.parent.as_ref().and_then(|_| sandbox.parent()?.parent()),
            owner,
            persistent: &spec.volumes,
            images: &volumes,
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
        if spec.parent.is_none() {
            // A child's sandbox lies in its parent's, and counts with it.
            let limited = self.limit_disk(path, convert::disk_bytes(&spec.resources));
            limited.map_err(|source| SandboxError::Folder { path: spec.sandbox.to_string(), source })?;
        }
        for quota in convert::volumes(spec, &self.shared.work_dir).filter(|quota| quota.enforced) {
            if let Err(error) = self.shared.containers.limit_folder(&quota.path, quota.bytes) {
                warn!(path = %quota.path.display(), %error, "limit a volume");
            }
        }
        let mut owner = owner;
        for (host, inside, _read_only) in &spec.volumes {
            let volumes = &self.shared.volumes;
            let failed = |source| SandboxError::Volume { path: host.clone(), source };
            // Whoever came first goes on owning it.
            if !volumes.begin(host, &spec.container)
                && let Some(ids) = ids
            {
                sandbox::give(Path::new(host), ids).map_err(failed)?;
            }
            if let Some(owner) = owner.as_mut().filter(|owner| owner.uid != 0)
                && self.is_shared(spec, host)
                && let Some(group) = volumes.group(host).map_err(failed)?
                && !owner.groups.contains(&group)
            {
                owner.groups.push(group);
            }
            // Without a mount namespace a volume is a link in the sandbox, as in Mesos' posix isolator.
            if inside.starts_with('/') {
                continue;
            }
            let link = path.join(inside);
            let failed = |source| SandboxError::Volume { path: link.display().to_string(), source };
            let text = link.to_str().ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
            sandbox::link(&self.shared.work_dir, text, host).map_err(failed)?;
        }
        Ok(owner)
    }

    /// Lets the file system limit a sandbox; one without any disk of its own may use none beside what is there
    /// anyway.
    fn limit_disk(&self, sandbox: &Path, bytes: u64) -> std::io::Result<()> {
        if bytes == 0 { Ok(()) } else { self.shared.containers.limit_folder(sandbox, bytes) }
    }

    /// Whether a volume may be used by several tasks at once.
    fn is_shared(&self, spec: &ContainerSpec, host: &str) -> bool {
        spec.resources.iter().filter(|resource| resource.shared.is_some()).any(|resource| {
            volumes::folder(&self.shared.work_dir, resource).is_ok_and(|path| path == Path::new(host))
        })
    }

    /// Notes what a container of an earlier agent uses.
    pub(crate) fn recovered(&self, container: &ContainerId, resources: &[v1::Resource]) {
        for resource in resources {
            let path = volumes::folder(&self.shared.work_dir, resource).ok();
            if let Some(path) = path.as_deref().and_then(Path::to_str) {
                self.shared.volumes.begin(path, container);
            }
        }
    }

    /// Notes that a persistent volume was destroyed.
    pub(crate) fn volume_destroyed(&self, volume: &v1::Resource) {
        let Ok(path) = volumes::folder(&self.shared.work_dir, volume) else { return };
        if let Err(error) = self.shared.volumes.destroyed(&path) {
            warn!(path = %path.display(), %error, "forget the group of a volume");
        }
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
    pub(crate) fn update(
        &self,
        container: &ContainerId,
        sandbox: &Path,
        resources: &[v1::Resource],
        limits: &Limits,
    ) {
        if let Err(error) = self.limit_disk(sandbox, convert::disk_bytes(resources)) {
            warn!(%container, %error, "limit the sandbox");
        }
        if let Err(error) = self.shared.containers.resize_disk(container, convert::disk_bytes(resources)) {
            warn!(%container, %error, "note the disk of a container");
        }
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
        self.shared.volumes.end(container);
        if let Some(images) = &self.shared.images {
            images.release(container);
        }
    }

    fn failed(&self, container: ContainerId, stage: LaunchStage, message: String) {
        self.shared.volumes.end(&container);
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
