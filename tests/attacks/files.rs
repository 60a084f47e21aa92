//! Sandboxes and archives: what tasks and their files do to those who fetch and look.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Command,
    thread,
};

use crate::{
    support::{self, Daemon, Folder},
    wire::{assert_well, get, post, raw},
};

const RESOURCES: &str = "--resources=cpus:2;mem:256;disk:256";

fn cluster(name: &str) -> (Folder, Daemon, Daemon) {
    let folder = Folder::new(name);
    let master = Daemon::master(folder.path(), &[]);
    let cache = format!("--fetcher_cache_dir={}", folder.path().join("cache").display());
    let agent = Daemon::agent(folder.path(), master.port, &[RESOURCES, &cache]);
    (folder, master, agent)
}

/// Runs a task to its end; its exit code and what it printed.
fn run(master: u16, flags: &[&str], script: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["--master", &format!("127.0.0.1:{master}"), "run", "--timeout", "50"])
        .args(flags)
        .args(["--", "sh", "-c", script])
        .output()
        .expect("run mezzo");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// Encodes everything but letters and digits.
fn percent(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02x}") }
            },
        )
        .collect()
}

/// The sandbox of the only task that ran.
fn sandbox(agent: u16) -> String {
    let (_, body) = support::request(agent, "GET", "/files/debug", &[], b"").expect("ask for paths");
    let text = String::from_utf8(body).expect("JSON").replace("\\/", "/");
    let path = text
        .split('"')
        .filter(|path| path.starts_with('/') && path.contains("/slaves/") && path.contains("/runs/"))
        .find(|path| !path.ends_with("/latest"))
        .unwrap_or_else(|| panic!("no sandbox in {text}"));
    path.to_owned()
}

#[test]
fn a082_to_a086_and_a088_nothing_but_the_sandbox_is_read() {
    let (_folder, master, agent) = cluster("a082");
    let script = "ln -s /etc/passwd passwd; ln -s /proc/self/environ environ; ln -s ../../../../../../../../../../../../etc up; \
        ln -s / root; ln -s loop loop; mkfifo pipe; truncate -s 10T sparse; ln -s /dev/zero zero; echo '<script>' > page.html; \
        echo x > \"$(printf 'a\\r\\nX-Evil: 1')\"; echo inside > file; mkdir folder; echo done";
    let (code, text) = run(master.port, &[], script);
    assert_eq!(code, Some(0), "{text}\n{}", agent.log_tail());
    let sandbox = sandbox(agent.port);
    let inside = get(agent.port, &format!("/files/download?path={sandbox}/file"));
    assert!(inside.status == 200 && inside.text.ends_with("inside\n"), "{}", inside.text);

    // A082: odd paths, encoded in odd ways.
    let mut paths: Vec<String> = Vec::new();
    for up in [
        "..",
        "../..",
        "../../../../../../../../../../../../../..",
        "./..",
        "folder/../..",
        "....//",
        "..\\..",
        ".../..",
        "..;",
    ] {
        paths.push(format!("{sandbox}/{up}/etc/passwd"));
        paths.push(format!("{sandbox}/{up}"));
    }
    for path in [
        "/etc/passwd",
        "//etc/passwd",
        "/",
        "",
        "/proc/self/environ",
        "etc/passwd",
        "file:///etc/passwd",
        "~root/.bashrc",
        "/frameworks/../../etc/passwd",
        "/slave/log/../../etc/passwd",
    ] {
        paths.push(path.to_owned());
    }
    for tail in ["/file\0.txt", "\0", "/\0/etc/passwd", "/etc/passwd\n", "/file ", "/folder/./../../x"] {
        paths.push(format!("{sandbox}{tail}"));
    }
    paths.push(format!("{sandbox}/{}", "a".repeat(5_000)));
    paths.push(format!("{sandbox}{}", "/a".repeat(3_000)));
    // A083: links that lead out. A085: what is no file.
    for name in ["passwd", "environ", "up/passwd", "root/etc/passwd", "loop", "pipe", "zero", "nothing"] {
        paths.push(format!("{sandbox}/{name}"));
    }
    for path in &paths {
        for query in [
            percent(path),
            path.replace([' ', '\0', '\n', '#'], "%00"),
            percent(&percent(path)),
            path.replace("..", "%c0%ae%c0%ae").replace([' ', '\0', '\n'], "%20"),
        ] {
            for door in ["browse?path=", "read?offset=0&length=100&path=", "download?path="] {
                let answer = get(agent.port, &format!("/files/{door}{query}"));
                assert!(
                    !answer.text.contains("root:") && !answer.text.contains("PATH="),
                    "{door}{query}: {}",
                    answer.text
                );
                assert!(
                    answer.is_refusal() || answer.text.ends_with("[]"),
                    "{door}{query}: {:.300}",
                    answer.text
                );
            }
        }
        let text: String = path
            .chars()
            .map(|c| if c.is_control() { format!("\\u{:04x}", c as u32) } else { c.to_string() })
            .collect();
        let text = text.replace("\\.", "\\\\.");
        for call in [
            format!("{{\"type\":\"READ_FILE\",\"read_file\":{{\"path\":\"{text}\",\"offset\":0}}}}"),
            format!("{{\"type\":\"LIST_FILES\",\"list_files\":{{\"path\":\"{text}\"}}}}"),
        ] {
            let answer = post(agent.port, "/api/v1", "application/json", call.as_bytes());
            assert!(!answer.text.contains("cm9vdDp4"), "{call}: {}", answer.text);
            assert!(answer.is_refusal() || !answer.text.contains("\"path\""), "{call}: {:.300}", answer.text);
        }
    }
    // Raw bytes in the target.
    for target in
        [&b"/files/read?path=/\xff\xfe"[..], b"/files/browse?path=%ff%fe%00", b"/files/download?path=%"]
    {
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat();
        assert!(raw(agent.port, &request).is_refusal());
    }

    // A085: a file of 10 TB is read in parts of 16 pages.
    let answer = get(agent.port, &format!("/files/read?offset=0&length=9000000000000&path={sandbox}/sparse"));
    assert!(answer.status == 200 && answer.text.len() < 1 << 20, "{} bytes", answer.text.len());

    // A086: numbers that are none, or beyond everything.
    let max = "9223372036854775807";
    for (offset, length, good) in [
        ("-5", "10", false),
        ("0", "-5", false),
        ("x", "1", false),
        ("0", "x", false),
        ("1.5", "1", false),
        ("", "1", false),
        ("99999999999999999999", "1", false),
        ("0", "99999999999999999999", false),
        ("0x1", "1", false),
        (max, max, true),
        ("1", max, true),
        (max, "1", true),
        ("0", "0", true),
    ] {
        let answer =
            get(agent.port, &format!("/files/read?path={sandbox}/file&offset={offset}&length={length}"));
        assert_eq!(answer.status, if good { 200 } else { 400 }, "{offset} {length}: {}", answer.text);
    }
    for number in ["-1", "18446744073709551616", "1e99", "\"x\"", "{}"] {
        let call = format!(
            "{{\"type\":\"READ_FILE\",\"read_file\":{{\"path\":\"{sandbox}/file\",\"offset\":{number}}}}}"
        );
        assert_eq!(post(agent.port, "/api/v1", "application/json", call.as_bytes()).status, 400, "{call}");
    }

    // A088 and A104: content is saved, not shown; names make no headers. A089: folders are not packed.
    let answer = get(agent.port, &format!("/files/download?path={sandbox}/page.html"));
    let head = answer.text.to_ascii_lowercase();
    assert!(
        head.contains("content-disposition: attachment") && head.contains("x-content-type-options: nosniff"),
        "{}",
        answer.text
    );
    assert!(!head.contains("text/html"), "{}", answer.text);
    let answer = get(agent.port, &format!("/files/download?path={sandbox}/a%0d%0aX-Evil:%201"));
    let head = answer.text.split("\r\n\r\n").next().unwrap_or_default();
    assert!(answer.status == 200 && !head.contains("X-Evil"), "{}", answer.text);
    assert_eq!(get(agent.port, &format!("/files/download?path={sandbox}/folder")).status, 400);
    assert_well(&agent);
    assert_well(&master);
}

/// One file or link of a tar archive.
fn entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0004777\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, b"00000000000\0");
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, b"ustar\0");
    put(263, b"00");
    put(148, b"        ");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head.extend_from_slice(content);
    head.resize(head.len().next_multiple_of(512), 0);
    head
}

/// Serves one body to everybody; `lie` announces more than comes.
fn serve(path: &'static str, head: String, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut buffer = [0; 4096];
            drop(stream.read(&mut buffer));
            drop(stream.write_all(head.as_bytes()));
            drop(stream.write_all(&body));
        }
    });
    format!("http://127.0.0.1:{port}/{path}")
}

fn ok(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
}

#[test]
fn a073_a076_a078_hostile_downloads_fail_the_task_and_leave_nothing_outside() {
    let (folder, master, agent) = cluster("a073");
    let outside = folder.path().join("outside");
    let absolute = outside.to_str().expect("a path");
    let mut archives: Vec<Vec<u8>> = vec![
        entry("../../outside", b'0', "", b"evil"),
        entry(absolute, b'0', "", b"evil"),
        [
            entry("l", b'2', folder.path().to_str().expect("a path"), b""),
            entry("l/outside", b'0', "", b"evil"),
        ]
        .concat(),
        entry("passwd", b'1', "/etc/passwd", b""),
        entry("disk", b'4', "", b""),
        vec![b'x'; 4096],
    ];
    for archive in &mut archives {
        archive.extend_from_slice(&[0; 1024]);
    }
    let mut hostile: Vec<String> =
        archives.into_iter().map(|archive| serve("evil.tar", ok(archive.len()), archive)).collect();
    // A076: a redirect to a file of the agent. A078: a length that was a lie.
    hostile.push(serve("x", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(), Vec::new()));
    hostile.push(serve("x", ok(1_000), b"short".to_vec()));
    // A075: nobody's helper is called, and nothing else than files is read.
    for uri in [
        "hdfs://x/$(touch${IFS}outside)",
        "s3://;touch outside",
        "-exec",
        "file:///dev/zero",
        "file:///proc/self/environ/",
        "gopher://127.0.0.1/x",
    ] {
        hostile.push(uri.to_owned());
    }
    for uri in &hostile {
        let (code, text) = run(master.port, &[&format!("--uri={uri}")], "cat passwd; echo task ran");
        assert_ne!(code, Some(0), "{uri}: {text}");
        assert!(!text.contains("root:") && !text.contains("task ran"), "{uri}: {text}");
        assert!(!outside.exists(), "{uri} wrote outside of the sandbox");
    }
    // A081: bits of modes do not come out of archives.
    let archive = [entry("tool", b'0', "", b"x"), vec![0; 1024]].concat();
    let uri = serve("good.tar", ok(archive.len()), archive);
    let (code, text) = run(master.port, &[&format!("--uri={uri}")], "stat -c mode=%a tool");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("mode=755") || text.contains("mode=775"), "{text}");
    assert_well(&agent);
    assert_well(&master);
}
