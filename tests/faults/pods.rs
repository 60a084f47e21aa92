//! Task groups across restarts of the agent.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chaos::{Chaos, Cluster, Hits, Marks},
    scheduler::{Place, Scheduler, command_task, resources},
    support::{Folder, PATIENCE},
};

const TASKS: usize = 120;
/// Tasks of one group.
const GROUP: usize = 3;

#[test]
fn groups_are_not_disturbed_by_restarts_of_the_agent() {
    for seed in 0..4 {
        let hits = if seed % 2 == 0 { Hits::AgentAlways } else { Hits::Any };
        let outcome = Chaos { name: "pods", seed, tasks: TASKS, hits, kills: 3..7, agent: &[] }.run(
            |marks, mut random| {
                move |tasks, place| {
                    // Each group brings an executor of 32 MB and 1 MB of disk.
                    let groups = tasks.len().div_ceil(GROUP) as f64;
                    if place.disk < groups || place.mem < 16.0 * tasks.len() as f64 + 32.0 * groups {
                        return vec![];
                    }
                    let groups = tasks.chunks(GROUP).map(|group| {
                        let infos: Vec<_> = group
                            .iter()
                            .map(|task| command_task(task, place, &marks.command(task, random.below(1200))))
                            .collect();
                        launch_group(&group[0], place, &infos)
                    });
                    groups.collect()
                }
            },
        );
        println!("pods, seed {seed}: {outcome}");
    }
}

pub(crate) fn launch_group(name: &str, place: &Place, infos: &[Value]) -> Value {
    let mut resources = resources(0.1, 32);
    if let Value::Array(resources) = &mut resources {
        resources.push(json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 1}}));
    }
    let executor = json!({"type": "DEFAULT", "executor_id": {"value": format!("pod-{name}")},
        "framework_id": place.framework, "resources": resources});
    json!({"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": infos}}})
}

/// The agent is killed before the kill, or while the task has its time to end.
#[test]
fn a_kill_policy_holds_across_restarts_of_the_agent() {
    const GRACE: Duration = Duration::from_secs(3);
    for during in [false, true] {
        let seed = u64::from(during);
        let folder = Folder::new(&format!("kill-policy-{seed}"));
        let marks = Marks::new(folder.path());
        let mut cluster = Cluster::start(folder.path(), &[], &[]);
        let scheduler = Scheduler::start(cluster.master.port, GROUP, {
            let marks = marks.clone();
            move |tasks, place| {
                let infos: Vec<_> = tasks
                    .iter()
                    .map(|task| {
                        let mark = marks.path(task).display().to_string();
                        let command = format!(
                            "trap 'echo asked >> {mark}' TERM; echo began >> {mark}; while :; do sleep 0.1; done"
                        );
                        let mut info = command_task(task, place, &command);
                        info["kill_policy"] =
                            json!({"grace_period": {"nanoseconds": GRACE.as_nanos() as u64}});
                        info
                    })
                    .collect();
                vec![launch_group("stubborn", place, &infos)]
            }
        });
        let or_fail = |cluster: &Cluster, result: Result<(), String>| {
            result.unwrap_or_else(|error| cluster.fail(seed, &error));
        };
        or_fail(&cluster, scheduler.wait_for("TASK_RUNNING", GROUP));
        let began = || (0..GROUP).all(|n| marks.read(&format!("task-{n:03}")).starts_with("began"));
        wait(began, "the tasks leave their marks");
        if !during {
            cluster.agent.kill();
            cluster.agent.start();
        }
        let asked_at = Instant::now();
        let mark = || marks.read("task-001");
        while mark() == "began\n" {
            // A call that meets an agent on its way back is repeated, as schedulers do.
            scheduler.call(json!({"type": "KILL", "kill": {"task_id": {"value": "task-001"}}}));
            thread::sleep(Duration::from_millis(500));
            assert!(asked_at.elapsed() < PATIENCE, "the task is asked to end:\n{}", cluster.agent.log_tail());
        }
        if during {
            cluster.agent.kill();
            cluster.agent.start();
        }
        or_fail(&cluster, scheduler.wait_for("TASK_KILLED", 1));
        assert!(asked_at.elapsed() >= GRACE, "the task had its time: {:?}", asked_at.elapsed());
        let outcomes = scheduler.finish().unwrap_or_else(|error| cluster.fail(seed, &error));
        cluster.check(seed);
        for outcome in outcomes {
            let mark = marks.read(&outcome.task);
            assert_eq!(outcome.state, "TASK_KILLED", "{} {}: {mark}", outcome.task, outcome.message);
            assert_eq!(mark, "began\nasked\n", "{} was asked once", outcome.task);
        }
    }
}

fn wait(mut condition: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}
