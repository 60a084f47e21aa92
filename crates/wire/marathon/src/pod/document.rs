//! The JSON of a pod, read with the right types and bounds: what was said, before defaults.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_services_model::{
    Artifact, Backoff, Check, CheckTarget, Constraint, Endpoint, EnvValue, ExecutorResources, HealthCheck,
    HttpScheme, Image, KillSelection, LinuxInfo, MesosExec, Network, Operator, PodContainer, PodVolume,
    PortRef, Protocols, Resources, UnreachableStrategy, UpgradeStrategy, VolumeMount, VolumeSource,
};
use mezzo_time::Timestamp;

use crate::{
    json::{At, Fields},
    part::{
        check::{read_command, read_scheme, seconds},
        container::{read_linux_info, read_pull_config},
        env::{read_env, read_secrets},
        fetch::read_artifact,
        name::{is_name, is_path_id},
        network::read_network,
        resource::{read_executor_resources, read_limits},
        strategy::{read_kill_selection, read_unreachable},
        volume::read_persistent,
    },
    time::parse_time,
};

/// The longest path and name of an image.
const PATH_MAX: usize = 1024;

/// What a pod may say.
#[derive(Debug)]
pub(crate) struct PodDocument {
    pub(crate) id: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) user: Option<String>,
    pub(crate) environment: BTreeMap<String, EnvValue>,
    pub(crate) containers: Vec<PodContainer>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) volumes: Vec<PodVolume>,
    pub(crate) networks: Vec<Network>,
    pub(crate) instances: Option<u32>,
    pub(crate) scheduling: Scheduling,
    pub(crate) executor_resources: Option<ExecutorResources>,
    pub(crate) linux_info: Option<LinuxInfo>,
    pub(crate) legacy_shared_cgroups: Option<bool>,
    pub(crate) role: Option<String>,
    pub(crate) version: Option<Timestamp>,
    /// Last scaling and last change of the definition, in what is stored only.
    pub(crate) version_info: Option<(Timestamp, Timestamp)>,
}

/// The block of that name.
#[derive(Debug, Default)]
pub(crate) struct Scheduling {
    pub(crate) backoff: Option<Backoff>,
    pub(crate) upgrade: Option<UpgradeStrategy>,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) accepted_resource_roles: Option<BTreeSet<String>>,
    pub(crate) kill_selection: Option<KillSelection>,
    pub(crate) unreachable: Option<UnreachableStrategy>,
}

fn read_time(at: At<'_>) -> Option<Timestamp> {
    let text = at.string()?;
    parse_time(&text).or_else(|| at.wrong("error.expected.date.isoformat"))
}

pub(crate) fn read_document(at: At<'_>) -> Option<PodDocument> {
    at.object(|o| {
        let id = o.required("id", |at| at.pattern(is_path_id));
        let containers = o.required("containers", |at| at.some_list(read_container));
        let document = PodDocument {
            id: String::new(),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
            user: o.read("user", |at| at.string()),
            environment: o.read("environment", read_strict_env).unwrap_or_default(),
            containers: Vec::new(),
            secrets: o.read("secrets", read_secrets).unwrap_or_default(),
            volumes: o.read("volumes", |at| at.list(read_volume)).unwrap_or_default(),
            networks: o.read("networks", |at| at.list(read_network)).unwrap_or_default(),
            instances: o.read("scaling", read_scaling),
            scheduling: o.read("scheduling", read_scheduling).unwrap_or_default(),
            executor_resources: o.read("executorResources", read_executor_resources),
            linux_info: o.read("linuxInfo", read_linux_info),
            legacy_shared_cgroups: o.read("legacySharedCgroups", |at| at.boolean()),
            role: o.read("role", |at| at.some_text()),
            version: o.read("version", read_time),
            version_info: o.read("versionInfo", |at| {
                at.object(|o| {
                    let scaling = o.required("lastScalingAt", read_time);
                    let config = o.required("lastConfigChangeAt", read_time);
                    Some((scaling?, config?))
                })
            }),
        };
        Some(PodDocument { id: id?, containers: containers?, ..document })
    })
}

/// Variables whose names every shell knows.
fn read_strict_env(at: At<'_>) -> Option<BTreeMap<String, EnvValue>> {
    const NAME_MAX: usize = 254;
    let fits = |name: &String| {
        let start = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        start && name.len() <= NAME_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let env = read_env(at)?;
    if env.keys().all(fits) { Some(env) } else { at.wrong("error.pattern") }
}

fn read_scaling(at: At<'_>) -> Option<u32> {
    at.object(|o| {
        let kind = o.required("kind", |at| at.word(&[("fixed", ())]));
        let instances = o.read("instances", |at| at.count()).unwrap_or(1);
        kind.map(|()| instances)
    })
}

fn read_scheduling(at: At<'_>) -> Option<Scheduling> {
    at.object(|o| {
        let mut scheduling = Scheduling {
            backoff: o.read("backoff", read_backoff),
            upgrade: o.read("upgrade", read_upgrade),
            kill_selection: o.read("killSelection", read_kill_selection),
            unreachable: o.read("unreachableStrategy", read_unreachable),
            ..Scheduling::default()
        };
        o.read("placement", |at| {
            at.object(|o| {
                scheduling.constraints =
                    o.read("constraints", |at| at.list(read_constraint)).unwrap_or_default();
                let roles = o.read("acceptedResourceRoles", |at| at.list(|at| at.string()));
                // An empty list is as good as none.
                scheduling.accepted_resource_roles =
                    roles.filter(|roles| !roles.is_empty()).map(|roles| roles.into_iter().collect());
                Some(())
            })
        });
        Some(scheduling)
    })
}

fn read_backoff(at: At<'_>) -> Option<Backoff> {
    let default = Backoff::default();
    at.object(|o| {
        Some(Backoff {
            first: o.read("backoff", read_duration).unwrap_or(default.first),
            factor: o.read("backoffFactor", |at| at.number(0.0, f64::MAX)).unwrap_or(default.factor),
            longest: o.read("maxLaunchDelay", read_duration).unwrap_or(default.longest),
        })
    })
}

/// Seconds with a fraction.
fn read_duration(at: At<'_>) -> Option<Duration> {
    // Longer than anybody waits, and still exact to the microsecond.
    const SECONDS_MAX: f64 = 1e9;
    at.number(0.0, SECONDS_MAX).map(Duration::from_secs_f64)
}

/// Unlike an app's, each of both may be left out.
fn read_upgrade(at: At<'_>) -> Option<UpgradeStrategy> {
    at.object(|o| {
        let share = |key| o.read(key, |at| at.number(0.0, 1.0)).unwrap_or(1.0);
        Some(UpgradeStrategy {
            minimum_health_capacity: share("minimumHealthCapacity"),
            maximum_over_capacity: share("maximumOverCapacity"),
        })
    })
}

fn read_constraint(at: At<'_>) -> Option<Constraint> {
    let operators = Operator::ALL.map(|operator| (operator.name(), operator));
    at.object(|o| {
        let field = o.required("fieldName", |at| at.some_text());
        let operator = o.required("operator", |at| at.word(&operators));
        let value = o.read("value", |at| at.string());
        Some(Constraint { field: field?, operator: operator?, value })
    })
}

fn read_container(at: At<'_>) -> Option<PodContainer> {
    at.object(|o| {
        let name = o.required("name", |at| at.pattern(is_name));
        let resources = o.required("resources", read_resources);
        let container = PodContainer {
            name: String::new(),
            exec: o.read("exec", read_exec),
            resources: Resources::default(),
            resource_limits: o.read("resourceLimits", read_limits),
            endpoints: o.read("endpoints", |at| at.list(read_endpoint)).unwrap_or_default(),
            linux_info: o.read("linuxInfo", read_linux_info),
            image: o.read("image", read_image),
            environment: o.read("environment", read_strict_env).unwrap_or_default(),
            user: o.read("user", |at| at.string()),
            health_check: o.read("healthCheck", read_health_check),
            check: o.read("check", read_check),
            volume_mounts: o.read("volumeMounts", |at| at.list(read_mount)).unwrap_or_default(),
            artifacts: read_artifacts(o),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
            kill_grace_period: o
                .read("lifecycle", |at| at.object(|o| Some(o.read("killGracePeriodSeconds", read_duration))))
                .flatten(),
            tty: o.read("tty", |at| at.boolean()),
        };
        Some(PodContainer { name: name?, resources: resources?, ..container })
    })
}

fn read_artifacts(o: &Fields<'_>) -> Vec<Artifact> {
    o.read("artifacts", |at| at.list(read_artifact)).unwrap_or_default()
}

fn read_resources(at: At<'_>) -> Option<Resources> {
    /// The least of a core and of memory.
    const MIN: f64 = 0.001;
    at.object(|o| {
        Some(Resources {
            cpus: o.read("cpus", |at| at.number(MIN, f64::MAX)).unwrap_or(1.0),
            mem: o.read("mem", |at| at.number(MIN, f64::MAX)).unwrap_or(128.0),
            disk: o.read("disk", |at| at.number(0.0, f64::MAX)).unwrap_or(0.0),
            gpus: o.read("gpus", |at| at.count()).unwrap_or(0),
        })
    })
}

fn read_exec(at: At<'_>) -> Option<MesosExec> {
    at.object(|o| {
        let command = o.required("command", read_command);
        let override_entrypoint = o.read("overrideEntrypoint", |at| at.boolean());
        Some(MesosExec { command: command?, override_entrypoint })
    })
}

fn read_endpoint(at: At<'_>) -> Option<Endpoint> {
    at.object(|o| {
        let name = o.required("name", |at| at.pattern(is_name));
        let container_port = o.read("containerPort", |at| at.integer(1, u16::MAX.into()));
        let protocols = o.read("protocol", read_protocols);
        let endpoint = Endpoint {
            name: String::new(),
            container_port: container_port.and_then(|port| u16::try_from(port).ok()),
            host_port: o.read("hostPort", |at| at.port()),
            protocols: protocols.unwrap_or(Protocols { tcp: false, udp: false }),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
            network_names: o
                .read("networkNames", |at| at.list(|at| at.pattern(crate::part::name::is_network_name)))
                .unwrap_or_default(),
        };
        Some(Endpoint { name: name?, ..endpoint })
    })
}

/// A list of words, each once.
fn read_protocols(at: At<'_>) -> Option<Protocols> {
    let names = at.some_list(|at| at.word(&[("tcp", false), ("udp", true)]))?;
    let count = |udp| names.iter().filter(|name| **name == udp).count();
    if count(false) > 1 || count(true) > 1 {
        return at.wrong("Duplicate protocols within the same endpoint are not allowed");
    }
    Some(Protocols { tcp: count(false) == 1, udp: count(true) == 1 })
}

fn read_image(at: At<'_>) -> Option<Image> {
    at.object(|o| {
        let kind = o.required("kind", |at| at.word(&[("DOCKER", ())]));
        let id = o.required("id", |at| at.text(1, PATH_MAX));
        let image = Image {
            id: String::new(),
            pull_config: o.read("pullConfig", read_pull_config),
            force_pull: o.read("forcePull", |at| at.boolean()),
            labels: o.read("labels", |at| at.labels()).unwrap_or_default(),
        };
        kind.and(id).map(|id| Image { id, ..image })
    })
}

fn read_mount(at: At<'_>) -> Option<VolumeMount> {
    at.object(|o| {
        let name = o.required("name", |at| at.pattern(is_name));
        let mount_path = o.required("mountPath", |at| at.text(1, PATH_MAX));
        let read_only = o.read("readOnly", |at| at.boolean());
        Some(VolumeMount { name: name?, mount_path: mount_path?, read_only })
    })
}

/// A volume: which kind it is is told by the key that holds it.
fn read_volume(at: At<'_>) -> Option<PodVolume> {
    at.object(|o| {
        let name = o.required("name", |at| at.pattern(is_name));
        let persistent = o.read("persistent", read_persistent).map(VolumeSource::Persistent);
        let secret = o.read("secret", |at| at.some_text()).map(VolumeSource::Secret);
        let host = o.read("host", |at| at.string()).map(VolumeSource::Host);
        let source = match (o.has("persistent"), o.has("secret"), o.has("host")) {
            (true, _, _) => persistent,
            (_, true, _) => secret,
            (_, _, true) => host,
            _ => Some(VolumeSource::Ephemeral),
        };
        Some(PodVolume { name: name?, source: source? })
    })
}

/// What is looked at: one of `http`, `tcp` and `exec`.
fn read_target(o: &Fields<'_>) -> Option<CheckTarget> {
    let endpoint = |o: &Fields<'_>| {
        o.required("endpoint", |at| at.pattern(is_name)).map(|name| Some(PortRef::Endpoint(name)))
    };
    let http = o.read("http", |at| {
        at.object(|o| {
            let port = endpoint(o);
            let path = o.read("path", |at| at.text(1, PATH_MAX));
            let scheme = o.read("scheme", read_scheme).unwrap_or(HttpScheme::Http);
            Some(CheckTarget::Http { port: port?, path, scheme })
        })
    });
    let tcp = o.read("tcp", |at| at.object(|o| Some(CheckTarget::Tcp { port: endpoint(o)? })));
    let exec =
        o.read("exec", |at| at.object(|o| Some(CheckTarget::Command(o.required("command", read_command)?))));
    let given = [o.has("http"), o.has("tcp"), o.has("exec")].into_iter().filter(|given| *given).count();
    if given != 1 {
        return o.whole().wrong("Only one of http, tcp, or command may be specified");
    }
    http.or(tcp).or(exec)
}

fn read_health_check(at: At<'_>) -> Option<HealthCheck> {
    at.object(|o| {
        let target = read_target(o);
        let check = HealthCheck {
            target: CheckTarget::Tcp { port: None },
            grace_period: seconds(o, "gracePeriodSeconds", 300),
            interval: seconds(o, "intervalSeconds", 60),
            timeout: seconds(o, "timeoutSeconds", 20),
            delay: seconds(o, "delaySeconds", 15),
            max_consecutive_failures: o.read("maxConsecutiveFailures", |at| at.count()).unwrap_or(3),
        };
        Some(HealthCheck { target: target?, ..check })
    })
}

fn read_check(at: At<'_>) -> Option<Check> {
    at.object(|o| {
        let target = read_target(o);
        let (interval, timeout, delay) = (
            seconds(o, "intervalSeconds", 60),
            seconds(o, "timeoutSeconds", 20),
            seconds(o, "delaySeconds", 15),
        );
        Some(Check { target: target?, interval, timeout, delay })
    })
}
