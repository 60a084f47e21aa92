//! Ports and networks of an app.

use mezzo_document::{Kind, Problem, Section};
use serde_json::{Map, Value, json};

/// The name of a port that has none.
pub(crate) const PORT_NAME: &str = "http";

/// What was said of ports.
pub(crate) struct Ports {
    /// Their names in order.
    pub(crate) names: Vec<String>,
    /// Those of a network of the app's own.
    pub(crate) mappings: Vec<Value>,
}

/// `port = 8080`, `port = "any"`, `ports = { http = 8080, admin = "any" }`, `network = "host"`, `"bridge"` or a name.
pub(crate) fn read(section: &Section<'_>, app: &mut Map<String, Value>) -> Result<Ports, Problem> {
    let network = section.text("network", "\"bridge\"")?.map_or("host", |network| network.value);
    let mut ports: Vec<(String, u16)> = Vec::new();
    if let Some(port) = one(section)? {
        ports.push((PORT_NAME.into(), port));
    }
    let wrong = |name: &str, value: &str| {
        let what = format!("{}: the port '{name}' cannot be \"{value}\"", section.name);
        section
            .wrong(section.span(), what, "expected a number from 1 to 65535, or \"any\"")
            .help("for example  ports = { http = 8080, admin = \"any\" }")
    };
    for (name, value) in section.pairs("ports", "{ http = 8080, admin = \"any\" }")? {
        let port = match value.as_str() {
            "any" => 0,
            number => number.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong(&name, &value))?,
        };
        ports.push((name, port));
    }
    let names = ports.iter().map(|(name, _)| name.clone()).collect();
    if network == "host" {
        app.insert(
            "portDefinitions".into(),
            ports.iter().map(|(name, port)| json!({ "name": name, "port": port })).collect(),
        );
        // A number on the agents' own network is that number, or nothing could be told to come to it.
        if ports.iter().any(|(_, port)| *port > 0) {
            app.insert("requirePorts".into(), json!(true));
        }
        return Ok(Ports { names, mappings: Vec::new() });
    }
    app.insert(
        "networks".into(),
        if network == "bridge" {
            json!([{ "mode": "container/bridge" }])
        } else {
            json!([{ "mode": "container", "name": network }])
        },
    );
    let mapping =
        |(name, port): &(String, u16)| json!({ "name": name, "containerPort": port, "hostPort": 0 });
    Ok(Ports { names, mappings: ports.iter().map(mapping).collect() })
}

fn one(section: &Section<'_>) -> Result<Option<u16>, Problem> {
    if section.kind("port") == Some(Kind::Number) {
        let port = section.whole("port", 1..=65_535, "8080")?;
        return Ok(port.and_then(|port| u16::try_from(port.value).ok()));
    }
    Ok(section.word("port", &["any"])?.map(|_| 0))
}
