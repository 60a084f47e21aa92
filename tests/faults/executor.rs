//! A custom executor, which is this program started again by the agent, across restarts of the agent.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    chaos::{Chaos, Hits, Random},
    scheduler::{bare_task, launch_all, resources},
    support::{self, Folder, PATIENCE},
};

const TASKS: usize = 60;
const JSON: (&str, &str) = ("Content-Type", "application/json");
/// The test that is the executor's process.
const PROCESS: &str = "executor::the_process_of_the_executor";

#[test]
fn an_executor_keeps_its_tasks_while_agents_restart() {
    let folder = Folder::new("executor-key");
    let key = folder.path().join("key");
    fs::write(&key, "signs the tokens of executors").expect("write the key");
    let key = format!("--jwt_secret_key={}", key.display());
    for seed in 0..4 {
        let hits = if seed % 2 == 0 { Hits::AgentAlways } else { Hits::Any };
        let timeout = "--executor_reregistration_timeout=15secs";
        // A token outlives the agent that issued it.
        let agent = &[timeout, "--authenticate_http_executors", &key][..if seed < 2 { 1 } else { 3 }];
        let outcome = Chaos { name: "executor", seed, tasks: TASKS, hits, kills: 3..7, agent }.run(
            |marks, mut random| {
                move |tasks, place| {
                    let infos: Vec<_> = tasks
                        .iter()
                        .map(|task| {
                            let mut info = bare_task(task, place);
                            let label = |key: &str, value: String| json!({"key": key, "value": value});
                            info["labels"] = json!({"labels": [
                                label("mark", marks.path(task).display().to_string()),
                                label("millis", random.below(1500).to_string()),
                            ]});
                            info["executor"] = executor(&marks.path(""));
                            info
                        })
                        .collect();
                    launch_all(&infos)
                }
            },
        );
        println!("executor, seed {seed}: {outcome}");
    }
}

fn executor(marks: &Path) -> Value {
    let program = std::env::current_exe().expect("this program has a path");
    let command = format!("exec {} --exact {PROCESS} --nocapture", program.display());
    let folder = json!({"name": "FAULTS_MARKS", "value": marks.display().to_string()});
    json!({"type": "CUSTOM", "executor_id": {"value": "custom"}, "resources": resources(0.5, 32),
        "command": {"value": command, "environment": {"variables": [folder]}}})
}

/// Plays the executor when an agent has started this program, and is nothing otherwise.
#[test]
fn the_process_of_the_executor() {
    let Ok(marks) = std::env::var("FAULTS_MARKS") else { return };
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("the agent sets {name}"));
    let endpoint = variable("MESOS_AGENT_ENDPOINT");
    let port = endpoint.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("HOST:PORT");
    let executor = Executor {
        port,
        ids: (variable("MESOS_FRAMEWORK_ID"), variable("MESOS_EXECUTOR_ID")),
        authorization: std::env::var("MESOS_EXECUTOR_AUTHENTICATION_TOKEN")
            .map_or_else(|_| "none is asked for".into(), |token| format!("Bearer {token}")),
        books: Mutex::new(Books {
            random: Random::new(u64::from(process::id())),
            tasks: BTreeMap::new(),
            updates: Vec::new(),
        }),
    };
    let executor = Arc::new(executor);
    let mut heard = Instant::now();
    // Without its agent and its test it is not needed.
    while heard.elapsed() < PATIENCE && Path::new(&marks).exists() {
        if executor.session() {
            heard = Instant::now();
        }
        thread::sleep(Duration::from_millis(50));
    }
}

struct Executor {
    port: u16,
    /// Of the framework and its own.
    ids: (String, String),
    authorization: String,
    books: Mutex<Books>,
}

/// What an executor has to tell an agent that comes back.
struct Books {
    random: Random,
    /// Tasks of which nothing has been acknowledged.
    tasks: BTreeMap<String, Value>,
    /// Not acknowledged, oldest first.
    updates: Vec<Value>,
}

impl Executor {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One subscription until it breaks; whether there was one.
    fn session(self: &Arc<Self>) -> bool {
        let subscribe = {
            let books = self.books();
            let updates: Vec<Value> = books.updates.iter().map(|status| json!({"status": status})).collect();
            let tasks: Vec<&Value> = books.tasks.values().collect();
            json!({"unacknowledged_tasks": tasks, "unacknowledged_updates": updates})
        };
        let body = self.body("SUBSCRIBE", json!({"subscribe": subscribe}));
        let headers = [JSON, ("Accept", "application/json"), ("Authorization", &self.authorization)];
        let Ok(mut opened) = support::open(self.port, "POST", "/api/v1/executor", &headers, &body) else {
            return false;
        };
        if opened.status != 200 {
            return false;
        }
        let mut pending = Vec::new();
        while let Ok(Some(record)) = opened.record(&mut pending) {
            let event: Value = serde_json::from_slice(&record).expect("events are JSON");
            match event["type"].as_str().unwrap_or_default() {
                "LAUNCH" => self.launch(event["launch"]["task"].clone()),
                "ACKNOWLEDGED" => self.acknowledged(&event["acknowledged"]),
                "SHUTDOWN" => process::exit(0),
                _ => {}
            }
        }
        true
    }

    fn launch(self: &Arc<Self>, task: Value) {
        let executor = Arc::clone(self);
        let id = task["task_id"]["value"].as_str().unwrap_or_default().to_owned();
        executor.books().tasks.insert(id.clone(), task.clone());
        thread::spawn(move || {
            let label = |key: &str| {
                let labels = task["labels"]["labels"].as_array().into_iter().flatten();
                let label =
                    labels.filter(|label| label["key"] == key).find_map(|label| label["value"].as_str());
                label.unwrap_or_default().to_owned()
            };
            let mark = |line: &str| {
                let file = fs::File::options().create(true).append(true).open(label("mark"));
                file.and_then(|mut file| writeln!(file, "{line}")).expect("leave a mark");
            };
            mark("began");
            executor.update(&id, "TASK_RUNNING");
            thread::sleep(Duration::from_millis(label("millis").parse().unwrap_or(0)));
            mark("ended");
            executor.update(&id, "TASK_FINISHED");
        });
    }

    /// Tells the agent until it has taken it; whether it keeps it, the next subscription sees to.
    fn update(&self, task: &str, state: &str) {
        let status = {
            let mut books = self.books();
            let uuid = uuid(&mut books.random);
            let status = json!({"task_id": {"value": task}, "state": state, "uuid": uuid,
                "source": "SOURCE_EXECUTOR", "executor_id": {"value": self.ids.1}});
            books.updates.push(status.clone());
            status
        };
        let body = self.body("UPDATE", json!({"update": {"status": status}}));
        let headers = [JSON, ("Authorization", &self.authorization)];
        let is_open = || self.books().updates.iter().any(|known| known["uuid"] == status["uuid"]);
        while is_open() {
            let answer = support::request(self.port, "POST", "/api/v1/executor", &headers, &body);
            if answer.is_ok_and(|(code, _)| code == 202) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn acknowledged(&self, acknowledged: &Value) {
        let mut books = self.books();
        books.tasks.remove(acknowledged["task_id"]["value"].as_str().unwrap_or_default());
        books.updates.retain(|status| status["uuid"] != acknowledged["uuid"]);
    }

    fn body(&self, kind: &str, mut call: Value) -> Vec<u8> {
        call["type"] = kind.into();
        call["framework_id"] = json!({"value": self.ids.0});
        call["executor_id"] = json!({"value": self.ids.1});
        call.to_string().into_bytes()
    }
}

/// Sixteen bytes in base 64.
fn uuid(random: &mut Random) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text: String = (0..21).map(|_| LETTERS[random.below(64) as usize] as char).collect();
    // The last letter holds two bits.
    format!("{text}A==")
}
