//! DRAIN_AGENT, DEACTIVATE_AGENT, REACTIVATE_AGENT and MARK_AGENT_GONE.

use mezzo_ids::AgentId;
use mezzo_mesos::v1::{
    self, DrainConfig, DrainInfo, DrainState, agent_info::capability::Type as AgentCapability, master::call,
};
use mezzo_protocol::link;

use super::Served;
use crate::{
    agents::check_drained,
    effect::Answer,
    frameworks::to_agent,
    inverse_offers::is_machine,
    master::{Master, Moment},
    registry,
    state::{Agent, Drain},
};

fn bad<T>(text: impl Into<String>) -> Result<T, Answer> {
    Err(Answer::BadRequest(text.into()))
}

/// The agent is known and not gone.
fn known(master: &Master, id: &v1::AgentId) -> Result<AgentId, Answer> {
    let id = AgentId::from(id.value.as_str());
    let state = &master.state;
    if state.agents.contains_key(&id)
        || state.recovered_agents.contains_key(&id)
        || state.unreachable_agents.contains_key(&id)
    {
        return Ok(id);
    }
    bad("Unknown agent")
}

/// No more offers, and every task is killed; then the agent is drained (rules 260, 264, 265).
pub(super) fn on_drain(master: &mut Master, moment: &mut Moment<'_>, call: &call::DrainAgent) -> Served {
    let id = known(master, &call.agent_id)?;
    if let Some(agent) = master.state.agents.get(&id) {
        if !agent.is_capable(AgentCapability::AgentDraining) {
            return bad(format!("Agent {id} is not capable of draining"));
        }
        let scheduled = |machine: &v1::MachineId| is_machine(machine, &agent.info.hostname, &agent.ip);
        if master.state.machines.iter().any(|machine| scheduled(&machine.info.id)) {
            return bad(format!("Agent {id} is part of a maintenance schedule"));
        }
    }
    let config = DrainConfig {
        max_grace_period: call.max_grace_period.map(|period| v1::DurationInfo {
            nanoseconds: period.seconds.saturating_mul(1_000_000_000).saturating_add(period.nanos.into()),
        }),
        mark_gone: Some(call.mark_gone()),
    };
    if config.max_grace_period.is_some_and(|period| period.nanoseconds < 0) {
        return bad("'max_grace_period' must not be negative");
    }
    let info = DrainInfo { state: DrainState::Draining.into(), config };
    let started = moment.now;
    decide(master, &id, |drain| {
        *drain = Drain { info: Some(info), deactivated: true, started: Some(started) }
    });
    stop_offers(master, moment, &id);
    if let Some(agent) = master.state.agents.get(&id) {
        if let Some(link) = agent.link {
            let message = link::to_agent::Message::Drain(link::Drain { config: Some(config) });
            master.effects.push(to_agent(link, message));
        }
        check_drained(master, moment, &id);
    }
    Ok(Answer::Ok)
}

/// No more offers; tasks go on (rule 266).
pub(super) fn on_deactivate(master: &mut Master, moment: &Moment<'_>, id: &v1::AgentId) -> Served {
    let id = known(master, id)?;
    decide(master, &id, |drain| drain.deactivated = true);
    stop_offers(master, moment, &id);
    Ok(Answer::Ok)
}

/// Offers again, and the drain is forgotten (rule 267).
pub(super) fn on_reactivate(master: &mut Master, id: &v1::AgentId) -> Served {
    let id = known(master, id)?;
    let kept = kept(master, &id);
    if !kept.deactivated {
        return bad(format!("Agent {id} is not deactivated"));
    }
    if kept.info.as_ref().is_some_and(|drain| drain.state() == DrainState::Draining) {
        return bad(format!("Agent {id} is still in the DRAINING state"));
    }
    decide(master, &id, |drain| *drain = Drain::default());
    if let Some(agent) = master.agent_mut(&id)
        && agent.connected
    {
        agent.active = true;
        let link = agent.link.filter(|_| kept.info.is_some());
        if let Some(link) = link {
            let over = link::to_agent::Message::Drain(link::Drain { config: None });
            master.effects.push(to_agent(link, over));
        }
        master.allocator.activate_agent(&id);
    }
    Ok(Answer::Ok)
}

/// Rules 258 and 259. There is no registry change to wait for: the state changes at once.
pub(super) fn on_mark_gone(master: &mut Master, moment: &mut Moment<'_>, id: &v1::AgentId) -> Served {
    let id = AgentId::from(id.value.as_str());
    if master.mark_agent_gone(moment, &id) {
        return Ok(Answer::Ok);
    }
    Err(Answer::NotFound(format!("Agent '{id}' not found")))
}

/// What was decided about an agent, registered or not.
fn kept(master: &Master, id: &AgentId) -> Drain {
    match master.state.agents.get(id) {
        Some(agent) => of_agent(agent),
        None => master.state.drains.get(id).cloned().unwrap_or_default(),
    }
}

fn of_agent(agent: &Agent) -> Drain {
    Drain { info: agent.drain, deactivated: agent.deactivated, started: agent.drain_started }
}

/// Changes what is decided about an agent, and writes it down (rule 268).
fn decide(master: &mut Master, id: &AgentId, change: impl FnOnce(&mut Drain)) {
    let mut drain = kept(master, id);
    change(&mut drain);
    let record = if let Some(agent) = master.agent_mut(id) {
        agent.drain = drain.info;
        agent.deactivated = drain.deactivated;
        agent.drain_started = drain.started;
        registry::admitted(agent)
    } else {
        let record = match master.state.recovered_agents.get(id) {
            Some(info) => registry::recovered(info, Some(&drain)),
            None => {
                let since = master.state.unreachable_agents.get(id).copied().unwrap_or_default();
                registry::unreachable(id, since, Some(&drain))
            }
        };
        if drain.deactivated {
            master.state.drains.insert(id.clone(), drain);
        } else {
            master.state.drains.remove(id);
        }
        record
    };
    master.persist(record);
}

fn stop_offers(master: &mut Master, moment: &Moment<'_>, id: &AgentId) {
    let Some(agent) = master.agent_mut(id) else { return };
    agent.active = false;
    master.allocator.deactivate_agent(id);
    master.rescind_agent_offers(moment, id);
    master.remove_inverse_offers(id, true);
}
