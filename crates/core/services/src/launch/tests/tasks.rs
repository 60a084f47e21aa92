use std::{collections::BTreeMap, time::Duration};

use mezzo_mesos::v1::{executor_info, offer, scheduler::call};
use mezzo_services_model::{
    AppCommand, Artifact, Condition, Engine, ExecutorResources, InstanceId, Limit, MesosExec, ResourceLimits,
    RunSpec, ShellOrArgs,
};

use crate::{
    fixtures::{
        NOW, World, app, container, framework, offer as offered, pod, pod_container, spec, variables,
    },
    launch::{accept, decline, tasks::executor_id},
};

#[test]
fn marathon_rules_185_and_186_ids_and_names() {
    let task = World::new().task(app("/shop/eu/web"));
    assert_eq!(task.task_id.value, "shop_eu_web.instance-u1._app.1");
    assert_eq!(task.name, "web.eu.shop");
    let discovery = task.discovery.unwrap();
    assert_eq!(discovery.name.as_deref(), Some("web.eu.shop"));
    let group = World::new().group(pod("/shop/pod", vec![pod_container("main"), pod_container("side")]));
    assert_eq!(group.executor.executor_id.value, "instance-shop_pod.u1");
    assert_eq!(group.executor.framework_id, Some(framework()));
    let ids: Vec<&str> = group.task_group.tasks.iter().map(|task| task.task_id.value.as_str()).collect();
    assert_eq!(ids, ["shop_pod.instance-u1.main.1", "shop_pod.instance-u1.side.1"]);
    let old = InstanceId::parse("a_b.instance-0-1").unwrap();
    assert_eq!(executor_id(&old), "instance-a_b.0-1");
}

#[test]
fn what_becomes_of_the_instance() {
    let run_spec = spec(app("/web"));
    let placement = World::new().first(offered("h1", "cpus:4;mem:4096"), &run_spec).unwrap();
    assert_eq!(placement.operations.len(), 1);
    assert_eq!(placement.operations[0].r#type(), offer::operation::Type::Launch);
    let instance = placement.instance;
    assert_eq!(instance.condition, Condition::Provisioned);
    assert_eq!((instance.since, instance.version, instance.incarnation), (NOW, run_spec.version(), 1));
    let agent = instance.agent.unwrap();
    assert_eq!((agent.id.as_str(), agent.host.as_str()), ("a-h1", "h1"));
    let task = &instance.tasks["_app"];
    assert_eq!(task.id.as_str(), "web.instance-u1._app.1");
    assert_eq!((task.condition, task.staged_at, task.started_at), (Condition::Provisioned, NOW, None));

    let two = RunSpec::Pod(pod("/pod", vec![pod_container("b"), pod_container("a")]).into());
    let placement = World::new().first(offered("h1", "cpus:4;mem:4096;disk:10"), &two).unwrap();
    assert_eq!(placement.operations[0].r#type(), offer::operation::Type::LaunchGroup);
    assert_eq!(placement.instance.tasks.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn marathon_rule_195_grace_is_on_the_task() {
    let mut one = app("/web");
    one.kill_grace_period = Some(Duration::from_millis(2500));
    let policy = World::new().task(one).kill_policy.unwrap();
    assert_eq!(policy.grace_period.unwrap().nanoseconds, 2_500_000_000);
    assert!(World::new().task(app("/web")).kill_policy.is_none());
    let mut main = pod_container("main");
    main.kill_grace_period = Some(Duration::from_secs(7));
    let group = World::new().group(pod("/pod", vec![main]));
    let policy = group.task_group.tasks[0].kill_policy.unwrap();
    assert_eq!(policy.grace_period.unwrap().nanoseconds, 7_000_000_000);
}

#[test]
fn commands_of_apps() {
    let args = || Some(AppCommand::Args(vec!["serve".into(), "-v".into()]));
    let image = || Some(container(Engine::Mesos, Some("nginx")));
    for (command, container, shell, value, arguments) in [
        (Some(AppCommand::Shell("run".into())), None, true, Some("run"), &[][..]),
        (args(), None, false, Some("serve"), &["serve", "-v"]),
        // The image's own program gets them.
        (args(), image(), false, None, &["serve", "-v"]),
        (None, image(), false, None, &[]),
        (args(), Some(container(Engine::Mesos, None)), false, Some("serve"), &["serve", "-v"]),
    ] {
        let mut one = app("/web");
        one.command = command;
        one.container = container;
        one.user = Some("nobody".into());
        one.fetch = vec![Artifact {
            uri: "http://x/a.tgz".into(),
            extract: true,
            executable: false,
            cache: true,
            dest_path: Some("b.tgz".into()),
        }];
        let command = World::new().task(one).command.unwrap();
        assert_eq!(command.shell, Some(shell));
        assert_eq!(command.value.as_deref(), value);
        assert_eq!(command.arguments, arguments);
        assert_eq!(command.user.as_deref(), Some("nobody"));
        let uri = &command.uris[0];
        assert_eq!((uri.value.as_str(), uri.output_file.as_deref()), ("http://x/a.tgz", Some("b.tgz")));
        assert_eq!((uri.extract, uri.executable, uri.cache), (Some(true), Some(false), Some(true)));
    }
}

#[test]
fn commands_of_pods() {
    let args = || ShellOrArgs::Args(vec!["serve".into(), "-v".into()]);
    let image = |id: &str| {
        Some(mezzo_services_model::Image {
            id: id.into(),
            pull_config: None,
            force_pull: None,
            labels: BTreeMap::new(),
        })
    };
    for (command, image, overrides, value) in [
        (args(), None, None, Some("serve")),
        (args(), image("nginx"), None, None),
        (args(), image("nginx"), Some(true), Some("serve")),
        (ShellOrArgs::Shell("run".into()), image("nginx"), None, Some("run")),
    ] {
        let mut main = pod_container("main");
        main.exec = Some(MesosExec { command, override_entrypoint: overrides });
        main.image = image;
        let mut one = pod("/pod", vec![main]);
        one.user = Some("nobody".into());
        let group = World::new().group(one);
        let command = group.task_group.tasks[0].command.as_ref().unwrap();
        assert_eq!(command.value.as_deref(), value);
        assert_eq!(command.user.as_deref(), Some("nobody"));
    }
    let mut bare = pod_container("main");
    bare.exec = None;
    let mut one = pod("/pod", vec![bare]);
    one.containers[0].user = Some("web".into());
    one.user = Some("nobody".into());
    let group = World::new().group(one);
    let command = group.task_group.tasks[0].command.as_ref().unwrap();
    assert_eq!((command.shell, command.value.as_deref()), (Some(false), None));
    assert_eq!(command.user.as_deref(), Some("web"), "a container's own wins");
}

#[test]
fn custom_executors() {
    let mut one = app("/web");
    one.executor = "/opt/my-executor".into();
    one.executor_resources = Some(ExecutorResources { cpus: 0.25, mem: 16.0, disk: 0.0 });
    one.container = Some(container(Engine::Mesos, Some("nginx")));
    let task = World::new().task(one);
    assert!(task.command.is_none() && task.container.is_none());
    let executor = task.executor.unwrap();
    assert_eq!(executor.r#type(), executor_info::Type::Custom);
    assert_eq!(executor.executor_id.value, "marathon-web.instance-u1._app.1");
    assert!(executor.container.is_some());
    let cpus = executor.resources.iter().find(|resource| resource.name == "cpus").unwrap();
    assert_eq!(cpus.scalar.unwrap().value, 0.25);
    let command = executor.command.unwrap();
    assert_eq!(
        command.value.as_deref(),
        Some("chmod ug+rx '/opt/my-executor' && exec '/opt/my-executor' sleep 1000")
    );
    assert!(command.environment.is_some());
    // By the flag, and against it.
    let mut world = World::new();
    world.config.executor = "/opt/all".into();
    assert!(world.task(app("/web")).executor.is_some());
    let mut own = app("/web");
    own.executor = "//cmd".into();
    assert!(world.task(own).executor.is_none());
}

#[test]
fn labels_and_limits() {
    let mut one = app("/web");
    one.labels.insert("a".into(), "b".into());
    one.resource_limits =
        Some(ResourceLimits { cpus: Some(Limit::Unlimited), mem: Some(Limit::Value(512.0)) });
    let task = World::new().task(one);
    assert_eq!(task.labels.unwrap().labels[0].key, "a");
    assert_eq!((task.limits["cpus"].value, task.limits["mem"].value), (f64::INFINITY, 512.0));
    let plain = World::new().task(app("/web"));
    assert!(plain.labels.is_none() && plain.limits.is_empty() && plain.container.is_none());

    let mut main = pod_container("main");
    main.resource_limits = Some(ResourceLimits { cpus: None, mem: Some(Limit::Value(99.0)) });
    let group = World::new().group(pod("/pod", vec![main.clone()]));
    let task = &group.task_group.tasks[0];
    assert_eq!(task.limits["mem"].value, 99.0);
    let shared = |task: &mezzo_mesos::v1::TaskInfo| {
        task.container.as_ref().unwrap().linux_info.as_ref().unwrap().share_cgroups
    };
    assert_eq!(shared(task), Some(false), "a bound needs a control group of its own");
    main.resource_limits = None;
    let mut legacy = pod("/pod", vec![main]);
    legacy.legacy_shared_cgroups = Some(true);
    assert_eq!(shared(&World::new().group(legacy).task_group.tasks[0]), Some(true));
}

#[test]
fn the_master_takes_what_is_launched() {
    // What the master checks of groups: types, the framework's id, and that the executor has cpus, mem and disk.
    let group = World::new().group(pod("/pod", vec![pod_container("main")]));
    assert_eq!(group.executor.r#type(), executor_info::Type::Default);
    assert!(group.executor.command.is_none());
    let names: Vec<&str> = group.executor.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["cpus", "mem", "disk"]);
    assert!(variables(&group.task_group.tasks[0]).contains_key("MESOS_TASK_ID"));
}

#[test]
fn marathon_rule_96_calls_about_offers() {
    let ids = vec![mezzo_mesos::v1::OfferId { value: "o1".into() }];
    let declined = decline(&framework(), ids.clone(), Some(Duration::from_secs(120)));
    assert_eq!(declined.r#type(), call::Type::Decline);
    let body = declined.decline.unwrap();
    assert_eq!((body.offer_ids.len(), body.filters.unwrap().refuse_seconds), (1, Some(120.0)));
    assert_eq!(decline(&framework(), ids.clone(), None).decline.unwrap().filters, None);
    let accepted = accept(&framework(), ids, Vec::new());
    assert_eq!((accepted.r#type(), accepted.framework_id), (call::Type::Accept, Some(framework())));
}
