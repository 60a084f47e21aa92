//! Random stories: whatever happens, the books of the master and of the allocator agree.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_mesos::v1::{self, TaskState, scheduler::call};
use mezzo_protocol::link::{self, to_master};
use mezzo_resources::Resources;
use rand_core::Rng;

use super::facts::Told;
use crate::{
    Input,
    testing::{
        FakeAgent, Random, Scheduler, World, call, description, framework_info, task, task_id, uuid_of,
    },
};

struct Story {
    world: World,
    rng: Random,
    schedulers: Vec<Scheduler>,
    agents: Vec<(FakeAgent, String)>,
    offers: Vec<(usize, v1::Offer)>,
    tasks: u32,
    told: Told,
}

impl Story {
    fn pick(&mut self, below: usize) -> usize {
        usize::try_from(self.rng.next_u64() % below.max(1) as u64).unwrap_or_default()
    }

    fn subscribe(&mut self) {
        let info = v1::FrameworkInfo {
            checkpoint: Some(self.pick(2) == 0),
            failover_timeout: Some(if self.pick(2) == 0 { 0.0 } else { 30.0 }),
            ..framework_info()
        };
        let scheduler = self.world.subscribe(info).expect("the info of the tests is valid");
        self.schedulers.push(scheduler);
    }

    fn fail_over(&mut self) {
        if self.schedulers.is_empty() {
            return;
        }
        let index = self.pick(self.schedulers.len());
        let id = Some(v1::FrameworkId { value: self.schedulers[index].id.to_string() });
        match self.world.subscribe(v1::FrameworkInfo { id, ..framework_info() }) {
            Ok(scheduler) => self.schedulers[index] = scheduler,
            Err(_) => drop(self.schedulers.remove(index)),
        }
        self.offers.clear();
    }

    fn register(&mut self) {
        if self.agents.len() < 4 {
            let ip = format!("10.0.1.{}", self.tasks % 200 + self.agents.len() as u32);
            let agent = self.world.agent_described(description("cpus:4;mem:4096;ports:[1-100]", &ip));
            self.agents.push((agent, ip));
        }
    }

    /// The agent loses its session, or comes back with what the master believes it to run, less some.
    fn disturb(&mut self) {
        if self.agents.is_empty() {
            return;
        }
        let index = self.pick(self.agents.len());
        let (agent, ip) = self.agents[index].clone();
        match self.pick(4) {
            0 => self.world.step(Input::LinkDown(agent.link)),
            1 => self.world.step(Input::LinkResumed(agent.link)),
            2 => self.world.step(Input::LinkLost(agent.link)),
            _ => {
                let mut described = description("cpus:4;mem:4096;ports:[1-100]", &ip);
                if let Some(info) = &mut described.info {
                    info.id = Some(v1::AgentId { value: agent.id.to_string() });
                }
                let state = &self.world.master.state;
                let known: Vec<v1::Task> = state.agents.get(&agent.id).map_or_else(Vec::new, |entry| {
                    entry.tasks.values().map(|task| task.info.clone()).collect()
                });
                let frameworks = state.frameworks.values().map(|f| (*f.info).clone()).collect();
                let tasks = known.into_iter().filter(|_| !self.rng.next_u64().is_multiple_of(4)).collect();
                let link = self.world.reregister(link::Reregister {
                    agent: Some(described),
                    frameworks,
                    tasks,
                    ..Default::default()
                });
                self.agents[index].0.link = link;
            }
        }
    }

    fn collect_offers(&mut self) {
        for (index, scheduler) in self.schedulers.clone().iter().enumerate() {
            let events = self.world.events(scheduler);
            let offers = events.into_iter().filter_map(|event| event.offers).flat_map(|offers| offers.offers);
            self.offers.extend(offers.map(|offer| (index, offer)));
        }
    }

    fn accept(&mut self) {
        if self.offers.is_empty() {
            return;
        }
        let index = self.pick(self.offers.len());
        let (scheduler, offer) = self.offers.remove(index);
        let Some(scheduler) = self.schedulers.get(scheduler).cloned() else { return };
        if self.world.master.state.frameworks.get(&scheduler.id).is_none_or(|f| f.stream.is_none()) {
            return;
        }
        self.tasks += 1;
        let mut launched = task(&format!("t{}", self.tasks), &offer, "cpus:1;mem:256");
        if self.pick(3) == 0 {
            launched.command = None;
            launched.executor = Some(Box::new(v1::ExecutorInfo {
                executor_id: v1::ExecutorId { value: "e".into() },
                command: Some(v1::CommandInfo::default()),
                resources: crate::testing::resources("cpus:0.5;mem:64"),
                ..Default::default()
            }));
        }
        self.world.launch(&scheduler, &offer, vec![launched]);
    }

    /// Some task makes a step, or is acknowledged.
    fn progress(&mut self) {
        let all: Vec<_> = self
            .world
            .master
            .task_agents
            .iter()
            .flat_map(|(framework, tasks)| {
                tasks.iter().map(move |(t, a)| (framework.clone(), t.clone(), a.clone()))
            })
            .collect();
        if all.is_empty() {
            return;
        }
        let index = self.pick(all.len());
        let (framework, id, agent) = all[index].clone();
        let Some(scheduler) = self.schedulers.iter().find(|s| s.id == framework).cloned() else { return };
        let Some((agent, _)) = self.agents.iter().find(|(a, _)| a.id == agent).cloned() else { return };
        let state = [TaskState::TaskRunning, TaskState::TaskFinished, TaskState::TaskFailed][self.pick(3)];
        if self.world.master.links.contains_key(&agent.link) {
            self.world.update(&agent, &scheduler, &id, state);
        }
        let connected =
            self.world.master.state.frameworks.get(&framework).is_some_and(|f| f.stream.is_some());
        if connected && self.pick(2) == 0 {
            let acknowledge = call(call::Type::Acknowledge, |call| {
                call.acknowledge = Some(call::Acknowledge {
                    agent_id: v1::AgentId { value: agent.id.to_string() },
                    task_id: task_id(&id),
                    uuid: uuid_of(state),
                });
            });
            self.world.call(&scheduler, acknowledge);
        }
    }

    fn step(&mut self) {
        match self.pick(12) {
            0 if self.schedulers.len() < 4 => self.subscribe(),
            1 => self.fail_over(),
            2 => self.register(),
            3 => self.disturb(),
            4 if !self.schedulers.is_empty() => {
                let index = self.pick(self.schedulers.len());
                let scheduler = self.schedulers[index].clone();
                self.world.close(&scheduler);
            }
            5 if self.pick(4) == 0 && !self.agents.is_empty() => {
                let index = self.pick(self.agents.len());
                let (agent, _) = self.agents.remove(index);
                let gone = to_master::Message::Unregister(link::Unregister {});
                self.world.tell(agent.link, gone);
            }
            6 | 7 => self.progress(),
            8 => {
                let seconds = self.pick(40) as f64;
                self.world.pass(seconds);
                for (agent, _) in self.agents.clone() {
                    if self.world.master.links.contains_key(&agent.link) {
                        self.world.tell(agent.link, to_master::Message::Pong(link::Pong {}));
                    }
                }
            }
            _ => {
                self.collect_offers();
                self.accept();
            }
        }
    }

    fn check(&self) {
        let master = &self.world.master;
        let mut task_agents = BTreeMap::new();
        let mut offers = BTreeSet::new();
        for (id, agent) in &master.state.agents {
            let mut used: BTreeMap<_, Resources> = BTreeMap::new();
            for ((framework, task), entry) in agent.tasks.iter() {
                task_agents.insert((framework.clone(), task.clone()), id.clone());
                if !entry.recovered {
                    *used.entry(framework.clone()).or_default() += &*entry.resources;
                }
            }
            for ((framework, _), executor) in &agent.executors {
                let resources = Resources::from_proto(&executor.resources).expect("was accepted");
                *used.entry(framework.clone()).or_default() += &resources;
            }
            let known = agent.used.iter().map(|(framework, used)| (framework.clone(), (**used).clone()));
            assert_eq!(known.collect::<BTreeMap<_, _>>(), used, "what runs on {id} is what is used");
            let mut offered = Resources::default();
            for (offer_id, offer) in &agent.offers {
                offers.insert(offer_id.clone());
                offered += &offer.resources;
                assert!(master.framework_offers[&offer.framework].contains(offer_id));
            }
            assert_eq!(agent.offered, offered, "what is offered of {id}");
            let mut taken = offered.unallocated();
            for (framework, resources) in &agent.used {
                taken += &resources.unallocated();
                let mut held = (**resources).clone();
                for offer in agent.offers.values().filter(|offer| offer.framework == *framework) {
                    held += &offer.resources;
                }
                assert_eq!(master.allocator.held(framework, id), held, "what {framework} holds of {id}");
            }
            assert!(agent.total.contains(&taken), "{taken} of {} on {id}", agent.total);
            if let Some(link) = agent.link {
                assert_eq!(master.links.get(&link), Some(id));
            }
        }
        let booked: BTreeMap<_, _> = master
            .task_agents
            .iter()
            .flat_map(|(f, tasks)| tasks.iter().map(move |(t, a)| ((f.clone(), t.clone()), a.clone())))
            .collect();
        assert_eq!(booked, task_agents, "tasks are where the index says");
        assert_eq!(master.offer_agents.keys().cloned().collect::<BTreeSet<_>>(), offers);
        for (stream, framework) in &master.streams {
            let open = master.state.frameworks[framework].stream.as_ref().map(|(stream, _)| *stream);
            assert_eq!(open, Some(*stream));
        }
        for agent in master.state.agents.keys() {
            assert!(master.watches.contains_key(agent));
            assert!(!master.state.unreachable_agents.contains_key(agent));
        }
    }
}

#[test]
fn books_agree_whatever_happens() {
    for seed in 0..20 {
        let mut story = Story {
            world: World::new(),
            rng: Random::seeded(seed),
            schedulers: Vec::new(),
            agents: Vec::new(),
            offers: Vec::new(),
            tasks: 0,
            told: Told::default(),
        };
        story.world.master.keep_facts();
        for step in 0..300 {
            story.step();
            if story.pick(3) == 0 {
                story.told.take(&mut story.world);
            }
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| story.check()));
            assert!(checked.is_ok(), "seed {seed}, step {step}");
        }
        assert!(story.tasks > 0, "seed {seed} launched nothing");
    }
}
