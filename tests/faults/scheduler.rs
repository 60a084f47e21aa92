//! A scheduler on bare sockets and JSON that acknowledges everything, comes back after every break,
//! reconciles what it has not heard of, and launches again what never started.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{self, PATIENCE};

/// A run in which no task has ended for so long is stuck, however slow its machine is.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Tasks of one ACCEPT.
const LAUNCH_MAX: usize = 25;
/// How often open tasks are asked for while nothing is heard, and while there is still news to read:
/// answers to questions asked faster than they are read would keep acknowledgements waiting.
const RECONCILE_IDLE: Duration = Duration::from_secs(1);
const RECONCILE_BUSY: Duration = Duration::from_secs(10);
/// Attempts at one task; kills take a few of them.
const ATTEMPTS_MAX: usize = 30;
/// Open tasks that a report of a stuck run names.
const NAMED_MAX: usize = 4;
/// Updates that it tells of each.
const UPDATES_NAMED_MAX: usize = 4;

/// How a task ended.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub(crate) task: String,
    pub(crate) state: String,
    pub(crate) message: String,
}

impl Outcome {
    /// It was dropped on its way, so another attempt was made under another id.
    pub(crate) fn never_started(&self) -> bool {
        never_started(&self.state)
    }
}

/// Where tasks are launched, as messages have it.
pub(crate) struct Place {
    pub(crate) framework: Value,
    pub(crate) agent: Value,
    /// Offered megabytes.
    pub(crate) mem: f64,
    pub(crate) disk: f64,
}

/// The scheduler's thread.
pub(crate) struct Scheduler {
    done: mpsc::Receiver<Result<Vec<Outcome>, String>>,
    orders: mpsc::Sender<Value>,
    heard: Arc<Mutex<Heard>>,
}

/// What others may look at while the scheduler runs.
#[derive(Default)]
struct Heard {
    /// States of each task, oldest first, with all that tells two updates apart.
    updates: BTreeMap<String, Vec<(String, String)>>,
    /// What it does at this moment.
    doing: &'static str,
}

struct State<L> {
    port: u16,
    framework: Option<Value>,
    stream: String,
    launch: L,
    /// Tasks that must run to an end.
    tasks: usize,
    waiting: Vec<String>,
    /// Task to the agent it was sent to.
    launched: BTreeMap<String, Value>,
    ended: BTreeMap<String, (Outcome, Option<String>)>,
    heard: Arc<Mutex<Heard>>,
    orders: mpsc::Receiver<Value>,
    /// When a task ended last.
    progressed: Instant,
    reconciled: Instant,
}

/// TASK_UNKNOWN is the answer for a task of an agent that the master has forgotten.
const TERMINAL: [&str; 9] = [
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
    "TASK_UNKNOWN",
];

fn never_started(state: &str) -> bool {
    matches!(state, "TASK_LOST" | "TASK_DROPPED" | "TASK_GONE" | "TASK_UNKNOWN")
}

/// What an attempt is called: the task, and the number of the attempt from the second on.
fn next_attempt(task: &str) -> String {
    match task.split_once('.') {
        Some((task, attempt)) => format!("{task}.{}", attempt.parse::<usize>().unwrap_or(1) + 1),
        None => format!("{task}.2"),
    }
}

fn attempt_of(task: &str) -> usize {
    task.split_once('.').and_then(|(_, attempt)| attempt.parse().ok()).unwrap_or(1)
}

/// A command task of half a CPU.
pub(crate) fn command_task(task: &str, place: &Place, command: &str) -> Value {
    let mut info = bare_task(task, place);
    info["command"] = json!({"value": command});
    info
}

/// A task without anything to run.
pub(crate) fn bare_task(task: &str, place: &Place) -> Value {
    json!({"name": task, "task_id": {"value": task}, "agent_id": place.agent, "resources": resources(0.5, 16)})
}

pub(crate) fn resources(cpus: f64, mem: u32) -> Value {
    json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}}])
}

/// The operation that launches each as it is.
pub(crate) fn launch_all(infos: &[Value]) -> Vec<Value> {
    vec![json!({"type": "LAUNCH", "launch": {"task_infos": infos}})]
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scheduler {
    /// Launches tasks as offers come, until `tasks` of them have run to an end; `launch` makes the
    /// operations for tasks at a place, none where they do not fit.
    pub(crate) fn start(
        port: u16,
        tasks: usize,
        launch: impl FnMut(&[String], &Place) -> Vec<Value> + Send + 'static,
    ) -> Self {
        let (report, done) = mpsc::channel();
        let (orders, ordered) = mpsc::channel();
        let heard = Arc::<Mutex<Heard>>::default();
        let mut state = State {
            port,
            framework: None,
            stream: String::new(),
            launch,
            tasks,
            waiting: (0..tasks).rev().map(|n| format!("task-{n:03}")).collect(),
            launched: BTreeMap::new(),
            ended: BTreeMap::new(),
            heard: Arc::clone(&heard),
            orders: ordered,
            progressed: Instant::now(),
            reconciled: Instant::now(),
        };
        thread::spawn(move || {
            let result = loop {
                if let Err(defect) = state.session() {
                    break Err(defect);
                }
                if state.is_done() {
                    break Ok(state.ended.into_values().map(|(outcome, _)| outcome).collect());
                }
                state.doing("waits to subscribe again");
                thread::sleep(Duration::from_millis(20));
            };
            // Nobody listens any more when the test has failed elsewhere.
            drop(report.send(result));
        });
        Self { done, orders, heard }
    }

    /// Makes a call when the scheduler gets to it; a call that is lost is not repeated.
    pub(crate) fn call(&self, call: Value) {
        // A scheduler that has ended says why in `finish`.
        drop(self.orders.send(call));
    }

    /// Waits until this many tasks have been in `state`.
    pub(crate) fn wait_for(&self, state: &str, tasks: usize) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let seen = self.tasks_seen_in(state).len();
            if seen >= tasks {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let heard = lock(&self.heard);
                return Err(format!(
                    "{seen} of {tasks} tasks were {state}; heard {:#?}; the scheduler {}",
                    heard.updates, heard.doing
                ));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Tasks that have been in `state`.
    pub(crate) fn tasks_seen_in(&self, state: &str) -> Vec<String> {
        let heard = lock(&self.heard);
        let seen = heard.updates.iter().filter(|(_, updates)| updates.iter().any(|(s, _)| s == state));
        seen.map(|(task, _)| task.clone()).collect()
    }

    /// Waits until every task has ended, or says what is wrong.
    pub(crate) fn finish(self) -> Result<Vec<Outcome>, String> {
        let mut updates = usize::MAX;
        loop {
            // Every request of the scheduler ends within PATIENCE.
            match self.done.recv_timeout(SILENCE_MAX + 3 * PATIENCE) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err("the scheduler panicked".into()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let heard = lock(&self.heard);
            let count = heard.updates.values().map(Vec::len).sum();
            if std::mem::replace(&mut updates, count) == count {
                return Err(format!("the scheduler hangs; it {}", heard.doing));
            }
        }
    }
}

impl<L: FnMut(&[String], &Place) -> Vec<Value>> State<L> {
    fn doing(&self, doing: &'static str) {
        lock(&self.heard).doing = doing;
    }

    fn is_done(&self) -> bool {
        self.ended.len() == self.launched.len() && self.ran() == self.tasks
    }

    fn ran(&self) -> usize {
        self.ended.values().filter(|(outcome, _)| !outcome.never_started()).count()
    }

    /// What is missing when the time is over.
    fn check_time(&self, subscribed: bool) -> Result<(), String> {
        if self.progressed.elapsed() < SILENCE_MAX {
            return Ok(());
        }
        let heard = lock(&self.heard);
        let open: Vec<&String> =
            self.launched.keys().filter(|task| !self.ended.contains_key(*task)).collect();
        let last = |task: &String| {
            let updates = heard.updates.get(task).map(Vec::as_slice).unwrap_or_default();
            let from = updates.len().saturating_sub(UPDATES_NAMED_MAX);
            format!("\n  {task}: {} updates, the last {:?}", updates.len(), &updates[from..])
        };
        let named: String = open.iter().take(NAMED_MAX).map(|task| last(task)).collect();
        let standing = if subscribed { "subscribed" } else { "not subscribed" };
        Err(format!(
            "no task has ended for {} s, {standing}: {} of {} tasks have run; {} wait for an offer; {} are open:{named}",
            self.progressed.elapsed().as_secs(),
            self.ran(),
            self.tasks,
            self.waiting.len(),
            open.len(),
        ))
    }

    /// One subscription, until it breaks or everything has ended. An error is a broken promise.
    fn session(&mut self) -> Result<(), String> {
        self.check_time(false)?;
        self.doing("subscribes");
        let mut info = json!({"user": "root", "name": "faults", "failover_timeout": 3600.0, "checkpoint": true,
            "capabilities": [{"type": "PARTITION_AWARE"}]});
        let mut body = json!({"type": "SUBSCRIBE"});
        if let Some(id) = &self.framework {
            info["id"] = id.clone();
            body["framework_id"] = id.clone();
        }
        body["subscribe"] = json!({"framework_info": info});
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        let opened =
            support::open(self.port, "POST", "/api/v1/scheduler", &headers, body.to_string().as_bytes());
        let Ok(mut opened) = opened else { return Ok(()) };
        if opened.status != 200 {
            return Ok(());
        }
        let id = opened.headers.iter().find(|(name, _)| name == "mesos-stream-id");
        self.stream = id.map(|(_, value)| value.clone()).unwrap_or_default();
        let (send, records) = mpsc::channel();
        thread::spawn(move || {
            let mut pending = Vec::new();
            while let Ok(Some(record)) = opened.record(&mut pending) {
                if send.send(record).is_err() {
                    return;
                }
            }
        });
        while !self.is_done() {
            self.check_time(true)?;
            self.doing("waits for an event");
            let mut wait = RECONCILE_BUSY;
            match records.recv_timeout(Duration::from_millis(200)) {
                Ok(record) => {
                    let event =
                        serde_json::from_slice(&record).map_err(|error| format!("bad event: {error}"))?;
                    self.on_event(&event)?;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => wait = RECONCILE_IDLE,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            while let Ok(order) = self.orders.try_recv() {
                self.call(order);
            }
            if self.reconciled.elapsed() > wait {
                self.reconcile();
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: &Value) -> Result<(), String> {
        match event["type"].as_str().unwrap_or_default() {
            "SUBSCRIBED" => {
                self.framework = Some(event["subscribed"]["framework_id"].clone());
                self.reconcile();
            }
            "OFFERS" => {
                for offer in event["offers"]["offers"].as_array().into_iter().flatten() {
                    self.on_offer(offer);
                }
            }
            "UPDATE" => self.on_update(&event["update"]["status"])?,
            "ERROR" if event["error"]["message"] != "Framework failed over" => {
                return Err(format!("the master says {}", event["error"]["message"]));
            }
            _ => {}
        }
        Ok(())
    }

    fn on_offer(&mut self, offer: &Value) {
        let offered = |name: &str| -> f64 {
            let resources = offer["resources"].as_array().into_iter().flatten();
            let named = resources.filter(|resource| resource["name"] == name);
            named.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum()
        };
        // One CPU is for an executor that may have to be started.
        let room = (((offered("cpus") - 1.0) / 0.5) as usize).min(self.waiting.len()).min(LAUNCH_MAX);
        let mut tasks = self.waiting.split_off(self.waiting.len() - room);
        let framework = self.framework.clone().unwrap_or_default();
        let (mem, disk) = (offered("mem"), offered("disk"));
        let place = Place { framework, agent: offer["agent_id"].clone(), mem, disk };
        let operations = if tasks.is_empty() { vec![] } else { (self.launch)(&tasks, &place) };
        if operations.is_empty() {
            self.waiting.append(&mut tasks);
        }
        let filters = json!({"refuse_seconds": 0});
        let accept = json!({"type": "ACCEPT",
            "accept": {"offer_ids": [offer["id"]], "filters": filters, "operations": operations}});
        // Whether or not the answer arrives, the master may have taken it: from now on it is reconciled.
        self.launched.extend(tasks.into_iter().map(|task| (task, offer["agent_id"].clone())));
        self.doing("accepts an offer");
        self.call(accept);
    }

    fn on_update(&mut self, status: &Value) -> Result<(), String> {
        let task = status["task_id"]["value"].as_str().unwrap_or_default().to_string();
        let state = status["state"].as_str().unwrap_or_default().to_string();
        let message = status["message"].as_str().unwrap_or_default().to_string();
        let uuid = status["uuid"].as_str().map(String::from);
        let reason = status["reason"].as_str().unwrap_or_default();
        let heard = {
            let mut heard = lock(&self.heard);
            let updates = heard.updates.entry(task.clone()).or_default();
            updates.push((state.clone(), format!("{reason} {} {message:?}", uuid.as_deref().unwrap_or("-"))));
            updates.clone()
        };
        if TERMINAL.contains(&state.as_str()) {
            match self.ended.get(&task) {
                // A task that the master itself refused is in nobody's books. When a reconciliation was
                // asked for before the refusal was heard, its answer says so.
                Some((_, None)) if uuid.is_none() && reason == "REASON_RECONCILIATION" => {}
                Some((before, _)) if before.state != state => {
                    return Err(format!("{task} ended as {} and then as {state}: {heard:#?}", before.state));
                }
                Some((_, Some(before))) if uuid.as_ref().is_some_and(|uuid| uuid != before) => {
                    return Err(format!("{task} ended twice as {state}: {heard:#?}"));
                }
                Some(_) => {}
                None => self.on_end(Outcome { task, state, message }, uuid.clone())?,
            }
        }
        if let Some(uuid) = uuid {
            self.doing("acknowledges an update");
            self.call(json!({"type": "ACKNOWLEDGE",
                "acknowledge": {"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": uuid}}));
        }
        Ok(())
    }

    fn on_end(&mut self, outcome: Outcome, uuid: Option<String>) -> Result<(), String> {
        let task = outcome.task.clone();
        if outcome.never_started() {
            if attempt_of(&task) >= ATTEMPTS_MAX {
                return Err(format!("{task} never starts: {}", outcome.message));
            }
            self.waiting.push(next_attempt(&task));
        }
        self.ended.insert(task, (outcome, uuid));
        self.progressed = Instant::now();
        Ok(())
    }

    /// Asks for everything launched that has not ended.
    fn reconcile(&mut self) {
        self.reconciled = Instant::now();
        let open = self.launched.iter().filter(|(task, _)| !self.ended.contains_key(*task));
        let tasks: Vec<Value> =
            open.map(|(task, agent)| json!({"task_id": {"value": task}, "agent_id": agent})).collect();
        if !tasks.is_empty() {
            self.doing("reconciles");
            self.call(json!({"type": "RECONCILE", "reconcile": {"tasks": tasks}}));
        }
    }

    fn call(&self, mut body: Value) {
        body["framework_id"] = self.framework.clone().unwrap_or_default();
        let headers = [("Content-Type", "application/json"), ("Mesos-Stream-Id", self.stream.as_str())];
        // A call that does not arrive is made up for by the next subscription's reconciliation.
        drop(support::request(self.port, "POST", "/api/v1/scheduler", &headers, body.to_string().as_bytes()));
    }
}
