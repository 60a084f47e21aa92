//! One agent's process: the real core, driven as the daemon drives it.

mod checks;
pub(crate) mod link;
pub(crate) mod machine;

use std::{collections::BTreeMap, time::Duration};

use mezzo_agent::{Agent, CheckId, Config, Effect, FoundContainer, FoundState, Input, LegacyNames};
use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use mezzo_protocol::records::{AcknowledgedRecord, AgentRecord, agent_record::Record};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use self::{
    link::AgentLink,
    machine::{Machine, State},
};
use crate::{
    clock::Clock,
    event::Event,
    line::{Line, Next},
    queue::Nanos,
    random::{Actor, Draw, source},
    setup::{Amounts, NodeGroup, Setup},
    world::{MILLI, SECOND, World},
};

/// Whoever watches over daemons starts one again that ended by itself, after this.
pub(crate) const RESTART: Nanos = 5 * SECOND;
/// Records of a log that is not worth rewriting.
const LOG_MIN: usize = 256;

/// A disk with one log.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What survives.
    pub(crate) log: Vec<AgentRecord>,
    compact_above: usize,
    pub(crate) full_until: Nanos,
    pub(crate) slow: (Nanos, Nanos),
}

/// A machine with an agent.
pub(crate) struct AgentHost {
    pub(crate) config: Config,
    pub(crate) core: Option<Box<Agent>>,
    /// Counts processes; what was planned for an earlier one is over.
    pub(crate) life: u32,
    rng: ChaCha8Rng,
    pub(crate) machine: Machine,
    line: Line<Effect>,
    /// Checks that the process makes, of which container and how often.
    checks: BTreeMap<CheckId, (ContainerId, Duration)>,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) paused_until: Nanos,
    wake: Option<Nanos>,
    pub(crate) link: AgentLink,
    boot: u32,
    /// The machine itself is off.
    pub(crate) is_off: bool,
}

impl AgentHost {
    /// A second pause within the first is part of it: what was held up would lose its order otherwise.
    pub(crate) fn pause(&mut self, now: Nanos, until: Nanos) {
        if self.paused_until <= now {
            self.paused_until = until;
        }
    }

    /// A wake-up came while the process stood still.
    pub(crate) fn forget_wake(&mut self) {
        self.wake = None;
    }

    pub(crate) fn new(setup: &Setup, index: usize, group: &NodeGroup, number: usize) -> Self {
        Self {
            config: config(index, group, number),
            core: None,
            life: 0,
            rng: source(setup.seed, Actor::Agent(index)),
            machine: Machine::new(source(setup.seed, Actor::Machine(index))),
            line: Line::default(),
            checks: BTreeMap::new(),
            disk: Disk { compact_above: LOG_MIN, ..Disk::default() },
            clock: Clock::default(),
            paused_until: 0,
            wake: None,
            link: AgentLink::default(),
            boot: 0,
            is_off: false,
        }
    }

    /// Whether a start that was planned in this life is still wanted.
    pub(crate) fn may_start(&self, life: u32) -> bool {
        self.life == life && self.core.is_none()
    }
}

fn config(index: usize, group: &NodeGroup, number: usize) -> Config {
    let hostname = format!("{}-{number}", group.name);
    let ip = format!("10.{}.{}.{}", index >> 16 & 255, index >> 8 & 255, index & 255);
    let attributes = group.attributes.iter().map(|(name, text)| v1::Attribute {
        name: name.clone(),
        r#type: v1::value::Type::Text as i32,
        text: Some(v1::value::Text { value: text.clone() }),
        ..Default::default()
    });
    let domain = group.domain.as_ref().map(|(region, zone)| v1::DomainInfo {
        fault_domain: Some(v1::domain_info::FaultDomain {
            region: v1::domain_info::fault_domain::RegionInfo { name: region.clone() },
            zone: v1::domain_info::fault_domain::ZoneInfo { name: zone.clone() },
        }),
    });
    Config {
        info: v1::AgentInfo {
            hostname,
            port: Some(5051),
            resources: resources(&group.resources),
            attributes: attributes.collect(),
            domain,
            ..Default::default()
        },
        ip: ip.clone(),
        port: 5051,
        version: "1.11.0".into(),
        work_dir: "/w".into(),
        sandbox_root: "/w/s".into(),
        boot_id: "boot-0".into(),
        launcher_dir: "/l".into(),
        legacy: LegacyNames {
            agent_id_variable: "AGENT_ID".into(),
            agent_pid_variable: "AGENT_PID".into(),
            agent_pid: format!("agent(1)@{ip}:5051"),
        },
        executor_environment: Vec::new(),
        executor_registration_timeout: Duration::from_secs(60),
        executor_reregistration_timeout: Duration::from_secs(2),
        executor_shutdown_grace_period: Duration::from_secs(5),
        recovery_timeout: Duration::from_secs(900),
        registration_backoff_factor: Duration::from_secs(1),
        reconfiguration_policy: Default::default(),
        recover: Default::default(),
        gc_delay: Duration::from_secs(3600),
        gc_disk_headroom: 0.1,
        disk_watch_interval: Duration::from_secs(600),
        completed_executors_max: 2,
        switch_user: false,
        default_container_info: None,
        limits_enforced: true,
    }
}

fn record(effect: &Effect) -> Option<&AgentRecord> {
    match effect {
        Effect::Persist(record) => Some(record),
        _ => None,
    }
}

fn acknowledgement(record: &AgentRecord) -> Option<&AcknowledgedRecord> {
    match &record.record {
        Some(Record::Acknowledged(record)) => Some(record),
        _ => None,
    }
}

/// Amounts as messages.
pub(crate) fn resources(amounts: &Amounts) -> Vec<v1::Resource> {
    amounts
        .named()
        .map(|(name, value)| v1::Resource {
            name: name.into(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value }),
            ..Default::default()
        })
        .collect()
}

impl World<'_> {
    /// Starts the process on what its disk and machine have.
    pub(crate) fn agent_start(&mut self, agent: usize) {
        let now = self.now;
        let host = &mut self.agents[agent];
        host.is_off = false;
        host.config.boot_id = format!("boot-{}", host.boot);
        let found = host.machine.containers.iter().filter_map(|(id, container)| {
            let state = match container.state {
                State::Starting => return None,
                State::Running => FoundState::Running(container.pid),
                State::Ended(status) => FoundState::Ended(Some(status)),
            };
            Some(FoundContainer { id: id.clone(), state })
        });
        let found = found.collect();
        host.clock.start(now);
        let clock = host.clock.at(now);
        let log = host.disk.log.clone();
        match Agent::recover(host.config.clone(), log, found, clock, &mut host.rng) {
            Ok(recovered) => {
                host.core = Some(Box::new(recovered.agent));
                self.log(|| format!("agent {agent} starts"));
                self.agent_take(agent, recovered.effects);
                self.agent_arm(agent);
                self.agent_connect(agent);
            }
            Err(error) => self.violate("agents start again", format!("agent {agent}: {error}")),
        }
    }

    /// The process is gone from one moment to the next. What was not synced survives up to some point.
    pub(crate) fn agent_crash(&mut self, agent: usize, down: Nanos) {
        self.agent_stop(agent);
        let host = &mut self.agents[agent];
        let life = host.life;
        self.queue.push(self.now + down, Event::AgentStart { agent: agent as u32, life });
    }

    fn agent_stop(&mut self, agent: usize) {
        let host = &mut self.agents[agent];
        host.life += 1;
        host.core = None;
        host.checks.clear();
        let covered = host.line.end().into_iter();
        let unsynced: Vec<_> = covered.filter_map(|effect| record(&effect).cloned()).collect();
        host.wake = None;
        host.paused_until = 0;
        // The last record may be torn, which is cut off when the log is opened.
        let kept = self.disk_rng.index(unsynced.len() + 1);
        self.checks.on_records(agent, &unsynced[..kept]);
        unsynced[..kept].iter().filter_map(acknowledgement).for_each(|it| self.checks.on_acknowledged(it));
        self.agents[agent].disk.log.extend(unsynced.into_iter().take(kept));
        let host = &mut self.agents[agent];
        // The launcher ends with the agent; what it had begun may still come to life.
        let all = host.machine.containers.iter();
        let starting = all.filter(|(_, c)| c.state == State::Starting).map(|(id, _)| id.clone());
        let starting: Vec<_> = starting.collect();
        for id in starting {
            if self.agents[agent].machine.rng.percent(50) {
                self.container_runs(agent, &id);
            } else {
                self.agents[agent].machine.containers.remove(&id);
            }
        }
        self.agent_link_dies(agent, true);
    }

    /// The machine restarts: nothing runs any more, and nobody at the other end hears of it.
    pub(crate) fn agent_reboot(&mut self, agent: usize, down: Nanos, wiped: bool) {
        self.agents[agent].is_off = true;
        self.agent_stop(agent);
        for id in self.agents[agent].machine.containers.keys().cloned().collect::<Vec<_>>() {
            self.container_vanishes(agent, &id);
        }
        let host = &mut self.agents[agent];
        host.boot += 1;
        if wiped {
            host.disk.log.clear();
            host.disk.compact_above = LOG_MIN;
        }
        let life = host.life;
        self.queue.push(self.now + down, Event::AgentStart { agent: agent as u32, life });
    }

    pub(crate) fn agent_step(&mut self, agent: usize, input: Input) {
        let now = self.now;
        let host = &mut self.agents[agent];
        let clock = host.clock.at(now);
        let Some(core) = host.core.as_mut() else { return };
        let effects = core.step(clock, &mut host.rng, input);
        if !effects.is_empty() {
            self.agent_take(agent, effects);
        }
        self.agent_arm(agent);
    }

    /// Gives the process an input that comes from its own machine, behind what it is doing.
    pub(crate) fn agent_hears(&mut self, agent: usize, after: Nanos, input: Input) {
        let host = &self.agents[agent];
        if host.core.is_some() {
            let (agent, life) = (agent as u32, host.life);
            self.queue.push(self.now + after, Event::AgentInput { agent, life, input: Box::new(input) });
        }
    }

    pub(crate) fn agent_arm(&mut self, agent: usize) {
        let host = &mut self.agents[agent];
        let Some(due) = host.core.as_ref().and_then(|core| core.next_deadline()) else { return };
        let at = host.clock.due(self.now, due);
        if host.wake.is_none_or(|wake| at < wake) {
            host.wake = Some(at);
            self.queue.push(at, Event::AgentWake(agent as u32));
        }
    }

    pub(crate) fn on_agent_wake(&mut self, agent: usize) {
        let now = self.now;
        let host = &mut self.agents[agent];
        if host.wake != Some(now) {
            return;
        }
        host.wake = None;
        let clock = host.clock.at(now);
        let due = host.core.as_ref().and_then(|core| core.next_deadline());
        if due.is_some_and(|due| due <= clock) {
            self.agent_step(agent, Input::Timer);
        } else {
            self.agent_arm(agent);
        }
    }

    fn agent_take(&mut self, agent: usize, effects: Vec<Effect>) {
        self.agents[agent].line.extend(effects);
        self.agent_perform(agent);
    }

    /// Performs what waits for no record, and begins the next write.
    fn agent_perform(&mut self, agent: usize) {
        loop {
            let host = &mut self.agents[agent];
            match host.line.next(|effect| matches!(effect, Effect::Persist(_))) {
                Next::Nothing => break,
                Next::Perform(effect) => self.perform_agent(agent, effect),
                Next::Write => {
                    let disk = &host.disk;
                    if disk.full_until > self.now {
                        self.log(|| format!("agent {agent} cannot write its log and ends"));
                        return self.agent_crash(agent, RESTART);
                    }
                    let mut sync = crate::network::draw(&mut self.disk_rng, self.setup.sync);
                    if disk.slow.1 > self.now {
                        sync = sync.max(disk.slow.0);
                    }
                    let (agent, life) = (agent as u32, host.life);
                    self.queue.push(self.now + sync, Event::AgentSynced { agent, life });
                    break;
                }
            }
        }
    }

    pub(crate) fn on_agent_synced(&mut self, agent: usize) {
        let effects = self.agents[agent].line.written();
        self.checks.on_records(agent, effects.iter().filter_map(record));
        let life = self.agents[agent].life;
        for effect in effects {
            match effect {
                Effect::Persist(record) => {
                    if let Some(acknowledged) = acknowledgement(&record) {
                        self.checks.on_acknowledged(acknowledged);
                    }
                    if self.keeps_logs {
                        self.agents[agent].disk.log.push(*record);
                    }
                }
                // What was decided before the process ended is on disk, but nobody performs it.
                _ if self.agents[agent].life != life => {}
                effect => self.perform_agent(agent, effect),
            }
        }
        if self.agents[agent].life != life {
            return;
        }
        self.agent_perform(agent);
        let host = &mut self.agents[agent];
        if host.disk.log.len() > host.disk.compact_above
            && host.line.is_empty()
            && let Some(core) = &host.core
        {
            host.disk.log = core.records();
            host.disk.compact_above = (host.disk.log.len() * 4).max(LOG_MIN);
        }
    }

    fn perform_agent(&mut self, agent: usize, effect: Effect) {
        match effect {
            Effect::ToMaster(message) => self.agent_sends(agent, message),
            Effect::Reconnect => self.agent_reconnects(agent),
            Effect::Launch(spec) => self.machine_launch(agent, *spec),
            Effect::Signal { container, signal } => self.machine_signal(agent, &container, signal),
            Effect::Destroy(container) => self.machine_destroy(agent, &container),
            Effect::Remove { container, .. } => self.machine_remove(agent, &container),
            Effect::DeleteSandbox(path) => self.agent_hears(agent, MILLI, Input::SandboxDeleted(path)),
            Effect::MeasureDisk => self.agent_hears(agent, MILLI, Input::DiskUsage(0.1)),
            Effect::Exit { status, message } => {
                self.log(|| format!("agent {agent} exits with {status}: {message}"));
                self.agent_crash(agent, RESTART);
            }
            Effect::StartCheck { check, container, spec } => {
                self.agent_check_starts(agent, check, container, &spec);
            }
            Effect::StopCheck(check) => {
                self.agents[agent].checks.remove(&check);
            }
            // Records are written already; executors of their own, files and volumes are not played.
            Effect::Persist(_)
            | Effect::Event { .. }
            | Effect::CloseStream(_)
            | Effect::Answer { .. }
            | Effect::Update { .. }
            | Effect::Attach { .. }
            | Effect::Detach { .. }
            | Effect::Link { .. }
            | Effect::Volume { .. } => {}
        }
    }

    /// What the agent's core believes, for the look at the end.
    pub(crate) fn agent_state(&self, agent: usize) -> Option<&mezzo_agent::Snapshot> {
        self.agents[agent].core.as_ref().map(|core| core.state())
    }
}

/// A source for what is drawn outside of any core.
pub(crate) fn session_id(rng: &mut impl Rng) -> [u8; 16] {
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    id
}
