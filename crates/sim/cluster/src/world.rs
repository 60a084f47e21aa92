//! The world: what happens next, and to whom.

use std::{collections::BTreeMap, time::Duration};

use rand_chacha::ChaCha8Rng;

use crate::{
    agent::AgentHost,
    checks::Checks,
    event::{Event, Packet, Side},
    master::{MasterHost, streams::Stream},
    network::Network,
    operator::Departing,
    outcome::{Blind, Observer, Outcome, Violation},
    queue::{Nanos, Queue},
    random::{Actor, mix, source},
    scheduler::Scheduler,
    services::ServicesHost,
    setup::Setup,
};

/// When simulations begin, in nanoseconds since the Unix epoch: some day in November 2023.
pub(crate) const EPOCH: Nanos = 1_700_000_000 * SECOND;
pub(crate) const SECOND: Nanos = 1_000_000_000;
pub(crate) const MILLI: Nanos = 1_000_000;
/// Between two looks whether everything has settled.
const LOOK_EVERY: Nanos = SECOND;
/// Events between two times an observer is asked whether to go on: a large cluster may take milliseconds for
/// one, and who presses Ctrl-C should not have to wait.
const ASK_EVERY: u64 = 256;
/// Things that are missing are told up to here.
const TOLD_MAX: usize = 12;

/// For times that a person wrote; later than anything when there are too many of them.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    // Half of the range leaves room for adding.
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX).min(Nanos::MAX / 4)
}

pub(crate) fn duration(at: Nanos) -> Duration {
    Duration::from_nanos(at.max(0).unsigned_abs())
}

/// One connection between an agent and the master.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) agent: u32,
    pub(crate) link: Option<mezzo_master::LinkId>,
    pub(crate) agent_open: bool,
    pub(crate) master_open: bool,
    /// When the last packet arrives, to the agent and to the master.
    pub(crate) clear: [Nanos; 2],
}

/// A cluster in virtual time.
pub struct World<'o> {
    pub(crate) setup: Setup,
    pub(crate) now: Nanos,
    pub(crate) queue: Queue<Event>,
    pub(crate) net: Network,
    pub(crate) disk_rng: ChaCha8Rng,
    pub(crate) conns: Vec<Conn>,
    pub(crate) agents: Vec<AgentHost>,
    pub(crate) master: MasterHost,
    pub(crate) schedulers: Vec<Scheduler>,
    pub(crate) services: Option<Box<ServicesHost>>,
    pub(crate) streams: BTreeMap<u64, Stream>,
    pub(crate) checks: Checks,
    /// Whether an agent ever reads its log again.
    pub(crate) keeps_logs: bool,
    pub(crate) observer: &'o mut dyn Observer,
    pub(crate) is_logging: bool,
    minted: u64,
    pub(crate) outcome: Outcome,
    is_stopped: bool,
    /// By fault: agents that an operator wants to be marked gone, until the master knows.
    pub(crate) departing: BTreeMap<usize, Departing>,
    /// Ends that a planted mistake hides from the master, by the id of their update.
    pub(crate) spoiled: BTreeMap<Vec<u8>, i32>,
}

/// Runs a setup to its end.
pub fn run(setup: Setup) -> Outcome {
    run_watched(setup, &mut Blind)
}

/// Runs a setup to its end, while somebody looks on.
pub fn run_watched(setup: Setup, observer: &mut dyn Observer) -> Outcome {
    World::new(setup, observer).run()
}

impl<'o> World<'o> {
    /// The cluster before anything has happened.
    pub fn new(setup: Setup, observer: &'o mut dyn Observer) -> Self {
        let mut agents = Vec::with_capacity(setup.agents());
        for group in &setup.nodes {
            for number in 0..group.count {
                agents.push(AgentHost::new(&setup, agents.len(), group, number));
            }
        }
        let schedulers = (0..setup.frameworks.len()).map(|number| Scheduler::new(&setup, number)).collect();
        let is_logging = observer.wants_lines();
        let mut world = Self {
            now: 0,
            queue: Queue::new(),
            net: Network::new(&setup),
            disk_rng: source(setup.seed, Actor::Disk),
            conns: Vec::new(),
            agents,
            master: MasterHost::new(&setup),
            schedulers,
            services: setup.services.as_ref().map(|own| Box::new(ServicesHost::new(&setup, own))),
            streams: BTreeMap::new(),
            checks: Checks::new(&setup),
            keeps_logs: setup.faults.iter().any(|fault| fault.kind.ends_agents()),
            observer,
            is_logging,
            minted: 0,
            outcome: Outcome::default(),
            is_stopped: false,
            departing: BTreeMap::new(),
            spoiled: BTreeMap::new(),
            setup,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        self.queue.push(0, Event::MasterStart { life: 0 });
        for agent in 0..self.agents.len() {
            // Machines are switched on one after the other within a second.
            let at = SECOND / 10 + (agent as Nanos * SECOND) / (self.agents.len() as Nanos).max(1);
            self.queue.push(at, Event::AgentStart { agent: agent as u32, life: 0 });
        }
        for scheduler in 0..self.schedulers.len() {
            self.scheduler_arm(scheduler);
        }
        self.services_plan();
        for (number, fault) in self.setup.faults.iter().enumerate() {
            let at = MILLI * Nanos::try_from(fault.at_ms).unwrap_or(Nanos::MAX / MILLI / 4);
            self.queue.push(at, Event::Fault(number as u32));
        }
        if !self.setup.sample_every.is_zero() {
            self.queue.push(0, Event::Sample);
        }
        self.queue.push(nanos(self.setup.load), Event::Look);
    }

    /// Runs to the end.
    pub fn run(mut self) -> Outcome {
        let end = nanos(self.setup.load) + nanos(self.setup.settle);
        while let Some((at, event)) = self.queue.pop() {
            if at > end || self.is_stopped || !self.outcome.violations.is_empty() {
                break;
            }
            self.now = at;
            self.outcome.events += 1;
            self.outcome.hash = mix(self.outcome.hash ^ mix(at.unsigned_abs()) ^ event.key());
            if self.outcome.events.is_multiple_of(ASK_EVERY)
                && !self.observer.goes_on(duration(at), self.outcome.events)
            {
                break;
            }
            self.happen(event);
        }
        self.finish(end)
    }

    fn finish(mut self, end: Nanos) -> Outcome {
        let expects = !self.setup.settle.is_zero() && self.outcome.violations.is_empty();
        if expects && !self.outcome.settled && self.now >= end - 2 * LOOK_EVERY {
            if let Some((rule, missing)) = self.unsettled() {
                self.violate(rule, missing.into_iter().take(TOLD_MAX).collect::<Vec<_>>().join("; "));
            }
            // What waits for resources may wait for those that were lost.
            let miscounted = self.miscounted();
            if !miscounted.is_empty() {
                self.violate("resources sum up", miscounted.join("; "));
            }
        }
        self.outcome.lasted = duration(self.now);
        self.close_books();
        self.outcome
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.held_up(event) else { return };
        match event {
            Event::AgentWake(agent) => self.on_agent_wake(agent as usize),
            Event::AgentStart { agent, life } if self.agents[agent as usize].may_start(life) => {
                self.agent_start(agent as usize);
            }
            Event::AgentSynced { agent, life } if self.agents[agent as usize].life == life => {
                self.on_agent_synced(agent as usize);
            }
            Event::AgentInput { agent, life, input } if self.agents[agent as usize].life == life => {
                self.agent_step(agent as usize, *input);
            }
            Event::AgentConnect { agent, life } if self.agents[agent as usize].life == life => {
                self.agent_connect(agent as usize);
            }
            Event::AgentCheck { agent, life, check } if self.agents[agent as usize].life == life => {
                self.on_agent_check(agent as usize, check);
            }
            Event::OpeningOver { conn } => self.on_opening_over(conn),
            Event::AckDue { conn, side: Side::Agent } => self.on_ack_due_at_agent(conn),
            Event::AckDue { conn, side: Side::Master } => self.on_ack_due_at_master(conn),
            Event::Packet { conn, to: Side::Agent, packet } => self.on_packet_at_agent(conn, packet),
            Event::Packet { conn, to: Side::Master, packet } => self.on_packet_at_master(conn, packet),
            Event::Closed { conn, at: Side::Agent } => self.on_closed_at_agent(conn),
            Event::Closed { conn, at: Side::Master } => self.on_closed_at_master(conn),
            Event::Container { agent, serial, id, what } => {
                self.on_container(agent as usize, serial, &id, what);
            }
            Event::MasterWake => self.on_master_wake(),
            Event::MasterStart { life } if self.master.life == life => self.master_start(),
            Event::MasterSynced { life } if self.master.life == life => self.on_master_synced(),
            Event::MasterInput { life, input } if self.master.life == life => self.master_step(*input),
            Event::ResumeOver { link, conn } => self.on_resume_over(link, conn),
            Event::Heartbeat { stream } => self.on_heartbeat(stream),
            Event::SchedulerWake(scheduler) => self.on_scheduler_wake(scheduler as usize),
            Event::SchedulerStart { scheduler, life } if self.schedulers[scheduler as usize].life == life => {
                self.scheduler_start(scheduler as usize);
            }
            Event::Subscribe { scheduler, stream, call, waits_at } => {
                self.on_subscribe(scheduler, stream, call, waits_at);
            }
            Event::Call { scheduler, stream, call, note, answer_lost } => {
                self.on_call(scheduler, stream, call, note, answer_lost);
            }
            Event::Answered { scheduler, life, refused, note }
                if self.schedulers[scheduler as usize].life == life =>
            {
                self.on_answered(scheduler as usize, refused, *note);
            }
            Event::StreamSays { scheduler, stream, event }
                if self.schedulers[scheduler as usize].stream == Some(stream) =>
            {
                self.on_stream_event(scheduler as usize, &event);
            }
            Event::StreamClosedAtScheduler { scheduler, stream }
                if self.schedulers[scheduler as usize].stream == Some(stream) =>
            {
                self.on_stream_closed_at_scheduler(scheduler as usize);
            }
            Event::StreamClosedAtMaster { stream } => self.on_stream_closed_at_master(stream),
            Event::ServicesSynced { life } if self.services_life() == Some(life) => self.on_services_synced(),
            Event::ServicesInput { life, input } if self.services_life() == Some(life) => {
                self.services_step(*input);
            }
            Event::ServicesWake { life } if self.services_life() == Some(life) => self.on_services_wake(),
            Event::Order(number) => self.on_order(number as usize),
            Event::Fault(number) => self.on_fault(number as usize),
            Event::FaultOver(number) => self.on_fault_over(number as usize),
            Event::Sample => self.sample(),
            Event::Look => self.look(),
            // Of a process that is no more.
            _ => {}
        }
    }

    /// A process that stands still takes nothing; what comes waits in its sockets.
    fn held_up(&mut self, event: Event) -> Option<Event> {
        let until = match &event {
            Event::AgentWake(agent)
            | Event::AgentInput { agent, .. }
            | Event::AgentSynced { agent, .. }
            | Event::AgentCheck { agent, .. }
            | Event::AgentConnect { agent, .. } => self.agents[*agent as usize].paused_until,
            Event::Packet { conn, to: Side::Agent, .. }
            | Event::Closed { conn, at: Side::Agent }
            | Event::OpeningOver { conn }
            | Event::AckDue { conn, side: Side::Agent } => {
                self.agents[self.conns[*conn as usize].agent as usize].paused_until
            }
            Event::Packet { to: Side::Master, .. }
            | Event::Closed { at: Side::Master, .. }
            | Event::AckDue { side: Side::Master, .. }
            | Event::MasterWake
            | Event::MasterSynced { .. }
            | Event::MasterInput { .. }
            | Event::ResumeOver { .. }
            | Event::Heartbeat { .. }
            | Event::Subscribe { .. }
            | Event::Call { .. }
            | Event::StreamClosedAtMaster { .. } => self.master.paused_until,
            Event::SchedulerWake(scheduler)
            | Event::Answered { scheduler, .. }
            | Event::StreamSays { scheduler, .. }
            | Event::StreamClosedAtScheduler { scheduler, .. } => {
                self.schedulers[*scheduler as usize].paused_until
            }
            Event::ServicesSynced { .. } | Event::ServicesInput { .. } | Event::ServicesWake { .. } => {
                self.services.as_ref().map_or(0, |host| self.schedulers[host.scheduler].paused_until)
            }
            _ => 0,
        };
        if until <= self.now {
            return Some(event);
        }
        match event {
            // These look again by themselves when the process goes on.
            Event::AgentWake(_)
            | Event::MasterWake
            | Event::SchedulerWake(_)
            | Event::ServicesWake { .. } => {}
            Event::Subscribe { scheduler, stream, call, .. } => {
                let waits_at = Some(self.master.life);
                self.queue.push(until, Event::Subscribe { scheduler, stream, call, waits_at });
            }
            event => self.queue.push(until, event),
        }
        None
    }

    /// A number that nobody else has.
    pub(crate) fn mint(&mut self) -> u64 {
        self.minted += 1;
        self.minted
    }

    /// Sends over a connection, in order.
    pub(crate) fn send_packet(&mut self, conn: u32, to: Side, packet: Packet) {
        let at = self.arrival(conn, to);
        self.queue.push(at, Event::Packet { conn, to, packet });
    }

    /// Tells the other end that this one is closed, behind what was sent.
    pub(crate) fn close_at(&mut self, conn: u32, to: Side) {
        let at = self.arrival(conn, to);
        self.queue.push(at, Event::Closed { conn, at: to });
    }

    fn arrival(&mut self, conn: u32, to: Side) -> Nanos {
        let agent = self.conns[conn as usize].agent as usize;
        let at = self.net.on_link(self.now, agent, to);
        let clear = &mut self.conns[conn as usize].clear[to as usize];
        *clear = at.max(*clear + 1);
        *clear
    }

    pub(crate) fn log(&mut self, line: impl FnOnce() -> String) {
        if self.is_logging {
            self.observer.line(duration(self.now), &line());
        }
    }

    pub(crate) fn violate(&mut self, rule: &'static str, what: String) {
        self.log(|| format!("VIOLATION {rule}: {what}"));
        let at = duration(self.now);
        self.outcome.violations.push(Violation { rule, at, what });
    }

    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub(crate) fn look_again(&mut self) {
        self.queue.push(self.now + LOOK_EVERY, Event::Look);
    }
}
