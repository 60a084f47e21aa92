//! Starts the parts of a services process, and stops them in order.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use anyhow::{Context, bail};
use mezzo_clock::now;
use mezzo_http::{Limits, serve};
use mezzo_sdk::Driver;
use mezzo_services::{Recovered, Services};
use mezzo_store::{EmbeddedRegistry, Registry};
use tokio::{net::TcpListener, sync::oneshot};
use tracing::info;

use crate::{
    calls,
    config::Config,
    decider, events,
    http::Api,
    inbox::Work,
    master::{self, Listener},
    performer::{self, Store},
    random,
    records::Books,
    secrets::Key,
    shared::{CALLS_WAITING_MAX, Shared},
};

/// Batches of effects between deciding and performing. When they are many, deciding waits, and with it everybody who
/// sends.
const BATCHES_MAX: usize = 16;

/// Runs the services until `shutdown` resolves. `ready` is called with the address it listens on, once it answers. Needs a
/// runtime with blocking threads.
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
    let (folder, key_file) = (config.work_dir.clone(), config.secrets_key_file.clone());
    let (store, recovered, key) = tokio::task::spawn_blocking(move || {
        let (store, mut recovered) = open(&folder)?;
        let key = Key::load(key_file.as_deref(), &folder, recovered.secrets.len())?;
        key.retain_ours(&mut recovered.secrets);
        anyhow::Ok((store, recovered, key))
    })
    .await
    .context("open records")??;
    let framework = recovered.framework.clone();
    let (services, effects) = Services::recover(config.core.clone(), recovered, now(), &mut generator);
    let snapshot = services.snapshot();
    let mut roles = master::roles_of(&snapshot.root);
    roles.extend(snapshot.instances.values().flat_map(|all| all.values()).map(|one| one.role.clone()));
    roles.insert(config.core.role.clone());
    let (calls, calls_waiting) = tokio::sync::mpsc::channel(CALLS_WAITING_MAX);
    let shared = Arc::new(Shared::new(config, address, started, snapshot, key, calls));

    let (batches, performing) = mpsc::sync_channel(BATCHES_MAX);
    let runtime = tokio::runtime::Handle::current();
    let performer =
        performer::spawn(store, shared.clone(), performing, runtime.clone()).context("start thread")?;
    let decider =
        decider::spawn(services, generator, shared.clone(), batches, effects).context("start thread")?;
    let driver = subscribe(&shared, framework.as_deref(), &roles).await?;
    let caller = tokio::spawn(calls::send_calls(shared.clone(), driver.clone(), calls_waiting, roles));
    let beats = tokio::spawn(beat(shared.clone()));

    info!(%address, "services are ready");
    ready(address);
    let exited = shared.exited();
    let mut reason = None;
    let stop = async {
        tokio::select! {
            () = shutdown => {}
            why = exited => reason = Some(why),
        }
        // Tasks go on; the next process takes the framework over.
        driver.stop();
        shared.inbox.push_now(Work::Stop);
    };
    let limits = Limits::default();
    serve(listener, Arc::new(Api::new(shared.clone())), limits, stop).await;
    beats.abort();
    // Whoever performs waits for calls to leave, which nobody needs any more.
    caller.abort();
    tokio::task::spawn_blocking(move || join(decider, performer)).await.context("stop threads")??;
    match reason {
        Some(why) => bail!(why),
        None => Ok(()),
    }
}

/// Begins to subscribe, and goes on doing so.
async fn subscribe(
    shared: &Arc<Shared>,
    framework: Option<&str>,
    roles: &BTreeSet<String>,
) -> anyhow::Result<Driver> {
    let mut config = mezzo_sdk::Config::new(
        shared.config.masters.clone(),
        &shared.config.framework_name,
        &shared.config.core.user,
    );
    config.framework = master::framework(&shared.config, shared.address, framework, roles);
    config.receipts = master::RECEIPTS;
    let mut listener = Listener { shared: shared.clone() };
    let (sender, driver) = oneshot::channel();
    let shared = shared.clone();
    tokio::spawn(async move {
        let ended = mezzo_sdk::run(config, &mut listener, |driver| {
            // Whoever waits for it has gone only when the process ends.
            let _ = sender.send(driver);
        })
        .await;
        if let Err(error) = ended {
            // A framework that the master has ended, or does not know, must not come back as another one (F214).
            shared.exit(format!("the master ended the framework: {error}"));
        }
    });
    driver.await.context("name the masters")
}

async fn beat(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(events::HEARTBEAT);
    loop {
        ticks.tick().await;
        shared.hub.beat();
    }
}

fn join(decider: JoinHandle<()>, performer: JoinHandle<()>) -> anyhow::Result<()> {
    for thread in [decider, performer] {
        if thread.join().is_err() {
            bail!("a thread of the services broke an invariant; see the log");
        }
    }
    Ok(())
}

/// The records in a folder, which is made when it is not there.
fn open(folder: &Path) -> anyhow::Result<(Store, Recovered)> {
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join("services.redb");
    let mut registry = EmbeddedRegistry::open(&path)?;
    let records = registry.load()?;
    let (books, recovered) = Books::load(&records).with_context(|| format!("read {}", path.display()))?;
    Ok((Store { registry: Some(registry), path, books }, recovered))
}
