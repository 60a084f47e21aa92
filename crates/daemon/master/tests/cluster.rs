//! A scheduler, an operator and an agent that is played by the test, around a real master process.

mod support;

use std::time::Duration;

use mezzo_http::{ClientResponse, HeaderMap, StatusCode, Upgraded, header::HeaderName};
use mezzo_link::{AgentSession, Frames, Outcome, Session, opening};
use mezzo_mesos::v1::{self, TaskState};
use mezzo_protocol::link::{
    AgentDescription, Pong, Register, Reregister, StatusUpdate, ToAgent, ToMaster, to_agent, to_master,
};
use mezzo_recordio::Decoder;
use support::{Master, in_memory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An event stream in JSON.
struct Events {
    answer: ClientResponse,
    records: Decoder,
}

impl Events {
    async fn open(master: &Master, path: &str, call: &str) -> Self {
        let json = "application/json";
        let headers = [("content-type", json), ("accept", json)];
        let answer = master.open("POST", path, &headers, call.as_bytes()).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some(json), "rule 41");
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "rule 39");
        Self { answer, records: Decoder::new(1 << 20) }
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(record) = self.records.next_record().unwrap() {
                return Some(String::from_utf8(record.to_vec()).unwrap());
            }
            let chunk =
                tokio::time::timeout(Duration::from_secs(10), self.answer.chunk()).await.expect("an event");
            self.records.push(&chunk?.ok()?);
        }
    }

    /// Skips to an event of this type.
    async fn wait(&mut self, kind: &str) -> String {
        let start = format!("{{\"type\":\"{kind}\"");
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.starts_with(&start) {
                return event;
            }
        }
    }
}

/// Asks for a link with this Hello.
async fn open(master: &Master, hello: &str) -> Upgraded {
    let hello = hello.try_into().unwrap();
    let headers = HeaderMap::from_iter([(HeaderName::from_static(mezzo_link::HELLO_HEADER), hello)]);
    let address = master.address.to_string();
    master.client.upgrade(&address, mezzo_link::PATH, mezzo_link::UPGRADE, headers).await.unwrap()
}

/// The agent's end of a link.
struct Agent {
    session: Option<AgentSession>,
    connection: Option<(Upgraded, Frames)>,
}

impl Agent {
    fn new() -> Self {
        Self { session: None, connection: None }
    }

    /// Connects; true when the session goes on.
    async fn connect(&mut self, master: &Master) -> bool {
        let mut connection = (open(master, &opening::hello(self.session.as_ref())).await, Frames::new());
        let welcome = read_frame(&mut connection).await.expect("a welcome");
        let resumed = match opening::on_welcome(&welcome, self.session.as_mut()).unwrap() {
            Outcome::Fresh { id } => {
                self.session = Some(Session::new(id));
                false
            }
            Outcome::Resumed { resend } => {
                for frame in resend {
                    connection.0.write_all(&frame).await.unwrap();
                }
                true
            }
        };
        self.connection = Some(connection);
        resumed
    }

    fn disconnect(&mut self) {
        self.connection = None;
    }

    async fn send(&mut self, message: to_master::Message) {
        let frame = self.session.as_mut().unwrap().send(ToMaster { message: Some(message) }).unwrap();
        if let Some((connection, _)) = &mut self.connection {
            connection.write_all(&frame).await.unwrap();
        }
    }

    /// The next message that is not a ping; pings are answered. `None` when the master closed the link.
    async fn next(&mut self) -> Option<to_agent::Message> {
        loop {
            let body = read_frame(self.connection.as_mut().unwrap()).await?;
            let message: Option<ToAgent> = self.session.as_mut().unwrap().on_frame(&body).unwrap();
            match message.and_then(|m| m.message) {
                Some(to_agent::Message::Ping(_)) => self.send(to_master::Message::Pong(Pong {})).await,
                Some(message) => return Some(message),
                None => {}
            }
        }
    }

    async fn register(&mut self, master: &Master) -> String {
        assert!(!self.connect(master).await);
        self.send(to_master::Message::Register(Register { agent: Some(description()) })).await;
        self.registered().await
    }

    /// Comes back with tasks of a framework, all of them running.
    async fn reregister(&mut self, master: &Master, port: u16, framework: &str, tasks: usize) {
        assert!(!self.connect(master).await);
        let id = &format!("agent-{port}");
        let mut agent = description();
        // Two agents cannot be at one address.
        agent.port = port.into();
        let info = agent.info.as_mut().unwrap();
        (info.port, info.id) = (Some(port.into()), Some(v1::AgentId { value: id.clone() }));
        let task = |n| v1::Task {
            name: format!("task {n}"),
            task_id: v1::TaskId { value: format!("{id}-{n}") },
            framework_id: v1::FrameworkId { value: framework.into() },
            agent_id: v1::AgentId { value: id.into() },
            state: TaskState::TaskRunning.into(),
            ..Default::default()
        };
        let framework = v1::FrameworkInfo {
            id: Some(v1::FrameworkId { value: framework.into() }),
            user: "root".into(),
            name: framework.into(),
            checkpoint: Some(true),
            failover_timeout: Some(3600.0),
            ..Default::default()
        };
        self.send(to_master::Message::Reregister(Reregister {
            agent: Some(agent),
            frameworks: vec![framework],
            executors: Vec::new(),
            tasks: (0..tasks).map(task).collect(),
        }))
        .await;
        assert_eq!(self.registered().await, *id);
    }

    async fn registered(&mut self) -> String {
        match self.next().await {
            Some(to_agent::Message::Registered(registered)) => registered.agent_id.unwrap().value,
            other => panic!("not registered: {other:?}"),
        }
    }

    async fn run(&mut self) -> v1::TaskInfo {
        match self.next().await {
            Some(to_agent::Message::Run(mut run)) => run.tasks.remove(0),
            other => panic!("no launch: {other:?}"),
        }
    }

    async fn update(&mut self, framework: &str, task: &str, agent: &str, state: TaskState, uuid: u8) {
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: task.into() },
            state: state.into(),
            source: Some(v1::task_status::Source::Executor.into()),
            agent_id: Some(v1::AgentId { value: agent.into() }),
            timestamp: Some(1.0),
            uuid: Some(vec![uuid; 16]),
            ..Default::default()
        };
        self.send(to_master::Message::StatusUpdate(StatusUpdate {
            framework_id: Some(v1::FrameworkId { value: framework.into() }),
            executor_id: None,
            status: Some(status),
            latest_state: state.into(),
        }))
        .await;
    }
}

/// What an agent says of itself.
fn description() -> AgentDescription {
    let resource = |name: &str, value: f64| v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    let resources = vec![resource("cpus", 4.0), resource("mem", 4096.0)];
    let capability =
        |kind: v1::agent_info::capability::Type| v1::agent_info::Capability { r#type: Some(kind.into()) };
    AgentDescription {
        info: Some(v1::AgentInfo {
            hostname: "127.0.0.1".into(),
            port: Some(5051),
            resources: resources.clone(),
            ..Default::default()
        }),
        ip: "127.0.0.1".into(),
        port: 5051,
        version: "1.12.0".into(),
        capabilities: vec![
            capability(v1::agent_info::capability::Type::MultiRole),
            capability(v1::agent_info::capability::Type::ReservationRefinement),
        ],
        resources,
        resource_version_uuid: vec![7; 16],
        ..Default::default()
    }
}

async fn read_frame((connection, frames): &mut (Upgraded, Frames)) -> Option<mezzo_http::Bytes> {
    loop {
        if let Some(body) = frames.next_frame().unwrap() {
            return Some(body);
        }
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), connection.read(&mut buffer)).await;
        match read.expect("a frame") {
            Ok(length @ 1..) => frames.push(&buffer[..length]),
            Ok(0) | Err(_) => return None,
        }
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap_or_else(|| panic!("no {start} in {text}")) + start.len();
    &text[from..from + text[from..].find(end).unwrap()]
}

const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"test",
    "failover_timeout":100.0,"roles":["*"],"capabilities":[{"type":"MULTI_ROLE"},{"type":"PARTITION_AWARE"}]}}}"#;

/// A subscribed scheduler.
struct Scheduler {
    events: Events,
    id: String,
    stream_id: String,
}

impl Scheduler {
    async fn subscribe(master: &Master) -> Self {
        Self::subscribe_as(master, SUBSCRIBE).await
    }

    async fn subscribe_as(master: &Master, call: &str) -> Self {
        let mut events = Events::open(master, "/api/v1/scheduler", call).await;
        let stream_id = events.answer.header("mesos-stream-id").expect("rule 46").to_owned();
        let subscribed = events.next().await.unwrap();
        assert!(subscribed.starts_with(r#"{"type":"SUBSCRIBED""#), "rule 52: {subscribed}");
        assert!(subscribed.contains(r#""heartbeat_interval_seconds":15.0"#), "rule 52");
        assert_eq!(events.next().await.as_deref(), Some(r#"{"type":"HEARTBEAT"}"#), "rule 52");
        let id = between(&subscribed, r#""framework_id":{"value":""#, "\"").to_owned();
        Self { events, id, stream_id }
    }

    async fn call(&self, master: &Master, body: &str) -> (StatusCode, String) {
        let headers = [("content-type", "application/json"), ("mesos-stream-id", &self.stream_id)];
        let body = format!(r#"{{"framework_id":{{"value":"{}"}},{body}}}"#, self.id);
        master.ask("POST", "/api/v1/scheduler", &headers, &body).await
    }

    /// Accepts the next offer with one task.
    async fn launch(&mut self, master: &Master, task: &str, agent: &str) {
        let offers = self.events.wait("OFFERS").await;
        let offer = between(&offers, r#""offers":[{"id":{"value":""#, "\"");
        let accept = format!(
            r#""type":"ACCEPT","accept":{{"offer_ids":[{{"value":"{offer}"}}],"operations":[{{"type":"LAUNCH",
            "launch":{{"task_infos":[{{"name":"t","task_id":{{"value":"{task}"}},"agent_id":{{"value":"{agent}"}},
            "command":{{"value":"sleep 1"}},"resources":[
            {{"name":"cpus","type":"SCALAR","scalar":{{"value":1}}}},
            {{"name":"mem","type":"SCALAR","scalar":{{"value":128}}}}]}}]}}}}]}}"#
        );
        assert_eq!(self.call(master, &accept).await, (StatusCode::ACCEPTED, String::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_from_offer_to_finished_seen_by_everybody() {
    let master = Master::start(in_memory()).await;
    let mut operator = Events::open(&master, "/api/v1", r#"{"type":"SUBSCRIBE"}"#).await;
    let snapshot = operator.next().await.unwrap();
    assert!(
        snapshot.starts_with(r#"{"type":"SUBSCRIBED","subscribed":{"get_state":{"#),
        "rule 499: {snapshot}"
    );
    assert_eq!(operator.next().await.as_deref(), Some(r#"{"type":"HEARTBEAT"}"#), "rule 499");

    let mut agent = Agent::new();
    let agent_id = agent.register(&master).await;
    operator.wait("AGENT_ADDED").await;
    let mut scheduler = Scheduler::subscribe(&master).await;
    operator.wait("FRAMEWORK_ADDED").await;
    scheduler.launch(&master, "one", &agent_id).await;
    assert_eq!(agent.run().await.task_id.value, "one");
    assert!(operator.wait("TASK_ADDED").await.contains(r#""task_id":{"value":"one"}"#));

    let framework = scheduler.id.clone();
    agent.update(&framework, "one", &agent_id, TaskState::TaskRunning, 1).await;
    let update = scheduler.events.wait("UPDATE").await;
    assert!(update.contains(r#""state":"TASK_RUNNING""#), "{update}");
    assert!(operator.wait("TASK_UPDATED").await.contains("TASK_RUNNING"));
    let (status, body) = master.get(&format!("/allocator/why?framework_id={framework}")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.starts_with(&format!(r#"{{"framework_id":"{framework}","withheld":["#)), "{body}");
    let (status, body) = master.get("/allocator/why?framework_id=nobody").await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::NOT_FOUND, "No framework found with ID 'nobody'"),
        "{body}"
    );
    assert_eq!(master.get("/allocator/why").await.0, StatusCode::BAD_REQUEST);
    let acknowledge = format!(
        r#""type":"ACKNOWLEDGE","acknowledge":{{"agent_id":{{"value":"{agent_id}"}},"task_id":{{"value":"one"}},
        "uuid":"AQEBAQEBAQEBAQEBAQEBAQ=="}}"#
    );
    assert_eq!(scheduler.call(&master, &acknowledge).await.0, StatusCode::ACCEPTED);
    assert!(matches!(agent.next().await, Some(to_agent::Message::Acknowledge(ack)) if ack.uuid == [1; 16]));

    for (path, part) in [
        ("/state", r#""state":"TASK_RUNNING""#),
        ("/tasks", r#"{"tasks":[{"id":"one""#),
        ("/slaves", r#""pid":"slave(1)@127.0.0.1:5051""#),
        ("/frameworks", r#""name":"test""#),
        ("/state-summary", r#""TASK_RUNNING":1"#),
        ("/roles", r#""name":"*""#),
        ("/registrar(1)/registry", r#""hostname":"127.0.0.1""#),
        ("/allocator/offer_constraints_debug", r#""excluded_by_attribute_constraints":{"*":[]}"#),
        ("/metrics/snapshot", r#""master/tasks_running":1.0"#),
    ] {
        let (status, body) = master.get(path).await;
        assert!(status == StatusCode::OK && body.contains(part), "{path}: {body}");
    }
    for (call, part) in [
        ("GET_STATE", r#"{"type":"GET_STATE","get_state":{"get_tasks":{"tasks":[{"name":"t""#),
        ("GET_TASKS", r#"{"type":"GET_TASKS","get_tasks":{"tasks":[{"name":"t""#),
        ("GET_AGENTS", r#"{"type":"GET_AGENTS","get_agents":{"agents":[{"agent_info":"#),
        ("GET_FRAMEWORKS", r#"{"type":"GET_FRAMEWORKS","get_frameworks":{"frameworks":[{"framework_info":"#),
        ("GET_EXECUTORS", r#"{"type":"GET_EXECUTORS","get_executors":{"executors":[]}}"#),
        ("GET_ROLES", r#"{"type":"GET_ROLES","get_roles":{"roles":[{"name":"*""#),
        ("GET_OPERATIONS", r#"{"type":"GET_OPERATIONS""#),
        ("GET_MASTER", r#"{"type":"GET_MASTER","get_master":{"master_info":"#),
    ] {
        let (status, body) = master.call("/api/v1", &format!(r#"{{"type":"{call}"}}"#)).await;
        assert!(status == StatusCode::OK && body.starts_with(part), "{call}: {body}");
    }
    // The same in protobuf: what is streamed item by item is one message to a reader.
    let headers = [("content-type", "application/json"), ("accept", "application/x-protobuf")];
    let answer = master.open("POST", "/api/v1", &headers, br#"{"type":"GET_STATE"}"#).await;
    let body = answer.bytes(1 << 20).await.unwrap();
    let state: v1::master::Response = mezzo_json::protobuf::decode(&body).unwrap();
    let state = state.get_state.unwrap();
    assert_eq!(state.get_tasks.unwrap().tasks[0].task_id.value, "one");
    assert_eq!(state.get_agents.unwrap().agents[0].agent_info.id.as_ref().unwrap().value, agent_id);

    agent.update(&framework, "one", &agent_id, TaskState::TaskFinished, 2).await;
    assert!(scheduler.events.wait("UPDATE").await.contains(r#""state":"TASK_FINISHED""#));
    master.stop().await;
}

/// Waits until answers that may be made of what earlier readers were told say what others say. Between
/// two questions an offer may come or go; what is kept wrongly would stay wrong.
async fn agree(master: &Master, expected: &str) {
    let headers = [("content-type", "application/json"), ("accept", "application/x-protobuf")];
    let mut last = String::new();
    for _ in 0..100 {
        let (_, state) = master.get("/state").await;
        let (_, frameworks) = master.get("/frameworks").await;
        let answer = master.open("POST", "/api/v1", &headers, br#"{"type":"GET_STATE"}"#).await;
        let encoded = answer.bytes(1 << 20).await.unwrap();
        let decoded: v1::master::Response = mezzo_json::protobuf::decode(&encoded).unwrap();
        let kept = String::from_utf8(mezzo_json::to_vec(&decoded)).unwrap();
        let (_, json) = master.call("/api/v1", r#"{"type":"GET_STATE"}"#).await;
        let (_, agents) = master.get("/slaves").await;
        let tasks =
            |text: &str| between(text, r#""frameworks":["#, r#""unregistered_frameworks""#).to_owned();
        let agent = |text: &str| between(text, r#"{"slaves":["#, r#""reserved_resources_full""#).to_owned();
        let both = state.contains(expected) && kept.contains(expected);
        let same_agent = state.contains(agent(&agents).trim_end_matches(','));
        let same_frameworks = state.contains(tasks(&frameworks).trim_end_matches(','));
        if both && kept == json && same_agent && same_frameworks {
            return;
        }
        last = format!("{state}\n{frameworks}\n{agents}\n{kept}\n{json}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no agreement on {expected}: {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_what_is_kept_follow_every_change() {
    let master = Master::start(in_memory()).await;
    let mut agent = Agent::new();
    let agent_id = agent.register(&master).await;
    agree(&master, &agent_id).await;
    let mut scheduler = Scheduler::subscribe(&master).await;
    let framework = scheduler.id.clone();
    agree(&master, &framework).await;
    scheduler.launch(&master, "one", &agent_id).await;
    agent.run().await;
    agree(&master, "TASK_STAGING").await;
    for (uuid, state) in [(1, TaskState::TaskRunning), (2, TaskState::TaskKilling)] {
        agent.update(&framework, "one", &agent_id, state, uuid).await;
        agree(&master, state.as_str_name()).await;
    }
    let deactivate = format!(
        r#"{{"type":"DEACTIVATE_AGENT","deactivate_agent":{{"agent_id":{{"value":"{agent_id}"}}}}}}"#
    );
    assert_eq!(master.call("/api/v1", &deactivate).await.0, StatusCode::OK);
    agree(&master, r#""deactivated":true"#).await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_reader_of_much_is_told_what_later_ones_are() {
    // Enough that two threads write for the first reader.
    const AGENTS: u16 = 1200;
    let master = Master::start(in_memory()).await;
    for number in 0..AGENTS {
        let mut agent = Agent::new();
        agent.reregister(&master, 5051 + number, "framework", 3).await;
        agent.disconnect();
    }
    let headers = [("content-type", "application/json"), ("accept", "application/x-protobuf")];
    let (_, first) = master.get("/state").await;
    assert_eq!(first.matches(r#""state":"TASK_RUNNING""#).count(), 3 * usize::from(AGENTS));
    assert_eq!(first, master.get("/state").await.1);
    let mut read = Vec::new();
    for _ in 0..2 {
        let answer = master.open("POST", "/api/v1", &headers, br#"{"type":"GET_STATE"}"#).await;
        read.push(answer.bytes(64 << 20).await.unwrap());
    }
    assert!(read[0] == read[1], "{} and {} bytes", read[0].len(), read[1].len());
    let decoded: v1::master::Response = mezzo_json::protobuf::decode(&read[0]).unwrap();
    let state = decoded.get_state.unwrap();
    assert_eq!(state.get_tasks.unwrap().tasks.len(), 3 * usize::from(AGENTS));
    assert_eq!(state.get_agents.unwrap().agents.len(), usize::from(AGENTS));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_link_is_resumed_without_loss() {
    let master = Master::start(in_memory()).await;
    let mut agent = Agent::new();
    let agent_id = agent.register(&master).await;
    let mut scheduler = Scheduler::subscribe(&master).await;
    scheduler.launch(&master, "one", &agent_id).await;
    agent.run().await;
    agent.disconnect();
    // Said while nobody listens.
    let framework = scheduler.id.clone();
    agent.update(&framework, "one", &agent_id, TaskState::TaskRunning, 1).await;
    agent.update(&framework, "one", &agent_id, TaskState::TaskFinished, 2).await;
    assert!(agent.connect(&master).await, "the session goes on");
    assert!(scheduler.events.wait("UPDATE").await.contains("TASK_RUNNING"));
    // A second connection takes over from one that is still open.
    assert!(agent.connect(&master).await, "the session goes on");
    let acknowledge = format!(
        r#""type":"ACKNOWLEDGE","acknowledge":{{"agent_id":{{"value":"{agent_id}"}},"task_id":{{"value":"one"}},
        "uuid":"AQEBAQEBAQEBAQEBAQEBAQ=="}}"#
    );
    assert_eq!(scheduler.call(&master, &acknowledge).await.0, StatusCode::ACCEPTED);
    assert!(matches!(agent.next().await, Some(to_agent::Message::Acknowledge(_))));
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_47_and_rule_56_streams_belong_to_one_subscription() {
    let master = Master::start(in_memory()).await;
    let mut scheduler = Scheduler::subscribe(&master).await;
    let revive = format!(r#"{{"type":"REVIVE","framework_id":{{"value":"{}"}}}}"#, scheduler.id);
    let missing = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
    let answer = master.call("/api/v1/scheduler", &revive).await;
    assert_eq!(answer, (StatusCode::BAD_REQUEST, missing.to_owned()), "rule 47");
    assert_eq!(scheduler.call(&master, r#""type":"REVIVE""#).await.0, StatusCode::ACCEPTED);

    let id = format!(r#"{{"value":"{}"}}"#, scheduler.id);
    let again = SUBSCRIBE.replacen(r#"{"type":"#, &format!(r#"{{"framework_id":{id},"type":"#), 1).replacen(
        r#""name":"#,
        &format!(r#""id":{id},"name":"#),
        1,
    );
    let mut second = Events::open(&master, "/api/v1/scheduler", &again).await;
    assert!(second.next().await.unwrap().starts_with(r#"{"type":"SUBSCRIBED""#));
    assert!(scheduler.events.wait("ERROR").await.contains("Framework failed over"), "rule 56");
    assert_eq!(scheduler.events.next().await, None, "rule 56");
    assert_eq!(scheduler.call(&master, r#""type":"REVIVE""#).await.0, StatusCode::BAD_REQUEST, "rule 47");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_494_an_admitted_agent_is_known_to_the_next_master() {
    let folder = tempfile::tempdir().unwrap();
    let config = mezzo_master_daemon::Config {
        work_dir: Some(folder.path().join("master")),
        registry: mezzo_master_daemon::RegistryKind::Embedded,
        ..in_memory()
    };
    let master = Master::start(config.clone()).await;
    let mut agent = Agent::new();
    let agent_id = agent.register(&master).await;
    master.stop().await;
    let master = Master::start(config).await;
    let (_, body) = master.call("/api/v1", r#"{"type":"GET_AGENTS"}"#).await;
    assert!(body.contains(r#""recovered_agents":[{"#) && body.contains(&agent_id), "rule 494: {body}");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_stop_takes_nobody_for_gone() {
    let master = Master::start(in_memory()).await;
    let mut agent = Agent::new();
    let agent_id = agent.register(&master).await;
    let mut scheduler = Scheduler::subscribe_as(&master, &SUBSCRIBE.replace("100.0", "0.0")).await;
    scheduler.launch(&master, "one", &agent_id).await;
    agent.run().await;
    // Without a failover timeout the framework is removed when it disconnects (rule 62); the end of the
    // master is no disconnection of the framework.
    master.stop().await;
    assert_eq!(agent.next().await, None, "the agent is told nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_link_ends_that_connection_alone() {
    let master = Master::start(in_memory()).await;
    for garbage in [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 64], b""] {
        let mut connection = open(&master, &opening::hello(None)).await;
        let _ = connection.write_all(garbage).await;
        let _ = connection.shutdown().await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), connection.read_to_end(&mut rest))
            .await
            .expect("closed");
    }
    let mut agent = Agent::new();
    agent.register(&master).await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn allocations_are_checked_on_request() {
    let config = mezzo_master_daemon::Config { check_allocations: true, ..in_memory() };
    let master = Master::start(config).await;
    let mut agent = Agent::new();
    agent.register(&master).await;
    let mut scheduler = Scheduler::subscribe(&master).await;
    scheduler.events.wait("OFFERS").await;
    let begun = std::time::Instant::now();
    loop {
        let metrics = master.get("/metrics/snapshot").await.1.replace('\\', "");
        assert!(metrics.contains(r#""allocator/check_violations":0"#), "{metrics}");
        if metrics.contains(r#""allocator/checks":1"#) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{metrics}");
    }
    let metrics = master.get("/metrics").await.1;
    assert!(metrics.contains("\nmezzo_allocator_checks_total 1\n"), "{metrics}");
    master.stop().await;
}
