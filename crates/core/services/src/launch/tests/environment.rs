use std::collections::BTreeMap;

use mezzo_mesos::v1::environment::variable;
use mezzo_services_model::{App, Engine, EnvValue, NetworkMode, PortMapping};

use crate::fixtures::{
    World, app, container, definition, endpoint, mapping, network, pod, pod_container, variables,
};

fn texts(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn bridged(mappings: Vec<PortMapping>) -> App {
    let mut one = app("/shop/web");
    one.networks = vec![network(NetworkMode::Bridge, None)];
    let mut with = container(Engine::Docker, Some("nginx"));
    with.port_mappings = mappings;
    one.container = Some(with);
    one
}

#[test]
fn marathon_rules_196_to_198_ports_on_the_host() {
    let mut one = app("/web");
    one.port_definitions = vec![definition(10_000, Some("http")), definition(0, None)];
    let told = variables(&World::new().task(one));
    for (name, value) in [
        ("PORT0", "31001"),
        ("PORT1", "31002"),
        ("PORT", "31001"),
        ("PORTS", "31001,31002"),
        ("PORT_10000", "31001"),
        ("PORT_HTTP", "31001"),
        // Nothing was asked for: the number itself.
        ("PORT_31002", "31002"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
    }
    let without = variables(&World::new().task(app("/web")));
    assert!(!without.keys().any(|name| name.starts_with("PORT")), "{without:?}");
}

#[test]
fn marathon_rules_199_and_200_ports_of_containers() {
    let mut named = mapping(8080, None);
    named.name = Some("admin".into());
    let told = variables(&World::new().task(bridged(vec![mapping(80, Some(0)), named, mapping(0, None)])));
    let made_up = told["PORT2"].parse::<u16>().unwrap();
    assert!(made_up >= 1025);
    for (name, value) in [
        ("PORT0", "31001".to_owned()),
        ("PORT1", "8080".to_owned()),
        ("PORT_80", "31001".to_owned()),
        ("PORT_8080", "8080".to_owned()),
        ("PORT_ADMIN", "8080".to_owned()),
        ("PORT", "31001".to_owned()),
        ("PORTS", format!("31001,{made_up}")),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}");
    }
    let fixed = variables(&World::new().task(bridged(vec![mapping(80, None)])));
    assert!(!fixed.contains_key("PORTS") && !fixed.contains_key("PORT"));
}

#[test]
fn marathon_rules_201_and_202_what_an_app_is_told_about_itself() {
    let mut one = bridged(Vec::new());
    one.resources = mezzo_services_model::Resources { cpus: 1.5, mem: 128.0, disk: 0.0, gpus: 0 };
    let mut world = World::new();
    world.enforce_role = true;
    let told = variables(&world.task(one));
    for (name, value) in [
        ("HOST", "h1"),
        ("MESOS_TASK_ID", "shop_web.instance-u1._app.1"),
        ("MARATHON_APP_ID", "/shop/web"),
        ("MARATHON_APP_VERSION", "2020-09-13T12:26:40.123Z"),
        ("MARATHON_APP_DOCKER_IMAGE", "nginx"),
        ("MARATHON_APP_RESOURCE_CPUS", "1.5"),
        ("MARATHON_APP_RESOURCE_MEM", "128.0"),
        ("MARATHON_APP_RESOURCE_DISK", "0.0"),
        ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE", "TRUE"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
    }
    let mut ours = app("/web");
    ours.container = Some(container(Engine::Mesos, Some("nginx")));
    let told = variables(&World::new().task(ours));
    assert!(!told.contains_key("MARATHON_APP_DOCKER_IMAGE"), "only for Docker's engine");
    assert_eq!(told["MARATHON_APP_ENFORCE_GROUP_ROLE"], "FALSE");
}

#[test]
fn marathon_rules_203_and_204_labels() {
    let mut one = app("/web");
    let long_key = "k".repeat(493);
    let fitting_key = "f".repeat(492);
    one.labels = texts(&[("a.b--c", "1"), ("Tier", "front"), (&long_key, "x"), (&fitting_key, "x")]);
    one.labels.insert("long".into(), "v".repeat(512));
    one.labels.insert("fits".into(), "v".repeat(511));
    let told = variables(&World::new().task(one));
    assert_eq!(told["MARATHON_APP_LABEL_A_B_C"], "1");
    assert_eq!(told["MARATHON_APP_LABEL_TIER"], "front");
    assert_eq!(told["MARATHON_APP_LABEL_FITS"].len(), 511);
    assert_eq!(told["MARATHON_APP_LABELS"], format!("TIER A_B_C {} FITS", fitting_key.to_uppercase()));
    assert!(!told.contains_key("MARATHON_APP_LABEL_LONG"));
    assert!(!told.contains_key(&format!("MARATHON_APP_LABEL_{}", long_key.to_uppercase())));
    assert_eq!(variables(&World::new().task(app("/web")))["MARATHON_APP_LABELS"], "");
}

#[test]
fn marathon_rule_205_prefix() {
    let mut world = World::new();
    world.config.env_prefix = "CUSTOM_".into();
    let mut one = app("/web");
    one.port_definitions = vec![definition(10_000, Some("http"))];
    let told = variables(&world.task(one));
    for name in [
        "CUSTOM_HOST",
        "CUSTOM_PORT",
        "CUSTOM_PORT0",
        "CUSTOM_PORTS",
        "CUSTOM_PORT_10000",
        "CUSTOM_PORT_HTTP",
    ] {
        assert!(told.contains_key(name), "{name}");
    }
    assert!(told.contains_key("MESOS_TASK_ID") && told.contains_key("MARATHON_APP_ID"));
    assert!(!told.contains_key("HOST") && !told.contains_key("PORT0"));
}

#[test]
fn marathon_rules_206_and_209_an_apps_own_variables() {
    let mut one = app("/web");
    one.env = texts(&[("HOST", "mine"), ("MARATHON_APP_ID", "other")])
        .into_iter()
        .map(|(name, value)| (name, EnvValue::Text(value)))
        .collect();
    one.env.insert("PASSWORD".into(), EnvValue::Secret("db".into()));
    one.env.insert("NOTHING".into(), EnvValue::Secret("undeclared".into()));
    one.secrets = texts(&[("db", "/prod/db-password")]);
    let task = World::new().task(one);
    let told = variables(&task);
    assert_eq!((told["HOST"].as_str(), told["MARATHON_APP_ID"].as_str()), ("mine", "other"));
    assert!(!told.contains_key("PASSWORD") && !told.contains_key("NOTHING"), "no literal value");
    let all = task.command.unwrap().environment.unwrap().variables;
    let password = all.iter().find(|variable| variable.name == "PASSWORD").unwrap();
    assert_eq!(password.r#type(), variable::Type::Secret);
    let secret = password.secret.as_ref().unwrap();
    assert_eq!(secret.reference.as_ref().unwrap().name, "/prod/db-password");
    assert!(!all.iter().any(|variable| variable.name == "NOTHING"));
}

#[test]
fn marathon_rules_207_and_208_pods() {
    let mut main = pod_container("main");
    main.endpoints = vec![endpoint("web-ui", Some(80), Some(0)), endpoint("inner", Some(99), None)];
    main.environment.insert("A".into(), EnvValue::Text("container".into()));
    main.environment.insert("MARATHON_APP_ID".into(), EnvValue::Text("forged".into()));
    main.labels = texts(&[("tier", "inner")]);
    let mut both = pod("/shop/pod", vec![main, pod_container("side")]);
    both.networks = vec![network(NetworkMode::Container, Some("net"))];
    both.environment.insert("A".into(), EnvValue::Text("pod".into()));
    both.environment.insert("B".into(), EnvValue::Text("pod".into()));
    both.labels = texts(&[("tier", "outer"), ("team", "x")]);
    let group = World::new().group(both);
    let told = variables(&group.task_group.tasks[0]);
    for (name, value) in [
        ("A", "container"),
        ("B", "pod"),
        ("HOST", "h1"),
        ("MARATHON_APP_ID", "/shop/pod"),
        ("MESOS_TASK_ID", "shop_pod.instance-u1.main.1"),
        ("MESOS_EXECUTOR_ID", "instance-shop_pod.u1"),
        ("MARATHON_CONTAINER_ID", "main"),
        ("MARATHON_CONTAINER_RESOURCE_CPUS", "0.5"),
        ("MARATHON_CONTAINER_RESOURCE_MEM", "64.0"),
        ("MARATHON_APP_LABEL_TIER", "inner"),
        ("MARATHON_APP_LABEL_TEAM", "x"),
        ("EP_HOST_WEB_UI", "31001"),
        ("EP_CONTAINER_WEB_UI", "80"),
        ("ENDPOINT_WEB_UI", "80"),
        ("EP_CONTAINER_INNER", "99"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!told.contains_key("EP_HOST_INNER"));
    let side = variables(&group.task_group.tasks[1]);
    assert_eq!((side["A"].as_str(), side["EP_HOST_WEB_UI"].as_str()), ("pod", "31001"));
}

#[test]
fn marathon_rule_240_dates() {
    use crate::launch::environment::date;
    use mezzo_time::Timestamp;
    for (seconds, nanos, wanted) in [
        (0, 0, "1970-01-01T00:00:00.000Z"),
        (951_782_400, 999_999_999, "2000-02-29T00:00:00.999Z"),
        (951_868_800, 0, "2000-03-01T00:00:00.000Z"),
        (1_704_067_199, 1_000_000, "2023-12-31T23:59:59.001Z"),
        (4_107_542_400, 0, "2100-03-01T00:00:00.000Z"),
        (-1, 0, "1969-12-31T23:59:59.000Z"),
    ] {
        assert_eq!(date(Timestamp::from_nanos(seconds * 1_000_000_000 + nanos)), wanted);
    }
}
