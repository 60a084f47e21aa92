//! What a plan would do, by what the master knows of its agents.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use mezzo_clock::now;
use mezzo_mesos::v1::{self, master};
use mezzo_services::{Known, outlook};
use mezzo_services_model::{Outlook, Plan};
use prost::Message;

use crate::{random, shared::Shared};

const PROTOBUF: &str = "application/x-protobuf";
/// How long the master is waited for: a plan is of use without a forecast too.
const PATIENCE: Duration = Duration::from_secs(10);
/// The agents of a large cluster: fifty thousand of ten kilobytes.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// What the plan would do to instances; or why nobody can tell.
pub(crate) async fn look_out(shared: &Arc<Shared>, plan: &Arc<Plan>) -> Result<Vec<Outlook>, String> {
    let info = shared.master.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let info = info.ok_or("no master is there at the moment")?;
    let asked = tokio::time::timeout(PATIENCE, agents(&info)).await;
    let agents = asked.map_err(|_| "the master has not answered in time".to_owned())??;
    let (shared, plan) = (shared.clone(), plan.clone());
    let played = tokio::task::spawn_blocking(move || {
        let mut generator = random::generator().map_err(|error| error.to_string())?;
        let domain = info.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        let region = domain.map(|domain| domain.region.name.as_str());
        let (snapshot, config) = (shared.snapshot(), &shared.config.core);
        outlook(&snapshot, config, &plan, agents, region, now(), &mut generator)
            .map_err(|error| format!("the master tells of resources that are none: {error}"))
    });
    played.await.map_err(|error| error.to_string())?
}

/// All agents that take tasks, with what they have and what of it is used.
async fn agents(info: &v1::MasterInfo) -> Result<Vec<Known>, String> {
    let address = info.address.clone().unwrap_or_default();
    let host = address.ip.or(address.hostname).ok_or("the master has not told its address")?;
    let address = if host.contains(':') {
        format!("[{host}]:{}", address.port)
    } else {
        format!("{host}:{}", address.port)
    };
    let kind = master::call::Type::GetAgents;
    let call = master::Call { r#type: Some(kind as i32), ..Default::default() };
    let client = mezzo_http::Client::new();
    let sent = client.post(&address, "/api/v1", PROTOBUF, call.encode_to_vec().into()).await;
    let answer = sent.map_err(|error| format!("the master at {address} does not answer: {error}"))?;
    if !answer.status.is_success() {
        return Err(format!("the master does not tell its agents: {}", answer.status));
    }
    let bytes =
        answer.bytes(ANSWER_BYTES_MAX).await.map_err(|error| format!("the answer broke off: {error}"))?;
    let response =
        master::Response::decode(bytes).map_err(|error| format!("read the master's answer: {error}"))?;
    let agents = response.get_agents.unwrap_or_default().agents.into_iter();
    let open =
        agents.filter(|agent| agent.active && agent.deactivated != Some(true) && agent.drain_info.is_none());
    Ok(open.map(known).collect())
}

fn known(agent: master::response::get_agents::Agent) -> Known {
    let info = agent.agent_info;
    let offer = v1::Offer {
        agent_id: info.id.unwrap_or_default(),
        hostname: info.hostname,
        resources: agent.total_resources,
        attributes: info.attributes,
        domain: info.domain,
        ..v1::Offer::default()
    };
    Known { offer, used: agent.allocated_resources }
}
