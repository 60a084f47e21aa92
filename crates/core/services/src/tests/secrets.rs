//! Services that need secrets wait for them, and go on when they are there.

use mezzo_services_model::*;

use super::world::*;
use crate::{Answer, Config, Refusal, Request};

fn with_secret(id: &str, instances: u32, name: &str) -> App {
    App {
        env: [("DB".to_owned(), EnvValue::Secret("db".into()))].into(),
        secrets: [("db".to_owned(), name.to_owned()), ("unused".to_owned(), "nowhere".to_owned())].into(),
        ..app(id, instances)
    }
}

fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

fn set(world: &mut World, text: &str) -> Answer {
    let secret = SealedSecret { name: name(text), sealed: text.as_bytes().into(), changed_at: world.now };
    world.request(Request::SetSecret(secret))
}

fn remove(world: &mut World, text: &str, force: bool) -> Answer {
    world.request(Request::RemoveSecret { name: name(text), force })
}

fn missing(world: &World, id: &str) -> Vec<String> {
    let queue = world.snapshot().queue;
    queue
        .iter()
        .filter(|((run_spec, _), _)| *run_spec == path(id))
        .flat_map(|(_, item)| item.missing_secrets.clone())
        .collect()
}

#[test]
fn instances_wait_for_a_secret_and_others_do_not() {
    let mut world = World::new();
    world.put([with_secret("/a", 2, "/shop/db"), app("/b", 2)]);
    for _ in 0..5 {
        world.round();
        world.pass(1);
    }
    assert_eq!((world.running("/a").len(), world.running("/b").len()), (0, 2));
    assert_eq!(missing(&world, "/a"), ["shop/db"], "and what is declared and not used is not missing");
    assert_eq!(set(&mut world, "shop/other"), Answer::Done);
    world.round();
    assert_eq!(world.running("/a").len(), 0);
    assert_eq!(set(&mut world, "shop/db"), Answer::Done);
    world.settle();
    assert_eq!(world.running("/a").len(), 2);
    assert_eq!(missing(&world, "/a"), Vec::<String>::new());
}

#[test]
fn a_secret_that_changes_restarts_nothing_and_is_kept() {
    let mut world = World::new();
    set(&mut world, "shop/db");
    world.put([with_secret("/a", 2, "shop/db")]);
    world.settle();
    let before = world.running("/a");
    world.pass(1);
    assert_eq!(set(&mut world, "shop/db"), Answer::Done);
    world.round();
    world.pass(1);
    assert_eq!(world.running("/a"), before);
    let kept = world.disk.len();
    let secrets = world.snapshot().secrets;
    world.crash(kept);
    assert_eq!(world.snapshot().secrets, secrets);
}

#[test]
fn a_secret_that_is_needed_goes_with_force_alone_and_then_is_waited_for() {
    let mut world = World::new();
    set(&mut world, "shop/db");
    world.put([with_secret("/a", 1, "shop/db")]);
    world.settle();
    let used = Refusal::SecretUsed(vec![path("/a")]);
    assert_eq!(remove(&mut world, "shop/db", false), Answer::Refused(used));
    assert!(matches!(remove(&mut world, "none", true), Answer::Refused(Refusal::Unknown(_))));
    assert_eq!(remove(&mut world, "shop/db", true), Answer::Done);
    assert_eq!(world.running("/a").len(), 1, "what runs goes on");
    let kept = world.disk.len();
    world.crash(kept);
    assert_eq!(world.snapshot().secrets.size(), 0);
    world.reconcile();
    world.edit("/a", |app| app.instances = 2);
    for _ in 0..5 {
        world.round();
        world.pass(1);
    }
    assert_eq!((world.running("/a").len(), missing(&world, "/a")), (1, vec!["shop/db".to_owned()]));
}

#[test]
fn an_upgrade_waits_for_its_secret_and_old_instances_serve_meanwhile() {
    let mut world = World::with(Config { launch_tokens: 100, ..Config::default() });
    set(&mut world, "shop/db");
    world.put([with_secret("/a", 2, "shop/db")]);
    world.settle();
    world.edit("/a", |app| _ = app.secrets.insert("db".into(), "shop/new".into()));
    for _ in 0..5 {
        world.round();
        world.pass(1);
    }
    assert_eq!((world.running("/a").len(), missing(&world, "/a")), (2, vec!["shop/new".to_owned()]));
    set(&mut world, "shop/new");
    world.settle();
    assert_eq!(world.running("/a").len(), 2);
}
