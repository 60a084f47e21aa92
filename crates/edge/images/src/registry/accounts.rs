//! Who we are to registries: Docker's configuration file, and the challenges registries answer with.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{Digest, reference::HUB};

/// A configuration file; real ones have a few entries.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Accounts by registry host and port, as in `~/.docker/config.json` (`auths`) or the older `.dockercfg`.
/// Programs that such a file names for looking up passwords are not run.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Accounts(BTreeMap<String, Account>);

/// What a registry knows us by.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Account {
    user: String,
    password: String,
}

/// The file is not what it should be. Does not show what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the docker configuration: {0}")]
pub struct AccountsError(String);

impl fmt::Debug for Accounts {
    /// Hosts only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Deserialize)]
struct RawAccount {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

impl Accounts {
    /// Reads a configuration file's text.
    pub fn parse(text: &[u8]) -> Result<Self, AccountsError> {
        let wrong = |why: &str| AccountsError(why.to_owned());
        if text.len() > FILE_BYTES_MAX {
            return Err(wrong("it is too large"));
        }
        // The texts of serde's errors could quote a password.
        let mut file: BTreeMap<String, serde_json::Value> = serde_json::from_slice(text)
            .map_err(|error| wrong(&format!("line {} is no JSON object", error.line())))?;
        let entries = match file.remove("auths") {
            Some(auths) => serde_json::from_value::<BTreeMap<String, serde_json::Value>>(auths)
                .map_err(|_| wrong("'auths' is no object"))?,
            None => file.into_iter().filter(|(_, value)| value.get("auth").is_some()).collect(),
        };
        let mut accounts = BTreeMap::new();
        for (host, value) in entries {
            let raw: RawAccount =
                serde_json::from_value(value).map_err(|_| wrong(&format!("the entry of '{host}'")))?;
            let account = match (raw.auth.filter(|auth| !auth.is_empty()), raw.username, raw.password) {
                (Some(auth), _, _) => {
                    let decoded =
                        STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                    let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':'))
                    else {
                        return Err(wrong(&format!("the entry of '{host}' is not user:password in base64")));
                    };
                    Account { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() }
                }
                (None, Some(user), Some(password)) => Account { user, password },
                // Kept by a helper program.
                _ => continue,
            };
            accounts.insert(host_of(&host), account);
        }
        Ok(Self(accounts))
    }

    /// Adds or replaces the account of a registry.
    pub fn insert(&mut self, registry: &str, user: &str, password: &str) {
        let account = Account { user: user.to_owned(), password: password.to_owned() };
        self.0.insert(host_of(registry), account);
    }

    pub(crate) fn get(&self, authority: &str) -> Option<&Account> {
        self.0.get(authority)
    }

    /// Stands for the account in records; two of equal fingerprint have equal rights.
    pub(crate) fn fingerprint(&self, authority: &str) -> String {
        match self.get(authority) {
            None => String::new(),
            Some(account) => {
                Digest::of(format!("{authority}\n{}\n{}", account.user, account.password).as_bytes()).hex()
            }
        }
    }
}

impl Account {
    /// As a value of `Authorization`.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

/// Entries are written with or without scheme and path.
fn host_of(entry: &str) -> String {
    let rest = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "index.docker.io" | "docker.io" => HUB.to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// Reads a value of `WWW-Authenticate`; nothing for schemes we do not speak.
pub(crate) fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']);
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match name {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            _ => {}
        }
        rest = next;
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_configurations_are_read() {
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},"R.example:5000":{"username":"a","password":"b"},
            "helped.example":{}},"credsStore":"desktop"}"#;
        let accounts = Accounts::parse(text).unwrap();
        let hub = accounts.get(HUB).unwrap();
        assert_eq!((hub.user.as_str(), hub.password.as_str()), ("u", "p:q"));
        assert_eq!(accounts.get("r.example:5000").unwrap().basic(), "Basic YTpi");
        assert!(accounts.get("helped.example").is_none());
        let old = Accounts::parse(br#"{"quay.io":{"auth":"dTpw","email":"x"}}"#).unwrap();
        assert!(old.get("quay.io").is_some());
        assert_eq!(format!("{old:?}"), r#"{"quay.io"}"#, "passwords are never printed");
        for wrong in [
            "",
            "[]",
            r#"{"auths":[]}"#,
            r#"{"auths":{"h":{"auth":"%%"}}}"#,
            r#"{"auths":{"h":{"auth":"c2VjcmV0"}}}"#,
        ] {
            let error = Accounts::parse(wrong.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn challenges_are_read() {
        let bearer =
            challenge(r#"Bearer realm="https://auth.example/token",service="r.example",scope="a:b,c""#);
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("r.example".into()),
        };
        assert_eq!(bearer, Some(expected));
        assert_eq!(challenge("basic realm=x"), Some(Challenge::Basic));
        let short = challenge("bearer service=s,realm=http://h/t").unwrap();
        assert_eq!(short, Challenge::Bearer { realm: "http://h/t".into(), service: Some("s".into()) });
        for wrong in ["", "Bearer", "Bearer realm", "Bearer realm=\"x", "Negotiate", "Bearer service=\"x\""] {
            assert_eq!(challenge(wrong), None, "{wrong}");
        }
    }
}
