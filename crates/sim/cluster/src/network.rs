//! How long messages take, and what does not get through.
//!
//! Connections deliver in order: what meets a partition comes when it is over, as retransmission brings
//! it, unless the connection was given up meanwhile. Nothing on a connection is lost or doubled by
//! itself; that happens only when it breaks.

use rand_chacha::ChaCha8Rng;

use crate::{
    event::Side,
    fault::Direction,
    queue::Nanos,
    random::{Actor, Draw, source},
    setup::{Latency, Setup},
};

/// Longest pause of a sender before it tries again what was not acknowledged.
const RETRANSMIT_MAX: u64 = 1_000_000_000;
/// A client gives a request up that is not answered in this time.
pub(crate) const CALL_TIMEOUT: Nanos = 5_000_000_000;

/// The way between the master and one other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// Until when nothing gets to the master.
    pub(crate) up_blocked: Nanos,
    /// Until when nothing comes from the master.
    pub(crate) down_blocked: Nanos,
    /// Calls lost, in percent, and until when.
    pub(crate) loss: (u8, Nanos),
    /// Calls overtake each other by up to this, and until when.
    pub(crate) reorder: (Nanos, Nanos),
    /// When the last call arrives, as long as they keep their order.
    pub(crate) last_call: Nanos,
}

impl Way {
    pub(crate) fn block(&mut self, direction: Direction, until: Nanos) {
        if direction != Direction::FromMaster {
            self.up_blocked = self.up_blocked.max(until);
        }
        if direction != Direction::ToMaster {
            self.down_blocked = self.down_blocked.max(until);
        }
    }

    pub(crate) fn blocked(&self, to: Side) -> Nanos {
        match to {
            Side::Master => self.up_blocked,
            Side::Agent => self.down_blocked,
        }
    }
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    rng: ChaCha8Rng,
    agents_latency: Latency,
    schedulers_latency: Latency,
    pub(crate) agents: Vec<Way>,
    pub(crate) schedulers: Vec<Way>,
    /// Everything takes so many times longer, and until when.
    pub(crate) slow: (u32, Nanos),
}

impl Network {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            rng: source(setup.seed, Actor::Network),
            agents_latency: setup.network.agents,
            schedulers_latency: setup.network.schedulers,
            agents: vec![Way::default(); setup.agents()],
            schedulers: vec![Way::default(); setup.frameworks.len()],
            slow: (1, 0),
        }
    }

    fn latency(&mut self, now: Nanos, latency: Latency) -> Nanos {
        let taken = draw(&mut self.rng, latency);
        if self.slow.1 > now { taken * Nanos::from(self.slow.0) } else { taken }
    }

    fn arrival(&mut self, now: Nanos, latency: Latency, blocked: Nanos) -> Nanos {
        let at = now + self.latency(now, latency);
        if blocked <= at {
            return at;
        }
        blocked + self.rng.below(RETRANSMIT_MAX) as Nanos
    }

    /// When something sent now on a link's connection arrives, not regarding what was sent before.
    pub(crate) fn on_link(&mut self, now: Nanos, agent: usize, to: Side) -> Nanos {
        let blocked = self.agents[agent].blocked(to);
        self.arrival(now, self.agents_latency, blocked)
    }

    /// When something sent now on an event stream arrives.
    pub(crate) fn on_stream(&mut self, now: Nanos, scheduler: usize, to: Side) -> Nanos {
        let blocked = self.schedulers[scheduler].blocked(to);
        self.arrival(now, self.schedulers_latency, blocked)
    }

    /// When a call arrives; `None` when it never does.
    pub(crate) fn call(&mut self, now: Nanos, scheduler: usize) -> Option<Nanos> {
        let way = &self.schedulers[scheduler];
        let (blocked, loss, reorder) = (way.up_blocked, way.loss, way.reorder);
        if loss.1 > now && self.rng.percent(u64::from(loss.0) / 2) {
            return None;
        }
        let mut at = self.arrival(now, self.schedulers_latency, blocked);
        if reorder.1 > now {
            at += self.rng.below(reorder.0.unsigned_abs()) as Nanos;
        } else {
            at = at.max(self.schedulers[scheduler].last_call + 1);
        }
        // Who gives a request up takes it back from the line, or it arrives in time.
        if at > now + CALL_TIMEOUT {
            return None;
        }
        let way = &mut self.schedulers[scheduler];
        way.last_call = way.last_call.max(at);
        Some(at)
    }

    /// Whether the answer to a call is lost, although the call was not.
    pub(crate) fn loses_answer(&mut self, now: Nanos, scheduler: usize) -> bool {
        let way = &self.schedulers[scheduler];
        if way.down_blocked > now + CALL_TIMEOUT {
            return true;
        }
        let (percent, until) = way.loss;
        until > now && self.rng.percent(u64::from(percent) / 2)
    }
}

/// How long something takes this time.
pub(crate) fn draw(rng: &mut ChaCha8Rng, latency: Latency) -> Nanos {
    let mean = latency.mean.as_nanos() as f64;
    let min = i64::try_from(latency.min.as_nanos()).unwrap_or(Nanos::MAX);
    if mean <= 0.0 {
        return min;
    }
    let spread = -(1.0 - rng.share()).ln() * mean;
    min + spread.min(mean * 10.0) as Nanos
}
