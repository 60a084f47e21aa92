//! Reads the flags of `mezzo master` and `mezzo agent` the way Mesos reads its own (rules 531 to 537), and those of `mezzo
//! services` the way Marathon does.
//!
//! A flag is declared once, in the tables beside this file. Values come from the command line
//! (`--name=value`, `--name` and `--no-name` for switches; for services also `--name value` and `--disable_name`) and from
//! `MESOS_NAME` or `MARATHON_NAME` in the environment, which loses. A flag that Mezzo cannot honour is refused by name, unless it asks for what happens
//! anyway.

mod agent;
mod agent_table;
mod master;
mod master_table;
mod services;
mod services_table;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use mezzo_mesos::v1;

use crate::error::CliError;

pub(crate) use agent::agent_config;
use agent::parse_ip;
pub(crate) use master::master_config;
pub(crate) use services::services_config;

/// How a value looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// true or false; may be given without a value and as `--no-name`.
    Switch,
    /// Anything else on one line.
    Text,
    /// JSON, or the path of a file that holds it.
    Json,
}

/// What Mezzo makes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Support {
    /// It does what it says.
    Used,
    /// Taken and ignored: it tunes a mechanism that does not exist here.
    NoEffect,
    /// Refused, unless the value is the default.
    NotYet,
}

/// One declared flag.
#[derive(Debug)]
struct Flag {
    name: &'static str,
    /// The name before Mesos 1.0 or so; still taken.
    alias: Option<&'static str>,
    kind: Kind,
    default: Option<&'static str>,
    support: Support,
    help: &'static str,
}

const fn flag(
    name: &'static str,
    alias: Option<&'static str>,
    kind: Kind,
    default: Option<&'static str>,
    support: Support,
    help: &'static str,
) -> Flag {
    Flag { name, alias, kind, default, support, help }
}

/// A daemon whose flags are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    name: &'static str,
    flags: &'static [Flag],
    /// In front of the names of variables.
    variables: &'static str,
    /// Whose flags these are; Marathon's take their value as a word of its own too.
    of: Family,
}

/// Whose habits a program's flags follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Mesos,
    Marathon,
}

/// The flags of `mezzo master`.
pub(crate) const MASTER: Program =
    Program { name: "master", flags: &master_table::FLAGS, variables: "MESOS_", of: Family::Mesos };
/// The flags of `mezzo agent`.
pub(crate) const AGENT: Program =
    Program { name: "agent", flags: &agent_table::FLAGS, variables: "MESOS_", of: Family::Mesos };
/// The flags of `mezzo services`.
pub(crate) const SERVICES: Program =
    Program { name: "services", flags: &services_table::FLAGS, variables: "MARATHON_", of: Family::Marathon };

/// One value and the name it was given under.
#[derive(Clone, Debug)]
struct Given {
    shown: String,
    value: String,
}

/// The values of a program's flags.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    program: Program,
    given: BTreeMap<&'static str, Given>,
}

/// Where a daemon's log goes besides stderr.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    /// `--log_dir`
    pub(crate) folder: Option<PathBuf>,
    /// `--external_log_file`
    pub(crate) external: Option<PathBuf>,
    /// The one that the files API shows: written by the daemon when it is in the folder.
    pub(crate) shown: Option<PathBuf>,
}

/// The longest file a flag may name; larger ones are a mistake, not a configuration.
const VALUE_FILE_BYTES_MAX: u64 = 4 << 20;

impl Program {
    fn find(&self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.name == name || flag.alias == Some(name))
    }

    fn usage(&self, what: String, why: String) -> CliError {
        CliError::usage(what).why(why).help(format!("mezzo {} --help", self.name))
    }

    /// Reads flags from the command line and from variables.
    pub(crate) fn parse(
        self,
        arguments: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Values, CliError> {
        let mut given = BTreeMap::new();
        let mut arguments = arguments.into_iter().peekable();
        while let Some(mut argument) = arguments.next() {
            if self.of == Family::Marathon
                && self.wants_value(&argument)
                && let Some(value) = arguments.next_if(|next| !next.starts_with("--"))
            {
                argument = format!("{argument}={value}");
            }
            let (flag, shown, value) = self.parse_argument(&argument)?;
            if given.insert(flag.name, Given { shown, value }).is_some() {
                return Err(self.usage(
                    format!("flag --{} is given twice", flag.name),
                    "each flag may be given once, also through its older name".into(),
                ));
            }
        }
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix(self.variables).map(str::to_ascii_lowercase) else {
                continue;
            };
            // Unknown variables are not an error: tasks and other tools use the prefix too (rule 532).
            let Some(flag) = self.find(&name) else { continue };
            given.entry(flag.name).or_insert(Given { shown: name, value });
        }
        for (name, given) in &mut given {
            let flag = self.find(name).unwrap_or(&self.flags[0]);
            given.value = read_value(flag, &given.value)?;
            if flag.kind == Kind::Switch {
                given.value = parse_switch(flag, &given.value)?.to_string();
            }
            if flag.support == Support::NotYet && Some(given.value.as_str()) != flag.default {
                let why = match self.of {
                    Family::Mesos => format!("this version of Mezzo cannot do it yet: {}", flag.help),
                    Family::Marathon => flag.help.to_owned(),
                };
                return Err(self.usage(format!("flag --{name}={} is not supported", given.value), why));
            }
        }
        Ok(Values { program: self, given })
    }

    fn parse_argument(&self, argument: &str) -> Result<(&'static Flag, String, String), CliError> {
        let Some(body) = argument.strip_prefix("--") else {
            return Err(self.usage(
                format!("unexpected argument '{argument}'"),
                "flags are written --name=value; nothing else is taken".into(),
            ));
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        if let Some(flag) = self.find(name) {
            return match (value, flag.kind) {
                (Some(value), _) => Ok((flag, name.into(), value.into())),
                (None, Kind::Switch) => Ok((flag, name.into(), "true".into())),
                (None, _) => Err(self.usage(
                    format!("flag --{name} has no value"),
                    format!("write it as one word: --{name}=VALUE"),
                )),
            };
        }
        let opposite = match self.of {
            Family::Mesos => "no-",
            Family::Marathon if name.starts_with("no-") => "no-",
            Family::Marathon => "disable_",
        };
        let switch = name.strip_prefix(opposite).and_then(|name| self.find(name));
        match (switch, value) {
            (Some(flag), None) if flag.kind == Kind::Switch => {
                Ok((flag, name[opposite.len()..].into(), "false".into()))
            }
            (Some(flag), _) => Err(self.usage(
                format!("flag --{name} cannot be used"),
                format!(
                    "--{opposite} takes no value and works for switches; --{} is one: {}",
                    flag.name,
                    flag.kind == Kind::Switch
                ),
            )),
            (None, _) => Err(self.usage(format!("flag --{name} is unknown"), self.suggest(name))),
        }
    }

    /// Whether an argument names a flag whose value is the next word.
    fn wants_value(&self, argument: &str) -> bool {
        let name = argument.strip_prefix("--").filter(|name| !name.contains('='));
        name.and_then(|name| self.find(name)).is_some_and(|flag| flag.kind != Kind::Switch)
    }

    fn suggest(&self, name: &str) -> String {
        let near = self.flags.iter().map(|flag| (distance(flag.name, name), flag.name)).min();
        match near {
            Some((edits, known)) if edits <= 3 => format!("did you mean --{known}?"),
            _ => format!("mezzo {} has no flag of that name", self.name),
        }
    }

    /// The text of `--help` (rule 535).
    pub(crate) fn help(&self) -> String {
        let mut text = format!(
            "Usage: mezzo {} [--name=value ...]\n\nFlags of {:?}; {}NAME in the environment works too, and file:///path reads a value from a file.\n\n",
            self.name, self.of, self.variables
        );
        for flag in self.flags {
            let left = match flag.kind {
                Kind::Switch => format!("  --[no-]{}", flag.name),
                _ => format!("  --{}=VALUE", flag.name),
            };
            let default =
                flag.default.filter(|d| !d.is_empty()).map(|d| format!(" (default {d})")).unwrap_or_default();
            let support = match flag.support {
                Support::Used => "",
                Support::NoEffect => " [taken, has no effect]",
                Support::NotYet => " [not supported yet]",
            };
            text.push_str(&format!("{left:<48} {}{default}{support}\n", flag.help));
        }
        text
    }
}

/// `file:///path` stands for the content of the file; JSON flags also take a bare path (rule 534).
fn read_value(flag: &Flag, value: &str) -> Result<String, CliError> {
    let path = match value.strip_prefix("file://") {
        // What --master=file:// means is decided where masters are looked up; it is the same thing.
        Some(path) => path,
        None if flag.kind == Kind::Json && value.starts_with('/') => value,
        None => return Ok(value.into()),
    };
    let failed = |why: String| {
        CliError::usage(format!("flag --{} cannot be read", flag.name)).why(format!("{path}: {why}"))
    };
    let size = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if size > VALUE_FILE_BYTES_MAX {
        return Err(failed(format!("the file has {size} bytes, more than {VALUE_FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    Ok(if flag.kind == Kind::Json { text } else { text.trim_end_matches('\n').into() })
}

fn parse_switch(flag: &Flag, value: &str) -> Result<bool, CliError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(CliError::usage(format!("flag --{}={value} cannot be used", flag.name))
            .why("it is a switch: true or false")),
    }
}

/// Edits between two short names, for suggestions.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if l == *r { diagonal } else { 1 + diagonal.min(above).min(row[j]) };
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}

impl Values {
    /// The value of a flag, given or by default.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let flag = self.program.find(name)?;
        self.given.get(flag.name).map(|given| given.value.as_str()).or(flag.default)
    }

    /// The value of a flag only when somebody gave it.
    pub(crate) fn explicit(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(|given| given.value.as_str())
    }

    /// A switch; false when nothing says otherwise.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A flag the program cannot start without (rule 537).
    pub(crate) fn required(&self, name: &str) -> Result<&str, CliError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            self.program.usage(
                format!("flag --{name} is missing"),
                format!("mezzo {} cannot start without it", self.program.name),
            )
        })
    }

    /// A duration such as `10secs`; its flag has a default or [`None`] is returned.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, CliError> {
        self.convert(name, |text| mezzo_time::parse_duration(text).map_err(|e| e.to_string()))
    }

    /// A size such as `10MB`.
    pub(crate) fn bytes(&self, name: &str) -> Result<Option<u64>, CliError> {
        self.convert(name, |text| mezzo_time::parse_bytes(text).map_err(|e| e.to_string()))
    }

    /// Anything std can read.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, CliError> {
        self.convert(name, |text| text.parse().map_err(|_| format!("'{text}' is not a number that fits")))
    }

    /// Where to listen. Nobody is authenticated, so beyond this machine only when a flag allows it (A107).
    pub(crate) fn listen(&self, port: u16) -> Result<SocketAddr, CliError> {
        let ip: IpAddr = self.convert("ip", parse_ip)?.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let address = SocketAddr::new(ip, self.number("port")?.unwrap_or(port));
        if ip.to_canonical().is_loopback() || self.switch("allow_unauthenticated") {
            return Ok(address);
        }
        let name = self.program.name;
        Err(CliError::usage(format!("flag --ip={ip} opens the {name} to others without authentication"))
            .place(address.to_string())
            .why("nobody is asked who they are, so whoever reaches this address can run commands on the cluster")
            .help(format!("mezzo {name} --ip=127.0.0.1 ...   keeps it to this machine"))
            .help(format!("mezzo {name} --ip={ip} --allow_unauthenticated ...   on a network you trust")))
    }

    /// Folder of log files, and the file shown as the daemon's log.
    pub(crate) fn logs(&self) -> Result<Logs, CliError> {
        let folder = self.get("log_dir").filter(|path| !path.is_empty()).map(PathBuf::from);
        let external = self.get("external_log_file").filter(|path| !path.is_empty()).map(PathBuf::from);
        if folder.is_some() && external.is_some() {
            return Err(self.program.usage(
                "flags --log_dir and --external_log_file cannot be used together".into(),
                "the log shown is either written here or by somebody else".into(),
            ));
        }
        let level = self.get("logging_level").unwrap_or("INFO");
        let own = folder.as_ref().map(|folder| folder.join(format!("mezzo-{}.{level}", self.program.name)));
        Ok(Logs { folder, shown: own.or(external.clone()), external })
    }

    /// `--domain`, as both daemons take it.
    pub(crate) fn domain(&self) -> Result<Option<v1::DomainInfo>, CliError> {
        self.convert("domain", |text| {
            mezzo_json::from_slice::<v1::DomainInfo>(text.as_bytes()).map_err(|e| e.to_string())
        })
    }

    /// Converts a value with words about what went wrong.
    pub(crate) fn convert<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, CliError> {
        let Some(text) = self.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        read(text)
            .map(Some)
            .map_err(|why| self.program.usage(format!("flag --{name}={text} cannot be used"), why))
    }

    /// Every flag with a value, as /flags shows them.
    pub(crate) fn effective(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = self
            .program
            .flags
            .iter()
            .filter(|flag| !self.given.contains_key(flag.name))
            .filter_map(|flag| Some((flag.name.to_owned(), flag.default?.to_owned())))
            .collect();
        all.extend(self.given.values().map(|given| (given.shown.clone(), given.value.clone())));
        all
    }
}

#[cfg(test)]
mod tests;
