//! A task's files over https, from a server whose certificate is checked.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Daemon, Folder, PATIENCE, free_port};

/// An authority, and a server of 127.0.0.1 that it vouches for.
const CERTIFICATES: &str = r#"
command -v openssl >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends openssl; }
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.request
printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n' > server.conf
openssl x509 -req -in server.request -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 \
    -extfile server.conf -out server.pem
"#;

struct Server(Child, u16);

impl Server {
    /// Gives away the files of a folder, with the certificate in it.
    fn start(folder: &Path) -> Self {
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-WWW", "-cert", "server.pem", "-key", "server.key", "-accept"])
            .arg(port.to_string())
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

#[test]
fn rule_382_files_come_over_https_from_servers_that_are_vouched_for() {
    let folder = Folder::new("https");
    let made = Command::new("sh").args(["-ec", CERTIFICATES]).current_dir(folder.path()).output();
    let made = made.expect("run sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::write(folder.path().join("greeting"), "hello over tls\n").expect("write");
    let server = Server::start(folder.path());
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
