//! Frameworks and clients that others wrote, unmodified, against real daemons; and the recorded answers of a
//! genuine Mesos.
//!
//! Each installs what it needs by package name (Python's venv, Debian's Go packages) into the target folder.
//! `CONFORMANCE_GENUINE=1` runs the same programs against the genuine Mesos of ../shared, where that starts.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "each test program uses its part of the shared module")]
mod support;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use support::{Daemon, Folder, is_root};

const RESOURCES: &str = "--resources=cpus:4;mem:4096;disk:8192;ports:[31000-32000]";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's folder")
}

/// Runs a shell script and fails with its output.
fn script(text: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", text]).current_dir(root());
    command.envs(environment.iter().copied());
    let output = command.output().expect("run bash");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}:\n{text}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A Python that pymesos 0.3.15 works on, in a venv of its own.
fn pymesos() -> PathBuf {
    let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pymesos");
    let python = venv.join("bin/python");
    if python.exists() && venv.join("complete").exists() {
        return python;
    }
    script(
        r#"
        for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python python3.10 python3.9 python3.8 python3; do
            command -v "$candidate" >/dev/null && break
        done
        if ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv python3-dev >&2
        fi
        rm -rf "$VENV" && "$candidate" -m venv "$VENV"
        "$VENV/bin/pip" install -q --disable-pip-version-check wheel 'setuptools<58' >&2
        "$VENV/bin/pip" install -q --disable-pip-version-check --no-build-isolation pymesos==0.3.15 >&2
        touch "$VENV/complete"
        "#,
        &[("VENV", &venv.display().to_string())],
    );
    python
}

/// A Python with the `marathon` client.
fn marathon() -> PathBuf {
    let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("marathon");
    let python = venv.join("bin/python");
    if python.exists() && venv.join("complete").exists() {
        return python;
    }
    script(
        r#"
        if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
            apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >&2
        fi
        rm -rf "$VENV" && python3 -m venv "$VENV"
        "$VENV/bin/pip" install -q --disable-pip-version-check marathon==0.13.0 >&2
        touch "$VENV/complete"
        "#,
        &[("VENV", &venv.display().to_string())],
    );
    python
}

/// A folder with Node's `marathon-event-bus-client`.
fn event_bus() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("event-bus");
    if !folder.join("complete").exists() {
        script(
            r#"
            if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
                apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm >&2
            fi
            rm -rf "$FOLDER" && mkdir -p "$FOLDER" && cd "$FOLDER"
            npm install --silent --no-audit --no-fund --prefix "$FOLDER" marathon-event-bus-client@0.1.7 >&2
            touch complete
            "#,
            &[("FOLDER", &folder.display().to_string())],
        );
    }
    folder
}

/// A cluster with services, whose daemon asks for offers as soon as it wants some.
struct Services {
    services: Daemon,
    agent: Daemon,
    master: Daemon,
    _folder: Folder,
}

impl Services {
    fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let master = Daemon::master(folder.path(), &[]);
        let agent = Daemon::agent(folder.path(), master.port, &[RESOURCES]);
        let quick = [
            "--min_revive_offers_interval=100",
            "--decline_offer_duration=1000",
            "--launch_token_refresh_interval=1000",
        ];
        let services = Daemon::services(folder.path(), master.port, &quick);
        Self { services, agent, master, _folder: folder }
    }

    /// Fails with what everybody said unless the suite went well.
    fn judge(&self, name: &str, output: &std::process::Output) {
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{name} against Mezzo\n{text}");
        assert!(
            output.status.success(),
            "{text}\n{}\n-- services\n{}\n-- agent\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.services.log_tail(),
            self.agent.log_tail()
        );
        for daemon in [&self.services, &self.agent, &self.master] {
            assert_eq!(daemon.log_panics(), [""; 0]);
        }
    }
}

/// The suite built with Debian's Go and Debian's mesos-go.
fn mesos_go() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mesos-go-suite");
    script(
        r#"
        if [ ! -d /usr/share/gocode/src/github.com/mesos/mesos-go ] || ! command -v go >/dev/null; then
            apt-get update -qq
            apt-get install -y -qq --no-install-recommends golang-go golang-github-mesos-mesos-go-dev >&2
        fi
        cd tests/conformance/mesos-go
        GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE="$BINARY.cache" go build -o "$BINARY" .
        "#,
        &[("BINARY", &binary.display().to_string())],
    );
    binary
}

/// Runs a suite against Mezzo and, when asked, against the genuine article.
fn run_suite(name: &str, program: &Path, first: &[&str]) {
    let folder = Folder::new(name);
    let master = Daemon::master(folder.path(), &[]);
    let agent = Daemon::agent(folder.path(), master.port, &[RESOURCES]);
    let endpoints = [format!("127.0.0.1:{}", master.port), format!("127.0.0.1:{}", agent.port)];
    let output = Command::new(program).args(first).args(&endpoints).output().expect("run the suite");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{name} against Mezzo\n{said}");
    assert!(
        output.status.success(),
        "{name}: {}\n{said}\n-- standard error\n{}\n-- master\n{}\n-- agent\n{}",
        output.status,
        tail(&String::from_utf8_lossy(&output.stderr)),
        master.log_tail(),
        agent.log_tail()
    );
    assert_eq!(master.log_panics(), [""; 0]);
    assert_eq!(agent.log_panics(), [""; 0]);
    if std::env::var_os("CONFORMANCE_GENUINE").is_some() {
        genuine(name, program, first);
    }
}

/// The last lines, of which none is longer than people read.
fn tail(text: &str) -> String {
    const LINES_MAX: usize = 40;
    const CHARACTERS_MAX: usize = 1000;
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LINES_MAX));
    last.map(|line| line.chars().take(CHARACTERS_MAX).collect::<String>()).collect::<Vec<_>>().join("\n")
}

fn genuine(name: &str, program: &Path, first: &[&str]) {
    let port = support::free_port();
    let tool = Folder::new(&format!("genuine-{name}"));
    let program = program.display().to_string();
    // The tool looks for its launcher below a folder of another name.
    let text = script(
        r#"
        cp -r ../shared/tools/reference-mesos/. "$TOOL" && chmod -R u+w "$TOOL" && ln -sfn . "$TOOL/ref_mesos"
        cd "$TOOL" && ./up.sh >"$TOOL/log" 2>&1 & up=$!
        trap 'kill $up' EXIT
        for _ in $(seq 600); do grep -q READY "$TOOL/log" && break; kill -0 $up || { tail "$TOOL/log" >&2; exit 3; }; sleep 0.2; done
        sleep 2
        $PROGRAM $FIRST 127.0.0.1:$PORT 127.0.0.1:$((PORT + 1))
        "#,
        &[
            ("TOOL", &tool.path().display().to_string()),
            ("REF_WORK", &tool.path().join("work").display().to_string()),
            ("PORT", &port.to_string()),
            ("PROGRAM", &program),
            ("FIRST", &first.join(" ")),
        ],
    );
    println!("{name} against the genuine Mesos\n{text}");
}

#[test]
fn pymesos_runs_unmodified() {
    let suite = root().join("tests/conformance/pymesos/suite.py");
    run_suite("pymesos", &pymesos(), &[&suite.display().to_string()]);
}

#[test]
fn mesos_go_runs_unmodified() {
    if is_root("mesos_go_runs_unmodified") {
        run_suite("mesos-go", &mesos_go(), &[]);
    }
}

#[test]
fn the_marathon_client_runs_unmodified() {
    let suite = root().join("tests/conformance/marathon/suite.py");
    let cluster = Services::start("marathon");
    let address = format!("127.0.0.1:{}", cluster.services.port);
    let output = Command::new(marathon()).arg(suite).arg(address).output().expect("run the suite");
    cluster.judge("marathon", &output);
}

#[test]
fn the_marathon_event_bus_client_runs_unmodified() {
    let suite = root().join("tests/conformance/marathon/events.js");
    let cluster = Services::start("event-bus");
    let output = Command::new("node")
        .arg(suite)
        .args(["127.0.0.1", &cluster.services.port.to_string()])
        .env("NODE_PATH", event_bus().join("node_modules"))
        .output()
        .expect("run node");
    cluster.judge("marathon-event-bus-client", &output);
}

/// Every recorded case is answered the same, or its difference is a row of docs/compatibility.md.
#[test]
fn recorded_answers_are_the_same() {
    let golden = root().join("../shared/reference/golden");
    if !golden.exists() {
        println!("recorded_answers_are_the_same: skipped, the recordings are not beside this checkout");
        return;
    }
    if !is_root("recorded_answers_are_the_same") {
        return;
    }
    let text = script(
        r#"
        exec unshare --mount --net --propagation private python3 -B tests/conformance/golden/replay.py \
            "$GOLDEN" "$BINARY" docs/compatibility.md
        "#,
        &[("GOLDEN", &golden.display().to_string()), ("BINARY", env!("CARGO_BIN_EXE_mezzo"))],
    );
    println!("{text}");
}
