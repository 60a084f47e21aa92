//! What containers may do.

use std::{fs, path::Path, sync::Arc};

use mezzo_container::{Capabilities, Credentials, Filter, LaunchRequest, Privileges};

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

/// Tries what the default profile forbids, and some of what it lets pass; says what it has met with.
#[expect(unsafe_code, reason = "system calls that no library offers")]
pub(crate) fn try_calls() {
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
    try_one("tiocsti", libc::SYS_ioctl, [0, 0x5412, 0]);
    try_one("socket", libc::SYS_socket, [2, 1, 0]);
    try_one("getpid", libc::SYS_getpid, [0; 3]);
    std::thread::spawn(|| println!("thread 0")).join().expect("a thread");
}

pub(crate) fn a028_and_a029_forbidden_system_calls_are_refused(dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return println!("    skipped: needs root");
    }
    let mut request = shell(dir, "c1", "");
    request.program = std::env::current_exe().expect("a program").to_string_lossy().into_owned();
    request.arguments = vec!["program".to_owned(), TRY_CALLS.to_owned()];
    request.confinement.privileges = Privileges {
        capabilities: Some(Capabilities { effective: SOME, bounding: SOME }),
        no_new_privileges: true,
        filter: Some(Arc::new(Filter::standard(SOME).expect("a filter"))),
    };
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
    assert_eq!(out.lines().count(), 24, "{out}");
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
