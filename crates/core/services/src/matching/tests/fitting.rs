use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mezzo_mesos::v1;
use mezzo_services_model::{ExecutorResources, Network, NetworkMode, NoMatch, Resources, RunSpec};

use crate::{
    AcceptedRoles,
    fixtures::{
        NOW, World, app, container, definition, endpoint, mapping, network, offer, opened, pod,
        pod_container, spec, waiting,
    },
    matching::Placed,
};

fn reasons(run_spec: &RunSpec, offer: v1::Offer) -> Vec<NoMatch> {
    match World::new().first(offer, run_spec) {
        Ok(_) => Vec::new(),
        Err(mismatch) => {
            assert_eq!(mismatch.reasons().len(), mismatch.details().len());
            assert_eq!(mismatch.first(), mismatch.reasons()[0]);
            mismatch.reasons()
        }
    }
}

#[test]
fn marathon_rules_91_and_92_reasons_in_the_order_of_the_funnel() {
    let mut big = app("/big");
    big.resources = Resources { cpus: 9.0, mem: 9000.0, disk: 9000.0, gpus: 2 };
    big.port_definitions = vec![definition(0, None), definition(0, None)];
    big.constraints =
        [crate::fixtures::constraint("rack", mezzo_services_model::Operator::Unique, None)].into();
    let big = spec(big);
    let mut small = offer("h1", "cpus:1;mem:10;disk:10;ports:[31000-31000]");
    small.unavailability =
        Some(v1::Unavailability { start: v1::TimeInfo { nanoseconds: NOW.as_nanos() }, duration: None });
    let all = reasons(&big, small.clone());
    assert_eq!(
        all,
        [
            NoMatch::UnfulfilledConstraint,
            NoMatch::AgentMaintenance,
            NoMatch::InsufficientCpus,
            NoMatch::InsufficientMemory,
            NoMatch::InsufficientDisk,
            NoMatch::InsufficientGpus,
            NoMatch::InsufficientPorts,
        ]
    );
    let mismatch = World::new().first(small.clone(), &big).unwrap_err();
    let unused = mismatch.unused(Arc::new(small), NOW);
    assert_eq!((unused.reasons, unused.at), (all, NOW));
    assert_eq!(
        unused.details,
        [
            "rack UNIQUE: the agent has no rack; it would need one",
            "the agent is in maintenance, or will be soon",
            "wanted: cpus 9, free: 1; 8 more free, or asking for 1, would do",
            "wanted: mem 9000, free: 10; 8990 more free, or asking for 10, would do",
            "wanted: disk 9000, free: 10; 8990 more free, or asking for 10, would do",
            "wanted: gpus 2, free: 0; 2 more free, or asking for 0, would do",
            "wanted: 2 ports, free: 1; 1 more would do",
        ]
    );
    // Exactly enough is enough.
    let mut exact = app("/exact");
    exact.resources = Resources { cpus: 0.3, mem: 10.0, disk: 10.0, gpus: 0 };
    assert!(reasons(&spec(exact), offer("h1", "cpus:0.3;mem:10;disk:10")).is_empty());
}

#[test]
fn marathon_rule_94_several_instances_share_an_offer() {
    let run_spec = spec(app("/web"));
    let placed = Placed::new(&run_spec);
    let mut world = World::new();
    let mut offer = opened(offer("h1", "cpus:2.5;mem:1024"));
    for uuid in ["u1", "u2"] {
        assert!(world.place(&mut offer, &run_spec, &waiting(&run_spec, uuid), &placed).is_ok());
    }
    let third = world.place(&mut offer, &run_spec, &waiting(&run_spec, "u3"), &placed).unwrap_err();
    assert_eq!(third.to_string(), "wanted: cpus 1, free: 0.5; 0.5 more free, or asking for 0.5, would do");
}

#[test]
fn marathon_rule_102_an_offer_is_for_one_role() {
    let mut other = app("/web");
    other.role = "db".into();
    let mismatch = World::new().first(offer("h1", "cpus:4;mem:4096"), &spec(other)).unwrap_err();
    assert_eq!(mismatch.reasons(), [NoMatch::UnfulfilledRole]);
    assert_eq!(mismatch.details(), ["wanted: an offer to role db; the offer is to role web"]);
}

#[test]
fn marathon_rules_234_and_235_accepted_roles() {
    let mixed = || offer("h1", "cpus:1;mem:512;cpus(web):1;mem(web):512");
    let reserved = |accepted: Option<&[&str]>, default| {
        let mut app = app("/web");
        app.accepted_resource_roles =
            accepted.map(|roles| roles.iter().map(|role| (*role).to_owned()).collect::<BTreeSet<_>>());
        let mut world = World::new();
        world.config.accepted_roles = default;
        let mut placement = world.first(mixed(), &spec(app)).unwrap();
        let task = placement.operations.remove(0).launch.unwrap().task_infos.remove(0);
        task.resources.iter().all(|resource| !resource.reservations.is_empty())
    };
    for (accepted, default, wanted) in [
        (Some(&["*"][..]), AcceptedRoles::Reserved, false),
        (Some(&["web"]), AcceptedRoles::Unreserved, true),
        // Both are accepted: reserved ones are of use to fewer.
        (Some(&["*", "web"]), AcceptedRoles::Unreserved, true),
        (None, AcceptedRoles::Any, true),
        (None, AcceptedRoles::Unreserved, false),
        (None, AcceptedRoles::Reserved, true),
    ] {
        assert_eq!(reserved(accepted, default), wanted, "{accepted:?} {default:?}");
    }
    // Both together, when neither is enough.
    let mut two = app("/two");
    two.resources.cpus = 1.5;
    let mut placement = World::new().first(mixed(), &spec(two)).unwrap();
    let task = placement.operations.remove(0).launch.unwrap().task_infos.remove(0);
    let cpus: Vec<f64> = task
        .resources
        .iter()
        .filter(|resource| resource.name == "cpus")
        .map(|resource| resource.scalar.unwrap().value)
        .collect();
    assert_eq!(cpus, [1.0, 0.5]);
    let mut only = app("/only");
    only.accepted_resource_roles = Some(["web".to_owned()].into());
    let mismatch = World::new().first(offer("h1", "cpus:4;mem:4096"), &spec(only)).unwrap_err();
    assert_eq!(mismatch.first(), NoMatch::UnfulfilledRole);
    assert_eq!(
        mismatch.details()[0],
        "wanted: resources that are reserved to web; the offer has none; accepting others would do"
    );
}

#[test]
fn marathon_rule_124_maintenance() {
    let window = |start: i64, length: Option<i64>| {
        let second = 1_000_000_000;
        let mut one = offer("h1", "cpus:4;mem:4096");
        one.unavailability = Some(v1::Unavailability {
            start: v1::TimeInfo { nanoseconds: NOW.as_nanos() + start * second },
            duration: length.map(|length| v1::DurationInfo { nanoseconds: length * second }),
        });
        one
    };
    for (start, length, draining, avoid, wanted) in [
        (-10, Some(60), 0, true, false),
        (-10, None, 0, true, false),
        (-100, Some(60), 0, true, true),
        (10, Some(60), 0, true, true),
        (10, Some(60), 30, true, false),
        (-10, Some(60), 0, false, true),
    ] {
        let mut world = World::new();
        world.config.avoid_maintenance = avoid;
        world.config.draining = Duration::from_secs(draining);
        let result = world.first(window(start, length), &spec(app("/web")));
        assert_eq!(result.is_ok(), wanted, "{start} {length:?} {draining} {avoid}");
    }
}

#[test]
fn marathon_rule_125_gpus_are_kept_for_those_who_want_them() {
    for (restrict, gpus, label, wanted) in [
        (true, 0, None, false),
        (true, 1, None, true),
        (false, 0, None, true),
        (true, 0, Some("unrestricted"), true),
        (false, 0, Some("restricted"), false),
    ] {
        let mut one = app("/web");
        one.resources.gpus = gpus;
        one.labels =
            label.map(|label| ("GPU_SCHEDULING_BEHAVIOR".to_owned(), label.to_owned())).into_iter().collect();
        let mut world = World::new();
        world.config.restrict_gpus = restrict;
        let result = world.first(offer("h1", "cpus:4;mem:4096;gpus:2"), &spec(one));
        assert_eq!(result.is_ok(), wanted, "{restrict} {gpus} {label:?}");
        if let Err(mismatch) = result {
            assert_eq!(mismatch.reasons(), [NoMatch::DeclinedScarceResources]);
        }
    }
}

#[test]
fn marathon_rule_214_ports_on_the_host() {
    let ports = |require, wanted: &[u16], offered: &str| {
        let mut one = app("/web");
        one.require_ports = require;
        one.port_definitions = wanted.iter().map(|port| definition(*port, None)).collect();
        let placement =
            World::new().first(offer("h1", &format!("cpus:4;mem:4096;ports:{offered}")), &spec(one));
        placement.map(|placement| placement.instance.tasks["_app"].host_ports.clone())
    };
    // The random source counts from 1.
    assert_eq!(ports(false, &[10_000, 10_001], "[31000-31004]").unwrap(), [31_001, 31_002]);
    // From one range into the next, and round.
    assert_eq!(ports(false, &[1, 2, 3], "[5-6,9-9]").unwrap(), [6, 9, 5]);
    assert_eq!(ports(true, &[8080, 9090], "[8000-9999]").unwrap(), [8080, 9090]);
    assert_eq!(ports(true, &[8080, 0], "[8080-8081]").unwrap(), [8080, 8081]);
    let short = ports(true, &[8080, 70], "[8000-9999]").unwrap_err();
    assert_eq!(short.reasons(), [NoMatch::InsufficientPorts]);
    assert_eq!(short.details(), ["wanted: port 70, not free; any free port (0) would do"]);
    assert!(ports(false, &[0, 0, 0], "[5-6]").is_err());
    assert!(ports(true, &[8080, 8080], "[8080-8081]").is_err(), "one port twice");
}

#[test]
fn marathon_rule_215_ports_of_mappings() {
    let ports = |wanted: &[Option<u16>], offered: &str| {
        let mut one = app("/web");
        one.networks = vec![network(NetworkMode::Bridge, None)];
        let mut bridged = container(mezzo_services_model::Engine::Mesos, None);
        bridged.port_mappings = wanted.iter().map(|host| mapping(80, *host)).collect();
        one.container = Some(bridged);
        let placement =
            World::new().first(offer("h1", &format!("cpus:4;mem:4096;ports:{offered}")), &spec(one));
        placement.map(|placement| placement.instance.tasks["_app"].host_ports.clone())
    };
    // Any port is none of the fixed ones.
    assert_eq!(ports(&[Some(0), Some(5), None], "[5-6]").unwrap(), [6, 5]);
    assert!(ports(&[Some(0), Some(5)], "[5-5]").is_err());
    assert!(ports(&[Some(7)], "[5-6]").is_err());
    assert_eq!(ports(&[None], "[5-6]").unwrap(), []);
}

#[test]
fn marathon_rule_215_a_pod_shares_the_ports_of_its_offer() {
    let mut first = pod_container("first");
    first.endpoints = vec![endpoint("a", None, Some(0)), endpoint("b", None, Some(31_000))];
    let mut second = pod_container("second");
    second.endpoints = vec![endpoint("c", None, Some(0))];
    let mut two = pod("/pod", vec![first, second]);
    two.networks = vec![Network::host()];
    let offer = offer("h1", "cpus:4;mem:4096;disk:100;ports:[31000-31002]");
    let placement = World::new().first(offer, &RunSpec::Pod(Arc::new(two))).unwrap();
    let ports = |name: &str| placement.instance.tasks[name].host_ports.clone();
    assert_eq!((ports("first"), ports("second")), (vec![31_002, 31_000], vec![31_001]));
}

#[test]
fn executors_are_counted_too() {
    let mut custom = app("/custom");
    custom.executor = "/opt/run".into();
    custom.executor_resources = Some(ExecutorResources { cpus: 0.5, mem: 32.0, disk: 10.0 });
    let custom = spec(custom);
    assert_eq!(
        reasons(&custom, offer("h1", "cpus:1;mem:128")),
        [NoMatch::InsufficientCpus, NoMatch::InsufficientMemory, NoMatch::InsufficientDisk]
    );
    assert!(reasons(&custom, offer("h1", "cpus:1.5;mem:160;disk:10")).is_empty());
    let two = pod("/pod", vec![pod_container("a"), pod_container("b")]);
    let two = RunSpec::Pod(Arc::new(two));
    assert_eq!(reasons(&two, offer("h1", "cpus:1;mem:160;disk:10")), [NoMatch::InsufficientCpus]);
    assert!(reasons(&two, offer("h1", "cpus:1.1;mem:160;disk:10")).is_empty());
}

#[test]
fn an_offer_that_does_not_fit_stays_whole() {
    let mut big = app("/big");
    big.resources.mem = 9999.0;
    let (big, small) = (spec(big), spec(app("/small")));
    let mut world = World::new();
    let mut offer = opened(offer("h1", "cpus:1;mem:128"));
    assert!(world.place(&mut offer, &big, &waiting(&big, "u1"), &Placed::new(&big)).is_err());
    assert!(world.place(&mut offer, &small, &waiting(&small, "u1"), &Placed::new(&small)).is_ok());
}

#[test]
fn resources_that_are_taken_back_or_of_others_are_left_alone() {
    let mut revocable = offer("h1", "cpus:4;mem:4096");
    for resource in &mut revocable.resources {
        resource.revocable = Some(v1::resource::RevocableInfo {});
    }
    assert_eq!(reasons(&spec(app("/web")), revocable)[0], NoMatch::UnfulfilledRole);
    let above = offer("h1", "cpus(other):4;mem(other):4096");
    assert_eq!(reasons(&spec(app("/web")), above)[0], NoMatch::UnfulfilledRole);
}
