//! `mezzo dev`: a master and agents in this process.

mod containers;
mod services;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use mezzo_agent_daemon::{Host, Stop};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinSet,
};

use self::{containers::Powers, services::Services};
use super::daemon::failed;
use crate::{
    args::{Dev, MASTER_DEFAULT, services::SERVICES_DEFAULT},
    error::{CliError, Exit},
    logging,
    output::{megabytes, number},
};

/// Threads that serve all daemons of the cluster.
const SERVING_THREADS: usize = 2;
/// First and last port that tasks may use; agents get equal parts of it.
const PORTS: (u32, u32) = (31_000, 32_000);

/// Starts a cluster and keeps it until Ctrl-C.
pub(super) fn run(arguments: &Dev) -> Result<ExitCode, CliError> {
    // Only what needs somebody's attention: the terminal belongs to the summary.
    logging::start("ERROR", false, None).map_err(|error| failed("start logging", &error))?;
    let began = Instant::now();
    let folder = Folder::make(arguments.keep)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| failed("start", &error))?;
    runtime.block_on(cluster(arguments, &folder, began))?;
    Ok(ExitCode::SUCCESS)
}

async fn cluster(arguments: &Dev, folder: &Folder, began: Instant) -> Result<(), CliError> {
    let data = if arguments.keep {
        format!("data in {}", folder.path.display())
    } else {
        "data is deleted at the end; add --keep to keep it".to_owned()
    };
    println!("mezzo {}  dev cluster \"dev\"  ({data})", env!("CARGO_PKG_VERSION"));

    let (stop_master, master_stopped) = oneshot::channel::<()>();
    let (master_ready, mut master_address) = oneshot::channel();
    let config = master_config(arguments, folder);
    let mut master = tokio::spawn(async move {
        let stop = async {
            let _ = master_stopped.await;
        };
        mezzo_master_daemon::run(config, stop, |address| {
            // Whoever waited has given up; the cluster ends anyway.
            let _ = master_ready.send(address);
        })
        .await
    });
    let address = tokio::select! {
        address = &mut master_address => address.ok(),
        _ = &mut master => None,
    };
    let Some(address) = address else {
        let why = match master.await {
            Ok(Err(error)) => failed("start the master", error.as_ref()),
            _ => CliError::new(Exit::Failed, "start the master"),
        };
        return Err(why.help("mezzo dev --port 0   takes any free port"));
    };
    println!("  ✔ master     {address:<20} Mesos v0/v1 API   {}", since(began));

    let (stop_agents, stopping) = watch::channel(false);
    let mut agents = JoinSet::new();
    let host = Host::detect(&folder.path);
    let powers = Powers::detect(folder);
    let count = u32::from(arguments.agents);
    for number in 0..count {
        let config = agent_config((folder, &powers), address, host, number, count);
        let mut stopping = stopping.clone();
        let stop = if arguments.keep { Stop::KeepTasks } else { Stop::EndTasks };
        let (ready, is_ready) = oneshot::channel();
        agents.spawn(async move {
            let shutdown = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
                stop
            };
            mezzo_agent_daemon::run(config, shutdown, |address| {
                let _ = ready.send(address);
            })
            .await
        });
        if is_ready.await.is_err() {
            let why = match agents.join_next().await {
                Some(Ok(Err(error))) => failed("start an agent", &error),
                _ => CliError::new(Exit::Failed, "start an agent"),
            };
            return Err(why);
        }
    }
    let names = host_names(arguments.agents);
    let (cpus, mem) = share(host, count);
    println!(
        "  ✔ agents {count:<3} {}  {} cpus {} each   {}",
        names.join(" "),
        number(cpus as f64),
        megabytes(mem as f64),
        since(began)
    );
    let services = Services::start(arguments, folder, address).await?;
    println!("  ✔ services   {:<20} Marathon API      {}", services.address, since(began));
    let flag =
        if address.to_string() == MASTER_DEFAULT { String::new() } else { format!("--master {address} ") };
    println!("  API http://{address}   Stop: Ctrl-C");
    for note in powers.notes() {
        println!("  note:  {note}");
    }
    let server = if services.address.to_string() == SERVICES_DEFAULT {
        String::new()
    } else {
        format!("--services {} ", services.address)
    };
    let second = powers.next().unwrap_or("nodes");
    println!("  next:  mezzo {flag}run -- sh -c 'echo hi; exit 3'   or   mezzo {flag}{second}");
    println!("         mezzo up {server}examples/web.toml");

    let ended = tokio::select! {
        () = stop_asked() => None,
        ended = agents.join_next() => Some(ended),
    };
    eprint!("\nstopping: {count} agents ... ");
    // First of all: what it runs is to end with the agents, not to be started again.
    services.stop().await;
    stop_agents.send_replace(true);
    while agents.join_next().await.is_some() {}
    powers.remove_groups();
    let _ = stop_master.send(());
    let _ = tokio::time::timeout(Duration::from_secs(5), master).await;
    if arguments.keep {
        eprintln!("done.  Kept: {} (tasks go on)", folder.path.display());
    } else {
        eprintln!("done.");
    }
    match ended {
        Some(Some(Ok(Err(error)))) => Err(failed("run an agent", &error)),
        Some(Some(Ok(Ok(ended)))) => Err(CliError::new(Exit::Failed, "an agent ended").why(ended.message)),
        _ => Ok(()),
    }
}

fn since(began: Instant) -> String {
    format!("{:.2} s", began.elapsed().as_secs_f64())
}

async fn stop_asked() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn master_config(arguments: &Dev, folder: &Folder) -> mezzo_master_daemon::Config {
    mezzo_master_daemon::Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port)),
        hostname: Some("localhost".into()),
        work_dir: Some(folder.path.join("master")),
        cluster: Some("dev".into()),
        ..mezzo_master_daemon::Config::default()
    }
}

/// What the agents call their hosts, all of which are this one.
fn host_names(agents: u16) -> Vec<String> {
    (1..=agents.into()).map(host_name).collect()
}

fn host_name(number: u32) -> String {
    format!("dev-{number}")
}

fn agent_config(
    (folder, powers): (&Folder, &Powers),
    master: SocketAddr,
    host: Host,
    index: u32,
    count: u32,
) -> mezzo_agent_daemon::Config {
    let name = host_name(index + 1);
    let work_dir = folder.path.join(&name);
    let (cpus, mem) = share(host, count);
    let ports = (PORTS.1 - PORTS.0) / count;
    let first = PORTS.0 + index * ports;
    let disk = host.disk_bytes.map_or(10 * 1024, |bytes| (bytes >> 20) / 2 / u64::from(count));
    let mut config = mezzo_agent_daemon::Config::new(vec![master.to_string()], work_dir.clone());
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.advertise_ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    powers.apply(&mut config, &name);
    config.hostname = Some(name);
    config.runtime_dir = Some(folder.runtime(index));
    config.fetcher_cache_dir = work_dir.join("fetch");
    config.resources =
        Some(format!("cpus:{cpus};mem:{mem};disk:{disk};ports:[{first}-{}]", first + ports - 1));
    // A cluster of one machine does not need to spread its registrations.
    config.registration_backoff_factor = Duration::ZERO;
    config
}

/// Cpus and megabytes of one agent. Agents share the cpus, which is what a development machine is
/// for; memory is divided, because it runs out for good.
fn share(host: Host, count: u32) -> (usize, u64) {
    let mem = host.mem_bytes.map_or(1024, |bytes| bytes >> 20);
    let usable = if mem < 2048 { mem / 2 } else { mem - 1024 };
    (host.cpus.unwrap_or(1), usable / u64::from(count))
}

/// Where the cluster keeps its files.
struct Folder {
    path: PathBuf,
    delete: bool,
}

impl Folder {
    fn make(keep: bool) -> Result<Self, CliError> {
        let path = if keep {
            let home = std::env::var_os("HOME")
                .ok_or_else(|| CliError::usage("--keep needs a home folder").why("HOME is not set"))?;
            Path::new(&home).join(".mezzo/dev")
        } else {
            std::env::temp_dir().join(format!("mezzo-dev-{}", std::process::id()))
        };
        std::fs::create_dir_all(&path).map_err(|error| {
            CliError::new(Exit::Failed, "make a folder")
                .place(path.display().to_string())
                .why(error.to_string())
        })?;
        Ok(Self { path, delete: !keep })
    }

    /// What it is called among others on this machine.
    fn name(&self) -> String {
        if self.delete { format!("mezzo-dev-{}", std::process::id()) } else { "mezzo-dev".to_owned() }
    }

    /// Sockets have short paths: the kernel takes 107 bytes. In memory where that can be: supervisors
    /// make and remove a few files for every container, which costs a disk much more.
    fn runtime(&self, index: u32) -> PathBuf {
        self.memory().unwrap_or_else(|| self.path.clone()).join(format!("run-{}", index + 1))
    }

    /// A folder of this cluster on a memory file system. One that is kept stays on the disk, because its
    /// tasks are looked for there after a restart.
    fn memory(&self) -> Option<PathBuf> {
        let shared = Path::new("/dev/shm");
        let writable = rustix::fs::access(shared, rustix::fs::Access::WRITE_OK).is_ok();
        if self.delete && writable { Some(shared.join(self.path.file_name()?)) } else { None }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.delete {
            // Whatever cannot be deleted belongs to a task that outlived its end.
            let _ = std::fs::remove_dir_all(&self.path);
            if let Some(memory) = self.memory() {
                let _ = std::fs::remove_dir_all(memory);
            }
        }
    }
}
