//! What operators write: the definitions of apps.

use std::time::Duration;

use mezzo_services_model::{
    App, AppCommand, AppHealthCheck, Backoff, Constraint, HealthProtocol, KillSelection, Network, Operator,
    PathId, PortRef, Resources, UnreachableStrategy, UpgradeStrategy, VersionInfo,
};
use mezzo_time::Timestamp;

use super::{
    operator::Wanted,
    serving::{NEEDS, command},
    setup::{AppSetup, Placement, path_of},
};
use crate::Plant;

/// An app as it is wanted.
pub(crate) fn definition(
    path: &PathId,
    role: &str,
    look: &AppSetup,
    wanted: &Wanted,
    plant: Option<Plant>,
) -> App {
    let check = AppHealthCheck {
        protocol: if look.by_agents { HealthProtocol::Command } else { HealthProtocol::Http },
        command: look.by_agents.then(|| "is-well".into()),
        port: (!look.by_agents).then_some(PortRef::Number(80)),
        path: (!look.by_agents).then(|| "/".into()),
        ipv6: false,
        ignore_http_1xx: false,
        grace_period: Duration::from_secs(30),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(3),
        delay: Duration::ZERO,
        max_consecutive_failures: 3,
    };
    let constraints = look.placement.filter(|_| plant != Some(Plant::NoConstraints)).map(constraint);
    let after = look.after.filter(|_| plant != Some(Plant::NoDependencies));
    let dependencies = after.and_then(|app| PathId::parse(&path_of(app), &PathId::root()).ok());
    let hasty = plant == Some(Plant::HastyUpgrade);
    App {
        id: path.clone(),
        command: Some(AppCommand::Shell(command(wanted.make, wanted.quality))),
        user: None,
        env: Default::default(),
        instances: wanted.instances,
        resources: Resources { cpus: NEEDS.cpus, mem: NEEDS.mem, disk: NEEDS.disk, gpus: 0 },
        resource_limits: None,
        executor: String::new(),
        executor_resources: None,
        constraints: constraints.into_iter().collect(),
        canary: None,
        fetch: Vec::new(),
        port_definitions: Vec::new(),
        require_ports: false,
        container: None,
        networks: vec![Network::host()],
        health_checks: if look.checked { vec![check] } else { Vec::new() },
        check: None,
        readiness_checks: Vec::new(),
        kill_grace_period: None,
        dependencies: dependencies.into_iter().collect(),
        backoff: match plant {
            Some(Plant::NoBackoff) => {
                Backoff { first: Duration::from_millis(1), factor: 1.0, ..Backoff::default() }
            }
            _ => Backoff::default(),
        },
        upgrade_strategy: UpgradeStrategy {
            minimum_health_capacity: if hasty { 0.0 } else { look.minimum_health_capacity },
            maximum_over_capacity: look.maximum_over_capacity,
        },
        labels: Default::default(),
        accepted_resource_roles: None,
        unreachable_strategy: match look.unreachable_s {
            None => UnreachableStrategy::Disabled,
            Some((inactive, expunge)) => UnreachableStrategy::Enabled {
                inactive_after: Duration::from_secs(inactive),
                expunge_after: Duration::from_secs(expunge),
            },
        },
        kill_selection: KillSelection::default(),
        tty: None,
        secrets: Default::default(),
        role: role.to_owned(),
        version: Timestamp::ZERO,
        version_info: VersionInfo {
            last_scaling_at: Timestamp::ZERO,
            last_config_change_at: Timestamp::ZERO,
        },
    }
}

fn constraint(placement: Placement) -> Constraint {
    let (operator, value) = match placement {
        Placement::Unique => (Operator::Unique, None),
        Placement::Cluster => (Operator::Cluster, None),
        Placement::GroupBy(hosts) => (Operator::GroupBy, Some(hosts)),
        Placement::MaxPer(most) => (Operator::MaxPer, Some(most)),
    };
    Constraint { field: "hostname".into(), operator, value: value.map(|value| value.to_string()) }
}
