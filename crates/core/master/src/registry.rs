//! The registry: what must survive the master, as records.

use mezzo_ids::AgentId;
use mezzo_mesos::v1;
use mezzo_protocol::records::{
    AdmittedAgent, GoneAgent, RegistryRecord, UnreachableAgent, registry_record::Record,
};
use mezzo_time::Timestamp;

use crate::{master::Master, state::Drain};

/// Takes the registry into a master that has not stepped yet.
pub(crate) fn recover(_master: &mut Master, _now: Timestamp, _records: Vec<RegistryRecord>) {}

/// The record that admits a registered agent, with its drain.
pub fn admitted(agent: &crate::state::Agent) -> Record {
    Record::AdmittedAgent(AdmittedAgent {
        info: Some(v1::AgentInfo::clone(&agent.info)),
        drain: agent.drain.clone(),
        deactivated: agent.deactivated,
    })
}

/// The record that an agent of the registry, which is not back yet, stays admitted, with its drain.
pub fn recovered(info: &v1::AgentInfo, kept: Option<&Drain>) -> Record {
    Record::AdmittedAgent(AdmittedAgent {
        info: Some(info.clone()),
        drain: kept.and_then(|kept| kept.info.clone()),
        deactivated: kept.is_some_and(|kept| kept.deactivated),
    })
}

/// The record that marks an agent unreachable; what an operator decided about it stays.
pub fn unreachable(id: &AgentId, time: Timestamp, kept: Option<&Drain>) -> Record {
    Record::UnreachableAgent(UnreachableAgent {
        id: Some(v1::AgentId { value: id.to_string() }),
        time: Some(v1::TimeInfo { nanoseconds: time.as_nanos() }),
        drain: kept.and_then(|kept| kept.info.clone()),
        deactivated: kept.is_some_and(|kept| kept.deactivated),
    })
}

/// The record that marks an agent gone.
pub fn gone(id: &AgentId, time: Timestamp) -> Record {
    Record::GoneAgent(GoneAgent {
        id: Some(v1::AgentId { value: id.to_string() }),
        time: Some(v1::TimeInfo { nanoseconds: time.as_nanos() }),
    })
}

/// The record that an agent is in no list any more.
pub fn forgotten(id: &AgentId) -> Record {
    Record::ForgottenAgent(v1::AgentId { value: id.to_string() })
}
