//! The document of an app: the fields that were sent, old and new ones, in their types and bounds.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::{
    AppHealthCheck, AppVolume, Artifact, Canary, Check, DockerParameter, Engine, EnvValue, ExecutorResources,
    KillSelection, LinuxInfo, Network, PortDefinition, PortMapping, PullConfig, ReadinessCheck,
    ResourceLimits, UnreachableStrategy, UpgradeStrategy,
};
use mezzo_time::Timestamp;

use crate::{
    json::{At, Fields},
    part::{
        canary::read_canary,
        check::{read_check, read_health_check, read_readiness_check},
        constraint,
        container::{read_linux_info, read_pull_config},
        env::{read_env, read_secrets},
        fetch::{read_artifact, read_uri},
        name::{is_executor, is_legacy_name, is_path_id},
        network::read_network,
        port::{read_port_definition, read_port_mapping, read_protocol},
        resource::{read_executor_resources, read_limits},
        strategy::{read_kill_selection, read_unreachable, read_upgrade},
        volume::read_app_volume,
    },
    time::parse_time,
};

/// The network of a Docker container, in the old form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DockerNetwork {
    Bridge,
    Host,
    None,
    User,
}

/// The image of a container, with what used to stand there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DockerDocument {
    pub(crate) image: String,
    pub(crate) force_pull_image: bool,
    pub(crate) privileged: bool,
    pub(crate) parameters: Vec<DockerParameter>,
    pub(crate) pull_config: Option<PullConfig>,
    /// Credentials were sent; there is no place for them any more.
    pub(crate) credential: bool,
    pub(crate) network: Option<DockerNetwork>,
    pub(crate) port_mappings: Option<Vec<PortMapping>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerDocument {
    pub(crate) engine: Engine,
    pub(crate) docker: Option<DockerDocument>,
    pub(crate) volumes: Vec<AppVolume>,
    pub(crate) port_mappings: Option<Vec<PortMapping>>,
    pub(crate) linux_info: Option<LinuxInfo>,
}

impl ContainerDocument {
    /// A container of the agent's own runtime with nothing in it.
    pub(crate) fn empty() -> Self {
        Self {
            engine: Engine::Mesos,
            docker: None,
            volumes: Vec::new(),
            port_mappings: None,
            linux_info: None,
        }
    }
}

/// The address of each instance, in the old form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IpAddress {
    /// Ports for discovery; none where there was no block for them.
    pub(crate) discovery: Option<Vec<PortMapping>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) network_name: Option<String>,
}

/// All that may be said of an app; absent is what was not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AppDocument {
    pub(crate) id: Option<String>,
    pub(crate) accepted_resource_roles: Option<BTreeSet<String>>,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) backoff_factor: Option<f64>,
    pub(crate) backoff_seconds: Option<u32>,
    pub(crate) cmd: Option<String>,
    pub(crate) constraints: Option<Vec<Vec<String>>>,
    pub(crate) container: Option<ContainerDocument>,
    pub(crate) cpus: Option<f64>,
    pub(crate) dependencies: Option<Vec<String>>,
    pub(crate) disk: Option<f64>,
    pub(crate) env: Option<BTreeMap<String, EnvValue>>,
    pub(crate) executor: Option<String>,
    pub(crate) executor_resources: Option<ExecutorResources>,
    pub(crate) fetch: Option<Vec<Artifact>>,
    pub(crate) health_checks: Option<Vec<AppHealthCheck>>,
    pub(crate) check: Option<Check>,
    pub(crate) instances: Option<u32>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) max_launch_delay_seconds: Option<u32>,
    pub(crate) mem: Option<f64>,
    pub(crate) gpus: Option<u32>,
    pub(crate) ip_address: Option<IpAddress>,
    pub(crate) networks: Option<Vec<Network>>,
    pub(crate) ports: Option<Vec<u16>>,
    pub(crate) port_definitions: Option<Vec<PortDefinition>>,
    pub(crate) readiness_checks: Option<Vec<ReadinessCheck>>,
    /// The old block was sent; it has no effect (rule.residency).
    pub(crate) residency: bool,
    pub(crate) resource_limits: Option<ResourceLimits>,
    pub(crate) require_ports: Option<bool>,
    pub(crate) secrets: Option<BTreeMap<String, String>>,
    pub(crate) task_kill_grace_period_seconds: Option<u32>,
    pub(crate) upgrade_strategy: Option<UpgradeStrategy>,
    pub(crate) canary: Option<Canary>,
    pub(crate) uris: Option<Vec<String>>,
    pub(crate) user: Option<String>,
    pub(crate) version: Option<Timestamp>,
    pub(crate) version_info: Option<(Timestamp, Timestamp)>,
    pub(crate) kill_selection: Option<KillSelection>,
    pub(crate) unreachable_strategy: Option<UnreachableStrategy>,
    pub(crate) tty: Option<bool>,
    pub(crate) role: Option<String>,
}

pub(crate) fn read_time(at: At<'_>) -> Option<Timestamp> {
    let text = at.string()?;
    parse_time(&text).or_else(|| at.wrong("error.expected.date.isoformat"))
}

pub(crate) fn read_path(at: At<'_>) -> Option<String> {
    at.pattern(is_path_id)
}

pub(crate) fn read_paths(at: At<'_>) -> Option<Vec<String>> {
    at.list(read_path)
}

fn read_docker(at: At<'_>) -> Option<DockerDocument> {
    let networks = [
        ("BRIDGE", DockerNetwork::Bridge),
        ("HOST", DockerNetwork::Host),
        ("NONE", DockerNetwork::None),
        ("USER", DockerNetwork::User),
    ];
    at.object(|o| {
        let credential = o.read("credential", |at| {
            at.object(|o| {
                o.read("secret", |at| at.string());
                o.required("principal", |at| at.string())
            })
        });
        let image = o.required("image", |at| at.some_text());
        let parameters = o.read("parameters", |at| {
            at.list(|at| {
                at.object(|o| {
                    let (key, value) =
                        (o.required("key", |at| at.some_text()), o.required("value", |at| at.string()));
                    Some(DockerParameter { key: key?, value: value? })
                })
            })
        });
        let document = DockerDocument {
            image: String::new(),
            force_pull_image: o.read("forcePullImage", |at| at.boolean()).unwrap_or(false),
            privileged: o.read("privileged", |at| at.boolean()).unwrap_or(false),
            parameters: parameters.unwrap_or_default(),
            pull_config: o.read("pullConfig", read_pull_config),
            credential: credential.is_some(),
            network: o.read("network", |at| at.word(&networks)),
            port_mappings: o.read("portMappings", |at| at.list(read_port_mapping)),
        };
        Some(DockerDocument { image: image?, ..document })
    })
}

fn read_container(at: At<'_>) -> Option<ContainerDocument> {
    let engines = [("MESOS", Engine::Mesos), ("DOCKER", Engine::Docker)];
    at.object(|o| {
        Some(ContainerDocument {
            engine: o.read("type", |at| at.word(&engines)).unwrap_or(Engine::Docker),
            docker: o.read("docker", read_docker),
            volumes: o.read("volumes", |at| at.list(read_app_volume)).unwrap_or_default(),
            port_mappings: o.read("portMappings", |at| at.list(read_port_mapping)),
            linux_info: o.read("linuxInfo", read_linux_info),
        })
    })
}

fn read_ip_address(at: At<'_>) -> Option<IpAddress> {
    let port = |at: At<'_>| {
        at.object(|o| {
            let name = o.required("name", |at| at.pattern(is_legacy_name));
            let mut mapping = crate::part::port::bare_mapping(None);
            mapping.container_port = o.read("number", |at| at.port()).unwrap_or(0);
            if let Some(protocols) = o.read("protocol", read_protocol) {
                mapping.protocols = protocols;
            }
            mapping.labels = o.read("labels", |at| at.labels()).unwrap_or_default();
            mapping.name = Some(name?);
            Some(mapping)
        })
    };
    at.object(|o| {
        o.read("groups", |at| at.list(|at| at.string()));
        Some(IpAddress {
            discovery: o.read("discovery", |at| {
                at.object(|o| Some(o.read("ports", |at| at.list(port)).unwrap_or_default()))
            }),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
            network_name: o.read("networkName", |at| at.some_text()),
        })
    })
}

fn read_residency(at: At<'_>) -> Option<()> {
    at.object(|o| {
        o.read("relaunchEscalationTimeoutSeconds", |at| at.long());
        o.read("taskLostBehavior", |at| at.word(&[("WAIT_FOREVER", ()), ("RELAUNCH_AFTER_TIMEOUT", ())]));
        Some(())
    })
}

/// Whether a document must name its app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Required,
    Optional,
}

/// Reads a document of which every field may be missing, but its id where that is required.
pub(crate) fn read_document(at: At<'_>, naming: Naming) -> Option<AppDocument> {
    at.object(|o| {
        let mut app = AppDocument {
            id: match naming {
                Naming::Required => o.required("id", read_path),
                Naming::Optional => o.read("id", read_path),
            },
            cmd: o.read("cmd", |at| at.some_text()),
            args: o.read("args", |at| at.list(|at| at.string())),
            user: o.read("user", |at| at.string()),
            env: o.read("env", read_env),
            labels: o.read("labels", |at| at.labels()),
            instances: o.read("instances", |at| at.count()),
            role: o.read("role", |at| at.some_text()),
            executor: o.read("executor", |at| at.pattern(is_executor)),
            dependencies: o.read("dependencies", read_paths),
            fetch: o.read("fetch", |at| at.list(read_artifact)),
            uris: o.read("uris", |at| at.list(read_uri)),
            secrets: o.read("secrets", read_secrets),
            tty: o.read("tty", |at| at.boolean()),
            residency: o.read("residency", read_residency).is_some(),
            version: o.read("version", read_time),
            ..AppDocument::default()
        };
        read_resources(o, &mut app);
        read_network_fields(o, &mut app);
        read_behaviour(o, &mut app);
        app.version_info = o.read("versionInfo", |at| {
            at.object(|o| {
                let scaling = o.required("lastScalingAt", read_time);
                let config = o.required("lastConfigChangeAt", read_time);
                Some((scaling?, config?))
            })
        });
        Some(app)
    })
}

fn read_resources(o: &Fields<'_>, app: &mut AppDocument) {
    /// The least share of a core.
    const CPUS_MIN: f64 = 0.001;
    app.cpus = o.read("cpus", |at| at.number(CPUS_MIN, f64::MAX));
    app.mem = o.read("mem", |at| at.number(0.0, f64::MAX));
    app.disk = o.read("disk", |at| at.number(0.0, f64::MAX));
    app.gpus = o.read("gpus", |at| at.count());
    app.resource_limits = o.read("resourceLimits", read_limits);
    app.executor_resources = o.read("executorResources", read_executor_resources);
}

fn read_network_fields(o: &Fields<'_>, app: &mut AppDocument) {
    app.container = o.read("container", read_container);
    app.networks = o.read("networks", |at| at.list(read_network));
    app.ip_address = o.read("ipAddress", read_ip_address);
    app.ports = o.read("ports", |at| at.list(|at| at.port()));
    app.port_definitions = o.read("portDefinitions", |at| at.list(read_port_definition));
    app.require_ports = o.read("requirePorts", |at| at.boolean());
}

fn read_behaviour(o: &Fields<'_>, app: &mut AppDocument) {
    app.accepted_resource_roles = o
        .read("acceptedResourceRoles", |at| at.list(|at| at.string()))
        .map(|roles| roles.into_iter().collect());
    app.backoff_factor = o.read("backoffFactor", |at| at.number(1.0, f64::MAX));
    app.backoff_seconds = o.read("backoffSeconds", |at| at.count());
    app.max_launch_delay_seconds = o.read("maxLaunchDelaySeconds", |at| at.count());
    app.constraints = o.read("constraints", |at| at.list(constraint::read_texts));
    app.health_checks = o.read("healthChecks", |at| at.list(read_health_check));
    app.check = o.read("check", read_check);
    app.readiness_checks = o.read("readinessChecks", |at| at.list(read_readiness_check));
    app.task_kill_grace_period_seconds = o.read("taskKillGracePeriodSeconds", |at| at.count());
    app.upgrade_strategy = o.read("upgradeStrategy", read_upgrade);
    app.canary = o.read("canary", read_canary);
    app.unreachable_strategy = o.read("unreachableStrategy", read_unreachable);
    app.kill_selection = o.read("killSelection", read_kill_selection);
}
