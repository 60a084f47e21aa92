//! Documents of apps, read, refused, changed and written.

mod changes;
mod networks;
mod volumes;

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
