use std::sync::Arc;

use mezzo_mesos::v1;
use mezzo_resources::{Form, Resource, Resources, Scalar};
use mezzo_services_model::{
    App, AppVolume, Engine, Instance, InstanceId, NoMatch, Operator, PersistentKind, PersistentVolume,
    ReadMode, ReservationState, RunSpec, VolumeSource,
};

use crate::{
    fixtures::{
        NOW, World, app, constraint, container, definition, framework, offer, opened, pod, pod_container,
        spec, waiting,
    },
    launch::release,
    matching::Placed,
};

fn volume(kind: PersistentKind, size: u64) -> PersistentVolume {
    PersistentVolume { kind, size, max_size: None, profile_name: None, constraints: Vec::new() }
}

fn resident(volumes: &[PersistentVolume]) -> App {
    let mut one = app("/db");
    one.resources.disk = 10.0;
    one.port_definitions = vec![definition(0, None)];
    let mut with = container(Engine::Mesos, None);
    for (i, volume) in volumes.iter().enumerate() {
        with.volumes.push(AppVolume {
            container_path: format!("data{i}"),
            source: VolumeSource::Persistent(volume.clone()),
            mode: ReadMode::Rw,
        });
    }
    one.container = Some(with);
    one
}

/// The offer that shows what was reserved and made: what the master does with the operations.
fn after(before: &v1::Offer, operations: &[v1::offer::Operation]) -> v1::Offer {
    let mut all = Resources::from_proto(&before.resources).unwrap();
    for operation in operations {
        if let Some(reserve) = &operation.reserve {
            let reserved = Resources::from_proto(&reserve.resources).unwrap();
            assert!(all.checked_sub(&reserved.map(Resource::pop_reservation)), "{all} has not {reserved}");
            all += reserved;
        }
        if let Some(create) = &operation.create {
            let volumes = Resources::from_proto(&create.volumes).unwrap();
            let bare = volumes.map(|volume| {
                let source = volume.disk_source().cloned();
                let disk = source
                    .map(|source| v1::resource::DiskInfo { source: Some(source), ..Default::default() });
                volume.with_disk(disk)
            });
            assert!(all.checked_sub(&bare), "{all} has not {bare}");
            all += volumes;
        }
    }
    v1::Offer { resources: all.to_proto(Form::PostRefinement), ..before.clone() }
}

fn reserved(world: &mut World, run_spec: &RunSpec) -> (v1::Offer, Instance) {
    let before = offer("h1", "cpus:4;mem:4096;disk:1000;ports:[31000-31009]");
    let placement = world.first(before.clone(), run_spec).unwrap();
    (after(&before, &placement.operations), placement.instance)
}

#[test]
fn marathon_rules_155_to_158_reserve_then_launch() {
    let mut world = World::new();
    world.config.principal = Some("me".into());
    let run_spec = spec(resident(&[volume(PersistentKind::Root, 100)]));
    let before = offer("h1", "cpus:4;mem:4096;disk:1000;ports:[31000-31009]");
    let placement = world.first(before.clone(), &run_spec).unwrap();
    let kinds: Vec<_> = placement.operations.iter().map(v1::offer::Operation::r#type).collect();
    assert_eq!(kinds, [v1::offer::operation::Type::Reserve, v1::offer::operation::Type::Create]);
    // Rule 156.
    let reserve = placement.operations[0].reserve.as_ref().unwrap();
    assert_eq!(reserve.resources.len(), 4, "cpus, mem, disk, ports: disk is one amount here");
    for resource in &reserve.resources {
        let reservation = resource.reservations.last().unwrap();
        assert_eq!(
            (reservation.role.as_deref(), reservation.principal.as_deref()),
            (Some("web"), Some("me"))
        );
        let labels: Vec<(&str, &str)> = reservation
            .labels
            .iter()
            .flat_map(|labels| &labels.labels)
            .map(|label| (label.key.as_str(), label.value.as_deref().unwrap_or("")))
            .collect();
        assert_eq!(labels, [("marathon_framework_id", "f1"), ("marathon_task_id", "db.instance-u1")]);
    }
    let create = placement.operations[1].create.as_ref().unwrap();
    let info = create.volumes[0].disk.as_ref().unwrap();
    let id = &info.persistence.as_ref().unwrap().id;
    assert!(id.starts_with("db#data0#") && id.len() == "db#data0#".len() + 36, "{id}");
    assert_eq!(info.volume.as_ref().unwrap().container_path, "data0");
    // Rule 158.
    let instance = &placement.instance;
    let deadline = NOW + world.config.reservation_timeout;
    let kept = instance.reservation.as_ref().unwrap();
    assert_eq!(kept.state, ReservationState::New { deadline });
    assert_eq!(kept.volumes[0].to_string(), *id);
    assert_eq!((instance.incarnation, instance.agent.as_ref().unwrap().host.as_str()), (0, "h1"));

    let placed = Placed::of(&run_spec, [instance]);
    let mut offer = opened(after(&before, &placement.operations));
    assert!(offer.keeps_for(&framework(), &instance.id));
    assert_eq!(offer.keepers(&framework()), std::slice::from_ref(&instance.id));
    let mut launched = world.place(&mut offer, &run_spec, instance, &placed).unwrap();
    assert_eq!(launched.instance.reservation.as_ref().unwrap().state, ReservationState::Launched);
    assert_eq!(launched.instance.incarnation, 1);
    let task = launched.operations.remove(0).launch.unwrap().task_infos.remove(0);
    let all = Resources::from_proto(&task.resources).unwrap();
    assert_eq!(all.persistent_volumes().scalar("disk"), Scalar::from_whole(100));
    assert!(all.iter().all(|resource| resource.is_dynamically_reserved()));
    let rest = world.place(&mut offer, &run_spec, instance, &placed).unwrap_err();
    assert_eq!(rest.reasons(), [NoMatch::NoCorrespondingReservationFound]);
}

#[test]
fn marathon_rule_157_only_what_is_unreserved_is_reserved() {
    let run_spec = spec(resident(&[volume(PersistentKind::Root, 100)]));
    let other = offer("h1", "cpus(web):4;mem(web):4096;disk(web):1000;ports(web):[31000-31009]");
    let mismatch = World::new().first(other, &run_spec).unwrap_err();
    assert_eq!(mismatch.first(), NoMatch::UnfulfilledRole);
}

#[test]
fn marathon_rule_159_relaunched_where_its_volume_is() {
    let mut world = World::new();
    let run_spec = spec(resident(&[volume(PersistentKind::Root, 100)]));
    let (shown, instance) = reserved(&mut world, &run_spec);
    let placed = Placed::new(&run_spec);
    let elsewhere = offer("h2", "cpus:4;mem:4096;disk:1000;ports:[31000-31009]");
    let mismatch = world.place(&mut opened(elsewhere), &run_spec, &instance, &placed).unwrap_err();
    assert_eq!(
        mismatch.details(),
        ["wanted: what is reserved for this instance, on agent a-h1; this is another"]
    );
    let first = world.place(&mut opened(shown.clone()), &run_spec, &instance, &placed).unwrap().instance;
    let second = world.place(&mut opened(shown), &run_spec, &first, &placed).unwrap().instance;
    assert_eq!((first.incarnation, second.incarnation), (1, 2));
    assert_eq!(second.tasks["_app"].id.as_str(), "db.instance-u1._app.2");
    assert_eq!(second.tasks["_app"].host_ports, first.tasks["_app"].host_ports, "the reserved port stays");
    assert_eq!(second.reservation.unwrap().volumes, instance.reservation.unwrap().volumes);
}

#[test]
fn marathon_rule_155_a_lost_volume_is_told() {
    let mut world = World::new();
    let run_spec = spec(resident(&[volume(PersistentKind::Root, 100)]));
    let (mut shown, instance) = reserved(&mut world, &run_spec);
    shown.resources.retain(|resource| resource.disk.is_none());
    let mut offer = opened(shown);
    let before = offer.clone();
    let mismatch = world.place(&mut offer, &run_spec, &instance, &Placed::new(&run_spec)).unwrap_err();
    assert_eq!(mismatch.reasons(), [NoMatch::NoCorrespondingReservationFound]);
    assert_eq!(offer.left, before.left, "nothing was taken");
}

#[test]
fn marathon_rule_161_what_nobody_wants_is_given_up() {
    let mut world = World::new();
    let run_spec = spec(resident(&[volume(PersistentKind::Root, 100)]));
    let (shown, instance) = reserved(&mut world, &run_spec);
    let mut offer = opened(shown);
    assert!(release(&mut offer, &framework(), &|_| true).is_empty());
    let other = v1::FrameworkId { value: "other".into() };
    assert!(release(&mut offer, &other, &|_| false).is_empty(), "another framework's");
    let operations = release(&mut offer, &framework(), &|id: &InstanceId| *id != instance.id);
    assert_eq!(operations.len(), 2);
    let volumes = &operations[0].destroy.as_ref().unwrap().volumes;
    assert_eq!((volumes.len(), volumes[0].disk.is_some()), (1, true));
    let unreserved = Resources::from_proto(&operations[1].unreserve.as_ref().unwrap().resources).unwrap();
    assert_eq!(unreserved.scalar("disk"), Scalar::from_whole(110));
    assert!(unreserved.persistent_volumes().is_empty());
    assert!(release(&mut offer, &framework(), &|_| false).is_empty(), "once");
}

#[test]
fn marathon_rule_165_disks_of_all_kinds() {
    fn disk(kind: &str, root: &str, size: f64, profile: Option<&str>) -> v1::Resource {
        use v1::resource::disk_info::{Source, source};
        let mut source = Source { profile: profile.map(str::to_owned), ..Default::default() };
        if kind == "path" {
            source.set_type(source::Type::Path);
            source.path = Some(source::Path { root: Some(root.into()) });
        } else {
            source.set_type(source::Type::Mount);
            source.mount = Some(source::Mount { root: Some(root.into()) });
        }
        v1::Resource {
            name: "disk".into(),
            r#type: v1::value::Type::Scalar.into(),
            scalar: Some(v1::value::Scalar { value: size }),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some("web".into()) }),
            disk: Some(Box::new(v1::resource::DiskInfo { source: Some(source), ..Default::default() })),
            ..Default::default()
        }
    }
    let mut full = offer("h1", "cpus:4;mem:4096;disk:1000;ports:[31000-31009]");
    full.resources.extend([
        disk("path", "/p1", 500.0, None),
        disk("path", "/p2", 900.0, None),
        disk("mount", "/m1", 400.0, None),
        disk("mount", "/m2", 200.0, Some("fast")),
        disk("mount", "/m3", 300.0, None),
    ]);
    let chosen = |volume: PersistentVolume| {
        let placement = World::new().first(full.clone(), &spec(resident(&[volume])));
        placement.map(|placement| {
            let created = &placement.operations[1].create.as_ref().unwrap().volumes[0];
            let source = created.disk.as_ref().unwrap().source.as_ref();
            let root = source.and_then(|source| {
                let path = source.path.as_ref().and_then(|path| path.root.clone());
                path.or_else(|| source.mount.as_ref().and_then(|mount| mount.root.clone()))
            });
            (root.unwrap_or_default(), created.scalar.unwrap().value)
        })
    };
    let like = |value| vec![constraint("path", Operator::Like, Some(value))];
    let mount = |size| volume(PersistentKind::Mount, size);
    for (wanted, root, size) in [
        (volume(PersistentKind::Root, 100), "", 100.0),
        // The largest, of which a part is taken.
        (volume(PersistentKind::Path, 100), "/p2", 100.0),
        (PersistentVolume { constraints: like("/p1"), ..volume(PersistentKind::Path, 100) }, "/p1", 100.0),
        // The smallest that fits, as a whole.
        (mount(100), "/m2", 200.0),
        (mount(250), "/m3", 300.0),
        (PersistentVolume { constraints: like("/m[13]"), ..mount(310) }, "/m1", 400.0),
        (PersistentVolume { profile_name: Some("fast".into()), ..mount(10) }, "/m2", 200.0),
    ] {
        assert_eq!(chosen(wanted.clone()).unwrap(), (root.to_owned(), size), "{wanted:?}");
    }
    for none in [
        PersistentVolume { max_size: Some(150), ..mount(100) },
        PersistentVolume { profile_name: Some("slow".into()), ..mount(10) },
        PersistentVolume { constraints: like("/nowhere"), ..mount(10) },
        mount(401),
        volume(PersistentKind::Root, 1001),
    ] {
        assert_eq!(chosen(none).unwrap_err().reasons(), [NoMatch::InsufficientDisk]);
    }
    // Scratch and volume come from the same disk, which must be big enough for both.
    assert!(chosen(volume(PersistentKind::Root, 990)).is_ok());
    assert!(chosen(volume(PersistentKind::Root, 991)).is_err());
}

#[test]
fn marathon_rule_108_a_kept_place_counts() {
    let mut world = World::new();
    let mut two = resident(&[volume(PersistentKind::Root, 100)]);
    two.constraints = [constraint("hostname", Operator::Unique, None)].into();
    let run_spec = spec(two);
    let (shown, instance) = reserved(&mut world, &run_spec);
    let placed = Placed::of(&run_spec, [&instance]);
    assert_eq!(placed.count(), 1);
    let second = waiting(&run_spec, "u2");
    let refused = world.place(&mut opened(shown.clone()), &run_spec, &second, &placed).unwrap_err();
    assert_eq!(refused.first(), NoMatch::UnfulfilledConstraint);
    assert!(world.place(&mut opened(shown), &run_spec, &instance, &placed).is_ok(), "its own place");
}

#[test]
fn marathon_rule_155_pods_keep_volumes_too() {
    let mut one = pod("/db", vec![pod_container("main")]);
    one.volumes = vec![mezzo_services_model::PodVolume {
        name: "data".into(),
        source: VolumeSource::Persistent(volume(PersistentKind::Root, 100)),
    }];
    one.containers[0].volume_mounts = vec![mezzo_services_model::VolumeMount {
        name: "data".into(),
        mount_path: "/var/data".into(),
        read_only: None,
    }];
    let run_spec = RunSpec::Pod(Arc::new(one));
    let mut world = World::new();
    let (shown, instance) = reserved(&mut world, &run_spec);
    let mut launched =
        world.place(&mut opened(shown), &run_spec, &instance, &Placed::new(&run_spec)).unwrap();
    let group = *launched.operations.remove(0).launch_group.unwrap();
    let executor = Resources::from_proto(&group.executor.resources).unwrap();
    assert_eq!(executor.persistent_volumes().scalar("disk"), Scalar::from_whole(100));
    let mount = &group.task_group.tasks[0].container.as_ref().unwrap().volumes[0];
    assert_eq!(mount.container_path, "/var/data");
    assert_eq!(mount.source.as_ref().unwrap().sandbox_path.as_ref().unwrap().path, "data");
}
