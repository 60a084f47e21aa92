//! The registry: what must survive the master, as records.
//!
//! A change is one [`RegistryRecord`]; the newest record of a [`key`] replaces the older ones, so a store
//! needs no more than the last record per key. [`recover`] reads such records back into a
//! [`Snapshot`], and [`records`] writes a snapshot out in full, for operators who ask to see it (rule 497)
//! and for tests that compare. Tasks and frameworks are not here: agents and schedulers bring them back.

use std::sync::Arc;

use mezzo_ids::{AgentId, Role};
use mezzo_mesos::v1::{self, machine_info::Mode};
use mezzo_protocol::records::{
    AdmittedAgent, GoneAgent, RegistryRecord, UnreachableAgent, registry_record::Record,
};
use mezzo_resources::{Form, Resources};
use mezzo_time::Timestamp;

use crate::{
    effect::Effect,
    master::Master,
    operator::quota,
    state::{Drain, Machine, Quota, Snapshot},
};

/// Why a registry cannot be recovered from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Written by a version that knows more; going on would lose it (rule 496).
    #[error(
        "the registry holds a record of a kind that this version does not know; start the version that wrote it"
    )]
    Unknown,
    /// A record without the id, role or machine it is about.
    #[error("the registry holds a damaged record: {0} is missing")]
    Damaged(&'static str),
}

/// Where a record belongs: `agent/<id>`, `quota/<role>`, `weight/<role>`, `schedule`,
/// `machine/<hostname>/<ip>` or `master`. `None` for a record of an unknown kind.
pub fn key(record: &RegistryRecord) -> Option<String> {
    let agent = |id: &Option<v1::AgentId>| Some(format!("agent/{}", id.as_ref()?.value));
    match record.record.as_ref()? {
        Record::AdmittedAgent(admitted) => agent(&admitted.info.as_ref()?.id),
        Record::UnreachableAgent(unreachable) => agent(&unreachable.id),
        Record::GoneAgent(gone) => agent(&gone.id),
        Record::ForgottenAgent(id) => Some(format!("agent/{}", id.value)),
        Record::Quota(config) => Some(format!("quota/{}", config.role)),
        Record::Weight(weight) => Some(format!("weight/{}", weight.role.as_deref()?)),
        Record::Schedule(_) => Some("schedule".into()),
        Record::Machine(machine) => Some(machine_key(&machine.id)),
        Record::ForgottenMachine(id) => Some(machine_key(id)),
        Record::Master(_) => Some("master".into()),
    }
}

/// Whether the record only says that its key holds nothing any more; a store may delete the key.
pub fn forgets(record: &RegistryRecord) -> bool {
    match &record.record {
        Some(Record::ForgottenAgent(_) | Record::ForgottenMachine(_)) => true,
        Some(Record::Quota(config)) => config.guarantees.is_empty() && config.limits.is_empty(),
        _ => false,
    }
}

fn machine_key(id: &v1::MachineId) -> String {
    format!("machine/{}/{}", id.hostname().to_lowercase(), id.ip())
}

/// Whether two machine ids mean the same machine; case of hostnames does not matter (rule 273).
pub fn same_machine(one: &v1::MachineId, other: &v1::MachineId) -> bool {
    one.hostname().eq_ignore_ascii_case(other.hostname()) && one.ip() == other.ip()
}

/// Takes the registry into a master that has not stepped yet. One that cannot be read ends the master
/// with its first step (rule 496).
pub(crate) fn recover(master: &mut Master, now: Timestamp, records: Vec<RegistryRecord>) {
    match read(records) {
        Ok(state) => {
            for (role, quota) in &state.quotas {
                master.allocator.set_quota(role, quota.clone());
            }
            for (role, weight) in &state.weights {
                master.allocator.set_weight(role, *weight);
            }
            // Quotas first: without any there is nothing to wait for (rule 131).
            if !state.recovered_agents.is_empty() {
                master.allocator.pause_for_recovery(now, state.recovered_agents.len());
            }
            master.state = state;
        }
        Err(error) => master.effects.push(Effect::Exit(format!("Failed to recover the registry: {error}"))),
    }
}

/// The state that `records`, oldest first, leave. Admitted agents come back as recovered ones.
pub fn read(records: impl IntoIterator<Item = RegistryRecord>) -> Result<Snapshot, RecoverError> {
    let mut state = Snapshot::default();
    for record in records {
        apply(&mut state, record.record.ok_or(RecoverError::Unknown)?)?;
    }
    Ok(state)
}

fn apply(state: &mut Snapshot, record: Record) -> Result<(), RecoverError> {
    match record {
        Record::AdmittedAgent(AdmittedAgent { info, drain, deactivated }) => {
            let info = info.ok_or(RecoverError::Damaged("the agent of an admission"))?;
            let id = agent_id(info.id.as_ref())?;
            forget_agent(state, &id);
            keep_drain(state, &id, drain, deactivated);
            state.recovered_agents.insert(id, Arc::new(info));
        }
        Record::UnreachableAgent(UnreachableAgent { id, time, drain, deactivated }) => {
            let id = agent_id(id.as_ref())?;
            forget_agent(state, &id);
            keep_drain(state, &id, drain, deactivated);
            state.unreachable_agents.insert(id, timestamp(time));
        }
        Record::GoneAgent(GoneAgent { id, time }) => {
            let id = agent_id(id.as_ref())?;
            forget_agent(state, &id);
            state.gone_agents.insert(id, timestamp(time));
        }
        Record::ForgottenAgent(id) => forget_agent(state, &agent_id(Some(&id))?),
        Record::Quota(config) => {
            let role = Role::from(config.role.as_str());
            if config.guarantees.is_empty() && config.limits.is_empty() {
                state.quotas.remove(&role);
            } else {
                state.quotas.insert(role, Quota::from_proto(&config));
            }
        }
        Record::Weight(weight) => {
            let role = weight.role.ok_or(RecoverError::Damaged("the role of a weight"))?;
            state.weights.insert(Role::from(role), weight.weight);
        }
        Record::Schedule(schedule) => state.schedule = Arc::new(schedule),
        Record::Machine(info) => {
            let machines = Arc::make_mut(&mut state.machines);
            match machines.iter_mut().find(|machine| same_machine(&machine.info.id, &info.id)) {
                Some(machine) => machine.info = info,
                None => machines.push(Machine { info, statuses: Vec::new() }),
            }
        }
        Record::ForgottenMachine(id) => {
            Arc::make_mut(&mut state.machines).retain(|machine| !same_machine(&machine.info.id, &id));
        }
        Record::Master(_) => {}
    }
    Ok(())
}

fn agent_id(id: Option<&v1::AgentId>) -> Result<AgentId, RecoverError> {
    id.map(|id| AgentId::from(id.value.as_str())).ok_or(RecoverError::Damaged("the id of an agent"))
}

fn timestamp(time: Option<v1::TimeInfo>) -> Timestamp {
    time.map_or(Timestamp::ZERO, |time| Timestamp::from_nanos(time.nanoseconds))
}

fn forget_agent(state: &mut Snapshot, id: &AgentId) {
    state.recovered_agents.remove(id);
    state.unreachable_agents.remove(id);
    state.gone_agents.remove(id);
    state.drains.remove(id);
}

fn keep_drain(state: &mut Snapshot, id: &AgentId, info: Option<v1::DrainInfo>, deactivated: bool) {
    if deactivated || info.is_some() {
        state.drains.insert(id.clone(), Drain { info, deactivated, started: None });
    }
}

/// An agent as the registry keeps it: its resources in the old form where they have one, so that any
/// reader understands them (rule 495).
fn kept_info(info: &v1::AgentInfo) -> v1::AgentInfo {
    let mut info = info.clone();
    if let Ok(resources) = Resources::from_proto(&info.resources) {
        info.resources = resources.to_proto(Form::PreRefinement);
    }
    info
}

/// The record that admits a registered agent, with its drain.
pub fn admitted(agent: &crate::state::Agent) -> Record {
    Record::AdmittedAgent(AdmittedAgent {
        info: Some(kept_info(&agent.info)),
        drain: agent.drain,
        deactivated: agent.deactivated,
    })
}

/// The record that an agent of the registry, which is not back yet, stays admitted, with its drain.
pub fn recovered(info: &v1::AgentInfo, kept: Option<&Drain>) -> Record {
    Record::AdmittedAgent(AdmittedAgent {
        info: Some(kept_info(info)),
        drain: kept.and_then(|kept| kept.info),
        deactivated: kept.is_some_and(|kept| kept.deactivated),
    })
}

/// The record that marks an agent unreachable; what an operator decided about it stays.
pub fn unreachable(id: &AgentId, time: Timestamp, kept: Option<&Drain>) -> Record {
    Record::UnreachableAgent(UnreachableAgent {
        id: Some(v1::AgentId { value: id.as_str().into() }),
        time: Some(v1::TimeInfo { nanoseconds: time.as_nanos() }),
        drain: kept.and_then(|kept| kept.info),
        deactivated: kept.is_some_and(|kept| kept.deactivated),
    })
}

/// The record that marks an agent gone.
pub fn gone(id: &AgentId, time: Timestamp) -> Record {
    Record::GoneAgent(GoneAgent {
        id: Some(v1::AgentId { value: id.as_str().into() }),
        time: Some(v1::TimeInfo { nanoseconds: time.as_nanos() }),
    })
}

/// The record that an agent is in no list any more.
pub fn forgotten(id: &AgentId) -> Record {
    Record::ForgottenAgent(v1::AgentId { value: id.as_str().into() })
}

fn wrap(record: Record) -> RegistryRecord {
    RegistryRecord { record: Some(record) }
}

/// Everything in `state` that the registry keeps, by key: the registry as `/registrar(1)/registry`
/// shows it. Agents that are admitted but not back yet are among the admitted ones.
pub fn records(state: &Snapshot, master: &v1::MasterInfo) -> Vec<RegistryRecord> {
    let mut all = vec![Record::Master(master.clone())];
    all.extend(state.agents.values().map(|agent| admitted(agent)));
    all.extend(state.recovered_agents.iter().map(|(id, info)| recovered(info, state.drains.get(id))));
    all.extend(
        state.unreachable_agents.iter().map(|(id, time)| unreachable(id, *time, state.drains.get(id))),
    );
    all.extend(state.gone_agents.iter().map(|(id, time)| gone(id, *time)));
    all.extend(
        state
            .quotas
            .iter()
            .map(|(role, quota)| quota::to_config(role, quota))
            .filter(|config| !config.guarantees.is_empty() || !config.limits.is_empty())
            .map(Record::Quota),
    );
    all.extend(state.weights.iter().map(|(role, weight)| {
        Record::Weight(v1::WeightInfo { weight: *weight, role: Some(role.to_string()) })
    }));
    if !state.schedule.windows.is_empty() {
        all.push(Record::Schedule(v1::maintenance::Schedule::clone(&state.schedule)));
    }
    all.extend(state.machines.iter().map(|machine| Record::Machine(machine.info.clone())));
    all.into_iter().map(wrap).collect()
}

/// What a master must be able to do to lead with this registry (rule 496).
pub fn minimum_capabilities(state: &Snapshot) -> Vec<v1::master_info::capability::Type> {
    use v1::master_info::capability::Type;
    let draining = state.agents.values().any(|agent| agent.deactivated || agent.drain.is_some())
        || !state.drains.is_empty();
    let quota = state.quotas.values().any(|quota| *quota != crate::state::Quota::default());
    let mut needed = Vec::new();
    if draining {
        needed.push(Type::AgentDraining);
    }
    if quota {
        needed.push(Type::QuotaV2);
    }
    needed
}

/// Whether the machine is down for maintenance.
pub fn is_down(machine: &Machine) -> bool {
    machine.info.mode() == Mode::Down
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str) -> v1::AgentInfo {
        v1::AgentInfo {
            hostname: "one".into(),
            id: Some(v1::AgentId { value: id.into() }),
            ..Default::default()
        }
    }

    fn admit(id: &str, drain: Option<v1::DrainInfo>) -> RegistryRecord {
        let deactivated = drain.is_some();
        wrap(Record::AdmittedAgent(AdmittedAgent { info: Some(info(id)), drain, deactivated }))
    }

    fn quota(role: &str, cpus: Option<f64>) -> RegistryRecord {
        let limits = cpus.map(|value| ("cpus".to_string(), v1::value::Scalar { value }));
        wrap(Record::Quota(v1::quota::QuotaConfig {
            role: role.into(),
            limits: limits.into_iter().collect(),
            ..Default::default()
        }))
    }

    #[test]
    fn rule_494_the_newest_record_of_an_agent_decides() {
        let one = AgentId::from("S1");
        let at = Timestamp::from_nanos(7);
        let state = read([admit("S1", None), wrap(unreachable(&one, at, None)), admit("S2", None)]).unwrap();
        assert_eq!(state.unreachable_agents.get("S1"), Some(&at));
        assert_eq!(state.recovered_agents.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["S2"]);

        let state = read([admit("S1", None), wrap(gone(&one, at))]).unwrap();
        assert!(state.recovered_agents.is_empty());
        assert_eq!(state.gone_agents.get("S1"), Some(&at));

        let state = read([wrap(unreachable(&one, at, None)), admit("S1", None)]).unwrap();
        assert!(state.unreachable_agents.is_empty() && state.recovered_agents.contains_key("S1"));

        let state = read([wrap(gone(&one, at)), wrap(forgotten(&one))]).unwrap();
        assert!(state.gone_agents.is_empty());
    }

    #[test]
    fn rule_268_a_drain_survives_unreachability_and_failover() {
        let drain =
            v1::DrainInfo { state: v1::DrainState::Draining.into(), config: v1::DrainConfig::default() };
        let state = read([admit("S1", Some(drain))]).unwrap();
        let one = AgentId::from("S1");
        let kept = state.drains.get(&one);
        assert_eq!(kept.unwrap().info.as_ref(), Some(&drain));
        let state = read([wrap(unreachable(&one, Timestamp::ZERO, kept))]).unwrap();
        assert_eq!(state.drains[&one].info, Some(drain));
    }

    #[test]
    fn rule_140_and_148_quotas_and_weights_come_back() {
        let weight = v1::WeightInfo { weight: 2.5, role: Some("eng".into()) };
        let state = read([quota("eng", Some(2.0)), wrap(Record::Weight(weight))]).unwrap();
        assert!(state.quotas.contains_key("eng"));
        assert_eq!(state.weights.get("eng"), Some(&2.5));
        // rule 134
        let state = read([quota("eng", Some(2.0)), quota("eng", None)]).unwrap();
        assert!(state.quotas.is_empty());
    }

    #[test]
    fn rule_273_machines_are_one_whatever_the_case_of_their_name() {
        let machine = |name: &str, mode: Mode| v1::MachineInfo {
            id: v1::MachineId { hostname: Some(name.into()), ip: None },
            mode: Some(mode.into()),
            unavailability: None,
        };
        let down = wrap(Record::Machine(machine("ONE", Mode::Down)));
        let draining = wrap(Record::Machine(machine("one", Mode::Draining)));
        assert_eq!(key(&down), key(&draining));
        let state = read([draining, down]).unwrap();
        assert_eq!(state.machines.len(), 1);
        assert!(is_down(&state.machines[0]));
    }

    #[test]
    fn rule_496_a_record_of_a_later_version_stops_recovery() {
        assert_eq!(read([RegistryRecord { record: None }]).unwrap_err(), RecoverError::Unknown);
        let state = read([quota("eng", Some(1.0)), admit("S1", Some(v1::DrainInfo::default()))]).unwrap();
        use v1::master_info::capability::Type;
        assert_eq!(minimum_capabilities(&state), [Type::AgentDraining, Type::QuotaV2]);
        assert!(minimum_capabilities(&Snapshot::default()).is_empty());
    }

    #[test]
    fn keys_name_what_a_record_is_about() {
        let one = AgentId::from("S1");
        assert_eq!(key(&admit("S1", None)).as_deref(), Some("agent/S1"));
        assert_eq!(key(&wrap(gone(&one, Timestamp::ZERO))).as_deref(), Some("agent/S1"));
        assert_eq!(key(&wrap(forgotten(&one))).as_deref(), Some("agent/S1"));
        assert!(forgets(&wrap(forgotten(&one))) && !forgets(&admit("S1", None)));
        assert_eq!(key(&quota("eng", None)).as_deref(), Some("quota/eng"));
        assert!(forgets(&quota("eng", None)) && !forgets(&quota("eng", Some(1.0))));
        assert_eq!(key(&RegistryRecord { record: None }), None);
    }

    #[test]
    fn rule_495_resources_are_kept_in_the_old_form() {
        let scalar = |reservations| v1::Resource {
            name: "cpus".into(),
            scalar: Some(v1::value::Scalar { value: 1.0 }),
            reservations,
            ..Default::default()
        };
        let reservation = |role: &str| v1::resource::ReservationInfo {
            r#type: Some(v1::resource::reservation_info::Type::Dynamic.into()),
            role: Some(role.into()),
            ..Default::default()
        };
        let refined = vec![reservation("a"), reservation("a/b")];
        let resources = vec![scalar(Vec::new()), scalar(vec![reservation("a")]), scalar(refined.clone())];
        let Record::AdmittedAgent(kept) = recovered(&v1::AgentInfo { resources, ..info("S1") }, None) else {
            panic!("it stays admitted");
        };
        let resources = kept.info.unwrap().resources;
        #[expect(deprecated, reason = "this is about the old form")]
        let old: Vec<_> = resources.iter().map(|r| (r.role.as_deref(), r.reservation.is_some())).collect();
        assert_eq!(old[..2], [(Some("*"), false), (Some("a"), true)]);
        assert_eq!(resources[2].reservations, refined, "what has no old form stays");
    }

    #[test]
    fn rule_497_what_is_written_out_reads_back_the_same() {
        let all =
            [quota("eng", Some(1.0)), admit("S1", None), wrap(gone(&AgentId::from("S2"), Timestamp::ZERO))];
        let state = read(all.clone()).unwrap();
        let written = records(&state, &v1::MasterInfo::default());
        assert_eq!(written.len(), 1 + all.len());
        for record in all {
            assert!(written.contains(&record));
        }
    }
}
