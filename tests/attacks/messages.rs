//! Calls that are not quite messages: JSON, protobuf, records and frames.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    support::{Daemon, Folder},
    wire::{assert_well, post, raw, read_all, send},
};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// A master and an agent of it.
fn cluster(name: &str) -> (Folder, Daemon, Daemon) {
    let folder = Folder::new(name);
    let master = Daemon::master(folder.path(), &[]);
    let agent = Daemon::agent(folder.path(), master.port, &["--resources=cpus:1;mem:64;disk:64"]);
    (folder, master, agent)
}

/// JSON that no call is.
fn hostile_json() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| {
        let depth = 100_000;
        format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("nothing", Vec::new()),
        ("arrays 100,000 deep", deep("[", "]")),
        ("objects 100,000 deep", deep("{\"type\":", "}")),
        ("open arrays", vec![b'['; 1 << 20]),
        ("objects below a known key", deep("{\"accept\":", "}")),
        ("a number without end", [b"{\"type\":".to_vec(), vec![b'9'; 1 << 20]].concat()),
        ("1e400", text("{\"type\":1e400}")),
        (
            "-1e400 in a float",
            text("{\"type\":\"ACCEPT\",\"accept\":{\"filters\":{\"refuse_seconds\":-1e400}}}"),
        ),
        ("NaN", text("{\"type\":NaN}")),
        ("Infinity", text("{\"type\":-Infinity}")),
        ("two types", text("{\"type\":\"GET_HEALTH\",\"type\":\"NOT_A_TYPE\"}")),
        ("a lone surrogate", text("{\"type\":\"\\ud800\"}")),
        ("an escape that is none", text("{\"type\":\"\\x41\"}")),
        ("a control character", text("{\"type\":\"\u{1}\"}")),
        ("UTF-8 that is none", b"{\"type\":\"\xff\xfe\"}".to_vec()),
        ("an overlong slash", b"{\"type\":\"\xc0\xaf\"}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{\"type\":\"GET_HEALTH\"}".to_vec()),
        ("UTF-16", b"\xff\xfe{\0\"\0t\0".to_vec()),
        ("a second value", text("{\"type\":\"GET_HEALTH\"}{}")),
        ("a comment", text("{\"type\":/**/\"GET_HEALTH\"}")),
        ("a comma too many", text("{\"type\":\"GET_HEALTH\",}")),
        ("single quotes", text("{'type':'GET_HEALTH'}")),
        ("cut off", text("{\"type\":\"GET_HE")),
        ("a list", text("[]")),
        ("a text", text("\"GET_HEALTH\"")),
        ("null", text("null")),
        ("a type that is an object", text("{\"type\":{}}")),
        ("a type of 2^63", text("{\"type\":9223372036854775808}")),
        ("many empty messages", {
            let mut body = b"{\"type\":\"ACCEPT\",\"accept\":{\"operations\":[{}".to_vec();
            body.extend_from_slice(&b",{}".repeat(300_000));
            body.extend_from_slice(b"]}}");
            body
        }),
        ("many keys", {
            let keys: String = (0..100_000).map(|key| format!("\"k{key}\":0,")).collect();
            format!("{{{keys}\"type\":0}}").into_bytes()
        }),
    ]
}

#[test]
fn a096_hostile_json_is_refused_everywhere() {
    let (_folder, master, agent) = cluster("a096");
    let doors = [
        (&master, "/api/v1"),
        (&master, "/api/v1/scheduler"),
        (&agent, "/api/v1"),
        (&agent, "/api/v1/executor"),
    ];
    for (what, body) in hostile_json() {
        for (daemon, path) in doors {
            let answer = post(daemon.port, path, JSON, &body);
            assert_eq!(answer.status, 400, "{what} {path}: {:.300}", answer.text);
            assert!(answer.text.len() < 16 << 10, "{what} {path}: an answer of {} bytes", answer.text.len());
        }
    }
    for (method, path) in [
        ("POST", "/quota"),
        ("PUT", "/weights"),
        ("POST", "/maintenance/schedule"),
        ("POST", "/machine/down"),
        ("POST", "/machine/up"),
    ] {
        for (what, body) in hostile_json() {
            let answer = send(master.port, method, path, &[], &body);
            // Keys that are not known are skipped with whatever they hold, and a schedule needs no key; lists may be empty.
            let taken = answer.status == 200 && (path == "/maintenance/schedule" || what == "a list");
            assert!(
                taken || (answer.is_refusal() && answer.status != 0),
                "{what} {path}: {:.300}",
                answer.text
            );
        }
    }
    assert_well(&master);
    assert_well(&agent);
}

#[test]
fn a096_a_text_of_100_mb_is_refused() {
    let (_folder, master, agent) = cluster("a096-text");
    let body = [b"{\"type\":\"".to_vec(), vec![b'x'; 100 << 20], b"\"}".to_vec()].concat();
    for (daemon, path) in [
        (&master, "/api/v1"),
        (&master, "/api/v1/scheduler"),
        (&agent, "/api/v1"),
        (&agent, "/api/v1/executor"),
    ] {
        let answer = post(daemon.port, path, JSON, &body);
        // The answer may be lost behind bytes that nobody reads any more.
        assert!(answer.status == 413 || answer.status == 0, "{path}: {:.300}", answer.text);
        assert_well(daemon);
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

/// A field with a length, as protobuf writes it.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn hostile_protobuf() -> Vec<(&'static str, Vec<u8>)> {
    // accept.operations.launch_group.executor.container.linux_info... whatever the fields mean, deep is deep.
    let mut deep = Vec::new();
    for _ in 0..5_000 {
        deep = field(1, &deep);
    }
    vec![
        ("cut off", vec![0x08]),
        ("a varint of eleven bytes", [vec![0x08], vec![0xff; 11]].concat()),
        ("a length beyond the end", vec![0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("field number 0", vec![0x00, 0x00]),
        ("wire type 6", vec![0x0e, 0x00]),
        ("wire type 7", vec![0x0f, 0x00]),
        ("an end of a group", vec![0x0c]),
        ("a group without end", vec![0x0b, 0x08, 0x01]),
        ("groups 100,000 deep", vec![0x0b; 100_000]),
        ("messages 5,000 deep", deep),
        ("a type as text", field(1, b"ACCEPT")),
        ("text that is not UTF-8", [vec![0x08, 0x06], field(1, &field(1, b"\xff\xfe"))].concat()),
        ("random bytes", (0..50_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
    ]
}

#[test]
fn a097_hostile_protobuf_is_refused_everywhere() {
    let (_folder, master, agent) = cluster("a097");
    let doors = [
        (&master, "/api/v1"),
        (&master, "/api/v1/scheduler"),
        (&agent, "/api/v1"),
        (&agent, "/api/v1/executor"),
    ];
    for (daemon, path) in doors {
        for (what, body) in hostile_protobuf() {
            let answer = post(daemon.port, path, PROTOBUF, &body);
            assert_eq!(answer.status, 400, "{what} {path}: {:.300}", answer.text);
        }
        // An enum value that is not known, and huge repeated fields: each empty message takes two bytes.
        let unknown = post(daemon.port, path, PROTOBUF, &[0x08, 0xff, 0x7f]);
        assert!([400, 501].contains(&unknown.status), "{path}: {}", unknown.text);
        for inner in [1, 2, 3, 7] {
            let many = field(inner, &[]).repeat(100_000);
            let body = [vec![0x08, 0x05], (2..6).flat_map(|outer| field(outer, &many)).collect()].concat();
            let answer = post(daemon.port, path, PROTOBUF, &body);
            assert!(answer.is_refusal(), "{inner} {path}: {:.300}", answer.text);
        }
        assert_well(daemon);
    }
}

#[test]
fn a098_broken_records_are_refused() {
    let (_folder, _master, agent) = cluster("a098");
    let head = |more: &str| {
        format!(
            "POST /api/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/recordio\r\n{more}"
        )
    };
    let typed = head("Message-Content-Type: application/json\r\n");
    let whole = |head: &str, body: &[u8]| {
        let mut all = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        all.extend_from_slice(body);
        raw(agent.port, &all)
    };
    for (what, body) in [
        ("nothing", &b""[..]),
        ("no length", b"\n{}"),
        ("a negative length", b"-5\n{}"),
        ("a length with a sign", b"+2\n{}"),
        ("a length with spaces", b" 2\n{}"),
        ("a hexadecimal length", b"0x2\n{}"),
        ("20 digits", b"99999999999999999999\n{}"),
        ("a length without end", b"1111111111111111111111111111111111111111"),
        ("4 GB", b"4294967296\n{}"),
        ("a record cut off", b"100\n{}"),
        ("no JSON", b"2\n{]"),
        ("an empty record", b"0\n"),
        ("a call without a container", b"33\n{\"type\":\"ATTACH_CONTAINER_INPUT\"}"),
    ] {
        let answer = whole(&typed, body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text);
    }
    // Rule 43.
    assert_eq!(whole(&head(""), b"2\n{}").status, 400);
    assert_eq!(whole(&head("Message-Content-Type: text/plain\r\n"), b"2\n{}").status, 415);
    let call = b"{\"type\":\"GET_HEALTH\"}";
    let both = [("Content-Type", JSON), ("Message-Content-Type", JSON)];
    assert_eq!(send(agent.port, "POST", "/api/v1", &both, call).status, 415);
    // Rule 44.
    let record = [format!("{}\n", call.len()).as_bytes(), call].concat();
    let answer = whole(&typed, &record);
    assert_eq!(answer.status, 415, "{}", answer.text);
    assert!(answer.text.contains("is not supported for GET_HEALTH call"), "{}", answer.text);
    let answer = post(agent.port, "/api/v1", JSON, b"{\"type\":\"ATTACH_CONTAINER_INPUT\",\"attach_container_input\":{\"type\":\"CONTAINER_ID\",\"container_id\":{\"value\":\"x\"}}}");
    assert_eq!(answer.status, 415, "{}", answer.text);
    let streaming = [("Content-Type", JSON), ("Accept", "application/recordio"), ("Message-Accept", JSON)];
    assert_eq!(send(agent.port, "POST", "/api/v1", &streaming, call).status, 406);
    // A record that never ends is refused by its length; a length that never comes is hung up on.
    let mut stream = TcpStream::connect(("127.0.0.1", agent.port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set timeout");
    stream.write_all(format!("{typed}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).expect("begin");
    let chunk = format!("10000\r\n{}\r\n", "1".repeat(1 << 16));
    let sent = (0..1024).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 1024, "an endless length was taken");
    assert!(read_all(&mut stream).is_refusal());
    assert_well(&agent);
}

/// Opens the agents' door and says this.
fn link(port: u16, bytes: &[u8]) -> usize {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set timeout");
    let head = "GET /link HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: mezzo-link\r\n\
        Mezzo-Link-Hello: CAE=\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("open");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("read the answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
    drop(stream.write_all(bytes));
    drop(stream.shutdown(std::net::Shutdown::Write));
    let mut rest = Vec::new();
    // Either it closes at once, or it hangs up on us with bytes unread.
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the link stays open"),
        _ => rest.len(),
    }
}

#[test]
fn garbage_on_the_link_ends_the_connection() {
    let (_folder, master, agent) = cluster("link");
    for path in ["/link", "/master/link"] {
        assert_eq!(send(master.port, "GET", path, &[], b"").status, 426, "{path}");
        assert!(send(master.port, "POST", path, &[], b"{}").is_refusal(), "{path}");
    }
    for hello in ["", "?", "//8=", "CAA=", &"A".repeat(60_000)] {
        let headers = [("Connection", "upgrade"), ("Upgrade", "mezzo-link"), ("Mezzo-Link-Hello", hello)];
        assert_eq!(send(master.port, "GET", "/link", &headers, b"").status, 400, "{hello:.20}");
    }
    let frame = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    let random: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("half a length", vec![0, 0]),
        ("a frame of 4 GB", vec![0xff; 64]),
        ("a frame cut off", vec![0, 0, 1, 0, 1, 2, 3]),
        ("an empty frame", frame(b"")),
        ("frames of nothing", frame(b"").repeat(10_000)),
        ("garbage in a frame", frame(&random)),
        ("garbage", random.clone()),
        ("HTTP", b"GET /state HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a frame of 64 MiB", frame(&vec![8; (64 << 20) - 1])),
    ] {
        let start = Instant::now();
        link(master.port, &bytes);
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        assert_well(&master);
    }
    // The agent that was there all along still is.
    assert_well(&agent);
    let body = b"{\"type\":\"GET_AGENTS\"}";
    let start = Instant::now();
    while !post(master.port, "/api/v1", JSON, body).text.contains("\"active\":true") {
        assert!(start.elapsed() < crate::support::PATIENCE, "the agent is lost");
        std::thread::sleep(Duration::from_millis(20));
    }
}
