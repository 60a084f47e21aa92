//! Standard input: pipes and terminals.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use mezzo_container::{ContainerEvent, Credentials, Input, InputEnd, WindowSize};

use crate::{Agent, PATIENCE, shell, text, wait_until};

fn size(rows: u16, columns: u16) -> WindowSize {
    WindowSize { rows, columns }
}

/// Writes all of it, however slowly it is read.
fn write(input: &InputEnd, mut bytes: &[u8]) {
    let deadline = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        match input.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                assert!(Instant::now() < deadline, "the container does not read");
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("write: {error}"),
        }
    }
}

pub(crate) fn rule_374_input_arrives_whole_and_ends_when_it_is_closed(dir: &Path) {
    let agent = Agent::start(dir);
    let mut request = shell(dir, "c1", "cat");
    request.stdin = Input::Pipe;
    agent.containers.launch(&request);
    agent.started();
    let id = "c1".into();
    let input = agent.containers.input(&id).expect("it runs").expect("an input");
    assert!(!input.is_terminal());
    input.resize(size(1, 1)).expect("means nothing to a pipe");
    // More than a pipe holds.
    let sent: Vec<u8> = (0..1 << 20).map(|n| b'a' + u8::try_from(n % 26).expect("a letter")).collect();
    write(&input, &sent);
    agent.containers.close_input(&id);
    assert!(agent.containers.input(&id).expect("it runs").is_none());
    drop(input);
    assert_eq!(agent.exited(), Some(0));
    assert_eq!(fs::read(request.sandbox.join("stdout")).expect("the output"), sent);
    assert!(agent.containers.input(&id).is_err());
}

pub(crate) fn a_container_that_does_not_read_stops_its_writer_alone(dir: &Path) {
    let agent = Agent::start(dir);
    let mut request = shell(dir, "c1", "exec sleep 1000");
    request.stdin = Input::Pipe;
    agent.containers.launch(&request);
    agent.started();
    let input = agent.containers.input(&"c1".into()).expect("it runs").expect("an input");
    let mut written = 0;
    while let Ok(count) = input.write(&[0; 4096]) {
        written += count;
        assert!(written <= 1 << 20, "a pipe has a bound");
    }
    let (status, _) = agent.run(dir, "c2", "exit 3");
    assert_eq!(status, Some(3 << 8));
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
    // Nobody reads any more.
    assert_eq!(input.write(b"x").map_err(|error| error.kind()), Err(std::io::ErrorKind::BrokenPipe));
}

pub(crate) fn a_terminal_has_a_size_an_echo_and_a_group_of_its_own(dir: &Path) {
    let agent = Agent::start(dir);
    let script = "trap 'stty size' WINCH; test -t 0 && test -t 1 && test -t 2 && echo three; \
        stty size; while ! read line; do :; done; echo \"got $line\"; echo bad >&2; exit 7";
    let mut request = shell(dir, "c1", script);
    request.stdin = Input::Terminal(Some(size(24, 80)));
    if rustix::process::geteuid().is_root() {
        request.credentials = Some(Credentials { uid: 65534, gid: 65534, groups: Vec::new() });
        std::os::unix::fs::chown(&request.sandbox, Some(65534), Some(65534)).expect("given away");
        for folder in [dir.to_owned(), dir.join("sandboxes")] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(folder, mode).expect("open to all");
        }
    }
    agent.containers.launch(&request);
    agent.started();
    let stdout = request.sandbox.join("stdout");
    wait_until("its first size", || text(stdout.clone()).contains("three\r\n24 80\r\n"));
    let input = agent.containers.input(&"c1".into()).expect("it runs").expect("an input");
    assert!(input.is_terminal());
    // Who closes a terminal's input changes nothing (rule 374).
    agent.containers.close_input(&"c1".into());
    input.resize(size(50, 132)).expect("a new size");
    write(&input, b"hello\n");
    assert_eq!(agent.exited(), Some(7 << 8));
    let out = text(stdout);
    assert!(out.contains("hello\r\n") && out.contains("got hello\r\n") && out.contains("bad\r\n"), "{out:?}");
    assert!(out.contains("50 132\r\n"), "{out:?}");
    assert_eq!(text(request.sandbox.join("stderr")), "");
}

pub(crate) fn keys_interrupt_and_end_what_is_in_the_foreground(dir: &Path) {
    let agent = Agent::start(dir);
    let mut request =
        shell(dir, "c1", "trap 'echo stopped' INT; echo ready; sleep 1000; echo on; cat; echo over");
    request.stdin = Input::Terminal(None);
    agent.containers.launch(&request);
    agent.started();
    let stdout = request.sandbox.join("stdout");
    wait_until("the trap", || text(stdout.clone()).contains("ready"));
    let input = agent.containers.input(&"c1".into()).expect("it runs").expect("an input");
    // Until the sleep is there to be interrupted.
    wait_until("the interruption", || {
        write(&input, b"\x03");
        std::thread::sleep(Duration::from_millis(20));
        text(stdout.clone()).contains("stopped\r\non\r\n")
    });
    write(&input, b"line\n\x04");
    wait_until("the end of input", || {
        // A cat that was interrupted ends as well.
        text(stdout.clone()).contains("over")
    });
    assert!(matches!(agent.exited(), Some(0)));
}

pub(crate) fn a_terminal_outlives_the_agent_that_made_it(dir: &Path) {
    let agent = Agent::start(dir);
    let script = "while [ ! -e go ]; do sleep 0.01; done; seq 20000; echo done";
    let mut request = shell(dir, "c1", script);
    request.stdin = Input::Terminal(None);
    agent.containers.launch(&request);
    let pid = agent.started();
    drop(agent);
    fs::write(request.sandbox.join("go"), "").expect("a file");
    let stdout = request.sandbox.join("stdout");
    // Far more than a terminal holds: its supervisor reads it.
    wait_until("the output", || text(stdout.clone()).ends_with("20000\r\ndone\r\n"));
    wait_until("the end", || text(dir.join("run/containers/c1/status")) == "0");
    assert!(!crate::alive(pid));
}

pub(crate) fn attack_a038_no_terminal_but_its_own_can_be_typed_into(dir: &Path) {
    let agent = Agent::start(dir);
    // Neither a container with a terminal nor one without has the terminal of the agent: the controlling
    // terminal is its own or none.
    let script = "if (: < /dev/tty) 2> tty; then cut -d' ' -f7 /proc/$$/stat; else echo none; fi";
    let (_, sandbox) = agent.run(dir, "plain", script);
    assert_eq!(text(sandbox.join("stdout")), "none\n");
    let mut request = shell(dir, "own", script);
    request.stdin = Input::Terminal(None);
    agent.containers.launch(&request);
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    let seen = text(request.sandbox.join("stdout"));
    let seen: u32 = seen.trim().parse().expect("the number of a device");
    assert_eq!(seen >> 8, 136, "a terminal of this kind");
    let own = text("/proc/self/stat".into());
    let own = own.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(4)).map(str::to_owned);
    assert_ne!(own, Some(seen.to_string()), "not the terminal of the agent");
}

pub(crate) fn attack_a039_sizes_and_looks_at_an_input_leave_nothing_behind(dir: &Path) {
    let agent = Agent::start(dir);
    let mut request = shell(dir, "c1", "exec sleep 1000");
    request.stdin = Input::Terminal(None);
    agent.containers.launch(&request);
    agent.started();
    let id = "c1".into();
    let held = || {
        let status = text("/proc/self/status".into());
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let memory: u64 = memory.trim().trim_end_matches(" kB").parse().expect("a number");
        (fs::read_dir("/proc/self/fd").expect("descriptors").count(), memory)
    };
    let (descriptors, memory) = held();
    for n in 0..100_000_u32 {
        let input = agent.containers.input(&id).expect("it runs").expect("an input");
        let rows = u16::try_from(n % 500).expect("small");
        input.resize(size(rows, 80)).expect("a size");
    }
    let after = held();
    // Its supervisor may be watched by then.
    assert!(after.0 <= descriptors + 1, "{descriptors} descriptors became {}", after.0);
    assert!(after.1 < memory + 2048, "{memory} kB became {} kB", after.1);
    agent.containers.destroy(&id).expect("an order");
    assert!(matches!(agent.next(), ContainerEvent::Exited { .. }));
}
