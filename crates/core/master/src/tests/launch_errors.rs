//! Refused launches, with the texts that were recorded of Mesos.

use mezzo_mesos::v1::{self, TaskState, task_status};

use crate::testing::{Scheduler, World, accept, resources, task, task_id};

struct Case {
    world: World,
    scheduler: Scheduler,
    offer: v1::Offer,
}

fn case() -> Case {
    let mut world = World::new();
    let scheduler = world.framework();
    world.agent("cpus:4;mem:4096;disk:10240;ports:[31000-32000]");
    let offer = world.offer(&scheduler);
    Case { world, scheduler, offer }
}

/// Launches a task that a test made wrong; answers the text of its TASK_ERROR.
fn error_of(change: impl FnOnce(&mut v1::TaskInfo)) -> String {
    let Case { mut world, scheduler, offer } = case();
    let mut wrong = task("t", &offer, "cpus:0.1;mem:32");
    change(&mut wrong);
    world.launch(&scheduler, &offer, vec![wrong]);
    let status = world.status(&scheduler);
    // Rule 167.
    assert_eq!(status.state(), TaskState::TaskError);
    assert_eq!(status.reason(), task_status::Reason::TaskInvalid);
    assert_eq!(status.source(), task_status::Source::Master);
    assert_eq!((status.uuid, status.executor_id), (None, None));
    // Nothing stays used.
    let again = world.offer(&scheduler);
    assert_eq!(again.resources, offer.resources);
    status.message.unwrap_or_default()
}

#[test]
fn rule_151_and_76_task_ids_come_first() {
    assert_eq!(error_of(|task| task.task_id = task_id("")), "ID must not be empty");
    assert_eq!(error_of(|task| task.task_id = task_id("..")), "'..' is disallowed");
    assert_eq!(error_of(|task| task.task_id = task_id("a/b")), "'a/b' contains invalid characters");
    let long = "x".repeat(256);
    let error = error_of(|task| {
        task.task_id = task_id(&long);
        task.resources.clear();
    });
    assert_eq!(error, "ID must not be greater than 255 characters");
}

#[test]
fn rule_152_ids_of_active_tasks_are_refused() {
    let Case { mut world, scheduler, offer } = case();
    let twice = vec![task("dup", &offer, "cpus:0.1;mem:32"), task("dup", &offer, "cpus:0.1;mem:32")];
    world.launch(&scheduler, &offer, twice);
    assert_eq!(world.status(&scheduler).message(), "Task has duplicate ID: dup");
}

#[test]
fn rule_153_the_agent_of_the_offers() {
    let error = error_of(|task| task.agent_id.value = "nope".into());
    assert_eq!(error, "Task uses invalid agent nope while agent m-S0 is expected");
}

#[test]
fn rule_154_times_are_not_negative() {
    let negative = v1::DurationInfo { nanoseconds: -1 };
    let error = error_of(|task| task.kill_policy = Some(v1::KillPolicy { grace_period: Some(negative) }));
    assert_eq!(error, "Task's 'kill_policy.grace_period' must be non-negative");
    let error = error_of(|task| task.max_completion_time = Some(negative));
    assert_eq!(error, "Task's `max_completion_time` must be non-negative");
}

#[test]
fn rule_171_health_checks() {
    let error = error_of(|task| {
        let r#type = Some(v1::health_check::Type::Http.into());
        task.health_check = Some(Box::new(v1::HealthCheck { r#type, ..Default::default() }));
    });
    assert_eq!(error, "Task uses invalid health check: Expecting 'http' to be set for HTTP health check");
}

#[test]
fn rule_155_resources_of_one_role() {
    assert_eq!(error_of(|task| task.resources.clear()), "Task uses no resources");
    let error = error_of(|task| {
        for resource in &mut task.resources {
            resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some("other".into()) });
        }
    });
    assert!(
        error.starts_with("Total resources cpus(allocated: other):0.1; mem(allocated: other):32 required by"),
        "{error}"
    );
    let error = error_of(|task| {
        task.resources[0].allocation_info = Some(v1::resource::AllocationInfo { role: Some("other".into()) });
    });
    assert!(error.starts_with("The resources have multiple allocation roles"), "{error}");
    for value in [-1.0, 0.0001] {
        let error = error_of(|task| task.resources[0].scalar = Some(v1::value::Scalar { value }));
        let shown = if value < 0.0 { "-1" } else { "0" };
        let text = format!("Resource 'cpus:{shown}' is invalid: Invalid scalar resource: value <= 0");
        assert_eq!(error, text);
    }
}

#[test]
fn rule_156_whole_gpus_and_nothing_half_revocable() {
    let error = error_of(|task| task.resources = resources("cpus:1;gpus:0.5"));
    assert_eq!(error, "The 'gpus' resource must be an unsigned integer");
    let error = error_of(|task| {
        let mut revocable = task.resources[0].clone();
        revocable.revocable = Some(v1::resource::RevocableInfo {});
        task.resources.push(revocable);
    });
    assert!(error.contains("revocable and non-revocable"), "{error}");
}

#[test]
fn rule_157_command_or_executor() {
    let text = "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present";
    assert_eq!(error_of(|task| task.command = None), text);
    assert_eq!(error_of(|task| task.executor = Some(Box::new(executor("e")))), text);
}

fn executor(id: &str) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        executor_id: v1::ExecutorId { value: id.into() },
        command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
        resources: resources("cpus:0.1;mem:32"),
        ..Default::default()
    }
}

fn executor_error(change: impl FnOnce(&mut v1::ExecutorInfo)) -> String {
    error_of(|task| {
        let mut wrong = executor("e");
        change(&mut wrong);
        task.command = None;
        task.executor = Some(Box::new(wrong));
    })
}

#[test]
fn rule_158_executors_of_launch_are_custom() {
    let error = executor_error(|e| e.r#type = Some(v1::executor_info::Type::Default.into()));
    assert_eq!(error, "'ExecutorInfo.type' must be 'CUSTOM'");
    let error = executor_error(|e| e.command = None);
    assert_eq!(error, "'ExecutorInfo.command' must be set for 'CUSTOM' executor");
}

#[test]
fn rule_159_executors_belong_to_the_framework() {
    let other = Some(v1::FrameworkId { value: "other".into() });
    let error = executor_error(|e| e.framework_id = other);
    assert_eq!(error, "ExecutorInfo has an invalid FrameworkID (Actual: other vs Expected: m-0000)");
}

#[test]
fn rule_161_executors_stop_in_no_negative_time() {
    let error = executor_error(|e| e.shutdown_grace_period = Some(v1::DurationInfo { nanoseconds: -1 }));
    assert!(error.contains("shutdown_grace_period"), "{error}");
}

#[test]
fn rule_160_and_162_an_executor_counts_once_and_stays_the_same() {
    let Case { mut world, scheduler, offer } = case();
    let with = |id: &str, executor: v1::ExecutorInfo| v1::TaskInfo {
        command: None,
        executor: Some(Box::new(executor)),
        ..task(id, &offer, "cpus:1;mem:32")
    };
    let changed = v1::ExecutorInfo { name: Some("other".into()), ..executor("e") };
    let tasks = vec![with("a", executor("e")), with("b", executor("e")), with("c", changed)];
    world.launch(&scheduler, &offer, tasks);
    let status = world.status(&scheduler);
    assert_eq!(status.task_id.value, "c");
    assert!(status.message().starts_with("ExecutorInfo is not compatible with existing ExecutorInfo"));
    let left = world.offer(&scheduler);
    let cpus = left.resources.iter().find(|r| r.name == "cpus").and_then(|r| r.scalar.as_ref());
    assert_eq!(cpus.map(|scalar| scalar.value), Some(1.9));
    assert_eq!(left.executor_ids.len(), 1);
}

#[test]
fn rule_163_task_and_executor_do_not_share_ports() {
    let error = error_of(|task| {
        task.command = None;
        task.resources = resources("cpus:1;ports:[31000-31002]");
        let resources = resources("cpus:1;ports:[31002-31003]");
        task.executor = Some(Box::new(v1::ExecutorInfo { resources, ..executor("e") }));
    });
    assert!(error.contains("overlapping"), "{error}");
}

#[test]
fn rule_162_tasks_fit_into_what_is_left() {
    let Case { mut world, scheduler, offer } = case();
    let tasks = vec![task("a", &offer, "cpus:3;mem:32"), task("b", &offer, "cpus:3;mem:32")];
    world.launch(&scheduler, &offer, tasks);
    let status = world.status(&scheduler);
    assert_eq!(status.task_id.value, "b");
    let left = "cpus(allocated: *):1; mem(allocated: *):4064; disk(allocated: *):10240";
    let message = status.message();
    let start = "Total resources cpus(allocated: *):3; mem(allocated: *):32 required by task and its \
                 executor is more than available ";
    assert!(message.starts_with(start), "{message}");
    for part in left.split("; ").chain(["ports(allocated: *):[31000-32000]"]) {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn rule_165_limits_need_requests() {
    let error = error_of(|task| {
        task.limits.insert("disk".into(), v1::value::Scalar { value: 1.0 });
    });
    assert!(error.contains("'disk'"), "{error}");
}

#[test]
fn rule_173_environments() {
    let error = error_of(|task| {
        let variable = v1::environment::Variable {
            name: "A".into(),
            r#type: Some(v1::environment::variable::Type::Secret.into()),
            ..Default::default()
        };
        let environment = Some(v1::Environment { variables: vec![variable] });
        task.command =
            Some(v1::CommandInfo { value: Some("true".into()), environment, ..Default::default() });
    });
    let text = "Task's `CommandInfo` is invalid: \
                Environment variable 'A' of type 'SECRET' must have a secret set";
    assert_eq!(error, text);
}

#[test]
fn rule_176_share_cgroups_belongs_to_groups() {
    let error = error_of(|task| {
        task.container = Some(Box::new(v1::ContainerInfo {
            r#type: v1::container_info::Type::Mesos.into(),
            linux_info: Some(v1::LinuxInfo { share_cgroups: Some(false), ..Default::default() }),
            ..Default::default()
        }));
    });
    assert!(error.contains("share_cgroups"), "{error}");
}

#[test]
fn rule_169_launches_have_no_operation_id() {
    let Case { mut world, scheduler, offer } = case();
    let operation = v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Launch.into()),
        id: Some(v1::OperationId { value: "o".into() }),
        launch: Some(v1::offer::operation::Launch { task_infos: vec![task("t", &offer, "cpus:1;mem:32")] }),
        ..Default::default()
    };
    world.call(&scheduler, accept(&[&offer], vec![operation]));
    assert_eq!(world.status(&scheduler).state(), TaskState::TaskError);
}

#[test]
fn rule_164_a_small_executor_of_a_launch_is_let_through() {
    let Case { mut world, scheduler, offer } = case();
    let small = v1::ExecutorInfo { resources: resources("cpus:0.001;mem:1"), ..executor("e") };
    let launched =
        v1::TaskInfo { command: None, executor: Some(Box::new(small)), ..task("t", &offer, "cpus:1;mem:32") };
    world.launch(&scheduler, &offer, vec![launched]);
    assert!(world.statuses(&scheduler).is_empty());
    assert_eq!(world.master.task_agents[&scheduler.id].len(), 1);
}

#[test]
fn rule_170_launches_on_an_agent_that_is_away() {
    let Case { mut world, scheduler, offer } = case();
    // Its offers are rescinded at once, so a launch can only meet it in between.
    if let Some(agent) = world.master.agent_mut(&"m-S0".into()) {
        agent.connected = false;
    }
    world.launch(&scheduler, &offer, vec![task("t", &offer, "cpus:1;mem:32")]);
    let status = world.status(&scheduler);
    assert_eq!(status.state(), TaskState::TaskLost);
    assert_eq!(status.reason(), task_status::Reason::AgentDisconnected);
}
