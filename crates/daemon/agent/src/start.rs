//! Starts an agent: finds out about the host, takes over what an earlier agent left, and serves.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use mezzo_agent::{Input, LegacyNames};
use mezzo_container::{Containers, Isolation, parse_isolation};
use mezzo_files::VirtualFiles;
use mezzo_http::Limits;
use mezzo_mesos::v1;
use mezzo_mesos_v0::names;
use mezzo_resources::parse_attributes;
use mezzo_store::{AppendLog, LogError};
use thiserror::Error;
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot};
use tracing::{info, warn};

use crate::{
    api::Api,
    checks::{Checks, Runs},
    config::Config,
    convert, core,
    desk::Desk,
    detect::{self, Host},
    fetch::Fetching,
    images::Images,
    janitor,
    launch::Launches,
    link,
    perform::{Batch, Ended, LOG_BYTES_MIN, Performer},
    recover,
    shared_volumes::SharedVolumes,
    tokens::ExecutorTokens,
    volumes,
};

/// The agent's log, below the folder for what is kept.
const LOG: &str = "meta/agent.log";

/// What containers write to roots of their own, below the work directory.
const SCRATCH: &str = "provisioner/containers";
/// Which networks containers have joined, below the work directory.
const NETWORKS: &str = "networks";

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A folder is not usable.
    #[error("prepare folder '{path}'")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A flag's value makes no sense.
    #[error("use --{flag}: {why}")]
    Flag {
        /// Which.
        flag: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The port is taken, or not ours.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The log of an earlier agent cannot be used.
    #[error("open the agent's log '{path}'")]
    Log {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: LogError,
    },
    /// What the log says does not fit together, or not with the flags.
    #[error("recover the agent's state: {0}")]
    Recover(String),
    /// The store of images cannot be used.
    #[error(transparent)]
    Images(#[from] mezzo_images::OpenError),
    /// Containers cannot be run on this host as configured.
    #[error("prepare containers")]
    Containers(#[from] mezzo_container::StartError),
    /// The system gives no thread or no random bytes.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// What happens to tasks when an agent is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// They go on, for the agent that comes next.
    KeepTasks,
    /// The agent leaves for good: it unregisters and ends everything it runs.
    EndTasks,
}

/// Longest wait for executors to end when an agent leaves for good.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs an agent until `shutdown` resolves or the agent ends by itself.
///
/// `ready` is called with the address it listens on, once it answers. The tokio runtime it is called in carries HTTP, the link and
/// checks.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = Stop>,
    ready: impl FnOnce(SocketAddr),
) -> Result<Ended, StartError> {
    let folder = |path: &Path| {
        let failed = |source| StartError::Folder { path: path.into(), source };
        std::fs::create_dir_all(path).and_then(|()| std::fs::canonicalize(path)).map_err(failed)
    };
    let work_dir = folder(&config.work_dir)?;
    folder(&work_dir.join("meta"))?;
    let sandboxes = work_dir.join(names::SANDBOX_FOLDER);
    let failed = |source| StartError::Folder { path: sandboxes.clone(), source };
    crate::sandbox::make_root(&sandboxes).map_err(failed)?;
    let runtime_dir = folder(&config.runtime_dir.clone().unwrap_or_else(|| runtime_dir(&work_dir)))?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| StartError::Listen { address: config.listen, source })?;
    let address =
        listener.local_addr().map_err(|source| StartError::Listen { address: config.listen, source })?;
    let system = |what| move |source| StartError::System { what, source };

    // What an earlier agent wrote down.
    let path = work_dir.join(LOG);
    let (log, replay) =
        AppendLog::open(&path).map_err(|source| StartError::Log { path: path.clone(), source })?;
    if replay.cut_off > 0 {
        warn!(bytes = replay.cut_off, "the end of the agent's log was torn, and has been cut off");
    }

    // The queue exists before there are containers, so that none of their events can be lost.
    let (core, inbox) = core::queue();
    let mut names = parse_isolation(&config.isolation)
        .map_err(|error| StartError::Flag { flag: "isolation", why: error.to_string() })?;
    let images = open_images(&config, &mut names)?;
    let mut isolation = Isolation {
        names,
        cgroups_hierarchy: config.cgroups_hierarchy.clone(),
        cgroups_root: config.cgroups_root.clone(),
        cgroups_enable_cfs: config.cgroups_enable_cfs,
        cgroups_limit_swap: config.cgroups_limit_swap,
        ..config.isolators.clone()
    };
    isolation.projects.folder.clone_from(&work_dir);
    let resources = total_resources(&config, &work_dir, &isolation)?;
    if config.check_agent_port_range_only {
        isolation.ports.isolated = Some(convert::ports(&resources));
    }
    let mut protected = vec![work_dir.clone(), runtime_dir.clone()];
    if let Some(settings) = &config.images {
        protected.push(folder(&settings.store_dir)?);
    }
    let container_config = mezzo_container::Config {
        protected,
        scratch_dir: work_dir.join(SCRATCH),
        networks_dir: work_dir.join(NETWORKS),
        runtime_dir,
        launcher: Default::default(),
        isolation,
        runtime: config.runtime.clone(),
    };
    let (events, runs) = (core.clone(), Runs::default());
    let own = runs.clone();
    let (containers, found) = Containers::start(container_config, move |event| {
        if let Some(event) = own.take(event) {
            events.send(convert::container_input(event));
        }
    })?;
    let found = runs.discard(&containers, found);

    if let Some(images) = &images {
        images.recovered(found.iter().map(|container| &*container.id));
        images.watch().map_err(system("start a thread"))?;
    }

    let mut rng = core::random().map_err(system("read random bytes"))?;
    let agent_config = agent_config(&config, resources, &work_dir, address, &containers)?;
    let (agent, first) = recover::agent(agent_config, &replay.records, found, mezzo_clock::now(), &mut rng)
        .map_err(StartError::Recover)?;

    for (container, networks) in containers.networks() {
        core.send(Input::Joined { container, networks });
    }

    let desk = Arc::new(Desk::default());
    let files = VirtualFiles::default();
    if let Some(log) = &config.log_file {
        files.attach(names::AGENT_LOG, log);
    }
    let fetching = Fetching::new(&config)
        .map_err(|source| StartError::Folder { path: config.fetcher_cache_dir.clone(), source })?;
    let tokens = executor_tokens(&config)?;
    let shared_volumes = SharedVolumes::open(&work_dir, config.volume_gids.clone())
        .map_err(|source| StartError::Folder { path: work_dir.join("meta"), source })?;
    let launches = Launches::new(
        containers,
        core.clone(),
        work_dir.clone(),
        fetching,
        images,
        tokens.clone(),
        shared_volumes,
    );
    if launches.containers().limits_folders() {
        let volumes = volumes::all(&work_dir);
        for folder in janitor::sandboxes(&sandboxes).chain(volumes) {
            launches.containers().limited_folder(&folder);
        }
    }
    for (container, known) in &agent.snapshot().containers {
        launches.recovered(container, &known.resources);
    }
    let (link, link_task) = link::link(config.masters.clone(), core.clone());
    let (jobs, job_queue) = mpsc::channel();
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let performer = Performer {
        log,
        compact_above: LOG_BYTES_MIN,
        core: core.clone(),
        desk: desk.clone(),
        link,
        launches: launches.clone(),
        checks: Checks::new(Handle::current(), core.clone(), launches.containers().clone(), runs),
        files: files.clone(),
        janitor: jobs,
        work_dir: work_dir.clone(),
        ended,
    };
    let (batches, batch_queue) = mpsc::channel::<Batch>();
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.into()).spawn(work).map_err(system("start a thread"))
    };
    let (janitor_core, janitor_containers) = (core.clone(), launches.containers().clone());
    // Taken before the core runs: later there may be a folder of an id it has just been given.
    let survey = janitor::Survey::begin(&sandboxes, agent.snapshot().id.as_deref());
    let clean_up = move || {
        janitor_core.send(Input::SandboxesFound(survey.finish()));
        janitor::run(&job_queue, &work_dir, &janitor_core, &janitor_containers);
    };
    spawn("janitor", Box::new(clean_up))?;
    let performing = spawn("perform", Box::new(move || performer.run(&batch_queue)))?;
    let deciding =
        core::spawn(agent, inbox, first, rng, batches).map_err(system("start the core's thread"))?;

    let tokens = tokens.filter(|_| config.authenticate_http_executors);
    let api = Arc::new(Api::new(core.clone(), desk, files, launches, tokens, &config));
    let linking = tokio::spawn(link_task.run());
    let (stop_serving, serving_stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(mezzo_http::serve(listener, api, Limits::default(), async {
        let _ = serving_stopped.await;
    }));
    info!(%address, "agent serves");
    ready(address);

    let end = tokio::select! {
        stop = shutdown => {
            if stop == Stop::EndTasks && core.try_send(Input::Leave).is_ok() {
                // Whatever still runs then is told apart by the next agent, which finds it.
                let _ = tokio::time::timeout(LEAVE_TIMEOUT, ends.recv()).await;
            }
            Ended { status: 0, message: "stopped".into() }
        }
        Some(end) = ends.recv() => end,
    };
    let _ = stop_serving.send(());
    linking.abort();
    let stopping = tokio::task::spawn_blocking(move || {
        core.stop();
        // A thread that panicked has said so; what is on disk is whole either way.
        let _ = deciding.join();
        let _ = performing.join();
    });
    let _ = stopping.await;
    let _ = serving.await;
    Ok(end)
}

/// `/var/run/mesos` where that can be written, as Mesos has it; otherwise below the work directory, so
/// that two agents of one host never share it.
fn runtime_dir(work_dir: &Path) -> PathBuf {
    let usual = Path::new("/var/run/mesos");
    match std::fs::create_dir_all(usual) {
        Ok(()) if rustix::fs::access(usual, rustix::fs::Access::WRITE_OK).is_ok() => usual.into(),
        Ok(()) | Err(_) => work_dir.join("runtime"),
    }
}

/// The isolator that runs images as they want to be run.
const RUNTIME: &str = "docker/runtime";

/// Opens the store of images, where containers may have any. The isolator that runs them as they want to be run
/// is a part of that: it is taken out of the names.
fn open_images(config: &Config, isolators: &mut Vec<String>) -> Result<Option<Arc<Images>>, StartError> {
    check_images(config.images.is_some(), isolators)
        .map_err(|why| StartError::Flag { flag: "isolation", why: why.into() })?;
    isolators.retain(|name| name != RUNTIME);
    match &config.images {
        Some(settings) => Ok(Some(Arc::new(Images::open(settings)?))),
        None => Ok(None),
    }
}

/// What images need (rule 351). There is one launcher, and it can start them.
fn check_images(provided: bool, isolators: &[String]) -> Result<(), &'static str> {
    let has = |wanted: &str| isolators.iter().any(|name| name == wanted);
    match (provided, has(RUNTIME) && has("filesystem/linux")) {
        (true, false) => {
            Err("--image_providers=docker needs the isolators docker/runtime and filesystem/linux")
        }
        (false, _) if has(RUNTIME) => Err("the isolator docker/runtime needs --image_providers=docker"),
        _ => Ok(()),
    }
}

fn executor_tokens(config: &Config) -> Result<Option<Arc<ExecutorTokens>>, StartError> {
    let flag = "jwt_secret_key";
    match &config.jwt_secret_key {
        Some(path) => ExecutorTokens::read(path)
            .map(|tokens| Some(Arc::new(tokens)))
            .map_err(|why| StartError::Flag { flag, why }),
        None if config.authenticate_http_executors => {
            let why = "--authenticate_http_executors needs a file with a key to sign tokens with";
            Err(StartError::Flag { flag, why: why.into() })
        }
        None => Ok(None),
    }
}

/// What the agent offers.
fn total_resources(
    config: &Config,
    work_dir: &Path,
    isolation: &Isolation,
) -> Result<Vec<v1::Resource>, StartError> {
    let gpus = mezzo_container::gpu_count(isolation).map_err(mezzo_container::StartError::from)?;
    let host = Host { gpus, ..Host::detect(work_dir) };
    let all = isolation.gpus.devices.is_some();
    let total = host.total(config.resources.as_deref(), &config.default_role, all);
    total.map_err(|why| StartError::Flag { flag: "resources", why })
}

fn agent_config(
    config: &Config,
    resources: Vec<v1::Resource>,
    work_dir: &Path,
    address: SocketAddr,
    containers: &Containers,
) -> Result<mezzo_agent::Config, StartError> {
    let flag = |flag| move |why: String| StartError::Flag { flag, why };
    let ip = config.advertise_ip.unwrap_or_else(|| reachable(address.ip(), &config.masters));
    let port = config.advertise_port.unwrap_or(address.port());
    let hostname = match &config.hostname {
        Some(hostname) => hostname.clone(),
        None if config.hostname_lookup && !ip.is_loopback() => {
            detect::hostname().unwrap_or_else(|| ip.to_string())
        }
        None => ip.to_string(),
    };
    let attributes = match &config.attributes {
        Some(text) => parse_attributes(text).map_err(|error| flag("attributes")(error.to_string()))?,
        None => Vec::new(),
    };
    let work_dir = work_dir.to_str().ok_or_else(|| flag("work_dir")("the path is not UTF-8".into()))?;
    use mezzo_container::Limit;
    Ok(mezzo_agent::Config {
        info: v1::AgentInfo {
            hostname,
            port: Some(i32::from(port)),
            resources,
            attributes,
            domain: config.domain.clone(),
            ..Default::default()
        },
        ip: ip.to_string(),
        port,
        version: names::API_VERSION.into(),
        sandbox_root: format!("{work_dir}/{}", names::SANDBOX_FOLDER),
        work_dir: work_dir.into(),
        boot_id: detect::boot_id(),
        launcher_dir: config
            .flags
            .get("launcher_dir")
            .cloned()
            .unwrap_or_else(|| "/usr/libexec/mesos".into()),
        legacy: LegacyNames {
            agent_id_variable: names::AGENT_ID_VARIABLE.into(),
            agent_pid_variable: names::AGENT_PID_VARIABLE.into(),
            agent_pid: format!("{}@{ip}:{port}", names::AGENT_PROCESS),
        },
        executor_environment: config.executor_environment.clone(),
        executor_registration_timeout: config.executor_registration_timeout,
        executor_reregistration_timeout: config.executor_reregistration_timeout,
        executor_shutdown_grace_period: config.executor_shutdown_grace_period,
        recovery_timeout: config.recovery_timeout,
        registration_backoff_factor: config.registration_backoff_factor,
        reconfiguration_policy: config.reconfiguration_policy,
        recover: config.recover,
        gc_delay: config.gc_delay,
        gc_disk_headroom: config.gc_disk_headroom,
        disk_watch_interval: config.disk_watch_interval,
        completed_executors_max: config.completed_executors_max,
        switch_user: config.switch_user && rustix::process::geteuid().is_root(),
        default_container_info: config.default_container_info.clone(),
        limits_enforced: containers.supports(Limit::Cpus) && containers.supports(Limit::Mem),
    })
}

/// The address others reach us at: the one we listen on, or for all of them the one that leads to the
/// master. No packet is sent to find that out.
fn reachable(listening: IpAddr, masters: &[String]) -> IpAddr {
    if !listening.is_unspecified() {
        return listening;
    }
    let towards = || {
        let socket = std::net::UdpSocket::bind((listening, 0)).ok()?;
        socket.connect(masters.first()?.as_str()).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    towards().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_351_images_need_a_provider_and_two_isolators() {
        let check = |provided: bool, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            check_images(provided, &names)
        };
        assert_eq!(check(true, &["filesystem/linux", "docker/runtime"]), Ok(()));
        assert_eq!(check(false, &["filesystem/linux"]), Ok(()));
        for some in
            [&["filesystem/linux"][..], &["docker/runtime"], &["filesystem/posix", "docker/runtime"], &[]]
        {
            let why = check(true, some).unwrap_err();
            assert!(why.contains("docker/runtime and filesystem/linux"), "{some:?}: {why}");
        }
        let why = check(false, &["filesystem/linux", "docker/runtime"]).unwrap_err();
        assert!(why.contains("--image_providers"), "{why}");
    }
}
