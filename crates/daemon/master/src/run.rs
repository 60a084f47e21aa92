//! Starts the parts of a master process, and stops them in order.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Instant,
};

use anyhow::{Context, bail};
use mezzo_clock::now;
use mezzo_http::{Limits, serve};
use mezzo_ids::MasterId;
use mezzo_master::Master;
use mezzo_mesos::v1::{self, master_info::capability::Type as Capability};
use mezzo_protocol::records::{RegistryRecord, registry_record::Record};
use mezzo_resources::Quantities;
use mezzo_store::{EmbeddedRegistry, MemoryRegistry, Registry};
use tokio::net::TcpListener;
use tracing::info;

use crate::{
    AGENT_URL_PATH,
    checks::Witness,
    config::{Config, RegistryKind},
    decider,
    http::Api,
    inbox::Work,
    performer, process, random, registry,
    shared::Shared,
};

/// Batches of effects between deciding and performing. When they are many, deciding waits, and with it
/// everybody who sends.
const BATCHES_MAX: usize = 64;

/// Runs a master until `shutdown` resolves. `ready` is called with the address it listens on, once it
/// answers. Needs a runtime with blocking threads; at least two workers keep reads and writes apart.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
    ready: impl FnOnce(SocketAddr) + Send,
) -> anyhow::Result<()> {
    let started = now();
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
    let address = listener.local_addr().context("listen")?;
    let mut generator = random::generator().context("read random numbers")?;
    let id = MasterId::from(random::uuid(&mut generator).to_string());
    let info = master_info(&config, &id, address);
    let begun = Instant::now();
    let (store, records) = open_registry(&config, &info).await?;
    let fetch = begun.elapsed();
    let settings = core_config(&config, id, info.clone())?;
    let mut core = Master::new(settings.clone(), now(), records);
    let is_checked = config.check_allocations;
    let shared = Arc::new(Shared::new(
        config,
        info,
        started,
        now(),
        fetch,
        random::generator().context("read random numbers")?,
    ));

    let witness = if is_checked {
        core.keep_facts();
        Some(Witness::start(&settings, shared.checks.clone()).context("start thread")?)
    } else {
        None
    };
    let (effects, performing) = mpsc::sync_channel(BATCHES_MAX);
    let runtime = tokio::runtime::Handle::current();
    let performer =
        performer::spawn(store, shared.clone(), performing, runtime.clone()).context("start thread")?;
    let decider =
        decider::spawn(core, generator, shared.clone(), effects, witness, runtime).context("start thread")?;

    info!(%address, id = shared.info.id, "master is ready");
    ready(address);
    let exited = shared.exited();
    let mut reason = None;
    let stop = async {
        tokio::select! {
            () = shutdown => {}
            why = exited => reason = Some(why),
        }
        // Before connections end: schedulers and agents must not be taken for gone because the master
        // leaves. They come back to the next one.
        shared.inbox.push_now(Work::Stop);
    };
    serve(listener, Arc::new(Api::new(shared.clone())), Limits::default(), stop).await;
    shared.links.close_all();
    tokio::task::spawn_blocking(move || join(decider, performer)).await.context("stop threads")??;
    match reason {
        Some(why) => bail!(why),
        None => Ok(()),
    }
}

fn join(decider: JoinHandle<()>, performer: JoinHandle<()>) -> anyhow::Result<()> {
    for thread in [decider, performer] {
        if thread.join().is_err() {
            bail!("a thread of the master broke an invariant; see the log");
        }
    }
    Ok(())
}

/// The registry and what it holds, with this master written into it first (rule 493).
async fn open_registry(
    config: &Config,
    info: &v1::MasterInfo,
) -> anyhow::Result<(Box<dyn Registry>, Vec<RegistryRecord>)> {
    let path = registry_path(config);
    if path.is_none() && config.registry == RegistryKind::Embedded {
        bail!("a work directory is needed unless the registry is in memory");
    }
    let master = RegistryRecord { record: Some(Record::Master(info.clone())) };
    let open = move || -> anyhow::Result<(Box<dyn Registry>, Vec<RegistryRecord>)> {
        let mut store: Box<dyn Registry> = match path {
            None => Box::new(MemoryRegistry::new()),
            Some(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)
                        .with_context(|| format!("create {}", folder.display()))?;
                }
                Box::new(EmbeddedRegistry::open(&path)?)
            }
        };
        let records = registry::load(&mut *store)?;
        store.apply(&registry::change(&master).into_iter().collect::<Vec<_>>())?;
        Ok((store, records))
    };
    tokio::task::spawn_blocking(open).await.context("open registry")?
}

/// Where the registry is on disk, if it is there.
pub(crate) fn registry_path(config: &Config) -> Option<PathBuf> {
    match config.registry {
        RegistryKind::InMemory => None,
        RegistryKind::Embedded => config.work_dir.as_ref().map(|work_dir| work_dir.join("registry.redb")),
    }
}

/// What this master says of itself.
fn master_info(config: &Config, id: &MasterId, address: SocketAddr) -> v1::MasterInfo {
    let bound =
        if address.ip().is_unspecified() { own_address().unwrap_or(address.ip()) } else { address.ip() };
    let ip = config.advertise_ip.unwrap_or(bound);
    let port = u32::from(config.advertise_port.unwrap_or(address.port()));
    let hostname = config.hostname.clone().unwrap_or_else(|| hostname(config, ip));
    // In network order, read as a number of this machine, as Mesos writes it.
    let number = match ip {
        IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
        IpAddr::V6(_) => u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets()),
    };
    let capability = |kind: Capability| v1::master_info::Capability { r#type: Some(kind.into()) };
    v1::MasterInfo {
        id: id.to_string(),
        ip: number,
        port,
        pid: Some(format!("master@{ip}:{port}")),
        hostname: Some(hostname.clone()),
        version: Some(process::VERSION.into()),
        address: Some(v1::Address {
            hostname: Some(hostname),
            ip: Some(ip.to_string()),
            port: i32::try_from(port).unwrap_or_default(),
        }),
        domain: config.domain.clone(),
        capabilities: [Capability::AgentUpdate, Capability::AgentDraining, Capability::QuotaV2]
            .map(capability)
            .into(),
    }
}

/// The address that others would reach this machine at: the one that a packet to anywhere would leave
/// from. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn hostname(config: &Config, ip: IpAddr) -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    match named {
        Some(_) if ip.is_loopback() => "localhost".into(),
        Some(name) if config.hostname_lookup => name,
        _ => ip.to_string(),
    }
}

pub(crate) fn core_config(
    config: &Config,
    id: MasterId,
    info: v1::MasterInfo,
) -> anyhow::Result<mezzo_master::Config> {
    let min_allocatable = config
        .min_allocatable_resources
        .split('|')
        .filter(|set| !set.trim().is_empty())
        .map(|set| Quantities::parse(set).with_context(|| format!("read minimal resources '{set}'")))
        .collect::<Result<_, _>>()?;
    Ok(mezzo_master::Config {
        id,
        info,
        agent_ping_timeout: config.agent_ping_timeout,
        agent_ping_timeouts_max: config.agent_ping_timeouts_max,
        agent_reregister_timeout: config.agent_reregister_timeout,
        recovery_agent_removal_limit: config.recovery_agent_removal_limit,
        agent_removal_rate_limit: config.agent_removal_rate_limit,
        offer_timeout: config.offer_timeout,
        root_submissions: config.root_submissions,
        roles: config.roles.clone(),
        require_agent_domain: config.require_agent_domain,
        completed_frameworks_max: config.completed_frameworks_max,
        completed_tasks_max: config.completed_tasks_max,
        unreachable_tasks_max: config.unreachable_tasks_max,
        registry_agent_age_max: config.registry_agent_age_max,
        registry_agent_count_max: config.registry_agent_count_max,
        registry_gc_interval: config.registry_gc_interval,
        agent_url_path: AGENT_URL_PATH.into(),
        constraint_limits: config.constraint_limits(),
        allocator: mezzo_allocator::Config {
            weights: config.weights.clone(),
            fair_sharing_excluded_names: config.fair_sharing_excluded_names.clone(),
            min_allocatable,
            allocation_interval: config.allocation_interval,
            filter_gpu_resources: config.filter_gpu_resources,
            master_domain: config.domain.clone(),
            role_sorter: config.role_sorter,
            framework_sorter: config.framework_sorter,
            agent_preference: config.agent_preference.clone(),
            agent_whitelist: None,
        },
    })
}
