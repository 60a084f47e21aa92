//! Makes faults happen, and ends them.

use crate::{
    event::{Event, Side},
    fault::{FaultKind, Victim},
    queue::Nanos,
    world::{MILLI, World, nanos},
};

impl FaultKind {
    /// Whether an agent may have to read its log afterwards.
    pub(crate) fn ends_agents(&self) -> bool {
        match self {
            Self::Crash { victim, .. } | Self::DiskFull { victim, .. } => matches!(victim, Victim::Agent(_)),
            Self::Reboot { .. } | Self::Gone { .. } | Self::Drain { .. } => true,
            _ => false,
        }
    }
}

impl World<'_> {
    pub(crate) fn on_fault(&mut self, number: usize) {
        let fault = self.setup.faults[number];
        if !self.concerns_somebody(&fault.kind) || !self.begin(&fault.kind, number as u32) {
            return;
        }
        self.log(|| format!("FAULT {:?}", fault.kind));
        *self.outcome.faults.entry(fault.kind.name()).or_default() += 1;
    }

    fn concerns_somebody(&self, kind: &FaultKind) -> bool {
        let victim = |victim: Victim| match victim {
            Victim::Master => true,
            Victim::Agent(agent) => agent < self.agents.len(),
            Victim::Scheduler(scheduler) => scheduler < self.schedulers.len(),
        };
        match *kind {
            FaultKind::Crash { victim: of, .. }
            | FaultKind::Pause { victim: of, .. }
            | FaultKind::Partition { victim: of, .. }
            | FaultKind::Break { victim: of }
            | FaultKind::ClockJump { victim: of, .. }
            | FaultKind::DiskFull { victim: of, .. }
            | FaultKind::SlowDisk { victim: of, .. } => victim(of),
            FaultKind::Reboot { agent, .. }
            | FaultKind::LaunchFailures { agent, .. }
            | FaultKind::Drain { agent, .. }
            | FaultKind::Gone { agent, .. } => victim(Victim::Agent(agent)),
            FaultKind::LoseCalls { scheduler, .. } | FaultKind::Reorder { scheduler, .. } => {
                victim(Victim::Scheduler(scheduler))
            }
            FaultKind::Teardown { framework } => victim(Victim::Scheduler(framework)),
            FaultKind::SlowNetwork { .. } => true,
        }
    }

    /// False when there is nothing to disturb.
    fn begin(&mut self, kind: &FaultKind, number: u32) -> bool {
        let length = nanos(kind.length());
        let now = self.now;
        let until = now + length;
        match *kind {
            FaultKind::Crash { victim, .. } => return self.crash(victim, length),
            FaultKind::Reboot { agent, .. } => {
                if self.agents[agent].is_off {
                    return false;
                }
                self.agent_reboot(agent, length, false);
            }
            FaultKind::Pause { victim, .. } => match victim {
                Victim::Master => self.master.pause(self.now, until),
                Victim::Agent(agent) => self.agents[agent].pause(self.now, until),
                Victim::Scheduler(scheduler) => self.schedulers[scheduler].pause(self.now, until),
            },
            FaultKind::Partition { victim, direction, .. } => match victim {
                Victim::Agent(agent) => self.net.agents[agent].block(direction, until),
                Victim::Scheduler(scheduler) => self.net.schedulers[scheduler].block(direction, until),
                Victim::Master => {
                    let net = &mut self.net;
                    for way in net.agents.iter_mut().chain(&mut net.schedulers) {
                        way.block(direction, until);
                    }
                }
            },
            FaultKind::Break { victim } => self.break_connection(victim),
            FaultKind::LoseCalls { scheduler, percent, .. } => {
                self.net.schedulers[scheduler].loss = (percent, until);
            }
            // The services' daemon waits for the answer to a call before it makes the next.
            FaultKind::Reorder { scheduler, .. } if self.schedulers[scheduler].serves => return false,
            FaultKind::Reorder { scheduler, by_ms, .. } => {
                let by = MILLI * Nanos::try_from(by_ms.min(3_000)).unwrap_or(1);
                self.net.schedulers[scheduler].reorder = (by, until);
            }
            FaultKind::SlowNetwork { factor, .. } => self.net.slow = (factor.clamp(1, 10_000), until),
            FaultKind::ClockJump { victim, by_ms } => {
                let by = by_ms.clamp(-86_400_000, 86_400_000) * MILLI;
                match victim {
                    Victim::Master => self.master.clock.jump(self.now, by),
                    Victim::Agent(agent) => self.agents[agent].clock.jump(self.now, by),
                    Victim::Scheduler(scheduler) => match self.services_of(scheduler) {
                        Some(host) => {
                            host.clock.jump(now, by);
                            self.services_arm();
                        }
                        // Simulated ones use the monotonic clock only.
                        None => return false,
                    },
                }
            }
            FaultKind::DiskFull { victim, .. } => match victim {
                Victim::Master => self.master.full_until = until,
                Victim::Agent(agent) => self.agents[agent].disk.full_until = until,
                Victim::Scheduler(scheduler) => match self.services_of(scheduler) {
                    Some(host) => host.refuses_until = until,
                    None => return false,
                },
            },
            FaultKind::SlowDisk { victim, sync_ms, .. } => {
                let sync = MILLI * Nanos::try_from(sync_ms.min(60_000)).unwrap_or(1);
                match victim {
                    Victim::Master => self.master.slow = (sync, until),
                    Victim::Agent(agent) => self.agents[agent].disk.slow = (sync, until),
                    Victim::Scheduler(scheduler) => match self.services_of(scheduler) {
                        Some(host) => host.slow = (sync, until),
                        None => return false,
                    },
                }
            }
            FaultKind::LaunchFailures { agent, percent, .. } => {
                self.agents[agent].machine.failing = (percent, until);
            }
            FaultKind::Drain { agent, .. } => return self.drain(agent, number, until),
            FaultKind::Gone { agent, .. } => return self.give_up(agent, number, until),
            FaultKind::Teardown { framework } => return self.teardown(framework),
        }
        if let FaultKind::Pause { .. } = kind {
            self.queue.push(until, Event::FaultOver(number));
        }
        true
    }

    fn crash(&mut self, victim: Victim, down: Nanos) -> bool {
        match victim {
            Victim::Master => {
                if self.master.core.is_none() {
                    return false;
                }
                self.master_crash(down);
            }
            Victim::Agent(agent) => {
                if self.agents[agent].core.is_none() {
                    return false;
                }
                self.log(|| format!("agent {agent} dies"));
                self.agent_crash(agent, down);
            }
            Victim::Scheduler(scheduler) => {
                if !self.schedulers[scheduler].is_up {
                    return false;
                }
                self.scheduler_crash(scheduler, down);
            }
        }
        true
    }

    fn break_connection(&mut self, victim: Victim) {
        match victim {
            Victim::Scheduler(scheduler) => {
                if let Some(stream) = self.schedulers[scheduler].stream {
                    let at = self.net.on_stream(self.now, scheduler, Side::Agent);
                    self.queue
                        .push(at, Event::StreamClosedAtScheduler { scheduler: scheduler as u32, stream });
                    self.scheduler_leaves(scheduler);
                }
            }
            Victim::Agent(agent) => {
                let open = self
                    .conns
                    .iter()
                    .rposition(|conn| conn.agent as usize == agent && conn.agent_open && conn.master_open);
                // What was on its way is lost with it: nothing arrives at an end that is closed.
                if let Some(conn) = open {
                    self.queue.push(self.now, Event::Closed { conn: conn as u32, at: Side::Agent });
                    self.queue.push(self.now, Event::Closed { conn: conn as u32, at: Side::Master });
                }
            }
            Victim::Master => {}
        }
    }

    pub(crate) fn on_fault_over(&mut self, number: usize) {
        match self.setup.faults[number].kind {
            FaultKind::Pause { victim, .. } => match victim {
                Victim::Master => self.master_wakes(),
                Victim::Agent(agent) => self.agent_wakes(agent),
                Victim::Scheduler(scheduler) => self.scheduler_wakes(scheduler),
            },
            FaultKind::Drain { agent, .. } => self.take_back(agent, number),
            FaultKind::Gone { agent, .. } => self.see_gone(agent, number),
            _ => {}
        }
    }

    // Timers that came up while a process stood still were dropped.

    fn master_wakes(&mut self) {
        self.master.forget_wake();
        self.master_arm();
    }

    fn agent_wakes(&mut self, agent: usize) {
        self.agents[agent].forget_wake();
        self.agent_arm(agent);
    }

    fn scheduler_wakes(&mut self, scheduler: usize) {
        self.schedulers[scheduler].forget_wake();
        self.scheduler_arm(scheduler);
        if let Some(host) = self.services_of(scheduler) {
            host.forget_wake();
            self.services_arm();
        }
    }
}
