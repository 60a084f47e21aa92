//! Ports and networks of apps, in their old forms and the new ones.

use super::*;

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
