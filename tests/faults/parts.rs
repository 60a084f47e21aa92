//! Task groups of which one part is killed: a task, its supervisor, its init, the container around the group, the
//! agent, the master. Their tasks run from an image, with namespaces, control groups and a volume in common, and
//! have containers of their own, one in another.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use mezzo_images::Digest;
use serde_json::{Value, json};

use crate::{
    chaos::{Chaos, Cluster, Hits, Marks},
    pods::launch_group,
    scheduler::{Outcome, Place, Scheduler, command_task},
    support::{Folder, PATIENCE, is_root, request},
};

/// Tasks of the group.
const TASKS: usize = 3;
/// The one that is hit.
const HIT: &str = "task-001";
const BUSYBOX: &str = "/bin/busybox";

/// Where a group is hit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Task,
    Supervisor,
    /// The first process of the task's process namespace.
    Init,
    /// The container around the group, by the agent's API.
    Around,
}

/// An archive with a small root file system, as `docker save` writes it; `None` where tests cannot have one.
fn image(folder: &Path) -> Option<PathBuf> {
    if !Path::new(BUSYBOX).exists() {
        println!("skipped, needs the package busybox-static");
        return None;
    }
    let images = folder.join("images");
    let (root, parts) = (images.join("root"), images.join("parts"));
    fs::create_dir_all(root.join("bin")).expect("a folder");
    fs::create_dir_all(&parts).expect("a folder");
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("a program");
    for name in ["sh", "sleep", "ls", "wc", "readlink"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    let pack = |what: &Path, to: &Path| {
        let done =
            Command::new("tar").args([Path::new("-cf"), to, Path::new("-C"), what, Path::new(".")]).status();
        assert!(done.expect("run tar").success());
    };
    pack(&root, &parts.join("layer.tar"));
    let layer = fs::read(parts.join("layer.tar")).expect("the layer");
    let config = json!({
        "architecture": mezzo_images::Platform::default().architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]},
    });
    fs::write(parts.join("config.json"), config.to_string()).expect("a file");
    let manifest = json!([{"Config": "config.json", "RepoTags": ["small:latest"], "Layers": ["layer.tar"]}]);
    fs::write(parts.join("manifest.json"), manifest.to_string()).expect("a file");
    pack(&parts, &images.join("small.tar"));
    Some(images)
}

/// What its agent is told beside the usual.
fn flags(folder: &Path, images: &Path, cgroups_root: &str) -> Vec<String> {
    vec![
        "--isolation=filesystem/linux,docker/runtime,namespaces/pid,namespaces/ipc,cgroups/cpu,cgroups/mem,cgroups/pids"
            .to_owned(),
        "--image_providers=docker".to_owned(),
        format!("--docker_registry={}", images.display()),
        format!("--docker_store_dir={}", folder.join("store").display()),
        format!("--cgroups_root={cgroups_root}"),
    ]
}

/// Lets a task run from the image and see the marks and what the group has in common.
fn in_image(mut info: Value, marks: &Path) -> Value {
    info["container"] = json!({
        "type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "small"}}},
        "volumes": [
            {"container_path": marks, "host_path": marks, "mode": "RW"},
            {"container_path": "/shared", "mode": "RW", "source": {"type": "SANDBOX_PATH",
                "sandbox_path": {"type": "PARENT", "path": "shared"}}},
        ],
    });
    info
}

/// A running group.
struct Pod {
    cluster: Cluster,
    scheduler: Scheduler,
    marks: Marks,
    /// What only processes of this group have among their arguments.
    seconds: String,
    cgroups_root: String,
    folder: Folder,
}

impl Pod {
    /// Nothing where the test cannot run.
    fn start(name: &str) -> Option<Self> {
        let folder = Folder::new(name);
        let images = image(folder.path())?;
        let marks = Marks::new(folder.path());
        let cgroups_root = format!("mezzo-{name}-{}", std::process::id());
        let flags = flags(folder.path(), &images, &cgroups_root);
        let cluster =
            Cluster::start(folder.path(), &[], &flags.iter().map(String::as_str).collect::<Vec<_>>());
        let seconds = format!("8{}.{}", std::process::id(), cluster.agent.port);
        let (own, sleeps) = (marks.clone(), seconds.clone());
        let scheduler = Scheduler::start(cluster.master.port, TASKS, move |tasks, place| {
            let info = |task: &String| {
                let mark = own.path(task);
                let mark = mark.display();
                // Each waits until it sees all others in the volume that they share.
                let command = format!(
                    "trap 'echo asked >> {mark}; exit 0' TERM; : > /shared/{task}; \
                     while [ $(ls /shared | wc -l) -lt {TASKS} ]; do sleep 0.05; done; \
                     readlink /proc/self/ns/pid > {mark}; while :; do sleep {sleeps} & wait $!; done"
                );
                in_image(command_task(task, place, &command), own.folder())
            };
            vec![launch_group("parts", place, &tasks.iter().map(info).collect::<Vec<_>>())]
        });
        let pod = Self { cluster, scheduler, marks, seconds, cgroups_root, folder };
        pod.or_fail(pod.scheduler.wait_for("TASK_RUNNING", TASKS));
        let began = |n: usize| pod.marks.read(&format!("task-{n:03}")).contains("pid:[");
        pod.wait("the tasks see each other", || (0..TASKS).all(began));
        let namespaces: Vec<_> = (0..TASKS).map(|n| pod.marks.read(&format!("task-{n:03}"))).collect();
        assert!(namespaces[0] != namespaces[1] && namespaces[1] != namespaces[2], "{namespaces:?}");
        Some(pod)
    }

    fn or_fail<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|error| self.cluster.fail(0, &error))
    }

    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            if start.elapsed() > PATIENCE {
                self.cluster.fail(0, what);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn agent(&self, call: &Value) -> Value {
        let headers = [("Content-Type", "application/json")];
        let (status, body) =
            request(self.cluster.agent.port, "POST", "/api/v1", &headers, call.to_string().as_bytes())
                .expect("the agent answers");
        assert_eq!(status, 200, "{call}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// Id and process of a task's container.
    fn container(&self, task: &str) -> (Value, u32) {
        let headers = [("Content-Type", "application/json")];
        let (_, body) =
            request(self.cluster.master.port, "POST", "/api/v1", &headers, br#"{"type": "GET_TASKS"}"#)
                .expect("the master answers");
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let tasks = answer["get_tasks"]["tasks"].as_array().expect("tasks").clone();
        let task = tasks.iter().find(|known| known["task_id"]["value"] == task).expect("the task");
        let status = task["statuses"].as_array().and_then(|all| all.last()).expect("a status");
        let status = &status["container_status"];
        let pid = status["executor_pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process");
        (status["container_id"].clone(), pid)
    }

    /// Starts a container in another.
    fn nest(&self, name: &str, parent: &Value) -> Value {
        let id = json!({"value": name, "parent": parent});
        self.agent(&json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": {
            "container_id": id, "command": {"value": format!("exec sleep {}", self.seconds)}}}));
        id
    }

    fn hit(&self, part: Part, (id, pid): &(Value, u32)) {
        let pid = match part {
            Part::Task => *pid,
            Part::Supervisor => parent_of(*pid),
            Part::Init => init_of(*pid),
            Part::Around => {
                let call =
                    json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": id["parent"]}});
                self.agent(&call);
                return;
            }
        };
        let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        assert!(killed.expect("run kill").success(), "{part:?}");
    }

    /// Every task ended once, and nothing of any of them is left. How each ended, with its mark.
    fn end(self) -> Vec<(Outcome, String)> {
        let start = Instant::now();
        let left = || {
            processes(&self.seconds)
                .or_else(|| self.groups())
                .or_else(|| inside(&self.folder.path().join("run/containers")))
                .or_else(|| {
                    let scratch = self.folder.path().join("agent/provisioner/containers");
                    inside(&scratch.join(".removed")).or_else(|| inside(&scratch))
                })
                .or_else(|| {
                    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
                    let own = self.folder.path().to_string_lossy().into_owned();
                    mounts.lines().find(|line| line.contains(&own)).map(str::to_owned)
                })
        };
        while let Some(left) = left() {
            if start.elapsed() > PATIENCE {
                self.cluster.fail(0, &format!("left behind: {left}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let Self { cluster, scheduler, cgroups_root, marks, folder: _folder, .. } = self;
        let outcomes = scheduler.finish().unwrap_or_else(|error| cluster.fail(0, &error));
        cluster.check(0);
        assert_eq!(outcomes.len(), TASKS, "each ended once");
        drop(cluster);
        for root in hierarchies(&cgroups_root) {
            drop(fs::remove_dir(root));
        }
        let with_mark = |outcome: Outcome| {
            let mark = marks.read(&outcome.task);
            (outcome, mark)
        };
        outcomes.into_iter().map(with_mark).collect()
    }

    fn groups(&self) -> Option<String> {
        let entries = hierarchies(&self.cgroups_root).filter_map(|root| fs::read_dir(root).ok()).flatten();
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.is_dir())
            .map(|path| path.display().to_string())
    }
}

/// Where the agent's control groups are in each hierarchy.
fn hierarchies(root: &str) -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    all.chain([PathBuf::from("/sys/fs/cgroup")]).map(move |path| path.join(root))
}

/// Something in a folder but the folder of what is being deleted.
fn inside(folder: &Path) -> Option<String> {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // What all containers share, and where what goes is put, are no container's.
    let shared = |entry: &fs::DirEntry| entry.file_name() == ".removed" || entry.file_name() == ".places";
    entries.find(|entry| !shared(entry)).map(|entry| entry.path().display().to_string())
}

/// A process with this among its arguments.
fn processes(argument: &str) -> Option<String> {
    let mut all = fs::read_dir("/proc").expect("processes").flatten();
    all.find_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(argument).then(|| format!("process {}: {line}", entry.file_name().display()))
    })
}

fn status_of(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn parent_of(pid: u32) -> u32 {
    status_of(pid, "PPid").and_then(|pid| pid.parse().ok()).expect("a parent")
}

/// The first process of a process's namespace.
fn init_of(pid: u32) -> u32 {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(pid).expect("a namespace");
    let all = fs::read_dir("/proc").expect("processes").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| {
            namespace(*pid).is_some_and(|own| own == wanted)
                && status_of(*pid, "NSpid").is_some_and(|all| all.split_whitespace().last() == Some("1"))
        })
        .expect("a first process")
}

/// Rules 312, 314, 358 and 360 (default executor, containers), with real processes.
#[test]
fn rules_312_and_358_a_group_ends_as_a_whole_whichever_part_is_killed() {
    if !is_root("rules_312_and_358_a_group_ends_as_a_whole_whichever_part_is_killed") {
        return;
    }
    for part in [Part::Task, Part::Supervisor, Part::Init, Part::Around] {
        // Killed under the agent's eyes, or while there is none.
        for away in [false, true] {
            if part == Part::Around && away {
                // That is asked of the agent.
                continue;
            }
            let Some(mut pod) = Pod::start(&format!("parts-{part:?}-{away}").to_lowercase()) else { return };
            let hit = pod.container(HIT);
            if away {
                // With containers inside: a test of the agent's core, rule_358_*.
                pod.cluster.agent.kill();
            } else {
                let inner = pod.nest("inner", &hit.0);
                pod.nest("innermost", &inner);
            }
            pod.hit(part, &hit);
            if away {
                pod.cluster.agent.start();
            }
            for (Outcome { task, state, message }, mark) in pod.end() {
                let asked = mark.ends_with("asked\n");
                let what =
                    format!("{part:?}, agent away {away}: {task} is {state} ({message}), asked {asked}");
                match (part, task == HIT) {
                    (Part::Around, _) => assert_eq!(state, "TASK_FAILED", "{what}"),
                    (_, true) => assert!(state == "TASK_FAILED" && !asked, "{what}"),
                    // By its kill policy: asked first.
                    (_, false) => assert!(state == "TASK_KILLED" && asked, "{what}"),
                }
            }
            println!("{part:?}, agent away {away}: one end each, nothing left");
        }
    }
}

/// What runs is not disturbed by the end of either daemon, and ends by the rules afterwards.
#[test]
fn rule_319_a_group_goes_on_without_its_agent_or_master() {
    if !is_root("rule_319_a_group_goes_on_without_its_agent_or_master") {
        return;
    }
    let Some(mut pod) = Pod::start("parts-daemons") else { return };
    let before: Vec<_> = (0..TASKS).map(|n| pod.container(&format!("task-{n:03}"))).collect();
    let inner = pod.nest("inner", &before[1].0);
    pod.nest("innermost", &inner);
    for (agent, master) in [(true, false), (false, true), (true, true)] {
        if agent {
            pod.cluster.agent.kill();
        }
        if master {
            pod.cluster.master.kill();
            pod.cluster.master.start();
        }
        if agent {
            pod.cluster.agent.start();
        }
        // Rule 360: both containers inside are there as well.
        let containers = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true}});
        let known = pod.agent(&containers);
        let known = known["get_containers"]["containers"].as_array().expect("containers").len();
        assert_eq!(known, 1 + TASKS + 2);
        for (_, pid) in &before {
            assert!(Path::new(&format!("/proc/{pid}")).exists(), "process {pid} goes on");
        }
    }
    // The agent's registration lets the master know of its tasks again.
    let start = Instant::now();
    while pod.scheduler.tasks_seen_in("TASK_KILLED").len() < TASKS {
        if start.elapsed() > PATIENCE {
            pod.cluster.fail(0, "the group is killed");
        }
        // A call that meets daemons on their way back is repeated, as schedulers do.
        pod.scheduler.call(json!({"type": "KILL", "kill": {"task_id": {"value": HIT}}}));
        thread::sleep(Duration::from_millis(500));
    }
    for (Outcome { task, state, message }, mark) in pod.end() {
        assert_eq!(state, "TASK_KILLED", "{task}: {message}");
        let asked = mark.matches("asked\n").count();
        assert_eq!(asked, 1, "{task} was asked once");
    }
}

/// The agent, the master or both are killed at any moment: also while groups are on their way to it and while
/// their containers are made.
#[test]
fn groups_apart_from_the_host_are_not_disturbed_by_restarts() {
    if !is_root("groups_apart_from_the_host_are_not_disturbed_by_restarts") {
        return;
    }
    let folder = Folder::new("parts-images");
    let Some(images) = image(folder.path()) else { return };
    for seed in 0..3 {
        let cgroups_root = format!("mezzo-parts-{seed}-{}", std::process::id());
        let flags = flags(folder.path(), &images, &cgroups_root);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let hits = if seed == 0 { Hits::AgentAlways } else { Hits::Any };
        let chaos = Chaos { name: "parts", seed, tasks: 30, hits, kills: 3..6, agent: &flags };
        let outcome = chaos.run(|marks, mut random| {
            move |tasks: &[String], place: &Place| {
                let groups = tasks.len().div_ceil(TASKS) as f64;
                if place.disk < groups || place.mem < 16.0 * tasks.len() as f64 + 32.0 * groups {
                    return vec![];
                }
                let groups = tasks.chunks(TASKS).map(|group| {
                    let infos: Vec<_> = group
                        .iter()
                        .map(|task| {
                            let command = marks.command(task, random.below(1200));
                            in_image(command_task(task, place, &command), marks.folder())
                        })
                        .collect();
                    launch_group(&group[0], place, &infos)
                });
                groups.collect()
            }
        });
        // The agent was killed as soon as the last end was known, and had no time to clear up.
        for root in hierarchies(&cgroups_root) {
            let groups = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
            for group in groups.chain([root.clone()]).filter(|path| path.is_dir()) {
                drop(fs::remove_dir(group));
            }
        }
        println!("groups apart from the host, seed {seed}: {outcome}");
    }
}
