use mezzo_mesos::v1::{self, discovery_info::Visibility};
use mezzo_services_model::{App, Engine, NetworkMode, PortMapping, Protocols};

use crate::fixtures::{
    World, app, container, definition, endpoint, mapping, network, pod, pod_container, variables,
};

fn on(networks: Vec<mezzo_services_model::Network>, mappings: Vec<PortMapping>) -> App {
    let mut one = app("/web");
    one.networks = networks;
    let mut with = container(Engine::Mesos, Some("nginx"));
    with.port_mappings = mappings;
    one.container = Some(with);
    one
}

type Told = (u32, Option<String>, Option<String>, Vec<(String, String)>);

fn told(task: &v1::TaskInfo) -> Vec<Told> {
    let discovery = task.discovery.as_ref().unwrap();
    assert_eq!(discovery.visibility(), Visibility::Framework);
    let labels = |port: &v1::Port| {
        let labels = port.labels.iter().flat_map(|labels| &labels.labels);
        labels.map(|label| (label.key.clone(), label.value.clone().unwrap_or_default())).collect()
    };
    let ports = &discovery.ports.as_ref().unwrap().ports;
    ports.iter().map(|port| (port.number, port.name.clone(), port.protocol.clone(), labels(port))).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn marathon_rules_218_and_220_ports_on_the_host() {
    let mut one = app("/web");
    let mut http = definition(0, Some("http"));
    http.protocols = Protocols { tcp: true, udp: true };
    http.labels.insert("VIP_0".into(), "/web:80".into());
    one.port_definitions = vec![http, definition(0, None)];
    let labels = || pairs(&[("VIP_0", "/web:80")]);
    assert_eq!(
        told(&World::new().task(one)),
        [
            (31_001, Some("http".into()), Some("udp".into()), labels()),
            (31_001, Some("http".into()), Some("tcp".into()), labels()),
            (31_002, None, Some("tcp".into()), Vec::new()),
        ]
    );
}

#[test]
fn marathon_rule_219_scopes() {
    let bridged = on(vec![network(NetworkMode::Bridge, None)], vec![mapping(80, Some(0)), mapping(81, None)]);
    assert_eq!(
        told(&World::new().task(bridged)),
        [
            (31_001, None, Some("tcp".into()), pairs(&[("network-scope", "host")])),
            (81, None, Some("tcp".into()), pairs(&[("network-scope", "container")])),
        ]
    );
    let mut one = mapping(80, None);
    one.network_names = vec!["b".into()];
    let networks =
        vec![network(NetworkMode::Container, Some("a")), network(NetworkMode::Container, Some("b"))];
    let scope = |name| pairs(&[("network-scope", "container"), ("network-name", name)]);
    assert_eq!(
        told(&World::new().task(on(networks, vec![one, mapping(90, None)]))),
        [
            (80, None, Some("tcp".into()), scope("b")),
            (90, None, Some("tcp".into()), scope("a")),
            (90, None, Some("tcp".into()), scope("b")),
        ]
    );
}

#[test]
fn marathon_rule_217_a_port_inside_that_is_the_one_outside() {
    let task = World::new().task(on(vec![network(NetworkMode::Bridge, None)], vec![mapping(0, Some(0))]));
    let mappings = &task.container.as_ref().unwrap().network_infos[0].port_mappings;
    assert_eq!((mappings[0].host_port, mappings[0].container_port), (31_001, 31_001));
    assert_eq!(variables(&task)["PORT0"], "31001");
}

#[test]
fn networks_of_apps() {
    let mut both = mapping(80, Some(0));
    both.protocols = Protocols { tcp: true, udp: true };
    let task = World::new().task(on(vec![network(NetworkMode::Bridge, None)], vec![both, mapping(81, None)]));
    let infos = &task.container.as_ref().unwrap().network_infos;
    assert_eq!((infos.len(), infos[0].name.as_deref()), (1, Some("mesos-bridge")));
    let mapped: Vec<_> = infos[0]
        .port_mappings
        .iter()
        .map(|one| (one.host_port, one.container_port, one.protocol.as_deref().unwrap()))
        .collect();
    assert_eq!(mapped, [(31_001, 80, "udp"), (31_001, 80, "tcp")]);

    let mut named = network(NetworkMode::Container, Some("a"));
    named.labels.insert("k".into(), "v".into());
    let mut to_b = mapping(80, Some(0));
    to_b.network_names = vec!["b".into()];
    let networks = vec![named, network(NetworkMode::Container, Some("b"))];
    let task = World::new().task(on(networks, vec![to_b]));
    let infos = &task.container.as_ref().unwrap().network_infos;
    assert_eq!(infos[0].labels.as_ref().unwrap().labels[0].key, "k");
    assert!(infos[0].port_mappings.is_empty());
    assert_eq!(infos[1].port_mappings.len(), 1);
}

#[test]
fn a_pods_network_and_ports_belong_to_its_executor() {
    let mut main = pod_container("main");
    main.endpoints = vec![endpoint("ui", Some(80), Some(0))];
    main.endpoints[0].labels.insert("VIP_0".into(), "/ui:80".into());
    let mut one = pod("/pod", vec![main]);
    one.networks = vec![network(NetworkMode::Container, Some("net"))];
    let group = World::new().group(one);
    let infos = &group.executor.container.as_ref().unwrap().network_infos;
    assert_eq!(infos[0].name.as_deref(), Some("net"));
    let mapping = &infos[0].port_mappings[0];
    assert_eq!(
        (mapping.host_port, mapping.container_port, mapping.protocol.as_deref()),
        (31_001, 80, Some("tcp"))
    );
    assert!(group.executor.resources.iter().any(|resource| resource.name == "ports"));
    let task = &group.task_group.tasks[0];
    assert!(!task.resources.iter().any(|resource| resource.name == "ports"));
    assert!(task.container.as_ref().unwrap().network_infos.is_empty());
    assert_eq!(
        told(task),
        [(31_001, Some("ui".into()), None, pairs(&[("VIP_0", "/ui:80"), ("network-scope", "host")]))]
    );
}
