//! The services daemon is killed before each of its steps while deployments are under way. It must end as if nothing had
//! happened: what was answered is kept, every instance is there once, and nothing is in the way of the next change.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Cluster,
    steps::{Step, Tracer},
    support::{PATIENCE, free_port, request},
};

/// Ports for instances; a few more than are ever there at once.
const PORTS: usize = 12;
/// Clusters at a time: most of a round is waiting for an agent that tells again, after ten seconds, of what nobody has
/// acknowledged.
const WORKERS: usize = 10;

/// States of tasks that have not ended.
const ALIVE: [&str; 4] = ["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"];

/// Ports on which everything that is asked is answered: that whoever listens there is ready.
fn ready_ports() -> Vec<u16> {
    let mut ports = Vec::new();
    while ports.len() < PORTS {
        let port = free_port();
        // Another program may have been faster.
        let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) else { continue };
        ports.push(port);
        // Until the program ends.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // Whoever asks may be killed before it hears.
                let _ = stream.read(&mut [0; 4096]);
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
    }
    ports
}

/// The app that is restarted.
const STILL: &str = "/still";
/// The apps that are there all the time.
const STAYING: [&str; 3] = [STILL, "/shop/sized", "/shop/upgraded"];

fn still() -> Value {
    json!({"id": STILL, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": 1})
}

/// The apps of the group that is changed: from one round to the next an app is made and another one removed, one is scaled
/// up or down, and one gets another version, which has to be ready before the older one ends.
fn group(round: usize) -> Value {
    let app = |id: &str, instances: usize, env: Value| {
        json!({"id": id, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": instances, "env": env,
            "portDefinitions": [{"port": 0, "name": "http"}], "requirePorts": false,
            "readinessChecks": [{"name": "ready", "portName": "http", "intervalSeconds": 2, "timeoutSeconds": 1}],
            "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}})
    };
    json!({"id": "/shop", "apps": [
        app(&format!("made-{}", round % 2), 1, json!({})),
        app("sized", 1 + round % 2, json!({})),
        app("upgraded", 1, json!({"ROUND": round.to_string()})),
    ]})
}

/// What everybody can see of how it ended.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// Of each app: how many instances run that have its present configuration.
    running: BTreeMap<String, usize>,
    /// Of each app that stays: how many versions have come.
    versions: BTreeMap<String, usize>,
}

impl End {
    /// As it is when nothing happens meanwhile.
    fn undisturbed(round: usize) -> Self {
        let of =
            |apps: &[(&str, usize)]| apps.iter().map(|(app, count)| ((*app).to_owned(), *count)).collect();
        let made = format!("/shop/made-{}", round % 2);
        let running = [(STILL, 1), (&made, 1), ("/shop/sized", 1 + round % 2), ("/shop/upgraded", 1)];
        Self { running: of(&running), versions: of(&STAYING.map(|app| (app, 1))) }
    }
}

/// The versions of an app.
fn versions(cluster: &Cluster, app: &str) -> Vec<Value> {
    let (status, body) = cluster.call("GET", &format!("/v2/apps{app}/versions"), &Value::Null);
    if status == 404 { Vec::new() } else { body["versions"].as_array().cloned().expect("versions") }
}

impl Cluster {
    /// Tasks of the framework that the master knows and that have not ended.
    fn alive(&self) -> Vec<String> {
        let asked = br#"{"type":"GET_TASKS"}"#;
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        let (status, body) =
            request(self.master.port, "POST", "/api/v1", &headers, asked).expect("the master's answer");
        assert_eq!(status, 200);
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let tasks = answer["get_tasks"]["tasks"].as_array().cloned().unwrap_or_default();
        // One that has ended stays until that was acknowledged, which may take the agent's next attempt to tell of it.
        let alive = tasks.iter().filter(|task| ALIVE.iter().any(|state| task["state"] == *state));
        let ids: Option<Vec<String>> =
            alive.map(|task| Some(task["task_id"]["value"].as_str()?.to_owned())).collect();
        let mut ids = ids.expect("every task has an id");
        ids.sort();
        ids
    }

    fn tasks(&self) -> Vec<Value> {
        self.get("/v2/tasks")["tasks"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until no deployment is left, and until the master and the services agree on what runs and nothing ends.
    fn rest(&self, what: &str) {
        self.wait(&format!("{what}: the end of all deployments"), Self::settled);
        self.wait(&format!("{what}: the same tasks at the master and here"), |cluster| {
            let tasks = cluster.tasks();
            let mut ids: Vec<String> =
                tasks.iter().filter_map(|task| Some(task["id"].as_str()?.to_owned())).collect();
            ids.sort();
            tasks.iter().all(|task| task["state"] == "TASK_RUNNING") && ids == cluster.alive()
        });
    }

    fn end(&self, before: &BTreeMap<String, Vec<Value>>) -> End {
        let mut running = BTreeMap::new();
        let tasks = self.tasks();
        let apps = self.get("/v2/apps")["apps"].as_array().cloned().expect("apps");
        for app in &apps {
            // Stamps as texts of one length: whatever came since then only changed the number of instances.
            let configured = app["versionInfo"]["lastConfigChangeAt"].as_str();
            let own = tasks.iter().filter(|task| {
                let is_running = task["appId"] == app["id"] && task["state"] == "TASK_RUNNING";
                is_running && task["version"].as_str() >= configured
            });
            running.insert(app["id"].as_str().expect("an id").to_owned(), own.count());
        }
        assert_eq!(running.values().sum::<usize>(), tasks.len(), "nothing else runs: {tasks:?}");
        let versions = before.iter().map(|(app, old)| {
            let new = versions(self, app).into_iter().filter(|version| !old.contains(version));
            (app.clone(), new.count())
        });
        End { running, versions: versions.collect() }
    }
}

/// Changes everything, with a kill before a step of it; how it ended, and whether there was such a step.
fn change(cluster: &mut Cluster, round: usize, kind: Step, nth: usize) -> (End, bool) {
    let before: BTreeMap<String, Vec<Value>> =
        STAYING.into_iter().map(|app| (app.to_owned(), versions(cluster, app))).collect();
    let group = group(round);
    let restart = format!("/v2/apps{STILL}/restart");
    let asked = [("PUT", "/v2/groups/shop", &group), ("POST", restart.as_str(), &Value::Null)];
    let port = cluster.services.port;
    let send = |(method, path, body): (&str, &str, &Value)| {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        request(port, method, path, &[], text.as_bytes())
    };

    let tracer = Tracer::new(cluster.services.pid(), (port, cluster.master.port), kind, nth);
    let answers = asked.map(send);
    let is_settled =
        || matches!(request(port, "GET", "/v2/deployments", &[], b""), Ok((200, body)) if body == b"[]");
    // The questions below are answered too, which is no step of the change.
    let is_answer = kind == Step::Answer;
    // Whatever takes too long is told of when there is no tracer any more.
    let start = Instant::now();
    while !is_answer && !tracer.is_over() && !is_settled() && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(50));
    }
    let is_killed = tracer.release(|| drop(request(port, "GET", "/ping", &[], b"")));
    let what = format!("killed before {kind:?} {nth}: {is_killed}");
    if is_killed {
        cluster.services.kill();
        cluster.services.start();
    }
    let is_taken = [
        cluster.get("/v2/apps/shop/upgraded")["app"]["env"]["ROUND"] == json!(round.to_string()),
        versions(cluster, STILL) != before[STILL],
    ];
    for ((answer, is_taken), asked) in answers.into_iter().zip(is_taken).zip(asked) {
        match answer {
            Ok((status, _)) => {
                assert!(status == 200 && is_taken, "{what}: {asked:?} {status}, kept: {is_taken}")
            }
            Err(_) if is_taken => {}
            // As clients do that got no answer.
            Err(_) => {
                let (status, body) = send(asked).expect("an answer");
                assert_eq!(status, 200, "{what}: {asked:?} {}", String::from_utf8_lossy(&body));
            }
        }
    }
    cluster.rest(&what);
    (cluster.end(&before), is_killed)
}

/// The step that is to be tried next.
struct Next {
    kinds: Vec<Step>,
    nth: usize,
}

impl Next {
    fn take(&mut self) -> Option<(Step, usize)> {
        self.nth += 1;
        Some((*self.kinds.last()?, self.nth))
    }

    /// There was no such step: all of this kind have been tried.
    fn is_done(&mut self, kind: Step) {
        if self.kinds.last() == Some(&kind) {
            self.kinds.pop();
            self.nth = 0;
        }
    }
}

/// A cluster of its own that tries a step after the other; before which kinds of steps it was killed.
fn work(worker: usize, resources: &str, next: &Mutex<Next>) -> Vec<Step> {
    let name = format!("services-steps-{worker}");
    let mut cluster = Cluster::start_with(&name, resources, &["--reconciliation_initial_delay=100"]);
    for (path, body) in [("/v2/apps", still()), ("/v2/groups", group(0))] {
        let (status, answer) = cluster.call("POST", path, &body);
        assert_eq!(status, 201, "{answer}");
    }
    cluster.rest("the beginning");
    let mut killed = Vec::new();
    for round in 1.. {
        let Some((kind, nth)) = next.lock().expect("no worker fails holding it").take() else { break };
        let (end, is_killed) = change(&mut cluster, round, kind, nth);
        assert_eq!(end, End::undisturbed(round), "killed before {kind:?} {nth}: {is_killed}");
        if is_killed {
            killed.push(kind);
        } else {
            next.lock().expect("no worker fails holding it").is_done(kind);
        }
    }
    cluster.close();
    killed
}

#[test]
fn services_killed_before_each_step_end_as_if_nothing_had_happened() {
    let kinds = vec![Step::Answer, Step::Call, Step::Sync];
    let next = Arc::new(Mutex::new(Next { kinds: kinds.clone(), nth: 0 }));
    // The same for all clusters: instances do not listen themselves.
    let ports: Vec<String> = ready_ports().iter().map(|port| format!("{port}-{port}")).collect();
    let resources = format!("--resources=cpus:4;mem:2048;disk:2048;ports:[{}]", ports.join(","));
    let workers = (0..WORKERS).map(|worker| {
        let (next, resources) = (next.clone(), resources.clone());
        thread::spawn(move || work(worker, &resources, &next))
    });
    let workers: Vec<_> = workers.collect();
    let killed: Vec<Step> =
        workers.into_iter().flat_map(|worker| worker.join().expect("no worker fails")).collect();
    for kind in kinds {
        let count = killed.iter().filter(|killed| **killed == kind).count();
        println!("killed before {kind:?}: {count} times");
        assert!(count > 0, "never killed before {kind:?}");
    }
}
