//! Writes a trace like those of GPU clusters for machine learning: mostly small tasks of one gpu, a few
//! gangs of eight, jobs that need none, durations with a heavy tail, and more work by day.
//!
//! Whole numbers only, so that a seed gives the same bytes on every machine.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::{
    scenario::Amounts,
    trace::{Owner, Submission, Trace},
};

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuCluster {
    /// Of all chance.
    pub seed: u64,
    /// Tasks, members of gangs counted.
    pub tasks: u64,
    /// Days over which they arrive.
    pub days: u64,
}

/// Of the trace in sim/traces.
pub const SHIPPED: GpuCluster = GpuCluster { seed: 1500, tasks: 8_000, days: 2 };

/// One kind of job: how many of a thousand, how many tasks, cpus in thousandths, megabytes, gpus, fails.
struct Kind {
    per_thousand: u64,
    role: &'static str,
    tasks: u32,
    cpus: &'static [u64],
    memory_per_cpu: u64,
    gpus: u64,
    durations: &'static [(u64, u64)],
}

/// Thousandths of jobs that take at most so many seconds; straight between two points. The tails are
/// long: of training jobs the longest tenth does most of the work.
const SHORT: &[(u64, u64)] =
    &[(0, 5), (250, 30), (500, 90), (750, 300), (900, 1_200), (990, 7_200), (1_000, 14_400)];
const TRAIN: &[(u64, u64)] =
    &[(0, 60), (200, 600), (500, 3_000), (750, 10_800), (900, 36_000), (980, 100_000), (1_000, 172_800)];
const SERVE: &[(u64, u64)] = &[(0, 1_800), (300, 14_400), (700, 57_600), (950, 144_000), (1_000, 172_800)];

const KINDS: &[Kind] = &[
    Kind {
        per_thousand: 170,
        role: "data",
        tasks: 1,
        cpus: &[2, 4, 8, 16],
        memory_per_cpu: 4_096,
        gpus: 0,
        durations: SHORT,
    },
    Kind {
        per_thousand: 60,
        role: "data",
        tasks: 4,
        cpus: &[8, 16],
        memory_per_cpu: 4_096,
        gpus: 0,
        durations: SHORT,
    },
    Kind {
        per_thousand: 330,
        role: "train",
        tasks: 1,
        cpus: &[6, 8, 11, 12],
        memory_per_cpu: 6_144,
        gpus: 1,
        durations: TRAIN,
    },
    Kind {
        per_thousand: 170,
        role: "research",
        tasks: 1,
        cpus: &[4, 6, 8],
        memory_per_cpu: 6_144,
        gpus: 1,
        durations: TRAIN,
    },
    Kind {
        per_thousand: 70,
        role: "research",
        tasks: 2,
        cpus: &[8, 12],
        memory_per_cpu: 6_144,
        gpus: 1,
        durations: TRAIN,
    },
    Kind {
        per_thousand: 40,
        role: "train",
        tasks: 1,
        cpus: &[24, 32],
        memory_per_cpu: 6_144,
        gpus: 4,
        durations: TRAIN,
    },
    Kind {
        per_thousand: 30,
        role: "train",
        tasks: 1,
        cpus: &[64, 88],
        memory_per_cpu: 6_144,
        gpus: 8,
        durations: TRAIN,
    },
    Kind {
        per_thousand: 10,
        role: "train",
        tasks: 8,
        cpus: &[88],
        memory_per_cpu: 6_144,
        gpus: 8,
        durations: TRAIN,
    },
    Kind {
        per_thousand: 90,
        role: "serve",
        tasks: 2,
        cpus: &[8, 12],
        memory_per_cpu: 4_096,
        gpus: 1,
        durations: SERVE,
    },
    Kind {
        per_thousand: 30,
        role: "serve",
        tasks: 4,
        cpus: &[4, 8],
        memory_per_cpu: 4_096,
        gpus: 0,
        durations: SERVE,
    },
];

/// Work per hour of the day, from midnight, of a hundred at noon.
const DAY: [u64; 24] =
    [30, 25, 20, 18, 18, 20, 28, 40, 60, 82, 95, 98, 90, 92, 100, 100, 98, 92, 80, 68, 58, 50, 42, 35];

/// Of a hundred jobs, how many end with a failure.
const FAILS_PER_HUNDRED: u64 = 6;

/// Generates a trace; the same plan gives the same trace.
pub fn gpu_cluster(plan: GpuCluster) -> Trace {
    let mut chance = Chance(ChaCha8Rng::seed_from_u64(plan.seed));
    let mut trace = Trace { file: "generated".into(), ..Trace::default() };
    let mut left = plan.tasks;
    while left > 0 {
        let kind = pick(&mut chance);
        let count = u64::from(kind.tasks).min(left);
        left -= count;
        let submit = arrival(&mut chance, plan.days.max(1));
        let cpus = kind.cpus[chance.below(kind.cpus.len() as u64) as usize];
        let resources = Amounts {
            cpus: cpus as f64,
            memory: (cpus * kind.memory_per_cpu) as f64,
            disk: 0.0,
            gpus: kind.gpus as f64,
        };
        let duration = Duration::from_secs(along(kind.durations, chance.below(1_001)));
        let owner = Owner { framework: kind.role.to_owned(), role: kind.role.to_owned() };
        let known = trace.owners.iter().position(|one| *one == owner);
        let owner = known.unwrap_or_else(|| {
            trace.owners.push(owner);
            trace.owners.len() - 1
        });
        trace.submissions.push(Submission {
            submit: Duration::from_secs(submit),
            duration,
            resources,
            count: count as u32,
            owner: owner as u32,
            constraint: None,
            fails: chance.below(100) < FAILS_PER_HUNDRED,
        });
    }
    trace.submissions.sort_by_key(|submission| submission.submit);
    trace
}

fn pick(chance: &mut Chance) -> &'static Kind {
    let mut left = chance.below(KINDS.iter().map(|kind| kind.per_thousand).sum());
    for kind in KINDS {
        if left < kind.per_thousand {
            return kind;
        }
        left -= kind.per_thousand;
    }
    &KINDS[0]
}

/// Seconds since midnight of the first day.
fn arrival(chance: &mut Chance, days: u64) -> u64 {
    let day = chance.below(days);
    let mut left = chance.below(DAY.iter().sum());
    let mut hour = 0;
    while left >= DAY[hour] {
        left -= DAY[hour];
        hour += 1;
    }
    day * 86_400 + hour as u64 * 3_600 + chance.below(3_600)
}

fn along(points: &[(u64, u64)], thousandth: u64) -> u64 {
    let above = points.iter().position(|(share, _)| *share >= thousandth).unwrap_or(points.len() - 1).max(1);
    let ((x0, y0), (x1, y1)) = (points[above - 1], points[above]);
    y0 + (y1 - y0) * (thousandth - x0) / (x1 - x0)
}

struct Chance(ChaCha8Rng);

impl Chance {
    /// Below a limit that is far below 2^64, so that the remainder's bias is nothing.
    fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_trace_is_what_its_seed_gives() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../sim/traces/gpu-cluster.csv");
        let shipped = std::fs::read_to_string(path).expect("shipped");
        assert!(
            shipped == gpu_cluster(SHIPPED).to_csv(),
            "cargo run -- sim trace --out sim/traces/gpu-cluster.csv"
        );
        let read = Trace::read("gpu-cluster.csv", std::io::Cursor::new(shipped)).expect("good");
        assert_eq!(read.tasks(), 8_000);
    }

    #[test]
    fn it_is_shaped_like_a_gpu_cluster() {
        let trace = gpu_cluster(SHIPPED);
        let share = |wanted: &dyn Fn(&Submission) -> bool| {
            let tasks: u64 =
                trace.submissions.iter().filter(|one| wanted(one)).map(|one| u64::from(one.count)).sum();
            tasks * 100 / trace.tasks()
        };
        assert!((40..70).contains(&share(&|one| one.resources.gpus == 1.0)), "most want one gpu");
        assert!((3..15).contains(&share(&|one| one.resources.gpus == 8.0)), "some are of eight");
        assert!((15..40).contains(&share(&|one| one.resources.gpus == 0.0)), "some need none");
        let mut seconds: Vec<u64> = trace.submissions.iter().map(|one| one.duration.as_secs()).collect();
        seconds.sort_unstable();
        let all: u64 = seconds.iter().sum();
        let longest_tenth: u64 = seconds[seconds.len() * 9 / 10..].iter().sum();
        assert!(longest_tenth * 2 > all, "the longest tenth is more than half of the work");
        let night = share(&|one| one.submit.as_secs() % 86_400 < 6 * 3_600);
        assert!(night < 13, "{night} of 100 arrive in the quarter of the day before six");
        assert_ne!(gpu_cluster(GpuCluster { seed: 1, ..SHIPPED }), trace);
    }
}
