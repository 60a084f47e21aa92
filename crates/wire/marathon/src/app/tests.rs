//! Documents of apps, read, refused, changed and written.

use std::{collections::BTreeSet, sync::Arc};

use mezzo_json::Writer;
use mezzo_services_model::{App, Group, NetworkMode, PathId, PortRef, UnreachableStrategy, UpgradeStrategy};
use mezzo_time::Timestamp;
use serde_json::{Value, json};

use crate::{
    Context, Invalid, Settings, answer::write_app, judge_change, read_app, read_app_strictly,
    read_app_update, read_stored_app,
};

pub(super) fn now() -> Timestamp {
    Timestamp::from_nanos(1_700_000_000_123_000_000)
}

pub(super) fn all_features() -> Settings {
    let features = ["secrets", "external_volumes", "gpu_resources"].map(String::from);
    Settings { features: BTreeSet::from(features), ..Settings::default() }
}

pub(super) fn read_with(settings: &Settings, value: &Value) -> Result<App, Invalid> {
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let context = Context { settings, root: &root, now: now(), force: false };
    read_app(value, &PathId::root(), &context)
}

fn read(value: Value) -> App {
    read_with(&all_features(), &value).unwrap_or_else(|error| panic!("{value}: {error}"))
}

pub(super) fn written(app: &App) -> Value {
    let mut writer = Writer::new();
    write_app(&mut writer, app);
    serde_json::from_slice(&writer.finish()).unwrap()
}

/// `{"id": "/a", "cmd": "sleep"}` with `more` in it.
fn app(more: Value) -> Value {
    let mut app = json!({"id": "/a", "cmd": "sleep 9"});
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    app
}

/// All errors as lines `path: error`.
fn errors(result: Result<App, Invalid>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(Invalid::Json(details) | Invalid::Object(details)) => {
            let lines =
                details.iter().flat_map(|(p, errors)| errors.iter().map(move |e| format!("{p}: {e}")));
            lines.collect()
        }
        Err(other) => vec![other.to_string()],
    }
}

fn refused(value: Value, expected: &[&str]) {
    assert_eq!(errors(read_with(&all_features(), &value)), expected, "{value}");
}

fn update(stored: &App, sent: Value, partial: bool) -> Result<App, Invalid> {
    let settings = all_features();
    let stored = Arc::new(stored.clone());
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let root = root.updated(&stored.id.parent(), Timestamp::ZERO, &mut |group| {
        group.apps.insert(stored.id.clone(), Arc::clone(&stored));
    });
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    read_app_update(&sent)?.apply(Some(&stored), &stored.id, partial, &context)
}

const RESIDENT: &str = r#"{"id": "/db", "cmd": "run db", "role": "db", "container": {"type": "MESOS", "volumes": [
    {"containerPath": "data", "mode": "RW", "persistent": {"size": 100}}]}}"#;

fn resident() -> Value {
    serde_json::from_str(RESIDENT).unwrap()
}

fn db_settings() -> Settings {
    Settings { role: "db".into(), ..all_features() }
}

#[test]
fn an_app_that_says_little_gets_the_defaults() {
    let app = read(json!({"id": "a", "cmd": "sleep 9"}));
    assert_eq!(app.id.as_str(), "/a");
    assert_eq!(
        (app.resources.cpus, app.resources.mem, app.resources.disk, app.instances),
        (1.0, 128.0, 0.0, 1)
    );
    assert_eq!(app.networks[0].mode, NetworkMode::Host);
    assert_eq!(app.port_definitions.len(), 1);
    assert_eq!((app.port_definitions[0].port, app.port_definitions[0].name.as_deref()), (0, Some("default")));
    assert_eq!(app.unreachable_strategy, UnreachableStrategy::DEFAULT);
    assert_eq!(app.upgrade_strategy, UpgradeStrategy::DEFAULT);
    assert_eq!((app.role.as_str(), app.version), ("*", now()));
    assert!(app.container.is_none() && !app.require_ports);
}

#[test]
fn marathon_rules_243_to_245_and_248_and_88_types_bounds_and_missing_fields() {
    refused(json!({"cmd": "sleep"}), &["/id: error.path.missing"]);
    refused(json!({"id": 1, "cmd": "sleep"}), &["/id: error.expected.jsstring"]);
    refused(json!({"id": "/A_b", "cmd": "sleep"}), &["/id: error.pattern"]);
    refused(app(json!({"cpus": 0.0001})), &["/cpus: error.min"]);
    refused(app(json!({"instances": -1})), &["/instances: error.min"]);
    refused(app(json!({"instances": "3"})), &["/instances: error.expected.jsnumber"]);
    refused(app(json!({"backoffFactor": 0.5})), &["/backoffFactor: error.min"]);
    refused(app(json!({"cmd": ""})), &["/cmd: error.minLength"]);
    refused(app(json!({"executor": "/x/"})), &["/executor: error.pattern"]);
    refused(app(json!({"labels": {"a": 1}})), &["/labels/a: error.expected.jsstring"]);
    refused(app(json!({"constraints": [["a"]]})), &["/constraints(0): error.minLength"]);
    refused(app(json!({"killSelection": "NEVER"})), &["/killSelection: error.unknown.enum.literal"]);
    refused(
        app(json!({"portDefinitions": [{"port": 70000}, {"protocol": "sctp"}]})),
        &["/portDefinitions(0)/port: error.max", "/portDefinitions(1)/protocol: error.unknown.enum.literal"],
    );
    refused(
        app(json!({"upgradeStrategy": {"minimumHealthCapacity": 1.5}})),
        &[
            "/upgradeStrategy/maximumOverCapacity: error.path.missing",
            "/upgradeStrategy/minimumHealthCapacity: error.max",
        ],
    );
    let invalid = read_with(&all_features(), &app(json!({"mem": "x"}))).unwrap_err();
    assert_eq!((invalid.status(), &invalid.body()["message"]), (422, &json!("Invalid JSON")));
    let invalid = read_with(&all_features(), &json!({"id": "/a"})).unwrap_err();
    assert_eq!(invalid.status(), 422);
    assert_eq!(
        invalid.body(),
        json!({"message": "Object is not valid", "details": [{"path": "/", "errors":
            ["AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."]}]}),
    );
}

#[test]
fn marathon_rules_286_to_288_commands() {
    let neither = "/: AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    refused(json!({"id": "/a"}), &[neither]);
    refused(app(json!({"args": ["x"]})), &[neither]);
    refused(json!({"id": "/a", "container": {"type": "MESOS"}}), &[neither]);
    refused(json!({"id": "/a", "cmd": "x"}), &["/: must not be an empty string"]);
    read(json!({"id": "/a", "args": ["x"]}));
    read(json!({"id": "/a", "container": {"type": "MESOS", "docker": {"image": "i"}}}));
    read(json!({"id": "/a", "container": {"docker": {"image": "i"}}}));
}

#[test]
fn marathon_rules_295_and_296_ids() {
    let reserved = "must not end with any of the following reserved keywords: restart, tasks, versions";
    for last in ["restart", "tasks", "versions"] {
        refused(app(json!({"id": format!("/a/{last}")})), &[&format!("/id: {reserved}")]);
    }
    refused(
        app(json!({"id": "/"})),
        &["/: must not be root", "/id: Path must contain at least one path element"],
    );
    refused(app(json!({"dependencies": ["../tasks/"]})), &["/dependencies(0): the path leaves the root"]);
    refused(app(json!({"dependencies": ["/x/tasks"]})), &[&format!("/dependencies(0): {reserved}")]);
    assert_eq!(read(app(json!({"id": "x/../b", "dependencies": ["db"]}))).id.as_str(), "/b");
}

#[test]
fn old_ports_become_port_definitions() {
    let ports = |app: &App| app.port_definitions.iter().map(|port| port.port).collect::<Vec<_>>();
    assert_eq!(ports(&read(app(json!({"ports": [80, 0, 0]})))), [80, 0, 0]);
    assert_eq!(ports(&read(app(json!({"ports": []})))), [0_u16; 0]);
    assert_eq!(ports(&read(app(json!({"portDefinitions": []})))), [0_u16; 0]);
    assert_eq!(ports(&read(app(json!({"ports": [8], "portDefinitions": [{"port": 8}]})))), [8]);
    refused(
        app(json!({"ports": [8], "portDefinitions": [{"port": 9}]})),
        &["/: cannot specify both ports and port definitions"],
    );
    refused(app(json!({"ports": [8, 8]})), &["/: ports must be unique"]);
    refused(app(json!({"ports": [8], "ipAddress": {}})), &["/: cannot specify both an IP address and port"]);
}

#[test]
fn marathon_rule_216_names_and_numbers_of_ports_are_unique() {
    refused(
        app(json!({"portDefinitions": [{"port": 9, "name": "a"}, {"port": 9, "name": "a"}]})),
        &["/portDefinitions: Port names must be unique.", "/portDefinitions: Ports must be unique."],
    );
    refused(
        app(json!({"networks": [{"name": "n"}], "container": {"type": "MESOS", "portMappings": [
            {"name": "a"}, {"name": "a"}]}})),
        &["/container/portMappings: Port names must be unique."],
    );
}

#[test]
fn mappings_belong_to_networks_that_are_not_the_hosts() {
    let mappings = |app: &App| app.container.as_ref().unwrap().port_mappings.clone();
    let bridge = json!([{"mode": "container/bridge"}]);
    let by_default = read(app(json!({"networks": bridge, "requirePorts": true})));
    assert_eq!(mappings(&by_default)[0].name.as_deref(), Some("default"));
    assert_eq!(mappings(&by_default)[0].host_port, Some(0));
    assert!(by_default.port_definitions.is_empty() && !by_default.require_ports);
    let none = json!({"type": "MESOS", "portMappings": []});
    assert!(mappings(&read(app(json!({"networks": bridge, "container": none})))).is_empty());
    let named = json!([{"name": "n"}]);
    assert_eq!(mappings(&read(app(json!({"networks": named}))))[0].host_port, None);
    let padded = read(app(json!({"networks": named, "ports": [1, 2, 3], "container": {"type": "MESOS",
        "portMappings": [{"containerPort": 80}]}})));
    assert_eq!(mappings(&padded).iter().map(|port| port.container_port).collect::<Vec<_>>(), [80, 0, 0]);
    let dropped = read(app(json!({"container": {"type": "MESOS", "portMappings": [{"containerPort": 80}]}})));
    assert!(mappings(&dropped).is_empty());
}

#[test]
fn marathon_rules_221_to_225_networks() {
    let networks = |networks: Value| app(json!({"networks": networks}));
    let mix = "/networks: May specify a single host network, single bridge network, or else 1-to-n container networks";
    refused(networks(json!([{"mode": "host"}, {"name": "n"}])), &[mix]);
    refused(networks(json!([{"mode": "host"}, {"mode": "host"}])), &[mix]);
    refused(
        networks(json!([{"name": "n"}, {"name": "n"}])),
        &["/networks: Duplicate networks are not allowed"],
    );
    let host = "/networks: Host networks may not have names or labels";
    refused(networks(json!([{"mode": "host", "name": "n"}])), &[host]);
    refused(networks(json!([{"mode": "host", "labels": {"a": "b"}}])), &[host]);
    refused(
        networks(json!([{"mode": "container/bridge", "name": "n"}])),
        &["/networks: Bridge networks may not have names"],
    );
    refused(
        networks(json!([{}])),
        &["/networks: Network name must be specified when container network is selected."],
    );
    let named = Settings { network: Some("dc".into()), ..all_features() };
    let app_on_default = read_with(&named, &networks(json!([{}]))).unwrap();
    assert_eq!(app_on_default.networks[0].name.as_deref(), Some("dc"));
    refused(
        app(json!({"networks": [{"name": "m"}, {"name": "n"}], "container": {"docker": {"image": "i"}}})),
        &["/: may only specify a single container network when using the Docker container engine"],
    );
    refused(
        app(
            json!({"networks": [{"name": "m"}, {"name": "n"}], "container": {"type": "MESOS", "portMappings": [
            {"hostPort": 0}, {"hostPort": 0, "networkNames": ["m"]}, {"networkNames": ["x"]}]}}),
        ),
        &[
            "/container/portMappings(0): networkNames must be a single item list when hostPort is specified and more than \
             1 container network is defined",
            "/container/portMappings(2)/networkNames(0): is not one of (m,n)",
        ],
    );
    refused(
        app(json!({"networks": [{"mode": "host"}], "container": {"type": "MESOS", "portMappings": [{}]}})),
        &["/: portMappings are not allowed with host-networking"],
    );
}

#[test]
fn old_networks_become_networks() {
    let docker = |network: &str| json!({"docker": {"image": "i", "network": network, "portMappings": [{"containerPort": 8}]}});
    let mode = |app: &App| app.networks[0].mode;
    let bridged = read(app(json!({"container": docker("BRIDGE")})));
    assert_eq!(mode(&bridged), NetworkMode::Bridge);
    assert_eq!(bridged.container.as_ref().unwrap().port_mappings[0].container_port, 8);
    assert_eq!(mode(&read(app(json!({"container": docker("HOST")})))), NetworkMode::Host);
    let user = read(app(
        json!({"container": docker("USER"), "ipAddress": {"networkName": "n", "labels": {"a": "b"}}}),
    ));
    assert_eq!((mode(&user), user.networks[0].name.as_deref()), (NetworkMode::Container, Some("n")));
    assert_eq!(user.networks[0].labels["a"], "b");
    assert_eq!(
        errors(read_with(&all_features(), &app(json!({"container": docker("NONE")})))),
        ["the Docker network mode NONE is not supported"]
    );
    let alone = read(app(json!({"ipAddress": {"networkName": "n", "discovery": {"ports": [
        {"name": "http", "number": 80}]}}})));
    let container = alone.container.as_ref().unwrap();
    assert_eq!((mode(&alone), container.port_mappings[0].container_port), (NetworkMode::Container, 80));
    assert_eq!(container.port_mappings[0].host_port, None);
    let bridge = read(app(json!({"ipAddress": {"networkName": "mesos-bridge"}})));
    assert_eq!((mode(&bridge), bridge.networks[0].name.as_deref()), (NetworkMode::Bridge, None));
    refused(
        app(json!({"container": docker("HOST"), "networks": [{"mode": "host"}]})),
        &["/: must not specify both container.docker.network and networks"],
    );
    refused(
        app(json!({"ipAddress": {}, "networks": [{"mode": "host"}]})),
        &["/: must not specify both networks and ipAddress"],
    );
    refused(
        app(json!({"ipAddress": {"discovery": {"ports": []}}, "container": {"docker": {"image": "i"}}})),
        &["/ipAddress: ipAddress/discovery is not allowed for Docker containers"],
    );
    let both = json!({"docker": {"image": "i", "portMappings": [{}]}, "portMappings": [{}]});
    refused(app(json!({"container": both})), &["cannot specify both portMappings and docker.portMappings"]);
}

#[test]
fn old_uris_become_fetch() {
    let fetched = read(app(json!({"uris": ["http://x/a.tgz", "/b"]}))).fetch;
    assert_eq!(fetched.iter().map(|f| f.extract).collect::<Vec<_>>(), [true, false]);
    refused(
        app(json!({"uris": ["a"], "fetch": [{"uri": "b"}]})),
        &["/uris: may not be set in conjunction with fetch"],
    );
    refused(app(json!({"uris": ["a b"]})), &["/uris(0): URI has invalid syntax."]);
    refused(
        app(json!({"fetch": [{"uri": "ok"}, {"uri": "d://\not"}]})),
        &["/fetch(1)/uri: URI has invalid syntax."],
    );
}

#[test]
fn containers_and_images() {
    refused(app(json!({"container": {}})), &["/container/docker: not defined"]);
    refused(
        app(json!({"container": {"docker": {"image": ""}}})),
        &["/container/docker/image: error.minLength"],
    );
    refused(
        app(json!({"container": {"type": "MESOS", "docker": {"image": "i", "credential": {"principal": "p"},
            "network": "HOST", "parameters": [{"key": "a", "value": "b"}], "portMappings": []}}})),
        &[
            "/container/docker/credential: must be empty",
            "/container/docker/network: must be empty",
            "/container/docker/parameters: must be empty",
            "/container/docker/portMappings: must be empty",
        ],
    );
    let pull =
        |engine: &str| json!({"type": engine, "docker": {"image": "i", "pullConfig": {"secret": "s"}}});
    let path = "/container/docker/pullConfig";
    refused(
        app(json!({"container": pull("DOCKER")})),
        &[&format!("{path}: pullConfig is not supported with Docker containerizer")],
    );
    refused(
        app(json!({"container": pull("MESOS")})),
        &[&format!("{path}: pullConfig.secret must refer to an existing secret")],
    );
    read(app(json!({"container": pull("MESOS"), "secrets": {"s": {"source": "x"}}})));
    assert_eq!(
        errors(read_with(&Settings::default(), &app(json!({"container": pull("MESOS")})))),
        [
            format!("{path}: must be empty"),
            format!("{path}: Feature secrets is not enabled. Enable with --enable_features secrets)"),
            format!("{path}: pullConfig.secret must refer to an existing secret"),
        ]
    );
}

#[test]
fn marathon_rule_292_linux_info() {
    let info = |engine: &str, info: Value| {
        app(json!({"container": {"type": engine, "docker": {"image": "i"}, "linuxInfo": info}}))
    };
    let path = "/container/linuxInfo";
    refused(
        info("MESOS", json!({"seccomp": {"profileName": "p", "unconfined": true}})),
        &[&format!("{path}/seccomp: Seccomp unconfined can NOT be true when Profile is defined")],
    );
    refused(
        info("MESOS", json!({"seccomp": {}})),
        &[&format!("{path}/seccomp: Seccomp unconfined must be true when Profile is NOT defined")],
    );
    refused(
        info("MESOS", json!({"ipcInfo": {"mode": "SHARE_PARENT", "shmSize": 4}})),
        &[&format!("{path}/ipcInfo: ipcInfo shmSize can NOT be set when mode is SHARE_PARENT")],
    );
    refused(
        info("DOCKER", json!({})),
        &[&format!("{path}: linuxInfo is not supported with Docker containerizer")],
    );
    read(info(
        "MESOS",
        json!({"seccomp": {"unconfined": true}, "ipcInfo": {"mode": "PRIVATE", "shmSize": 4}}),
    ));
}

#[test]
fn marathon_rules_226_and_227_secrets() {
    let uses = app(json!({"env": {"A": {"secret": "x"}}, "secrets": {"s": {"source": "y"}}}));
    refused(uses.clone(), &["/env/A/secret: references an undefined secret"]);
    let feature = "Feature secrets is not enabled. Enable with --enable_features secrets)";
    assert_eq!(
        errors(read_with(&Settings::default(), &uses)),
        [
            "/env: use of secret-references in the environment requires the secrets feature to be enabled"
                .to_string(),
            "/env/A/secret: references an undefined secret".into(),
            format!("/secrets: {feature}"),
        ]
    );
    let volume =
        app(json!({"container": {"type": "MESOS", "volumes": [{"containerPath": "p", "secret": "s"}]}}));
    refused(volume.clone(), &["/container/volumes(0): volume.secret must refer to an existing secret"]);
    assert!(errors(read_with(&Settings::default(), &volume)).iter().any(|error| error.ends_with(feature)));
    refused(app(json!({"secrets": {"s": {"source": ""}}})), &["/secrets/s/source: error.minLength"]);
}

#[test]
fn marathon_rules_141_and_146_and_140_health_checks() {
    let index =
        "Health check port indices must address an element of the ports array or container port mappings.";
    let checks = |checks: Value| app(json!({"healthChecks": checks}));
    assert_eq!(
        read(app(json!({"healthChecks": [{}], "portDefinitions": [{}]}))).health_checks[0].port,
        Some(PortRef::Index(0))
    );
    read(checks(json!([{"portIndex": 0}])));
    read(checks(json!([{}])));
    refused(checks(json!([{"portIndex": 1}])), &[&format!("/healthChecks(0): {index}")]);
    refused(app(json!({"healthChecks": [{}], "ports": []})), &[&format!("/healthChecks(0): {index}")]);
    read(app(json!({"healthChecks": [{"port": 80}], "ports": []})));
    read(app(json!({"healthChecks": [{"protocol": "MESOS_HTTP"}], "ports": []})));
    refused(
        checks(json!([{"protocol": "MESOS_TCP", "ipProtocol": "IPv6"}])),
        &[
            "/healthChecks(0): IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
        ],
    );
    read(app(
        json!({"container": {"docker": {"image": "i"}}, "healthChecks": [{"protocol": "MESOS_TCP", "ipProtocol": "IPv6"}]}),
    ));
    refused(
        checks(json!([{"protocol": "MESOS_TCP"}, {"protocol": "MESOS_HTTP"}])),
        &["/: AppDefinition can contain at most one Mesos health check"],
    );
    let command = |line: &str| json!({"protocol": "COMMAND", "command": {"value": line}});
    assert_eq!(read(checks(json!([command("a"), command("b"), command("b")]))).health_checks.len(), 2);
    refused(checks(json!([{"protocol": "COMMAND"}])), &["/healthChecks(0)/command: not defined"]);
}

#[test]
fn marathon_rule_290_and_generic_checks() {
    let docker = json!({"docker": {"image": "i"}});
    let check = json!({"tcp": {"portIndex": 0}});
    refused(
        app(json!({"container": docker, "check": check})),
        &["/check: AppDefinition must not use check with the Docker engine"],
    );
    read(app(json!({"check": check})));
    read(app(json!({"check": {"exec": {"command": {"argv": ["true"]}}}})));
    refused(app(json!({"check": {}})), &["/check: error.expected.http.or.tcp.or.exec"]);
    refused(
        app(json!({"check": {"exec": {"command": {"argv": ["a"], "shell": "b"}}}})),
        &["/check/exec/command: error.expected.shell.or.argv"],
    );
}

#[test]
fn marathon_rule_151_readiness_checks() {
    let ports = json!([{"name": "http"}]);
    let check = json!({"portName": "http"});
    let read_back = read(app(json!({"portDefinitions": ports, "readinessChecks": [check]})));
    assert_eq!(read_back.readiness_checks[0].ready_statuses, [200]);
    refused(
        app(json!({"portDefinitions": ports, "readinessChecks": [{"timeoutSeconds": 30}]})),
        &[
            "/readinessChecks(0)/portName: No port definition reference for portName http-api",
            "/readinessChecks(0)/timeoutSeconds: got 30, expected less than 30",
        ],
    );
    refused(
        app(json!({"portDefinitions": ports, "readinessChecks": [check, check]})),
        &["/readinessChecks/size: got 2, expected 1 or less"],
    );
}

#[test]
fn marathon_rules_110_to_121_constraints() {
    let constraint = |texts: &[&str]| app(json!({"constraints": [texts]}));
    let wrong =
        |texts: &[&str], error: &str| refused(constraint(texts), &[&format!("/constraints(0): {error}")]);
    wrong(&["a", "UNIQUE", "x"], "UNIQUE does not accept a value");
    wrong(&["a", "GROUP_BY", "x"], "GROUP BY must define an integer value or else no value at all");
    wrong(&["a", "GROUP_BY", "inf"], "GROUP BY must define an integer value or else no value at all");
    wrong(&["a", "MAX_PER"], "MAX_PER requires an integer value");
    wrong(&["a", "LIKE"], "LIKE and UNLIKE require a non-empty, regular expression value");
    wrong(&["a", "UNLIKE", "("], "is not a valid regular expression");
    wrong(&["", "LIKE", "x"], "illegal constraint specification");
    wrong(
        &["a", "EQUALS", "x"],
        "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS",
    );
    wrong(
        &["a", "IS", "{x}"],
        "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
    );
    for good in [
        &["a", "cluster"][..],
        &["a", "CLUSTER", "x"],
        &["a", "group_by"],
        &["a", "IS"],
        &["a", "Max_Per", "2"],
    ] {
        assert_eq!(read(constraint(good)).constraints.len(), 1, "{good:?}");
    }
    assert_eq!(read(app(json!({"constraints": [["a", "UNIQUE"], ["a", "unique"]]}))).constraints.len(), 1);
}

#[test]
fn marathon_rules_289_and_291_resources() {
    refused(
        app(json!({"gpus": 1, "container": {"docker": {"image": "i"}}})),
        &["/: GPU resources only work with the Mesos containerizer"],
    );
    assert_eq!(
        errors(read_with(&Settings::default(), &app(json!({"gpus": 1})))),
        ["/: Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)"]
    );
    let limits = |limits: Value| app(json!({"mem": 256, "cpus": 2, "resourceLimits": limits}));
    refused(
        limits(json!({"mem": 200, "cpus": 1})),
        &[
            "/resourceLimits/cpus: resource limit must be greater than or equal to requested resource (2.0)",
            "/resourceLimits/mem: resource limit must be greater than or equal to requested resource (256.0)",
        ],
    );
    read(limits(json!({"mem": 256, "cpus": "unlimited"})));
    refused(limits(json!({"mem": "Infinity"})), &["/resourceLimits/mem: error.unknown.enum.literal"]);
}

#[test]
fn marathon_rules_66_to_68_and_169_and_178_strategies() {
    let single = json!({"MARATHON_SINGLE_INSTANCE_APP": "true"});
    refused(
        app(json!({"labels": single, "instances": 2,
            "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 1}})),
        &[
            "/: Single instance app may only have one instance",
            "/upgradeStrategy/maximumOverCapacity: got 1.0, expected 0.0",
            "/upgradeStrategy/minimumHealthCapacity: got 0.5, expected 0.0",
        ],
    );
    let mut over = resident();
    over["upgradeStrategy"] = json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5});
    over["unreachableStrategy"] = json!({});
    assert_eq!(
        errors(read_with(&db_settings(), &over)),
        [
            "/: unreachableStrategy must be disabled for resident tasks",
            "/upgradeStrategy/maximumOverCapacity: got 0.5, expected 0.0",
        ]
    );
    refused(
        app(json!({"unreachableStrategy": {"inactiveAfterSeconds": 5, "expungeAfterSeconds": 3}})),
        &["/unreachableStrategy/inactiveAfterSeconds: got 5 seconds, expected 3 seconds or less"],
    );
    read(app(json!({"unreachableStrategy": {"inactiveAfterSeconds": 3, "expungeAfterSeconds": 3}})));
    assert_eq!(
        read(app(json!({"unreachableStrategy": "disabled"}))).unreachable_strategy,
        UnreachableStrategy::Disabled
    );
}

#[test]
fn marathon_rules_157_and_166_resident_apps() {
    let app = read_with(&db_settings(), &resident()).unwrap();
    assert!(app.is_resident());
    assert_eq!(app.upgrade_strategy, UpgradeStrategy::RESIDENT);
    assert_eq!(app.unreachable_strategy, UnreachableStrategy::Disabled);
    let volume = |volume: Value| {
        let mut app = resident();
        app["container"]["volumes"][0] = volume;
        errors(read_with(&db_settings(), &app))
    };
    assert_eq!(
        volume(json!({"containerPath": "/a/b", "mode": "RO", "persistent": {"size": 0, "maxSize": 0}})),
        [
            "/container/volumes(0)/containerPath: value must not contain \"/\"",
            "/container/volumes(0)/mode: got Ro, expected Rw",
            "/container/volumes(0)/persistent: Only mount volumes can have maxSize",
            "/container/volumes(0)/persistent: Max size must be larger than size",
            "/container/volumes(0)/persistent/size: got 0, expected more than 0",
        ]
    );
    assert_eq!(
        volume(
            json!({"containerPath": "..", "mode": "RW", "persistent": {"size": 1, "constraints": [["path", "LIKE", "x"]]}})
        ),
        [
            "/container/volumes(0)/containerPath: can not be one of (.,..)",
            "/container/volumes(0)/persistent: Constraints on root volumes are not supported",
        ]
    );
    assert!(
        volume(json!({"containerPath": "d", "mode": "RW", "persistent": {"size": 1, "profileName": "p"}}))
            .is_empty()
    );
    let mut roles = resident();
    roles["acceptedResourceRoles"] = json!(["db"]);
    assert_eq!(
        errors(read_with(&db_settings(), &roles)),
        ["/acceptedResourceRoles: A resident app must have `acceptedResourceRoles = [\"*\"]`."]
    );
    let mut star = resident();
    star["role"] = json!("*");
    assert_eq!(errors(read_with(&all_features(), &star)), ["/role: Resident apps cannot have the role *"]);
}

#[test]
fn marathon_rule_162_what_a_resident_app_may_not_change() {
    let stored = read_with(&db_settings(), &resident()).unwrap();
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let root = root.updated(&PathId::root(), Timestamp::ZERO, &mut |group| {
        group.apps.insert(stored.id.clone(), Arc::new(stored.clone()));
    });
    let settings = db_settings();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let change = |sent: Value| {
        let update = read_app_update(&sent).unwrap();
        errors(update.apply(Some(&Arc::new(stored.clone())), &stored.id, true, &context))
    };
    let resources = "/: Resident Tasks may not change resource requirements!";
    for sent in [json!({"cpus": 3}), json!({"mem": 3}), json!({"disk": 3}), json!({"requirePorts": true})] {
        assert_eq!(change(sent), [resources]);
    }
    assert_eq!(
        change(json!({"container": {"type": "MESOS", "volumes": [
            {"containerPath": "data", "mode": "RW", "persistent": {"size": 200}}]}})),
        ["/: Persistent volumes can not be changed!"]
    );
    assert!(change(json!({"cmd": "another", "instances": 3})).is_empty());
}

#[test]
fn a_resident_app_may_be_sent_again_after_it_was_given_a_port() {
    let mut sent = resident();
    sent["requirePorts"] = json!(true);
    let mut stored = read_with(&db_settings(), &sent).unwrap();
    let again = read_with(&db_settings(), &sent).unwrap();
    stored.port_definitions[0].port = 10_001;
    assert!(judge_change(&stored, &again).is_ok());
    sent["portDefinitions"] = json!([{"port": 9, "name": "default"}]);
    assert!(judge_change(&stored, &read_with(&db_settings(), &sent).unwrap()).is_err());
}

#[test]
fn marathon_rule_167_a_resident_app_changes_its_role_only_by_force() {
    let mut sent = resident();
    sent["id"] = json!("/shop/db");
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let settings = db_settings();
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let stored = Arc::new(read_app(&sent, &PathId::root(), &context).unwrap());
    let root = root.updated(&stored.id.parent(), Timestamp::ZERO, &mut |group| {
        group.apps.insert(stored.id.clone(), Arc::clone(&stored));
    });
    let change = |force: bool| {
        let context = Context { settings: &settings, root: &root, now: now(), force };
        let update = read_app_update(&json!({"role": "shop"})).unwrap();
        update.apply(Some(&stored), &stored.id, true, &context)
    };
    assert_eq!(
        errors(change(false)),
        [
            "/role: Changing the role of a resident service from db to shop leaves existing instances in their old role; use force to do it"
        ]
    );
    assert_eq!(change(true).unwrap().role, "shop");
}

#[test]
fn marathon_rules_67_and_293_external_volumes() {
    let volume = |more: Value| {
        let mut volume = json!({"name": "v", "provider": "dvdi", "options": {"dvdi/driver": "rexray"}});
        for (key, value) in more.as_object().unwrap() {
            volume[key] = value.clone();
        }
        app(
            json!({"container": {"type": "MESOS", "volumes": [{"containerPath": "d", "mode": "RW", "external": volume}]}}),
        )
    };
    assert_eq!(read(volume(json!({}))).upgrade_strategy, UpgradeStrategy::RESIDENT);
    let at = "/container/volumes(0)/external";
    refused(
        volume(json!({"name": null, "provider": "x", "options": {}})),
        &[
            &format!("{at}/name: not defined"),
            &format!("{at}/options(\"dvdi/driver\"): not defined"),
            &format!("{at}/provider: is unknown provider"),
        ],
    );
    refused(
        volume(
            json!({"provider": "csi", "options": {"pluginName": "p", "capability": {"accessType": "mount"}}}),
        ),
        &[&format!("{at}/provider: volumes of CSI plugins are not supported")],
    );
    let mut two = volume(json!({}));
    two["instances"] = json!(2);
    refused(two, &["/: Number of instances is limited to 1 when declaring DVDI volumes in app [/a]"]);
    assert_eq!(
        errors(read_with(&Settings::default(), &volume(json!({})))),
        [
            "/container/volumes(0): Feature external_volumes is not enabled. Enable with --enable_features external_volumes)"
        ]
    );
}

#[test]
fn marathon_rules_228_to_230_and_234_roles() {
    let mut root = Group::empty(PathId::root(), Timestamp::ZERO);
    for (name, enforce) in [("prod", true), ("dev", false)] {
        let id = PathId::root().child(name);
        root = root.updated(&id, Timestamp::ZERO, &mut |group| group.enforce_role = enforce);
    }
    let settings = Settings { role: "own".into(), ..all_features() };
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let role = |id: &str, role: Option<&str>| {
        let mut app = json!({"id": id, "cmd": "sleep"});
        if let Some(role) = role {
            app["role"] = json!(role);
        }
        read_app(&app, &PathId::root(), &context)
            .map(|app| app.role)
            .map_err(|error| error.body()["details"].to_string())
    };
    for (id, named, expected) in [
        ("/a", None, Some("own")),
        ("/a", Some("other"), None),
        ("/prod/a", None, Some("prod")),
        ("/prod/deep/a", None, Some("prod")),
        ("/prod/a", Some("own"), None),
        ("/dev/a", None, Some("own")),
        ("/dev/a", Some("dev"), Some("dev")),
        ("/dev/a", Some("prod"), None),
    ] {
        assert_eq!(role(id, named).ok().as_deref(), expected, "{id} {named:?}");
    }
    assert!(role("/dev/a", Some("prod")).unwrap_err().contains("\"/role\""));
    let accepted = |roles: Value| {
        errors(read_app(&app(json!({"acceptedResourceRoles": roles})), &PathId::root(), &context))
    };
    assert_eq!(accepted(json!([])), ["/acceptedResourceRoles: must not be empty"]);
    assert_eq!(
        accepted(json!(["x"])),
        ["/acceptedResourceRoles: acceptedResourceRoles can only contain * and own"]
    );
    assert!(accepted(json!(["*", "own"])).is_empty());
}

#[test]
fn marathon_rule_294_migration_labels() {
    let labels = |labels: Value| app(json!({"labels": labels}));
    refused(
        labels(json!({"DCOS_MIGRATION_API_VERSION": "v1"})),
        &[
            "/: DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION",
        ],
    );
    read(labels(
        json!({"DCOS_MIGRATION_API_VERSION": "v1", "DCOS_PACKAGE_FRAMEWORK_NAME": "f", "DCOS_MIGRATION_API_PATH": "/p"}),
    ));
}

/// A definition that says nearly everything.
pub(super) fn full() -> Value {
    json!({
        "id": "/shop/web", "args": ["run", "--fast"], "user": "www", "env": {"A": "b", "S": {"secret": "s"}},
        "secrets": {"s": {"source": "store/s"}}, "labels": {"x": "y"}, "instances": 5, "cpus": 0.25, "mem": 64.5,
        "disk": 7, "gpus": 1, "executor": "/bin/executor", "executorResources": {"cpus": 0.2, "mem": 64, "disk": 20},
        "resourceLimits": {"cpus": "unlimited", "mem": 128}, "constraints": [["hostname", "UNIQUE"], ["rack", "GROUP_BY", "3"]],
        "fetch": [{"uri": "http://x/a.tgz", "cache": true, "destPath": "a"}], "backoffSeconds": 2, "backoffFactor": 1.5,
        "maxLaunchDelaySeconds": 60, "taskKillGracePeriodSeconds": 9, "dependencies": ["/db", "/shop/cache"],
        "networks": [{"name": "n", "labels": {"a": "b"}}, {"name": "m"}], "tty": true, "killSelection": "OLDEST_FIRST",
        "container": {"type": "MESOS", "docker": {"image": "i", "forcePullImage": true, "pullConfig": {"secret": "s"}},
            "linuxInfo": {"seccomp": {"profileName": "p"}, "ipcInfo": {"mode": "PRIVATE", "shmSize": 8}},
            "volumes": [{"containerPath": "/h", "hostPath": "/host", "mode": "RO"}, {"containerPath": "s", "secret": "s"}],
            "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 10005, "name": "http",
                "protocol": "udp,tcp", "labels": {"VIP_0": "web:80"}, "networkNames": ["n"]}, {"containerPort": 0}]},
        "healthChecks": [{"protocol": "HTTP", "path": "/ok", "ignoreHttp1xx": true, "portIndex": 1},
            {"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 3}],
        "check": {"http": {"portIndex": 0, "path": "/c", "scheme": "HTTPS"}, "intervalSeconds": 5},
        "readinessChecks": [{"portName": "http", "protocol": "HTTPS", "path": "/r", "httpStatusCodesForReady": [200, 204],
            "preserveLastResponse": true}],
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25},
        "canary": {"instances": "10%", "holdSeconds": 360, "check": {"url": "http://prom:9090/ok"}, "onFailure": "stop"},
        "unreachableStrategy": {"inactiveAfterSeconds": 10, "expungeAfterSeconds": 20},
        "acceptedResourceRoles": ["*", "shop"], "role": "shop"
    })
}

#[test]
fn what_is_written_reads_as_the_same() {
    let mut host = full();
    host["networks"] = json!([]);
    host["portDefinitions"] =
        json!([{"port": 81, "name": "http", "protocol": "udp", "labels": {"a": "b"}}, {}]);
    host["container"] =
        json!({"docker": {"image": "i", "privileged": true, "parameters": [{"key": "a", "value": "b"}]}});
    host["check"] = json!(null);
    host["gpus"] = json!(0);
    host["requirePorts"] = json!(true);
    let resident = read_with(&db_settings(), &resident()).unwrap();
    for app in [
        read(full()),
        read(host),
        read(app(json!({}))),
        read(app(json!({"networks": [{"mode": "container/bridge"}]}))),
    ] {
        let text = written(&app);
        assert_eq!(read(text.clone()), app, "{text}");
        assert_eq!(read_stored_app(&text).unwrap(), app, "{text}");
        assert_eq!(
            update(&app, json!({}), true).map(|updated| written(&updated)["container"].clone()).unwrap(),
            text["container"]
        );
    }
    assert_eq!(read_with(&db_settings(), &written(&resident)).unwrap(), resident);
    assert_eq!(read_stored_app(&written(&resident)).unwrap(), resident);
}

#[test]
fn marathon_rule_297_unknown_keys_do_no_harm_and_none_is_unknown_that_is_not() {
    let settings = all_features();
    let root = Group::empty(PathId::root(), Timestamp::ZERO);
    let context = Context { settings: &settings, root: &root, now: now(), force: false };
    let (_, unknown) = read_app_strictly(&full(), &PathId::root(), &context).unwrap();
    assert_eq!(unknown, []);
    let sent = app(json!({"memory": 3, "container": {"type": "MESOS", "volume": []}}));
    let (_, unknown) = read_app_strictly(&sent, &PathId::root(), &context).unwrap();
    let told: Vec<_> =
        unknown.iter().map(|u| (u.path.as_str(), u.key.as_str(), u.suggestion.as_deref())).collect();
    assert_eq!(told, [("/container", "volume", Some("volumes")), ("/", "memory", Some("mem"))]);
}

#[test]
fn partial_updates_replace_whole_fields_and_keep_the_rest() {
    let stored = App { version: Timestamp::from_nanos(5_000_000), ..read(full()) };
    let updated =
        update(&stored, json!({"labels": {"new": "1"}, "instances": null, "cmd": null, "mem": 100}), true)
            .unwrap();
    assert_eq!(updated.labels.keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!((updated.instances, updated.resources.mem, updated.version), (5, 100.0, stored.version));
    assert_eq!(
        (updated.executor_resources, updated.resource_limits),
        (None, None),
        "absent means cleared for these two"
    );
    let whole = update(&stored, json!({"cmd": "sleep 9", "role": "shop"}), false).unwrap();
    assert_eq!(
        (whole.instances, whole.version, whole.version_info),
        (1, stored.version, stored.version_info)
    );
    assert!(whole.container.is_none() && whole.labels.is_empty());
    assert_eq!(
        errors(update(&stored, json!({"cmd": "sleep 9"}), true)),
        ["/: AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."]
    );
    let host = update(&stored, json!({"networks": [{"mode": "host"}], "healthChecks": [], "check": {"tcp": {}}, "readinessChecks": []}), true).unwrap();
    assert!(host.container.unwrap().port_mappings.is_empty());
}

#[test]
fn marathon_rules_47_and_225_what_a_change_may_not_combine() {
    let stored = read(app(json!({})));
    let alone = "/: The 'version' field may only be combined with the 'id' field.";
    assert_eq!(
        errors(update(&stored, json!({"version": "2020-01-01T00:00:00.000Z", "cmd": "aa"}), true)),
        [alone]
    );
    let restored = read_app_update(&json!({"id": "/a", "version": "2020-01-01T00:00:00.000Z"})).unwrap();
    assert_eq!(restored.version().unwrap(), crate::parse_time("2020-01-01T00:00:00.000Z"));
    assert_eq!(restored.id().unwrap().unwrap().as_str(), "/a");
    assert_eq!(
        errors(update(&stored, json!({"version": "yesterday"}), true)),
        ["/version: error.expected.date.isoformat"]
    );
    assert_eq!(
        errors(update(&stored, json!({"networks": [{"name": "n"}], "portDefinitions": [{}]}), true)),
        ["/: portDefinitions are only allowed with host-networking"]
    );
}
