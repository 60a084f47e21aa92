//! Network configurations as the container network interface (CNI) writes them: lists of plugins (`.conflist`)
//! and single plugins. Pure.

use std::{cmp::Ordering, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{loopback, record::Asked};

/// Plugins of one network. Lists in use have two to four.
pub(super) const PLUGINS_MAX: usize = 32;

/// What plugins of Mesos' own look for what was asked of the network under.
const ARGUMENTS: &str = "org.apache.mesos";
/// The plugin that maps the ports it finds there, and so needs no capability for it.
const PORT_MAPPER: &str = "mesos-cni-port-mapper";
/// Capabilities: of plugins that map ports, and of those that give the addresses they are told.
const PORT_MAPPINGS: &str = "portMappings";
const ADDRESSES: &str = "ips";
const HARDWARE: &str = "mac";

/// A network that containers can join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(super) name: String,
    /// As it is written, for the plugins.
    version: String,
    /// The operator does not want the network to be checked.
    check_disabled: bool,
    /// It is this agent's alone: see [`Network::collects`].
    #[serde(default)]
    collects: bool,
    /// At least one; each an object with a `type`.
    plugins: Vec<Map<String, Value>>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(super) enum ConfigError {
    #[error("it is not JSON: {0}")]
    Json(String),
    #[error("it has no valid '{0}'")]
    Field(&'static str),
    #[error("its cniVersion '{0}' is not supported: 0.1.0 to 1.1.0 are")]
    Version(String),
    #[error("the name '{0}' has other characters than letters, digits, '_', '.' and '-'")]
    Name(String),
    #[error("plugin {0} has no 'type' that is the name of a program")]
    Plugin(usize),
    #[error("it has no plugins, or more than {PLUGINS_MAX}")]
    Plugins,
}

/// A port of the host that leads to one of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortMapping {
    pub(crate) host: u16,
    pub(crate) container: u16,
    /// `tcp` or `udp`.
    pub(crate) protocol: String,
}

/// A version of the interface, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

/// The first whose plugins can check what they have made, and are given what they have answered.
const CHECKS: Version = Version(0, 4, 0);
/// The first whose plugins are given what the one before has answered.
const CHAINS: Version = Version(0, 3, 0);
const FIRST: Version = Version(0, 1, 0);
/// The first whose plugins can be told who is still there, and forget all others.
const COLLECTS: Version = Version(1, 1, 0);
const LAST: Version = Version(1, 1, 0);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let version = Self(parts.next()??, parts.next()??, parts.next()??);
        (parts.next().is_none() && version.cmp(&FIRST) != Ordering::Less && version <= LAST)
            .then_some(version)
    }
}

impl Network {
    /// Reads a configuration: a list of plugins, or one plugin alone.
    pub(super) fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let value: Value =
            serde_json::from_slice(text).map_err(|error| ConfigError::Json(error.to_string()))?;
        let Value::Object(mut object) = value else { return Err(ConfigError::Json("no object".to_owned())) };
        let name = match object.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            _ => return Err(ConfigError::Field("name")),
        };
        if !is_name(&name) {
            return Err(ConfigError::Name(name));
        }
        let version = match object.get("cniVersion") {
            // What plugins take a missing one for.
            None => "0.1.0".to_owned(),
            Some(Value::String(version)) => version.clone(),
            Some(_) => return Err(ConfigError::Field("cniVersion")),
        };
        if Version::parse(&version).is_none() {
            return Err(ConfigError::Version(version));
        }
        let check_disabled = match object.get("disableCheck") {
            // Written as a text by some.
            Some(Value::String(text)) => text == "true",
            other => other.and_then(Value::as_bool).unwrap_or(false),
        };
        let collects = match object.get("disableGC") {
            Some(Value::String(text)) => text == "false",
            other => other.and_then(Value::as_bool) == Some(false),
        };
        let plugins = match object.remove("plugins") {
            None => vec![object],
            Some(Value::Array(list)) => {
                let list = list.into_iter().map(|plugin| match plugin {
                    Value::Object(plugin) => Ok(plugin),
                    _ => Err(ConfigError::Field("plugins")),
                });
                list.collect::<Result<_, _>>()?
            }
            Some(_) => return Err(ConfigError::Field("plugins")),
        };
        if plugins.is_empty() || plugins.len() > PLUGINS_MAX {
            return Err(ConfigError::Plugins);
        }
        let network = Self { name, version, check_disabled, collects, plugins };
        for n in 0..network.plugins.len() {
            // The name of a file in one of the folders of plugins, and nothing else.
            if !is_name(network.plugin(n)) {
                return Err(ConfigError::Plugin(n + 1));
            }
        }
        Ok(network)
    }

    /// How many plugins there are.
    pub(super) fn len(&self) -> usize {
        self.plugins.len()
    }

    /// The name of a plugin's program.
    pub(super) fn plugin(&self, n: usize) -> &str {
        self.plugins.get(n).and_then(|plugin| plugin.get("type")?.as_str()).unwrap_or_default()
    }

    /// What a plugin of which there is no program has to say; `None` for all others.
    pub(super) fn builtin(
        &self,
        n: usize,
        namespace: Option<&Path>,
        previous: Option<&Value>,
    ) -> Option<Value> {
        let chains = self.is_since(CHAINS);
        (self.plugin(n) == loopback::NAME)
            .then(|| loopback::answer(&self.version, chains, namespace, previous))
    }

    /// The plugins that are programs.
    pub(super) fn programs(&self) -> impl Iterator<Item = (usize, &str)> {
        let all = (0..self.plugins.len()).map(|n| (n, self.plugin(n)));
        all.filter(|(_, name)| *name != loopback::NAME)
    }

    fn is_since(&self, version: Version) -> bool {
        Version::parse(&self.version).is_some_and(|own| own >= version)
    }

    /// Whether its plugins can be asked if all is still as they have made it.
    pub(super) fn can_check(&self) -> bool {
        self.is_since(CHECKS) && !self.check_disabled
    }

    /// Whether plugins are told of everybody who is still there, so that they forget all others. Only where the
    /// operator has written `"disableGC": false`: others than this agent may use a network of the same name,
    /// and they would be forgotten too.
    pub(super) fn collects(&self) -> bool {
        self.collects && self.is_since(COLLECTS)
    }

    /// What a plugin reads that is told who is still there: containers and interfaces.
    pub(super) fn roll_call(&self, n: usize, there: &[(String, String)]) -> Vec<u8> {
        let Some(mut plugin) = self.plugins.get(n).cloned() else { return Vec::new() };
        plugin.insert("name".to_owned(), self.name.clone().into());
        plugin.insert("cniVersion".to_owned(), self.version.clone().into());
        let there: Vec<Value> = there
            .iter()
            .map(|(container, interface)| json!({"containerID": container, "ifname": interface}))
            .collect();
        plugin.insert("cni.dev/valid-attachments".to_owned(), there.into());
        Value::Object(plugin).to_string().into_bytes()
    }

    /// Whether one of its plugins maps ports.
    pub(super) fn maps_ports(&self) -> bool {
        self.plugins.iter().any(|plugin| {
            has_capability(plugin, PORT_MAPPINGS)
                || plugin.get("type").and_then(Value::as_str) == Some(PORT_MAPPER)
        })
    }

    /// What a plugin reads. `previous` is what the plugin before has answered or, when the network is left or
    /// checked, the last one.
    pub(super) fn request(&self, n: usize, call: Call, previous: Option<&Value>, asked: &Asked) -> Vec<u8> {
        let Some(mut plugin) = self.plugins.get(n).cloned() else { return Vec::new() };
        plugin.insert("name".to_owned(), self.name.clone().into());
        plugin.insert("cniVersion".to_owned(), self.version.clone().into());
        let mut wanted = Map::new();
        if has_capability(&plugin, PORT_MAPPINGS) && !asked.mappings.is_empty() {
            let list: Vec<Value> = asked
                .mappings
                .iter()
                .map(|mapping| {
                    json!({
                        "hostPort": mapping.host,
                        "containerPort": mapping.container,
                        "protocol": mapping.protocol,
                    })
                })
                .collect();
            wanted.insert(PORT_MAPPINGS.to_owned(), list.into());
        }
        if has_capability(&plugin, ADDRESSES) && !asked.addresses.is_empty() {
            wanted.insert(ADDRESSES.to_owned(), json!(asked.addresses));
        }
        if has_capability(&plugin, HARDWARE)
            && let Some(address) = &asked.hardware
        {
            wanted.insert(HARDWARE.to_owned(), json!(address));
        }
        if !wanted.is_empty() {
            plugin.insert("runtimeConfig".to_owned(), wanted.into());
        }
        let chains = if call == Call::Add { CHAINS } else { CHECKS };
        if let Some(previous) = previous.filter(|_| self.is_since(chains)) {
            plugin.insert("prevResult".to_owned(), previous.clone());
        }
        let arguments = plugin.entry("args").or_insert_with(|| json!({}));
        if let Value::Object(arguments) = arguments {
            arguments.insert(ARGUMENTS.to_owned(), json!({ "network_info": asked.to_json(&self.name) }));
        }
        Value::Object(plugin).to_string().into_bytes()
    }
}

/// What a plugin is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Add,
    Check,
    Del,
    Collect,
}

impl Call {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Check => "CHECK",
            Self::Del => "DEL",
            Self::Collect => "GC",
        }
    }
}

fn has_capability(plugin: &Map<String, Value>, name: &str) -> bool {
    plugin.get("capabilities").and_then(|all| all.get(name)?.as_bool()).unwrap_or(false)
}

/// Names of networks and plugins, and what plugins take for an id of a container.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    // A network's name is a folder of some plugins.
    text.len() <= 200
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Value) -> Result<Network, ConfigError> {
        Network::parse(value.to_string().as_bytes())
    }

    fn bridge(version: &str) -> Network {
        parse(json!({
            "cniVersion": version,
            "name": "n",
            "plugins": [
                {"type": "bridge", "args": {"cni": {"x": 1}}, "name": "other"},
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        }))
        .expect("a network")
    }

    fn request(network: &Network, n: usize, call: Call, previous: Option<&Value>) -> Value {
        let mapping = PortMapping { host: 31080, container: 80, protocol: "tcp".to_owned() };
        let asked = Asked {
            mappings: vec![mapping],
            addresses: vec!["10.0.0.9/24".to_owned()],
            hardware: Some("02:00:00:00:00:0a".to_owned()),
            ..Asked::default()
        };
        serde_json::from_slice(&network.request(n, call, previous, &asked)).expect("JSON")
    }

    #[test]
    fn a_single_plugin_is_a_list_of_one() {
        let network = parse(json!({"name": "n", "type": "bridge", "ipam": {}})).expect("a network");
        assert_eq!((network.len(), network.plugin(0), network.version.as_str()), (1, "bridge", "0.1.0"));
        assert!(!network.can_check() && !network.maps_ports());
        let asked = request(&network, 0, Call::Add, None);
        assert_eq!((&asked["ipam"], &asked["name"]), (&json!({}), &json!("n")));
    }

    #[test]
    fn each_plugin_is_told_what_is_its_business() {
        let network = bridge("1.0.0");
        assert!(network.can_check() && network.maps_ports());
        let first = request(&network, 0, Call::Add, None);
        assert_eq!(first["name"], "n");
        assert!(first.get("runtimeConfig").is_none() && first.get("prevResult").is_none());
        assert_eq!(first["args"]["cni"]["x"], 1);
        assert_eq!(first["args"]["org.apache.mesos"]["network_info"]["name"], "n");
        let answer = json!({"ips": []});
        let second = request(&network, 1, Call::Add, Some(&answer));
        assert_eq!(second["prevResult"], answer);
        assert_eq!(second["runtimeConfig"]["portMappings"][0]["hostPort"], 31080);
        assert!(second["runtimeConfig"].get("ips").is_none() && second["runtimeConfig"].get("mac").is_none());
        let plugins = json!([{"type": "static", "capabilities": {"ips": true, "mac": true}}]);
        let network = parse(json!({"cniVersion": "1.0.0", "name": "n", "plugins": plugins}));
        let asked = request(&network.expect("a network"), 0, Call::Add, None);
        let wanted = json!({"ips": ["10.0.0.9/24"], "mac": "02:00:00:00:00:0a"});
        assert_eq!(asked["runtimeConfig"], wanted);
    }

    #[test]
    fn older_plugins_are_not_told_what_they_do_not_know() {
        let answer = json!({});
        let old = bridge("0.2.0");
        assert!(request(&old, 1, Call::Add, Some(&answer)).get("prevResult").is_none());
        let middle = bridge("0.3.1");
        assert!(request(&middle, 1, Call::Add, Some(&answer)).get("prevResult").is_some());
        assert!(request(&middle, 1, Call::Del, Some(&answer)).get("prevResult").is_none());
        assert!(!middle.can_check());
    }

    #[test]
    fn what_is_wrong_with_a_configuration_is_said() {
        assert!(matches!(Network::parse(b"{"), Err(ConfigError::Json(_))));
        assert!(matches!(Network::parse(b"[]"), Err(ConfigError::Json(_))));
        for (text, wrong) in [
            (json!({"type": "bridge"}), ConfigError::Field("name")),
            (json!({"name": "../n", "type": "bridge"}), ConfigError::Name("../n".to_owned())),
            (json!({"name": "n"}), ConfigError::Plugin(1)),
            (json!({"name": "n", "type": "../sh"}), ConfigError::Plugin(1)),
            (json!({"name": "n", "plugins": []}), ConfigError::Plugins),
            (json!({"name": "n", "plugins": [7]}), ConfigError::Field("plugins")),
            (json!({"name": "n", "type": "x", "cniVersion": 1}), ConfigError::Field("cniVersion")),
            (
                json!({"name": "n", "type": "x", "cniVersion": "2.0.0"}),
                ConfigError::Version("2.0.0".to_owned()),
            ),
            (json!({"name": "n", "plugins": vec![json!({"type": "x"}); 33]}), ConfigError::Plugins),
        ] {
            assert_eq!(parse(text.clone()), Err(wrong), "{text}");
        }
        // As deep as JSON can be written without being refused: no stack overflows.
        let deep =
            format!("{{\"name\":\"n\",\"type\":\"x\",\"d\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(matches!(Network::parse(deep.as_bytes()), Err(ConfigError::Json(_))));
    }

    #[test]
    fn only_a_network_that_is_nobody_elses_is_cleaned_up() {
        let network = |version: &str, value: Value| {
            let text = json!({"name": "n", "type": "x", "cniVersion": version, "disableGC": value});
            parse(text).expect("a network")
        };
        assert!(network("1.1.0", json!(false)).collects() && network("1.1.0", json!("false")).collects());
        assert!(!network("1.1.0", json!(true)).collects() && !network("1.0.0", json!(false)).collects());
        assert!(!parse(json!({"name": "n", "type": "x", "cniVersion": "1.1.0"})).expect("one").collects());
        let there = [("c1".to_owned(), "eth0".to_owned())];
        let told: Value =
            serde_json::from_slice(&network("1.1.0", json!(false)).roll_call(0, &there)).expect("JSON");
        assert_eq!(told["cni.dev/valid-attachments"], json!([{"containerID": "c1", "ifname": "eth0"}]));
        assert_eq!((&told["name"], &told["cniVersion"]), (&json!("n"), &json!("1.1.0")));
    }

    #[test]
    fn a_record_of_a_network_is_read_again() {
        let network = bridge("1.0.0");
        let text = serde_json::to_string(&network).expect("text");
        assert_eq!(serde_json::from_str::<Network>(&text).expect("a network"), network);
    }
}
