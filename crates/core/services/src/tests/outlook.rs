//! Where instances would go.

use mezzo_mesos::v1;
use mezzo_services_model::*;

use super::world::*;
use crate::{Answer, Change, Known, outlook};

fn agent(name: &str, cpus: f64, used: f64) -> Known {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    let ports = v1::Resource {
        name: "ports".into(),
        r#type: v1::value::Type::Ranges.into(),
        ranges: Some(v1::value::Ranges { range: vec![v1::value::Range { begin: 31_000, end: 31_100 }] }),
        ..Default::default()
    };
    let allocation_info = Some(v1::resource::AllocationInfo { role: Some("*".into()) });
    Known {
        offer: v1::Offer {
            agent_id: v1::AgentId { value: name.replace('h', "a") },
            hostname: name.into(),
            resources: vec![scalar("cpus", cpus), scalar("mem", 1_000.0), ports],
            ..Default::default()
        },
        used: vec![v1::Resource { allocation_info, ..scalar("cpus", used) }],
    }
}

/// What a change would do with these agents.
fn seen(world: &mut World, change: Change, agents: Vec<Known>) -> Vec<Outlook> {
    let plan = match world.send(Change { dry_run: true, ..change }) {
        Answer::Planned(plan) => plan,
        other => panic!("{other:?}"),
    };
    let (snapshot, config, now) = (world.snapshot(), world.config.clone(), world.now);
    outlook(&snapshot, &config, &plan, agents, None, now, &mut Dice::seeded(3)).unwrap()
}

fn of(count: u32, cpus: f64) -> App {
    let mut app = app("/a", count);
    app.resources.cpus = cpus;
    app
}

fn places(outlook: &Outlook) -> Vec<(&str, u32)> {
    outlook.places.iter().map(|(host, count)| (host.as_str(), *count)).collect()
}

#[test]
fn new_ones_go_where_there_is_room() {
    let mut world = World::new();
    let change = world.change(|root| insert(root, of(4, 1.0)));
    let found = seen(&mut world, change, vec![agent("h0", 4.0, 1.0), agent("h1", 2.0, 0.5)]);
    assert_eq!((found.len(), found[0].starts, found[0].stops, found[0].waiting), (1, 4, 0, 0));
    assert_eq!(places(&found[0]), [("h0", 3), ("h1", 1)]);
    assert!(world.instances("/a").is_empty(), "nothing was done");
}

#[test]
fn those_that_wait_tell_what_would_do() {
    let mut world = World::new();
    let change = world.change(|root| insert(root, of(3, 2.0)));
    let found = seen(&mut world, change, vec![agent("h0", 3.0, 0.0), agent("h1", 0.5, 0.0)]);
    assert_eq!((found[0].waiting, places(&found[0])), (2, vec![("h0", 1)]));
    let lacks: Vec<(&str, &str)> =
        found[0].lacks.iter().map(|one| (one.host.as_str(), one.why.as_str())).collect();
    assert_eq!(
        lacks,
        [
            ("h0", "wanted: cpus 2, free: 1; 1 more free, or asking for 1, would do"),
            ("h1", "wanted: cpus 2, free: 0.5; 1.5 more free, or asking for 0.5, would do"),
        ]
    );
    assert_eq!(found[0].changes, ["instances 1", "cpus 1"]);
    // Nobody at all.
    let change = world.change(|root| insert(root, of(3, 2.0)));
    let found = seen(&mut world, change, Vec::new());
    assert_eq!((found[0].waiting, found[0].lacks.len(), found[0].changes.len()), (3, 0, 0));
}

#[test]
fn what_stops_makes_room() {
    let mut world = World::new();
    world.agents = 1;
    world.put([of(2, 1.0)]);
    world.settle();
    // Both agree on one agent, which is full but for half a core.
    let full = || vec![agent("h0", 2.5, 2.0)];
    let mut next = of(2, 1.0);
    next.user = Some("new".into());
    let change = world.change(|root| insert(root, next.clone()));
    let found = seen(&mut world, change, full());
    assert_eq!((found[0].starts, found[0].stops, found[0].waiting), (2, 2, 2), "nobody may go first");
    next.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: 0.5, maximum_over_capacity: 0.0 };
    let change = world.change(|root| insert(root, next));
    let found = seen(&mut world, change, full());
    assert_eq!((found[0].starts, found[0].stops, found[0].waiting), (2, 2, 0));
    assert_eq!(places(&found[0]), [("h0", 2)]);
    // A service that goes leaves its room to one that comes.
    let change = world.change(|root| {
        root.apps.remove(&path("/a"));
        insert(root, App { id: path("/b"), ..of(2, 1.0) });
    });
    let found = seen(&mut world, change, full());
    let told: Vec<_> =
        found.iter().map(|one| (one.run_spec.as_str(), one.starts, one.stops, one.waiting)).collect();
    assert_eq!(told, [("/a", 0, 2, 0), ("/b", 2, 0, 0)]);
    let change = world.change(|root| insert(root, of(1, 1.0)));
    assert_eq!(seen(&mut world, change, full())[0].stops, 1);
}

#[test]
fn constraints_and_ports_count() {
    let mut world = World::new();
    let mut unique = of(3, 0.1);
    unique.constraints.insert(Constraint {
        field: "hostname".into(),
        operator: Operator::Unique,
        value: None,
    });
    let change = world.change(|root| insert(root, unique));
    let found = seen(&mut world, change, vec![agent("h0", 4.0, 0.0), agent("h1", 4.0, 0.0)]);
    assert_eq!((found[0].waiting, places(&found[0])), (1, vec![("h0", 1), ("h1", 1)]));
    assert_eq!(found[0].changes, ["instances 2"], "no smaller amount would help");
    let mut fixed = of(2, 0.1);
    (fixed.port_definitions, fixed.require_ports) = (vec![port("http", 31_005)], true);
    let change = world.change(|root| insert(root, fixed));
    let found = seen(&mut world, change, vec![agent("h0", 4.0, 0.0)]);
    assert_eq!((found[0].waiting, places(&found[0])), (1, vec![("h0", 1)]));
}
