//! Finding and keeping a master: registration, its back-off, and pings (rules 239, 257, 413, 421).

use std::{sync::Arc, time::Duration};

use mezzo_ids::AgentId;
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{AgentDescription, Ping, Pong, Register, Registered, Reregister, to_master},
    records::{AgentIdentity, ExecutorKind, agent_record::Record},
};
use mezzo_time::Timestamp;

use crate::{
    agent::{Agent, Moment},
    config::{self, PING_TIMEOUT_DEFAULT, REGISTRATION_BACKOFF_MAX},
    effect::Effect,
    query,
    state::Phase,
    timers::Timer,
};

/// Where the agent stands with its master.
#[derive(Debug)]
pub(crate) struct Link {
    /// A session is up, or may be resumed.
    session: bool,
    /// The connection of the session is there.
    up: bool,
    /// The master has taken this agent in within this session.
    accepted: bool,
    /// Executors of the earlier life still have time to come back.
    pub(crate) held: bool,
    /// The next attempt draws its wait from below this.
    backoff: Duration,
    register_at: Option<Timestamp>,
    ping_timeout: Duration,
    ping_deadline: Option<Timestamp>,
    /// The description differs from the one the id was given for (rule 420).
    pub(crate) info_changed: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            session: false,
            up: false,
            accepted: false,
            held: false,
            backoff: Duration::ZERO,
            register_at: None,
            ping_timeout: PING_TIMEOUT_DEFAULT,
            ping_deadline: None,
            info_changed: false,
        }
    }
}

impl Agent {
    pub(crate) fn on_link_up(&mut self, m: &mut Moment<'_>) {
        self.link.session = true;
        self.link.up = true;
        self.link.accepted = false;
        self.state.registered = false;
        self.link.backoff = self.state.config.registration_backoff_factor;
        if !self.link.held {
            self.schedule_registration(m);
        }
    }

    pub(crate) fn on_link_down(&mut self) {
        self.link.up = false;
        self.state.registered = false;
        self.clear_registration();
        self.clear_ping();
    }

    /// Everything sent before the break arrives; what was held back meanwhile goes out.
    pub(crate) fn on_link_resumed(&mut self, m: &mut Moment<'_>) {
        self.link.up = true;
        if !self.link.session || !self.link.accepted {
            return self.on_link_up(m);
        }
        self.state.registered = true;
        self.arm_ping(m);
        self.resend_all(m);
    }

    /// The executors of the earlier life had their time; register if a master is there (rule 413).
    pub(crate) fn release_registration(&mut self, m: &mut Moment<'_>) {
        self.link.held = false;
        if self.link.up && !self.state.registered {
            self.schedule_registration(m);
        }
    }

    fn schedule_registration(&mut self, m: &mut Moment<'_>) {
        self.clear_registration();
        let limit = u64::try_from(self.link.backoff.as_nanos()).unwrap_or(u64::MAX);
        let wait = if limit == 0 { 0 } else { m.rng.next_u64() % limit };
        let at = m.now + Duration::from_nanos(wait);
        self.link.register_at = Some(at);
        self.timers.set(at, Timer::Register);
    }

    fn clear_registration(&mut self) {
        if let Some(at) = self.link.register_at.take() {
            self.timers.clear(at, Timer::Register);
        }
    }

    pub(crate) fn register(&mut self, m: &mut Moment<'_>) {
        self.link.register_at = None;
        if !self.link.up || self.link.held || self.state.registered || self.leaving.is_some() {
            return;
        }
        let agent = Some(self.description());
        if self.state.id.is_none() {
            self.tell(to_master::Message::Register(Register { agent }));
        } else {
            let frameworks = self.state.frameworks.values().map(|f| (*f.info).clone()).collect();
            let executors = self
                .state
                .frameworks
                .values()
                .flat_map(|f| f.executors.values())
                .filter(|e| e.kind != ExecutorKind::Command && e.phase != Phase::Terminated)
                .map(|e| query::executor_info(e))
                .collect();
            let tasks = self
                .state
                .frameworks
                .values()
                .flat_map(|f| f.executors.values())
                .flat_map(|e| e.tasks.values().map(|t| query::task(&self.state, e, t)))
                .chain(self.ended_elsewhere())
                .collect();
            let message = Reregister { agent, frameworks, executors, tasks };
            self.tell(to_master::Message::Reregister(message));
        }
        self.link.backoff = (self.link.backoff * 2).clamp(Duration::from_millis(1), REGISTRATION_BACKOFF_MAX);
        // The answer may be lost with its master, so wait at least one whole factor.
        let at = m.now + self.link.backoff.max(self.state.config.registration_backoff_factor);
        self.link.register_at = Some(at);
        self.timers.set(at, Timer::Register);
    }

    fn description(&self) -> AgentDescription {
        let config = &self.state.config;
        AgentDescription {
            info: Some((*self.state.info).clone()),
            ip: config.ip.clone(),
            port: u32::from(config.port),
            version: config.version.clone(),
            capabilities: config::capabilities(),
            resources: (*self.state.total).clone(),
            resource_version_uuid: self.resource_version.to_vec(),
            operations: self.state.operations.values().map(|o| (**o).clone()).collect(),
            oversubscribed: Vec::new(),
            drain_config: self.state.drain.as_ref().map(|d| d.config),
        }
    }

    pub(crate) fn on_registered(&mut self, m: &mut Moment<'_>, registered: Registered) {
        let Some(id) = registered.agent_id.map(|id| AgentId::from(id.value)) else { return };
        if let Some(own) = &self.state.id
            && *own != id
        {
            let message = format!("The master knows this agent as {id} although it is {own}");
            self.effects.push(Effect::Exit { status: 1, message });
            return;
        }
        if self.link.info_changed && !updates_agents(registered.master.as_ref()) {
            let message = "The agent's description has changed, and the master cannot take a changed one. \
                           Upgrade the master first, or restore the old description"
                .to_owned();
            self.effects.push(Effect::Exit { status: 1, message });
            return;
        }
        let fresh = self.state.id.is_none();
        if fresh {
            self.state.id = Some(id.clone());
            let mut info = (*self.state.info).clone();
            info.id = Some(v1::AgentId { value: id.as_str().into() });
            self.state.info = Arc::new(info);
        }
        if fresh || self.link.info_changed {
            self.link.info_changed = false;
            let identity = AgentIdentity {
                info: Some((*self.state.info).clone()),
                boot_id: self.state.config.boot_id.clone(),
            };
            self.persist(Record::Identity(identity));
        }
        self.state.registered = true;
        self.link.accepted = true;
        self.state.master = registered.master.map(Arc::new);
        if registered.ping_timeout_nanos > 0 {
            self.link.ping_timeout = Duration::from_nanos(registered.ping_timeout_nanos);
        }
        self.clear_registration();
        self.arm_ping(m);
        self.resend_all(m);
        self.resend_operations(m);
    }

    pub(crate) fn on_ping(&mut self, m: &mut Moment<'_>, ping: Ping) {
        self.tell(to_master::Message::Pong(Pong {}));
        if self.state.registered {
            self.arm_ping(m);
            if !ping.connected {
                // The master believes this agent was away, so it has to be told everything again.
                self.state.registered = false;
                self.link.accepted = false;
                self.register(m);
            }
        }
    }

    fn arm_ping(&mut self, m: &Moment<'_>) {
        self.clear_ping();
        let at = m.now + self.link.ping_timeout;
        self.link.ping_deadline = Some(at);
        self.timers.set(at, Timer::PingTimeout);
    }

    fn clear_ping(&mut self) {
        if let Some(at) = self.link.ping_deadline.take() {
            self.timers.clear(at, Timer::PingTimeout);
        }
    }

    pub(crate) fn on_ping_timeout(&mut self, at: Timestamp) {
        if self.link.ping_deadline != Some(at) {
            return;
        }
        self.link = Link { held: self.link.held, info_changed: self.link.info_changed, ..Link::default() };
        self.state.registered = false;
        self.effects.push(Effect::Reconnect);
    }
}

fn updates_agents(master: Option<&v1::MasterInfo>) -> bool {
    let update = v1::master_info::capability::Type::AgentUpdate as i32;
    master.is_some_and(|m| m.capabilities.iter().any(|c| c.r#type == Some(update)))
}
