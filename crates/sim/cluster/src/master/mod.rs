//! The master's process: the real core, driven as the daemon drives it.

pub(crate) mod links;
pub(crate) mod streams;

use std::collections::BTreeMap;

use mezzo_ids::{MasterId, Uuid};
use mezzo_master::{
    Answer, Config, Effect, Input, LinkId, Master, OperatorCall, RequestId, StreamId, registry, state,
};
use mezzo_mesos::v1;
use mezzo_protocol::records::{RegistryRecord, registry_record::Record};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use self::links::MasterLink;
use crate::{
    clock::Clock,
    event::Event,
    line::{Line, Next},
    queue::Nanos,
    random::{Actor, Draw, source},
    scheduler::Note,
    setup::Setup,
    world::World,
};

/// Ended tasks that the master keeps per framework: nobody asks a simulated one for them.
const COMPLETED_TASKS_MAX: usize = 10;

/// A call that waits for its answer.
#[derive(Debug)]
pub(crate) struct Asked {
    scheduler: u32,
    note: Option<Box<Note>>,
    answer_lost: bool,
}

/// The machine with the master.
pub(crate) struct MasterHost {
    pub(crate) core: Option<Box<Master>>,
    pub(crate) life: u32,
    rng: ChaCha8Rng,
    line: Line<Effect>,
    /// What survives, by key.
    pub(crate) registry: BTreeMap<String, RegistryRecord>,
    unsynced: Vec<RegistryRecord>,
    pub(crate) full_until: Nanos,
    pub(crate) slow: (Nanos, Nanos),
    pub(crate) clock: Clock,
    pub(crate) paused_until: Nanos,
    wake: Option<Nanos>,
    pub(crate) links: BTreeMap<LinkId, MasterLink>,
    pub(crate) sessions: BTreeMap<[u8; 16], LinkId>,
    asked: BTreeMap<RequestId, Asked>,
}

impl MasterHost {
    /// A second pause within the first is part of it: what was held up would lose its order otherwise.
    pub(crate) fn pause(&mut self, now: Nanos, until: Nanos) {
        if self.paused_until <= now {
            self.paused_until = until;
        }
    }

    /// A wake-up came while the process stood still.
    pub(crate) fn forget_wake(&mut self) {
        self.wake = None;
    }

    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            core: None,
            life: 0,
            rng: source(setup.seed, Actor::Master),
            line: Line::default(),
            registry: BTreeMap::new(),
            unsynced: Vec::new(),
            full_until: 0,
            slow: (0, 0),
            clock: Clock::default(),
            paused_until: 0,
            wake: None,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    fn config(&mut self, setup: &Setup) -> Config {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        let id = Uuid::from_random(bytes).to_string();
        let capability = v1::master_info::capability::Type::AgentUpdate as i32;
        let info = v1::MasterInfo {
            id: id.clone(),
            port: 5050,
            hostname: Some("master".into()),
            version: Some("1.11.0".into()),
            capabilities: vec![v1::master_info::Capability { r#type: Some(capability) }],
            ..Default::default()
        };
        let flags = &setup.master;
        Config {
            id: MasterId::from(id),
            info,
            agent_ping_timeout: flags.agent_ping_timeout,
            agent_ping_timeouts_max: flags.agent_ping_timeouts_max,
            agent_reregister_timeout: flags.agent_reregister_timeout,
            recovery_agent_removal_limit: 1.0,
            agent_removal_rate_limit: flags.agent_removal_every.map(|every| (1, every)),
            offer_timeout: flags.offer_timeout,
            root_submissions: true,
            roles: None,
            require_agent_domain: false,
            completed_frameworks_max: state::COMPLETED_FRAMEWORKS_MAX,
            completed_tasks_max: COMPLETED_TASKS_MAX,
            unreachable_tasks_max: state::UNREACHABLE_TASKS_MAX,
            registry_agent_age_max: std::time::Duration::from_secs(14 * 24 * 3600),
            registry_agent_count_max: 102_400,
            registry_gc_interval: std::time::Duration::from_secs(900),
            agent_url_path: "/agent(1)".into(),
            constraint_limits: Default::default(),
            allocator: mezzo_allocator::Config {
                allocation_interval: flags.allocation_interval,
                role_sorter: flags.sorter,
                framework_sorter: flags.sorter,
                agent_preference: flags.preference.clone(),
                ..Default::default()
            },
        }
    }
}

impl World<'_> {
    pub(crate) fn master_start(&mut self) {
        let now = self.now;
        let host = &mut self.master;
        let config = host.config(&self.setup);
        let records: Vec<RegistryRecord> = host.registry.values().cloned().collect();
        let info = RegistryRecord { record: Some(Record::Master(config.info.clone())) };
        host.registry.insert("master".into(), info);
        host.clock.start(now);
        let clock = host.clock.at(now);
        let mut core = Master::new(config, clock, records);
        core.set_watched(false);
        host.core = Some(Box::new(core));
        self.checks.on_master_start();
        self.log(|| "master starts".to_owned());
        self.set_roles();
        self.master_step(Input::Timer);
    }

    /// Weights and quotas, as an operator sets them on a new cluster, and again when the master that was asked
    /// died over it.
    fn set_roles(&mut self) {
        let Some((weights, quotas)) =
            self.master.core.as_ref().map(|core| (core.state().weights.clone(), core.state().quotas.clone()))
        else {
            return;
        };
        for role in self.setup.roles.clone() {
            if role.weight != 1.0 && !weights.contains_key(role.name.as_str()) {
                let weight = self.mutate_weight(&role);
                let info = v1::WeightInfo { weight, role: Some(role.name.clone()) };
                let update = v1::master::call::UpdateWeights { weight_infos: vec![info] };
                self.operate(v1::master::Call {
                    r#type: Some(v1::master::call::Type::UpdateWeights as i32),
                    update_weights: Some(update),
                    ..Default::default()
                });
            }
            if !role.has_quota() || quotas.contains_key(role.name.as_str()) {
                continue;
            }
            let scalars = |amounts: &BTreeMap<String, f64>| {
                amounts
                    .iter()
                    .map(|(name, value)| (name.clone(), v1::value::Scalar { value: *value }))
                    .collect()
            };
            let config = v1::quota::QuotaConfig {
                role: role.name.clone(),
                guarantees: scalars(&role.guarantee),
                limits: scalars(&role.limit),
            };
            let update = v1::master::call::UpdateQuota { force: Some(true), quota_configs: vec![config] };
            self.operate(v1::master::Call {
                r#type: Some(v1::master::call::Type::UpdateQuota as i32),
                update_quota: Some(update),
                ..Default::default()
            });
        }
    }

    /// A call of an operator, who is told when it does not work.
    pub(crate) fn operate(&mut self, call: v1::master::Call) {
        let request = RequestId(self.mint());
        self.master_step(Input::Operator {
            request,
            call: OperatorCall::V1(Box::new(call)),
            principal: None,
        });
    }

    pub(crate) fn master_crash(&mut self, down: Nanos) {
        self.log(|| "master dies".to_owned());
        let host = &mut self.master;
        host.life += 1;
        host.core = None;
        host.line.end();
        host.wake = None;
        host.paused_until = 0;
        host.sessions.clear();
        // A transaction is there as a whole, or not at all.
        let unsynced = std::mem::take(&mut host.unsynced);
        if self.disk_rng.percent(50) {
            self.master.apply(unsynced);
        }
        let links = std::mem::take(&mut self.master.links);
        for link in links.into_values() {
            if let Some(conn) = link.conn {
                self.conns[conn as usize].master_open = false;
                self.close_at(conn, crate::event::Side::Agent);
            }
        }
        for asked in std::mem::take(&mut self.master.asked).into_values() {
            self.answer_lost(asked.scheduler, asked.note);
        }
        self.streams_die();
        self.checks.on_master_end();
        let life = self.master.life;
        self.queue.push(self.now + down, Event::MasterStart { life });
    }

    pub(crate) fn master_step(&mut self, input: Input) {
        if self.master.core.is_none() {
            return;
        }
        let clock = self.master.clock.at(self.now);
        let input = self.before_step(clock, input);
        let host = &mut self.master;
        let Some(core) = host.core.as_mut() else { return };
        let effects = core.step(clock, &mut host.rng, input);
        let effects = self.after_step(clock, effects);
        if !effects.is_empty() {
            self.master.line.extend(effects);
            self.master_perform();
        }
        self.master_arm();
    }

    pub(crate) fn master_arm(&mut self) {
        let host = &mut self.master;
        let Some(due) = host.core.as_ref().and_then(|core| core.next_deadline()) else { return };
        let at = host.clock.due(self.now, due);
        if host.wake.is_none_or(|wake| at < wake) {
            host.wake = Some(at);
            self.queue.push(at, Event::MasterWake);
        }
    }

    pub(crate) fn on_master_wake(&mut self) {
        if self.master.wake != Some(self.now) {
            return;
        }
        self.master.wake = None;
        let clock = self.master.clock.at(self.now);
        let due = self.master.core.as_ref().and_then(|core| core.next_deadline());
        if due.is_some_and(|due| due <= clock) {
            self.master_step(Input::Timer);
        } else {
            self.master_arm();
        }
    }

    fn master_perform(&mut self) {
        loop {
            let host = &mut self.master;
            match host.line.next(|effect| matches!(effect, Effect::Persist(_))) {
                Next::Nothing => return,
                Next::Perform(effect) => self.perform_master(effect),
                Next::Write => {
                    for effect in host.line.records() {
                        if let Effect::Persist(record) = effect {
                            host.unsynced.push(std::mem::take(&mut **record));
                        }
                    }
                    if host.full_until > self.now {
                        self.log(|| "master cannot write the registry and ends".to_owned());
                        self.master.unsynced.clear();
                        return self.master_crash(crate::agent::RESTART);
                    }
                    let mut sync = crate::network::draw(&mut self.disk_rng, self.setup.sync);
                    if host.slow.1 > self.now {
                        sync = sync.max(host.slow.0);
                    }
                    let life = host.life;
                    return self.queue.push(self.now + sync, Event::MasterSynced { life });
                }
            }
        }
    }

    pub(crate) fn on_master_synced(&mut self) {
        let unsynced = std::mem::take(&mut self.master.unsynced);
        self.master.apply(unsynced);
        for effect in self.master.line.written() {
            let life = self.master.life;
            self.perform_master(effect);
            if self.master.life != life {
                return;
            }
        }
        self.master_perform();
    }

    fn perform_master(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(_) | Effect::Publish(_) => {}
            Effect::Event { stream, event } => self.stream_sends(stream, event),
            Effect::CloseStream(stream) => self.stream_ends(stream),
            Effect::StartHeartbeat(StreamId(stream)) => self.on_heartbeat(stream),
            Effect::ToAgent { link, message } => self.master_sends(link, message),
            Effect::CloseLink(link) => self.master_closes(link),
            Effect::Answer { request, answer } => self.master_answers(request, answer),
            Effect::Exit(why) => {
                self.log(|| format!("master exits: {why}"));
                self.master_crash(crate::agent::RESTART);
            }
        }
    }

    /// A call arrives, unless nobody is there to take it.
    pub(crate) fn on_call(
        &mut self,
        scheduler: u32,
        stream: u64,
        call: Box<v1::scheduler::Call>,
        note: Option<Box<Note>>,
        answer_lost: bool,
    ) {
        if self.master.core.is_none() {
            return self.answer_lost(scheduler, note);
        }
        let request = RequestId(self.mint());
        if note.is_some() {
            self.master.asked.insert(request, Asked { scheduler, note, answer_lost });
        }
        let known = self.streams.get(&stream).map(|stream| stream.uuid.clone());
        let stream_uuid = Some(known.unwrap_or_else(|| streams::uuid(stream).into()));
        self.master_step(Input::SchedulerCall { request, call, stream_uuid, principal: None });
    }

    fn master_answers(&mut self, request: RequestId, answer: Answer) {
        let Some(asked) = self.master.asked.remove(&request) else { return };
        let Some(note) = asked.note else { return };
        if asked.answer_lost {
            return self.answer_lost(asked.scheduler, Some(note));
        }
        let refused = !matches!(answer, Answer::Ok | Answer::Accepted);
        if refused {
            let at = self.net.on_stream(self.now, asked.scheduler as usize, crate::event::Side::Agent);
            let life = self.schedulers[asked.scheduler as usize].life;
            let event = Event::Answered { scheduler: asked.scheduler, life, refused, note };
            self.queue.push(at, event);
        }
    }
}

impl MasterHost {
    fn apply(&mut self, records: Vec<RegistryRecord>) {
        for record in records {
            let Some(key) = registry::key(&record) else { continue };
            if registry::forgets(&record) {
                self.registry.remove(&key);
            } else {
                self.registry.insert(key, record);
            }
        }
    }
}
