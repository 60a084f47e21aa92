use mezzo_services_model::{
    Action, ActionKind, AppCommand, CanaryPhase, CanaryReport, Condition, DeploymentId, Goal, Group,
    Instance, InstanceId, Plan, Step, Task,
};
use mezzo_store::{MemoryRegistry, Registry};
use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn id(text: &str) -> PathId {
    PathId::parse(text, &PathId::root()).unwrap()
}

fn app(path: &str, version: i64) -> Arc<App> {
    let document = json!({"id": path, "cmd": "sleep 1", "cpus": 0.1, "mem": 32, "role": "*"});
    let mut app = read_stored_app(&document).unwrap();
    app.version = at(version);
    app.version_info = VersionInfo { last_scaling_at: at(version), last_config_change_at: at(1) };
    Arc::new(app)
}

fn tree(version: i64, apps: &[Arc<App>]) -> Arc<Group> {
    let mut root = Group::empty(PathId::root(), at(version));
    for app in apps {
        // Groups of other apps keep their versions.
        root = root.updated(&app.id.parent(), app.version, &mut |group| {
            group.apps.insert(app.id.clone(), app.clone());
        });
    }
    root.version = at(version);
    Arc::new(root)
}

fn instance(path: &str) -> Instance {
    let instance = InstanceId::new(&id(path), "1-2");
    let task = TaskId::new(&instance, None, 3);
    let task = Task {
        id: task,
        condition: Condition::Running,
        staged_at: at(4),
        started_at: Some(at(5)),
        status: Some(Box::default()),
        host_ports: vec![31_000],
        healthy: Some(false),
    };
    Instance {
        id: instance,
        run_spec: id(path),
        version: at(3),
        goal: Goal::Stopped,
        condition: Condition::UnreachableInactive,
        since: at(6),
        active_since: None,
        healthy: Some(true),
        agent: None,
        tasks: [("_app".to_owned(), task)].into(),
        incarnation: 3,
        reservation: None,
        role: "shop".into(),
    }
}

/// Writes records, and reads all of them anew.
fn written(store: &mut MemoryRegistry, books: &mut Books, records: &[Record]) -> Recovered {
    let changes = books.changes(records.iter());
    store.apply(&changes).unwrap();
    let (again, recovered) = Books::load(&store.load().unwrap()).unwrap();
    assert_eq!(again.trees.counts(), books.trees.counts(), "what is known after a restart is what was known");
    recovered
}

#[test]
fn everything_comes_back_as_it_was() {
    let (mut store, mut books) = (MemoryRegistry::new(), Books::default());
    let (web, db) = (app("/shop/web", 2), app("/shop/data/db", 2));
    let root = tree(2, &[web.clone(), db.clone()]);
    let plan = Plan {
        id: DeploymentId("d-1".into()),
        original: Arc::new(Group::empty(PathId::root(), at(1))),
        target: root.clone(),
        steps: vec![Step {
            actions: vec![
                Action { run_spec: id("/shop/web"), is_pod: false, kind: ActionKind::Start },
                Action { run_spec: id("/shop/web"), is_pod: false, kind: ActionKind::Scale { to: 7 } },
            ],
        }],
        version: at(2),
    };
    let failure = TaskFailure {
        run_spec: id("/shop/web"),
        task: TaskId::new(&InstanceId::new(&id("/shop/web"), "9"), None, 1),
        state: "TASK_FAILED".into(),
        message: "exit 1".into(),
        host: "h".into(),
        agent_id: None,
        version: at(2),
        at: at(9),
    };
    let canary = CanaryReport {
        run_spec: id("/shop/web"),
        version: at(2),
        base: at(1),
        base_instances: 7,
        phase: CanaryPhase::Holding,
        since: at(8),
        checked: true,
        failures: 1,
        reason: "the one on h failed".into(),
    };
    let secret = SealedSecret {
        name: SecretName::parse("shop/db").unwrap(),
        sealed: b"sealed".as_slice().into(),
        changed_at: at(7),
    };
    let records = [
        Record::Framework("f-1".into()),
        Record::RunSpec(RunSpec::App(web.clone())),
        Record::RunSpec(RunSpec::App(db)),
        Record::Root(root.clone()),
        Record::Deployment(Arc::new(plan.clone())),
        Record::Instance(Box::new(instance("/shop/web"))),
        Record::Failure(Box::new(failure.clone())),
        Record::Canary(Box::new(canary.clone())),
        Record::Principal(id("/shop/web"), at(2), "ana".into()),
        Record::Secret(Arc::new(secret.clone())),
    ];
    let recovered = written(&mut store, &mut books, &records);
    assert_eq!(recovered.framework.as_deref(), Some("f-1"));
    assert_eq!(recovered.root.as_ref(), Some(&root));
    assert_eq!(recovered.roots, BTreeMap::from([(at(2), root)]));
    assert_eq!(recovered.versions[&id("/shop/web")][&at(2)], RunSpec::App(web.clone()));
    assert_eq!(web.command, Some(AppCommand::Shell("sleep 1".into())));
    assert_eq!(*recovered.deployments[0], plan);
    assert_eq!(recovered.instances, [instance("/shop/web")]);
    assert_eq!(recovered.failures, [failure]);
    assert_eq!(recovered.canaries, [canary]);
    assert_eq!(recovered.secrets, std::slice::from_ref(&secret));
    assert_eq!(recovered.principals, [(id("/shop/web"), at(2), "ana".to_owned())]);

    let gone = [
        Record::InstanceGone(instance("/shop/web").id),
        Record::FailureGone(id("/shop/web")),
        Record::CanaryGone(id("/shop/web"), at(2)),
        Record::PrincipalGone(id("/shop/web"), at(2)),
        Record::SecretGone(secret.name),
        Record::DeploymentGone(DeploymentId("d-1".into())),
    ];
    let recovered = written(&mut store, &mut books, &gone);
    assert!(recovered.instances.is_empty() && recovered.failures.is_empty() && recovered.canaries.is_empty());
    assert!(
        recovered.deployments.is_empty() && recovered.principals.is_empty() && recovered.secrets.is_empty()
    );
}

#[test]
fn a_change_writes_its_groups_and_no_others_and_old_ones_are_removed() {
    let (mut store, mut books) = (MemoryRegistry::new(), Books::default());
    let (one, two, other) = (app("/a/b/one", 2), app("/a/b/one", 3), app("/x/y/other", 2));
    let first = tree(2, &[one.clone(), other.clone()]);
    let specs = [&one, &two, &other].map(|app| Record::RunSpec(RunSpec::App(app.clone())));
    written(&mut store, &mut books, &specs);
    written(&mut store, &mut books, &[Record::Root(first.clone())]);
    let groups = |store: &mut MemoryRegistry| {
        store.load().unwrap().keys().filter(|key| key.starts_with("group:")).count()
    };
    assert_eq!(groups(&mut store), 5, "the root, /a, /a/b, /x and /x/y");
    let second = Arc::new(first.updated(&id("/a/b"), at(3), &mut |group| {
        group.apps.insert(two.id.clone(), two.clone());
    }));
    let changes = books.changes([Record::Root(second.clone())].iter());
    let written_groups = changes.iter().filter(|(key, _)| key.starts_with("group:")).count();
    assert_eq!(written_groups, 3, "the root, /a and /a/b");
    store.apply(&changes).unwrap();
    assert_eq!(groups(&mut store), 8);
    let recovered = written(&mut store, &mut books, &[Record::RootGone(at(2))]);
    assert_eq!(groups(&mut store), 5);
    assert_eq!(recovered.root, Some(second.clone()));
    assert_eq!(recovered.roots, BTreeMap::from([(at(3), second)]));
}

#[test]
fn damage_is_told_and_not_passed_over() {
    let (mut store, mut books) = (MemoryRegistry::new(), Books::default());
    let web = app("/web", 2);
    let records = [Record::RunSpec(RunSpec::App(web.clone())), Record::Root(tree(2, &[web]))];
    written(&mut store, &mut books, &records);
    let all = store.load().unwrap();
    for (prefix, words) in [("spec:", "is missing"), ("group:", "is missing")] {
        let mut less = all.clone();
        less.retain(|key, _| !key.starts_with(prefix));
        let error = Books::load(&less).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut garbage = all;
    garbage.insert("instance:x".into(), b"\xff\xff".to_vec());
    assert!(matches!(Books::load(&garbage), Err(RecordError::Decode { .. })));
}
