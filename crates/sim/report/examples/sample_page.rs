//! Prints a report of invented data, to look at the page without simulating anything.

use mezzo_sim_report::{Node, Role, Run, Sample, Story, Task, page};

fn main() {
    let mut chance = 12345_u64;
    let mut draw = |limit: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % limit.max(1)
    };
    let nodes = (0..300).map(|number| {
        let (group, has) = match number {
            0..100 => ("cpu", [96.0, 393_216.0, 0.0]),
            100..260 => ("gpu-small", [64.0, 262_144.0, 2.0]),
            _ => ("gpu-large", [96.0, 786_432.0, 8.0]),
        };
        Node { name: format!("{group}-{number}"), group: group.into(), has }
    });
    let role = |name: &str, weight| Role { name: name.into(), weight };
    let mut story = Story {
        title: "Invented data".into(),
        command: "mezzo sim run invented.toml --policy fair-share,random,pack --seed 7 --out runs/".into(),
        seed: 7,
        load: 86_400.0,
        nodes: nodes.collect(),
        roles: vec![role("data", 1.0), role("train", 2.0), role("research", 1.0), role("serve", 1.0)],
        faults: vec![(20_000.0, "crash-master".into()), (50_000.0, "partition-agent 3".into())],
        runs: Vec::new(),
    };
    for (number, policy) in ["fair-share", "random", "pack"].into_iter().enumerate() {
        let mut run = Run {
            policy: policy.into(),
            complete: true,
            settled: true,
            wall: 3.2,
            lasted: 92_000.0,
            ..Run::default()
        };
        for _ in 0..3000 {
            let submit = draw(86_400) as f64;
            let started = submit + (draw(1000) * draw(1000) / (100 + 200 * number as u64)) as f64 / 10.0;
            run.tasks.push(Task {
                role: draw(4) as usize,
                needs: [8.0, 32_768.0, 1.0],
                submit,
                started: (draw(50) > 0).then_some(started),
                ended: Some((started + draw(9_000) as f64).min(92_000.0)),
                node: Some(draw(300) as usize),
                done: true,
                failed: false,
            });
        }
        for step in 0..400 {
            let at = f64::from(step) * 230.0;
            let wave = 0.5 + 0.35 * (at / 14_000.0).sin();
            run.samples.push(Sample {
                at,
                used: [wave, wave * 0.6, (wave + 0.1 * number as f64).min(1.0)],
                shares: (0..4).map(|role| wave / (2.0 + f64::from(role))).collect(),
                running: 100,
                waiting: draw(80 + 40 * number as u64),
            });
        }
        story.runs.push(run);
    }
    print!("{}", page(&story));
}
