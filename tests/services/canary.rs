//! Upgrades that are tried on a few instances first, with real processes.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{Cluster, sleeper};

fn tasks(cluster: &Cluster) -> Vec<String> {
    let tasks = cluster.get("/v2/apps/web/tasks")["tasks"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = tasks.iter().map(|task| task["id"].to_string()).collect();
    ids.sort();
    ids
}

/// What became of the canaries of the newest version that had any.
fn report(cluster: &Cluster) -> Value {
    cluster.get("/v2/apps/web/versions")["canaries"][0].clone()
}

/// A cluster with three instances of `/web`.
fn at_rest(name: &str) -> Cluster {
    let cluster = Cluster::start(name, &[]);
    assert_eq!(cluster.call("POST", "/v2/apps", &sleeper("/web", 3)).0, 201);
    cluster.wait("three instances", |cluster| cluster.running("/web") == 3 && cluster.settled());
    cluster
}

fn upgrade(cluster: &Cluster, command: &str, canary: Value) {
    let mut app = sleeper("/web", 3);
    (app["cmd"], app["canary"]) = (json!(command), canary);
    let (status, body) = cluster.call("PUT", "/v2/apps/web?partialUpdate=false", &app);
    assert_eq!(status, 200, "{body}");
}

#[test]
fn a_canary_that_ends_takes_the_upgrade_back_and_no_old_instance_ends() {
    let cluster = at_rest("services-canary-back");
    let before = tasks(&cluster);
    upgrade(&cluster, "sleep 1; exit 3", json!({"instances": 1, "holdSeconds": 3600}));
    cluster.wait("the way back", |cluster| report(cluster)["phase"] == "failed" && cluster.settled());
    let reason = report(&cluster)["reason"].to_string();
    assert!(reason.contains("failed: "), "{reason}");
    assert_eq!(tasks(&cluster), before, "the very tasks that ran");
    let app = cluster.get("/v2/apps/web")["app"].clone();
    assert_eq!((&app["cmd"], &app["tasksRunning"]), (&json!("sleep 1000"), &json!(3)));
    assert!(app["canary"].is_null(), "the version before had none");
    cluster.close();
}

#[test]
fn a_trial_survives_the_end_of_the_daemon_and_the_others_follow() {
    let mut cluster = at_rest("services-canary-kill");
    upgrade(&cluster, "sleep 2000", json!({"instances": "10%", "holdSeconds": 3600}));
    let holds = |cluster: &Cluster| report(cluster)["phase"] == "holding" && cluster.running("/web") == 4;
    cluster.wait("a canary that holds", holds);
    let before = tasks(&cluster);
    cluster.services.kill();
    cluster.services.start();
    cluster.wait("a canary that holds again", holds);
    assert_eq!(tasks(&cluster), before, "one canary and three others");
    let deployments = cluster.get("/v2/deployments");
    assert_eq!(deployments[0]["currentActions"][0]["canary"]["phase"], "holding", "{deployments}");
    // On without a wait: the definition does not ask for canaries any more.
    let mut app = sleeper("/web", 3);
    app["cmd"] = json!("sleep 2000");
    assert_eq!(cluster.call("PUT", "/v2/apps/web?partialUpdate=false&force=true", &app).0, 200);
    cluster.wait("three others", |cluster| cluster.running("/web") == 3 && cluster.settled());
    assert_eq!(report(&cluster)["phase"], "waived");
    assert_eq!(
        tasks(&cluster).iter().filter(|id| before.contains(id)).count(),
        1,
        "the canary is one of them"
    );
    cluster.close();
}

/// A server that answers every request with the status that stands there. It lives as long as the test program.
fn metrics() -> (u16, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let status = Arc::new(AtomicU16::new(200));
    let said = status.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let head = format!("HTTP/1.1 {} X\r\n", said.load(Ordering::SeqCst));
            let _ = write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, status)
}

#[test]
fn a_check_of_the_operators_decides() {
    let cluster = at_rest("services-canary-check");
    let (port, status) = metrics();
    let canary = |on_failure: &str| {
        let check = json!({"url": format!("http://127.0.0.1:{port}/ok?app=web"), "intervalSeconds": 1});
        json!({"instances": 1, "holdSeconds": 1, "check": check, "onFailure": on_failure})
    };
    upgrade(&cluster, "sleep 2000", canary("rollback"));
    cluster.wait("a canary that passes", |cluster| report(cluster)["phase"] == "passed" && cluster.settled());
    assert_eq!(cluster.get("/v2/apps/web")["app"]["cmd"], "sleep 2000");

    status.store(503, Ordering::SeqCst);
    let before = tasks(&cluster);
    upgrade(&cluster, "sleep 3000", canary("stop"));
    cluster.wait("a canary that fails", |cluster| report(cluster)["phase"] == "failed");
    assert_eq!(report(&cluster)["reason"], "the check of 127.0.0.1 answered 503");
    assert_eq!(cluster.running("/web"), 4, "it stays as it is");
    let id = cluster.get("/v2/deployments")[0]["id"].as_str().expect("a deployment").to_owned();
    let (code, body) = cluster.call("DELETE", &format!("/v2/deployments/{id}"), &Value::Null);
    assert_eq!(code, 200, "{body}");
    cluster.wait("the way back", |cluster| cluster.running("/web") == 3 && cluster.settled());
    assert_eq!(tasks(&cluster), before, "the very tasks that ran");
    let (code, body) = cluster.call("PUT", "/v2/apps/web", &json!({"canary": {"instances": "200%"}}));
    assert_eq!(code, 422, "{body}");
    let told = body["details"][0]["errors"][0].as_str().unwrap_or_default();
    assert!(told.contains("a share of them from \"1%\" to \"100%\""), "{body}");
    cluster.close();
}
