//! A task's files over https, from a server whose certificate is checked.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Daemon, Folder, PATIENCE, free_port, is_root, request};

/// An authority, and a server of 127.0.0.1 that it vouches for.
const CERTIFICATES: &str = r#"
command -v openssl >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends openssl; }
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.request
printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n' > server.conf
sign() { openssl x509 -req -in server.request -CA authority.pem -CAkey authority.key -CAcreateserial "$@"; }
sign -days 2 -extfile server.conf -out server.pem
sign -days -1 -extfile server.conf -out expired.pem
printf 'subjectAltName=IP:127.0.0.2,DNS:other.example\nbasicConstraints=critical,CA:FALSE\n' > other.conf
sign -days 2 -extfile other.conf -out other.pem
"#;

struct Server(Child, u16);

impl Server {
    /// Gives away the files of a folder, with this certificate in it.
    fn start(folder: &Path, certificate: &str, more: &[&str]) -> Self {
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-WWW", "-cert", certificate, "-key", "server.key"])
            .args(more)
            .args(["-accept", &port.to_string()])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start openssl");
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "openssl does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self(child, port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn certificates(folder: &Path) {
    let made = Command::new("sh").args(["-ec", CERTIFICATES]).current_dir(folder).output().expect("run sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A registry has to prove who it is, by means that are not broken.
#[test]
fn a063_images_come_from_registries_that_are_vouched_for() {
    if !is_root("a063_images_come_from_registries_that_are_vouched_for") {
        return;
    }
    let folder = Folder::new("registry-tls");
    certificates(folder.path());
    let authority = folder.path().join("authority.pem").display().to_string();
    let master = Daemon::master(folder.path(), &[]);
    for (name, certificate, more, trusted, refused) in [
        ("unknown", "server.pem", &[][..], false, Some("certificate")),
        ("other", "other.pem", &[], true, Some("certificate")),
        ("expired", "expired.pem", &[], true, Some("certificate")),
        // What this version needs is switched off elsewhere too.
        ("old", "server.pem", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], true, Some("ProtocolVersion")),
        ("right", "server.pem", &[], true, None),
    ] {
        let server = Server::start(folder.path(), certificate, more);
        let own = folder.path().join(name);
        fs::create_dir(&own).expect("a folder");
        let flags = [
            "--image_providers=docker".to_owned(),
            "--isolation=filesystem/linux,docker/runtime".to_owned(),
            "--resources=cpus:1;mem:128;disk:128".to_owned(),
            format!("--docker_registry=https://127.0.0.1:{}", server.1),
            format!("--docker_store_dir={}", own.join("store").display()),
        ];
        let mut agent = Daemon::agent(&own, master.port, &flags.each_ref().map(String::as_str));
        if trusted {
            agent.restart_with(vec![("SSL_CERT_FILE".into(), authority.clone())]);
        }
        let answer =
            request(agent.port, "POST", "/images/pull?image=team/app:1", &[], b"").expect("an answer");
        let said = String::from_utf8_lossy(&answer.1).into_owned();
        assert!(answer.0 == 200 && said.contains("error"), "{name}: {said}");
        // The server gives away no manifests, as whoever believes it finds out.
        assert!(said.contains(refused.unwrap_or("read the manifest")), "{name}: {said}");
        println!("{name}: {}", said.trim());
    }
}

#[test]
fn rule_382_files_come_over_https_from_servers_that_are_vouched_for() {
    let folder = Folder::new("https");
    certificates(folder.path());
    fs::write(folder.path().join("greeting"), "hello over tls\n").expect("write");
    let server = Server::start(folder.path(), "server.pem", &[]);
    let master = Daemon::master(folder.path(), &[]);
    let mut agent = Daemon::agent(folder.path(), master.port, &["--resources=cpus:1;mem:128;disk:128"]);
    let uri = format!("--uri=https://127.0.0.1:{}/greeting", server.1);
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_mezzo"))
            .args(["--master", &format!("127.0.0.1:{}", master.port), "run", "--timeout", "50", &uri])
            .args(["--", "cat", "greeting"])
            .output()
            .expect("run mezzo")
    };
    let refused = run();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("certificate"), "{text}");
    let authority = folder.path().join("authority.pem").display().to_string();
    agent.restart_with(vec![("SSL_CERT_FILE".into(), authority)]);
    let fetched = run();
    let text = String::from_utf8_lossy(&fetched.stderr);
    assert!(fetched.status.success(), "{text}\n{}", agent.log_tail());
    assert_eq!(String::from_utf8_lossy(&fetched.stdout), "hello over tls\n", "{text}");
}
