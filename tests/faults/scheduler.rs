//! A scheduler on bare sockets and JSON that acknowledges everything, comes back after every break, and
//! reconciles what it has not heard of.

use std::{
    collections::BTreeMap,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{self, PATIENCE};

/// How a task ended.
pub(crate) struct Outcome {
    pub(crate) task: String,
    pub(crate) state: String,
    pub(crate) message: String,
}

/// The scheduler's thread.
pub(crate) struct Scheduler {
    done: mpsc::Receiver<Result<Vec<Outcome>, String>>,
}

struct State<C> {
    port: u16,
    framework: Option<Value>,
    stream: String,
    command: C,
    waiting: Vec<String>,
    /// Task to the agent it was sent to.
    launched: BTreeMap<String, Value>,
    ended: BTreeMap<String, (String, String, Option<String>)>,
    /// What was heard of each task, for the report of a broken promise.
    heard: BTreeMap<String, Vec<String>>,
    reconciled: Instant,
}

const TERMINAL: [&str; 8] = [
    "TASK_FINISHED",
    "TASK_FAILED",
    "TASK_KILLED",
    "TASK_ERROR",
    "TASK_LOST",
    "TASK_DROPPED",
    "TASK_GONE",
    "TASK_GONE_BY_OPERATOR",
];

impl Scheduler {
    /// Launches `tasks` tasks as offers come; `command` gives the shell command of a task.
    pub(crate) fn start(
        port: u16,
        tasks: usize,
        command: impl FnMut(&str) -> String + Send + 'static,
    ) -> Self {
        let (report, done) = mpsc::channel();
        let mut state = State {
            port,
            framework: None,
            stream: String::new(),
            command,
            waiting: (0..tasks).rev().map(|n| format!("task-{n:03}")).collect(),
            launched: BTreeMap::new(),
            ended: BTreeMap::new(),
            heard: BTreeMap::new(),
            reconciled: Instant::now(),
        };
        thread::spawn(move || {
            let start = Instant::now();
            let result = loop {
                if let Err(defect) = state.session(tasks) {
                    break Err(defect);
                }
                if state.ended.len() == tasks {
                    break Ok(state.outcomes());
                }
                if start.elapsed() > 2 * PATIENCE {
                    let open: Vec<_> =
                        state.launched.keys().filter(|t| !state.ended.contains_key(*t)).collect();
                    let heard: Vec<_> = open.iter().map(|task| (task, state.heard.get(*task))).collect();
                    break Err(format!(
                        "{} of {tasks} tasks ended; still open: {heard:#?}",
                        state.ended.len()
                    ));
                }
                thread::sleep(Duration::from_millis(20));
            };
            // Nobody listens any more when the test has failed elsewhere.
            drop(report.send(result));
        });
        Self { done }
    }

    /// Waits until every task has ended, or says what is wrong.
    pub(crate) fn finish(self) -> Result<Vec<Outcome>, String> {
        self.done.recv_timeout(4 * PATIENCE).map_err(|_| "the scheduler hangs".to_string())?
    }
}

impl<C: FnMut(&str) -> String> State<C> {
    /// One subscription, until it breaks or everything has ended. An error is a broken promise.
    fn session(&mut self, tasks: usize) -> Result<(), String> {
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
        while self.ended.len() < tasks {
            match records.recv_timeout(Duration::from_millis(200)) {
                Ok(record) => {
                    let event =
                        serde_json::from_slice(&record).map_err(|error| format!("bad event: {error}"))?;
                    self.on_event(&event)?;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.reconciled.elapsed() > Duration::from_secs(1) {
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
        let cpus: f64 = offer["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|resource| resource["name"] == "cpus")
            .filter_map(|resource| resource["scalar"]["value"].as_f64())
            .sum();
        let room = ((cpus / 0.5) as usize).min(self.waiting.len()).min(25);
        let tasks: Vec<String> = self.waiting.split_off(self.waiting.len() - room);
        let infos: Vec<Value> = tasks
            .iter()
            .map(|task| {
                json!({"name": task, "task_id": {"value": task}, "agent_id": offer["agent_id"],
                    "command": {"value": (self.command)(task)},
                    "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}},
                        {"name": "mem", "type": "SCALAR", "scalar": {"value": 16}}]})
            })
            .collect();
        let accept = json!({"type": "ACCEPT", "accept": {"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0},
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": infos}}]}});
        // Whether or not the answer arrives, the master may have taken it: from now on it is reconciled.
        self.launched.extend(tasks.into_iter().map(|task| (task, offer["agent_id"].clone())));
        self.call(accept);
    }

    fn on_update(&mut self, status: &Value) -> Result<(), String> {
        let task = status["task_id"]["value"].as_str().unwrap_or_default().to_string();
        let state = status["state"].as_str().unwrap_or_default().to_string();
        let message = status["message"].as_str().unwrap_or_default().to_string();
        let uuid = status["uuid"].as_str().map(String::from);
        let reason = status["reason"].as_str().unwrap_or_default();
        let heard = self.heard.entry(task.clone()).or_default();
        heard.push(format!("{state} {reason} {} {message:?}", uuid.as_deref().unwrap_or("-")));
        if TERMINAL.contains(&state.as_str()) {
            match self.ended.get(&task) {
                // A task that the master itself refused is in nobody's books. When a reconciliation was
                // asked for before the refusal was heard, its answer says so.
                Some((_, _, None)) if uuid.is_none() && reason == "REASON_RECONCILIATION" => {}
                Some((before, _, _)) if *before != state => {
                    return Err(format!("{task} ended as {before} and then as {state}: {heard:#?}"));
                }
                Some((_, _, Some(before))) if uuid.as_ref().is_some_and(|uuid| uuid != before) => {
                    return Err(format!("{task} ended twice as {state}: {heard:#?}"));
                }
                Some(_) => {}
                None => _ = self.ended.insert(task.clone(), (state, message, uuid.clone())),
            }
        }
        if let Some(uuid) = uuid {
            self.call(json!({"type": "ACKNOWLEDGE",
                "acknowledge": {"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": uuid}}));
        }
        Ok(())
    }

    /// Asks for everything launched that has not ended.
    fn reconcile(&mut self) {
        self.reconciled = Instant::now();
        let open = self.launched.iter().filter(|(task, _)| !self.ended.contains_key(*task));
        let tasks: Vec<Value> =
            open.map(|(task, agent)| json!({"task_id": {"value": task}, "agent_id": agent})).collect();
        if !tasks.is_empty() {
            self.call(json!({"type": "RECONCILE", "reconcile": {"tasks": tasks}}));
        }
    }

    fn call(&self, mut body: Value) {
        body["framework_id"] = self.framework.clone().unwrap_or_default();
        let headers = [("Content-Type", "application/json"), ("Mesos-Stream-Id", self.stream.as_str())];
        // A call that does not arrive is made up for by the next subscription's reconciliation.
        drop(support::request(self.port, "POST", "/api/v1/scheduler", &headers, body.to_string().as_bytes()));
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let ended = self.ended.iter();
        ended
            .map(|(task, (state, message, _))| Outcome {
                task: task.clone(),
                state: state.clone(),
                message: message.clone(),
            })
            .collect()
    }
}
