//! What services cost: the matching of offers alone, and a real `mezzo services` beside a real master, asked over Marathon's
//! API.

mod api;
mod events;
mod http;
mod placement;
mod planning;
mod simulated;
mod thousand;

use std::{thread, time::Duration, time::Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub(crate) use self::{
    api::api, events::events, placement::placement, simulated::simulated, thousand::thousand,
};
use crate::{
    client::PATIENCE,
    daemons::{Daemon, Folder},
};

/// Between two looks at what is waited for and not timed.
const PAUSE: Duration = Duration::from_millis(20);

/// A master, and services that are its framework.
struct Cluster {
    services: Daemon,
    master: Daemon,
    folder: Folder,
}

impl Cluster {
    /// With these flags of the services beside what they need.
    fn start(name: &str, more: &[&str]) -> Result<Self> {
        let folder = Folder::new(name)?;
        let master = Daemon::master(folder.path(), &[])?;
        let services = Daemon::services(folder.path(), &master, more)?;
        Ok(Self { services, master, folder })
    }

    /// Sends a document; the answer has to be one of success.
    fn send(&self, method: &str, path: &str, document: &Value) -> Result<()> {
        let (status, body) = http::ask(self.services.port, method, path, document.to_string().as_bytes())?;
        ensure!(status < 300, "{method} {path} was answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    /// Waits until no deployment is under way; `what` is what the deployments do, for who waits in vain.
    fn settle(&self, what: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let (status, body) = http::ask(self.services.port, "GET", "/v2/deployments", b"")?;
            ensure!(status == 200, "GET /v2/deployments was answered {status}");
            let left: Vec<Value> = serde_json::from_slice(&body).context("read the deployments")?;
            if left.is_empty() {
                return Ok(());
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "{what}: {} deployments have not ended after {PATIENCE:?}; see {}",
                left.len(),
                self.folder.path().display()
            );
            thread::sleep(PAUSE);
        }
    }
}

/// Says on stderr what is being done, so that nobody waits in the dark.
fn progress(what: &str) {
    eprintln!("  {what} ...");
}
