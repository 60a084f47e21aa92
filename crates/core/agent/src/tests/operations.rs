//! Operations on the agent's own resources.

use mezzo_mesos::v1;
use mezzo_protocol::link::{self, to_agent, to_master};
use v1::offer::operation;

use super::harness::{World, executor, task, visible};
use crate::resources::scalar;

fn reserved(name: &str, value: f64) -> v1::Resource {
    let mut resource = scalar(name, value, Some("eng"));
    resource.reservations = vec![v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some("eng".into()),
        principal: Some("p".into()),
        ..Default::default()
    }];
    resource
}

fn volume(value: f64) -> v1::Resource {
    let mut volume = reserved("disk", value);
    volume.disk = Some(Box::new(v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence { id: "v".into(), principal: None }),
        volume: Some(v1::Volume {
            mode: v1::volume::Mode::Rw as i32,
            container_path: "data".into(),
            ..Default::default()
        }),
        source: None,
    }));
    volume
}

fn apply(world: &mut World, id: Option<&str>, uuid: u8, mut operation: v1::offer::Operation) -> Vec<String> {
    operation.id = id.map(|id| v1::OperationId { value: id.into() });
    let version = world.agent.resource_version.to_vec();
    world.master(to_agent::Message::ApplyOperation(Box::new(link::ApplyOperation {
        framework_id: Some(v1::FrameworkId { value: "F".into() }),
        operation: Some(operation),
        operation_uuid: vec![uuid; 16],
        resource_version_uuid: version,
    })))
}

fn reserve(resources: Vec<v1::Resource>) -> v1::offer::Operation {
    v1::offer::Operation {
        r#type: Some(operation::Type::Reserve as i32),
        reserve: Some(operation::Reserve { source: vec![], resources }),
        ..Default::default()
    }
}

fn create(volumes: Vec<v1::Resource>) -> v1::offer::Operation {
    v1::offer::Operation {
        r#type: Some(operation::Type::Create as i32),
        create: Some(operation::Create { volumes }),
        ..Default::default()
    }
}

/// Disk that is reserved, with the size of its volumes.
fn disks(world: &World) -> (f64, f64) {
    let total = world.agent.snapshot().total;
    let kept: Vec<v1::Resource> = total.iter().filter(|r| !r.reservations.is_empty()).cloned().collect();
    let volumes: Vec<v1::Resource> = kept.iter().filter(|r| r.disk.is_some()).cloned().collect();
    let sum = |list: &[v1::Resource]| crate::resources::scalar_sum(list, "disk", false);
    (sum(&kept), sum(&volumes))
}

#[test]
fn rule_187_to_196_reserve_create_destroy_unreserve() {
    let mut world = World::new();
    let lines = apply(&mut world, None, 1, reserve(vec![reserved("disk", 128.0)]));
    assert_eq!(lines, ["persist resources", "operation OPERATION_FINISHED"]);
    assert_eq!(disks(&world), (128.0, 0.0));
    let lines = apply(&mut world, None, 2, create(vec![volume(64.0)]));
    assert_eq!(lines, ["persist resources", "volume true", "operation OPERATION_FINISHED"]);
    assert_eq!(disks(&world), (128.0, 64.0));
    // Rule 424: a task may use it, and finds it in its sandbox (rule 402).
    let mut info = task("t");
    info.resources.push(volume(64.0));
    let run = world.run(vec![info]);
    world.launch(run);
    assert_eq!(world.launches[0].volumes, [("/data/volumes/roles/eng/v".into(), "data".into(), false)]);
    let destroy = v1::offer::Operation {
        r#type: Some(operation::Type::Destroy as i32),
        destroy: Some(operation::Destroy { volumes: vec![volume(64.0)] }),
        ..Default::default()
    };
    let lines = apply(&mut world, None, 3, destroy);
    assert_eq!(lines, ["persist resources", "volume false", "operation OPERATION_FINISHED"]);
    let unreserve = v1::offer::Operation {
        r#type: Some(operation::Type::Unreserve as i32),
        unreserve: Some(operation::Unreserve { resources: vec![reserved("disk", 128.0)] }),
        ..Default::default()
    };
    apply(&mut world, None, 4, unreserve);
    assert_eq!(disks(&world), (0.0, 0.0));
    let total = world.agent.snapshot().total;
    assert_eq!(crate::resources::scalar_sum(&total, "disk", false), 10_240.0);
}

#[test]
fn rule_197_and_198_grow_and_shrink() {
    let mut world = World::new();
    apply(&mut world, None, 1, reserve(vec![reserved("disk", 128.0)]));
    apply(&mut world, None, 2, create(vec![volume(64.0)]));
    let grow = v1::offer::Operation {
        r#type: Some(operation::Type::GrowVolume as i32),
        grow_volume: Some(Box::new(operation::GrowVolume {
            volume: volume(64.0),
            addition: reserved("disk", 32.0),
        })),
        ..Default::default()
    };
    apply(&mut world, None, 3, grow);
    assert_eq!(disks(&world), (128.0, 96.0));
    let shrink = v1::offer::Operation {
        r#type: Some(operation::Type::ShrinkVolume as i32),
        shrink_volume: Some(Box::new(operation::ShrinkVolume {
            volume: volume(96.0),
            subtract: v1::value::Scalar { value: 90.0 },
        })),
        ..Default::default()
    };
    apply(&mut world, None, 4, shrink);
    assert_eq!(disks(&world), (128.0, 6.0));
}

#[test]
fn rule_204_a_status_is_repeated_until_acknowledged() {
    let mut world = World::new();
    let lines = apply(&mut world, Some("op"), 1, reserve(vec![reserved("cpus", 1.0)]));
    assert_eq!(lines, ["persist resources", "persist operation", "operation OPERATION_FINISHED"]);
    assert_eq!(crate::query::operations(&world.agent.snapshot()).operations.len(), 1);
    // The same request again is known already.
    assert!(apply(&mut world, Some("op"), 1, reserve(vec![reserved("cpus", 1.0)])).is_empty());
    assert_eq!(visible(world.pass(10.0)), ["operation OPERATION_FINISHED"]);
    assert_eq!(visible(world.pass(20.0)), ["operation OPERATION_FINISHED"]);
    // Over a restart as well.
    world.restart(vec![]);
    world.step(crate::Input::LinkUp);
    world.pass(1.0);
    assert_eq!(visible(world.registered()), ["operation OPERATION_FINISHED"]);
    let Some(to_master::Message::OperationStatusUpdate(update)) = world.told.last().cloned() else {
        panic!("the status was sent")
    };
    let uuid = update.status.and_then(|s| s.uuid).map(|u| u.value).unwrap_or_default();
    let ack = |status_uuid| {
        to_agent::Message::AcknowledgeOperation(link::AcknowledgeOperation {
            operation_uuid: vec![1; 16],
            status_uuid,
        })
    };
    assert!(world.master(ack(vec![0; 16])).is_empty());
    assert_eq!(world.master(ack(uuid)), ["persist operation ack"]);
    world.restart(vec![]);
    assert!(crate::query::operations(&world.agent.snapshot()).operations.is_empty());
}

#[test]
fn operations_that_cannot_be_applied_are_dropped() {
    let mut world = World::new();
    let lines = apply(&mut world, Some("op"), 1, create(vec![volume(64.0)]));
    assert_eq!(visible(lines), ["operation OPERATION_DROPPED"]);
    assert_eq!(disks(&world), (0.0, 0.0));
    let outdated = link::ApplyOperation {
        operation: Some(reserve(vec![reserved("cpus", 1.0)])),
        operation_uuid: vec![2; 16],
        resource_version_uuid: vec![9; 16],
        ..Default::default()
    };
    let lines = world.master(to_agent::Message::ApplyOperation(Box::new(outdated)));
    assert_eq!(visible(lines), ["operation OPERATION_DROPPED"]);
    let unknown = link::ReconcileOperations { operation_uuids: vec![vec![1; 16], vec![7; 16]] };
    let lines = world.master(to_agent::Message::ReconcileOperations(unknown));
    assert_eq!(visible(lines), ["operation OPERATION_DROPPED"]);
}

#[test]
fn rule_317_a_volume_of_a_task_is_in_the_sandbox_of_its_executor_too() {
    let mut world = World::new();
    apply(&mut world, None, 1, reserve(vec![reserved("disk", 128.0)]));
    apply(&mut world, None, 2, create(vec![volume(64.0)]));
    let mut holder = task("a");
    holder.resources.push(volume(64.0));
    let run = link::Run {
        executor: Some(executor("pod", v1::executor_info::Type::Default)),
        group: true,
        ..world.run(vec![holder, task("b")])
    };
    world.launch(run);
    let pod = world.last_container();
    world.started(&pod, 0);
    let data = [("/data/volumes/roles/eng/v".to_owned(), "data".to_owned(), false)];
    let of = |n: usize| world.launches[n].volumes.clone();
    assert_eq!(of(0), data, "the executor's");
    assert_eq!(of(1), data, "that of the task that holds it");
    assert!(of(2).is_empty(), "no other's");
}
