//! A master with schedulers and agents that are played by the test.
//!
//! [`World`] owns the clock and keeps what the master did: events per stream, messages per link,
//! answers, records and what operators were told. Reading one of them empties it.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use mezzo_ids::{AgentId, FrameworkId, MasterId, Principal};
use mezzo_mesos::v1::{self, scheduler};
use mezzo_protocol::{
    link::{self, to_agent, to_master},
    records::{RegistryRecord, registry_record::Record},
};
use mezzo_resources::{Form, parse_resources};
use mezzo_time::Timestamp;

use crate::{Answer, Config, Effect, Input, LinkId, Master, RequestId, StreamId};

/// A small random source that is the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }
}

impl rand_core::TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
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
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

/// The settings that a master has by default, with an id that reads well.
pub(crate) fn config() -> Config {
    Config {
        id: MasterId::from("m"),
        info: v1::MasterInfo { id: "m".into(), port: 5050, ..Default::default() },
        agent_ping_timeout: Duration::from_secs(15),
        agent_ping_timeouts_max: 5,
        agent_reregister_timeout: Duration::from_secs(600),
        recovery_agent_removal_limit: 1.0,
        agent_removal_rate_limit: None,
        offer_timeout: None,
        root_submissions: true,
        roles: None,
        require_agent_domain: false,
        completed_frameworks_max: crate::state::COMPLETED_FRAMEWORKS_MAX,
        completed_tasks_max: crate::state::COMPLETED_TASKS_MAX,
        unreachable_tasks_max: crate::state::UNREACHABLE_TASKS_MAX,
        registry_agent_age_max: Duration::from_secs(14 * 24 * 3600),
        registry_agent_count_max: 102_400,
        registry_gc_interval: Duration::from_secs(900),
        agent_url_path: "/agent(1)".into(),
        constraint_limits: Default::default(),
        allocator: Default::default(),
    }
}

pub(crate) struct World {
    pub(crate) master: Master,
    pub(crate) now: Timestamp,
    rng: Random,
    next: u64,
    events: BTreeMap<StreamId, Vec<scheduler::Event>>,
    pub(crate) closed: Vec<StreamId>,
    agents: BTreeMap<LinkId, Vec<to_agent::Message>>,
    pub(crate) closed_links: Vec<LinkId>,
    answers: BTreeMap<RequestId, Answer>,
    pub(crate) records: Vec<Record>,
    published: Vec<Arc<v1::master::Event>>,
    pub(crate) exit: Option<String>,
}

/// One subscribed scheduler.
#[derive(Clone)]
pub(crate) struct Scheduler {
    pub(crate) id: FrameworkId,
    pub(crate) stream: StreamId,
    uuid: Arc<str>,
}

/// One registered agent.
#[derive(Clone)]
pub(crate) struct FakeAgent {
    pub(crate) id: AgentId,
    pub(crate) link: LinkId,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config(), Vec::new())
    }

    pub(crate) fn with(config: Config, registry: Vec<RegistryRecord>) -> Self {
        let now = Timestamp::from_secs_f64(1_000_000.0);
        Self {
            master: Master::new(config, now, registry),
            now,
            rng: Random(1),
            next: 0,
            events: BTreeMap::new(),
            closed: Vec::new(),
            agents: BTreeMap::new(),
            closed_links: Vec::new(),
            answers: BTreeMap::new(),
            records: Vec::new(),
            published: Vec::new(),
            exit: None,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn step(&mut self, input: Input) {
        for effect in self.master.step(self.now, &mut self.rng, input) {
            match effect {
                Effect::Persist(record) => self.records.extend(record.record),
                Effect::Event { stream, event } => {
                    self.events.entry(stream).or_default().push(Arc::unwrap_or_clone(event));
                }
                Effect::CloseStream(stream) => self.closed.push(stream),
                Effect::StartHeartbeat(_) => {}
                Effect::ToAgent { link, message } => {
                    self.agents.entry(link).or_default().extend(message.message);
                }
                Effect::CloseLink(link) => self.closed_links.push(link),
                Effect::Answer { request, answer } => {
                    self.answers.insert(request, answer);
                }
                Effect::Publish(event) => self.published.push(event),
                Effect::Exit(why) => self.exit = Some(why),
            }
        }
    }

    /// Lets time pass; the master wakes up whenever it asked to.
    pub(crate) fn pass(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(at) = self.master.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Timer);
        }
        self.now = end;
        self.step(Input::Timer);
    }

    pub(crate) fn subscribe(&mut self, info: v1::FrameworkInfo) -> Result<Scheduler, String> {
        self.subscribe_with(scheduler::call::Subscribe { framework_info: info, ..Default::default() }, None)
    }

    /// The scheduler, with SUBSCRIBED taken off its events; or the text of the ERROR event.
    pub(crate) fn subscribe_with(
        &mut self,
        subscribe: scheduler::call::Subscribe,
        principal: Option<&str>,
    ) -> Result<Scheduler, String> {
        let stream = StreamId(self.number());
        let uuid: Arc<str> = format!("stream-{}", stream.0).into();
        let call = Box::new(scheduler::Call {
            framework_id: subscribe.framework_info.id.clone(),
            r#type: Some(scheduler::call::Type::Subscribe.into()),
            subscribe: Some(Box::new(subscribe)),
            ..Default::default()
        });
        let principal = principal.map(Principal::from);
        self.step(Input::Subscribe { stream, stream_uuid: uuid.clone(), call, principal });
        let events = self.events.entry(stream).or_default();
        let first = if events.is_empty() { Default::default() } else { events.remove(0) };
        if let Some(error) = first.error {
            return Err(error.message);
        }
        let subscribed = first.subscribed.expect("SUBSCRIBED comes first");
        Ok(Scheduler { id: FrameworkId::from(subscribed.framework_id.value), stream, uuid })
    }

    pub(crate) fn framework(&mut self) -> Scheduler {
        self.subscribe(framework_info()).expect("the info of the tests is valid")
    }

    /// Sends a call of a scheduler, filling in its framework id.
    pub(crate) fn call(&mut self, from: &Scheduler, mut call: scheduler::Call) -> Answer {
        call.framework_id.get_or_insert_with(|| v1::FrameworkId { value: from.id.to_string() });
        let uuid = Some(from.uuid.clone());
        self.call_raw(call, uuid)
    }

    pub(crate) fn call_raw(&mut self, call: scheduler::Call, stream_uuid: Option<Arc<str>>) -> Answer {
        let request = RequestId(self.number());
        self.step(Input::SchedulerCall { request, call: Box::new(call), stream_uuid, principal: None });
        self.answers.remove(&request).expect("every call is answered")
    }

    /// A call of an operator.
    pub(crate) fn operate(&mut self, call: v1::master::Call, principal: Option<&str>) -> Answer {
        self.operate_with(crate::OperatorCall::V1(Box::new(call)), principal)
    }

    pub(crate) fn operate_with(&mut self, call: crate::OperatorCall, principal: Option<&str>) -> Answer {
        let request = RequestId(self.number());
        self.step(Input::Operator { request, call, principal: principal.map(Principal::from) });
        self.answers.remove(&request).expect("every call is answered")
    }

    /// The scheduler acknowledges a status that [`World::update`] sent.
    pub(crate) fn acknowledge(
        &mut self,
        agent: &FakeAgent,
        of: &Scheduler,
        task: &str,
        state: v1::TaskState,
    ) {
        let acknowledge = scheduler::call::Acknowledge {
            agent_id: v1::AgentId { value: agent.id.to_string() },
            task_id: task_id(task),
            uuid: uuid_of(state),
        };
        let call = call(scheduler::call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge));
        assert_eq!(self.call(of, call), Answer::Accepted);
    }

    pub(crate) fn events(&mut self, of: &Scheduler) -> Vec<scheduler::Event> {
        self.events.remove(&of.stream).unwrap_or_default()
    }

    /// Takes the statuses out of the events of a scheduler.
    pub(crate) fn statuses(&mut self, of: &Scheduler) -> Vec<v1::TaskStatus> {
        let (updates, rest): (Vec<_>, Vec<_>) =
            self.events(of).into_iter().partition(|event| event.update.is_some());
        self.events.insert(of.stream, rest);
        updates.into_iter().filter_map(|event| event.update).map(|update| update.status).collect()
    }

    /// Takes the statuses of operations out of the events of a scheduler.
    pub(crate) fn operation_statuses(&mut self, of: &Scheduler) -> Vec<v1::OperationStatus> {
        let (updates, rest): (Vec<_>, Vec<_>) =
            self.events(of).into_iter().partition(|event| event.update_operation_status.is_some());
        self.events.insert(of.stream, rest);
        updates
            .into_iter()
            .filter_map(|event| event.update_operation_status)
            .map(|update| update.status)
            .collect()
    }

    /// The only status among the events of a scheduler.
    pub(crate) fn status(&mut self, of: &Scheduler) -> v1::TaskStatus {
        let mut statuses = self.statuses(of);
        assert_eq!(statuses.len(), 1, "{statuses:#?}");
        statuses.remove(0)
    }

    /// Waits for the next allocation and takes its offers.
    pub(crate) fn offers(&mut self, of: &Scheduler) -> Vec<v1::Offer> {
        self.pass(1.0);
        self.events(of)
            .into_iter()
            .filter_map(|event| event.offers)
            .flat_map(|offers| offers.offers)
            .collect()
    }

    pub(crate) fn offer(&mut self, of: &Scheduler) -> v1::Offer {
        let mut offers = self.offers(of);
        assert_eq!(offers.len(), 1, "{offers:#?}");
        offers.remove(0)
    }

    pub(crate) fn close(&mut self, scheduler: &Scheduler) {
        self.step(Input::StreamClosed(scheduler.stream));
    }

    pub(crate) fn published(&mut self) -> Vec<Arc<v1::master::Event>> {
        std::mem::take(&mut self.published)
    }

    /// The types of what operators were told.
    pub(crate) fn published_types(&mut self) -> Vec<v1::master::event::Type> {
        self.published().iter().map(|event| event.r#type()).collect()
    }

    pub(crate) fn agent(&mut self, resources: &str) -> FakeAgent {
        let number = self.next + 1;
        self.agent_described(description(resources, &format!("10.0.0.{number}")))
    }

    pub(crate) fn agent_described(&mut self, agent: link::AgentDescription) -> FakeAgent {
        let link = LinkId(self.number());
        self.tell(link, to_master::Message::Register(link::Register { agent: Some(agent) }));
        let registered = self.told(link).into_iter().find_map(|message| match message {
            to_agent::Message::Registered(registered) => registered.agent_id,
            _ => None,
        });
        FakeAgent { id: AgentId::from(registered.expect("the agent is admitted").value), link }
    }

    /// The agent comes back over a fresh link.
    pub(crate) fn reregister(&mut self, message: link::Reregister) -> LinkId {
        let link = LinkId(self.number());
        self.tell(link, to_master::Message::Reregister(message));
        link
    }

    pub(crate) fn tell(&mut self, link: LinkId, message: to_master::Message) {
        let message = Box::new(link::ToMaster { message: Some(message) });
        self.step(Input::FromAgent { link, message });
    }

    /// What an agent was told.
    pub(crate) fn told(&mut self, link: LinkId) -> Vec<to_agent::Message> {
        self.agents.remove(&link).unwrap_or_default()
    }

    /// The tasks that an agent was told to run.
    pub(crate) fn runs(&mut self, link: LinkId) -> Vec<link::Run> {
        let run = |message| match message {
            to_agent::Message::Run(run) => Some(*run),
            _ => None,
        };
        self.told(link).into_iter().filter_map(run).collect()
    }

    /// The agent reports a status; its uuid is made of the state's number.
    pub(crate) fn update(&mut self, agent: &FakeAgent, of: &Scheduler, task: &str, state: v1::TaskState) {
        let status = v1::TaskStatus {
            task_id: task_id(task),
            state: state.into(),
            source: Some(v1::task_status::Source::Executor.into()),
            agent_id: Some(v1::AgentId { value: agent.id.to_string() }),
            executor_id: Some(v1::ExecutorId { value: task.into() }),
            timestamp: Some(self.now.as_secs_f64()),
            uuid: Some(uuid_of(state)),
            data: Some(b"data".to_vec()),
            ..Default::default()
        };
        let update = link::StatusUpdate {
            framework_id: Some(v1::FrameworkId { value: of.id.to_string() }),
            executor_id: status.executor_id.clone(),
            latest_state: status.state,
            status: Some(status),
        };
        self.tell(agent.link, to_master::Message::StatusUpdate(update));
    }

    /// Accepts an offer with one LAUNCH of command tasks.
    pub(crate) fn launch(&mut self, of: &Scheduler, offer: &v1::Offer, tasks: Vec<v1::TaskInfo>) {
        let launch = v1::offer::operation::Launch { task_infos: tasks };
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch.into()),
            launch: Some(launch),
            ..Default::default()
        };
        assert_eq!(self.call(of, accept(&[offer], vec![operation])), Answer::Accepted);
    }

    /// A framework with one running task, all events taken.
    pub(crate) fn running(&mut self, info: v1::FrameworkInfo) -> (Scheduler, FakeAgent) {
        let scheduler = self.subscribe(info).expect("the info of the tests is valid");
        let agent = self.agent("cpus:4;mem:4096");
        let offer = self.offer(&scheduler);
        self.launch(&scheduler, &offer, vec![task("t", &offer, "cpus:1;mem:32")]);
        self.update(&agent, &scheduler, "t", v1::TaskState::TaskRunning);
        self.events(&scheduler);
        self.told(agent.link);
        self.published();
        self.records.clear();
        (scheduler, agent)
    }
}

pub(crate) fn uuid_of(state: v1::TaskState) -> Vec<u8> {
    vec![state as u8; 16]
}

pub(crate) fn task_id(id: &str) -> v1::TaskId {
    v1::TaskId { value: id.into() }
}

pub(crate) fn framework_info() -> v1::FrameworkInfo {
    v1::FrameworkInfo { user: "nobody".into(), name: "test".into(), ..Default::default() }
}

pub(crate) fn with_capabilities(
    mut info: v1::FrameworkInfo,
    capabilities: &[v1::framework_info::capability::Type],
) -> v1::FrameworkInfo {
    let capability = |c: &v1::framework_info::capability::Type| v1::framework_info::Capability {
        r#type: Some((*c).into()),
    };
    info.capabilities = capabilities.iter().map(capability).collect();
    info
}

pub(crate) fn resources(text: &str) -> Vec<v1::Resource> {
    parse_resources(text, "*").expect("a text of the tests").to_proto(Form::PostRefinement)
}

pub(crate) fn description(resources_text: &str, ip: &str) -> link::AgentDescription {
    use v1::agent_info::capability::Type::*;
    let all = [
        MultiRole,
        HierarchicalRole,
        ReservationRefinement,
        ResourceProvider,
        ResizeVolume,
        AgentOperationFeedback,
        AgentDraining,
        TaskResourceLimits,
    ];
    let resources = resources(resources_text);
    link::AgentDescription {
        info: Some(v1::AgentInfo {
            hostname: format!("host-{ip}"),
            resources: resources.clone(),
            ..Default::default()
        }),
        ip: ip.into(),
        port: 5051,
        version: "1.12.0".into(),
        capabilities: all.map(|t| v1::agent_info::Capability { r#type: Some(t.into()) }).to_vec(),
        resources,
        resource_version_uuid: vec![7; 16],
        ..Default::default()
    }
}

/// A valid command task for an offer.
pub(crate) fn task(id: &str, offer: &v1::Offer, amounts: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: id.into(),
        task_id: task_id(id),
        agent_id: offer.agent_id.clone(),
        resources: resources(amounts),
        command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn accept(offers: &[&v1::Offer], operations: Vec<v1::offer::Operation>) -> scheduler::Call {
    let offer_ids = offers.iter().map(|offer| offer.id.clone()).collect();
    let filters = Some(v1::Filters { refuse_seconds: Some(0.0) });
    let accept = scheduler::call::Accept { offer_ids, operations, filters };
    call(scheduler::call::Type::Accept, |call| call.accept = Some(accept))
}

pub(crate) fn call(
    r#type: scheduler::call::Type,
    fill: impl FnOnce(&mut scheduler::Call),
) -> scheduler::Call {
    let mut call = scheduler::Call { r#type: Some(r#type.into()), ..Default::default() };
    fill(&mut call);
    call
}

/// A random source for calls beside [`World::step`].
pub(crate) fn random() -> Random {
    Random(2)
}
