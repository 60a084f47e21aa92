//! Tasks run and end while the agent dies at random moments, records behind the last barrier are lost,
//! and links break. Whatever happens, each task reaches exactly one terminal state, every update that
//! was sent had been stored, and no running task is touched.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{self, ToAgent, to_agent, to_master},
    records::{AgentRecord, agent_record::Record},
};
use mezzo_time::Timestamp;
use rand_core::Rng;

use super::harness::{Dice, World, config, task};
use crate::{Agent, Effect, FoundContainer, FoundState, Input};

const TASKS: usize = 30;

/// The containers of the machine: they live on when the agent does not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Machine {
    /// Asked for; the agent has not been told anything.
    Starting,
    Running,
    Ended(i32),
}

struct Chaos {
    agent: Agent,
    now: Timestamp,
    dice: Dice,
    log: Vec<AgentRecord>,
    machine: BTreeMap<ContainerId, Machine>,
    /// What the machine has to say and the agent has not heard.
    reports: Vec<Input>,
    /// Effects that were returned and not performed yet.
    todo: Vec<Effect>,
    /// Updates the scheduler has to acknowledge.
    inbox: Vec<(String, Vec<u8>)>,
    terminal: BTreeMap<String, BTreeSet<Vec<u8>>>,
    asked_to_end: BTreeSet<ContainerId>,
    launched: usize,
    up: bool,
}

impl Chaos {
    fn chance(&mut self, percent: u64) -> bool {
        self.dice.next_u64() % 100 < percent
    }

    fn step(&mut self, input: Input) {
        let effects = self.agent.step(self.now, &mut self.dice, input);
        self.todo.extend(effects);
    }

    fn tell(&mut self, message: to_agent::Message) {
        self.step(Input::FromMaster(Box::new(ToAgent { message: Some(message) })));
    }

    /// Performs the next few effects, in order.
    fn perform(&mut self, many: usize) {
        let many = many.min(self.todo.len());
        let effects: Vec<Effect> = self.todo.drain(..many).collect();
        for effect in effects {
            match effect {
                Effect::Persist(record) => self.log.push(*record),
                Effect::ToMaster(message) => self.on_message(message.message),
                Effect::Launch(spec) => {
                    self.machine.insert(spec.container, Machine::Starting);
                }
                Effect::Signal { container, .. } => self.end(&container, 15),
                Effect::Destroy(container) => self.end(&container, 9),
                Effect::Remove { container, .. } => {
                    let state = self.machine.remove(&container);
                    assert!(matches!(state, Some(Machine::Ended(_)) | None), "removed while {state:?}");
                }
                Effect::Exit { message, .. } => panic!("the agent exits: {message}"),
                _ => {}
            }
        }
    }

    fn end(&mut self, container: &ContainerId, status: i32) {
        self.asked_to_end.insert(container.clone());
        let Some(state) = self.machine.get_mut(container) else { return };
        if !matches!(state, Machine::Ended(_)) {
            if *state == Machine::Starting {
                self.reports.push(Input::Started { container: container.clone(), pid: 1 });
            }
            *state = Machine::Ended(status);
            let container = container.clone();
            self.reports.push(Input::Exited { container, status: Some(status), limitation: None });
        }
    }

    fn on_message(&mut self, message: Option<to_master::Message>) {
        if !self.up {
            return;
        }
        match message {
            Some(to_master::Message::Register(_) | to_master::Message::Reregister(_)) => {
                self.tell(to_agent::Message::Registered(Box::new(link::Registered {
                    agent_id: Some(v1::AgentId { value: "S0".into() }),
                    ping_timeout_nanos: u64::MAX / 4,
                    master: None,
                })));
            }
            Some(to_master::Message::StatusUpdate(update)) => {
                let status = update.status.expect("updates have a status");
                let uuid = status.uuid.clone().expect("and an uuid");
                let stored = self.log.iter().any(|r| match &r.record {
                    Some(Record::Update(r)) => r.status.as_ref().and_then(|s| s.uuid.as_ref()) == Some(&uuid),
                    _ => false,
                });
                assert!(stored, "{} was sent before it was stored", status.state().as_str_name());
                let id = status.task_id.value.clone();
                if crate::updates::status_is_terminal(&status) {
                    self.terminal.entry(id.clone()).or_default().insert(uuid.clone());
                }
                self.inbox.push((id, uuid));
            }
            _ => {}
        }
    }

    /// Something happens on the machine.
    fn machine(&mut self) {
        let ids: Vec<ContainerId> = self.machine.keys().cloned().collect();
        for id in ids {
            let moves = self.chance(30);
            let Some(state) = self.machine.get_mut(&id).filter(|_| moves) else { continue };
            match state {
                Machine::Starting => {
                    *state = Machine::Running;
                    self.reports.push(Input::Started { container: id, pid: 1 });
                }
                Machine::Running => {
                    let status = if self.dice.next_u32().is_multiple_of(2) { 0 } else { 256 };
                    *state = Machine::Ended(status);
                    self.reports.push(Input::Exited {
                        container: id,
                        status: Some(status),
                        limitation: None,
                    });
                }
                Machine::Ended(_) => {}
            }
        }
        if self.chance(70) {
            for report in std::mem::take(&mut self.reports) {
                self.step(report);
            }
        }
    }

    /// The agent is killed: what was not performed is lost, the machine goes on.
    fn crash(&mut self) {
        self.todo.clear();
        self.reports.clear();
        let mut found = Vec::new();
        let mut killed = Vec::new();
        for (id, state) in &self.machine {
            let state = match state {
                // The launcher died with the agent before it came to this one.
                Machine::Starting => {
                    killed.push(id.clone());
                    continue;
                }
                Machine::Running => FoundState::Running(1),
                Machine::Ended(status) => FoundState::Ended(Some(*status)),
            };
            found.push(FoundContainer { id: id.clone(), state });
        }
        for id in killed {
            self.machine.remove(&id);
        }
        let recovered = Agent::recover(config(), self.log.clone(), found, self.now, &mut self.dice)
            .expect("the settings are the same");
        self.agent = recovered.agent;
        self.todo = recovered.effects;
        self.up = false;
        self.connect();
    }

    fn connect(&mut self) {
        self.up = true;
        self.step(Input::LinkUp);
    }

    fn run(&mut self, world: &World, calm: bool) {
        if !calm && self.launched < TASKS && self.agent.snapshot().registered && self.chance(40) {
            let mut run = world.run(vec![task(&format!("t{}", self.launched))]);
            run.resource_version_uuid = self.agent.resource_version.to_vec();
            self.launched += 1;
            self.tell(to_agent::Message::Run(Box::new(run)));
        }
        let some = (self.dice.next_u64() % 12) as usize;
        self.perform(if calm { usize::MAX } else { some });
        self.machine();
        if self.chance(60) {
            for (id, uuid) in std::mem::take(&mut self.inbox) {
                self.tell(to_agent::Message::Acknowledge(link::Acknowledge {
                    framework_id: Some(v1::FrameworkId { value: "F".into() }),
                    task_id: Some(v1::TaskId { value: id }),
                    uuid,
                }));
            }
        }
        if !calm && self.chance(3) {
            self.up = false;
            self.step(Input::LinkDown);
        }
        if !self.up && self.chance(50) {
            self.connect();
        }
        if !calm && self.chance(4) {
            self.crash();
        }
        self.now = self.now + std::time::Duration::from_millis(700);
        self.step(Input::Timer);
    }
}

fn one_seed(seed: u64) {
    let mut world = World::unregistered(config());
    world.dice = Dice::new(seed);
    let mut dice = Dice::new(seed);
    let now = world.now;
    let agent = Agent::new(config(), now, &mut dice);
    let mut chaos = Chaos {
        agent,
        now,
        dice,
        log: Vec::new(),
        machine: BTreeMap::new(),
        reports: Vec::new(),
        todo: Vec::new(),
        inbox: Vec::new(),
        terminal: BTreeMap::new(),
        asked_to_end: BTreeSet::new(),
        launched: 0,
        up: false,
    };
    chaos.connect();
    for _ in 0..250 {
        chaos.run(&world, false);
    }
    for _ in 0..120 {
        chaos.run(&world, true);
    }
    chaos.perform(usize::MAX);
    for (task, ends) in &chaos.terminal {
        assert_eq!(ends.len(), 1, "seed {seed}: {task} ended {} times", ends.len());
    }
    let state = chaos.agent.snapshot();
    assert!(state.frameworks.is_empty(), "seed {seed}: something never ended");
    assert!(chaos.machine.is_empty(), "seed {seed}: containers are left: {:?}", chaos.machine);
    // A launch whose record was lost with the agent is the master's to report (rule 237).
    let recorded: BTreeSet<&str> = chaos
        .log
        .iter()
        .filter_map(|r| match &r.record {
            Some(Record::Task(r)) => r.info.as_ref().map(|i| i.task_id.value.as_str()),
            _ => None,
        })
        .collect();
    for task in recorded {
        assert!(chaos.terminal.contains_key(task), "seed {seed}: {task} was lost");
    }
    assert!(chaos.terminal.len() > TASKS / 2, "seed {seed}: only {} tasks ran", chaos.terminal.len());
    assert!(chaos.asked_to_end.is_empty(), "seed {seed}: a running task was touched");
}

#[test]
fn every_task_ends_exactly_once_whatever_happens_to_the_agent() {
    for seed in 0..60 {
        one_seed(seed);
    }
}
