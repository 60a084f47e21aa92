//! Plays master, containers and executors around one agent.

use std::{convert::Infallible, sync::Arc, time::Duration};

use mezzo_ids::ContainerId;
use mezzo_mesos::v1;
use mezzo_protocol::{
    link::{self, StatusUpdate, ToAgent, to_agent, to_master},
    records::{AgentRecord, agent_record::Record},
};
use mezzo_time::Timestamp;
use rand_core::TryRng;

use crate::{
    Agent, Answer, Config, ContainerSpec, Effect, FoundContainer, FoundState, Input, LegacyNames, RequestId,
    StreamId, resources::scalar,
};

/// A small generator of its own, so that tests depend on nothing.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
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

pub(crate) fn config() -> Config {
    Config {
        info: v1::AgentInfo {
            hostname: "host".into(),
            port: Some(5051),
            resources: vec![
                scalar("cpus", 4.0, None),
                scalar("mem", 4096.0, None),
                scalar("disk", 10_240.0, None),
            ],
            ..Default::default()
        },
        ip: "10.0.0.1".into(),
        port: 5051,
        version: "1.12.0".into(),
        work_dir: "/data".into(),
        sandbox_root: "/data/agents".into(),
        boot_id: "boot".into(),
        launcher_dir: "/usr/libexec/mesos".into(),
        legacy: LegacyNames {
            agent_id_variable: "OLD_ID".into(),
            agent_pid_variable: "OLD_PID".into(),
            agent_pid: "old(1)@10.0.0.1:5051".into(),
        },
        executor_environment: Vec::new(),
        executor_registration_timeout: Duration::from_secs(60),
        executor_reregistration_timeout: Duration::from_secs(2),
        executor_shutdown_grace_period: Duration::from_secs(5),
        recovery_timeout: Duration::from_secs(900),
        registration_backoff_factor: Duration::from_secs(1),
        reconfiguration_policy: Default::default(),
        recover: Default::default(),
        gc_delay: Duration::from_secs(1000),
        gc_disk_headroom: 0.1,
        disk_watch_interval: Duration::from_secs(60),
        completed_executors_max: 150,
        switch_user: true,
        default_container_info: None,
        limits_enforced: true,
    }
}

/// What a test's framework is like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traits {
    pub(crate) partition_aware: bool,
    pub(crate) killing_state: bool,
    pub(crate) transient: bool,
}

pub(crate) struct World {
    pub(crate) agent: Agent,
    pub(crate) now: Timestamp,
    pub(crate) dice: Dice,
    /// Everything made durable.
    pub(crate) log: Vec<AgentRecord>,
    /// Updates the scheduler has not acknowledged.
    pub(crate) updates: Vec<StatusUpdate>,
    /// Everything asked of the containerizer.
    pub(crate) launches: Vec<ContainerSpec>,
    /// Events to executors, newest last.
    pub(crate) events: Vec<(StreamId, Arc<v1::executor::Event>)>,
    pub(crate) answers: Vec<(RequestId, Answer)>,
    /// Every message to the master.
    pub(crate) told: Vec<to_master::Message>,
    pub(crate) traits: Traits,
    next: u64,
}

impl World {
    pub(crate) fn unregistered(config: Config) -> Self {
        let mut dice = Dice(7);
        let now = Timestamp::from_secs_f64(1000.0);
        let agent = Agent::new(config, now, &mut dice);
        Self {
            agent,
            now,
            dice,
            log: Vec::new(),
            updates: Vec::new(),
            launches: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            told: Vec::new(),
            traits: Traits::default(),
            next: 1,
        }
    }

    /// A registered agent.
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        let mut world = Self::unregistered(config);
        world.register();
        world
    }

    pub(crate) fn register(&mut self) {
        self.step(Input::LinkUp);
        self.pass(1.0);
        self.registered();
    }

    pub(crate) fn registered(&mut self) -> Vec<String> {
        self.master(to_agent::Message::Registered(Box::new(link::Registered {
            agent_id: Some(v1::AgentId { value: "S0".into() }),
            ping_timeout_nanos: 75_000_000_000,
            master: Some(v1::MasterInfo {
                capabilities: vec![v1::master_info::Capability {
                    r#type: Some(v1::master_info::capability::Type::AgentUpdate as i32),
                }],
                ..Default::default()
            }),
        })))
    }

    /// One input; what came out, one line each.
    pub(crate) fn step(&mut self, input: Input) -> Vec<String> {
        let effects = self.agent.step(self.now, &mut self.dice, input);
        self.perform(effects)
    }

    pub(crate) fn perform(&mut self, effects: Vec<Effect>) -> Vec<String> {
        effects.into_iter().filter_map(|effect| self.perform_one(effect)).collect()
    }

    fn perform_one(&mut self, effect: Effect) -> Option<String> {
        let line = match effect {
            Effect::Persist(record) => {
                let line = format!("persist {}", record_line(&record));
                self.log.push(*record);
                line
            }
            Effect::ToMaster(message) => {
                let message = message.message?;
                self.told.push(message.clone());
                match message {
                    to_master::Message::StatusUpdate(update) => {
                        let line = status_line("update", update.status.as_ref()?);
                        self.updates.push(update);
                        line
                    }
                    to_master::Message::ExecutorExited(exited) => {
                        format!("exited {} {}", exited.executor_id?.value, exited.status)
                    }
                    to_master::Message::ExecutorMessage(m) => {
                        format!("message {}", String::from_utf8_lossy(&m.data))
                    }
                    to_master::Message::Register(_) => "register".into(),
                    to_master::Message::Reregister(_) => "reregister".into(),
                    to_master::Message::Unregister(_) => "unregister".into(),
                    to_master::Message::Pong(_) => "pong".into(),
                    to_master::Message::OperationStatusUpdate(update) => {
                        format!("operation {}", update.status.as_ref()?.state().as_str_name())
                    }
                    to_master::Message::UpdateAgent(_) => "update agent".into(),
                }
            }
            Effect::Reconnect => "reconnect".into(),
            Effect::Event { stream, event } => {
                let line = format!("event {} {}", stream.0, event.r#type().as_str_name());
                self.events.push((stream, event));
                line
            }
            Effect::CloseStream(stream) => format!("close {}", stream.0),
            Effect::Answer { request, answer } => {
                let line = match &answer {
                    Answer::Ok => "answer ok".to_owned(),
                    Answer::Accepted => "answer accepted".into(),
                    Answer::Response(_) => "answer response".into(),
                    other => format!("answer {other:?}"),
                };
                self.answers.push((request, answer));
                line
            }
            Effect::Launch(spec) => {
                let kind = if spec.pod {
                    " pod"
                } else if spec.parent.is_some() {
                    " child"
                } else {
                    ""
                };
                let line = format!("launch{kind}");
                self.launches.push(*spec);
                line
            }
            Effect::Update { .. } => "resize".into(),
            Effect::Signal { signal, .. } => format!("signal {signal}"),
            Effect::Destroy(_) => "destroy".into(),
            Effect::Remove { sandbox, .. } => {
                if sandbox.is_some() {
                    "remove all".into()
                } else {
                    "remove".into()
                }
            }
            Effect::StartCheck { check, .. } => format!("check {}", check.0),
            Effect::StopCheck(check) => format!("uncheck {}", check.0),
            Effect::Attach { .. } | Effect::Link { .. } => return None,
            Effect::Detach { virtual_path } => format!("detach {virtual_path}"),
            Effect::DeleteSandbox(path) => format!("delete {path}"),
            Effect::Volume { create, .. } => format!("volume {create}"),
            Effect::MeasureDisk => "measure".into(),
            Effect::Exit { status, .. } => format!("exit {status}"),
        };
        Some(line)
    }

    /// Lets time pass, firing timers on the way.
    pub(crate) fn pass(&mut self, seconds: f64) -> Vec<String> {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut lines = Vec::new();
        while let Some(at) = self.agent.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            lines.extend(self.step(Input::Timer));
        }
        self.now = end;
        lines
    }

    pub(crate) fn master(&mut self, message: to_agent::Message) -> Vec<String> {
        self.step(Input::FromMaster(Box::new(ToAgent { message: Some(message) })))
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }

    pub(crate) fn framework(&self) -> v1::FrameworkInfo {
        use v1::framework_info::{Capability, capability::Type};
        let capability =
            |wanted: bool, kind: Type| wanted.then_some(Capability { r#type: Some(kind as i32) });
        v1::FrameworkInfo {
            user: "root".into(),
            name: "test".into(),
            id: Some(v1::FrameworkId { value: "F".into() }),
            checkpoint: Some(!self.traits.transient),
            capabilities: [
                capability(self.traits.partition_aware, Type::PartitionAware),
                capability(self.traits.killing_state, Type::TaskKillingState),
            ]
            .into_iter()
            .flatten()
            .collect(),
            ..Default::default()
        }
    }

    /// A launch as the master sends it.
    pub(crate) fn run(&self, tasks: Vec<v1::TaskInfo>) -> link::Run {
        link::Run {
            framework: Some(self.framework()),
            executor: None,
            tasks,
            group: false,
            resource_version_uuid: self.agent.resource_version.to_vec(),
            launch_executor: true,
        }
    }

    pub(crate) fn launch(&mut self, run: link::Run) -> Vec<String> {
        self.master(to_agent::Message::Run(Box::new(run)))
    }

    pub(crate) fn launch_command(&mut self, id: &str) -> Vec<String> {
        let run = self.run(vec![task(id)]);
        self.launch(run)
    }

    /// A command task that runs, its updates acknowledged.
    pub(crate) fn running(&mut self, id: &str) -> ContainerId {
        self.launch_command(id);
        let container = self.last_container();
        self.started(&container, 100);
        self.acknowledge_all();
        container
    }

    pub(crate) fn last_container(&self) -> ContainerId {
        self.launches.last().expect("something was launched").container.clone()
    }

    pub(crate) fn started(&mut self, container: &ContainerId, pid: u32) -> Vec<String> {
        self.step(Input::Started { container: container.clone(), pid })
    }

    pub(crate) fn exited(&mut self, container: &ContainerId, status: i32) -> Vec<String> {
        self.step(Input::Exited { container: container.clone(), status: Some(status), limitation: None })
    }

    pub(crate) fn kill(&mut self, task: &str, grace: Option<f64>) -> Vec<String> {
        self.master(to_agent::Message::Kill(link::Kill {
            framework_id: Some(v1::FrameworkId { value: "F".into() }),
            task_id: Some(v1::TaskId { value: task.into() }),
            kill_policy: grace.map(policy),
        }))
    }

    pub(crate) fn acknowledge(&mut self, task: &str, uuid: Vec<u8>) -> Vec<String> {
        self.master(to_agent::Message::Acknowledge(link::Acknowledge {
            framework_id: Some(v1::FrameworkId { value: "F".into() }),
            task_id: Some(v1::TaskId { value: task.into() }),
            uuid,
        }))
    }

    /// Acknowledges until nothing is left; the lines of what followed.
    pub(crate) fn acknowledge_all(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while !self.updates.is_empty() {
            let status = self.updates.remove(0).status.expect("updates have a status");
            lines.extend(self.acknowledge(&status.task_id.value, status.uuid.unwrap_or_default()));
        }
        lines
    }

    pub(crate) fn newest(&self) -> &v1::TaskStatus {
        self.updates.last().and_then(|u| u.status.as_ref()).expect("an update was sent")
    }

    /// Ends the agent and starts it again on its log.
    pub(crate) fn restart(&mut self, found: Vec<(ContainerId, FoundState)>) -> Vec<String> {
        self.restart_as(config(), found).expect("the settings fit")
    }

    pub(crate) fn restart_as(
        &mut self,
        config: Config,
        found: Vec<(ContainerId, FoundState)>,
    ) -> Result<Vec<String>, crate::RecoveryError> {
        let found = found.into_iter().map(|(id, state)| FoundContainer { id, state }).collect();
        let log = self.log.clone();
        self.updates.clear();
        let recovered = Agent::recover(config, log, found, self.now, &mut self.dice)?;
        self.agent = recovered.agent;
        Ok(self.perform(recovered.effects))
    }

    pub(crate) fn subscribe(&mut self, stream: u64, executor: &str) -> Vec<String> {
        self.subscribe_with(stream, executor, v1::executor::call::Subscribe::default())
    }

    pub(crate) fn subscribe_with(
        &mut self,
        stream: u64,
        executor: &str,
        subscribe: v1::executor::call::Subscribe,
    ) -> Vec<String> {
        let mut call = executor_call(executor, v1::executor::call::Type::Subscribe);
        call.subscribe = Some(subscribe);
        let (request, call) = (self.request(), Box::new(call));
        self.step(Input::ExecutorSubscribe { stream: StreamId(stream), call, request, claims: None })
    }

    pub(crate) fn executor_call(&mut self, call: v1::executor::Call) -> Vec<String> {
        let request = self.request();
        self.step(Input::ExecutorCall { request, call: Box::new(call), claims: None })
    }

    pub(crate) fn executor_update(
        &mut self,
        executor: &str,
        task: &str,
        state: v1::TaskState,
        uuid: u8,
    ) -> Vec<String> {
        let mut call = executor_call(executor, v1::executor::call::Type::Update);
        let status = executor_status(task, state, uuid);
        call.update = Some(v1::executor::call::Update { status });
        self.executor_call(call)
    }

    pub(crate) fn operator(&mut self, call: v1::agent::Call) -> Vec<String> {
        let request = self.request();
        self.step(Input::Operator { request, call: Box::new(call) })
    }

    pub(crate) fn last_answer(&self) -> &Answer {
        &self.answers.last().expect("something was answered").1
    }

    /// Task states known to reads, in order of ids.
    pub(crate) fn states(&self) -> Vec<(String, &'static str)> {
        let tasks = crate::query::tasks(&self.agent.snapshot());
        tasks
            .queued_tasks
            .iter()
            .chain(&tasks.launched_tasks)
            .chain(&tasks.terminated_tasks)
            .chain(&tasks.completed_tasks)
            .map(|t| (t.task_id.value.clone(), t.state().as_str_name()))
            .collect()
    }
}

pub(crate) fn executor_status(task: &str, state: v1::TaskState, uuid: u8) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: v1::TaskId { value: task.into() },
        state: state as i32,
        source: Some(v1::task_status::Source::Executor as i32),
        uuid: Some(vec![uuid; 16]),
        ..Default::default()
    }
}

pub(crate) fn executor_call(executor: &str, kind: v1::executor::call::Type) -> v1::executor::Call {
    v1::executor::Call {
        executor_id: v1::ExecutorId { value: executor.into() },
        framework_id: v1::FrameworkId { value: "F".into() },
        r#type: Some(kind as i32),
        ..Default::default()
    }
}

pub(crate) fn policy(grace: f64) -> v1::KillPolicy {
    v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds: (grace * 1e9) as i64 }) }
}

pub(crate) fn task(id: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: id.into(),
        task_id: v1::TaskId { value: id.into() },
        agent_id: v1::AgentId { value: "S0".into() },
        resources: vec![scalar("cpus", 0.5, Some("*")), scalar("mem", 64.0, Some("*"))],
        command: Some(v1::CommandInfo {
            shell: Some(true),
            value: Some("true".into()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn executor(id: &str, kind: v1::executor_info::Type) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        r#type: Some(kind as i32),
        executor_id: v1::ExecutorId { value: id.into() },
        command: Some(v1::CommandInfo { value: Some("./executor".into()), ..Default::default() }),
        resources: vec![scalar("cpus", 0.1, Some("*")), scalar("mem", 32.0, Some("*"))],
        ..Default::default()
    }
}

fn status_line(what: &str, status: &v1::TaskStatus) -> String {
    let mut line = format!("{what} {} {}", status.task_id.value, status.state().as_str_name());
    if let Some(reason) = status.reason {
        let reason = v1::task_status::Reason::try_from(reason).expect("a known reason");
        line.push(' ');
        line.push_str(reason.as_str_name());
    }
    line
}

fn record_line(record: &AgentRecord) -> String {
    match record.record.as_ref().expect("records are not empty") {
        Record::Identity(_) => "identity".into(),
        Record::Framework(_) => "framework".into(),
        Record::Executor(r) => {
            format!("executor {}", r.info.as_ref().map_or("", |i| i.executor_id.value.as_str()))
        }
        Record::Task(r) => format!("task {}", r.info.as_ref().map_or("", |i| i.task_id.value.as_str())),
        Record::Update(r) => r.status.as_ref().map(|s| status_line("update", s)).unwrap_or_default(),
        Record::Acknowledged(r) => format!("ack {}", r.task_id.as_ref().map_or("", |t| t.value.as_str())),
        Record::ExecutorEnded(_) => "executor ended".into(),
        Record::Resources(_) => "resources".into(),
        Record::Operation(_) => "operation".into(),
        Record::OperationAcknowledged(_) => "operation ack".into(),
        Record::Drain(_) => "drain".into(),
        Record::FrameworkEnded(_) => "framework ended".into(),
        Record::DrainEnded(_) => "drain ended".into(),
        Record::Standalone(_) => "standalone".into(),
        Record::StandaloneRemoved(_) => "standalone removed".into(),
        Record::SandboxDeleted(_) => "sandbox deleted".into(),
        Record::Kill(_) => "kill".into(),
    }
}

/// Only the lines about the outside world: without what is made durable.
pub(crate) fn visible(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.starts_with("persist ") && line != "resize").collect()
}
