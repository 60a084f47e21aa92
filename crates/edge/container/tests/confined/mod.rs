//! Containers that are set apart from the host.

pub(crate) mod faults;
pub(crate) mod privileges;
pub(crate) mod steps;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use mezzo_container::{BackEnd, Confinement, Input, LaunchRequest, Mount, Namespaces, Output, Root, Source};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::agent::{Agent, alive, kill, mounts, parent, shell, text, wait_until};

/// Programs that are in the image of these tests.
const PROGRAMS: &str = "sh cat ls echo ps id grep mkdir mount umount sleep head mknod chmod ln touch hostname \
    readlink setsid unshare ip nc df stat dd seq kill true false env tr cut wc find chroot";

/// A folder with a small root file system; `None` where tests cannot have one.
pub(crate) fn image(dir: &Path) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        println!("    skipped: needs root");
        return None;
    }
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        let install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends busybox-static";
        let _ = std::process::Command::new("sh").args(["-c", install]).output();
    }
    if !busybox.exists() {
        println!("    skipped: needs busybox-static");
        return None;
    }
    let layer = dir.join("image");
    for name in ["bin", "etc", "tmp", "usr/share", "var"] {
        fs::create_dir_all(layer.join(name)).expect("a folder");
    }
    fs::copy(busybox, layer.join("bin/busybox")).expect("a program");
    for name in PROGRAMS.split_whitespace() {
        symlink("busybox", layer.join("bin").join(name)).expect("a link");
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").expect("a file");
    fs::write(layer.join("layer"), "low").expect("a file");
    Some(layer)
}

/// A shell in an image.
pub(crate) fn rooted(dir: &Path, id: &str, command: &str) -> Option<LaunchRequest> {
    let image = match dir.join("image") {
        made if made.exists() => made,
        _ => image(dir)?,
    };
    let root = Root {
        layers: vec![image],
        back_end: BackEnd::Any,
        read_only: false,
        sandbox: PathBuf::from("/mnt/mesos/sandbox"),
    };
    let namespaces = Namespaces { pid: true, ipc: true, ..Namespaces::default() };
    let confinement = Confinement { root: Some(root), namespaces, ..Confinement::default() };
    let environment = vec![("PATH".to_owned(), "/bin".to_owned())];
    Some(LaunchRequest { confinement, environment, ..shell(dir, id, command) })
}

/// Whether nothing of any container's root is left.
fn is_clean(dir: &Path) -> bool {
    fs::read_dir(dir.join("scratch")).expect("a folder").all(|entry| {
        let entry = entry.expect("an entry");
        // What all containers have below their images stays.
        entry.file_name() == ".places"
            || entry.file_name() == ".removed"
                && fs::read_dir(entry.path()).expect("a folder").next().is_none()
    })
}

pub(crate) fn a_container_sees_its_own_root_and_leaves_nothing(dir: &Path) {
    let command = "cat /layer /upper; echo; pwd; echo new > /file; cat /file; rm -f x; ls /; echo $$; \
        hostname; while [ ! -e go ]; do sleep 0.01; done; exit 7";
    let Some(mut request) = rooted(dir, "c1", command) else { return };
    let upper = dir.join("upper-layer");
    fs::create_dir(&upper).expect("a folder");
    fs::write(upper.join("upper"), "high").expect("a file");
    let Some(root) = &mut request.confinement.root else { panic!("a root") };
    root.layers.push(upper.clone());
    request.confinement.namespaces.hostname = Some("carton".to_owned());
    let before = mounts();
    let agent = Agent::start(dir);
    agent.containers.launch(&request);
    let pid = agent.started();
    let out = || text(request.sandbox.join("stdout"));
    wait_until("it is ready", || out().ends_with("carton\n"));
    assert!(out().starts_with("lowhigh\n/mnt/mesos/sandbox\nnew\n"), "{}", out());
    assert_eq!(mounts(), before, "the host has no mount of the container's");
    let root = fs::read_link(format!("/proc/{pid}/root")).expect("a link");
    assert_eq!(root, Path::new("/"));
    assert!(!is_clean(dir));
    fs::write(request.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(7 << 8));
    wait_until("what it wrote is deleted", || is_clean(dir));
    assert!(!dir.join("image/file").exists() && !upper.join("file").exists(), "layers are never written");
    assert_eq!(mounts(), before);
}

pub(crate) fn images_can_be_volumes_that_are_written_to_and_end_with_their_container(dir: &Path) {
    let Some(mut request) = rooted(
        dir,
        "c1",
        "cat /v/data v2/data /ro/data; echo more >> /v/data; cat /v/data; \
        rm v2/data; ls v2; touch /ro/x || mount | grep -c overlay; [ -e go ] || while [ ! -e go ]; do sleep 0.01; done",
    ) else {
        return;
    };
    let layer = dir.join("volume-layer");
    fs::create_dir(&layer).expect("a folder");
    fs::write(layer.join("data"), "image\n").expect("a file");
    let volume = |back_end, target: &str, read_only| Mount {
        source: Source::Image { layers: vec![layer.clone()], back_end },
        target: target.into(),
        read_only,
    };
    let copy = BackEnd::Copy;
    request.confinement.mounts =
        vec![volume(BackEnd::Any, "/v", false), volume(copy, "v2", false), volume(BackEnd::Any, "/ro", true)];
    let before = mounts();
    let agent = Agent::start(dir);
    agent.containers.launch(&request);
    agent.started();
    wait_until("it is ready", || text(request.sandbox.join("stdout")).ends_with("3\n"));
    let written = dir.join("scratch/c1/volume-0/upper/data");
    assert_eq!(text(written), "image\nmore\n");
    assert_eq!(mounts(), before, "the host has no mount of the container's");
    drop(agent);
    let agent = Agent::start(dir);
    fs::write(request.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0), "{}", text(request.sandbox.join("stderr")));
    let expected = "image\nimage\nimage\nimage\nmore\n3\n";
    assert_eq!(text(request.sandbox.join("stdout")), expected);
    assert_eq!(text(layer.join("data")), "image\n", "layers are never written");
    wait_until("what it wrote is deleted", || is_clean(dir));
    // Without an image of its own, in its sandbox.
    let mut plain = shell(dir, "c2", "cat v/data; echo x > v/x; ls v; grep -c scratch /proc/self/mountinfo");
    plain.confinement.mounts = vec![volume(BackEnd::Any, "v", false)];
    let (_, out, err) = agent.finish(&plain);
    assert!(out.starts_with("image\ndata\nx\n"), "{out}{err}");
    assert!(fs::read_dir(plain.sandbox.join("v")).expect("a place").next().is_none());
    wait_until("what it wrote is deleted", || is_clean(dir));
}

pub(crate) fn the_copy_back_end_shows_the_same(dir: &Path) {
    let Some(mut request) = rooted(dir, "c1", "cat /layer; echo x > /layer; cat /layer; mount") else {
        return;
    };
    let Some(root) = &mut request.confinement.root else { panic!("a root") };
    root.back_end = BackEnd::Copy;
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("lowx\n") && !out.contains("overlay"), "{out}");
    assert_eq!(text(dir.join("image/layer")), "low");
    wait_until("the copy is deleted", || is_clean(dir));
}

pub(crate) fn many_layers_are_one_file_system(dir: &Path) {
    let Some(mut request) = rooted(dir, "c1", "cat /n; ls /many | wc -l") else { return };
    let Some(root) = &mut request.confinement.root else { panic!("a root") };
    for n in 0..120 {
        let layer = dir.join(format!("layer-{n}"));
        fs::create_dir_all(layer.join("many")).expect("a folder");
        fs::write(layer.join("n"), format!("{n}\n")).expect("a file");
        fs::write(layer.join("many").join(n.to_string()), "").expect("a file");
        root.layers.push(layer);
    }
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!((status, out.as_str()), (Some(0), "119\n120\n"), "{err}");
}

pub(crate) fn a_read_only_root_is_read_only(dir: &Path) {
    let Some(mut request) = rooted(dir, "c1", "touch /x /etc/y; touch z /dev/shm/z && echo done") else {
        return;
    };
    let Some(root) = &mut request.confinement.root else { panic!("a root") };
    root.read_only = true;
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    assert_eq!(out, "done\n");
    assert_eq!(err.matches("Read-only file system").count(), 2, "{err}");
    assert!(request.sandbox.join("z").exists());
}

pub(crate) fn a002_no_descriptor_of_the_host_is_a_working_directory(dir: &Path) {
    let Some(request) = rooted(dir, "c", "ls -l /proc/self/fd; readlink /proc/self/cwd; ls ..") else {
        return;
    };
    let agent = Agent::start(dir);
    for n in (3..40).chain([100, 1000, 1023]) {
        let mut request = request.clone();
        request.id = format!("c{n}").as_str().into();
        request.confinement.working_directory = Some(PathBuf::from(format!("/proc/self/fd/{n}")));
        let refusal = agent.refusal(&request);
        assert!(
            refusal.starts_with(&format!("Failed to change directory to '/proc/self/fd/{n}'")),
            "{refusal}"
        );
    }
    // A003: only the standard ones are open, and the last is what ls reads.
    let (_, out, err) = agent.finish(&request);
    let open = out.lines().filter(|line| line.starts_with('l')).count();
    assert_eq!(open, 4, "{out}{err}");
    assert!(out.contains("/mnt/mesos/sandbox\n"), "{out}");
    wait_until("nothing is left", || is_clean(dir));
}

pub(crate) fn a001_the_launcher_cannot_be_reached(dir: &Path) {
    // With every right there is, so that nothing but the mount protects it.
    let command = "sleep 0.1; echo x > /proc/1/exe; ls /proc/1/fd | wc -l; ls /proc/1/root/; kill -9 1; kill -TERM 1; \
        sleep 0.1; echo alive";
    let Some(request) = rooted(dir, "c1", command) else { return };
    let program = std::env::current_exe().expect("a program");
    let before = fs::metadata(&program).expect("a program");
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0));
    assert!(out.starts_with("0\nbin\n") && out.ends_with("alive\n"), "{out}{err}");
    assert!(err.contains("/proc/1/exe: Read-only file system"), "{err}");
    let after = fs::metadata(&program).expect("a program");
    assert_eq!((before.len(), before.mtime_nsec()), (after.len(), after.mtime_nsec()));
}

pub(crate) fn a008_and_a010_links_in_the_place_of_kernel_files_are_refused(dir: &Path) {
    let Some(request) = rooted(dir, "c", "true") else { return };
    let outside = dir.join("outside");
    fs::create_dir(&outside).expect("a folder");
    let agent = Agent::start(dir);
    for name in ["dev", "proc", "sys"] {
        for target in [outside.to_str().expect("text"), "etc", "/"] {
            let layer = dir.join(format!("bad-{name}"));
            let _ = fs::remove_dir_all(&layer);
            fs::create_dir(&layer).expect("a folder");
            symlink(target, layer.join(name)).expect("a link");
            let mut request = request.clone();
            let Some(root) = &mut request.confinement.root else { panic!("a root") };
            root.layers.push(layer);
            let refusal = agent.refusal(&request);
            assert!(refusal.starts_with(&format!("Failed to mount /{name}:")), "{refusal}");
            agent.containers.remove(&"c".into());
        }
    }
    assert_eq!(fs::read_dir(&outside).expect("a folder").count(), 0);
    wait_until("nothing is left", || is_clean(dir));
}

pub(crate) fn a004_devices_of_the_image_are_not_used(dir: &Path) {
    let command = "cat /secret-device; ls /dev; stat -c %t:%T /dev/null; echo gone > /dev/null; \
        head -c 3 /dev/zero | wc -c; cat /proc/interrupts | wc -c";
    let Some(request) = rooted(dir, "c1", command) else { return };
    let image = dir.join("image");
    let victim = dir.join("victim");
    fs::write(&victim, "kept").expect("a file");
    fs::create_dir(image.join("dev")).expect("a folder");
    symlink(&victim, image.join("dev/null")).expect("a link");
    let folder = fs::File::open(&image).expect("a folder");
    let kind = rustix::fs::FileType::CharacterDevice;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(&folder, "secret-device", kind, mode, rustix::fs::makedev(1, 5)).expect("a device");
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    assert!(err.contains("/secret-device"), "a device node of an image does nothing: {err}");
    let expected = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\
        1:3\n3\n0\n";
    assert_eq!(out, expected, "{err}");
    assert_eq!(text(victim), "kept");
}

pub(crate) fn a005_a006_and_a007_a_console_of_the_image_is_not_used(dir: &Path) {
    let command = "ls -d /dev/console; readlink /proc/self/fd/1; echo lost > /dev/null; echo shown > /dev/tty; ls /dev/pts";
    let Some(mut request) = rooted(dir, "c1", command) else { return };
    let (image, victims) = (dir.join("image"), dir.join("victims"));
    fs::create_dir(&victims).expect("a folder");
    fs::create_dir(image.join("dev")).expect("a folder");
    for name in ["console", "null", "tty", "stdout"] {
        symlink(victims.join(name), image.join("dev").join(name)).expect("a link");
    }
    symlink(&victims, image.join("dev/pts")).expect("a link");
    request.stdin = Input::Terminal(None);
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.contains("/dev/console: No such file"), "{out}");
    assert!(out.contains("/dev/pts/") && out.contains("shown"), "{out}");
    assert_eq!(fs::read_dir(&victims).expect("a folder").count(), 0, "nothing is made on the host");
}

pub(crate) fn a036_nobody_listens_on_a_name_that_containers_can_reach(dir: &Path) {
    let agent = Agent::start(dir);
    agent.containers.launch(&shell(dir, "c1", "exec sleep 1000"));
    agent.started();
    // The agent's part here, the launcher and the supervisor are this program.
    let program = std::env::current_exe().expect("a program");
    let mut own = 0;
    let mut sockets = Vec::new();
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        let exe = fs::read_link(process.path().join("exe")).unwrap_or_default();
        if exe.file_name() != program.file_name() {
            continue;
        }
        own += 1;
        for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let name = fs::read_link(file.path()).unwrap_or_default().to_string_lossy().into_owned();
            sockets.extend(name.strip_prefix("socket:[").map(|inode| inode.trim_end_matches(']').to_owned()));
        }
    }
    assert!(own >= 3, "{own} processes");
    for line in text("/proc/net/unix".into()).lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Those with a path are in folders of ours.
        let is_abstract = words.get(7).is_some_and(|name| name.starts_with('@'));
        let is_own = words.get(6).is_some_and(|inode| sockets.iter().any(|own| own == inode));
        assert!(!(is_abstract && is_own), "{line}");
    }
    agent.containers.destroy(&"c1".into()).expect("an order");
    agent.exited();
}

pub(crate) fn a031_and_a037_other_containers_are_not_seen(dir: &Path) {
    let Some(first) = rooted(dir, "c1", "touch /dev/shm/mine; while [ ! -e go ]; do sleep 0.01; done") else {
        return;
    };
    let agent = Agent::start(dir);
    agent.containers.launch(&first);
    agent.started();
    let command = "ps -o pid,comm; ls /dev/shm; df -k /dev/shm | tail -n 1";
    let mut second = rooted(dir, "c2", command).expect("a second one");
    second.confinement.namespaces.shm_bytes = Some(1 << 20);
    agent.containers.launch(&second);
    agent.started();
    assert_eq!(agent.exited(), Some(0));
    let out = text(second.sandbox.join("stdout"));
    assert!(!out.contains("mine") && !out.contains("sleep"), "{out}");
    assert!(out.lines().filter(|line| line.trim_start().starts_with(char::is_numeric)).count() <= 4, "{out}");
    fs::write(first.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(0));
}

pub(crate) fn a043_destroy_ends_a_whole_process_namespace(dir: &Path) {
    let command = "trap '' TERM HUP; for i in 1 2 3; do setsid sh -c 'trap \"\" TERM; echo x >> up; \
        while :; do sleep 1; done' & done; (setsid sh -c 'echo x >> up; kill -STOP $$' &); \
        while :; do sleep 1; done";
    let Some(request) = rooted(dir, "c1", command) else { return };
    let agent = Agent::start(dir);
    agent.containers.launch(&request);
    let pid = agent.started();
    let namespace = fs::read_link(format!("/proc/{pid}/ns/pid")).expect("a namespace");
    wait_until("all run", || text(request.sandbox.join("up")).lines().count() == 4);
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
    assert_eq!(members(&namespace), 0);
    wait_until("what it wrote is deleted", || is_clean(dir));
}

/// Processes of a namespace.
fn members(namespace: &Path) -> usize {
    fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .filter(|entry| fs::read_link(entry.path().join("ns/pid")).is_ok_and(|found| found == namespace))
        .count()
}

pub(crate) fn a_killed_supervisor_takes_its_namespaces_along(dir: &Path) {
    let Some(request) = rooted(dir, "c1", "setsid sleep 1000 & sleep 1000") else { return };
    let agent = Agent::start(dir);
    agent.containers.launch(&request);
    let pid = agent.started();
    let namespace = fs::read_link(format!("/proc/{pid}/ns/pid")).expect("a namespace");
    kill(parent(pid));
    assert_eq!(agent.exited(), None);
    wait_until("everything is ended", || members(&namespace) == 0);
    wait_until("what it wrote is deleted", || is_clean(dir));
}

pub(crate) fn containers_with_a_root_survive_the_agent(dir: &Path) {
    let command = "trap 'exit 5' TERM; echo up; while [ ! -e go ]; do sleep 0.01; done; cat /layer; exit 4";
    let Some(running) = rooted(dir, "running", command) else { return };
    let Some(ending) = rooted(dir, "ending", command) else { return };
    let agent = Agent::start(dir);
    for request in [&running, &ending] {
        agent.containers.launch(request);
        agent.started();
    }
    drop(agent);
    fs::write(ending.sandbox.join("go"), "").expect("a file");
    wait_until("one has ended", || !text(dir.join("run/containers/ending/status")).is_empty());
    let agent = Agent::start(dir);
    assert!(dir.join("scratch/running").exists());
    assert!(!dir.join("scratch/ending").exists(), "nothing uses it any more");
    fs::write(running.sandbox.join("go"), "").expect("a file");
    assert_eq!(agent.exited(), Some(4 << 8));
    assert_eq!(text(running.sandbox.join("stdout")), "up\nlow");
    wait_until("nothing is left", || is_clean(dir));
}

pub(crate) fn rules_366_and_367_volumes_appear_in_their_order(dir: &Path) {
    let command = "cat /data/a; cat rel/a; echo new > /data/new; echo x > /ro/x; echo x > /ro/deep/x; \
        cat /one; echo made > /tmp/made; ls /mnt/mesos/sandbox";
    let Some(mut request) = rooted(dir, "c1", command) else { return };
    let host = dir.join("host");
    fs::create_dir_all(host.join("deep")).expect("a folder");
    fs::write(host.join("a"), "a\n").expect("a file");
    let mount = |source: &Path, target: &str, read_only| Mount {
        source: Source::Host(source.to_path_buf()),
        target: PathBuf::from(target),
        read_only,
    };
    request.confinement.mounts = vec![
        mount(&host, "/data", false),
        mount(&host, "/ro", true),
        mount(&host.join("a"), "/one", true),
        mount(&host, "rel", false),
        Mount {
            source: Source::Sandbox {
                sandbox: request.sandbox.clone(),
                path: PathBuf::from("tmp"),
                owner: Some((12, 34)),
            },
            target: PathBuf::from("/tmp"),
            read_only: false,
        },
    ];
    let before = mounts();
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!(status, Some(0), "{err}");
    assert!(out.starts_with("a\na\na\n"), "{out}");
    assert_eq!(text(host.join("new")), "new\n");
    assert_eq!(err.matches("Read-only file system").count(), 2, "{err}");
    assert_eq!(text(request.sandbox.join("tmp/made")), "made\n");
    assert_eq!(fs::metadata(request.sandbox.join("tmp")).expect("a folder").uid(), 12);
    assert_eq!(mounts(), before);
}

/// Mounts of most hosts tell each other what is mounted below them; a container's only listen.
pub(crate) fn shared_mounts_of_the_host_hear_nothing_of_a_containers_but_are_heard(dir: &Path) {
    let command = "ls /data/inner; echo > /data/started; while [ ! -e /data/later/file ]; do sleep 0.05; done; \
        echo > /data/seen; while [ -e /data/later/file ]; do sleep 0.05; done";
    let Some(mut request) = rooted(dir, "c1", command) else { return };
    let (shared, inner) = (dir.join("shared"), dir.join("inner"));
    for folder in [&shared, &inner] {
        fs::create_dir(folder).expect("a folder");
    }
    fs::write(inner.join("found"), "").expect("a file");
    let memory = |place: &Path| {
        rustix::mount::mount(c"tmpfs", place, c"tmpfs", MountFlags::empty(), None).expect("mounted");
    };
    memory(&shared);
    rustix::mount::mount_change(&shared, MountPropagationFlags::SHARED).expect("shared");
    for name in ["inner", "later"] {
        fs::create_dir(shared.join(name)).expect("a folder");
    }
    let mount = |source: &Path, target: &str| Mount {
        source: Source::Host(source.to_path_buf()),
        target: PathBuf::from(target),
        read_only: false,
    };
    request.confinement.mounts = vec![mount(&shared, "/data"), mount(&inner, "/data/inner")];
    let before = mounts();
    let agent = Agent::start(dir);
    agent.containers.launch(&request);
    agent.started();
    wait_until("it runs", || shared.join("started").exists());
    let while_it_runs = mounts();
    memory(&shared.join("later"));
    fs::write(shared.join("later/file"), "").expect("a file");
    wait_until("it sees what the host has mounted", || shared.join("seen").exists());
    rustix::mount::unmount(shared.join("later"), UnmountFlags::empty()).expect("not in use");
    let status = agent.exited();
    rustix::mount::unmount(&shared, UnmountFlags::DETACH).expect("unmounted");
    assert_eq!(while_it_runs, before);
    assert_eq!((status, &*text(request.sandbox.join("stdout"))), (Some(0), "found\n"));
}

pub(crate) fn rule_366_volumes_without_an_image_need_a_place_on_the_host(dir: &Path) {
    if image(dir).is_none() {
        return;
    }
    let (host, place) = (dir.join("host"), dir.join("place"));
    fs::create_dir(&host).expect("a folder");
    fs::create_dir(&place).expect("a folder");
    fs::write(host.join("a"), "a\n").expect("a file");
    let mount = |source: &Path, target: &Path| Mount {
        source: Source::Host(source.to_path_buf()),
        target: target.to_path_buf(),
        read_only: true,
    };
    let mut request = shell(dir, "c1", "cat $PLACE/a below/here/a; pwd");
    request.environment.push(("PLACE".to_owned(), place.to_string_lossy().into_owned()));
    request.confinement.mounts = vec![mount(&host, &place), mount(&host, Path::new("below/here"))];
    let agent = Agent::start(dir);
    let (status, out, err) = agent.finish(&request);
    assert_eq!((status, out), (Some(0), format!("a\na\n{}\n", request.sandbox.display())), "{err}");
    assert_eq!(fs::read_dir(&place).expect("a folder").count(), 0, "the host does not see it");
    let mut request = shell(dir, "c2", "true");
    request.confinement.mounts = vec![mount(&host, &dir.join("missing"))];
    let refusal = agent.refusal(&request);
    assert!(refusal.contains("Failed to mount volume") && refusal.contains("/missing"), "{refusal}");
    assert!(!dir.join("missing").exists());
    let mut request = shell(dir, "c3", "true");
    request.confinement.mounts = vec![mount(&dir.join("nowhere"), &place)];
    assert!(agent.refusal(&request).ends_with("No such file or directory"));
    // A011: a link out of the sandbox is not a place for a mount.
    let mut request = shell(dir, "c4", "true");
    symlink(&place, request.sandbox.join("away")).expect("a link");
    request.confinement.mounts = vec![mount(&host, Path::new("away/x"))];
    assert!(agent.refusal(&request).contains("Failed to mount volume"));
    assert_eq!(fs::read_dir(&place).expect("a folder").count(), 0);
}

pub(crate) fn secrets_are_files_in_memory_that_nobody_writes_to(dir: &Path) {
    let secret = |target: PathBuf, owner| Mount {
        source: Source::Content { bytes: b"hush\0".to_vec(), owner },
        target,
        read_only: false,
    };
    let command = "cat /run/deep/key | wc -c; stat -c '%a %u %g' /run/deep/key; stat -f -c %T /run/deep/key; \
        echo x >> /run/deep/key; rm -f /run/deep/key; cat below/key | tr -d '\\0'";
    let Some(mut request) = rooted(dir, "c1", command) else { return };
    request.confinement.mounts =
        vec![secret("/run/deep/key".into(), Some((12, 34))), secret("below/key".into(), None)];
    let before = mounts();
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!((lines[0].trim(), lines[1]), ("5", "400 12 34"), "{out}{err}");
    assert!(lines[2].contains("ramfs") || lines[2].contains("858458f6"), "{out}");
    assert!(err.contains("Read-only file system"), "{err}");
    assert!(out.ends_with("hush"), "{out}{err}");
    assert_eq!(mounts(), before);
    // Without a root of its own the host sees the empty file that it is mounted over, and nothing of it.
    let mut request = shell(dir, "c2", "cat key | tr -d '\\0'");
    request.confinement.mounts = vec![secret("key".into(), None)];
    let (status, out, err) = agent.finish(&request);
    assert_eq!((status, &*out), (Some(0), "hush"), "{err}");
    assert_eq!(text(request.sandbox.join("key")), "");
    assert_eq!(mounts(), before);
}

pub(crate) fn a034_the_hosts_and_the_agents_own_folders_are_not_mounted(dir: &Path) {
    let Some(request) = rooted(dir, "c", "true") else { return };
    let link = dir.join("innocent");
    symlink("/proc", &link).expect("a link");
    let agent = Agent::start(dir);
    let run = dir.join("run");
    let paths =
        ["/", "/proc", "/sys", "/dev", "/proc/self/root", "/etc/../", "/etc/../etc/.."].map(PathBuf::from);
    for (n, path) in
        paths.into_iter().chain([link, run.clone(), run.join("containers"), dir.to_path_buf()]).enumerate()
    {
        let mut request = request.clone();
        request.id = format!("c{n}").as_str().into();
        request.confinement.mounts =
            vec![Mount { source: Source::Host(path.clone()), target: "/v".into(), read_only: true }];
        let refusal = agent.refusal(&request);
        assert!(refusal.contains("which no container may have"), "{}: {refusal}", path.display());
    }
}

pub(crate) fn a070_the_hosts_network_files_replace_what_an_image_has(dir: &Path) {
    let Some(request) = rooted(dir, "c1", "cat /etc/hosts; cat /etc/resolv.conf; echo x >> /etc/hosts")
    else {
        return;
    };
    let victim = dir.join("victim");
    fs::write(&victim, "kept").expect("a file");
    symlink(&victim, dir.join("image/etc/hosts")).expect("a link");
    symlink("/nowhere", dir.join("image/etc/resolv.conf")).expect("a link");
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    let host = |path: &str| fs::read_to_string(path).unwrap_or_default();
    assert_eq!(out, host("/etc/hosts") + &host("/etc/resolv.conf"), "{err}");
    assert!(err.contains("Read-only") || !Path::new("/etc/hosts").exists(), "{err}");
    assert_eq!(text(victim), "kept");
}

pub(crate) fn output_and_users_work_in_a_root(dir: &Path) {
    let Some(mut request) = rooted(dir, "c1", "id -u; id -g; id -G; echo more; touch /root-only mine") else {
        return;
    };
    request.credentials = Some(mezzo_container::Credentials { uid: 1234, gid: 1235, groups: vec![1235, 77] });
    std::os::unix::fs::chown(&request.sandbox, Some(1234), Some(1235)).expect("chown");
    request.stdout =
        Output::Rotated("stdout".to_owned(), mezzo_container::Rotation { size_max: 4096, files_kept: 1 });
    super::open_to_all(dir);
    let agent = Agent::start(dir);
    let (_, out, err) = agent.finish(&request);
    // A024: exactly these groups.
    assert_eq!(out, "1234\n1235\n1235 77\nmore\n", "{err}");
    assert!(err.contains("/root-only: Permission denied"), "{err}");
    assert_eq!(fs::metadata(request.sandbox.join("mine")).expect("a file").uid(), 1234);
    assert_eq!(fs::metadata(request.sandbox.join("stdout")).expect("a file").uid(), 1234);
    let scratch = fs::metadata(dir.join("scratch")).expect("a folder");
    assert_eq!(scratch.permissions().mode() & 0o777, 0o700, "A027");
}

pub(crate) fn what_is_missing_in_an_image_is_told(dir: &Path) {
    let Some(request) = rooted(dir, "c1", "true") else { return };
    let agent = Agent::start(dir);
    let mut missing = request.clone();
    missing.program = "/bin/nothing".to_owned();
    assert_eq!(agent.refusal(&missing), "Failed to execute '/bin/nothing': No such file or directory");
    let mut layer = request.clone();
    layer.id = "c2".into();
    let Some(root) = &mut layer.confinement.root else { panic!("a root") };
    root.layers.push(dir.join("no-layer"));
    let refusal = agent.refusal(&layer);
    assert!(
        refusal.starts_with("Failed to open image layer '") && refusal.contains("/no-layer'"),
        "{refusal}"
    );
    // A015.
    let mut start = request;
    start.id = "c3".into();
    start.confinement.working_directory = Some("/no/where".into());
    assert!(agent.refusal(&start).starts_with("Failed to change directory to '/no/where'"));
    wait_until("nothing is left", || is_clean(dir));
    let pids = fs::read_dir(dir.join("run/containers")).expect("a folder").count();
    assert_eq!(pids, 3, "the reasons are kept until they are removed");
    assert!(!alive(0));
}
