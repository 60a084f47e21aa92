//! Plans: marathon rules 1 to 19, ports 210 to 213, versions 239 to 242.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::*;

use super::world::*;
use crate::{Answer, Change, Config, Refusal};

#[test]
fn marathon_rules_1_2_3_and_5_stops_then_starts_then_levels() {
    let mut world = World::new();
    world.put([app("/old", 1), app("/db", 1)]);
    world.settle();
    let change = world.change(|root| {
        root.apps.remove(&path("/old"));
        let mut web = app("/web", 2);
        web.dependencies.insert(path("/api"));
        let mut api = app("/api", 3);
        api.dependencies.insert(path("/db"));
        insert(root, web);
        insert(root, api);
        let mut db = app("/db", 1);
        db.user = Some("root".into());
        insert(root, db);
    });
    let plan = planned(world.send(change));
    assert_eq!(
        steps(&plan),
        [
            vec!["stop /old".to_owned()],
            vec!["start /api".into(), "start /web".into()],
            vec!["restart /db".into()],
            vec!["scale /api 3".into()],
            vec!["scale /web 2".into()],
        ]
    );
    world.settle();
    assert_eq!((world.running("/web").len(), world.running("/old").len()), (2, 0));
}

#[test]
fn marathon_rules_6_7_8_9_and_11_what_a_change_does() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    world.settle();
    assert_eq!(steps(&world.edit("/a", |app| app.instances = 2)), [["scale /a 2"]]);
    world.settle();
    assert_eq!(steps(&world.edit("/a", |app| app.user = Some("x".into()))), [["restart /a"]]);
    world.settle();
    let silent = ExecutorResources { cpus: 1.0, mem: 1.0, disk: 1.0 };
    assert_eq!(
        steps(&world.edit("/a", |app| app.executor_resources = Some(silent))),
        Vec::<Vec<String>>::new()
    );
    let version = world.snapshot().root.app(&path("/a")).unwrap().version;
    assert_eq!(steps(&world.edit("/a", |_| {})), Vec::<Vec<String>>::new());
    let same = world.snapshot().root.app(&path("/a")).unwrap().version;
    assert_eq!((version, world.snapshot().deployments.len()), (same, 0));
    let both = world.edit("/a", |app| {
        app.instances = 0;
        app.user = Some("y".into());
    });
    assert_eq!(steps(&both), [["scale /a 0"]]);
}

#[test]
fn marathon_rule_10_pods_have_their_own_list() {
    use crate::spec::{Difference, difference};
    let pod = |edit: fn(&mut Pod)| {
        let app = app("/p", 1);
        let mut pod = Pod {
            id: path("/p"),
            labels: BTreeMap::new(),
            user: None,
            environment: BTreeMap::new(),
            containers: Vec::new(),
            secrets: BTreeMap::new(),
            volumes: Vec::new(),
            networks: Vec::new(),
            instances: 1,
            backoff: app.backoff,
            upgrade_strategy: app.upgrade_strategy,
            constraints: BTreeSet::new(),
            accepted_resource_roles: None,
            kill_selection: app.kill_selection,
            unreachable_strategy: app.unreachable_strategy,
            executor_resources: ExecutorResources::default(),
            linux_info: None,
            legacy_shared_cgroups: None,
            role: "*".into(),
            version: app.version,
            version_info: app.version_info,
        };
        edit(&mut pod);
        RunSpec::Pod(pod.into())
    };
    let same = pod(|_| {});
    assert_eq!(difference(&same, &pod(|pod| pod.user = Some("x".into()))), Difference::Config);
    assert_eq!(
        difference(&same, &pod(|pod| pod.unreachable_strategy = UnreachableStrategy::Disabled)),
        Difference::Silent
    );
    assert_eq!(
        difference(&same, &pod(|pod| pod.kill_selection = KillSelection::OldestFirst)),
        Difference::Silent
    );
}

#[test]
fn marathon_rules_14_15_and_18_dry_runs_cycles_and_unknown_dependencies() {
    let mut world = World::new();
    let before = world.snapshot();
    let mut change = world.change(|root| insert(root, app("/a", 1)));
    change.dry_run = true;
    assert_eq!(steps(&planned(world.send(change))), [["start /a"], ["scale /a 1"]]);
    assert_eq!(world.snapshot(), before);
    let cycle = world.change(|root| {
        for (id, other) in [("/a", "/b"), ("/b", "/a")] {
            let mut app = app(id, 1);
            app.dependencies.insert(path(other));
            insert(root, app);
        }
    });
    let text = "Dependency graph has cyclic dependencies.";
    let wrong = BTreeMap::from([("/".to_owned(), vec![text.to_owned()])]);
    assert_eq!(world.send(cycle), Answer::Refused(Refusal::Invalid(wrong)));
    let mut a = app("/a", 1);
    a.dependencies.insert(path("/nobody"));
    assert_eq!(world.put([a]).steps.len(), 2);
}

#[test]
fn marathon_rule_16_groups_stand_for_their_apps() {
    let mut world = World::new();
    let change = world.change(|root| {
        insert(root, app("/db/one", 1));
        insert(root, app("/db/two", 1));
        insert(root, app("/web/x/site", 1));
        *root = root.updated(&path("/web"), root.version, &mut |group| {
            group.dependencies.insert(path("/db"));
        });
    });
    let plan = planned(world.send(change));
    assert_eq!(steps(&plan)[1..], [vec!["scale /db/one 1", "scale /db/two 1"], vec!["scale /web/x/site 1"]]);
    // A group that depends on one of its own parts is a cycle.
    let own = world.change(|root| {
        *root = root.updated(&path("/db"), root.version, &mut |group| {
            group.dependencies.insert(path("/db/one"));
        });
    });
    assert!(matches!(world.send(own), Answer::Refused(Refusal::Invalid(_))));
}

#[test]
fn marathon_rule_19_one_id_is_one_thing() {
    let mut world = World::new();
    world.put([app("/a", 1)]);
    let change = world.change(|root| insert(root, app("/a/b", 1)));
    let Answer::Refused(Refusal::Invalid(wrong)) = world.send(change) else { panic!() };
    assert_eq!(wrong["/"], ["Groups and Applications may not have the same identifier."]);
    assert_eq!(world.names().last(), Some(&"group failed"));
}

#[test]
fn a_chain_of_ten_thousand_apps_is_ordered() {
    let mut root = Group::empty(PathId::root(), START);
    for number in 0..10_000 {
        let mut app = app(&format!("/a{number}"), 1);
        if number > 0 {
            app.dependencies.insert(path(&format!("/a{}", number - 1)));
        }
        root.apps.insert(app.id.clone(), app.into());
    }
    assert_eq!(crate::graph::Levels::new(&root).of(&path("/a9999")), Ok(10_000));
}

#[test]
fn marathon_rules_210_to_213_service_ports() {
    let mut world = World::with(Config { service_ports: 10_000..10_003, ..Config::default() });
    let ports = |world: &World, id: &str| -> Vec<u16> {
        world.snapshot().root.app(&path(id)).unwrap().service_ports().collect()
    };
    let mut a = app("/a", 0);
    a.port_definitions = vec![port("x", 0), port("y", 10_001)];
    world.put([a.clone()]);
    assert_eq!(ports(&world, "/a"), [10_000, 10_001]);
    // Rule 211: freed ones are taken again; and saying 0 again changes nothing.
    a.port_definitions = vec![port("x", 0), port("y", 0)];
    let plan = world.put([a]);
    assert_eq!((ports(&world, "/a"), plan.steps.len()), (vec![10_000, 10_001], 0));
    // Rule 212: explicit ones may collide.
    let mut b = app("/b", 0);
    b.port_definitions = vec![port("x", 10_000), port("z", 0)];
    world.put([b]);
    assert_eq!(ports(&world, "/b"), [10_000, 10_002]);
    let mut c = app("/c", 0);
    c.port_definitions = vec![port("x", 0)];
    let change = world.change(|root| insert(root, c));
    assert_eq!(world.send(change), Answer::Refused(Refusal::NoServicePort));
    // Rule 304: a suspended app keeps its ports; a removed one gives them back.
    world.remove("/b");
    let mut c = app("/c", 0);
    c.port_definitions = vec![port("x", 0)];
    world.put([c]);
    assert_eq!(ports(&world, "/c"), [10_002]);
}

#[test]
fn marathon_rules_239_to_242_versions() {
    let mut world = World::with(Config { versions_kept: 3, ..Config::default() });
    world.put([app("/a", 0)]);
    let spec = |world: &World| world.snapshot().root.app(&path("/a")).unwrap().clone();
    let first = spec(&world);
    assert_eq!(first.version.as_nanos() % 1_000_000, 0);
    assert_eq!(
        (first.version_info.last_scaling_at, first.version_info.last_config_change_at),
        (first.version, first.version)
    );
    world.pass(5);
    world.edit("/a", |app| app.instances = 1);
    let scaled = spec(&world);
    assert_eq!(scaled.version_info.last_scaling_at, scaled.version);
    assert_eq!(scaled.version_info.last_config_change_at, first.version);
    world.settle();
    let mut change = world.change(|_| {});
    change.restart.insert(path("/a"));
    assert_eq!(steps(&planned(world.send(change))), [["restart /a"]]);
    let restarted = spec(&world);
    assert_eq!(restarted.version_info.last_scaling_at, scaled.version);
    assert_eq!(restarted.version_info.last_config_change_at, restarted.version);
    world.settle();
    for user in ["b", "c", "d", "e"] {
        world.edit("/a", |app| app.user = Some(user.into()));
        world.settle();
    }
    let snapshot = world.snapshot();
    let kept = snapshot.versions.get(&path("/a")).unwrap();
    assert_eq!((kept.len(), snapshot.roots.len()), (3, 3));
    world.remove("/a");
    world.settle();
    assert!(world.snapshot().versions.get(&path("/a")).is_none());
}

#[test]
fn a_change_of_an_old_tree_has_to_be_made_again() {
    let mut world = World::new();
    let change = world.change(|root| insert(root, app("/a", 0)));
    world.put([app("/b", 0)]);
    assert_eq!(world.send(change), Answer::Moved);
}

#[test]
fn who_asked_for_a_version_is_known_as_long_as_the_version() {
    let mut world = World::with(Config { versions_kept: 2, ..Config::default() });
    let by = |name: &str, change: Change| Change { principal: Some(name.into()), ..change };
    let make = world.change(|root| {
        insert(root, app("/a", 0));
        insert(root, app("/b", 0));
    });
    world.send(by("ana", make));
    let known = |world: &World| -> Vec<String> {
        let principals = world.snapshot().principals;
        principals.get(&path("/a")).into_iter().flat_map(|known| known.values().cloned()).collect()
    };
    assert_eq!(known(&world), ["ana"]);
    // Another app's change is not one of this app.
    let other = world.change(|root| insert(root, app("/b", 1)));
    world.send(by("bob", other));
    assert_eq!(known(&world), ["ana"]);
    world.settle();
    let change = world.change(|root| insert(root, App { user: Some("x".into()), ..app("/a", 0) }));
    world.send(by("bob", change));
    let kept = world.disk.len();
    world.crash(kept);
    assert_eq!(known(&world), ["ana", "bob"]);
    world.settle();
    world.edit("/a", |app| app.user = Some("y".into()));
    world.settle();
    assert_eq!(known(&world), ["bob"], "of the version that nobody is known to have asked for, nobody");
    world.remove("/a");
    world.settle();
    assert_eq!(known(&world), Vec::<String>::new());
}
