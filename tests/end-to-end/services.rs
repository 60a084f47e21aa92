//! Services from a second terminal: up, looked at, scaled, broken, upgraded and rolled back.

use std::{
    fs,
    process::{Command, Output},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Dev,
    support::{Daemon, Folder, PATIENCE, free_port, request},
    text,
};

/// Instances in dev clusters listen on ports of one range, each cluster without knowing of the others.
pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Where the services of a dev cluster answer, by what it says.
pub(crate) fn services_port(dev: &Dev) -> u16 {
    let line = dev.said.iter().find(|line| line.contains("services")).expect("a line about services");
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect("an address");
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn mezzo(services: u16, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(arguments)
        .env("MEZZO_SERVICES", format!("127.0.0.1:{services}"))
        .env("NO_COLOR", "1")
        .output()
        .expect("run mezzo")
}

fn done(services: u16, arguments: &[&str]) -> String {
    let output = mezzo(services, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn get(services: u16, path: &str) -> Value {
    let (_, body) = request(services, "GET", path, &[], b"").expect("an answer");
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}

/// Ports of instances that run and are well, without those that are asked to end.
fn ports(services: u16) -> Vec<u16> {
    let answer = get(services, "/v2/apps/web/tasks");
    let tasks = answer["tasks"].as_array().into_iter().flatten();
    let running = tasks.filter(|task| task["state"] == "TASK_RUNNING");
    let well = running.filter(|task| task["healthCheckResults"][0]["alive"] == true);
    well.filter_map(|task| task["ports"][0].as_u64()?.try_into().ok()).collect()
}

/// What each instance that runs answers; what did not answer with 200 is an error.
fn answers(services: u16) -> Vec<Result<String, String>> {
    let asked = ports(services).into_iter().map(|port| match request(port, "GET", "/", &[], b"") {
        Ok((200, body)) => Ok(text(&body)),
        other => Err(format!("{port}: {other:?}")),
    });
    asked.collect()
}

/// Waits until so many instances all greet like this.
fn greeted(services: u16, count: usize, greeting: &str) {
    let start = Instant::now();
    loop {
        let answers = answers(services);
        let good = answers
            .iter()
            .filter(|answer| answer.as_ref().is_ok_and(|text| text.starts_with(greeting)))
            .count();
        if good == count && answers.len() == count {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{count} times {greeting}: {answers:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_web_app_is_upgraded_without_a_failed_request() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dev = Dev::start("services-web", &["--agents=2", "--services-port=0"]);
    let services = services_port(&dev);
    // The example as it is shipped, in a folder where it can be changed.
    let folder = Folder::new("services-web-files");
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let (file, program) = (folder.path().join("web.toml"), folder.path().join("web.py"));
    fs::copy(format!("{examples}/web.toml"), &file).expect("copy the example");
    fs::copy(format!("{examples}/web.py"), &program).expect("copy the example's program");
    let path = file.display().to_string();

    let plan = done(services, &["plan", &path]);
    assert!(plan.contains("+ app /web   2 instances"), "{plan}");
    assert!(plan.contains("2 would start: dev-"), "{plan}");
    assert_eq!(get(services, "/v2/apps")["apps"], serde_json::json!([]), "a plan changes nothing");
    let up = done(services, &["up", &path]);
    assert!(up.contains("/web") && up.contains("2/2"), "{up}");
    greeted(services, 2, "hello");
    done(services, &["app", "scale", "web", "+1"]);
    greeted(services, 3, "hello");

    // What they write is shown together, each line with where it comes from.
    let logs = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["logs", "web"])
        .env("MEZZO_SERVICES", format!("127.0.0.1:{services}"))
        .env("MEZZO_MASTER", format!("127.0.0.1:{}", dev.port))
        .output()
        .expect("run mezzo");
    let written = text(&logs.stdout);
    assert!(
        written.lines().any(|line| line.starts_with("dev-") && line.contains("GET /health")),
        "{written}"
    );

    // More than there is room for: it says what is missing where.
    done(services, &["app", "scale", "web", "200", "--detach"]);
    let start = Instant::now();
    loop {
        let why = done(services, &["why", "web"]);
        if why.contains("wants 200") && why.lines().any(|line| line.contains("dev-") && line.contains("cpu"))
        {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{why}");
        thread::sleep(Duration::from_millis(100));
    }
    let locked = mezzo(services, &["app", "scale", "web", "3"]);
    assert_eq!(locked.status.code(), Some(4), "{}", text(&locked.stderr));
    done(services, &["app", "scale", "web", "3", "--force"]);
    greeted(services, 3, "hello");

    // An instance that is killed is replaced.
    let tasks = get(services, "/v2/apps/web/tasks");
    let victim = tasks["tasks"][0]["id"].as_str().expect("a task").to_owned();
    assert!(dev.mezzo(&["kill", &victim, "--signal=9"]).status.success());
    let start = Instant::now();
    while get(services, "/v2/apps/web/tasks")["tasks"].to_string().contains(&victim) {
        assert!(start.elapsed() < PATIENCE, "{victim} is still there");
        thread::sleep(Duration::from_millis(50));
    }
    greeted(services, 3, "hello");

    // Somebody asks all instances in turn while they are replaced.
    let stop = Arc::new(AtomicBool::new(false));
    let client = thread::spawn({
        let stop = stop.clone();
        move || {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                seen.extend(answers(services));
                thread::sleep(Duration::from_millis(10));
            }
            seen
        }
    });
    let changed = fs::read_to_string(&file).expect("read the file").replace("\"hello\"", "\"welcome\"");
    fs::write(&file, changed.replace("instances  = 2", "instances  = 3")).expect("change the file");
    let plan = done(services, &["plan", &path]);
    assert!(plan.contains("~ app /web") && plan.contains("restart /web"), "{plan}");
    done(services, &["up", &path]);
    greeted(services, 3, "welcome");
    stop.store(true, Ordering::Relaxed);
    let seen = client.join().expect("the client");
    let failed: Vec<_> = seen.iter().filter(|answer| answer.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} requests failed: {failed:?}", failed.len(), seen.len());
    assert!(seen.iter().flatten().any(|text| text.starts_with("hello")), "it was asked before the end");

    let history = done(services, &["app", "history", "web"]);
    assert!(history.contains("hello") && history.contains("welcome"), "{history}");
    let titles = history.lines().next().unwrap_or_default();
    assert_eq!(titles.split_whitespace().collect::<Vec<_>>(), ["VERSION", "CHANGED"], "no column of dashes");
    done(services, &["app", "rollback", "web"]);
    greeted(services, 3, "hello");
    let shown = done(services, &["app", "show", "web"]);
    assert!(shown.contains("3 of 3 running"), "{shown}");
    done(services, &["app", "rm", "web"]);
    let gone = mezzo(services, &["app", "show", "web"]);
    assert_eq!(gone.status.code(), Some(3), "{}", text(&gone.stderr));
}

#[test]
fn an_upgrade_whose_canary_fails_is_told_and_taken_back() {
    let dev = Dev::start("services-canary", &["--agents=2", "--services-port=0"]);
    let services = services_port(&dev);
    let folder = Folder::new("services-canary-files");
    let file = folder.path().join("web.toml");
    let path = file.display().to_string();
    let write = |command: &str, canary: &str| {
        let app = format!(
            "[app.web]\ncmd = \"{command}\"\ninstances = 2\ncpus = 0.1\nmemory = \"32 MiB\"\n{canary}\n"
        );
        fs::write(&file, app).expect("write the file");
    };
    write("sleep 1000", "");
    done(services, &["up", &path]);

    write("sleep 2000", "canary = { instances = \"10%\", hold = \"1s\" }");
    done(services, &["up", &path]);
    let history = done(services, &["app", "history", "web"]);
    assert!(history.contains("10 % 1 s, passed"), "{history}");

    write("sleep 2; exit 3", "canary = { instances = 1, hold = \"1h\" }");
    let failed = mezzo(services, &["up", &path]);
    let told = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{told}");
    assert!(told.contains("the canary of /web has failed") && told.contains("app history /web"), "{told}");
    let history = done(services, &["app", "history", "web"]);
    assert!(history.contains("1 1 h, failed: the one on dev-"), "{history}");
    let why = done(services, &["why", "web"]);
    assert!(why.contains("was taken back, its canary failed"), "{why}");

    write("sleep 2; exit 3", "canary = { instances = 1, hold = \"1h\", on_failure = \"stop\" }");
    let stopped = mezzo(services, &["up", &path]);
    let told = text(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{told}");
    assert!(
        told.contains("its deployment waits for you") && told.contains("rollback /web --force"),
        "{told}"
    );
    let deployments = done(services, &["deployments"]);
    assert!(deployments.contains("(canary failed: "), "{deployments}");
    done(services, &["app", "rollback", "web", "--force"]);
    assert_eq!(get(services, "/v2/apps/web")["app"]["cmd"], "sleep 2000");

    let huge = "[app.huge]\ncmd = \"sleep 1\"\ninstances = 3\ncpus = 9000\nmemory = \"1 MiB\"\n";
    fs::write(&file, huge).expect("write the file");
    let plan = done(services, &["plan", &path]);
    assert!(plan.contains("3 would wait:") && plan.contains("dev-2  wanted: cpus 9000"), "{plan}");
    assert!(plan.contains("all would find a place with:  cpus "), "{plan}");
}

#[test]
fn versions_tell_who_asked_for_them() {
    let folder = Folder::new("services-by");
    let file = folder.path().join("idle.toml");
    fs::write(&file, "[app.idle]\ncmd = \"sleep 1\"\ninstances = 0\n").expect("write the file");
    let path = file.display().to_string();
    // Nobody is there to subscribe with, which an app without instances does not need.
    let mut services = Daemon::services(folder.path(), 1, &["--http_credentials=ana:s3cret"]);
    let port = services.port;
    let as_ana = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(arguments)
            .env("MEZZO_SERVICES", format!("ana:s3cret@127.0.0.1:{port}"))
            .env("NO_COLOR", "1")
            .output()
            .expect("run mezzo");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let denied = mezzo(port, &["up", &path]);
    assert_eq!(denied.status.code(), Some(5), "{}", text(&denied.stderr));
    as_ana(&["up", &path]);
    let line = |history: &str| history.lines().nth(1).unwrap_or_default().to_owned();
    let history = as_ana(&["app", "history", "idle"]);
    assert!(history.starts_with("VERSION ") && line(&history).contains("  ana  made"), "{history}");
    services.kill();
    services.start();
    let history = as_ana(&["app", "history", "idle"]);
    assert!(line(&history).contains("  ana  made"), "after a restart: {history}");
}

#[test]
fn a_web_app_is_served_while_its_agent_is_killed_and_comes_back() {
    let folder = Folder::new("services-agent");
    let master = Daemon::master(folder.path(), &[]);
    // There is room for one instance on each.
    let mut agents = ["first", "second"].map(|name| {
        let place = folder.path().join(name);
        fs::create_dir(&place).expect("make a folder");
        let ports: Vec<String> = (0..3).map(|_| free_port()).map(|port| format!("{port}-{port}")).collect();
        let resources = format!("--resources=cpus:0.15;mem:512;disk:512;ports:[{}]", ports.join(","));
        Daemon::agent(&place, master.port, &[&resources, "--no-switch_user"])
    });
    let flags = ["--min_revive_offers_interval=100", "--decline_offer_duration=1000"];
    let services = Daemon::services(folder.path(), master.port, &flags);
    done(services.port, &["up", concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/web.toml")]);
    let instances = || {
        let tasks = get(services.port, "/v2/apps/web/tasks")["tasks"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<String> = tasks.iter().map(|task| task["id"].to_string()).collect();
        ids.sort();
        ids
    };
    let wait = |what: &str, seen: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !seen() {
            assert!(start.elapsed() < PATIENCE, "{what} has not come");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let (before, ports) = (instances(), ports(services.port));
    assert_eq!((before.len(), ports.len()), (2, 2), "two instances that are well");

    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let client = thread::spawn({
        let (stop, answered, ports) = (stop.clone(), answered.clone(), ports.clone());
        move || {
            let mut failed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for (port, answered) in ports.iter().zip(answered.iter()) {
                    match request(*port, "GET", "/", &[], b"") {
                        Ok((200, _)) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        other => failed.push(format!("{port}: {other:?}")),
                    }
                }
                thread::sleep(Duration::from_millis(10));
            }
            failed
        }
    });
    let more = |what: &str| {
        let seen = || answered.each_ref().map(|answered| answered.load(Ordering::Relaxed));
        let before = seen();
        wait(what, &|| seen().iter().zip(before).all(|(now, before)| *now >= before + 20));
    };
    more("an answer of each instance");
    agents[0].kill();
    more("an answer of each instance while nobody looks after one of them");
    agents[0].start();
    let is_back = || {
        let agents = get(master.port, "/slaves")["slaves"].as_array().cloned().unwrap_or_default();
        agents.len() == 2 && agents.iter().all(|agent| agent["active"] == true)
    };
    wait("the agent at the master", &is_back);
    more("an answer of each instance afterwards");
    stop.store(true, Ordering::Relaxed);
    let failed = client.join().expect("the client");
    assert!(failed.is_empty(), "{} requests failed: {failed:?}", failed.len());
    assert_eq!(instances(), before, "the same instances");
    // The agent that has come back knows of its own.
    done(services.port, &["app", "rm", "web"]);
    wait("the end of both", &|| ports.iter().all(|port| request(*port, "GET", "/", &[], b"").is_err()));
}
