//! Where sandboxes lie, how they are shown, and when they are deleted.

use mezzo_mesos::v1;
use mezzo_protocol::link;

use super::harness::{World, executor, task, visible};
use crate::{Effect, Input, LaunchStage, query, spec::volume_path};

#[test]
fn rule_394_and_399_place_and_names() {
    let mut world = World::new();
    world.launch_command("t");
    let container = world.last_container();
    let directory = world.launches[0].sandbox.clone();
    assert_eq!(*directory, format!("/data/agents/S0/frameworks/F/executors/t/runs/{container}"));
    let effects = world.agent.step(world.now, &mut world.dice, Input::Started { container, pid: 1 });
    let names: Vec<&str> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::Attach { virtual_path, .. } => Some(virtual_path.as_str()),
            _ => None,
        })
        .collect();
    let latest = "/data/agents/S0/frameworks/F/executors/t/runs/latest";
    assert_eq!(names, [&*directory, latest, "/frameworks/F/executors/t/runs/latest"]);
    let run = directory.rsplit('/').next().expect("a name");
    let links = |e: &Effect| matches!(e, Effect::Link { path, target } if path == latest && target == run);
    assert!(effects.iter().any(links));
}

#[test]
fn rule_316_and_399_tasks_of_a_group_are_found_below_their_executor() {
    let mut world = World::new();
    let run = link::Run {
        executor: Some(executor("pod", v1::executor_info::Type::Default)),
        group: true,
        ..world.run(vec![task("a"), task("b")])
    };
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    let directory = world.launches[0].sandbox.clone();
    let child = world.last_container();
    let sandbox = world.launches[2].sandbox.clone();
    let effects = world.agent.step(world.now, &mut world.dice, Input::Started { container: child, pid: 7 });
    let name = format!("{directory}/tasks/b");
    let is_link =
        |e: &Effect| matches!(e, Effect::Link { path, target } if *path == name && **target == *sandbox);
    assert!(effects.iter().any(is_link), "in the sandbox of the executor");
    let names: Vec<&str> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::Attach { virtual_path, real_path } if *real_path == sandbox => {
                Some(virtual_path.as_str())
            }
            _ => None,
        })
        .collect();
    assert_eq!(names, [name.as_str(), "/frameworks/F/executors/pod/runs/latest/tasks/b"]);
}

#[test]
fn rule_402_and_403_volumes() {
    let config = super::harness::config();
    let path = |role: &str, source: Option<v1::resource::disk_info::Source>| {
        let resource = v1::Resource {
            reservations: vec![v1::resource::ReservationInfo {
                role: Some(role.into()),
                ..Default::default()
            }],
            disk: Some(Box::new(v1::resource::DiskInfo {
                persistence: Some(v1::resource::disk_info::Persistence { id: "v".into(), principal: None }),
                source,
                ..Default::default()
            })),
            ..Default::default()
        };
        volume_path(&config, &resource)
    };
    use v1::resource::disk_info::{Source, source};
    assert_eq!(path("eng/web", None).as_deref(), Some("/data/volumes/roles/eng web/v"));
    let on_path = Source {
        r#type: source::Type::Path as i32,
        path: Some(source::Path { root: Some("/big".into()) }),
        ..Default::default()
    };
    assert_eq!(path("eng", Some(on_path)).as_deref(), Some("/big/volumes/roles/eng/v"));
    let mount = Source {
        r#type: source::Type::Mount as i32,
        mount: Some(source::Mount { root: Some("/mnt/a".into()) }),
        ..Default::default()
    };
    assert_eq!(path("eng", Some(mount)).as_deref(), Some("/mnt/a"));
}

#[test]
fn rule_400_sandboxes_go_when_they_are_old() {
    let mut world = World::new();
    let container = world.running("t");
    let sandbox = world.launches[0].sandbox.clone();
    world.exited(&container, 0);
    world.acknowledge_all();
    world.step(Input::LinkDown);
    assert_eq!(world.agent.snapshot().gc_pending, 3);
    assert_eq!(visible(world.pass(60.0)), ["measure"]);
    // Half of the disk used: 1000 s * (1 - 0.1 - 0.5).
    world.step(Input::DiskUsage(0.5));
    let lines = visible(world.pass(345.0));
    assert!(lines.contains(&format!("delete {sandbox}")), "{lines:?}");
    assert!(lines.contains(&"delete /data/agents/S0/frameworks/F".to_owned()), "{lines:?}");
    let lines = world.step(Input::SandboxDeleted(sandbox.clone()));
    assert_eq!(lines[0], format!("detach {sandbox}"));
    assert_eq!(lines.last().map(String::as_str), Some("persist sandbox deleted"));
    world.step(Input::SandboxDeleted("/data/agents/S0/frameworks/F".into()));
    world.restart(vec![]);
    assert!(world.states().is_empty());
    assert!(world.agent.snapshot().completed_frameworks.is_empty());
}

#[test]
fn rule_400_a_full_disk_deletes_at_once() {
    let mut world = World::new();
    let container = world.running("t");
    world.exited(&container, 0);
    world.acknowledge_all();
    let lines = visible(world.step(Input::DiskUsage(0.95)));
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn rule_401_a_new_task_takes_the_folders_back() {
    let mut world = World::new();
    let container = world.running("t");
    world.exited(&container, 0);
    world.acknowledge_all();
    world.running("u");
    // The framework's folder is in use; the ended run and its executor are not.
    assert_eq!(world.agent.snapshot().gc_pending, 2);
    world.running("t");
    assert_eq!(world.agent.snapshot().gc_pending, 1);
}

#[test]
fn rule_400_leftovers_of_earlier_lives_are_collected() {
    let mut world = World::new();
    world.running("t");
    let used = world.launches[0].sandbox.clone();
    world.step(Input::LinkDown);
    let changed = world.now - std::time::Duration::from_secs(899);
    let left = "/data/agents/S0/frameworks/G/executors/e/runs/c";
    let folders = vec![
        (used, changed),
        (left.into(), changed),
        ("/data/agents/OLD".into(), changed),
        ("/data/agents/S0".into(), changed),
    ];
    assert!(world.step(Input::SandboxesFound(folders)).is_empty());
    assert_eq!(visible(world.pass(1.0)), ["delete /data/agents/OLD".to_owned(), format!("delete {left}")]);
}

#[test]
fn an_executor_whose_sandbox_could_not_be_made_leaves_no_history() {
    // As recorded: a command task for a user that does not exist is reported, and that is all.
    let mut world = World::new();
    world.running("other");
    world.launch_command("t");
    let container = world.last_container();
    let message = "Failed to create executor directory".to_owned();
    world.step(Input::LaunchFailed { container, stage: LaunchStage::Sandbox, message });
    world.acknowledge_all();
    let state = world.agent.snapshot();
    assert!(query::tasks(&state).completed_tasks.is_empty());
    assert!(query::executors(&state).completed_executors.is_empty());
}
