//! What may be there at once, or kept, has a limit.

use std::{
    io::{BufRead as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    support::{self, Daemon, Folder, Opened, PATIENCE},
    wire::{assert_well, get, memory, post},
};

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Accept", "application/json")];

fn subscribe_operator(port: u16) -> Opened {
    let opened =
        support::open(port, "POST", "/api/v1", JSON, b"{\"type\":\"SUBSCRIBE\"}").expect("subscribe");
    assert_eq!(opened.status, 200);
    opened
}

/// A framework's stream, its id and what names the stream.
fn subscribe_framework(port: u16, name: &str, more: &str) -> (Opened, String, String) {
    let body = format!(
        "{{\"type\":\"SUBSCRIBE\",\"subscribe\":{{\"framework_info\":{{\"user\":\"root\",\"name\":\"{name}\",\"roles\":[\"r\"],\"capabilities\":[{{\"type\":\"MULTI_ROLE\"}}]}}{more}}}}}"
    );
    let mut opened =
        support::open(port, "POST", "/api/v1/scheduler", JSON, body.as_bytes()).expect("subscribe");
    assert_eq!(opened.status, 200);
    let mut pending = Vec::new();
    let record = opened.record(&mut pending).expect("read").expect("SUBSCRIBED");
    let text = String::from_utf8(record).expect("JSON");
    let id = text.split("\"framework_id\":{\"value\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let stream = opened.headers.iter().find(|(name, _)| name == "mesos-stream-id").map(|(_, id)| id.clone());
    (opened, id.expect("an id").to_owned(), stream.expect("a stream id"))
}

fn teardown(port: u16, id: &str, stream: &str) {
    let body = format!("{{\"type\":\"TEARDOWN\",\"framework_id\":{{\"value\":\"{id}\"}}}}");
    let headers = [("Content-Type", "application/json"), ("Mesos-Stream-Id", stream)];
    let answer =
        support::request(port, "POST", "/api/v1/scheduler", &headers, body.as_bytes()).expect("tear down");
    assert_eq!(answer.0, 202, "{}", String::from_utf8_lossy(&answer.1));
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not so: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn rule_501_the_oldest_subscriber_is_closed_above_the_limit() {
    let folder = Folder::new("rule501");
    let master = Daemon::master(folder.path(), &["--max_operator_event_stream_subscribers=3"]);
    let mut oldest = subscribe_operator(master.port);
    let others: Vec<_> = (0..3).map(|_| subscribe_operator(master.port)).collect();
    // Closed in order: the last chunk comes.
    let mut pending = Vec::new();
    while oldest.record(&mut pending).expect("an end in order").is_some() {}
    drop(others);
    assert_well(&master);
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_and_the_log_says_how_it_resumes() {
    let folder = Folder::new("unread");
    let master = Daemon::master(folder.path(), &["--max_completed_frameworks=1"]);
    let mut sleeper = subscribe_operator(master.port);
    let mut pending = Vec::new();
    assert!(sleeper.record(&mut pending).expect("read").is_some(), "SUBSCRIBED");
    let before = memory(master.port);
    // Each framework is news of 2 MiB, coming and going.
    let name = "n".repeat(2 << 20);
    for _ in 0..15 {
        let (_opened, id, stream) = subscribe_framework(master.port, &name, "");
        teardown(master.port, &id, &stream);
    }
    wait_for("the log tells", || master.log_tail().contains("subscribes again"));
    let after = memory(master.port);
    assert!(after < before + (256 << 20), "{} MiB more", (after - before) >> 20);
    // What was on its way arrives, then the stream breaks off without its last chunk.
    let mut broken = false;
    for _ in 0..100 {
        match sleeper.record(&mut pending) {
            Ok(Some(_)) => {}
            Ok(None) => {
                broken = sleeper.body.fill_buf().map(<[u8]>::is_empty).unwrap_or(true);
                break;
            }
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    assert!(broken, "the stream goes on");
    let mut again = subscribe_operator(master.port);
    assert!(again.record(&mut Vec::new()).expect("read").is_some());
    assert_well(&master);
}

#[test]
fn completed_frameworks_are_forgotten_above_the_limit() {
    let folder = Folder::new("completed");
    let master = Daemon::master(folder.path(), &["--max_completed_frameworks=2"]);
    for number in 0..5 {
        let (_opened, id, stream) = subscribe_framework(master.port, &format!("f{number}"), "");
        teardown(master.port, &id, &stream);
    }
    let answer = post(master.port, "/api/v1", "application/json", b"{\"type\":\"GET_FRAMEWORKS\"}");
    let names: Vec<bool> =
        (0..5).map(|number| answer.text.contains(&format!("\"name\":\"f{number}\""))).collect();
    assert_eq!(names, [false, false, false, true, true], "{}", answer.text);
    assert_well(&master);
}

#[test]
fn outstanding_offers_are_rescinded_after_their_time() {
    let folder = Folder::new("offers");
    let master = Daemon::master(folder.path(), &["--offer_timeout=200ms"]);
    let _agent = Daemon::agent(folder.path(), master.port, &["--resources=cpus:1;mem:64;disk:64"]);
    let (mut opened, ..) = subscribe_framework(master.port, "hoarder", "");
    let (mut offered, mut rescinded, mut pending) = (0, 0, Vec::new());
    // Resources are offered once at a time, so offers cannot be more than there is to offer.
    while rescinded < 2 {
        let record = opened.record(&mut pending).expect("read").expect("the stream goes on");
        let text = String::from_utf8(record).expect("JSON");
        offered += text.matches("\"type\":\"OFFERS\"").count();
        rescinded += text.matches("\"type\":\"RESCIND\"").count();
        assert!(offered <= rescinded + 1, "more is offered than there is");
    }
    assert_well(&master);
}

#[test]
fn rule_120_agents_that_constraints_exclude_are_listed() {
    let folder = Folder::new("rule120");
    let master = Daemon::master(folder.path(), &[]);
    let _agent = Daemon::agent(
        folder.path(),
        master.port,
        &["--attributes=rack:r1", "--resources=cpus:1;mem:64;disk:64"],
    );
    let constraints = ",\"offer_constraints\":{\"role_constraints\":{\"r\":{\"groups\":[{\"attribute_constraints\":[{\"selector\":{\"attribute_name\":\"rack\"},\"predicate\":{\"text_equals\":{\"value\":\"r2\"}}}]}]}}}";
    let (_opened, id, _) = subscribe_framework(master.port, "choosy", constraints);
    let (_other, other, _) = subscribe_framework(master.port, "easy", "");
    let listed = || get(master.port, "/allocator/offer_constraints_debug").text;
    wait_for("the agent is listed", || listed().contains("-S0\"]"));
    let text = listed();
    assert!(
        text.contains(&format!(
            "\"{id}\":{{\"suppressed_roles\":[],\"excluded_by_attribute_constraints\":{{\"r\":[\""
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "\"{other}\":{{\"suppressed_roles\":[],\"excluded_by_attribute_constraints\":{{\"r\":[]}}}}"
        )),
        "{text}"
    );
    assert_well(&master);
}

#[test]
fn a_scheduler_that_hangs_up_in_the_middle_leaves_nothing_behind() {
    let folder = Folder::new("hangup");
    let master = Daemon::master(folder.path(), &[]);
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", master.port)).expect("connect");
        let body =
            "{\"type\":\"SUBSCRIBE\",\"subscribe\":{\"framework_info\":{\"user\":\"u\",\"name\":\"n\"}}}";
        let head = format!(
            "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("subscribe");
    }
    wait_for("all are completed", || {
        let text = get(master.port, "/metrics/snapshot").text;
        text.contains("\"master/frameworks_connected\":0") && text.contains("\"master/frameworks_active\":0")
    });
    assert_well(&master);
}
