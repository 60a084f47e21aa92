//! What plugins answer. Pure.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Addresses that one network may give a container.
pub(super) const ADDRESSES_MAX: usize = 64;
/// Entries of each list in what a plugin says about names; the C library looks at three servers.
const NAMES_MAX: usize = 32;
/// Characters of a plugin's own words that are repeated.
const WORDS_MAX: usize = 1000;

/// What the last plugin of a network has answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// Of the container's side, in the plugin's order.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) names: Names,
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    #[serde(default)]
    pub(crate) nameservers: Vec<String>,
    #[serde(default)]
    pub(crate) domain: Option<String>,
    #[serde(default)]
    pub(crate) search: Vec<String>,
    #[serde(default)]
    pub(crate) options: Vec<String>,
}

impl Names {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether each entry can be a word of a line; what cannot would be a line of its own.
    pub(crate) fn is_sound(&self) -> bool {
        let word = |text: &String| !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b > b' ');
        let all = [&self.nameservers, &self.search, &self.options];
        all.iter().all(|list| list.len() <= NAMES_MAX && list.iter().all(word))
            && self.domain.as_ref().is_none_or(word)
            && self.nameservers.iter().all(|server| server.parse::<IpAddr>().is_ok())
    }
}

impl Answer {
    /// Reads what a plugin answered to ADD, in any version of the interface.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let names = match value.get("dns") {
            None | Some(Value::Null) => Names::default(),
            // Empty texts stand for nothing.
            Some(dns) => {
                let mut names: Names = serde_json::from_value(dns.clone())
                    .map_err(|error| format!("its 'dns' cannot be read: {error}"))?;
                names.domain = names.domain.filter(|domain| !domain.is_empty());
                names
            }
        };
        if !names.is_sound() {
            return Err("its 'dns' has entries that are no names or addresses".to_owned());
        }
        let mut texts: Vec<&Value> = Vec::new();
        match value.get("ips") {
            None | Some(Value::Null) => {
                // As versions before 0.3.0 have it.
                let old = ["ip4", "ip6"];
                texts.extend(old.iter().filter_map(|family| value.get(*family)?.get("ip")));
            }
            Some(Value::Array(list)) => {
                for ip in list.iter().filter(|ip| is_inside(value, ip)) {
                    texts.push(ip.get("address").ok_or("one of its 'ips' has no 'address'")?);
                }
            }
            Some(_) => return Err("its 'ips' are no list".to_owned()),
        }
        if texts.len() > ADDRESSES_MAX {
            return Err(format!("it gives more than {ADDRESSES_MAX} addresses"));
        }
        let address = |text: &Value| {
            let text = text.as_str().unwrap_or_default();
            let (address, length) = text.split_once('/').unwrap_or((text, "32"));
            let parsed: Option<IpAddr> = address.parse().ok().filter(|_| length.parse::<u8>().is_ok());
            parsed.ok_or_else(|| format!("'{}' is no address", words(text)))
        };
        Ok(Self { addresses: texts.into_iter().map(address).collect::<Result<_, _>>()?, names })
    }
}

/// Whether an address is the container's: one of an interface in its namespace, or of none in particular.
fn is_inside(value: &Value, ip: &Value) -> bool {
    let Some(number) = ip.get("interface").and_then(Value::as_u64) else { return true };
    let interface = usize::try_from(number).ok().and_then(|n| value.get("interfaces")?.get(n));
    interface.is_none_or(|interface| {
        interface.get("sandbox").and_then(Value::as_str).is_some_and(|sandbox| !sandbox.is_empty())
    })
}

/// Why a plugin failed, in its own words; `None` when it did not answer in the interface's form.
pub(super) fn error(output: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(output).ok()?;
    let code = value.get("code")?.as_u64()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (message, details) = (words(text("msg")), words(text("details")));
    let details = if details.is_empty() { String::new() } else { format!("; {details}") };
    Some(format!("{message}{details} (code {code})"))
}

/// Somebody else's text, in one line and cut.
pub(super) fn words(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    let mut rest = line.chars().filter(|c| !c.is_control());
    let shown: String = rest.by_ref().take(WORDS_MAX).collect();
    if rest.next().is_some() { format!("{shown}...") } else { shown }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn addresses(value: Value) -> Vec<String> {
        Answer::parse(&value).expect("an answer").addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn answers_of_all_versions_are_read() {
        let new = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/n"}],
            "ips": [
                {"address": "10.0.0.1/24", "interface": 0},
                {"address": "10.0.0.2/24", "interface": 1},
                {"address": "fd00::2/64"},
            ],
        });
        assert_eq!(addresses(new), ["10.0.0.2", "fd00::2"]);
        let old = json!({"ip4": {"ip": "10.0.0.2/24"}, "ip6": {"ip": "fd00::2/64"}});
        assert_eq!(addresses(old), ["10.0.0.2", "fd00::2"]);
        assert!(addresses(json!({})).is_empty(), "a network of frames has no addresses");
        let dns = json!({"dns": {"nameservers": ["10.0.0.1"], "domain": "", "search": ["x.y"]}});
        let names = Answer::parse(&dns).expect("an answer").names;
        assert_eq!((names.nameservers, names.domain), (vec!["10.0.0.1".to_owned()], None));
    }

    #[test]
    fn answers_that_make_no_sense_are_refused() {
        for bad in [
            json!({"ips": 7}),
            json!({"ips": [{}]}),
            json!({"ips": [{"address": "10.0.0.1/x"}]}),
            json!({"ips": [{"address": "10.0.0.1\nnameserver"}]}),
            json!({"ips": vec![json!({"address": "10.0.0.1/8"}); 65]}),
            json!({"dns": {"nameservers": ["10.0.0.1\noptions x"]}}),
            json!({"dns": {"search": ["a b"]}}),
            json!({"dns": 7}),
        ] {
            assert!(Answer::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_are_one_line_and_short() {
        let said = json!({"code": 11, "msg": "no\nspace\u{1b}[2J", "details": "x".repeat(5000)}).to_string();
        let told = error(said.as_bytes()).expect("an error");
        assert!(told.starts_with("no space[2J; xxx") && told.ends_with("... (code 11)"), "{told}");
        assert!(told.len() < 1100);
        assert_eq!(error(b"{}"), None);
    }
}
