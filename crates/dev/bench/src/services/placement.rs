//! Matching of offers for services, alone on one core: no master, no machine around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use mezzo_mesos::v1;
use mezzo_resources::{Form, parse_attributes, parse_resources};
use mezzo_services::{
    Config,
    launch::place,
    matching::{Need, Opened, Placed, Terms},
};
use mezzo_services_model::{
    App, AppCommand, Backoff, Condition, Constraint, Goal, Instance, InstanceId, KillSelection, Network,
    Operator, PathId, PortDefinition, Protocols, Resources, RunSpec, UnreachableStrategy, UpgradeStrategy,
    VersionInfo,
};
use mezzo_time::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rustix::time::{ClockId, clock_gettime};

use crate::table::Table;

/// Agents, over which two services of as many instances are spread.
pub(super) const AGENTS: usize = 5000;
/// Values of the attribute by which the instances are grouped.
const RACKS: usize = 50;

/// CPU time of this thread, in seconds.
pub(super) fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

pub(super) fn app(id: &str) -> Result<App> {
    let constraint =
        |field: &str, operator, value: Option<String>| Constraint { field: field.into(), operator, value };
    let zero = Timestamp::ZERO;
    Ok(App {
        id: PathId::parse(id, &PathId::root()).context("path")?,
        command: Some(AppCommand::Shell("sleep 1000".into())),
        user: None,
        env: BTreeMap::new(),
        instances: u32::try_from(AGENTS)?,
        resources: Resources { cpus: 0.1, mem: 32.0, disk: 0.0, gpus: 0 },
        resource_limits: None,
        executor: String::new(),
        executor_resources: None,
        constraints: BTreeSet::from([
            constraint("hostname", Operator::Unique, None),
            constraint("rack", Operator::GroupBy, Some(RACKS.to_string())),
        ]),
        fetch: Vec::new(),
        port_definitions: vec![PortDefinition {
            port: 10_000,
            name: Some("http".into()),
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
        labels: BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
        accepted_resource_roles: None,
        unreachable_strategy: UnreachableStrategy::DEFAULT,
        kill_selection: KillSelection::default(),
        tty: None,
        secrets: BTreeMap::new(),
        role: "*".into(),
        version: zero,
        version_info: VersionInfo { last_scaling_at: zero, last_config_change_at: zero },
    })
}

pub(super) fn offers() -> Result<Vec<Arc<v1::Offer>>> {
    let resources =
        parse_resources("cpus:8;mem:16384;disk:100000;ports:[31000-32000]", "*").context("resources")?;
    let resources = resources.allocated(&"*".into()).to_proto(Form::PostRefinement);
    (0..AGENTS)
        .map(|i| {
            Ok(Arc::new(v1::Offer {
                id: v1::OfferId { value: format!("o{i}") },
                framework_id: v1::FrameworkId { value: "f".into() },
                agent_id: v1::AgentId { value: format!("a{i}") },
                hostname: format!("host-{i}.example"),
                resources: resources.clone(),
                attributes: parse_attributes(&format!("kind:plain;rack:r{}", i % RACKS))
                    .context("attributes")?,
                allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".into()) }),
                ..Default::default()
            }))
        })
        .collect()
}

fn waiting(run_spec: &RunSpec, number: usize) -> Instance {
    Instance {
        id: InstanceId::new(run_spec.id(), &number.to_string()),
        run_spec: run_spec.id().clone(),
        version: run_spec.version(),
        goal: Goal::Running,
        condition: Condition::Scheduled,
        since: Timestamp::ZERO,
        active_since: None,
        healthy: None,
        agent: None,
        tasks: BTreeMap::new(),
        incarnation: 0,
        reservation: None,
        role: "*".into(),
    }
}

/// Two services of which each agent takes one instance, evenly over the racks; then as many more that fit nowhere, each with
/// the reasons in words.
pub(crate) fn placement(table: &mut Table) -> Result<()> {
    let specs = [RunSpec::App(Arc::new(app("/shop/web")?)), RunSpec::App(Arc::new(app("/shop/api")?))];
    let offers = offers()?;
    let config = Config::default();
    let framework = v1::FrameworkId { value: "f".into() };
    let terms = Terms { config: &config, framework: &framework, region: None, now: Timestamp::ZERO };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut placed = specs.each_ref().map(Placed::new);
    let instances: Vec<[Instance; 2]> =
        (0..AGENTS).map(|i| specs.each_ref().map(|spec| waiting(spec, i))).collect();

    let before = cpu();
    let mut operations = 0;
    for (offer, waiting) in offers.iter().zip(&instances) {
        let mut opened = Opened::new(offer.clone()).context("offer")?;
        for ((run_spec, instance), placed) in specs.iter().zip(waiting).zip(&mut placed) {
            let need = Need { run_spec, instance, placed: &*placed, enforce_role: false };
            if let Ok(placement) = place(&mut opened, &need, &terms, &mut rng) {
                operations += placement.operations.len();
                placed.add(opened.agent());
            }
        }
    }
    let took = cpu() - before;
    ensure!(operations == 2 * AGENTS, "{operations} of {} were placed", 2 * AGENTS);
    table.row(
        "10,000 placements, UNIQUE and GROUP_BY, 5,000 agents",
        &format!("{:.0}/s", operations as f64 / took),
        &format!("{:.1} us each, with the reading of the offer and the task", took * 1e6 / operations as f64),
        ">= 5,000/s (20,000)",
    );

    let before = cpu();
    let mut words = 0;
    for (offer, waiting) in offers.iter().zip(&instances) {
        let mut opened = Opened::new(offer.clone()).context("offer")?;
        for ((run_spec, instance), placed) in specs.iter().zip(waiting).zip(&placed) {
            let need = Need { run_spec, instance, placed, enforce_role: false };
            if let Err(mismatch) = place(&mut opened, &need, &terms, &mut rng) {
                words += mismatch.unused(offer.clone(), Timestamp::ZERO).details.len();
            }
        }
    }
    let took = cpu() - before;
    ensure!(words == 2 * AGENTS, "{words} of {} were refused", 2 * AGENTS);
    table.row(
        "10,000 refusals of the same, each with its reasons in words",
        &format!("{:.0}/s", words as f64 / took),
        &format!("{:.1} us each", took * 1e6 / words as f64),
        "",
    );
    Ok(())
}
