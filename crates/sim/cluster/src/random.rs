//! Randomness from one root seed: every actor has a source of its own, so that one more actor does not
//! shift what the others draw.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Who draws from a source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor {
    Master,
    Agent(usize),
    /// The machine under an agent: how long containers take to start, what fails.
    Machine(usize),
    Scheduler(usize),
    Network,
    Disk,
    Faults,
    Load(usize),
    Services,
}

impl Actor {
    fn number(self) -> u64 {
        let (kind, index) = match self {
            Self::Master => (1, 0),
            Self::Agent(index) => (2, index),
            Self::Machine(index) => (3, index),
            Self::Scheduler(index) => (4, index),
            Self::Network => (5, 0),
            Self::Disk => (6, 0),
            Self::Faults => (7, 0),
            Self::Load(index) => (8, index),
            Self::Services => (9, 0),
        };
        (kind << 48) | index as u64
    }
}

/// The source of one actor.
pub(crate) fn source(root: u64, actor: Actor) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(mix(mix(root) ^ actor.number()))
}

/// Spreads every bit over all others (the finish of splitmix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What is drawn often.
pub(crate) trait Draw {
    /// Below `end`; zero when that is zero.
    fn below(&mut self, end: u64) -> u64;
    /// True this often.
    fn percent(&mut self, percent: u64) -> bool;
    /// From 0 to 1, without 1.
    fn share(&mut self) -> f64;
    /// One index of a list that is not empty.
    fn index(&mut self, len: usize) -> usize;
}

impl<R: Rng> Draw for R {
    fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next_u64() % end }
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next_u64() % 100 < percent
    }

    fn share(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}
