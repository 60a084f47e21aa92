//! LAUNCH_GROUP: all tasks or none.

use mezzo_mesos::v1::{self, TaskState, executor_info, offer::operation, task_status::Reason};

use crate::testing::{FakeAgent, Scheduler, World, accept, resources, task};

fn default_executor(framework: &Scheduler) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        r#type: Some(executor_info::Type::Default.into()),
        executor_id: v1::ExecutorId { value: "x".into() },
        framework_id: Some(v1::FrameworkId { value: framework.id.to_string() }),
        resources: resources("cpus:0.1;mem:32;disk:10"),
        ..Default::default()
    }
}

fn launch(change: impl FnOnce(&mut operation::LaunchGroup)) -> (World, Scheduler, FakeAgent, v1::Offer) {
    let mut world = World::new();
    let scheduler = world.framework();
    let agent = world.agent("cpus:4;mem:4096;disk:10240");
    let offer = world.offer(&scheduler);
    let tasks = ["a", "b"].map(|id| task(id, &offer, "cpus:0.1;mem:32")).to_vec();
    let mut group = operation::LaunchGroup {
        executor: default_executor(&scheduler),
        task_group: v1::TaskGroupInfo { tasks },
    };
    change(&mut group);
    let operation = v1::offer::Operation {
        r#type: Some(operation::Type::LaunchGroup.into()),
        launch_group: Some(Box::new(group)),
        ..Default::default()
    };
    world.call(&scheduler, accept(&[&offer], vec![operation]));
    (world, scheduler, agent, offer)
}

/// The text that every task of a refused group gets.
fn error_of(change: impl FnOnce(&mut operation::LaunchGroup)) -> String {
    let (mut world, scheduler, agent, offer) = launch(change);
    let statuses = world.statuses(&scheduler);
    assert!(!statuses.is_empty());
    for status in &statuses {
        assert_eq!(status.state(), TaskState::TaskError);
        assert_eq!(status.reason(), Reason::TaskGroupInvalid);
        assert_eq!(status.message, statuses[0].message);
    }
    assert!(world.runs(agent.link).is_empty());
    assert_eq!(world.offer(&scheduler).resources, offer.resources);
    statuses[0].message().to_owned()
}

#[test]
fn rule_177_and_181_a_group_goes_to_the_agent_as_one() {
    let (mut world, scheduler, agent, _) = launch(|_| {});
    assert!(world.statuses(&scheduler).is_empty());
    let runs = world.runs(agent.link);
    assert_eq!((runs.len(), runs[0].tasks.len(), runs[0].group), (1, 2, true));
    let executor = runs[0].executor.as_ref().expect("of the group");
    assert_eq!(runs[0].tasks[0].executor.as_deref(), Some(executor));
    let cpus = |offer: v1::Offer| {
        let cpus = offer.resources.into_iter().find(|r| r.name == "cpus").expect("left");
        cpus.scalar.expect("a scalar").value
    };
    assert_eq!(cpus(world.offer(&scheduler)), 3.7);
}

#[test]
fn rule_177_one_bad_task_spoils_all() {
    let error = error_of(|group| group.task_group.tasks[1].resources.clear());
    assert_eq!(error, "Task 'b' is invalid: Task uses no resources");
}

#[test]
fn rule_178_executors_of_groups() {
    assert_eq!(error_of(|g| g.executor.r#type = None), "'ExecutorInfo.type' must be set");
    let error = error_of(|g| g.executor.framework_id = None);
    assert_eq!(error, "'ExecutorInfo.framework_id' must be set");
    let command = Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() });
    let error = error_of(|g| g.executor.command = command);
    assert_eq!(error, "'ExecutorInfo.command' must not be set for 'DEFAULT' executor");
    let error = error_of(|g| g.executor.r#type = Some(executor_info::Type::Custom.into()));
    assert_eq!(error, "'ExecutorInfo.command' must be set for 'CUSTOM' executor");
}

#[test]
fn rule_179_containers_of_default_executors() {
    let docker = v1::ContainerInfo {
        r#type: v1::container_info::Type::Docker.into(),
        docker: Some(v1::container_info::DockerInfo::default()),
        ..Default::default()
    };
    assert!(error_of(|g| g.executor.container = Some(Box::new(docker))).contains("MESOS"));
}

#[test]
fn rule_180_executors_of_groups_need_something_to_live_on() {
    let text = "Executor 'x' uses less CPUs (None) than the minimum required (0.01)";
    assert_eq!(error_of(|g| g.executor.resources.clear()), text);
    assert_eq!(
        error_of(|g| g.executor.resources = resources("cpus:0.1;mem:32")),
        "Executor 'x' uses no disk"
    );
    let text = "Executor 'x' uses less memory (16MB) than the minimum required (32MB)";
    assert_eq!(error_of(|g| g.executor.resources = resources("cpus:0.1;mem:16;disk:1")), text);
}

#[test]
fn rule_181_and_182_members() {
    let docker = v1::ContainerInfo {
        r#type: v1::container_info::Type::Docker.into(),
        docker: Some(v1::container_info::DockerInfo::default()),
        ..Default::default()
    };
    let error = error_of(|g| g.task_group.tasks[0].container = Some(Box::new(docker)));
    assert_eq!(error, "Task 'a' is invalid: Docker ContainerInfo is not supported on the task");
    let other = v1::ExecutorInfo { executor_id: v1::ExecutorId { value: "y".into() }, ..Default::default() };
    assert!(error_of(|g| g.task_group.tasks[0].executor = Some(Box::new(other))).contains("ExecutorInfo"));
    let error = error_of(|g| {
        g.task_group.tasks[0].container = Some(Box::new(v1::ContainerInfo {
            r#type: v1::container_info::Type::Mesos.into(),
            network_infos: vec![v1::NetworkInfo::default()],
            ..Default::default()
        }));
        g.task_group.tasks[0].health_check = Some(Box::new(v1::HealthCheck {
            r#type: Some(v1::health_check::Type::Tcp.into()),
            tcp: Some(v1::health_check::TcpCheckInfo::default()),
            ..Default::default()
        }));
    });
    assert!(error.contains("NetworkInfos"), "{error}");
}

#[test]
fn rule_183_and_184_limits_and_cgroups() {
    let limit = ("cpus".to_owned(), v1::value::Scalar { value: 1.0 });
    let error = error_of(|g| g.task_group.tasks[0].limits = [limit].into());
    assert!(error.contains("share_cgroups"), "{error}");
    let own = v1::ContainerInfo {
        r#type: v1::container_info::Type::Mesos.into(),
        linux_info: Some(v1::LinuxInfo { share_cgroups: Some(false), ..Default::default() }),
        ..Default::default()
    };
    let error = error_of(|g| g.task_group.tasks[0].container = Some(Box::new(own)));
    assert!(error.contains("same 'share_cgroups'"), "{error}");
}

#[test]
fn rule_162_a_group_fits_as_a_whole() {
    let error = error_of(|group| {
        for task in &mut group.task_group.tasks {
            task.resources = resources("cpus:2;mem:32");
        }
    });
    assert!(error.starts_with("Total resources cpus(allocated: *):4.1"), "{error}");
    assert!(error.contains("required by task group and its executor are more than available"), "{error}");
}
