//! An image's own settings, and what of them is believed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::{Digest, error::Reason, limits::LAYERS_MAX};

/// One text of a command or environment; the kernel takes no longer one.
const TEXT_BYTES_MAX: usize = 128 << 10;
/// Command, environment and labels together: a quarter of what the kernel gives to a program.
const TEXTS_BYTES_MAX: usize = 512 << 10;
/// Arguments, variables or labels.
const TEXTS_MAX: usize = 4_096;
/// User names and paths.
const SHORT_BYTES_MAX: usize = 4_095;

/// How an image wants to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Variables in the order of the image; a later one of a name wins.
    pub env: Vec<(String, String)>,
    /// The program with its first arguments.
    pub entrypoint: Vec<String>,
    /// What follows the entry point when the user gives nothing else.
    pub cmd: Vec<String>,
    /// Absolute, without `..`; `None` for the root.
    pub working_dir: Option<String>,
    /// `user`, `user:group`, in names or numbers, of a shape that [`check_user`] takes. Mesos ignores it (rule 369).
    pub user: Option<String>,
    /// Free text.
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM`, `15`.
    pub stop_signal: Option<String>,
}

/// A configuration with the names of its layers' content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) config: ImageConfig,
    /// Of the unpacked tars, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) os: String,
    pub(crate) architecture: String,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default)]
    config: Option<RawConfig>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    #[serde(deserialize_with = "or_default")]
    user: String,
    #[serde(deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    working_dir: String,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    stop_signal: String,
}

/// Docker writes `null` for what is empty.
fn or_default<'d, D: Deserializer<'d>, T: Deserialize<'d> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a configuration and refuses what no container could be started with (attack A069).
pub(crate) fn parse(content: &[u8]) -> Result<Parsed, Reason> {
    let wrong = |why: &str| Reason::document("read the image's configuration", why);
    let raw: Raw = serde_json::from_slice(content).map_err(|error| wrong(&error.to_string()))?;
    if raw.rootfs.kind != "layers" || raw.rootfs.diff_ids.len() > LAYERS_MAX {
        return Err(wrong("its root file system is not made of layers, or of too many"));
    }
    let config = check(raw.config.unwrap_or_default()).map_err(|why| wrong(&why))?;
    Ok(Parsed { config, diff_ids: raw.rootfs.diff_ids, os: raw.os, architecture: raw.architecture })
}

fn check(raw: RawConfig) -> Result<ImageConfig, String> {
    let mut bytes = 0;
    for (what, texts) in [("Env", &raw.env), ("Entrypoint", &raw.entrypoint), ("Cmd", &raw.cmd)] {
        if texts.len() > TEXTS_MAX {
            return Err(format!("{what} has more than {TEXTS_MAX} parts"));
        }
        for text in texts {
            bytes += text.len();
            if text.len() > TEXT_BYTES_MAX || text.contains('\0') {
                return Err(format!("a part of {what} is too long or has a zero byte"));
            }
        }
    }
    bytes += raw.labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if bytes > TEXTS_BYTES_MAX || raw.labels.len() > TEXTS_MAX {
        return Err(format!("command, environment and labels have more than {TEXTS_BYTES_MAX} bytes"));
    }
    let mut env = Vec::with_capacity(raw.env.len());
    for variable in raw.env {
        match variable.split_once('=') {
            Some((name, value)) if !name.is_empty() && !name.chars().any(char::is_control) => {
                env.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err("an entry of Env is not NAME=value".to_owned()),
        }
    }
    if !raw.user.is_empty() && !check_user(&raw.user) {
        return Err("User is neither a name nor a number".to_owned());
    }
    let stop = &raw.stop_signal;
    if stop.len() > 16 || !stop.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-')) {
        return Err("StopSignal names no signal".to_owned());
    }
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(ImageConfig {
        env,
        entrypoint: raw.entrypoint,
        cmd: raw.cmd,
        working_dir: filled(raw.working_dir).map(working_dir).transpose()?,
        user: filled(raw.user),
        labels: raw.labels,
        stop_signal: filled(raw.stop_signal),
    })
}

/// A relative directory is meant from the root, as Docker means it.
fn working_dir(text: String) -> Result<String, String> {
    let odd = text.len() > SHORT_BYTES_MAX
        || text.chars().any(char::is_control)
        || text.split('/').any(|part| part == "..");
    match odd {
        true => Err("WorkingDir is not a path inside the image".to_owned()),
        false if text.starts_with('/') => Ok(text),
        false => Ok(format!("/{text}")),
    }
}

/// Whether a text can be the user of a container: `user[:group]`, each a POSIX name or a number that is an id.
/// A number too large is not cut to another user's, least of all to root's (attack A025).
pub fn check_user(text: &str) -> bool {
    let part = |text: &str| {
        let digits = text.bytes().all(|c| c.is_ascii_digit());
        let name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-' | b'$');
        match text.bytes().next() {
            None | Some(b'-' | b'.') => false,
            // The last id means "unchanged" to the kernel.
            Some(_) if digits => text.parse::<u32>().is_ok_and(|id| id != u32::MAX),
            Some(_) => text.len() <= 256 && text.bytes().all(name),
        }
    };
    match text.split_once(':') {
        Some((user, group)) => part(user) && part(group),
        None => part(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<ImageConfig, String> {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":null}}}}"#
        );
        parse(text.as_bytes()).map(|parsed| parsed.config).map_err(|reason| reason.to_string())
    }

    #[test]
    fn a_configuration_as_docker_writes_it() {
        let config = read(
            r#"{"Hostname":"","User":"app:1000","Env":["PATH=/bin:/usr/bin","E=a=b\nc"],"Entrypoint":null,"Cmd":["sh"],
               "WorkingDir":"srv","Labels":{"a":"b"},"Volumes":{"/data":{}},"StopSignal":"SIGRTMIN+3","OnBuild":null}"#,
        )
        .unwrap();
        assert_eq!(config.env, [("PATH".into(), "/bin:/usr/bin".into()), ("E".into(), "a=b\nc".into())]);
        assert_eq!((config.entrypoint.len(), config.cmd), (0, vec!["sh".to_owned()]));
        assert_eq!(config.working_dir.as_deref(), Some("/srv"));
        assert_eq!(config.user.as_deref(), Some("app:1000"));
        assert_eq!(config.stop_signal.as_deref(), Some("SIGRTMIN+3"));
        assert_eq!(read("null").unwrap(), ImageConfig::default());
    }

    #[test]
    fn a069_hostile_configurations_are_refused() {
        let huge = "x".repeat(TEXT_BYTES_MAX + 1);
        let many = vec!["\"x\""; TEXTS_MAX + 1].join(",");
        let labels: Vec<String> = (0..5_000).map(|i| format!(r#""{i}":"""#)).collect();
        for config in [
            r#"{"Env":["NOVALUE"]}"#.to_owned(),
            r#"{"Env":["=x"]}"#.to_owned(),
            r#"{"Env":["A\nB=x"]}"#.to_owned(),
            r#"{"Cmd":["a\u0000b"]}"#.to_owned(),
            format!(r#"{{"Entrypoint":["{huge}"]}}"#),
            format!(r#"{{"Cmd":[{many}]}}"#),
            format!(r#"{{"Labels":{{{}}}}}"#, labels.join(",")),
            r#"{"WorkingDir":"/a/../../etc"}"#.to_owned(),
            r#"{"StopSignal":"9; reboot"}"#.to_owned(),
            r#"{"Cmd":"not a list"}"#.to_owned(),
        ] {
            assert!(read(&config).is_err(), "{:.80}", config);
        }
    }

    #[test]
    fn a025_users_that_are_no_ids_are_refused() {
        for good in ["root", "0", "0:0", "www-data", "app:1000", "4294967294", "_x.y"] {
            assert!(check_user(good), "{good}");
        }
        for bad in [
            "",
            ":",
            "0:",
            ":0",
            "-1",
            "4294967295",
            "4294967296",
            "root:0:0",
            "٣",
            "a b",
            "a/b",
            "a\0",
            "a\nroot:x",
        ] {
            assert!(!check_user(bad), "{bad:?}");
        }
    }
}
