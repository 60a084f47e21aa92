//! The subscription with the master: what we tell of ourselves, and its events as inputs.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use mezzo_mesos::v1::{self, framework_info::capability::Type as Capability};
use mezzo_sdk::{Driver, Receipts, Scheduler};
use mezzo_services::Input;
use mezzo_services_model::Group;
use tracing::{info, warn};

use crate::{config::Config, shared::Shared};

/// What we tell the master of ourselves.
pub(crate) fn framework(
    config: &Config,
    address: std::net::SocketAddr,
    id: Option<&str>,
    roles: &BTreeSet<String>,
) -> v1::FrameworkInfo {
    let capability = |kind: Capability| v1::framework_info::Capability { r#type: Some(kind as i32) };
    let has_gpus = config.features.iter().any(|feature| feature == "gpu_resources");
    let webui = format!("http://{}:{}", config.hostname, address.port());
    v1::FrameworkInfo {
        user: config.core.user.clone(),
        name: config.framework_name.clone(),
        id: id.map(|id| v1::FrameworkId { value: id.to_owned() }),
        failover_timeout: Some(config.failover_timeout.as_secs_f64()),
        checkpoint: Some(config.checkpoint),
        roles: roles.iter().cloned().collect(),
        hostname: Some(config.hostname.clone()),
        principal: config.principal.clone(),
        webui_url: Some(config.webui_url.clone().unwrap_or(webui)),
        capabilities: [
            Capability::MultiRole,
            Capability::PartitionAware,
            Capability::TaskKillingState,
            Capability::ReservationRefinement,
            Capability::RegionAware,
        ]
        .into_iter()
        // Agents with graphics processors are offered to frameworks with this one alone.
        .chain(has_gpus.then_some(Capability::GpuResources))
        .map(capability)
        .collect(),
        ..v1::FrameworkInfo::default()
    }
}

/// Hears the master.
pub(crate) struct Listener {
    pub(crate) shared: Arc<Shared>,
}

impl Listener {
    fn info(&self) -> Option<v1::MasterInfo> {
        self.shared.master.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Scheduler for Listener {
    async fn master(&mut self, _: &Driver, master: &v1::MasterInfo) {
        *self.shared.master.lock().unwrap_or_else(PoisonError::into_inner) = Some(master.clone());
    }

    async fn subscribed(&mut self, _: &Driver, framework: &v1::FrameworkId, resubscribed: bool) {
        let info = self.info().unwrap_or_default();
        let host = info.hostname.clone().unwrap_or_default();
        let region =
            info.domain.as_ref().and_then(|domain| Some(domain.fault_domain.as_ref()?.region.name.clone()));
        info!(framework = framework.value, master = host, resubscribed, "subscribed");
        let input = Input::Subscribed { framework: framework.clone(), master: host, region };
        self.shared.inbox.push(input).await;
    }

    async fn offers(&mut self, _: &Driver, offers: Vec<v1::Offer>) {
        self.shared.meter.count("marathon.mesos.offers.incoming.counter", offers.len() as u64);
        self.shared.inbox.push(Input::Offers(offers.into_iter().map(Arc::new).collect())).await;
    }

    async fn rescinded(&mut self, _: &Driver, offer: v1::OfferId) {
        self.shared.inbox.push(Input::Rescinded(offer)).await;
    }

    async fn update(&mut self, _: &Driver, status: v1::TaskStatus) {
        self.shared.meter.update(&status);
        self.shared.inbox.push(Input::Update(Box::new(status))).await;
    }

    async fn message(&mut self, _: &Driver, message: v1::scheduler::event::Message) {
        let (executor, agent, data) = (message.executor_id, message.agent_id, message.data);
        self.shared.inbox.push(Input::Message { executor, agent, data }).await;
    }

    async fn disconnected(&mut self, _: &Driver) {
        warn!("the master is away");
        *self.shared.master.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.inbox.push(Input::Disconnected).await;
    }
}

/// The roles of all definitions.
pub(crate) fn roles_of(root: &Group) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    let mut add = |role: &str| {
        if !roles.contains(role) {
            roles.insert(role.to_owned());
        }
    };
    root.all_apps().for_each(|app| add(&app.role));
    root.all_pods().for_each(|pod| add(&pod.role));
    roles
}

/// What [`Receipts`] we want: the core keeps books of its tasks and acknowledges behind its records.
pub(crate) const RECEIPTS: Receipts = Receipts::ByScheduler;
