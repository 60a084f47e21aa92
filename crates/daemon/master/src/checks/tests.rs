//! A master's core with its judge: under load nothing is wrong, and what is planted is found.

use std::time::Instant;

use mezzo_ids::{AgentId, FrameworkId};
use mezzo_master::{Config, Effect, Input, LinkId, OperatorCall, RequestId, StreamId};
use mezzo_mesos::v1::{
    self, TaskState,
    framework_info::capability::Type as Capability,
    offer::operation,
    scheduler::{Call, call},
};
use mezzo_protocol::link::{AgentDescription, Register, StatusUpdate, ToMaster, Unregister, to_master};
use mezzo_resources::{Form, parse_resources};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

fn config() -> Config {
    let process = crate::config::Config::default();
    let info = v1::MasterInfo { id: "m".into(), port: 5050, ..Default::default() };
    crate::run::core_config(&process, "m".into(), info).expect("defaults are valid")
}

fn resources(text: &str) -> Vec<v1::Resource> {
    parse_resources(text, "*").expect("valid").to_proto(Form::PostRefinement)
}

pub(crate) struct World {
    pub(crate) master: Master,
    now: Timestamp,
    rng: ChaCha12Rng,
    books: Books,
    /// Whether some passes find the judge busy.
    is_ever_busy: bool,
    passes: usize,
    wrong: Vec<checker::Violation>,
    next: u64,
    /// By stream: the framework.
    pub(crate) schedulers: BTreeMap<u64, FrameworkId>,
    /// By link.
    agents: BTreeMap<u64, AgentId>,
    offers: Vec<(u64, v1::Offer)>,
    /// Framework, agent's link, task.
    tasks: Vec<(FrameworkId, u64, String)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Timestamp::from_secs_f64(1_000_000.0);
        let mut master = Master::new(config(), now, Vec::new());
        master.keep_facts();
        Self {
            master,
            now,
            rng: ChaCha12Rng::seed_from_u64(seed),
            books: Books::new(&config()),
            is_ever_busy: true,
            passes: 0,
            wrong: Vec::new(),
            next: 0,
            schedulers: BTreeMap::new(),
            agents: BTreeMap::new(),
            offers: Vec::new(),
            tasks: Vec::new(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn pick(&mut self, below: usize) -> usize {
        (self.rng.next_u64() % below.max(1) as u64) as usize
    }

    /// Takes a step, and leaves its offers to whoever judges.
    fn step_unjudged(&mut self, input: Input) {
        for effect in self.master.step(self.now, &mut self.rng, input) {
            match effect {
                Effect::Event { stream, event } => {
                    if let Some(subscribed) = &event.subscribed {
                        let id = subscribed.framework_id.value.as_str();
                        self.schedulers.insert(stream.0, id.into());
                    }
                    let offers = event.offers.iter().flat_map(|offers| &offers.offers);
                    self.offers.extend(offers.map(|offer| (stream.0, offer.clone())));
                }
                Effect::ToAgent { link, message } => {
                    if let Some(mezzo_protocol::link::to_agent::Message::Registered(known)) = message.message
                    {
                        let id = known.agent_id.expect("an id").value;
                        self.agents.insert(link.0, id.as_str().into());
                    }
                }
                _ => {}
            }
        }
    }

    fn step(&mut self, input: Input) {
        self.step_unjudged(input);
        if self.master.has_offers_to_judge() && self.is_ever_busy && self.pick(10) == 0 {
            self.master.pass_over_offers();
        }
        if self.master.has_offers_to_judge()
            && let Some(facts) = self.master.take_facts(self.now)
        {
            self.passes += 1;
            self.wrong.extend(self.books.judge(facts));
        }
    }

    pub(crate) fn subscribe(&mut self, role: &str) {
        let capability = |kind: Capability| v1::framework_info::Capability { r#type: Some(kind.into()) };
        let framework_info = v1::FrameworkInfo {
            user: "nobody".into(),
            name: "test".into(),
            roles: vec![role.into()],
            capabilities: [Capability::MultiRole, Capability::ReservationRefinement].map(capability).into(),
            ..Default::default()
        };
        let subscribe = call::Subscribe { framework_info, ..Default::default() };
        let call = Call {
            r#type: Some(call::Type::Subscribe.into()),
            subscribe: Some(Box::new(subscribe)),
            ..Default::default()
        };
        let stream = self.number();
        let stream_uuid = format!("stream-{stream}").into();
        let (stream, call) = (StreamId(stream), Box::new(call));
        self.step(Input::Subscribe { stream, stream_uuid, call, principal: None });
    }

    fn call(&mut self, stream: u64, kind: call::Type, fill: impl FnOnce(&mut Call)) {
        let Some(id) = self.schedulers.get(&stream) else { return };
        let framework_id = Some(v1::FrameworkId { value: id.to_string() });
        let mut call = Call { framework_id, r#type: Some(kind.into()), ..Default::default() };
        fill(&mut call);
        let request = RequestId(self.number());
        let stream_uuid = Some(format!("stream-{stream}").into());
        self.step(Input::SchedulerCall { request, call: Box::new(call), stream_uuid, principal: None });
    }

    fn tell(&mut self, link: u64, message: to_master::Message) {
        let message = Box::new(ToMaster { message: Some(message) });
        self.step(Input::FromAgent { link: LinkId(link), message });
    }

    /// An agent's first message.
    fn registration(&mut self, text: &str) -> Input {
        let link = self.number();
        let kinds = [
            v1::agent_info::capability::Type::MultiRole,
            v1::agent_info::capability::Type::HierarchicalRole,
            v1::agent_info::capability::Type::ReservationRefinement,
        ];
        let info = v1::AgentInfo {
            hostname: format!("host-{link}"),
            resources: resources(text),
            ..Default::default()
        };
        let agent = AgentDescription {
            info: Some(info),
            ip: format!("10.0.{}.{}", link / 200, link % 200),
            port: 5051,
            version: "1.12.0".into(),
            capabilities: kinds.map(|t| v1::agent_info::Capability { r#type: Some(t.into()) }).into(),
            resources: resources(text),
            resource_version_uuid: vec![7; 16],
            ..Default::default()
        };
        let message = to_master::Message::Register(Register { agent: Some(agent) });
        Input::FromAgent { link: LinkId(link), message: Box::new(ToMaster { message: Some(message) }) }
    }

    fn limit(&mut self, role: &str, cpus: f64) {
        let limits = [("cpus".to_owned(), v1::value::Scalar { value: cpus })].into();
        let config = v1::quota::QuotaConfig { role: role.into(), limits, ..Default::default() };
        let update = v1::master::call::UpdateQuota { quota_configs: vec![config], ..Default::default() };
        let call = v1::master::Call {
            r#type: Some(v1::master::call::Type::UpdateQuota.into()),
            update_quota: Some(update),
            ..Default::default()
        };
        let request = RequestId(self.number());
        let call = OperatorCall::V1(Box::new(call));
        self.step(Input::Operator { request, call, principal: None });
    }

    /// Answers some offer in some way.
    fn answer(&mut self) {
        if self.offers.is_empty() {
            return;
        }
        let at = self.pick(self.offers.len());
        let (stream, offer) = self.offers.swap_remove(at);
        let (offer_ids, seconds) = (vec![offer.id.clone()], [0.0, 0.5, 3.0, 60.0][self.pick(4)]);
        let filters = Some(v1::Filters { refuse_seconds: Some(seconds) });
        if self.pick(3) == 0 {
            let decline = call::Decline { offer_ids, filters };
            return self.call(stream, call::Type::Decline, |call| call.decline = Some(decline));
        }
        let (id, role) =
            (format!("t{}", self.number()), offer.allocation_info.as_ref().and_then(|of| of.role.clone()));
        let mut wanted = resources("cpus:1;mem:64");
        for resource in &mut wanted {
            resource.allocation_info = Some(v1::resource::AllocationInfo { role: role.clone() });
        }
        let task = v1::TaskInfo {
            name: id.clone(),
            task_id: v1::TaskId { value: id.clone() },
            agent_id: offer.agent_id.clone(),
            resources: wanted,
            command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
            ..Default::default()
        };
        let launch = v1::offer::Operation {
            r#type: Some(operation::Type::Launch.into()),
            launch: Some(operation::Launch { task_infos: vec![task] }),
            ..Default::default()
        };
        let accept = call::Accept { offer_ids, operations: vec![launch], filters };
        let link =
            self.agents.iter().find(|(_, id)| id.as_str() == offer.agent_id.value).map(|(link, _)| *link);
        if let (Some(link), Some(framework)) = (link, self.schedulers.get(&stream)) {
            self.tasks.push((framework.clone(), link, id));
        }
        self.call(stream, call::Type::Accept, |call| call.accept = Some(accept));
    }

    fn finish(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let at = self.pick(self.tasks.len());
        let (framework, link, task) = self.tasks.swap_remove(at);
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task },
            state: TaskState::TaskFinished.into(),
            source: Some(v1::task_status::Source::Executor.into()),
            agent_id: self.agents.get(&link).map(|id| v1::AgentId { value: id.to_string() }),
            timestamp: Some(1.0),
            uuid: Some(vec![1; 16]),
            ..Default::default()
        };
        let update = StatusUpdate {
            framework_id: Some(v1::FrameworkId { value: framework.to_string() }),
            executor_id: None,
            latest_state: status.state,
            status: Some(status),
        };
        self.tell(link, to_master::Message::StatusUpdate(update));
    }

    fn some_stream(&mut self) -> Option<u64> {
        let at = self.pick(self.schedulers.len());
        self.schedulers.keys().nth(at).copied()
    }

    fn play(&mut self) {
        match self.pick(40) {
            0 if self.agents.len() < 12 => {
                let text = ["cpus:4;mem:512", "cpus:8;mem:512;cpus(a):2", "cpus:2;mem:1024;ports:[1-9]"];
                let text = text[self.pick(3)];
                let registration = self.registration(text);
                self.step(registration);
            }
            1 => {
                let at = self.pick(3 * self.agents.len());
                if let Some(link) = self.agents.keys().nth(at).copied() {
                    self.tell(link, to_master::Message::Unregister(Unregister {}));
                    self.agents.remove(&link);
                }
            }
            2 if self.schedulers.len() < 8 => {
                let role = ["a", "a/x", "b", "c"][self.pick(4)];
                self.subscribe(role);
            }
            3 => {
                if let Some(stream) = self.some_stream().filter(|_| self.next.is_multiple_of(3)) {
                    self.schedulers.remove(&stream);
                    self.step(Input::StreamClosed(StreamId(stream)));
                }
            }
            4 => {
                let kind = [call::Type::Suppress, call::Type::Revive, call::Type::Revive][self.pick(3)];
                if let Some(stream) = self.some_stream() {
                    self.call(stream, kind, |_| {});
                }
            }
            5 => {
                let cpus = self.pick(20) as f64;
                self.limit("c", cpus);
            }
            6..20 => self.answer(),
            20..30 => self.finish(),
            _ => {
                let tenths = self.pick(12) as u64;
                let end = self.now + Duration::from_millis(100 * tenths);
                while let Some(at) = self.master.next_deadline().filter(|at| *at <= end) {
                    self.now = self.now.max(at);
                    self.step(Input::Timer);
                }
                self.now = end;
            }
        }
    }
}

/// A master with two frameworks of which one was offered everything, and the facts of that offer.
fn offered() -> (World, Facts) {
    let mut world = World::new(1);
    world.subscribe("a");
    world.subscribe("b");
    let registration = world.registration("cpus:4;mem:512");
    world.step_unjudged(registration);
    let facts = world.master.take_facts(world.now).expect("facts are kept");
    assert_eq!((facts.offers.len(), world.passes), (1, 0));
    world.is_ever_busy = false;
    (world, facts)
}

/// The same offer once more, to the other framework.
fn plant_double_offer(facts: &mut Facts) {
    let (_, agent) = facts.agents.iter_mut().find(|(_, agent)| agent.is_some()).expect("an agent");
    let agent = Arc::make_mut(agent.as_mut().expect("is there"));
    let mut offer = (**agent.offers.values().next().expect("an offer")).clone();
    let (other, known) = facts.frameworks.iter().find(|(id, _)| *id != offer.framework).expect("another");
    offer.framework = other.clone();
    offer.role = known.as_ref().expect("is there").roles[0].clone();
    offer.resources = offer.resources.allocated(&offer.role);
    offer.id = "planted".into();
    facts.offers.push(offer.id.clone());
    agent.offers.insert(offer.id.clone(), Arc::new(offer));
}

#[test]
fn under_load_nothing_is_wrong() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.play();
            assert_eq!(world.wrong, [], "seed {seed}, pass {}", world.passes);
        }
        assert!(world.passes > 100, "seed {seed}: {} passes", world.passes);
    }
}

#[test]
fn a_planted_double_offer_is_found() {
    let (mut world, mut facts) = offered();
    assert_eq!(world.books.judge(facts.clone()), []);
    plant_double_offer(&mut facts);
    facts.is_whole = true;
    let wrong = Books::new(&config()).judge(facts);
    assert!(matches!(wrong.as_slice(), [checker::Violation::Exceeded { .. }]), "{wrong:?}");
}

#[test]
fn a_planted_offer_of_what_was_refused_is_found() {
    let (mut world, facts) = offered();
    assert_eq!(world.books.judge(facts.clone()), []);
    let (stream, offer) = world.offers.remove(0);
    let filters = Some(v1::Filters { refuse_seconds: Some(100.0) });
    let decline = call::Decline { offer_ids: vec![offer.id], filters };
    world.call(stream, call::Type::Decline, |call| call.decline = Some(decline));
    world.now = world.now + Duration::from_millis(10);
    world.step(Input::Timer);
    assert_eq!((world.passes, world.wrong.as_slice()), (1, [].as_slice()), "the other framework has it");
    // As if it had come back, and were offered to the first one again.
    let mut planted =
        Facts { now: world.now + Duration::from_secs(99), is_whole: false, refusals: Vec::new(), ..facts };
    let wrong = world.books.judge(planted.clone());
    assert!(
        wrong.iter().any(|wrong| matches!(wrong, checker::Violation::NotFor { rule: 89, .. })),
        "{wrong:?}"
    );
    planted.now = world.now + Duration::from_secs(102);
    let wrong = world.books.judge(planted);
    assert!(!wrong.iter().any(|wrong| matches!(wrong, checker::Violation::NotFor { .. })), "{wrong:?}");
}

#[test]
fn findings_are_counted_and_a_busy_judge_is_not_waited_for() {
    let (mut world, mut facts) = offered();
    plant_double_offer(&mut facts);
    let counts = Arc::<Counts>::default();
    let witness = Witness::start(&config(), counts.clone()).expect("a thread");
    counts.waiting.fetch_add(1, Ordering::Relaxed);
    counts.waiting_parts.fetch_add(parts(&facts), Ordering::Relaxed);
    witness.judge.send(facts).expect("the judge lives");
    let begun = Instant::now();
    while counts.checks.load(Ordering::Relaxed) == 0 && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(1));
    }
    let values = |counts: &Counts| counts.values().map(|(_, value)| value);
    assert_eq!(values(&counts), [1.0, 0.0, 1.0]);
    counts.waiting.store(WAITING_MAX, Ordering::Relaxed);
    let (stream, offer) = world.offers.remove(0);
    let decline = call::Decline { offer_ids: vec![offer.id], filters: None };
    let mut call = Call {
        framework_id: Some(v1::FrameworkId { value: world.schedulers[&stream].to_string() }),
        r#type: Some(call::Type::Decline.into()),
        ..Default::default()
    };
    call.decline = Some(decline);
    let stream_uuid = Some(format!("stream-{stream}").into());
    let call = Box::new(call);
    world.step_unjudged(Input::SchedulerCall { request: RequestId(99), call, stream_uuid, principal: None });
    world.now = world.now + Duration::from_millis(10);
    world.step_unjudged(Input::Timer);
    assert!(world.master.has_offers_to_judge());
    witness.look(&mut world.master, world.now);
    assert_eq!(values(&counts), [1.0, 1.0, 1.0]);
    assert!(!world.master.has_offers_to_judge());
    // What changed is told later.
    let facts = world.master.take_facts(world.now).expect("facts are kept");
    assert_eq!((facts.agents.len(), facts.refusals.len(), facts.offers.len()), (1, 1, 0));
}
