//! Apps, pods, instances and offers for tests of matching and launching.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
};

use mezzo_mesos::v1;
use mezzo_resources::{Form, parse_attributes, parse_resources};
use mezzo_services_model::*;
use mezzo_time::Timestamp;

use crate::{
    Config,
    launch::{Placement, place},
    matching::{Mismatch, Need, Opened, Placed, Terms},
};

/// Numbers that count up, so that what is drawn can be foretold.
pub(crate) struct Counting(pub(crate) u64);

impl rand_core::TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 += 1;
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

pub(crate) fn path(text: &str) -> PathId {
    PathId::parse(text, &PathId::root()).unwrap()
}

pub(crate) const VERSION: Timestamp = Timestamp::from_nanos(1_600_000_000_123_000_000);
pub(crate) const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

fn version_info() -> VersionInfo {
    VersionInfo { last_scaling_at: VERSION, last_config_change_at: VERSION }
}

pub(crate) fn app(id: &str) -> App {
    App {
        id: path(id),
        command: Some(AppCommand::Shell("sleep 1000".into())),
        user: None,
        env: BTreeMap::new(),
        instances: 1,
        resources: Resources { cpus: 1.0, mem: 128.0, disk: 0.0, gpus: 0 },
        resource_limits: None,
        executor: String::new(),
        executor_resources: None,
        constraints: BTreeSet::new(),
        fetch: Vec::new(),
        port_definitions: Vec::new(),
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
        role: "web".into(),
        version: VERSION,
        version_info: version_info(),
    }
}

pub(crate) fn container(engine: Engine, image: Option<&str>) -> Container {
    let docker = image.map(|image| Docker { image: image.into(), ..Docker::default() });
    Container { engine, docker, volumes: Vec::new(), port_mappings: Vec::new(), linux_info: None }
}

pub(crate) fn pod_container(name: &str) -> PodContainer {
    PodContainer {
        name: name.into(),
        exec: Some(MesosExec { command: ShellOrArgs::Shell("sleep 5".into()), override_entrypoint: None }),
        resources: Resources { cpus: 0.5, mem: 64.0, disk: 0.0, gpus: 0 },
        resource_limits: None,
        endpoints: Vec::new(),
        linux_info: None,
        image: None,
        environment: BTreeMap::new(),
        user: None,
        health_check: None,
        check: None,
        volume_mounts: Vec::new(),
        artifacts: Vec::new(),
        labels: BTreeMap::new(),
        kill_grace_period: None,
        tty: None,
    }
}

pub(crate) fn pod(id: &str, containers: Vec<PodContainer>) -> Pod {
    Pod {
        id: path(id),
        labels: BTreeMap::new(),
        user: None,
        environment: BTreeMap::new(),
        containers,
        secrets: BTreeMap::new(),
        volumes: Vec::new(),
        networks: vec![Network::host()],
        instances: 1,
        backoff: Backoff::default(),
        upgrade_strategy: UpgradeStrategy::DEFAULT,
        constraints: BTreeSet::new(),
        accepted_resource_roles: None,
        kill_selection: KillSelection::default(),
        unreachable_strategy: UnreachableStrategy::DEFAULT,
        executor_resources: ExecutorResources::default(),
        linux_info: None,
        legacy_shared_cgroups: None,
        role: "web".into(),
        version: VERSION,
        version_info: version_info(),
    }
}

pub(crate) fn spec(app: App) -> RunSpec {
    RunSpec::App(Arc::new(app))
}

pub(crate) fn endpoint(name: &str, container_port: Option<u16>, host_port: Option<u16>) -> Endpoint {
    Endpoint {
        name: name.into(),
        container_port,
        host_port,
        protocols: Protocols { tcp: false, udp: false },
        labels: BTreeMap::new(),
        network_names: Vec::new(),
    }
}

pub(crate) fn definition(port: u16, name: Option<&str>) -> PortDefinition {
    PortDefinition { port, name: name.map(str::to_owned), protocols: Protocols::TCP, labels: BTreeMap::new() }
}

pub(crate) fn mapping(container_port: u16, host_port: Option<u16>) -> PortMapping {
    PortMapping {
        container_port,
        host_port,
        service_port: 0,
        name: None,
        protocols: Protocols::TCP,
        labels: BTreeMap::new(),
        network_names: Vec::new(),
    }
}

pub(crate) fn network(mode: NetworkMode, name: Option<&str>) -> Network {
    Network { mode, name: name.map(str::to_owned), labels: BTreeMap::new() }
}

pub(crate) fn constraint(field: &str, operator: Operator, value: Option<&str>) -> Constraint {
    Constraint { field: field.into(), operator, value: value.map(str::to_owned) }
}

/// One that waits.
pub(crate) fn waiting(run_spec: &RunSpec, uuid: &str) -> Instance {
    Instance {
        id: InstanceId::new(run_spec.id(), uuid),
        run_spec: run_spec.id().clone(),
        version: run_spec.version(),
        goal: Goal::Running,
        condition: Condition::Scheduled,
        since: NOW,
        active_since: None,
        healthy: None,
        agent: None,
        tasks: BTreeMap::new(),
        incarnation: 0,
        reservation: None,
        role: run_spec.role().clone(),
    }
}

pub(crate) fn framework() -> v1::FrameworkId {
    v1::FrameworkId { value: "f1".into() }
}

/// An offer to the role `web`.
pub(crate) fn offer(host: &str, resources: &str) -> v1::Offer {
    let resources: mezzo_resources::Resources = parse_resources(resources, "*").unwrap();
    v1::Offer {
        id: v1::OfferId { value: format!("o-{host}") },
        framework_id: framework(),
        agent_id: v1::AgentId { value: format!("a-{host}") },
        hostname: host.into(),
        resources: resources.allocated(&"web".into()).to_proto(Form::PostRefinement),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some("web".into()) }),
        ..Default::default()
    }
}

pub(crate) fn attributed(host: &str, attributes: &str) -> v1::Offer {
    v1::Offer {
        attributes: parse_attributes(attributes).unwrap(),
        ..offer(host, "cpus:8;mem:8192;disk:1000;ports:[31000-31999]")
    }
}

pub(crate) fn located(host: &str, region: &str, zone: &str) -> v1::Offer {
    use v1::domain_info::{FaultDomain, fault_domain};
    let region = fault_domain::RegionInfo { name: region.into() };
    let zone = fault_domain::ZoneInfo { name: zone.into() };
    let domain = v1::DomainInfo { fault_domain: Some(FaultDomain { region, zone }) };
    v1::Offer { domain: Some(domain), ..attributed(host, "") }
}

pub(crate) fn opened(offer: v1::Offer) -> Opened {
    Opened::new(Arc::new(offer)).unwrap()
}

/// Everything around one instance.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) region: Option<&'static str>,
    pub(crate) framework: v1::FrameworkId,
    pub(crate) enforce_role: bool,
    pub(crate) rng: Counting,
}

impl World {
    pub(crate) fn new() -> Self {
        let config = Config::default();
        Self { config, region: None, framework: framework(), enforce_role: false, rng: Counting(0) }
    }

    pub(crate) fn place(
        &mut self,
        offer: &mut Opened,
        run_spec: &RunSpec,
        instance: &Instance,
        placed: &Placed,
    ) -> Result<Placement, Mismatch> {
        let terms = Terms { config: &self.config, framework: &self.framework, region: self.region, now: NOW };
        let need = Need { run_spec, instance, placed, enforce_role: self.enforce_role };
        place(offer, &need, &terms, &mut self.rng)
    }

    /// A first instance on an offer.
    pub(crate) fn first(&mut self, offer: v1::Offer, run_spec: &RunSpec) -> Result<Placement, Mismatch> {
        let instance = waiting(run_spec, "u1");
        self.place(&mut opened(offer), run_spec, &instance, &Placed::new(run_spec))
    }

    /// The only task of a first instance on a big agent.
    pub(crate) fn task(&mut self, app: App) -> v1::TaskInfo {
        let offer = offer("h1", "cpus:64;mem:65536;disk:9999;gpus:8;ports:[31000-31999]");
        self.config.restrict_gpus = false;
        let mut placement = self.first(offer, &spec(app)).unwrap();
        placement.operations.remove(0).launch.unwrap().task_infos.remove(0)
    }

    /// The group of a first instance of a pod.
    pub(crate) fn group(&mut self, pod: Pod) -> v1::offer::operation::LaunchGroup {
        let offer = offer("h1", "cpus:64;mem:65536;disk:9999;ports:[31000-31999]");
        let mut placement = self.first(offer, &RunSpec::Pod(Arc::new(pod))).unwrap();
        *placement.operations.remove(0).launch_group.unwrap()
    }
}

/// The variables of a task.
pub(crate) fn variables(task: &v1::TaskInfo) -> BTreeMap<String, String> {
    let environment = task.command.as_ref().and_then(|command| command.environment.as_ref()).unwrap();
    let plain = environment.variables.iter();
    plain.filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?))).collect()
}
