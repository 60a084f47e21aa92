//! Tasks that another runtime starts, from the agent's flag to sessions inside, and what is told where it cannot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    support::{self, Daemon, Folder, PATIENCE},
    text,
};

/// Ends what is in it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn mezzo(master: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mezzo"));
    command.args(arguments).env("MEZZO_MASTER", format!("127.0.0.1:{master}")).env("NO_COLOR", "1");
    command.stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn runtime() -> Option<PathBuf> {
    let paths = ["/usr/bin/crun", "/usr/sbin/runc", "/usr/bin/runc"].map(PathBuf::from);
    paths.into_iter().find(|path| path.exists())
}

#[test]
fn a_task_of_another_runtime_is_like_any_other_and_survives_its_agent() {
    if !support::is_root("runtimes") {
        return;
    }
    let Some(program) = runtime() else { return println!("runtimes: skipped, needs crun or runc") };
    let folder = Folder::new("runtimes");
    let master = Daemon::master(folder.path(), &[]);
    let flag = format!("--runtime=oci:{}", program.display());
    let mut agent = Daemon::agent(folder.path(), master.port, &[&flag, "--resources=cpus:4;mem:1024"]);
    let (_, flags) = support::request(agent.port, "GET", "/flags", &[], b"").expect("an answer");
    assert!(text(&flags).contains(&format!("\"runtime\":\"oci:{}\"", program.display())), "{}", text(&flags));

    let output =
        mezzo(master.port, &["run", "--", "sh", "-c", "readlink /proc/self/ns/mnt; echo bad >&2; exit 3"]);
    let output = { output }.output().expect("run mezzo");
    let own = fs::read_link("/proc/self/ns/mnt").expect("a namespace");
    let shown = text(&output.stdout);
    assert!(shown.contains("mnt:[") && !shown.contains(&*own.to_string_lossy()), "{}", said(&output));
    assert!(said(&output).contains("bad") && !output.status.success(), "{}", said(&output));

    let task = mezzo(master.port, &["run", "--name", "t", "--", "sh", "-c", "echo up > up; sleep 1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start mezzo run");
    let task = Running(task);
    let session = || {
        let output = mezzo(master.port, &["exec", "-n", "t", "--", "cat", "up"]).output().expect("run mezzo");
        text(&output.stdout) == "up\n"
    };
    wait_until("a session inside", session);
    agent.kill();
    agent.start();
    wait_until("a session inside, of the next agent", session);
    let killed = mezzo(master.port, &["kill", "last"]).output().expect("run mezzo");
    assert!(killed.status.success(), "{}", said(&killed));
    drop(task);
    wait_until("nothing of the runtime is left", || !has_state(folder.path()));
    assert!(agent.log_panics().is_empty());
}

/// Whether a runtime's folder is anywhere below.
fn has_state(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| entry.file_name() == "oci" || has_state(&entry.path()))
}

#[test]
fn an_agent_whose_runtime_is_none_says_so_and_ends() {
    if !support::is_root("runtimes") {
        return;
    }
    let folder = Folder::new("no-runtime");
    let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["agent", "--master=127.0.0.1:1", "--port=0", "--runtime=oci:/bin/false"])
        .arg(format!("--work_dir={}", folder.path().display()))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .expect("run mezzo");
    let shown = said(&output);
    assert!(!output.status.success() && shown.contains("'/bin/false' cannot run containers"), "{shown}");
    let output = Command::new(env!("CARGO_BIN_EXE_mezzo"))
        .args(["doctor", "-o", "json", "--runtime", "oci:/bin/false"])
        .output()
        .expect("run mezzo");
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let found =
        findings.iter().find(|finding| finding["what"] == "--runtime=oci:/bin/false").expect("it is told");
    assert_eq!(found["works"], false);
}
