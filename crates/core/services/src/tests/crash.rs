//! A machine that ends after any of its writes: what follows goes on as if nothing had happened (marathon rules 30, 31, 77;
//! F207, F213).

use mezzo_services_model::*;

use super::world::*;

/// What is played before the end comes.
fn story(world: &mut World) {
    let mut a = app("/a", 3);
    a.upgrade_strategy = UpgradeStrategy { minimum_health_capacity: 0.5, maximum_over_capacity: 0.5 };
    world.put([a, app("/b", 2), app("/gone", 2)]);
    world.settle();
    let change = world.change(|root| {
        let mut a = (**root.app(&path("/a")).unwrap()).clone();
        a.user = Some("new".into());
        a.dependencies.insert(path("/b"));
        insert(root, a);
        insert(root, app("/b", 4));
        insert(root, app("/c", 1));
        root.apps.remove(&path("/gone"));
    });
    planned(world.send(change));
}

fn end(world: &mut World) {
    // All messages of before are lost or done; the master tells what there is.
    world.reconcile();
    world.settle();
    world.pass(700);
    for _ in 0..5 {
        world.round();
        world.pass(2);
    }
}

#[test]
fn any_prefix_of_what_was_written_is_enough() {
    let whole = {
        let mut world = World::new();
        story(&mut world);
        world.settle();
        world.disk.len()
    };
    let begin = {
        let mut world = World::new();
        story(&mut world);
        world.disk.len()
    };
    assert!(whole > begin + 5);
    for writes in begin..=whole {
        let mut world = World::new();
        story(&mut world);
        'play: for _ in 0..200 {
            world.round();
            world.pass(1);
            if world.disk.len() >= writes {
                break 'play;
            }
        }
        // What was launched behind the last write that holds has not happened.
        let kept = writes.min(world.disk.len());
        world.crash(kept);
        end(&mut world);
        let count = |id: &str| (world.running(id).len(), world.instances(id).len());
        assert_eq!(
            (count("/a"), count("/b"), count("/c"), count("/gone")),
            ((3, 3), (4, 4), (1, 1), (0, 0)),
            "after {writes} of {whole} writes"
        );
        let version = world.snapshot().root.app(&path("/a")).unwrap().version_info.last_config_change_at;
        assert!(world.running("/a").iter().all(|one| one.version >= version));
        assert!(world.snapshot().deployments.is_empty());
        assert_eq!(world.tasks.len(), 8, "no task is forgotten or doubled");
    }
}

#[test]
fn a_machine_that_recovers_shows_what_the_other_showed() {
    let mut world = World::new();
    story(&mut world);
    world.settle();
    let before = world.snapshot();
    let kept = world.disk.len();
    world.crash(kept);
    let after = world.snapshot();
    assert_eq!(after.root, before.root);
    assert_eq!(after.roots, before.roots);
    assert_eq!(after.versions, before.versions);
    assert_eq!(after.instances, before.instances);
    assert!(world.killed.is_empty());
    assert_eq!(world.snapshot().framework.as_deref(), Some("f1"));
}

#[test]
fn marathon_rule_31_new_ones_are_not_launched_again() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    world.edit("/a", |app| app.user = Some("new".into()));
    world.round();
    let kept = world.disk.len();
    let running: Vec<InstanceId> = world.running("/a").iter().map(|one| one.id.clone()).collect();
    world.crash(kept);
    world.settle();
    let now: Vec<InstanceId> = world.running("/a").iter().map(|one| one.id.clone()).collect();
    assert!(now.iter().all(|id| running.contains(id)), "{now:?} {running:?}");
}

#[test]
fn f213_to_nothing_and_back() {
    let mut world = World::new();
    world.put([app("/a", 3)]);
    world.settle();
    world.edit("/a", |app| app.instances = 0);
    let kept = world.disk.len();
    world.crash(kept);
    assert_eq!(world.killed.len(), 6, "every kill is asked for again");
    let mut change = world.change(|root| insert(root, app("/a", 3)));
    change.force = true;
    planned(world.send(change));
    end(&mut world);
    assert_eq!((world.running("/a").len(), world.instances("/a").len(), world.tasks.len()), (3, 3, 3));
}

#[test]
fn f214_another_framework() {
    let mut world = World::new();
    world.put([app("/a", 2)]);
    world.settle();
    // The master knows nothing of us: all tasks are gone.
    world.tasks.clear();
    let framework = mezzo_mesos::v1::FrameworkId { value: "f2".into() };
    world.step(crate::Input::Subscribed { framework, master: "m".into(), region: None });
    world.reconcile();
    end(&mut world);
    assert_eq!(world.running("/a").len(), 2);
}
