//! An agent, or its launcher, that is killed at every step of a launch and of a destroy.
//!
//! A step is a system call that changes something outside of the process that makes it. A tracer, which is a
//! process of its own, stops one before its nth step and kills the victim; then it ends, and lets go of
//! whatever it traced. The next agent must find its way from there.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
};

use mezzo_container::{ContainerEvent, Containers, Isolation};
use nix::{
    errno::Errno,
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use syscalls::Sysno;

use super::{
    faults::{is_emulated, recover_and_look},
    is_clean, mounts, rooted,
};
use crate::{alive, cgroups, config, remove_roots, wait_until};

/// Makes this program one that kills another.
pub(crate) const BE_TRACER: &str = "be-a-tracer";
/// Makes this program an agent that launches one container and ends it.
pub(crate) const BE_VICTIM: &str = "be-a-victim";

/// What the tracer's status says when everything was over before the step came.
const ALL_DONE: i32 = 3;
/// More steps than there are.
const STEPS_MAX: usize = 2000;
/// Where every instruction is emulated only some of the steps are tried.
const STRIDE_EMULATED: usize = 40;

/// System calls that somebody else can notice, beside those that make a file by opening it.
const STEPS: [&str; 35] = [
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "write",
    "sendto",
    "sendmsg",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "execve",
    "unshare",
    "setns",
    "setsid",
    "flock",
    "fcntl",
    "fsmount",
    "move_mount",
    "pivot_root",
    "umount2",
    "kill",
    "pidfd_send_signal",
    "prctl",
    "close_range",
    "exit",
    "exit_group",
];

/// Who makes the steps, and who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The agent, at its own steps.
    Agent,
    /// The agent, at those of its launcher and of all that comes of it.
    AgentMeanwhile,
    /// The launcher, at the same.
    Launcher,
}

/// With the first step and how many further the next one is: the steps of the launcher and what comes of it take
/// turns, to take half the time.
const MODES: [(Mode, usize, usize); 3] =
    [(Mode::Agent, 1, 1), (Mode::AgentMeanwhile, 1, 2), (Mode::Launcher, 2, 2)];

fn isolation(root: &str) -> Isolation {
    Isolation {
        names: ["cgroups/cpu", "cgroups/mem", "cgroups/pids"].map(str::to_owned).to_vec(),
        cgroups_root: root.to_owned(),
        ..Isolation::default()
    }
}

pub(crate) fn be_victim(dir: &Path, root: &str) {
    let (sender, events) = channel();
    let (containers, _) =
        Containers::start(config(dir, isolation(root)), move |event| drop(sender.send(event)))
            .expect("containers start");
    let Some(mut request) = rooted(dir, "c", "setsid sleep 1000 & sleep 1000") else { return };
    request.environment.push(("MARK".to_owned(), dir.to_string_lossy().into_owned()));
    println!("{}", containers.launcher_pid().expect("a launcher"));
    // Until it is traced.
    let _ = std::io::stdin().read(&mut [0]);
    containers.launch(&request);
    if let Ok(ContainerEvent::Started { .. }) = events.recv() {
        // It is being ended already if its launcher was killed in between.
        let _ = containers.destroy(&request.id);
        let _ = events.recv();
    }
    containers.remove(&request.id);
    wait_until("nothing that was written is left", || is_clean(dir));
}

pub(crate) fn an_agent_or_launcher_killed_at_every_step_leaves_nothing(dir: &Path) {
    let Some(cgroups) = cgroups(&["cgroups/cpu", "cgroups/mem", "cgroups/pids"]) else { return };
    let root = cgroups.cgroups_root;
    if rooted(dir, "image", "true").is_none() {
        return;
    }
    let before = mounts();
    for (n, (mode, first, stride)) in MODES.into_iter().enumerate() {
        let stride = if is_emulated() { STRIDE_EMULATED } else { stride };
        let mut killed = 0;
        for step in (first..STEPS_MAX).step_by(stride) {
            let traced = Command::new(std::env::current_exe().expect("a program"))
                .args([BE_TRACER, dir.to_str().expect("text"), &root, &n.to_string(), &step.to_string()])
                .stderr(Stdio::inherit())
                .output()
                .expect("a tracer");
            let said = String::from_utf8_lossy(&traced.stdout);
            let (agent, call) = said.trim().split_once(' ').expect("an agent and a call");
            let what = format!("{mode:?} killed before step {step}, {call}");
            let agent = agent.parse().expect("a number");
            wait_until(&format!("{what}: the agent has ended"), || !alive(agent));
            recover_and_look(dir, &root, isolation(&root), &before, &what);
            if traced.status.code() == Some(ALL_DONE) {
                break;
            }
            assert_eq!(traced.status.code(), Some(0), "{what}");
            killed += 1;
        }
        println!("    {mode:?}: killed at {killed} steps");
        assert!(killed > 0, "{mode:?} was never killed");
    }
    remove_roots(&root);
}

/// Starts a victim and kills who is to be killed; a status for the caller, who is told the agent and where it was.
pub(crate) fn be_tracer(dir: &Path, root: &str, mode: usize, step: usize) -> i32 {
    let mode = MODES[mode].0;
    let mut victim = Command::new(std::env::current_exe().expect("a program"))
        .args([BE_VICTIM, dir.to_str().expect("text"), root])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a victim");
    let agent = i32::try_from(victim.id()).expect("a number");
    let launcher = launcher(&mut victim);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK;
    let traced: Vec<i32> = if mode == Mode::Agent {
        let tasks = fs::read_dir(format!("/proc/{agent}/task")).expect("threads").flatten();
        tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
    } else {
        vec![launcher]
    };
    for task in traced {
        ptrace::seize(Pid::from_raw(task), options).expect("traced");
        ptrace::interrupt(Pid::from_raw(task)).expect("interrupted");
    }
    victim.stdin.as_mut().expect("an input").write_all(b"\n").expect("asked");
    let (agent, launcher) = (Pid::from_raw(agent), Pid::from_raw(launcher));
    let doomed = if mode == Mode::Launcher { launcher } else { agent };
    let Some(call) = trace(doomed, step) else {
        println!("{agent} the end");
        return ALL_DONE;
    };
    println!("{agent} {call}");
    if mode != Mode::Launcher {
        await_end(agent);
    }
    0
}

/// Its threads are waited for here before anybody else can see that it has ended. It may just have ended by itself,
/// and then the signal changed nothing.
fn await_end(agent: Pid) {
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Signaled(ended, ..) | WaitStatus::Exited(ended, _)) if ended == agent => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Process id of the launcher of a victim that waits.
fn launcher(victim: &mut Child) -> i32 {
    let output = victim.stdout.as_mut().expect("an output");
    let (mut line, mut byte) = (String::new(), [0]);
    while output.read(&mut byte).expect("a byte") == 1 && byte != *b"\n" {
        line.push(char::from(byte[0]));
    }
    line.parse().expect("a number")
}

/// Kills at a step, before it is done, and tells which; `None` when all that was traced, or who was to be killed,
/// has ended.
fn trace(doomed: Pid, step: usize) -> Option<&'static str> {
    let mut steps = 0;
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceSyscall(task)) => {
                if let Some(call) = step_of(task) {
                    steps += 1;
                    if steps == step {
                        kill(doomed, Signal::SIGKILL).expect("killed");
                        return Some(call);
                    }
                }
                let _ = ptrace::syscall(task, None);
            }
            Ok(WaitStatus::PtraceEvent(task, ..)) => drop(ptrace::syscall(task, None)),
            Ok(WaitStatus::Stopped(task, signal)) => drop(ptrace::syscall(task, signal)),
            // Who is over cannot be killed.
            Ok(WaitStatus::Exited(task, _)) if task == doomed => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// The system call that somebody is about to make, if it is a step.
#[expect(unsafe_code, reason = "what a stop tells depends on its kind")]
fn step_of(task: Pid) -> Option<&'static str> {
    let info = ptrace::syscall_info(task).ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: this is what the kernel fills for this kind.
    let call = unsafe { info.u.entry };
    let name = Sysno::new(usize::try_from(call.nr).ok()?)?.name();
    let creates = |flags: u64| flags & u64::from(libc::O_CREAT.cast_unsigned()) != 0;
    let is_step = match name {
        "open" => creates(call.args[1]),
        "openat" => creates(call.args[2]),
        name => STEPS.contains(&name),
    };
    is_step.then_some(name)
}
