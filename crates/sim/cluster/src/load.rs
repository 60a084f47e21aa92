//! Work by kind: services, batch waves, short tasks.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::{
    random::{Actor, Draw, source},
    setup::{Amounts, TaskPlan},
};

/// Draws plans from a seed.
#[derive(Debug)]
pub struct Load {
    rng: ChaCha8Rng,
    plans: Vec<TaskPlan>,
}

impl Load {
    /// Of the framework of this number.
    pub fn new(seed: u64, framework: usize) -> Self {
        Self { rng: source(seed, Actor::Load((1 << 24) + framework)), plans: Vec::new() }
    }

    /// This many tasks from `start` on that run until they are killed; whatever ends is replaced.
    pub fn services(mut self, count: usize, start: Duration, needs: Amounts) -> Self {
        let plan = TaskPlan { submit: start, retries: u32::MAX, ..plan(needs) };
        self.plans.extend(std::iter::repeat_n(plan, count));
        self
    }

    /// So many tasks at once, several times, each running between `shortest` and `longest`.
    pub fn waves(
        mut self,
        (count, waves): (usize, u32),
        (start, every): (Duration, Duration),
        runs: (Duration, Duration),
        needs: Amounts,
    ) -> Self {
        for wave in 0..waves {
            for _ in 0..count {
                let run = Some(self.between(runs));
                let submit = start + every * wave;
                self.plans.push(TaskPlan { submit, run, retries: u32::MAX, ..plan(needs) });
            }
        }
        self
    }

    /// A steady stream of tasks from `start` to `end`, this many a second on average.
    pub fn short(
        mut self,
        rate: f64,
        (start, end): (Duration, Duration),
        runs: (Duration, Duration),
        needs: Amounts,
    ) -> Self {
        let mut at = start;
        if rate <= 0.0 {
            return self;
        }
        loop {
            let pause = -(1.0 - self.rng.share()).ln() / rate;
            at += Duration::from_secs_f64(pause.min(1e9));
            if at >= end {
                return self;
            }
            let run = Some(self.between(runs));
            self.plans.push(TaskPlan { submit: at, run, retries: u32::MAX, ..plan(needs) });
        }
    }

    /// All of them, in the order of their submission.
    pub fn plans(mut self) -> Vec<TaskPlan> {
        self.plans.sort_by_key(|plan| plan.submit);
        self.plans
    }

    fn between(&mut self, (shortest, longest): (Duration, Duration)) -> Duration {
        shortest + longest.saturating_sub(shortest).mul_f64(self.rng.share())
    }
}

fn plan(needs: Amounts) -> TaskPlan {
    TaskPlan {
        submit: Duration::ZERO,
        run: None,
        kill_after: None,
        exit: 0,
        stubborn: false,
        needs,
        retries: 0,
        group: 0,
    }
}
