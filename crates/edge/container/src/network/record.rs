//! What is known of the networks of one container, on disk before anything of it is made. A later agent
//! finds there what has to be undone, also when the host has been started anew meanwhile (scenario F136).

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use mezzo_mesos::v1;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    answer::ADDRESSES_MAX,
    config::{Network, PortMapping},
};

/// The file in a container's folder.
const RECORD: &str = "record";
/// A record holds configurations and answers, which have limits of their own; these many never have a use.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// All networks of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) container: String,
    pub(super) hostname: String,
    /// In the order in which they are joined.
    pub(super) networks: Vec<Joined>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Joined {
    /// As it was when it was joined, whatever became of its file.
    pub(super) network: Network,
    /// Name of the interface in the container.
    pub(super) interface: String,
    pub(super) asked: Asked,
    /// What its last plugin has answered; `None` while it is being joined.
    pub(super) answer: Option<Value>,
}

/// What was asked of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) groups: Vec<String>,
    pub(super) labels: Vec<(String, Option<String>)>,
    pub(super) mappings: Vec<PortMapping>,
    /// Addresses that it shall have, each with or without the length of its network's prefix.
    #[serde(default)]
    pub(super) addresses: Vec<String>,
    /// The hardware address that its interface shall have.
    #[serde(default)]
    pub(super) hardware: Option<String>,
}

/// The label of a network that asks for a hardware address; the API has no field for it.
const HARDWARE_LABEL: &str = "mac";

/// Whether a text is an address, with or without the length of a prefix.
fn is_address(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|length| length <= bits))
}

/// Whether a text is a hardware address that an interface can have: six numbers, and no group's.
fn is_hardware_address(text: &str) -> bool {
    let parts: Vec<_> = text.split(':').collect();
    let number = |part: &&str| {
        let is_hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u8::from_str_radix(part, 16).ok()).flatten()
    };
    parts.len() == 6
        && parts.iter().all(|part| number(part).is_some())
        && parts.first().and_then(number).is_some_and(|first| first & 1 == 0)
}

impl Asked {
    pub(super) fn new(info: &v1::NetworkInfo) -> Result<Self, String> {
        let port = |number: u32| match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("{number} is no port")),
        };
        let mappings = info.port_mappings.iter().map(|mapping| {
            let protocol = mapping.protocol.as_deref().unwrap_or("tcp").to_ascii_lowercase();
            if !matches!(protocol.as_str(), "tcp" | "udp") {
                return Err(format!("'{}' is no protocol of port mappings", protocol.escape_debug()));
            }
            Ok(PortMapping {
                host: port(mapping.host_port)?,
                container: port(mapping.container_port)?,
                protocol,
            })
        });
        let labels = info.labels.iter().flat_map(|labels| &labels.labels);
        let addresses = info.ip_addresses.iter().filter_map(|wanted| wanted.ip_address.clone());
        let addresses: Vec<String> = addresses.take(ADDRESSES_MAX + 1).collect();
        if addresses.len() > ADDRESSES_MAX {
            return Err(format!("more than {ADDRESSES_MAX} addresses are asked for"));
        }
        if let Some(wrong) = addresses.iter().find(|text| !is_address(text)) {
            return Err(format!("'{}' is no address", wrong.escape_debug()));
        }
        let hardware = labels.clone().find(|label| label.key == HARDWARE_LABEL);
        let hardware = hardware.and_then(|label| label.value.clone());
        Ok(Self {
            groups: info.groups.clone(),
            labels: labels.map(|label| (label.key.clone(), label.value.clone())).collect(),
            mappings: mappings.collect::<Result<_, _>>()?,
            addresses,
            // A label of this name may also be about something else.
            hardware: hardware.filter(|text| is_hardware_address(text)),
        })
    }

    /// In the form of Mesos' JSON, which plugins made for Mesos read.
    pub(super) fn to_json(&self, name: &str) -> Value {
        let mut object = Map::new();
        object.insert("name".to_owned(), name.into());
        if !self.addresses.is_empty() {
            let list: Vec<Value> =
                self.addresses.iter().map(|address| json!({ "ip_address": address })).collect();
            object.insert("ip_addresses".to_owned(), list.into());
        }
        if !self.groups.is_empty() {
            object.insert("groups".to_owned(), json!(self.groups));
        }
        if !self.labels.is_empty() {
            let labels: Vec<Value> = self
                .labels
                .iter()
                .map(|(key, value)| match value {
                    Some(value) => json!({"key": key, "value": value}),
                    None => json!({ "key": key }),
                })
                .collect();
            object.insert("labels".to_owned(), json!({ "labels": labels }));
        }
        if !self.mappings.is_empty() {
            let mappings: Vec<Value> = self
                .mappings
                .iter()
                .map(|one| {
                    json!({"host_port": one.host, "container_port": one.container, "protocol": one.protocol})
                })
                .collect();
            object.insert("port_mappings".to_owned(), mappings.into());
        }
        Value::Object(object)
    }

    /// As the API tells it, with the addresses that were given.
    pub(super) fn to_info(&self, name: &str, addresses: &[std::net::IpAddr]) -> v1::NetworkInfo {
        use v1::network_info::{IpAddress, PortMapping as Shown, Protocol};
        let label =
            |(key, value): &(String, Option<String>)| v1::Label { key: key.clone(), value: value.clone() };
        let address = |address: &std::net::IpAddr| {
            let protocol = if address.is_ipv4() { Protocol::IPv4 } else { Protocol::IPv6 };
            IpAddress { protocol: Some(protocol as i32), ip_address: Some(address.to_string()) }
        };
        let labels: Vec<v1::Label> = self.labels.iter().map(label).collect();
        v1::NetworkInfo {
            ip_addresses: addresses.iter().map(address).collect(),
            name: Some(name.to_owned()),
            groups: self.groups.clone(),
            labels: (!labels.is_empty()).then_some(v1::Labels { labels }),
            port_mappings: self
                .mappings
                .iter()
                .map(|one| Shown {
                    host_port: one.host.into(),
                    container_port: one.container.into(),
                    protocol: Some(one.protocol.clone()),
                })
                .collect(),
        }
    }
}

impl Record {
    /// Writes it into the container's folder so that it survives everything that may happen next.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let fresh = folder.join(".record");
        let mut file = File::create(&fresh)?;
        file.write_all(serde_json::to_string(self).map_err(io::Error::from)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, folder.join(RECORD))?;
        File::open(folder)?.sync_all()?;
        match folder.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    }

    /// `None` for a folder in which nothing was made yet.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(folder.join(RECORD)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(RECORD_BYTES_MAX).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }
}

/// The folders of all containers that have networks, and their names.
pub(super) fn folders(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.file_type()?.is_dir()
        {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> v1::NetworkInfo {
        use v1::network_info::PortMapping as Wanted;
        v1::NetworkInfo {
            name: Some("n".to_owned()),
            labels: Some(v1::Labels {
                labels: vec![v1::Label { key: "k".to_owned(), value: Some("v".to_owned()) }],
            }),
            port_mappings: vec![Wanted {
                host_port: 31080,
                container_port: 80,
                protocol: Some("TCP".to_owned()),
            }],
            ..v1::NetworkInfo::default()
        }
    }

    #[test]
    fn what_was_asked_is_told_to_plugins_and_in_the_api() {
        let asked = Asked::new(&asked()).expect("asked");
        let told = asked.to_json("n");
        assert_eq!(told["port_mappings"][0]["host_port"], 31080);
        assert_eq!(told["labels"]["labels"][0]["value"], "v");
        let info = asked.to_info("n", &["10.0.0.2".parse().expect("one")]);
        assert_eq!(info.ip_addresses[0].ip_address.as_deref(), Some("10.0.0.2"));
        assert_eq!(info.port_mappings[0].protocol.as_deref(), Some("tcp"));
    }

    #[test]
    fn addresses_that_are_asked_for_are_addresses() {
        let with = |address: &str, mac: &str| {
            let mut info = asked();
            info.ip_addresses =
                vec![v1::network_info::IpAddress { protocol: None, ip_address: Some(address.to_owned()) }];
            info.labels = Some(v1::Labels {
                labels: vec![v1::Label { key: HARDWARE_LABEL.to_owned(), value: Some(mac.to_owned()) }],
            });
            Asked::new(&info)
        };
        for address in ["10.0.0.9", "10.0.0.9/24", "fd00::9/64"] {
            let asked = with(address, "02:00:00:00:00:0a").expect(address);
            assert_eq!(asked.hardware.as_deref(), Some("02:00:00:00:00:0a"));
            assert_eq!(asked.to_json("n")["ip_addresses"][0]["ip_address"], address);
        }
        for address in ["", "10.0.0", "10.0.0.9/33", "10.0.0.9/x", "host", "10.0.0.9,10.0.0.8"] {
            assert!(with(address, "").is_err(), "{address}");
        }
        // A group's, and what is none.
        for mac in ["01:00:5e:00:00:01", "02:00:00:00:00", "02:00:00:00:00:zz", "+2:00:00:00:00:00"] {
            assert_eq!(with("10.0.0.9", mac).expect("asked").hardware, None, "{mac}");
        }
        // What an earlier agent wrote down says nothing of them.
        let old = r#"{"groups":[],"labels":[],"mappings":[]}"#;
        assert_eq!(serde_json::from_str::<Asked>(old).expect("a record"), Asked::default());
    }

    #[test]
    fn ports_that_are_none_are_refused() {
        for (host, container, protocol) in
            [(0, 80, None), (65_536, 80, None), (1, 0, None), (1, 1, Some("icmp"))]
        {
            let mut info = asked();
            info.port_mappings[0].host_port = host;
            info.port_mappings[0].container_port = container;
            info.port_mappings[0].protocol = protocol.map(str::to_owned);
            assert!(Asked::new(&info).is_err(), "{host} {container} {protocol:?}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_torn_one_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let network = Network::parse(br#"{"name":"n","type":"bridge"}"#).expect("a network");
        let record = Record {
            container: "c1".to_owned(),
            hostname: "h".to_owned(),
            networks: vec![Joined {
                network,
                interface: "eth0".to_owned(),
                asked: Asked::new(&asked()).expect("asked"),
                answer: Some(json!({"ips": []})),
            }],
        };
        let place = folder.path().join("c1");
        assert_eq!(Record::read(&place).expect("read"), None);
        record.write(&place).expect("written");
        assert_eq!(Record::read(&place).expect("read"), Some(record));
        assert_eq!(folders(folder.path()).expect("read"), [("c1".to_owned(), place.clone())]);
        fs::write(place.join(RECORD), "{\"container\":").expect("a file");
        assert!(Record::read(&place).is_err());
    }
}
