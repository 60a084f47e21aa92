//! The files by which a container in a network of its own finds others: `hosts`, `hostname` and `resolv.conf`;
//! and `--default_container_dns`. Pure.

use std::{fmt::Write as _, net::IpAddr};

use serde::Deserialize;

use super::answer::Names;

/// The names of the files, in the container's folder and in `/etc`.
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const HOSTNAME: &str = "hostname";
pub(crate) const RESOLV_CONF: &str = "resolv.conf";

/// The content of `/etc/hosts`.
pub(super) fn hosts(hostname: &str, addresses: &[IpAddr]) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for address in addresses {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{address} {hostname}");
    }
    text
}

/// The content of `/etc/resolv.conf`.
pub(super) fn resolv_conf(names: &Names) -> String {
    let mut text = String::new();
    let mut line = |word: &str, rest: String| {
        if !rest.is_empty() {
            let _ = writeln!(text, "{word} {rest}");
        }
    };
    line("domain", names.domain.clone().unwrap_or_default());
    line("search", names.search.join(" "));
    line("options", names.options.join(" "));
    for server in &names.nameservers {
        line("nameserver", server.clone());
    }
    text
}

/// How containers resolve names unless their network says it (`--default_container_dns`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultNames {
    /// The name of a network, or `None` for all without an entry of their own.
    networks: Vec<(Option<String>, Names)>,
}

impl DefaultNames {
    /// Reads the flag's JSON. Entries for the Docker containerizer are for nobody here, and those for the
    /// host's network would replace files of the host's.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct All {
            #[serde(default)]
            mesos: Vec<Entry>,
            #[serde(default, rename = "docker")]
            _docker: Vec<serde::de::IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Entry {
            network_mode: String,
            network_name: Option<String>,
            dns: Names,
        }
        let all: All = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut networks: Vec<(Option<String>, Names)> = Vec::new();
        for entry in all.mesos {
            match entry.network_mode.as_str() {
                "CNI" => {}
                "HOST" => continue,
                other => return Err(format!("'{other}' is no network mode: CNI and HOST are")),
            }
            if !entry.dns.is_sound() {
                return Err("a nameserver is an address, and all others are single words".to_owned());
            }
            if networks.iter().any(|(name, _)| *name == entry.network_name) {
                let name = entry.network_name.unwrap_or_default();
                return Err(format!("the network '{name}' is there twice"));
            }
            networks.push((entry.network_name, entry.dns));
        }
        Ok(Self { networks })
    }

    /// What is said about a network.
    pub(super) fn of(&self, network: &str) -> Option<&Names> {
        let find = |wanted: Option<&str>| {
            self.networks.iter().find(|(name, _)| name.as_deref() == wanted).map(|(_, names)| names)
        };
        find(Some(network)).or_else(|| find(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_line_for_each_address_and_server() {
        let addresses = ["10.0.0.2".parse().expect("one"), "fd00::2".parse().expect("one")];
        let text = hosts("web", &addresses);
        assert!(text.starts_with("127.0.0.1 localhost\n::1 localhost"), "{text}");
        assert!(text.ends_with("10.0.0.2 web\nfd00::2 web\n"), "{text}");
        let names = Names {
            nameservers: vec!["10.0.0.1".to_owned(), "10.0.0.9".to_owned()],
            domain: Some("d".to_owned()),
            search: vec!["a".to_owned(), "b".to_owned()],
            options: vec!["ndots:2".to_owned()],
        };
        let text = resolv_conf(&names);
        assert_eq!(text, "domain d\nsearch a b\noptions ndots:2\nnameserver 10.0.0.1\nnameserver 10.0.0.9\n");
    }

    #[test]
    fn the_flag_names_networks_or_all_of_them() {
        let text = r#"{"mesos":[
            {"network_mode":"CNI","dns":{"nameservers":["1.1.1.1"]}},
            {"network_mode":"CNI","network_name":"n","dns":{"nameservers":["2.2.2.2"]}},
            {"network_mode":"HOST","dns":{"nameservers":["3.3.3.3"]}}],
            "docker":[{"network_mode":"BRIDGE","dns":{}}]}"#;
        let names = DefaultNames::parse(text).expect("names");
        assert_eq!(names.of("n").map(|n| n.nameservers[0].as_str()), Some("2.2.2.2"));
        assert_eq!(names.of("m").map(|n| n.nameservers[0].as_str()), Some("1.1.1.1"));
        assert_eq!(DefaultNames::default().of("n"), None);
        for bad in [
            "{",
            r#"{"mesos":[{"network_mode":"X","dns":{}}]}"#,
            r#"{"mesos":[{"network_mode":"CNI","dns":{"nameservers":["x"]}}]}"#,
            r#"{"mesos":[{"network_mode":"CNI","dns":{}},{"network_mode":"CNI","dns":{}}]}"#,
            r#"{"other":[]}"#,
        ] {
            assert!(DefaultNames::parse(bad).is_err(), "{bad}");
        }
    }
}
