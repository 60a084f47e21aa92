//! Thousands of instances through the machine of services, with agents that do at once what they are asked.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail, ensure};
use mezzo_mesos::v1::{
    self,
    scheduler::{Call, call},
};
use mezzo_services::{Answer, Change, Config, Effect, Input, Recovered, Request, RequestId, Services};
use mezzo_services_model::PathId;
use mezzo_time::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::placement::{AGENTS, app, cpu, offers};
use crate::table::Table;

const INSTANCES: u32 = 10_000;
/// What the clock of the simulation goes on by when nothing else is to be done.
const TICK: Duration = Duration::from_millis(100);
/// Of the simulation's clock; it takes a few rounds of offers.
const LASTS_MAX: Duration = Duration::from_secs(3_600);

/// The machine, what it asked for, and the agents that did it.
struct Cluster {
    services: Services,
    rng: ChaCha8Rng,
    now: Timestamp,
    /// What is still to be told to the machine.
    inputs: Vec<Input>,
    launched: usize,
    is_done: bool,
}

/// One app of 10,000 instances, from the request until its deployment is over.
pub(crate) fn simulated(table: &mut Table) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let now = Timestamp::ZERO + TICK;
    // Launches are bounded by time otherwise: 100 in 30 seconds that do not come to run.
    let config = Config { launch_tokens: INSTANCES, ..Config::default() };
    let (services, _) = Services::recover(config, Recovered::default(), now, &mut rng);
    let mut cluster = Cluster { services, rng, now, inputs: Vec::new(), launched: 0, is_done: false };
    cluster.step(Input::Subscribed {
        framework: v1::FrameworkId { value: "f".into() },
        master: "master".into(),
        region: None,
    })?;
    let mut app = app("/web")?;
    app.instances = INSTANCES;
    app.constraints.clear();
    let offers = offers()?;
    let shown = cluster.services.snapshot();
    let path = app.id.clone();
    let app = Arc::new(app);
    let target = shown.root.updated(&PathId::root(), shown.root.version, &mut |group| {
        group.apps.insert(path.clone(), app.clone());
    });
    let change = Change {
        base: shown.root.version,
        target: Arc::new(target),
        group: PathId::root(),
        restart: Default::default(),
        kill: Default::default(),
        force: false,
        dry_run: false,
        principal: None,
    };
    drop(shown);

    let start = cpu();
    cluster.step(Input::Request(RequestId(1), Request::Change(Box::new(change))))?;
    let mut rounds = 0;
    while !cluster.is_done {
        // As a master does: all that is free in one event, under names of its own.
        let round = offers.iter().map(|offer| {
            let mut offer = v1::Offer::clone(offer);
            offer.id.value = format!("{}-{rounds}", offer.id.value);
            Arc::new(offer)
        });
        if cluster.launched < INSTANCES as usize {
            let round = round.collect();
            cluster.step(Input::Offers(round))?;
            rounds += 1;
        }
        while let Some(input) = cluster.inputs.pop() {
            cluster.step(input)?;
        }
        cluster.now = cluster.now + TICK;
        if cluster.services.next_deadline().is_some_and(|due| due <= cluster.now) {
            cluster.step(Input::Timer)?;
        }
        ensure!(cluster.now < Timestamp::ZERO + LASTS_MAX, "only {} were launched", cluster.launched);
    }
    let took = cpu() - start;
    ensure!(cluster.launched == INSTANCES as usize, "{} were launched", cluster.launched);
    table.row(
        "10,000 instances of one app, 5,000 simulated agents",
        &format!("{took:.2} s"),
        &format!(
            "the machine alone, on one core, {AGENTS} offers at a time, {rounds} times; no disk, no network"
        ),
        "<= 5 s",
    );
    Ok(())
}

impl Cluster {
    /// One step, and what it asks of a master whose agents start everything at once.
    fn step(&mut self, input: Input) -> Result<()> {
        for effect in self.services.step(self.now, &mut self.rng, input) {
            match effect {
                Effect::Call(call) => self.on_call(*call),
                Effect::Answer(_, Answer::Planned(_)) => {}
                Effect::Answer(_, other) => bail!("the change was answered {other:?}"),
                Effect::Publish(event) => {
                    use mezzo_services_model::EventKind as Kind;
                    match event.kind {
                        Kind::DeploymentSucceeded { .. } => self.is_done = true,
                        Kind::DeploymentFailed { reason, .. } => bail!("the deployment failed: {reason}"),
                        _ => {}
                    }
                }
                Effect::Persist(_) | Effect::Probe(_) => {}
            }
        }
        Ok(())
    }

    fn on_call(&mut self, call: Call) {
        if call.r#type() != call::Type::Accept {
            return;
        }
        let operations = call.accept.into_iter().flat_map(|accept| accept.operations);
        let tasks = operations.filter_map(|operation| operation.launch).flat_map(|launch| launch.task_infos);
        for task in tasks {
            self.launched += 1;
            self.inputs.push(Input::Update(Box::new(v1::TaskStatus {
                task_id: task.task_id,
                state: v1::TaskState::TaskRunning.into(),
                agent_id: Some(task.agent_id),
                source: Some(v1::task_status::Source::Executor.into()),
                uuid: Some(self.launched.to_be_bytes().repeat(2)),
                ..Default::default()
            })));
        }
    }
}
