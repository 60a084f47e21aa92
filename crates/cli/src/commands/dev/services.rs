//! The services of a cluster for development.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use mezzo_services_daemon::Config;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{Folder, failed};
use crate::{
    args::Dev,
    error::{CliError, Exit},
};

/// The port that is given up for any free one when something else has it.
const PORT_USUAL: u16 = 8080;
/// How long the services may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The services, in this process.
pub(super) struct Services {
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Services {
    /// Starts them beside a master, and waits until they answer. Without the usual port any free one does.
    pub(super) async fn start(
        arguments: &Dev,
        folder: &Folder,
        master: SocketAddr,
    ) -> Result<Self, CliError> {
        match Self::begin(arguments, arguments.services_port, folder, master).await {
            Err(_) if arguments.services_port == PORT_USUAL => {
                Self::begin(arguments, 0, folder, master).await
            }
            begun => begun,
        }
    }

    async fn begin(
        arguments: &Dev,
        port: u16,
        folder: &Folder,
        master: SocketAddr,
    ) -> Result<Self, CliError> {
        let mut config = Config::new(vec![master.to_string()], folder.path.join("services"));
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        config.core.user = user();
        config.features = vec!["secrets".into()];
        config.hosts = super::host_names(arguments.agents)
            .into_iter()
            .map(|name| (name, Ipv4Addr::LOCALHOST.into()))
            .collect();
        // Whoever develops does not want to wait for what is meant for hundreds of agents.
        config.core.decline_offer_duration = Duration::from_secs(5);
        config.core.revive_interval = Duration::from_millis(500);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = oneshot::channel();
        let running = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            mezzo_services_daemon::run(config, stop, |address| {
                // Whoever waited has given up; the cluster ends anyway.
                let _ = ready.send(address);
            })
            .await
        });
        match address.await {
            Ok(address) => Ok(Self { address, stop, running }),
            Err(_) => {
                let why = match running.await {
                    Ok(Err(error)) => failed("start the services", error.as_ref()),
                    _ => CliError::new(Exit::Failed, "start the services"),
                };
                Err(why.help("mezzo dev --services-port 0   takes any free one"))
            }
        }
    }

    /// Ends them; what they run goes on.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.running).await;
    }
}

/// Whoever runs the cluster: agents that are not root can run tasks as nobody else.
fn user() -> String {
    let id = rustix::process::geteuid();
    if id.is_root() {
        return "root".into();
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let own = users.lines().find(|line| line.split(':').nth(2) == Some(&id.as_raw().to_string()));
    let name = own.and_then(|line| line.split(':').next()).map(str::to_owned);
    name.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| id.as_raw().to_string())
}
