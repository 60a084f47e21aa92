//! An agent comes for the first time.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_ids::{AgentId, Uuid};
use mezzo_mesos::v1;
use mezzo_protocol::link::{self, AgentDescription};
use mezzo_resources::Resources;

use crate::{
    agents::{Departure, Watch},
    effect::Effect,
    frameworks::to_agent,
    input::LinkId,
    inverse_offers::is_machine,
    master::{Master, Moment},
    metrics::Counter,
    profiles::agent_profile,
    registry,
    state::{Agent, Drain},
    status,
    timers::Timer,
};

/// Admits an agent under an id of its own (rule 238): registry first, then everybody hears of it.
pub(super) fn on_register(
    master: &mut Master,
    moment: &mut Moment<'_>,
    link: LinkId,
    register: link::Register,
) {
    let Some(description) = register.agent else { return master.effects.push(Effect::CloseLink(link)) };
    // The answer may have been slow; the agent asks again over the same link.
    if let Some(id) = master.links.get(&link).cloned() {
        return acknowledge(master, &id, link);
    }
    if is_overtaken(master, link, &description, None) {
        return master.effects.push(Effect::CloseLink(link));
    }
    if refuse(master, link, &description) {
        return;
    }
    replace_neighbour(master, moment, &description, None);
    replace_recovered(master, &description);
    let id = master.mint_agent();
    let Some(agent) = describe(master, moment, &id, description, Drain::default()) else {
        return master.effects.push(Effect::CloseLink(link));
    };
    master.persist(registry::admitted(&agent));
    add_agent(master, moment, &id, agent, link);
    acknowledge(master, &id, link);
    master.count(Counter::AgentRegistrations);
    master.publish_agent_added(&id);
}

/// Whether the agent may not come in: too old, in the wrong domain, or on a machine that is down.
pub(super) fn refuse(master: &mut Master, link: LinkId, description: &AgentDescription) -> bool {
    // Rule 254.
    let major = description.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let too_old = major == Some(0);
    // Rule 256.
    let domain = description.info.as_ref().and_then(|info| info.domain.as_ref());
    let wrong_domain = match domain {
        None => master.config.require_agent_domain,
        Some(_) => master.config.info.domain.is_none(),
    };
    if too_old || wrong_domain {
        master.effects.push(Effect::CloseLink(link));
        return true;
    }
    // Rule 275.
    let hostname = description.info.as_ref().map_or("", |info| info.hostname.as_str());
    let down = master.state.machines.iter().any(|machine| {
        machine.info.mode() == v1::machine_info::Mode::Down
            && is_machine(&machine.info.id, hostname, &description.ip)
    });
    if down {
        shut_down(master, link, "Machine is DOWN");
    }
    down
}

/// Whether the same agent, or one at the same address, has registered over a link that was opened later. An
/// agent opens one link after the other, and speaks only on one that was welcomed, so what comes over an older
/// one was said before: by a process that has died since, or into a network that held it back.
pub(super) fn is_overtaken(
    master: &Master,
    link: LinkId,
    description: &AgentDescription,
    own: Option<&AgentId>,
) -> bool {
    let neighbour = master.addresses.get(&(description.ip.clone(), port_of(description)));
    let mut watches = own.into_iter().chain(neighbour).filter_map(|id| master.watches.get(id));
    watches.any(|watch| link < watch.newest_link)
}

/// Tells an agent to end itself, and closes its link.
pub(super) fn shut_down(master: &mut Master, link: LinkId, message: &str) {
    let shutdown = link::Shutdown { message: message.into() };
    master.effects.push(to_agent(link, link::to_agent::Message::Shutdown(shutdown)));
    master.effects.push(Effect::CloseLink(link));
}

/// An agent that registers at the address of another one has taken its place (rule 251).
pub(super) fn replace_neighbour(
    master: &mut Master,
    moment: &mut Moment<'_>,
    description: &AgentDescription,
    own: Option<&AgentId>,
) {
    let address = (description.ip.clone(), port_of(description));
    if let Some(old) = master.addresses.get(&address).filter(|old| Some(*old) != own).cloned() {
        master.count(Counter::AgentRemovalsRegistered);
        let why = "a new agent registered at the same address";
        master.take_agent_out(moment, &old, Departure::Removed(why));
    }
}

/// The same for agents of an earlier life of the master that have not come back (after rule 251). An agent
/// that registers anew has no tasks of its earlier id; who asks for them need not wait for that id.
fn replace_recovered(master: &mut Master, description: &AgentDescription) {
    let Some(info) = &description.info else { return };
    let is_here = |old: &v1::AgentInfo| old.hostname == info.hostname && old.port() == info.port();
    let recovered = &master.state.recovered_agents;
    let replaced: Vec<AgentId> =
        recovered.iter().filter(|(_, old)| is_here(old)).map(|(id, _)| id.clone()).collect();
    for id in replaced {
        master.count(Counter::AgentRemovalsRegistered);
        master.forget_recovered(&id);
    }
}

fn port_of(description: &AgentDescription) -> u16 {
    u16::try_from(description.port).unwrap_or_default()
}

/// The state of an agent by its own description; nothing runs on it yet. `None` when its resources
/// cannot be read.
pub(super) fn describe(
    master: &mut Master,
    moment: &mut Moment<'_>,
    id: &AgentId,
    description: AgentDescription,
    drain: Drain,
) -> Option<Agent> {
    let port = port_of(&description);
    let mut info = description.info?;
    info.id = Some(status::agent_id(id));
    let mut total = Resources::from_proto(&description.resources).ok()?;
    total += &Resources::from_proto(&description.oversubscribed).ok()?;
    let resource_version =
        Uuid::from_slice(&description.resource_version_uuid).unwrap_or_else(|| moment.uuid());
    let unavailability = master
        .state
        .machines
        .iter()
        .find(|machine| is_machine(&machine.info.id, &info.hostname, &description.ip))
        .and_then(|machine| machine.info.unavailability);
    Some(Agent {
        info: Arc::new(info),
        ip: description.ip,
        port,
        version: description.version,
        capabilities: Arc::new(description.capabilities),
        link: None,
        connected: false,
        active: false,
        deactivated: drain.deactivated,
        drain: drain.info,
        drain_started: drain.started,
        registered: moment.now,
        reregistered: None,
        total: master.alike.share(total),
        resource_version,
        tasks: Arc::default(),
        executors: BTreeMap::new(),
        operations: BTreeMap::new(),
        used: BTreeMap::new(),
        offered: Resources::default(),
        offers: BTreeMap::new(),
        inverse_offers: BTreeMap::new(),
        unavailability,
    })
}

/// Takes an agent with all that runs on it into the state, connected.
pub(super) fn add_agent(
    master: &mut Master,
    moment: &Moment<'_>,
    id: &AgentId,
    mut agent: Agent,
    link: LinkId,
) {
    agent.link = Some(link);
    agent.connected = true;
    agent.active = !agent.deactivated;
    let active = agent.active;
    let used = agent.used.iter().map(|(framework, used)| (framework, &**used));
    master.allocator.add_agent(id, agent_profile(&agent), used);
    if !active {
        master.allocator.deactivate_agent(id);
    }
    master.addresses.insert((agent.ip.clone(), agent.port), id.clone());
    master.links.insert(link, id.clone());
    master.state.recovered_agents.remove(id);
    master.state.unreachable_agents.remove(id);
    master.state.drains.remove(id);
    master.state.agents.insert(id.clone(), Arc::new(agent));
    master.note_agent(id);
    master.note_agent_forgotten(id);
    let next_ping = moment.now + master.config.agent_ping_timeout;
    master.watches.insert(id.clone(), Watch::new(next_ping, link));
    master.wake_at(next_ping, Timer::Ping(id.clone()));
}

/// Tells the agent its id and how long the master may be silent (rule 257).
pub(super) fn acknowledge(master: &mut Master, id: &AgentId, link: LinkId) {
    let total = master.config.agent_ping_timeout * master.config.agent_ping_timeouts_max;
    let registered = link::Registered {
        agent_id: Some(status::agent_id(id)),
        ping_timeout_nanos: u64::try_from(total.as_nanos()).unwrap_or(u64::MAX),
        master: Some(master.config.info.clone()),
    };
    master.effects.push(to_agent(link, link::to_agent::Message::Registered(Box::new(registered))));
}
