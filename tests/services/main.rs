//! Services from end to end: real processes, Marathon's API from outside.

mod killed;
mod steps;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test program uses a part of it")]
mod support;

mod canary;
mod constraints;
mod secrets;

use std::{
    io::BufRead as _,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Daemon, Folder, PATIENCE, open, request};

/// A master, an agent and services.
struct Cluster {
    services: Daemon,
    _agent: Daemon,
    master: Daemon,
    _folder: Folder,
}

impl Cluster {
    fn start(name: &str, more: &[&str]) -> Self {
        Self::start_with(name, "--resources=cpus:4;mem:2048;disk:2048;ports:[31000-31200]", more)
    }

    fn start_with(name: &str, resources: &str, more: &[&str]) -> Self {
        let folder = Folder::new(name);
        let master = Daemon::master(folder.path(), &[]);
        let agent = Daemon::agent(folder.path(), master.port, &[resources, "--no-switch_user"]);
        let mut flags = vec!["--min_revive_offers_interval=100", "--decline_offer_duration=1000"];
        flags.extend(more);
        let services = Daemon::services(folder.path(), master.port, &flags);
        Self { services, _agent: agent, master, _folder: folder }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = request(self.services.port, method, path, &[], text.as_bytes());
        let (status, body) = answer.expect("an answer");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Waits for something to be seen.
    fn wait(&self, what: &str, mut seen: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        // What takes long is looked at less often.
        let mut pause = Duration::from_millis(10);
        while !seen(self) {
            assert!(start.elapsed() < PATIENCE, "{what} has not come:\n{}", self.services.log_tail());
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    fn running(&self, app: &str) -> u64 {
        self.get(&format!("/v2/apps{app}"))["app"]["tasksRunning"].as_u64().unwrap_or(0)
    }

    fn settled(&self) -> bool {
        self.get("/v2/deployments").as_array().is_some_and(Vec::is_empty)
    }

    /// Removes all apps and waits until nothing of them runs: tasks outlive their agent. Nobody may have panicked.
    fn close(self) {
        let apps = self.get("/v2/apps")["apps"].as_array().cloned().unwrap_or_default();
        for app in &apps {
            let path = format!("/v2/apps{}?force=true", app["id"].as_str().expect("an id"));
            let (status, body) = self.call("DELETE", &path, &Value::Null);
            assert_eq!(status, 200, "{path}: {body}");
        }
        self.wait("the end of all tasks", |cluster| {
            cluster.settled() && cluster.get("/v2/tasks")["tasks"] == json!([])
        });
        assert!(self.services.log_panics().is_empty());
    }
}

fn sleeper(id: &str, instances: u32) -> Value {
    json!({"id": id, "cmd": "sleep 1000", "cpus": 0.1, "mem": 32, "instances": instances})
}

#[test]
fn an_app_is_made_scaled_restarted_and_removed() {
    let cluster = Cluster::start("services-life", &[]);
    let (status, made) = cluster.call("POST", "/v2/apps", &sleeper("/shop/web", 2));
    assert_eq!(status, 201, "{made}");
    assert_eq!((&made["id"], &made["tasksRunning"]), (&json!("/shop/web"), &json!(0)));
    let deployment = made["deployments"][0]["id"].as_str().expect("a deployment").to_owned();
    assert!(!deployment.is_empty());
    cluster.wait("two instances", |cluster| cluster.running("/shop/web") == 2 && cluster.settled());
    let (status, body) = cluster.call("POST", "/v2/apps", &sleeper("/shop/web", 1));
    assert_eq!((status, &body["message"]), (409, &json!("An app with id [/shop/web] already exists.")));

    let (status, body) = cluster.call("PUT", "/v2/apps/shop/web", &json!({"instances": 3}));
    assert_eq!(status, 200, "{body}");
    cluster.wait("three instances", |cluster| cluster.running("/shop/web") == 3 && cluster.settled());
    let before = cluster.get("/v2/apps/shop/web/tasks");
    assert_eq!(before["tasks"].as_array().map(Vec::len), Some(3), "{before}");

    let (status, body) = cluster.call("POST", "/v2/apps/shop/web/restart", &Value::Null);
    assert_eq!(status, 200, "{body}");
    cluster.wait("others in their place", |cluster| {
        let ids = |tasks: &Value| -> Vec<String> {
            let tasks = tasks["tasks"].as_array().cloned().unwrap_or_default();
            tasks.iter().filter_map(|task| Some(task["id"].as_str()?.to_owned())).collect()
        };
        let (old, new) = (ids(&before), ids(&cluster.get("/v2/apps/shop/web/tasks")));
        new.len() == 3 && new.iter().all(|id| !old.contains(id)) && cluster.settled()
    });
    assert!(
        cluster.get("/v2/apps/shop/web/versions")["versions"].as_array().is_some_and(|all| all.len() >= 3)
    );

    let (status, body) = cluster.call("DELETE", "/v2/apps/shop/web", &Value::Null);
    assert_eq!(status, 200, "{body}");
    cluster.wait("the end", |cluster| {
        cluster.call("GET", "/v2/apps/shop/web", &Value::Null).0 == 404 && cluster.settled()
    });
    assert_eq!(cluster.get("/v2/tasks")["tasks"], json!([]));
    cluster.close();
}

#[test]
fn services_that_are_killed_know_everything_again_and_tasks_go_on() {
    let mut cluster = Cluster::start("services-kill", &[]);
    assert_eq!(cluster.call("POST", "/v2/apps", &sleeper("/web", 2)).0, 201);
    cluster.wait("two instances", |cluster| cluster.running("/web") == 2 && cluster.settled());
    let ids = |cluster: &Cluster| {
        let tasks = cluster.get("/v2/apps/web/tasks")["tasks"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<String> = tasks.iter().map(|task| task["id"].to_string()).collect();
        ids.sort();
        ids
    };
    let (before, framework) = (ids(&cluster), cluster.get("/v2/info")["frameworkId"].clone());
    // In the middle of a deployment.
    assert_eq!(cluster.call("PUT", "/v2/apps/web", &json!({"instances": 4})).0, 200);
    cluster.services.kill();
    cluster.services.start();
    cluster.wait("four instances", |cluster| cluster.running("/web") == 4 && cluster.settled());
    let after = ids(&cluster);
    assert!(before.iter().all(|id| after.contains(id)), "{before:?} {after:?}");
    assert_eq!(cluster.get("/v2/info")["frameworkId"], framework, "the same framework");
    cluster.close();
}

#[test]
fn answers_are_as_the_api_has_them() {
    let cluster = Cluster::start("services-api", &["--http_realm=Here", "--access_control_allow_origin=*"]);
    // Marathon rules 238, 258 and 263.
    let opened = open(cluster.services.port, "GET", "/v2/apps", &[], b"").expect("an answer");
    let header = |name: &str| {
        let found = opened.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    assert_eq!(header("cache-control"), "no-cache, no-store, must-revalidate");
    assert_eq!((header("pragma"), header("expires")), ("no-cache", "0"));
    assert_eq!((header("x-frame-options"), header("x-xss-protection")), ("DENY", "1; mode=block"));
    assert!(header("x-marathon-leader").starts_with("http://127.0.0.1:"));
    assert_eq!(header("access-control-allow-origin"), "*");
    // Marathon rule 250.
    let (status, body) = cluster.call("GET", "/v2/nothing", &Value::Null);
    assert_eq!((status, body), (500, json!({"message": "URI not found"})));
    // Marathon rules 246 and 247.
    let (status, body) = request(cluster.services.port, "POST", "/v2/apps", &[], b"{").expect("an answer");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &body["message"]), (400, &json!("Invalid JSON")));
    let (status, body) = cluster.call("POST", "/v2/apps", &Value::Null);
    assert_eq!((status, &body["message"]), (400, &json!("Please specify data in JSON format")));
    // Marathon rule 252.
    let (status, body) = cluster.call("GET", "/v2/apps/none", &Value::Null);
    assert_eq!((status, &body["message"]), (404, &json!("App '/none' does not exist")));
    let (status, body) = cluster.call("DELETE", "/v2/apps/none/tasks?scale=true&wipe=true", &Value::Null);
    // Marathon rule 191.
    assert_eq!((status, &body["message"]), (400, &json!("You cannot use scale and wipe at the same time.")));
    // Marathon rule 194.
    let (status, body) = cluster.call("POST", "/v2/tasks/delete", &json!({"ids": ["no id"]}));
    assert_eq!(status, 400, "{body}");
    assert!(body["message"].as_str().is_some_and(|text| text.starts_with("Invalid task id")));
    // Marathon rule 45.
    let (status, body) = cluster.call("DELETE", "/v2/deployments/none", &Value::Null);
    assert_eq!((status, &body["message"]), (404, &json!("DeploymentPlan none does not exist")));
    for path in ["/v2/groups", "/v2/queue", "/v2/info", "/v2/leader", "/v2/plugins", "/metrics", "/config"] {
        assert!(cluster.get(path).is_object(), "{path}");
    }
    for path in ["/v2/pods", "/v2/pods/::status", "/v2/deployments", "/v2/groups/versions"] {
        assert!(cluster.get(path).is_array(), "{path}");
    }
    assert_eq!(cluster.call("GET", "/v2/events", &Value::Null).0, 405);
    assert_eq!(request(cluster.services.port, "GET", "/ping", &[], b"").expect("an answer").1, b"pong");
}

#[test]
fn events_are_told_as_they_happen() {
    let cluster = Cluster::start("services-events", &[]);
    let headers = [("Accept", "text/event-stream")];
    let path = "/v2/events?event_type=deployment_success&event_type=status_update_event";
    let mut stream = open(cluster.services.port, "GET", path, &headers, b"").expect("a stream");
    assert_eq!(stream.status, 200);
    assert_eq!(cluster.call("POST", "/v2/apps", &sleeper("/told", 1)).0, 201);
    let mut names = Vec::new();
    let mut line = String::new();
    while !names.contains(&"deployment_success".to_owned()) {
        line.clear();
        assert!(stream.body.read_line(&mut line).expect("a line") > 0, "the stream ended: {names:?}");
        if let Some(name) = line.strip_prefix("event: ") {
            names.push(name.trim().to_owned());
        }
    }
    assert!(names.iter().any(|name| name == "status_update_event"), "{names:?}");
    assert!(names.iter().all(|name| name == "status_update_event" || name == "deployment_success"));
    cluster.close();
}

#[test]
fn marathon_rule_253_whoever_comes_is_asked_for_the_password() {
    let folder = Folder::new("services-auth");
    // Nobody is there to subscribe with, which the API does not need.
    let services = Daemon::services(folder.path(), 1, &["--http_credentials=ann:secret"]);
    let asked = |headers: &[(&str, &str)]| {
        request(services.port, "GET", "/v2/apps", headers, b"").expect("an answer").0
    };
    assert_eq!(asked(&[]), 401);
    assert_eq!(asked(&[("Authorization", "Basic YW5uOndyb25n")]), 401);
    assert_eq!(asked(&[("Authorization", "Basic YW5uOnNlY3JldA==")]), 200);
}
