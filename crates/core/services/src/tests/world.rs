//! Plays master, agents, clients and disk around one machine, and lets the checker look at every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use mezzo_mesos::v1::{self, TaskState, scheduler::Call, task_status::Reason};
use mezzo_services_model::*;
use mezzo_time::Timestamp;
use rand_core::TryRng;

use crate::{
    Answer, Change, Config, Effect, Input, Kill, Probe, ProbeOutcome, Record, Request, RequestId, Services,
    Snapshot, checker, fixtures, replay,
};

pub(crate) use crate::fixtures::path;

/// A small generator of its own, so that tests depend on nothing.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ (mixed >> 31))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let next = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
        Ok(())
    }
}

pub(crate) const START: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

pub(crate) fn app(id: &str, instances: u32) -> App {
    App {
        instances,
        resources: Resources { cpus: 0.1, mem: 16.0, disk: 0.0, gpus: 0 },
        role: "*".into(),
        version: Timestamp::ZERO,
        version_info: VersionInfo {
            last_scaling_at: Timestamp::ZERO,
            last_config_change_at: Timestamp::ZERO,
        },
        ..fixtures::app(id)
    }
}

pub(crate) fn port(name: &str, number: u16) -> PortDefinition {
    PortDefinition {
        port: number,
        name: Some(name.into()),
        protocols: Protocols::TCP,
        labels: BTreeMap::new(),
    }
}

pub(crate) fn http_check() -> AppHealthCheck {
    AppHealthCheck {
        protocol: HealthProtocol::Http,
        command: None,
        port: Some(PortRef::Index(0)),
        path: Some("/health".into()),
        ipv6: false,
        ignore_http_1xx: false,
        grace_period: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        delay: Duration::ZERO,
        max_consecutive_failures: 3,
    }
}

pub(crate) struct World {
    pub(crate) services: Services,
    pub(crate) config: Config,
    pub(crate) now: Timestamp,
    dice: Dice,
    /// What is on disk, one entry per write.
    pub(crate) disk: Vec<Vec<Record>>,
    pub(crate) events: Vec<EventKind>,
    pub(crate) calls: Vec<Call>,
    pub(crate) answers: BTreeMap<RequestId, Answer>,
    pub(crate) probes: Vec<Probe>,
    /// Launched tasks that have not ended, with their agents.
    pub(crate) tasks: BTreeMap<String, String>,
    /// Kills that were asked for.
    pub(crate) killed: Vec<String>,
    /// Tasks whose start nobody has told yet.
    started: BTreeSet<String>,
    next: u64,
    /// How answers to probes go; none: they stay out.
    pub(crate) probe_answer: Option<u16>,
    pub(crate) agents: u32,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config { launch_tokens: 100_000, instances_per_offer: 100, ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Self {
        let mut dice = Dice(7);
        let (services, effects) = Services::new(config.clone(), START, &mut dice);
        let mut world = Self {
            services,
            config,
            now: START,
            dice,
            disk: Vec::new(),
            events: Vec::new(),
            calls: Vec::new(),
            answers: BTreeMap::new(),
            probes: Vec::new(),
            tasks: BTreeMap::new(),
            killed: Vec::new(),
            started: BTreeSet::new(),
            next: 0,
            probe_answer: Some(200),
            agents: 4,
        };
        world.perform(effects);
        world.subscribe();
        world
    }

    pub(crate) fn subscribe(&mut self) {
        let framework = v1::FrameworkId { value: "f1".into() };
        self.step(Input::Subscribed { framework, master: "m".into(), region: None });
    }

    pub(crate) fn step(&mut self, input: Input) {
        let before = self.services.snapshot();
        let effects = self.services.step(self.now, &mut self.dice, input);
        let wrong = checker::check_step(&before, &self.services.snapshot());
        assert!(wrong.is_empty(), "{wrong:?}");
        self.perform(effects);
    }

    pub(crate) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(records) => self.disk.push(records),
                Effect::Call(call) => self.on_call(*call),
                Effect::Answer(id, answer) => {
                    if let Answer::Planned(plan) = &answer {
                        let wrong = checker::check_plan(plan);
                        assert!(wrong.is_empty(), "{wrong:?}");
                    }
                    self.answers.insert(id, answer);
                }
                Effect::Publish(event) => self.events.push(event.kind),
                Effect::Probe(probe) => self.probes.push(probe),
            }
        }
    }

    fn on_call(&mut self, call: Call) {
        for operation in call.accept.iter().flat_map(|accept| &accept.operations) {
            for task in operation.launch.iter().flat_map(|launch| &launch.task_infos) {
                self.tasks.insert(task.task_id.value.clone(), task.agent_id.value.clone());
                self.started.insert(task.task_id.value.clone());
            }
        }
        if let Some(kill) = &call.kill {
            self.killed.push(kill.task_id.value.clone());
        }
        self.calls.push(call);
    }

    pub(crate) fn offers(&mut self) {
        let scalar = |name: &str, value: f64| v1::Resource {
            name: name.into(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value }),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".into()) }),
            ..Default::default()
        };
        let offers = (0..self.agents).map(|agent| {
            self.next += 1;
            let ports = v1::Resource {
                name: "ports".into(),
                r#type: v1::value::Type::Ranges.into(),
                ranges: Some(v1::value::Ranges {
                    range: vec![v1::value::Range { begin: 31_000, end: 32_000 }],
                }),
                allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".into()) }),
                ..Default::default()
            };
            Arc::new(v1::Offer {
                id: v1::OfferId { value: format!("o{}", self.next) },
                framework_id: v1::FrameworkId { value: "f1".into() },
                agent_id: v1::AgentId { value: format!("a{agent}") },
                hostname: format!("h{agent}"),
                resources: vec![
                    scalar("cpus", 64.0),
                    scalar("mem", 65_536.0),
                    scalar("disk", 9_999.0),
                    ports,
                ],
                allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".into()) }),
                ..Default::default()
            })
        });
        let offers = offers.collect();
        self.step(Input::Offers(offers));
    }

    pub(crate) fn update(&mut self, task: &str, state: TaskState) {
        self.update_with(task, state, None);
    }

    pub(crate) fn update_with(&mut self, task: &str, state: TaskState, reason: Option<Reason>) {
        self.next += 1;
        let agent = self.tasks.get(task).cloned().unwrap_or_else(|| "a0".into());
        let over = !matches!(
            state,
            TaskState::TaskRunning
                | TaskState::TaskStaging
                | TaskState::TaskStarting
                | TaskState::TaskUnreachable
        );
        if over {
            self.tasks.remove(task);
        }
        self.started.remove(task);
        let unreachable_time = (state == TaskState::TaskUnreachable)
            .then_some(v1::TimeInfo { nanoseconds: self.now.as_nanos() });
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.into() },
            state: state.into(),
            reason: reason.map(Into::into),
            agent_id: Some(v1::AgentId { value: agent }),
            uuid: Some(self.next.to_le_bytes().to_vec()),
            unreachable_time,
            ..Default::default()
        };
        self.step(Input::Update(Box::new(status)));
    }

    /// One round of what a cluster does: offers, starts, ends.
    pub(crate) fn round(&mut self) {
        self.offers();
        for task in std::mem::take(&mut self.started) {
            self.update(&task, TaskState::TaskRunning);
        }
        for task in std::mem::take(&mut self.killed) {
            if self.tasks.contains_key(&task) {
                self.update(&task, TaskState::TaskKilled);
            }
        }
        if let Some(status) = self.probe_answer {
            self.answer_probes(status);
        }
    }

    pub(crate) fn answer_probes(&mut self, status: u16) {
        for probe in std::mem::take(&mut self.probes) {
            let answer = HttpAnswer { status, content_type: "text/plain".into(), body: "x".into() };
            self.step(Input::Probed(probe.id, ProbeOutcome::Answered(answer)));
        }
    }

    /// Rounds a second apart until no deployment runs.
    pub(crate) fn settle(&mut self) {
        for _ in 0..400 {
            self.round();
            self.pass(1);
            if self.snapshot().deployments.is_empty() && self.started.is_empty() && self.killed.is_empty() {
                return;
            }
        }
        panic!("deployments do not end: {:?}", self.snapshot().deployments);
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.services.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step(Input::Timer);
        }
        self.now = end;
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.services.snapshot()
    }

    pub(crate) fn request(&mut self, request: Request) -> Answer {
        self.next += 1;
        let id = RequestId(self.next);
        self.step(Input::Request(id, request));
        self.answers.remove(&id).expect("every request is answered in its step")
    }

    pub(crate) fn change(&self, edit: impl FnOnce(&mut Group)) -> Change {
        let root = self.snapshot().root;
        let mut target = (*root).clone();
        edit(&mut target);
        Change {
            base: root.version,
            target: Arc::new(target),
            group: PathId::root(),
            restart: BTreeSet::new(),
            kill: BTreeSet::new(),
            force: false,
            dry_run: false,
            principal: None,
        }
    }

    pub(crate) fn send(&mut self, change: Change) -> Answer {
        self.request(Request::Change(Box::new(change)))
    }

    /// Puts apps, as an accepted change.
    pub(crate) fn put(&mut self, apps: impl IntoIterator<Item = App>) -> Arc<Plan> {
        let change = self.change(|root| apps.into_iter().for_each(|app| insert(root, app)));
        planned(self.send(change))
    }

    pub(crate) fn edit(&mut self, id: &str, edit: impl FnOnce(&mut App)) -> Arc<Plan> {
        let mut app = (**self.snapshot().root.app(&path(id)).unwrap()).clone();
        edit(&mut app);
        self.put([app])
    }

    pub(crate) fn remove(&mut self, id: &str) -> Arc<Plan> {
        let id = path(id);
        let change = self.change(|root| {
            *root = root.updated(&id.parent(), root.version, &mut |group| {
                group.apps.remove(&id);
            });
        });
        planned(self.send(change))
    }

    pub(crate) fn kill(&mut self, ids: impl IntoIterator<Item = InstanceId>, wipe: bool) {
        let kill = Kill { instances: ids.into_iter().collect(), wipe };
        assert_eq!(self.request(Request::Kill(kill)), Answer::Done);
    }

    pub(crate) fn instances(&self, id: &str) -> Vec<Arc<Instance>> {
        let snapshot = self.snapshot();
        snapshot.instances.get(&path(id)).into_iter().flat_map(|all| all.values().cloned()).collect()
    }

    pub(crate) fn running(&self, id: &str) -> Vec<Arc<Instance>> {
        let all = self.instances(id);
        all.into_iter()
            .filter(|one| one.condition == Condition::Running && one.goal == Goal::Running)
            .collect()
    }

    pub(crate) fn task_of(&self, instance: &Instance) -> String {
        instance.tasks.values().next().unwrap().id.to_string()
    }

    /// The machine ends after `kept` of its writes; another takes its place.
    pub(crate) fn crash(&mut self, kept: usize) {
        self.disk.truncate(kept);
        let recovered = replay(self.disk.iter().flatten());
        let (services, effects) = Services::recover(self.config.clone(), recovered, self.now, &mut self.dice);
        self.services = services;
        self.probes.clear();
        self.perform(effects);
        self.subscribe();
    }

    /// What the master answers to the question what there is: all tasks that run, and that all others are gone.
    pub(crate) fn reconcile(&mut self) {
        let snapshot = self.snapshot();
        let known: Vec<String> = snapshot
            .instances
            .values()
            .flat_map(|all| all.values())
            .flat_map(|one| one.tasks.values().map(|task| task.id.to_string()))
            .collect();
        for task in self.tasks.keys().cloned().collect::<Vec<_>>() {
            self.update(&task, TaskState::TaskRunning);
        }
        let gone: Vec<String> = known.into_iter().filter(|task| !self.tasks.contains_key(task)).collect();
        for task in gone {
            self.update_with(&task, TaskState::TaskGone, Some(Reason::Reconciliation));
        }
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.events.iter().map(name).collect()
    }
}

pub(crate) fn insert(root: &mut Group, app: App) {
    let (id, version) = (app.id.clone(), root.version);
    let app = Arc::new(app);
    *root = root.updated(&id.parent(), version, &mut |group| {
        group.apps.insert(id.clone(), app.clone());
    });
}

pub(crate) fn planned(answer: Answer) -> Arc<Plan> {
    match answer {
        Answer::Planned(plan) => plan,
        other => panic!("{other:?}"),
    }
}

/// The steps of a plan in short.
pub(crate) fn steps(plan: &Plan) -> Vec<Vec<String>> {
    let action = |action: &Action| match action.kind {
        ActionKind::Start => format!("start {}", action.run_spec),
        ActionKind::Stop => format!("stop {}", action.run_spec),
        ActionKind::Scale { to } => format!("scale {} {to}", action.run_spec),
        ActionKind::Restart => format!("restart {}", action.run_spec),
    };
    plan.steps.iter().map(|step| step.actions.iter().map(action).collect()).collect()
}

fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::GroupChanged { .. } => "group",
        EventKind::GroupChangeFailed { .. } => "group failed",
        EventKind::DeploymentInfo { .. } => "step",
        EventKind::DeploymentStepSucceeded { .. } => "step done",
        EventKind::DeploymentSucceeded { .. } => "done",
        EventKind::DeploymentFailed { .. } => "failed",
        EventKind::AppTerminated { .. } => "terminated",
        EventKind::HealthCheckFailed { .. } => "check failed",
        EventKind::HealthStatusChanged { .. } => "health",
        EventKind::UnhealthyInstanceKilled { .. } => "unhealthy killed",
        EventKind::UnknownInstanceTerminated { .. } => "unknown terminated",
        _ => "",
    }
}
