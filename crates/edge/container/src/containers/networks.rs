//! The networks of containers, which are joined before a container is launched and left behind it.

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};

use mezzo_ids::ContainerId;
use mezzo_mesos::v1::NetworkInfo;

use super::{ContainerError, Containers, Shared};
use crate::{
    event::ContainerEvent,
    network::{NetworkError, Networks},
};

impl Containers {
    /// Joins the networks that a container names, before it is launched; returns them with their addresses
    /// (rule 368). Waits for plugins. A container that does not come to its launch has to leave them again.
    pub fn join_networks(
        &self,
        id: &ContainerId,
        wanted: &[NetworkInfo],
        hostname: Option<&str>,
        cancelled: &AtomicBool,
    ) -> Result<Vec<NetworkInfo>, NetworkError> {
        self.shared.networks.join(id, wanted, hostname, cancelled)
    }

    /// Leaves the networks of a container that was not launched, or that has no process of its own. `then` is
    /// called when that is done, maybe from another thread.
    pub fn leave_networks(&self, id: &ContainerId, then: impl FnOnce() + Send + 'static) {
        leave_networks(&self.shared.networks, id, then);
    }

    /// The networks of all containers that have any of their own.
    pub fn networks(&self) -> Vec<(ContainerId, Vec<NetworkInfo>)> {
        self.shared.networks.all()
    }

    /// Does something inside the network of a container, or right here when that is the host's.
    pub fn within_network<T: Send>(
        &self,
        id: &ContainerId,
        act: impl FnOnce() -> T + Send,
    ) -> Result<T, ContainerError> {
        let Some(place) = self.shared.networks.place(id) else { return Ok(act()) };
        Networks::within(&place, act).map_err(|source| ContainerError::System {
            id: id.clone(),
            what: "enter the network of",
            source,
        })
    }

    /// Whether a container has another network than the host.
    pub fn has_network(&self, id: &ContainerId) -> bool {
        self.shared.networks.place(id).is_some()
    }

    /// The address that a container has in a network other than the host's.
    pub fn address(&self, id: &ContainerId) -> Option<String> {
        self.shared.networks.address(id)
    }
}

impl Shared {
    /// Tells that a container is gone, once its networks are: before that, its addresses and ports are not free.
    pub(crate) fn tell_end(&self, id: &ContainerId, event: ContainerEvent) {
        self.take_gpus(id);
        let on_event = self.on_event.clone();
        leave_networks(&self.networks, id, move || on_event(event));
    }
}

/// Leaves the networks of a container, in a thread that waits for that; then does something, at once when there
/// is nothing to leave.
fn leave_networks(networks: &Arc<Networks>, id: &ContainerId, then: impl FnOnce() + Send + 'static) {
    if !networks.has(id) {
        return then();
    }
    let networks = networks.clone();
    let then = Arc::new(Mutex::new(Some(then)));
    let work = {
        let (id, then) = (id.clone(), then.clone());
        move || {
            networks.leave(&id);
            do_once(&then);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("network".to_owned()).spawn(work) {
        tracing::error!(container = %id, %error, "its networks are left when the agent starts again");
        do_once(&then);
    }
}

fn do_once<T: FnOnce()>(work: &Mutex<Option<T>>) {
    let taken = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = taken {
        work();
    }
}
