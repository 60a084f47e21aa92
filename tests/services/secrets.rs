//! Secrets from the command line to the task, and nowhere else.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Daemon, Folder, PATIENCE, request};

const VALUE: &str = "hush-9f31c7-first";
const OTHER: &str = "hush-9f31c7-second";
/// What all values begin with as JSON has bytes, wherever a group of three begins.
const BASE64: [&str; 3] = ["aHVzaC05ZjMxYzct", "h1c2gtOWYzMWM3", "odXNoLTlmMzFjNy"];

fn mezzo(services: u16, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(arguments)
        .env("MEZZO_SERVICES", format!("127.0.0.1:{services}"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run mezzo");
    // Whoever does not read it has ended.
    drop(child.stdin.take().expect("the pipe").write_all(stdin.as_bytes()));
    child.wait_with_output().expect("wait for mezzo")
}

/// What a command that must work has said.
fn done(services: u16, arguments: &[&str], stdin: &str) -> String {
    let output = mezzo(services, arguments, stdin);
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

fn wait(what: &str, mut seen: impl FnMut() -> bool) {
    let start = Instant::now();
    while !seen() {
        assert!(start.elapsed() < PATIENCE, "{what} has not come");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Where a value, or the first part that all values share, stands below a folder.
fn found_in(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            found_in(&path, found);
        } else if meta.is_file() && fs::read(&path).is_ok_and(|bytes| holds_value(&bytes)) {
            found.push(path.display().to_string());
        }
    }
}

fn holds_value(bytes: &[u8]) -> bool {
    let needles = [&VALUE[..12]].into_iter().chain(BASE64);
    needles.into_iter().any(|needle| bytes.windows(needle.len()).any(|part| part == needle.as_bytes()))
}

fn get(port: u16, path: &str) -> Value {
    let (status, body) = request(port, "GET", path, &[], b"").expect("an answer");
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}

/// Every answer of all three daemons that could have it.
fn nobody_tells(services: u16, master: u16, agent: u16) {
    let clean = |port: u16, method: &str, path: &str, body: &str| {
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        let (status, answer) = request(port, method, path, &headers, body.as_bytes()).expect("an answer");
        assert_eq!(status, 200, "{path} {body}");
        assert!(!holds_value(&answer), "{path} {body}: {}", String::from_utf8_lossy(&answer));
    };
    for path in [
        "/v2/apps?embed=apps.tasks&embed=apps.lastTaskFailure",
        "/v2/apps/shop/web",
        "/v2/apps/shop/web/versions",
        "/v2/apps/shop/web/tasks",
        "/v2/groups",
        "/v2/groups/versions",
        "/v2/tasks",
        "/v2/deployments",
        "/v2/queue?embed=lastUnusedOffers",
        "/v2/info",
        "/v2/secrets",
        "/v2/pods",
        "/v2/pods/::status",
        "/config",
        "/metrics",
        "/metrics/prometheus",
    ] {
        clean(services, "GET", path, "");
    }
    for path in ["/state", "/master/state", "/tasks", "/frameworks", "/slaves", "/state-summary"] {
        clean(master, "GET", path, "");
    }
    for path in ["/state", "/containers", "/monitor/statistics"] {
        clean(agent, "GET", path, "");
    }
    for call in ["GET_STATE", "GET_TASKS", "GET_EXECUTORS", "GET_FRAMEWORKS"] {
        let body = json!({ "type": call }).to_string();
        clean(master, "POST", "/api/v1", &body);
        clean(agent, "POST", "/api/v1", &body);
    }
}

#[test]
fn a_secret_reaches_its_task_and_nobody_else() {
    let folder = Folder::new("services-secrets");
    let master = Daemon::master(folder.path(), &[]);
    let root = crate::support::is_root("a secret as a file");
    let mut isolation = "posix/cpu,posix/mem,environment_secret".to_owned();
    if root {
        isolation.push_str(",filesystem/linux,volume/secret");
    }
    let agent = Daemon::agent(
        folder.path(),
        master.port,
        &[
            "--resources=cpus:4;mem:2048;disk:2048;ports:[31000-31200]",
            "--no-switch_user",
            &format!("--isolation={isolation}"),
        ],
    );
    let flags =
        ["--min_revive_offers_interval=100", "--decline_offer_duration=1000", "--enable_features=secrets"];
    let mut services = Daemon::services(folder.path(), master.port, &flags);
    let port = services.port;

    // The task tells what it was given by its digest alone.
    let told = folder.path().join("told");
    let file = if root { "sha256sum < key" } else { "printf %s \"$DB\" | sha256sum" };
    let command = format!(
        "(printf %s \"$DB\" | sha256sum; {file}) > {0}.new; mv {0}.new {0}; sleep 1000",
        told.display()
    );
    let mut app = json!({
        "id": "/shop/web", "cmd": command, "cpus": 0.1, "mem": 32, "instances": 1,
        "env": { "DB": { "secret": "db" } }, "secrets": { "db": { "source": "shop/db" } },
    });
    if root {
        app["container"] =
            json!({ "type": "MESOS", "volumes": [{ "containerPath": "key", "secret": "db" }] });
    }
    let body = app.to_string();
    // Before the subscription nobody can tell.
    wait("the plan with the secret that is missing", || {
        let answer = request(port, "POST", "/v2/apps?dryRun=true", &[], body.as_bytes()).expect("an answer");
        let plan: Value = serde_json::from_slice(&answer.1).expect("JSON");
        answer.0 == 200 && plan["outlook"][0]["missingSecrets"] == json!(["shop/db"])
    });
    let (status, _) = request(port, "POST", "/v2/apps", &[], body.as_bytes()).expect("an answer");
    assert_eq!(status, 201);
    let what_to_do = "secret shop/db does not exist  ->  mezzo secret set shop/db";
    wait("a word of what it waits for", || done(port, &["why", "/shop/web"], "").contains(what_to_do));

    // What is wrong is said, and not what it was about.
    for (name, value, why) in [
        ("a b", VALUE, "a secret's name is words"),
        ("shop/db", "", "the value is empty"),
        ("shop/db", &format!("{VALUE}{}", "x".repeat(64 << 10)), "more than 65536 bytes"),
    ] {
        let refused = mezzo(port, &["secret", "set", name], value);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(why), "{name}: {said}");
        assert!(!holds_value(said.as_bytes()), "{said}");
    }
    let digests = |value: &str| {
        let script = "printf %s \"$1\" | sha256sum; printf %s \"$1\" | sha256sum";
        Command::new("sh").args(["-c", script, "sh", value]).output().expect("run sh").stdout
    };
    let set = done(port, &["secret", "set", "shop/db"], &format!("{VALUE}\n"));
    assert!(set.contains("secret shop/db is set") && !holds_value(set.as_bytes()), "{set}");
    wait("the task with its secret", || fs::read(&told).is_ok_and(|told| told == digests(VALUE)));
    wait("the end of the deployment", || get(port, "/v2/deployments") == json!([]));
    nobody_tells(port, master.port, agent.port);
    let list = done(port, &["secret", "ls"], "");
    assert!(list.starts_with("SECRET") && list.contains("shop/db") && list.contains("/shop/web"), "{list}");
    let refused = mezzo(port, &["secret", "rm", "shop/db"], "");
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));

    // Another value restarts nothing, and is taken up when the app is restarted; also by a daemon that was killed.
    let tasks = get(port, "/v2/apps/shop/web/tasks");
    let set = done(port, &["secret", "set", "shop/db"], OTHER);
    assert!(set.contains("mezzo app restart /shop/web"), "{set}");
    services.kill();
    services.start();
    assert_eq!(get(port, "/v2/secrets")["secrets"][0]["usedBy"], json!(["/shop/web"]));
    wait("the subscription", || get(port, "/v2/info")["frameworkId"].is_string());
    assert_eq!(get(port, "/v2/apps/shop/web/tasks")["tasks"][0]["id"], tasks["tasks"][0]["id"]);
    assert_eq!(fs::read(&told).expect("the digests"), digests(VALUE));
    done(port, &["app", "restart", "shop/web"], "");
    wait("the task with the other value", || fs::read(&told).is_ok_and(|told| told == digests(OTHER)));
    nobody_tells(port, master.port, agent.port);

    // On disk it is sealed, under a key that is ours alone; no log and no sandbox has it. The agent keeps what it runs.
    let key = fs::metadata(folder.path().join("services/secrets.key")).expect("the key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let mut found = Vec::new();
    found_in(folder.path(), &mut found);
    let kept: Vec<String> = found.extract_if(.., |path| path.ends_with("agent/meta/agent.log")).collect();
    for path in kept {
        let mode = fs::metadata(&path).expect("the agent's records").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    assert_eq!(found, Vec::<String>::new());

    done(port, &["secret", "set", "spare", "--generate"], "");
    done(port, &["secret", "rm", "spare"], "");
    done(port, &["secret", "rm", "shop/db", "--force"], "");
    assert_eq!(get(port, "/v2/secrets")["secrets"], json!([]));
    done(port, &["app", "rm", "shop/web"], "");
    wait("the end of the task", || get(port, "/v2/tasks")["tasks"] == json!([]));
    assert!(services.log_panics().is_empty());
}
