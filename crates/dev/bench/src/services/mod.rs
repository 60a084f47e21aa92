//! What services cost: the matching of offers alone, and a real `mezzo services` beside a real master, asked over Marathon's
//! API.

mod api;
mod events;
mod http;
mod placement;
mod simulated;
mod thousand;

use std::{thread, time::Duration, time::Instant};

use anyhow::{Result, ensure};
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
    fn start(name: &str) -> Result<Self> {
        Self::start_with(name, &[])
    }

    /// With further flags of the services.
    fn start_with(name: &str, more: &[&str]) -> Result<Self> {
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

    /// Waits until no deployment is under way.
    fn settle(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let (status, body) = http::ask(self.services.port, "GET", "/v2/deployments", b"")?;
            if status == 200 && serde_json::from_slice::<Value>(&body)? == Value::Array(Vec::new()) {
                return Ok(());
            }
            ensure!(
                start.elapsed() < PATIENCE,
                "deployments do not end; see {}",
                self.folder.path().display()
            );
            thread::sleep(PAUSE);
        }
    }
}
