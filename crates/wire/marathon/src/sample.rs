//! Things for tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mezzo_mesos::v1;
use mezzo_services_model::{
    AgentRef, App, AppCommand, Backoff, Condition, Goal, Health, Instance, InstanceId, KillSelection,
    Network, PathId, PortDefinition, Protocols, Resources, Task, TaskId, UnreachableStrategy,
    UpgradeStrategy, VersionInfo,
};
use mezzo_time::Timestamp;

/// The second of November 14, 2023, 22:13:20 and so many.
pub(crate) fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_000_000_000) + Duration::from_secs(second)
}

pub(crate) fn path(text: &str) -> PathId {
    PathId::parse(text, &PathId::root()).unwrap()
}

/// An app that sleeps.
pub(crate) fn app(id: &str) -> App {
    App {
        id: path(id),
        command: Some(AppCommand::Shell("sleep 100".into())),
        user: None,
        env: BTreeMap::new(),
        instances: 1,
        resources: Resources { cpus: 0.1, mem: 128.0, disk: 0.0, gpus: 0 },
        resource_limits: None,
        executor: String::new(),
        executor_resources: None,
        constraints: BTreeSet::new(),
        fetch: Vec::new(),
        port_definitions: vec![PortDefinition {
            port: 10_000,
            name: Some("default".into()),
            protocols: Protocols::TCP,
            labels: BTreeMap::new(),
        }],
        require_ports: false,
        container: None,
        networks: vec![Network::host()],
        health_checks: Vec::new(),
        check: None,
        readiness_checks: Vec::new(),
        kill_grace_period: None,
        dependencies: BTreeSet::new(),
        backoff: Backoff::default(),
        upgrade_strategy: UpgradeStrategy::DEFAULT,
        canary: None,
        labels: BTreeMap::new(),
        accepted_resource_roles: None,
        unreachable_strategy: UnreachableStrategy::DEFAULT,
        kill_selection: KillSelection::default(),
        tty: None,
        secrets: BTreeMap::new(),
        role: "*".into(),
        version: at(0),
        version_info: VersionInfo { last_scaling_at: at(0), last_config_change_at: at(0) },
    }
}

/// The id of the nth instance of a service.
pub(crate) fn instance_id(run_spec: &PathId, nth: usize) -> InstanceId {
    InstanceId::new(run_spec, &format!("00000000-0000-0000-0000-{nth:012}"))
}

/// A running instance with one task per container name, placed on a host.
pub(crate) fn instance(run_spec: &PathId, nth: usize, containers: &[Option<&str>]) -> Instance {
    let id = instance_id(run_spec, nth);
    let task = |container: &Option<&str>| {
        let status = v1::TaskStatus {
            container_status: Some(v1::ContainerStatus {
                network_infos: vec![v1::NetworkInfo {
                    name: Some("net".into()),
                    ip_addresses: vec![v1::network_info::IpAddress {
                        ip_address: Some("10.0.0.7".into()),
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let task = Task {
            id: TaskId::new(&id, *container, 1),
            condition: Condition::Running,
            staged_at: at(1),
            started_at: Some(at(2)),
            status: Some(Box::new(status)),
            host_ports: vec![31_000],
            healthy: None,
        };
        (container.unwrap_or(TaskId::APP).to_string(), task)
    };
    Instance {
        run_spec: run_spec.clone(),
        version: at(0),
        goal: Goal::Running,
        condition: Condition::Running,
        since: at(2),
        active_since: Some(at(2)),
        healthy: None,
        agent: Some(AgentRef {
            id: "agent-1".into(),
            host: "one.example".into(),
            region: Some("r1".into()),
            zone: Some("z1".into()),
            attributes: Vec::new(),
        }),
        tasks: containers.iter().map(task).collect(),
        incarnation: 1,
        reservation: None,
        role: "*".into(),
        id,
    }
}

/// Instances as the facts hold them.
pub(crate) fn instances(list: Vec<Instance>) -> BTreeMap<PathId, Arc<BTreeMap<InstanceId, Arc<Instance>>>> {
    let mut map: BTreeMap<PathId, BTreeMap<InstanceId, Arc<Instance>>> = BTreeMap::new();
    for instance in list {
        map.entry(instance.run_spec.clone()).or_default().insert(instance.id.clone(), Arc::new(instance));
    }
    map.into_iter().map(|(id, instances)| (id, Arc::new(instances))).collect()
}

/// A result of a health check that is good or not.
pub(crate) fn health(instance: &InstanceId, good: bool) -> Health {
    Health {
        instance: instance.clone(),
        first_success: good.then(|| at(3)),
        last_success: good.then(|| at(4)),
        last_failure: (!good).then(|| at(4)),
        last_failure_cause: (!good).then(|| "refused".into()),
        consecutive_failures: u32::from(!good),
    }
}
