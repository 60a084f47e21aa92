//! Statuses and texts of refused requests, as a genuine Mesos answers them.

mod support;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use mezzo_http::StatusCode;
use mezzo_master_daemon::{Config, Verbosity};
use support::{Master, in_memory};

/// Method, headers, body; status and text of the answer.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test]
async fn rule_1_checks_of_the_v1_apis_in_their_order() {
    let master = Master::start(in_memory()).await;
    let accept = ("accept", "application/json");
    let html = ("accept", "text/html");
    let unknown = r#"{"no_such_field":1}"#;
    for path in ["/api/v1", "/api/v1/scheduler", "/master/api/v1", "/master/api/v1/scheduler"] {
        let call = if path.contains("scheduler") { "scheduler::Call" } else { "master::Call" };
        let no_type = format!("Failed to validate {call}: Expecting 'type' to be present");
        let media = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        let cases: &[Case<'_>] = &[
            ("GET", &[], "", 405, "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'."),
            (
                "PUT",
                &[JSON],
                "{}",
                405,
                "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'PUT'.",
            ),
            ("POST", &[accept], "{}", 400, "Expecting 'Content-Type' to be present"),
            ("POST", &[("content-type", "text/plain"), accept], "{}", 415, media),
            // Rule 3.
            ("POST", &[("content-type", "application/json; charset=utf-8"), accept], "{}", 415, media),
            (
                "POST",
                &[JSON, accept],
                "{not json",
                400,
                "Failed to parse body into JSON: syntax error at line 1 near: not json",
            ),
            (
                "POST",
                &[JSON, accept],
                "",
                400,
                "Failed to parse body into JSON: syntax error at line 1 near: ",
            ),
            (
                "POST",
                &[JSON, accept],
                "[]",
                400,
                "Failed to convert JSON into Call protobuf: Expecting a JSON object",
            ),
            (
                "POST",
                &[JSON, accept],
                r#"{"type":5}"#,
                400,
                "Failed to convert JSON into Call protobuf: Not expecting a JSON number for field 'type'",
            ),
            ("POST", &[PROTOBUF, accept], "\u{7f}\u{7f}", 400, "Failed to parse body into Call protobuf"),
            ("POST", &[PROTOBUF, accept], "", 400, &no_type),
            ("POST", &[JSON, html], unknown, 400, &no_type),
        ];
        for (method, headers, body, status, text) in cases {
            let answer = master.ask(method, path, headers, body).await;
            assert_eq!(
                answer,
                (StatusCode::from_u16(*status).unwrap(), (*text).to_owned()),
                "{method} {path} {body}"
            );
        }
    }
    let refused = "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";
    let health = r#"{"type":"GET_HEALTH"}"#;
    let healthy = (StatusCode::OK, r#"{"type":"GET_HEALTH","get_health":{"healthy":true}}"#.to_owned());
    let answer = master.ask("POST", "/api/v1", &[JSON, html], health).await;
    assert_eq!(answer, (StatusCode::NOT_ACCEPTABLE, refused.to_owned()));
    // Rule 2.
    for accept in ["*/*", "application/x-protobuf, application/json;q=0.1"] {
        assert_eq!(master.ask("POST", "/api/v1", &[JSON, ("accept", accept)], health).await, healthy);
    }
    assert_eq!(master.ask("POST", "/api/v1", &[JSON], health).await, healthy);
    let unknown = master.call("/api/v1", r#"{"type":"UNKNOWN"}"#).await;
    assert_eq!(unknown, (StatusCode::NOT_IMPLEMENTED, "501 Not Implemented.".to_owned()));
    master.stop().await;
}

#[tokio::test]
async fn rule_45_and_rule_49_what_a_subscription_may_not_carry() {
    let master = Master::start(in_memory()).await;
    let subscribe = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"e"}}}"#;
    let answer = master.ask("POST", "/api/v1/scheduler", &[JSON, ("mesos-stream-id", "x")], subscribe).await;
    let text = "Subscribe calls should not include the 'Mesos-Stream-Id' header";
    assert_eq!(answer, (StatusCode::BAD_REQUEST, text.to_owned()), "rule 45");
    let answer = master.ask("POST", "/api/v1/scheduler", &[JSON, ("accept", "text/html")], subscribe).await;
    assert_eq!(answer.0, StatusCode::NOT_ACCEPTABLE, "rule 49");
    // Other calls may accept what they like: they are answered with a status alone.
    let revive = r#"{"type":"REVIVE","framework_id":{"value":"nope"}}"#;
    let answer = master.ask("POST", "/api/v1/scheduler", &[JSON, ("accept", "text/html")], revive).await;
    assert_eq!(answer, (StatusCode::BAD_REQUEST, "Framework cannot be found".to_owned()), "rule 49");
    master.stop().await;
}

#[tokio::test]
async fn paths_methods_and_forms() {
    let master = Master::start(in_memory()).await;
    let not_found = (StatusCode::NOT_FOUND, "404 Not Found.".to_owned());
    for path in ["/no/such/endpoint", "/master/state.json", "/state/../flags"] {
        assert_eq!(master.get(path).await, not_found, "{path}");
    }
    assert_eq!(master.get("/health").await, (StatusCode::OK, String::new()));
    assert_eq!(master.get("/master/redirect/x").await.0, StatusCode::NOT_FOUND);
    for (path, allowed) in [
        ("/master/reserve", "'POST'"),
        ("/master/teardown", "'POST'"),
        ("/machine/up", "'POST'"),
        ("/maintenance/schedule", "'GET', 'POST'"),
        ("/weights", "'GET', 'PUT'"),
    ] {
        let text =
            format!("405 Method Not Allowed. Expecting one of {{ {allowed} }}, but received 'DELETE'.");
        let answer = master.open("DELETE", path, &[], b"").await;
        assert_eq!(answer.header("allow"), Some(allowed.replace('\'', "").as_str()));
        assert_eq!(
            (answer.status, &*answer.bytes(1000).await.unwrap()),
            (StatusCode::METHOD_NOT_ALLOWED, text.as_bytes())
        );
    }
    // Rule 17: forms here, JSON there, whatever the Content-Type.
    for (method, path, body, text) in [
        ("POST", "/reserve", "", "Missing 'slaveId' query parameter in the request body"),
        ("POST", "/unreserve", "slaveId=a", "Missing 'resources' query parameter in the request body"),
        ("POST", "/create-volumes", "slaveId=a", "Missing 'volumes' query parameter in the request body"),
        ("POST", "/teardown", "", "Missing 'frameworkId' query parameter in the request body"),
        ("POST", "/machine/down", "", "syntax error at line 1 near: "),
        ("POST", "/maintenance/schedule", "", "syntax error at line 1 near: "),
        (
            "PUT",
            "/weights",
            "{x",
            "Failed to parse update weights request JSON '{x': syntax error at line 1 near: x",
        ),
        (
            "POST",
            "/quota",
            "{x",
            "Failed to parse set quota request JSON '{x': syntax error at line 1 near: x",
        ),
        (
            "DELETE",
            "/quota",
            "",
            "Failed to parse remove quota request for path '/master/quota': expected 3 tokens, found 2 tokens",
        ),
    ] {
        let answer = master.ask(method, path, &[], body).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, text.to_owned()), "rule 17: {method} {path}");
    }
    master.stop().await;
}

#[tokio::test]
async fn rule_7_and_rule_12_redirect_and_disabled_endpoints() {
    let mut config = in_memory();
    config.hostname = Some("leader.example".into());
    config.disabled_endpoints.insert("/master/flags".into());
    let master = Master::start(config).await;
    let answer = master.open("GET", "/redirect", &[], b"").await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "rule 7");
    let location = format!("//leader.example:{}", master.address.port());
    assert_eq!(answer.header("location"), Some(location.as_str()), "rule 7");
    for path in ["/flags", "/master/flags"] {
        assert_eq!(master.get(path).await.0, StatusCode::FORBIDDEN, "rule 12");
    }
    assert_eq!(master.get("/master/flags/x").await.0, StatusCode::OK, "rule 12: longer paths stay open");
    master.stop().await;
}

#[tokio::test]
async fn rule_24_logging_toggle() {
    // Stands for the process' logging, which goes back by itself.
    static LEVEL: AtomicU32 = AtomicU32::new(0);
    let verbosity = Verbosity {
        get: || LEVEL.load(Ordering::Relaxed),
        set: |level, duration| {
            assert_eq!(duration, Duration::from_secs(60));
            LEVEL.store(level, Ordering::Relaxed);
        },
    };
    let master = Master::start(Config { verbosity, ..in_memory() }).await;
    assert_eq!(master.get("/logging/toggle").await, (StatusCode::OK, "0\n".into()));
    for (query, text) in [
        ("level=1", "Expecting 'duration=value' in query.\n"),
        ("duration=1secs", "Expecting 'level=value' in query.\n"),
        ("level=abc&duration=1secs", "Failed to convert 'abc' to number.\n"),
    ] {
        let answer = master.get(&format!("/logging/toggle?{query}")).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, text.to_owned()));
    }
    assert_eq!(master.get("/logging/toggle?level=2&duration=1mins").await.0, StatusCode::OK);
    let level = r#"{"type":"GET_LOGGING_LEVEL","get_logging_level":{"level":2}}"#.to_owned();
    assert_eq!(master.call("/api/v1", r#"{"type":"GET_LOGGING_LEVEL"}"#).await, (StatusCode::OK, level));
    master.stop().await;
}

#[tokio::test]
async fn process_endpoints_answer() {
    let mut config = in_memory();
    config.flags.insert("port".into(), "5050".into());
    let master = Master::start(config).await;
    assert_eq!(master.get("/flags?jsonp=cb").await.1, r#"cb({"flags":{"port":"5050"}})"#, "rule 16");
    assert!(master.get("/version").await.1.ends_with(r#""version":"1.12.0"}"#));
    assert!(master.get("/system/stats.json").await.1.starts_with(r#"{"avg_load_15min":"#));
    assert!(master.get("/help?format=json").await.1.starts_with(r#"{"processes":[{"id":"__processes__""#));
    assert!(master.get("/help").await.1.starts_with("<!DOCTYPE html>"));
    assert!(master.get("/metrics/snapshot").await.1.contains(r#""master/elected":1.0"#));
    assert!(master.get("/metrics").await.1.ends_with("# EOF\n"));
    let bad = master.get("/metrics/snapshot?timeout=abc").await;
    assert_eq!(
        bad,
        (StatusCode::BAD_REQUEST, "Invalid timeout 'abc': Failed to convert '' to number.\n".into())
    );
    assert_eq!(master.get("/files/debug").await.1, "{}");
    assert_eq!(master.get("/files/read?path=/nope&offset=0").await, (StatusCode::NOT_FOUND, String::new()));
    assert_eq!(master.get("/files/download?path=/nope").await.1, "404 Not Found.");
    assert_eq!(master.get("/link").await.0, StatusCode::UPGRADE_REQUIRED);
    assert_eq!(master.get("/weights").await.1, "[]");
    assert_eq!(master.get("/maintenance/schedule").await.1, "{}");
    master.stop().await;
}
