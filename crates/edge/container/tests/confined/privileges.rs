//! What containers may do.

use std::{fs, path::Path, sync::Arc};

use mezzo_container::{Capabilities, Credentials, Filter, LaunchRequest, Privileges, Rlimit};

use super::rooted;
use crate::{Agent, shell, text};

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP and NET_BIND_SERVICE.
const SOME: u64 = 0b101_1111_1011;

/// As an agent restricts a container with an image.
fn restricted(dir: &Path, id: &str, command: &str) -> Option<LaunchRequest> {
    let mut request = rooted(dir, id, command)?;
    request.confinement.privileges = Privileges {
        capabilities: Some(Capabilities { effective: SOME, bounding: SOME }),
        no_new_privileges: true,
        filter: Some(Arc::new(Filter::standard(SOME).expect("a filter"))),
    };
    Some(request)
}

const SHOW: &str = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status | tr -d ' \\t'";

fn line(out: &str, name: &str) -> u64 {
    let found = out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(found.unwrap_or_else(|| panic!("{name} in {out}")), 16).expect("a number")
}

pub(crate) fn a023_capabilities_are_exactly_those_given(dir: &Path) {
    let Some(request) = restricted(dir, "c1", SHOW) else { return };
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0), "{err}");
    for (name, expected) in [
        ("CapInh", 0),
        ("CapPrm", SOME),
        ("CapEff", SOME),
        ("CapBnd", SOME),
        ("CapAmb", 0),
        ("NoNewPrivs", 1),
    ] {
        assert_eq!(line(&out, name), expected, "{name}: {out}");
    }
    assert_eq!(line(&out, "Seccomp"), 2, "{out}");
    // Less than the bound for root, and all of it for somebody else.
    let mut less = restricted(dir, "c2", SHOW).expect("a request");
    less.confinement.privileges.capabilities = Some(Capabilities { effective: 1, bounding: SOME });
    let (_, out, err) = agent.finish(&less);
    assert_eq!(
        (line(&out, "CapEff"), line(&out, "CapPrm"), line(&out, "CapBnd")),
        (1, 1, SOME),
        "{out}{err}"
    );
    let mut user = restricted(dir, "c3", SHOW).expect("a request");
    user.credentials = Some(Credentials { uid: 1234, gid: 1235, groups: vec![1235] });
    std::os::unix::fs::chown(&user.sandbox, Some(1234), Some(1235)).expect("chown");
    super::super::open_to_all(dir);
    user.confinement.privileges.capabilities = Some(Capabilities { effective: 1 << 10, bounding: SOME });
    let (_, out, err) = agent.finish(&user);
    assert_eq!((line(&out, "CapEff"), line(&out, "CapBnd")), (1 << 10, SOME), "{out}{err}");
}

pub(crate) fn privileges_can_be_limited_without_an_image(dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return println!("    skipped: needs root");
    }
    let agent = Agent::start(dir);
    let mut request = shell(dir, "c1", SHOW);
    request.confinement.privileges = Privileges {
        capabilities: Some(Capabilities::default()),
        no_new_privileges: true,
        filter: Some(Arc::new(Filter::standard(0).expect("a filter"))),
    };
    let (_, out, err) = agent.finish(&request);
    assert_eq!((line(&out, "CapEff"), line(&out, "CapBnd"), line(&out, "Seccomp")), (0, 0, 2), "{out}{err}");
    // A filter needs no promise when root installs it.
    let mut request = shell(dir, "c2", SHOW);
    request.confinement.privileges.filter = Some(Arc::new(Filter::standard(u64::MAX).expect("a filter")));
    let (_, out, err) = agent.finish(&request);
    assert_eq!((line(&out, "NoNewPrivs"), line(&out, "Seccomp")), (0, 2), "{out}{err}");
}

pub(crate) fn a019_and_a021_the_hosts_kernel_is_out_of_reach(dir: &Path) {
    let command = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger \
        /sys/kernel/uevent_helper /proc/sys/vm/drop_caches /proc/irq/default_smp_affinity /proc/sys/kernel/hostname; \
        do [ -e $f ] && { echo x > $f && echo WROTE $f; }; done; \
        for f in kcore keys timer_list sched_debug interrupts latency_stats kallsyms; do \
        [ -e /proc/$f ] && [ \"$(head -c 9 /proc/$f | wc -c)\" != 0 ] && echo READ $f; done; \
        for d in /proc/scsi /proc/acpi /proc/asound /sys/firmware /sys/devices/virtual/powercap /sys/fs/cgroup; do \
        [ -d $d ] && [ -n \"$(ls $d)\" ] && echo LISTED $d; done; \
        mount -o remount,rw /proc/sys && echo REMOUNTED; mount -t tmpfs x /tmp && echo MOUNTED; \
        umount /proc/sys && echo UNMOUNTED; mknod /tmp/d b 8 0 && echo MADE; echo end";
    let Some(request) = restricted(dir, "c1", command) else { return };
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    assert_eq!(out, "end\n", "{err}");
    assert!(err.contains("Read-only file system"), "{err}");
}

pub(crate) fn a017_a045_and_a046_no_namespaces_and_no_mounts(dir: &Path) {
    let command = "unshare -U true && echo USER; unshare -m true && echo MOUNTS; unshare -r true && echo ROOT; \
        mkdir /tmp/cg; mount -t cgroup x /tmp/cg && echo CGROUP; mount -t cgroup2 x /tmp/cg && echo CGROUP2; \
        mount -t overlay -o lowerdir=/bin:/etc x /tmp/cg && echo OVERLAY; mount -t proc x /tmp/cg && echo PROC; \
        chroot / true && echo CHROOT; cut -d: -f3 /proc/self/cgroup | grep -v '^/$' && echo GROUPS; echo end";
    let Some(request) = restricted(dir, "c1", command) else { return };
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    assert_eq!(out, "end\n", "{err}");
    assert!(err.contains("Operation not permitted"), "{err}");
}

pub(crate) fn a026_a_set_user_id_program_gains_nothing(dir: &Path) {
    let Some(mut request) = restricted(dir, "c1", "/setuid-id -u; /mnt/mesos/sandbox/own -u") else { return };
    let image = dir.join("image");
    for place in [image.join("setuid-id"), request.sandbox.join("own")] {
        fs::copy("/bin/busybox", &place).expect("a program");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o4755)).expect("a mode");
    }
    // Busybox goes by its name.
    fs::rename(image.join("setuid-id"), image.join("id")).expect("renamed");
    fs::rename(request.sandbox.join("own"), request.sandbox.join("id")).expect("renamed");
    request.arguments = ["sh", "-c", "/id -u; /mnt/mesos/sandbox/id -u"].map(str::to_owned).to_vec();
    request.credentials = Some(Credentials { uid: 1234, gid: 1235, groups: vec![1235] });
    request.confinement.privileges.capabilities = None;
    super::super::open_to_all(dir);
    std::os::unix::fs::chown(&request.sandbox, Some(1234), Some(1235)).expect("chown");
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    assert_eq!(out, "1234\n1234\n", "{err}");
}

/// Set for this program when it is run in a container to try system calls.
pub(crate) const TRY_CALLS: &str = "try-system-calls";

/// Other ways into the kernel than the usual one.
const BY_32_BIT_GATE: &str = "by-32-bit-gate";
const BY_X32: &str = "by-x32";
/// Opens files until it cannot.
const HOARD: &str = "hoard-descriptors";

/// Tries what is asked for.
pub(crate) fn try_calls(what: Option<&str>) {
    match what {
        Some(HOARD) => hoard(),
        Some(way @ (BY_32_BIT_GATE | BY_X32)) => enter_otherwise(way),
        _ => try_usual(),
    }
}

/// Asks for a socket and a process id as programs for other kinds of processors do.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "ways into the kernel that no library offers")]
fn enter_otherwise(way: &str) {
    use nix::libc;
    println!("here");
    if way == BY_X32 {
        for (name, number, family) in [
            ("getpid", libc::SYS_getpid, 0),
            ("af_alg", libc::SYS_socket, 38),
            ("af_vsock", libc::SYS_socket, 40),
        ] {
            // SAFETY: none of these calls takes a pointer.
            let result = unsafe { libc::syscall(number | 0x4000_0000, family, 5, 0) };
            println!("{name} {}", if result < 0 { nix::errno::Errno::last_raw() } else { 0 });
        }
        return;
    }
    let result: i64;
    // SAFETY: number 20 of the 32-bit table asks for the process id; it reads and writes no memory.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    println!("got {result}");
}

#[cfg(not(target_arch = "x86_64"))]
fn enter_otherwise(_way: &str) {
    println!("there is no other way");
}

fn hoard() {
    let mut files = Vec::new();
    let why = loop {
        match fs::File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => break error,
        }
    };
    println!("{} {}", files.len(), why.raw_os_error().unwrap_or_default());
}

/// This program, in a container with the host's files.
fn this_program(dir: &Path, id: &str, what: &str) -> LaunchRequest {
    let mut request = shell(dir, id, "");
    request.program = std::env::current_exe().expect("a program").to_string_lossy().into_owned();
    request.arguments = vec!["program".to_owned(), TRY_CALLS.to_owned(), what.to_owned()];
    request
}

/// Tries what the default profile forbids, and some of what it lets pass; says what it has met with.
#[expect(unsafe_code, reason = "system calls that no library offers")]
fn try_usual() {
    use nix::libc;
    let try_one = |name: &str, number: libc::c_long, arguments: [libc::c_long; 3]| {
        // SAFETY: every pointer among the arguments is null, so the kernel refuses the call or does nothing.
        let result = unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2]) };
        let errno = if result < 0 { nix::errno::Errno::last_raw() } else { 0 };
        println!("{name} {errno}");
    };
    try_one("mount", libc::SYS_mount, [0; 3]);
    try_one("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0]);
    try_one("setns", libc::SYS_setns, [-1, 0, 0]);
    try_one("bpf", libc::SYS_bpf, [0; 3]);
    try_one("perf_event_open", libc::SYS_perf_event_open, [0; 3]);
    try_one("keyctl", libc::SYS_keyctl, [0; 3]);
    try_one("add_key", libc::SYS_add_key, [0; 3]);
    try_one("userfaultfd", libc::SYS_userfaultfd, [0; 3]);
    try_one("io_uring_setup", libc::SYS_io_uring_setup, [0; 3]);
    try_one("kexec_load", libc::SYS_kexec_load, [0; 3]);
    try_one("init_module", libc::SYS_init_module, [0; 3]);
    try_one("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, 0, 0]);
    try_one("process_vm_writev", libc::SYS_process_vm_writev, [0; 3]);
    try_one("fsopen", libc::SYS_fsopen, [0; 3]);
    try_one("clone-namespace", libc::SYS_clone, [libc::CLONE_NEWUSER.into(), 0, 0]);
    try_one("personality", libc::SYS_personality, [0x0040_0000, 0, 0]);
    try_one("clone3", libc::SYS_clone3, [0; 3]);
    try_one("af_alg", libc::SYS_socket, [38, 5, 0]);
    try_one("af_alg-high", libc::SYS_socket, [38 | 1 << 40, 5, 0]);
    try_one("af_vsock", libc::SYS_socket, [40, 1, 0]);
    try_one("af_packet", libc::SYS_socket, [17, 3, 0]);
    try_one("af_inet-raw", libc::SYS_socket, [2, 3, 1]);
    try_one("tiocsti", libc::SYS_ioctl, [0, 0x5412, 0]);
    try_one("socket", libc::SYS_socket, [2, 1, 0]);
    try_one("getpid", libc::SYS_getpid, [0; 3]);
    std::thread::spawn(|| println!("thread 0")).join().expect("a thread");
}

fn standard() -> Privileges {
    Privileges {
        capabilities: Some(Capabilities { effective: SOME, bounding: SOME }),
        no_new_privileges: true,
        filter: Some(Arc::new(Filter::standard(SOME).expect("a filter"))),
    }
}

pub(crate) fn a029_other_ways_into_the_kernel_are_closed(dir: &Path) {
    if !rustix::process::geteuid().is_root() || !cfg!(target_arch = "x86_64") {
        return println!("    skipped: needs root, and a processor with such ways");
    }
    let agent = Agent::start(dir);
    let mut gate = this_program(dir, "c1", BY_32_BIT_GATE);
    let (status, out, _) = agent.finish(&gate);
    let open = status == Some(0) && out.contains("got");
    gate = this_program(dir, "c2", BY_32_BIT_GATE);
    gate.confinement.privileges = standard();
    let (status, out, err) = agent.finish(&gate);
    assert_eq!(out, "here\n", "{err}");
    // By the filter (SIGSYS), or by a kernel that has no such gate (SIGSEGV).
    let expected = if open { 31 } else { 11 };
    assert_eq!(status.map(|status| status & 0x7f), Some(expected), "{err}");
    let mut x32 = this_program(dir, "c3", BY_X32);
    x32.confinement.privileges = standard();
    let (status, out, err) = agent.finish(&x32);
    assert_eq!((status, out.as_str()), (Some(0), "here\ngetpid 1\naf_alg 1\naf_vsock 1\n"), "{err}");
}

pub(crate) fn a047_a_session_is_confined_as_its_container_is(dir: &Path) {
    let show = "grep -E '^(Cap|NoNew|Seccomp|Groups|Uid|Gid)' /proc/self/status; cat /proc/self/attr/current; \
        cat /proc/self/oom_score_adj /proc/self/limits";
    let command = format!("{{ {show}; }} > shown 2>&1; touch up; while [ ! -e go ]; do sleep 0.01; done");
    let Some(parent) = restricted(dir, "c1", &command) else { return };
    let agent = Agent::start(dir);
    agent.containers.launch(&parent);
    agent.started();
    super::wait_until("it runs", || parent.sandbox.join("up").exists());
    let mut session = shell(dir, "c1.s", &format!("{{ {show}; }} 2>&1"));
    session.environment = vec![("PATH".to_owned(), "/bin".to_owned())];
    session.confinement.enter = Some("c1".into());
    let (_, out, err) = agent.finish(&session);
    let shown = text(parent.sandbox.join("shown"));
    assert!(shown.contains("Seccomp:\t2") && shown.contains("Max open files"), "{shown}");
    assert_eq!(out, shown, "{err}");
    fs::write(parent.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0));
}

/// Makes this program an agent that a profile of AppArmor's confines.
pub(crate) const BE_CONFINED: &str = "be-a-confined-agent";
/// The emulated machine loads it (`boot.sh`): it lets pass everything but `/forbidden`.
const PROFILE: &str = "mezzo-test";

pub(crate) fn a047_what_confines_an_agent_confines_its_containers(dir: &Path) {
    if !text("/sys/kernel/security/apparmor/profiles".into()).contains(PROFILE) {
        return println!("    skipped: needs a profile of AppArmor's");
    }
    let Some(image) = super::image(dir) else { return };
    fs::write(image.join("forbidden"), "read").expect("a file");
    let enter = format!("printf 'exec {PROFILE}' > /proc/self/attr/exec && exec \"$0\" \"$@\"");
    let output = std::process::Command::new("sh")
        .args(["-c", &enter])
        .arg(std::env::current_exe().expect("a program"))
        .args([BE_CONFINED, dir.to_str().expect("text")])
        .output()
        .expect("run sh");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said,
        format!("{PROFILE} (enforce)\n").repeat(2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Tells the labels of a container and of a session in it, and what either reads of a file it may not.
pub(crate) fn be_confined(dir: &Path) {
    let show = "cat /proc/self/attr/current /forbidden 2>&1 | grep -v 'Permission denied'";
    let command = format!("{show}; touch up; while [ ! -e go ]; do sleep 0.01; done");
    let parent = restricted(dir, "c1", &command).expect("an image");
    let agent = Agent::start(dir);
    agent.containers.launch(&parent);
    agent.started();
    super::wait_until("it runs", || parent.sandbox.join("up").exists());
    let mut session = shell(dir, "c1.s", show);
    session.environment = vec![("PATH".to_owned(), "/bin".to_owned())];
    session.confinement.enter = Some("c1".into());
    let (_, out, err) = agent.finish(&session);
    print!("{}{out}{err}", text(parent.sandbox.join("stdout")));
    fs::write(parent.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0));
}

pub(crate) fn a048_a_hoard_of_descriptors_is_the_containers_own(dir: &Path) {
    let agent = Agent::start(dir);
    let mut hoard = this_program(dir, "c1", HOARD);
    hoard.rlimits = vec![Rlimit { resource: 7, soft: 500, hard: 500 }];
    let (status, out, err) = agent.finish(&hoard);
    // All but the standard three.
    assert_eq!((status, out.as_str()), (Some(0), "497 24\n"), "{err}");
    // Without a limit of its own it meets that of every process, and nobody else notices.
    let (status, out, err) = agent.finish(&this_program(dir, "c2", HOARD));
    assert!(status == Some(0) && out.ends_with(" 24\n"), "{out}{err}");
    let (status, _) = agent.run(dir, "c3", "exec 3< /dev/null");
    assert_eq!(status, Some(0));
}

pub(crate) fn a028_a029_and_a145_forbidden_system_calls_are_refused(dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return println!("    skipped: needs root");
    }
    let mut request = this_program(dir, "c1", "usual");
    request.confinement.privileges = standard();
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0), "{out}{err}");
    for line in out.lines() {
        let (name, errno) = line.split_once(' ').expect("two words");
        let expected = match name {
            "clone3" => "38",
            "af_alg" | "af_alg-high" | "af_vsock" => "97",
            "tiocsti" => "13",
            "socket" | "getpid" | "thread" => "0",
            _ => "1",
        };
        assert_eq!(errno, expected, "{name}");
    }
    assert_eq!(out.lines().count(), 26, "{out}");
    assert_eq!(text(request.sandbox.join("stderr")), "");
}

pub(crate) fn a030_a_session_enters_its_container_and_may_do_no_more(dir: &Path) {
    let Some(parent) =
        restricted(dir, "c1", "cd /var; echo up; while [ ! -e /mnt/mesos/sandbox/go ]; do sleep 0.01; done")
    else {
        return;
    };
    let agent = Agent::start(dir);
    let mut session = shell(
        dir,
        "c1.s",
        "cat /layer; echo; pwd; ps; cat /proc/1/comm; sh -c 'sleep 1000 & exit 0'; grep -E '^(Cap|NoNew|Seccomp:)' \
        /proc/self/status | tr -d ' \\t'",
    );
    session.environment = vec![("PATH".to_owned(), "/bin".to_owned())];
    session.confinement.enter = Some("c1".into());
    agent.containers.launch(&parent);
    agent.started();
    super::wait_until("it runs", || text(parent.sandbox.join("stdout")) == "up\n");
    // A later agent knows as much.
    drop(agent);
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&session);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(
        out.starts_with("low\n/var\n") && out.contains("init\n") && out.contains("sleep 0.01"),
        "{out}{err}"
    );
    for (name, expected) in [("CapInh", 0), ("CapEff", SOME), ("CapBnd", SOME), ("NoNewPrivs", 1)] {
        assert_eq!(line(&out, name), expected, "{name}: {out}");
    }
    assert_eq!(line(&out, "Seccomp"), 2, "{out}");
    // A002: no descriptor of the host is a working directory here either.
    let mut escape = session.clone();
    for n in 3..12 {
        escape.id = format!("c1.e{n}").as_str().into();
        escape.confinement.working_directory = Some(format!("/proc/self/fd/{n}").into());
        agent.containers.launch(&escape);
        assert!(agent.failed().starts_with("Failed to change directory"), "{n}");
    }
    fs::write(parent.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0));
    session.id = "c1.t".into();
    agent.containers.launch(&session);
    assert_eq!(agent.failed(), "Failed to enter container 'c1': it has ended");
}
