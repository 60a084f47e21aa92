//! Below the calls: requests that are not quite HTTP.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    support::{Daemon, Folder},
    wire::{assert_well, connect, cut_off, get, post, raw, read_all, send},
};

fn master(name: &str) -> (Folder, Daemon) {
    let folder = Folder::new(name);
    let master = Daemon::master(folder.path(), &[]);
    (folder, master)
}

/// What else is on the connection behind an attack; if it is answered, somebody's request was smuggled.
const SMUGGLED: &str = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";

/// Requests whose end two readers may see in different places.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "both lengths",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "both lengths, other order",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"),
    ("a list of lengths", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 5\r\n\r\n"),
    ("negative length", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
    ("signed length", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n"),
    ("hexadecimal length", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n"),
    ("length with a space inside", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1 0\r\n\r\n"),
    (
        "length of 21 digits",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000000000000\r\n\r\n",
    ),
    (
        "unknown transfer coding",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked is not last",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "transfer coding behind a control character",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in HTTP/1.0",
        "POST /api/v1 HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
    ),
    (
        "space before colon",
        "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("folded line", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("NUL in a value", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in a name", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nX\0Y: b\r\nContent-Length: 0\r\n\r\n"),
    ("bare CR in a value", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 9\r\n\r\n"),
    ("header without colon", "POST /api/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding chunked\r\n\r\n"),
    ("empty header name", "POST /api/v1 HTTP/1.1\r\nHost: x\r\n: chunked\r\n\r\n"),
    ("space before the first header", "POST /api/v1 HTTP/1.1\r\n Host: x\r\nContent-Length: 0\r\n\r\n"),
    ("version with two dots", "GET /version HTTP/1.1.1\r\nHost: x\r\n\r\n"),
    ("version 3", "GET /version HTTP/3.0\r\nHost: x\r\n\r\n"),
    ("no version", "GET /version\r\nHost: x\r\n\r\n"),
];

/// Chunked bodies that are broken.
const CHUNKS: &[(&str, &str)] = &[
    ("size that overflows", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ("size with a sign", "-1\r\nabc\r\n0\r\n\r\n"),
    ("size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("no size", "\r\nabc\r\n0\r\n\r\n"),
    ("chunk longer than its size", "1\r\nabc\r\n0\r\n\r\n"),
    ("no line end behind a chunk", "3\r\nabcX0\r\n\r\n"),
];

#[test]
fn a090_ambiguous_requests_are_refused_and_nothing_behind_them_is_answered() {
    let (_folder, master) = master("a090");
    for (what, request) in AMBIGUOUS {
        let answer = raw(master.port, format!("{request}{SMUGGLED}").as_bytes());
        assert!(answer.is_refusal() && answer.count() <= 1, "{what}: {}", answer.text);
        assert!(!answer.text.contains("build_user"), "{what}: {}", answer.text);
    }
    let head = "POST /api/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (what, body) in CHUNKS {
        let answer = raw(master.port, format!("{head}{body}{SMUGGLED}").as_bytes());
        assert!(answer.is_refusal() && answer.count() <= 1, "{what}: {}", answer.text);
    }
    // Extensions and trailers are legal, and ignored (CVE-2018-1330 was a crash on trailers).
    let call = "{\"type\":\"GET_HEALTH\"}";
    let body =
        format!("{:x};a=b;c=\"d\"\r\n{call}\r\n0\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n", call.len());
    let answer = raw(master.port, format!("{head}{body}").as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let flood = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(1 << 20));
    assert!(raw(master.port, format!("{head}{flood}").as_bytes()).is_refusal(), "endless extension");
    let trailers = format!("0\r\n{}\r\n", "X: y\r\n".repeat(100_000));
    assert!(raw(master.port, format!("{head}{trailers}").as_bytes()).is_refusal(), "endless trailers");
    assert_well(&master);
}

#[test]
fn a091_odd_targets_lead_nowhere() {
    let (_folder, master) = master("a091");
    let long = format!("/{}", "a".repeat(65 << 10));
    let deep = "/a".repeat(30_000);
    for target in [
        "",
        " ",
        "state",
        "\\state",
        "*",
        "?",
        "#",
        "//",
        "/%",
        "/%zz",
        "/%00",
        "/%ff%fe",
        "/..",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/state/../../etc/passwd",
        "/master/%2e%2e%2fflags",
        "/\u{1}",
        "/\u{7f}",
        "http://",
        "http:///",
        "://",
        "mailto:x",
        &long,
        &deep,
    ] {
        for method in ["GET", "POST"] {
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let answer = raw(master.port, request.as_bytes());
            assert!(answer.is_refusal(), "{method} {target:.80}: {:.200}", answer.text);
        }
    }
    // The absolute form names the same endpoints, whoever it says that it is for.
    let answer = raw(
        master.port,
        b"GET http://elsewhere/version HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_well(&master);
}

#[test]
fn a092_floods_of_headers_are_refused() {
    let (_folder, master) = master("a092");
    let flood = "X: y\r\n".repeat(10_000);
    let value = format!("X: {}\r\n", "y".repeat(1 << 20));
    let name = format!("{}: y\r\n", "x".repeat(1 << 20));
    let line = format!("GET /{} HTTP/1.1\r\n", "y".repeat(8 << 20));
    for (what, head) in [("many", &flood), ("long value", &value), ("long name", &name)] {
        let answer = raw(master.port, format!("GET /version HTTP/1.1\r\nHost: x\r\n{head}\r\n").as_bytes());
        assert!(answer.is_refusal(), "{what}: {:.200}", answer.text);
    }
    assert!(raw(master.port, line.as_bytes()).is_refusal());
    // One that never ends: the daemon hangs up long before 64 MiB.
    let mut stream = connect(master.port);
    stream.write_all(b"GET /version HTTP/1.1\r\nX: ").expect("begin");
    let piece = vec![b'y'; 64 << 10];
    let sent = (0..1024).take_while(|_| stream.write_all(&piece).is_ok()).count();
    assert!(sent < 1024, "an endless header was taken");
    assert_well(&master);
}

#[test]
fn a093_bodies_that_are_too_long_or_lie_are_refused() {
    let (_folder, master) = master("a093");
    let head = |path: &str, length: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
        )
    };
    for path in ["/api/v1", "/api/v1/scheduler", "/quota", "/reserve", "/maintenance/schedule"] {
        // A length that lies: the body ends before it.
        let answer = cut_off(master.port, format!("{}{{}}", head(path, "Content-Length: 100")).as_bytes());
        assert!(answer.is_refusal(), "{path}: {}", answer.text);
        // One that no machine could hold.
        let lie = head(path, "Content-Length: 9000000000000000000");
        let answer = cut_off(master.port, format!("{lie}{{}}").as_bytes());
        assert!(answer.is_refusal(), "{path}: {}", answer.text);
    }
    // No end: refused once it is over the limit of the endpoint.
    let mut stream = connect(master.port);
    stream.write_all(head("/api/v1", "Transfer-Encoding: chunked").as_bytes()).expect("begin");
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let sent = (0..40).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 40, "an endless body was taken");
    let answer = read_all(&mut stream);
    assert!(answer.is_refusal(), "{}", answer.text);
    assert_well(&master);
}

#[test]
fn a094_a_slow_client_is_served_and_delays_nobody() {
    let (_folder, master) = master("a094");
    let mut slow: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(("127.0.0.1", master.port)).expect("connect")).collect();
    for stream in &mut slow {
        stream.write_all(b"POST /api/v1 HTTP/1.1\r\nHost: x\r\n").expect("begin");
    }
    let mut drip = connect(master.port);
    drip.set_nodelay(true).expect("set nodelay");
    for byte in b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" {
        drip.write_all(&[*byte]).expect("send a byte");
        let start = Instant::now();
        assert_eq!(get(master.port, "/health").status, 200);
        assert!(start.elapsed() < Duration::from_secs(10), "others wait for slow clients");
    }
    assert_eq!(read_all(&mut drip).status, 200);
    // How long they are waited for, how many there may be and from one address: crates/edge/http/tests.
    assert_well(&master);
}

/// The first words of the answer on a connection that stays open.
fn head(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).expect("send");
    let mut words = [0; 12];
    stream.read_exact(&mut words).expect("read the answer");
    String::from_utf8_lossy(&words).into_owned()
}

#[test]
fn a095_http2_is_not_spoken() {
    let (_folder, master) = master("a095");
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS, and a thousand streams that are reset at once.
    preface.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for stream in (1..2000u32).step_by(2) {
        preface.extend_from_slice(&[0, 0, 4, 3, 0]);
        preface.extend_from_slice(&stream.to_be_bytes());
        preface.extend_from_slice(&[0, 0, 0, 8]);
    }
    let answer = raw(master.port, &preface);
    assert!(answer.is_refusal(), "{}", answer.text);
    let upgrade = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
    ];
    let lines: String = upgrade.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET /version HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    assert_eq!(head(master.port, &request), "HTTP/1.1 200", "an upgrade that is not known is not made");
    assert_well(&master);
}

#[test]
fn a099_compressed_bodies_are_bounded() {
    let (_folder, master) = master("a099");
    let json = ("Content-Type", "application/json");
    for (encoding, body, status) in [
        ("gzip", &b"this is not gzip"[..], 400),
        ("gzip", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], 400),
        ("br", b"{}", 415),
        ("gzip, gzip", b"{}", 415),
        ("x-unknown", b"{}", 415),
    ] {
        for path in ["/api/v1", "/api/v1/scheduler"] {
            let answer = send(master.port, "POST", path, &[json, ("Content-Encoding", encoding)], body);
            assert_eq!(answer.status, status, "{path} {encoding}: {}", answer.text);
        }
    }
    let answer = send(master.port, "POST", "/api/v1", &[json, ("Content-Encoding", "gzip")], &bomb());
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert_well(&master);
}

/// 1 GiB of zeros in some MiB of gzip: one stored member repeated, as members may be.
fn bomb() -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .args(["-9", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("run gzip");
    let mut input = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        let zeros = vec![0; 1 << 20];
        (0..64).for_each(|_| input.write_all(&zeros).expect("feed gzip"));
    });
    let member = child.wait_with_output().expect("read gzip").stdout;
    writer.join().expect("feed gzip");
    member.repeat(16)
}

#[test]
fn a100_types_of_bodies_are_not_guessed() {
    let (_folder, master) = master("a100");
    let json = b"{\"type\":\"GET_HEALTH\"}";
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], u16);
    let cases: &[Case<'_>] = &[
        (&[("Content-Type", "application/x-protobuf")], json, 400),
        (&[("Content-Type", "application/json")], b"\x08\x01", 400),
        (&[("Content-Type", "application/json; charset=utf-7")], json, 415),
        (&[("Content-Type", "application/json, application/x-protobuf")], json, 415),
        (&[("Content-Type", "text/json")], json, 415),
        (&[("Content-Type", "")], json, 415),
        (&[("Content-Type", "application/recordio")], json, 415),
        (&[], json, 400),
        (&[("Content-Type", "application/json"), ("Accept", "text/html")], json, 406),
        (&[("Content-Type", "application/json"), ("Accept", "")], json, 406),
    ];
    for (headers, body, status) in cases {
        let answer = send(master.port, "POST", "/api/v1", headers, body);
        assert_eq!(answer.status, *status, "{headers:?}: {}", answer.text);
    }
    assert_well(&master);
}

#[test]
fn a101_methods_that_do_not_belong_are_refused() {
    let (_folder, master) = master("a101");
    for path in
        ["/api/v1", "/api/v1/scheduler", "/quota", "/weights", "/teardown", "/reserve", "/machine/down"]
    {
        for method in ["TRACE", "PATCH", "PROPFIND", "M-SEARCH", "get", "QUOTA"] {
            let answer = send(master.port, method, path, &[], b"");
            assert!([405, 501].contains(&answer.status), "{method} {path}: {}", answer.text);
        }
    }
    let answer =
        raw(master.port, b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\nConnection: close\r\n\r\n");
    assert!(answer.is_refusal(), "{}", answer.text);
    // A header does not change the method.
    let answer = send(master.port, "GET", "/api/v1", &[("X-HTTP-Method-Override", "POST")], b"");
    assert_eq!(answer.status, 405, "{}", answer.text);
    let websocket = "GET /version HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(head(master.port, websocket), "HTTP/1.1 200", "a plain answer, no upgrade");
    assert_well(&master);
}

#[test]
fn a102_pages_of_other_sites_change_nothing() {
    let (_folder, master) = master("a102");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    for origin in ["http://evil.example", "null", "https://127.0.0.1", "garbage"] {
        for path in ["/teardown", "/reserve", "/machine/down", "/quota"] {
            let answer = send(master.port, "POST", path, &[form, ("Origin", origin)], b"frameworkId=x");
            assert_eq!(answer.status, 403, "{origin} {path}: {}", answer.text);
        }
    }
    let own = format!("http://127.0.0.1:{}", master.port);
    let answer = send(master.port, "POST", "/teardown", &[form, ("Origin", &own)], b"frameworkId=x");
    assert_ne!(answer.status, 403, "a page of its own");
    // The v1 APIs also need a type that a browser asks about first.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        assert_eq!(post(master.port, "/api/v1", kind, b"{\"type\":\"GET_HEALTH\"}").status, 415);
    }
    assert_well(&master);
}

#[test]
fn a103_redirects_lead_to_the_master_only() {
    let (_folder, master) = master("a103");
    let location = format!("location: //127.0.0.1:{}\r\n", master.port);
    for (host, path) in
        [("evil.example", "/redirect"), ("evil.example", "/master/redirect"), ("x", "//master//redirect")]
    {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: {host}\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(master.port, request.as_bytes());
        assert_eq!(answer.status, 307, "{}", answer.text);
        assert!(answer.text.to_ascii_lowercase().contains(&location), "{}", answer.text);
    }
    for path in ["/redirect//evil.example", "/redirect/%2f%2fevil.example", "/master/redirect/evil.example/"]
    {
        assert_eq!(get(master.port, path).status, 404, "{path}");
    }
    assert_well(&master);
}

#[test]
fn a104_nothing_that_is_echoed_makes_headers_or_scripts() {
    let (_folder, master) = master("a104");
    let evil = "%0d%0aX-Evil:%201%0d%0a%0d%0a%3Cscript%3E";
    for path in [
        format!("/files/download?path={evil}"),
        format!("/files/read?path=/&offset={evil}"),
        format!("/state?jsonp={evil}"),
        format!("/version?jsonp=alert(1)//{evil}"),
        format!("/logging/toggle?level={evil}&duration=1secs"),
        format!("/metrics/snapshot?timeout={evil}"),
        format!("/help/{evil}"),
        format!("/{evil}"),
    ] {
        let answer = get(master.port, &path);
        let head = answer.text.split("\r\n\r\n").next().unwrap_or_default();
        assert!(!head.contains("X-Evil"), "{path}: {}", answer.text);
        assert!(!head.contains("text/html") || !answer.text.contains("<script>"), "{path}: {}", answer.text);
        assert!(!head.contains("text/javascript"), "{path}: {}", answer.text);
    }
    assert_eq!(get(master.port, "/version?jsonp=alert(1)").status, 400);
    assert_well(&master);
}
