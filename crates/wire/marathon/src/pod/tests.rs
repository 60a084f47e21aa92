use mezzo_json::Writer;
use mezzo_services_model::{
    Group, NetworkMode, PathId, Pod, UnreachableStrategy, UpgradeStrategy, VersionInfo, VolumeSource,
};
use mezzo_time::Timestamp;
use serde_json::{Value, json};

use super::{judge_pod_change, read_pod, read_pod_strictly, read_stored_pod, write_pod};
use crate::{Context, Invalid, Settings};

const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_123_000_000);

fn settings(features: &[&str]) -> Settings {
    Settings { features: features.iter().map(|feature| (*feature).into()).collect(), ..Settings::default() }
}

fn read_with(document: &Value, features: &[&str]) -> Result<Pod, Invalid> {
    let settings = settings(features);
    let root = Group::empty(PathId::root(), NOW);
    read_pod(document, &PathId::root(), &Context { settings: &settings, root: &root, now: NOW, force: false })
}

fn read(document: &Value) -> Result<Pod, Invalid> {
    read_with(document, &["secrets", "gpu_resources"])
}

fn written(pod: &Pod) -> Value {
    let mut w = Writer::new();
    write_pod(&mut w, pod);
    serde_json::from_slice(&w.finish()).unwrap()
}

/// A small pod with some of its fields replaced.
fn pod_with(changes: Value) -> Value {
    let mut pod = json!({
        "id": "/shop/pod",
        "containers": [{"name": "web", "resources": {"cpus": 0.5, "mem": 64}}],
    });
    for (key, value) in changes.as_object().unwrap() {
        pod[key] = value.clone();
    }
    pod
}

fn container_with(changes: Value) -> Value {
    let mut container = json!({"name": "web", "resources": {"cpus": 0.5, "mem": 64}});
    for (key, value) in changes.as_object().unwrap() {
        container[key] = value.clone();
    }
    pod_with(json!({"containers": [container]}))
}

/// All that is wrong, as `path: text`.
fn errors(document: &Value) -> Vec<String> {
    errors_with(document, &["secrets", "gpu_resources"])
}

fn errors_with(document: &Value, features: &[&str]) -> Vec<String> {
    match read_with(document, features) {
        Ok(_) => Vec::new(),
        Err(Invalid::Json(details) | Invalid::Object(details)) => details
            .into_iter()
            .flat_map(|(path, errors)| errors.into_iter().map(move |error| format!("{path}: {error}")))
            .collect(),
        Err(other) => vec![other.to_string()],
    }
}

/// A pod that says everything.
fn full() -> Value {
    json!({
        "id": "/shop/full",
        "labels": {"tier": "back"},
        "user": "nobody",
        "environment": {"A": "b", "TOKEN": {"secret": "token"}},
        "secrets": {"token": {"source": "/store/token"}},
        "volumes": [
            {"name": "scratch"},
            {"name": "host", "host": "/etc"},
            {"name": "key", "secret": "token"},
        ],
        "networks": [{"mode": "container", "name": "net_1", "labels": {"a": "b"}}],
        "scaling": {"kind": "fixed", "instances": 3},
        "scheduling": {
            "backoff": {"backoff": 0.5, "backoffFactor": 1.5, "maxLaunchDelay": 60.25},
            "upgrade": {"minimumHealthCapacity": 0.25, "maximumOverCapacity": 0.5},
            "placement": {
                "constraints": [
                    {"fieldName": "@hostname", "operator": "UNIQUE"},
                    {"fieldName": "rack", "operator": "LIKE", "value": "a.*"},
                ],
                "acceptedResourceRoles": ["*"],
            },
            "killSelection": "OLDEST_FIRST",
            "unreachableStrategy": {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 10},
        },
        "executorResources": {"cpus": 0.2, "mem": 48, "disk": 20},
        "linuxInfo": {"ipcInfo": {"mode": "PRIVATE", "shmSize": 16}},
        "legacySharedCgroups": false,
        "role": "*",
        "containers": [
            {
                "name": "web",
                "exec": {"command": {"shell": "sleep 1"}, "overrideEntrypoint": true},
                "resources": {"cpus": 0.5, "mem": 64, "disk": 1.5, "gpus": 1},
                "resourceLimits": {"cpus": "unlimited", "mem": 128},
                "endpoints": [
                    {"name": "http", "containerPort": 80, "hostPort": 0, "protocol": ["tcp"],
                     "labels": {"VIP_0": "/web:80"}},
                    {"name": "dns", "containerPort": 53, "protocol": ["udp", "tcp"],
                     "networkNames": ["net_1"]},
                ],
                "linuxInfo": {"seccomp": {"unconfined": true}},
                "image": {"kind": "DOCKER", "id": "web:1", "forcePull": true, "labels": {"x": "y"},
                          "pullConfig": {"secret": "token"}},
                "environment": {"C": "d"},
                "user": "www",
                "healthCheck": {"http": {"endpoint": "http", "path": "/health", "scheme": "HTTPS"},
                                "gracePeriodSeconds": 1, "intervalSeconds": 3, "maxConsecutiveFailures": 4,
                                "timeoutSeconds": 2, "delaySeconds": 5},
                "check": {"tcp": {"endpoint": "dns"}, "intervalSeconds": 6, "timeoutSeconds": 7, "delaySeconds": 8},
                "volumeMounts": [
                    {"name": "scratch", "mountPath": "/tmp"},
                    {"name": "host", "mountPath": "/hostetc", "readOnly": true},
                    {"name": "key", "mountPath": "key"},
                ],
                "artifacts": [{"uri": "http://x/a.zip", "extract": true, "executable": false, "cache": false,
                               "destPath": "a"}],
                "labels": {"l": "m"},
                "lifecycle": {"killGracePeriodSeconds": 2.5},
                "tty": true,
            },
            {
                "name": "side",
                "exec": {"command": {"argv": ["sleep", "1"]}},
                "resources": {"cpus": 0.1, "mem": 32, "disk": 0, "gpus": 0},
                "healthCheck": {"exec": {"command": {"argv": ["true"]}}, "gracePeriodSeconds": 300,
                                "intervalSeconds": 60, "maxConsecutiveFailures": 3, "timeoutSeconds": 20,
                                "delaySeconds": 15},
            },
        ],
    })
}

#[test]
fn what_is_written_is_what_was_read() {
    let pod = read(&full()).unwrap();
    let mut wanted = full();
    wanted["version"] = json!("2023-11-14T22:13:20.123Z");
    assert_eq!(written(&pod), wanted);
    let again = read_stored_pod(&written(&pod)).unwrap();
    assert_eq!(again, pod);
}

#[test]
fn defaults() {
    let pod = read(&pod_with(json!({}))).unwrap();
    assert_eq!((pod.instances, pod.networks[0].mode, pod.role.as_str()), (1, NetworkMode::Host, "*"));
    assert_eq!(pod.upgrade_strategy, UpgradeStrategy::DEFAULT);
    assert_eq!(pod.unreachable_strategy, UnreachableStrategy::DEFAULT);
    assert_eq!(pod.version_info, VersionInfo { last_scaling_at: NOW, last_config_change_at: NOW });
    // Rule 283.
    assert_eq!((pod.executor_resources.cpus, pod.executor_resources.mem), (0.1, 32.0));
    assert_eq!(pod.resources().mem, 96.0);
    let again = read_stored_pod(&written(&pod)).unwrap();
    assert_eq!(again, pod);
}

#[test]
fn endpoints_off_container_networks_have_host_ports() {
    let endpoint = json!({"endpoints": [{"name": "a"}]});
    for (networks, port) in [
        (json!([]), Some(0)),
        (json!([{"mode": "host"}]), Some(0)),
        (json!([{"mode": "container/bridge"}]), Some(0)),
    ] {
        let mut document = container_with(endpoint.clone());
        document["networks"] = networks;
        assert_eq!(read(&document).unwrap().containers[0].endpoints[0].host_port, port);
    }
    let mut document = container_with(json!({"endpoints": [{"name": "a", "containerPort": 80}]}));
    document["networks"] = json!([{"name": "n"}]);
    assert_eq!(read(&document).unwrap().containers[0].endpoints[0].host_port, None);
}

#[test]
fn resident_pods_have_their_own_defaults() {
    let mut document = container_with(json!({"volumeMounts": [{"name": "data", "mountPath": "data"}]}));
    document["volumes"] = json!([{"name": "data", "persistent": {"size": 10}}]);
    document["role"] = json!("shop");
    let pod = read(&document).unwrap();
    assert!(pod.is_resident());
    assert_eq!(pod.upgrade_strategy, UpgradeStrategy::RESIDENT);
    assert_eq!(pod.unreachable_strategy, UnreachableStrategy::Disabled);
    assert_eq!(read_stored_pod(&written(&pod)).unwrap(), pod);
    // Rules 67 and 169.
    document["scheduling"] = json!({"upgrade": {}, "unreachableStrategy": {}});
    assert_eq!(
        errors(&document),
        [
            "/: unreachableStrategy must be disabled for resident tasks",
            "/scheduling/upgrade/maximumOverCapacity: got 1.0, expected 0.0",
        ]
    );
    // Rule 157.
    document["scheduling"] = json!({"placement": {"acceptedResourceRoles": ["shop"]}});
    document["role"] = json!("*");
    assert_eq!(
        errors(&document),
        [
            "/role: Resident apps cannot have the role *",
            "/scheduling/placement/acceptedResourceRoles: acceptedResourceRoles can only contain * and *",
            "/scheduling/placement/acceptedResourceRoles: A resident app must have `acceptedResourceRoles = [\"*\"]`.",
        ]
    );
}

#[test]
fn marathon_rule_163_resident_pods_keep_volumes_resources_and_ports() {
    let mut document = container_with(json!({
        "volumeMounts": [{"name": "data", "mountPath": "data"}],
        "endpoints": [{"name": "a", "hostPort": 0}],
    }));
    document["volumes"] = json!([{"name": "data", "persistent": {"size": 10}}]);
    document["role"] = json!("shop");
    let pod = read(&document).unwrap();
    assert_eq!(judge_pod_change(&pod, &Pod { instances: 9, ..pod.clone() }), Ok(()));
    let mut other = pod.clone();
    other.containers[0].resources.cpus = 1.0;
    assert!(judge_pod_change(&pod, &other).is_err());
    let mut other = pod.clone();
    other.containers[0].endpoints[0].host_port = Some(80);
    assert!(judge_pod_change(&pod, &other).is_err());
    let mut other = pod.clone();
    other.volumes[0].source = VolumeSource::Ephemeral;
    let details = judge_pod_change(&pod, &other).unwrap_err().to_string();
    assert!(details.contains("Persistent volumes can not be changed!"), "{details}");
}

#[test]
fn marathon_rule_281_names_and_ports_are_unique_over_the_pod() {
    let document = pod_with(json!({
        "networks": [{"mode": "container", "name": "n"}],
        "containers": [
            {"name": "a", "resources": {}, "endpoints": [{"name": "e", "containerPort": 80, "hostPort": 99}]},
            {"name": "a", "resources": {}, "endpoints": [{"name": "e", "containerPort": 80, "hostPort": 99}]},
        ],
    }));
    assert_eq!(
        errors(&document),
        [
            "/: Endpoint names are unique",
            "/: Container ports are unique",
            "/: Host ports are unique",
            "/containers: container names are unique",
        ]
    );
}

#[test]
fn marathon_rule_282_volumes_are_mounted_and_mounts_have_volumes() {
    let mut document = container_with(json!({"volumeMounts": [{"name": "b", "mountPath": "x"}]}));
    document["volumes"] = json!([{"name": "a"}, {"name": "a", "host": ""}]);
    assert_eq!(
        errors(&document),
        [
            "/containers(0)/volumeMounts(0)/name: Referenced Volume in VolumeMount should exist",
            "/volumes: volume names are unique",
            "/volumes(0): volume must be referenced by at least one container",
            "/volumes(1): volume must be referenced by at least one container",
            "/volumes(1)/host: must not be empty",
        ]
    );
}

#[test]
fn marathon_rule_147_health_checks_of_pods() {
    let check =
        |check: Value| errors(&container_with(json!({"endpoints": [{"name": "e"}], "healthCheck": check})));
    assert!(check(json!({"http": {"endpoint": "e"}})).is_empty());
    assert_eq!(
        check(json!({"tcp": {"endpoint": "f"}})),
        ["/containers(0)/healthCheck/tcp/endpoint: contained in the container endpoints"]
    );
    assert_eq!(
        check(json!({"tcp": {"endpoint": "e"}, "timeoutSeconds": 60})),
        ["/containers(0)/healthCheck/timeoutSeconds: got 60, expected less than 60"]
    );
    let one = "/containers(0)/healthCheck: Only one of http, tcp, or command may be specified";
    assert_eq!(check(json!({})), [one]);
    assert_eq!(check(json!({"tcp": {"endpoint": "e"}, "http": {"endpoint": "e"}})), [one]);
}

#[test]
fn types_bounds_and_patterns() {
    for (changes, error) in [
        (json!({"id": "/UP"}), "/id: error.pattern"),
        (json!({"id": "/"}), "/id: Path must contain at least one path element"),
        (json!({"id": 3}), "/id: error.expected.jsstring"),
        (json!({"containers": []}), "/containers: error.minLength"),
        (json!({"containers": null}), "/containers: error.path.missing"),
        (json!({"containers": [{"name": "_app", "resources": {}}]}), "/containers(0)/name: error.pattern"),
        (json!({"containers": [{"name": "a"}]}), "/containers(0)/resources: error.path.missing"),
        (
            json!({"containers": [{"name": "a", "resources": {"cpus": 0}}]}),
            "/containers(0)/resources/cpus: error.min",
        ),
        (json!({"environment": {"A-B": "x"}}), "/environment: error.pattern"),
        (json!({"scaling": {"kind": "wild"}}), "/scaling/kind: error.unknown.enum.literal"),
        (json!({"scaling": {"kind": "fixed", "instances": -1}}), "/scaling/instances: error.min"),
        (
            json!({"scheduling": {"upgrade": {"minimumHealthCapacity": 2}}}),
            "/scheduling/upgrade/minimumHealthCapacity: error.max",
        ),
        (
            json!({"scheduling": {"placement": {"constraints": [{"fieldName": "a", "operator": "NEAR"}]}}}),
            "/scheduling/placement/constraints(0)/operator: error.unknown.enum.literal",
        ),
        (
            json!({"scheduling": {"placement": {"constraints": [{"fieldName": "a", "operator": "MAX_PER"}]}}}),
            "/scheduling/placement/constraints(0): MAX_PER requires an integer value",
        ),
        (
            json!({"scheduling": {"unreachableStrategy": {"inactiveAfterSeconds": 2, "expungeAfterSeconds": 1}}}),
            "/scheduling/unreachableStrategy/inactiveAfterSeconds: got 2 seconds, expected 1 seconds or less",
        ),
        (
            json!({"networks": [{"mode": "host"}, {"mode": "container", "name": "a"}]}),
            "/networks: May specify a single host network, single bridge network, or else 1-to-n container networks",
        ),
        (
            json!({"networks": [{"mode": "container"}]}),
            "/networks: Network name must be specified when container network is selected.",
        ),
        (json!({"user": ""}), "/user: must not be empty"),
        (json!({"version": "yesterday"}), "/version: error.expected.date.isoformat"),
        (
            json!({"linuxInfo": {"seccomp": {"unconfined": true}}}),
            "/linuxInfo/seccomp: is not allowed on the level of a pod",
        ),
    ] {
        assert_eq!(errors(&pod_with(changes.clone())), [error], "{changes}");
    }
}

#[test]
fn endpoints_and_networks() {
    let with = |networks: Value, endpoint: Value| {
        let mut document = container_with(json!({"endpoints": [endpoint]}));
        document["networks"] = networks;
        errors(&document)
    };
    let at = "/containers(0)/endpoints(0)";
    assert_eq!(
        with(json!([]), json!({"name": "a", "containerPort": 80})),
        [format!("{at}/containerPort: is not allowed when using host-mode networking")]
    );
    assert_eq!(
        with(json!([{"name": "n"}]), json!({"name": "a"})),
        [format!("{at}/containerPort: is required when using container-mode networking")]
    );
    assert_eq!(
        with(json!([]), json!({"name": "a", "protocol": ["tcp", "tcp"]})),
        [format!("{at}/protocol: Duplicate protocols within the same endpoint are not allowed")]
    );
    assert_eq!(
        with(json!([]), json!({"name": "a", "protocol": []})),
        [format!("{at}/protocol: error.minLength")]
    );
    assert_eq!(
        with(json!([]), json!({"name": "a", "hostPort": 65_536})),
        [format!("{at}/hostPort: error.max")]
    );
    // Rule 224.
    let two = json!([{"name": "n"}, {"name": "m"}]);
    assert_eq!(with(two.clone(), json!({"name": "a", "containerPort": 1, "hostPort": 0})).len(), 1);
    let named = json!({"name": "a", "containerPort": 1, "hostPort": 0, "networkNames": ["n"]});
    assert!(with(two.clone(), named).is_empty());
    let other = json!({"name": "a", "containerPort": 1, "networkNames": ["o"]});
    assert_eq!(with(two, other), [format!("{at}/networkNames(0): is not one of (n,m)")]);
}

#[test]
fn marathon_rules_226_and_227_secrets_of_pods() {
    let mut document = container_with(json!({"environment": {"A": {"secret": "s"}}}));
    assert_eq!(errors(&document), ["/containers(0)/environment/A/secret: references an undefined secret"]);
    document["secrets"] = json!({"s": {"source": "x"}});
    assert!(errors(&document).is_empty());
    assert_eq!(
        errors_with(&document, &[]),
        [
            "/containers(0)/environment: use of secret-references in the environment requires the secrets feature to be enabled",
            "/secrets: Feature secrets is not enabled. Enable with --enable_features secrets)",
        ]
    );
}

#[test]
fn limits_and_processors_of_graphics() {
    let mut document = container_with(json!({"resourceLimits": {"cpus": 0.25, "mem": "unlimited"}}));
    document["legacySharedCgroups"] = json!(true);
    assert_eq!(
        errors(&document),
        [
            "/containers(0)/resourceLimits: resource limits cannot be used together with legacySharedCgroups",
            "/containers(0)/resourceLimits/cpus: resource limit must be greater than or equal to requested resource (0.5)",
        ]
    );
    let document = container_with(json!({"resources": {"gpus": 1}}));
    assert_eq!(
        errors_with(&document, &[]),
        [
            "/containers(0)/resources/gpus: Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)"
        ]
    );
}

#[test]
fn marathon_rule_297_unknown_keys_of_pods_are_told() {
    let settings = settings(&[]);
    let root = Group::empty(PathId::root(), NOW);
    let context = Context { settings: &settings, root: &root, now: NOW, force: false };
    let mut document = container_with(json!({"enviroment": {}}));
    document["scalin"] = json!({});
    let (_, unknown) = read_pod_strictly(&document, &PathId::root(), &context).unwrap();
    let told: Vec<_> = unknown.iter().map(|u| (u.path.as_str(), u.suggestion.as_deref())).collect();
    assert_eq!(told, [("/containers(0)", Some("environment")), ("/", Some("scaling"))]);
}

/// How instances of a pod are shown, and the pod itself.
mod status {
    use std::{collections::BTreeMap, sync::Arc};

    use mezzo_services_model::{
        Condition, Goal, Health, Instance, InstanceId, Reservation, ReservationState, RunSpec, TaskFailure,
        TaskId,
    };

    use super::*;
    use crate::{
        answer::{Facts, Sources},
        pod::write_pod_status,
        sample::{at, instance, instance_id},
    };

    struct World {
        instances: BTreeMap<InstanceId, Instance>,
        old: Option<RunSpec>,
        failure: Option<TaskFailure>,
    }

    impl Sources for World {
        fn instances<'a>(&'a self, _: &PathId) -> Box<dyn Iterator<Item = &'a Instance> + 'a> {
            Box::new(self.instances.values())
        }

        fn version(&self, _: &PathId, _: Timestamp) -> Option<&RunSpec> {
            self.old.as_ref()
        }

        fn health(&self, _: &InstanceId) -> &[Option<Health>] {
            &[]
        }

        fn failure(&self, _: &PathId) -> Option<&TaskFailure> {
            self.failure.as_ref()
        }
    }

    fn pod() -> Pod {
        let document = container_with(json!({
            "endpoints": [{"name": "plain"}, {"name": "http", "hostPort": 0}],
            "healthCheck": {"http": {"endpoint": "plain"}},
        }));
        Pod { version: at(0), ..read(&document).unwrap() }
    }

    fn world(instances: Vec<Instance>) -> World {
        let instances = instances.into_iter().map(|instance| (instance.id.clone(), instance)).collect();
        World { instances, old: None, failure: None }
    }

    fn running(pod: &Pod, nth: usize, healthy: Option<bool>) -> Instance {
        let mut instance = instance(&pod.id, nth, &[Some("web")]);
        instance.tasks.get_mut("web").unwrap().healthy = healthy;
        instance
    }

    fn shown(pod: &Pod, world: &World) -> Value {
        let mut w = Writer::new();
        write_pod_status(&mut w, pod, &Facts::new(at(12), world, []));
        serde_json::from_slice(&w.finish()).unwrap()
    }

    #[test]
    fn marathon_rule_279_the_status_of_a_pod() {
        let pod = pod();
        assert_eq!(shown(&pod, &world(vec![]))["status"], "DEGRADED");
        assert_eq!(shown(&pod, &world(vec![running(&pod, 1, Some(false))]))["status"], "DEGRADED");
        let well = shown(&pod, &world(vec![running(&pod, 1, Some(true))]));
        assert_eq!(
            (&well["status"], &well["statusSince"]),
            (&json!("STABLE"), &json!("2023-11-14T22:13:22.000Z"))
        );
        assert_eq!(well["spec"]["id"], "/shop/pod");
        let none = Pod { instances: 0, ..pod.clone() };
        assert_eq!(shown(&none, &world(vec![]))["status"], "STABLE");
        let mut going = running(&pod, 1, Some(true));
        going.goal = Goal::Decommissioned;
        assert_eq!(shown(&pod, &world(vec![going]))["status"], "TERMINAL");
    }

    #[test]
    fn marathon_rule_280_the_status_of_an_instance() {
        let pod = pod();
        for (condition, wanted) in [
            (Condition::Scheduled, "PENDING"),
            (Condition::Provisioned, "PENDING"),
            (Condition::Staging, "STAGING"),
            (Condition::Starting, "STAGING"),
            (Condition::Running, "STABLE"),
            (Condition::Killing, "TERMINAL"),
            (Condition::Failed, "TERMINAL"),
            (Condition::Gone, "TERMINAL"),
            (Condition::Unknown, "TERMINAL"),
            (Condition::Unreachable, "DEGRADED"),
            (Condition::UnreachableInactive, "DEGRADED"),
        ] {
            let mut one = running(&pod, 1, Some(true));
            one.condition = condition;
            let shown = &shown(&pod, &world(vec![one]))["instances"][0];
            assert_eq!(shown["status"], wanted, "{condition:?}");
            let message = (wanted == "DEGRADED").then_some("pod instance has become unreachable");
            assert_eq!(shown.get("message").and_then(Value::as_str), message, "{condition:?}");
        }
        // A check that has said nothing counts as ill, with its own reason.
        for (healthy, value, reason) in [
            (Some(false), "false", "health-reported-by-mesos"),
            (None, "false", "health-unreported-by-mesos"),
            (Some(true), "true", "health-reported-by-mesos"),
        ] {
            let shown = &shown(&pod, &world(vec![running(&pod, 1, healthy)]))["instances"][0];
            let condition = &shown["containers"][0]["conditions"][0];
            assert_eq!((&condition["value"], &condition["reason"]), (&json!(value), &json!(reason)));
            assert_eq!(shown["status"] == "STABLE", value == "true");
        }
    }

    #[test]
    fn an_instance_with_its_containers() {
        let pod = pod();
        let mut world = world(vec![running(&pod, 1, Some(true))]);
        world.failure = Some(TaskFailure {
            run_spec: pod.id.clone(),
            task: TaskId::new(&instance_id(&pod.id, 7), Some("web"), 1),
            state: "TASK_FAILED".into(),
            message: "exit 1".into(),
            host: "one.example".into(),
            agent_id: None,
            version: at(0),
            at: at(6),
        });
        let all = shown(&pod, &world);
        assert_eq!(
            all["instances"][0],
            json!({
                "id": "shop_pod.instance-00000000-0000-0000-0000-000000000001",
                "status": "STABLE",
                "statusSince": "2023-11-14T22:13:22.000Z",
                "lastUpdated": "2023-11-14T22:13:22.000Z",
                "lastChanged": "2023-11-14T22:13:22.000Z",
                "agentHostname": "one.example",
                "agentId": "agent-1",
                "agentRegion": "r1",
                "agentZone": "z1",
                "role": "*",
                "resources": {"cpus": 0.6, "mem": 96, "disk": 10, "gpus": 0},
                "networks": [{"name": "net", "addresses": ["10.0.0.7"]}],
                "containers": [{
                    "name": "web",
                    "status": "TASK_RUNNING",
                    "statusSince": "2023-11-14T22:13:22.000Z",
                    "lastUpdated": "2023-11-14T22:13:22.000Z",
                    "lastChanged": "2023-11-14T22:13:22.000Z",
                    "containerId": "shop_pod.instance-00000000-0000-0000-0000-000000000001.web.1",
                    "endpoints": [{"name": "plain", "allocatedHostPort": 31000, "healthy": true}, {"name": "http"}],
                    "conditions": [{
                        "name": "healthy",
                        "value": "true",
                        "reason": "health-reported-by-mesos",
                        "lastUpdated": "2023-11-14T22:13:22.000Z",
                        "lastChanged": "2023-11-14T22:13:22.000Z",
                    }],
                    "resources": {"cpus": 0.5, "mem": 64, "disk": 0, "gpus": 0},
                }],
                "localVolumes": [],
                "specReference": "/v2/pods/shop/pod::versions/2023-11-14T22:13:20.000Z",
            })
        );
        let end = &all["terminationHistory"][0];
        assert_eq!(end["instanceID"], "shop_pod.instance-00000000-0000-0000-0000-000000000007");
        assert_eq!(end["containers"][0]["lastKnownState"], "TASK_FAILED");
    }

    #[test]
    fn instances_of_older_versions_are_seen_through_their_own_definition() {
        let mut pod = pod();
        let old = pod.clone();
        pod.containers[0].name = "renamed".into();
        pod.version = at(9);
        let mut world = world(vec![running(&pod, 1, Some(true))]);
        let of = |world: &World| shown(&pod, world)["instances"][0]["resources"]["mem"].clone();
        assert_eq!(of(&world), 32);
        world.old = Some(RunSpec::Pod(Arc::new(old)));
        assert_eq!(of(&world), 96);
    }

    #[test]
    fn a_stopped_instance_with_volumes_is_not_ill() {
        let pod = pod();
        let mut one = running(&pod, 1, None);
        one.reservation = Some(Reservation { volumes: vec![], state: ReservationState::Suspended });
        one.condition = Condition::Finished;
        one.tasks.get_mut("web").unwrap().condition = Condition::Finished;
        let shown = shown(&pod, &world(vec![one]));
        assert_eq!(shown["instances"][0]["containers"][0]["conditions"], json!([]));
        assert_eq!(shown["instances"][0]["containers"][0]["resources"]["mem"], 64);
    }
}
