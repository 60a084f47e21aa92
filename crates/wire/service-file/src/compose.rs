//! Compose files as our TOML, with a list of what could not be carried over.

use std::fmt::Write as _;

use mezzo_document::{Problem, Source, units};
use serde_json::{Map, Value};

use crate::documents;

/// A file of ours, and what of the other one it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Our TOML.
    pub text: String,
    /// How many services it names.
    pub services: usize,
    /// What could not be carried over, a line each.
    pub left: Vec<String>,
}

/// Reads a compose file. Everything in it is either in the new file or in the list.
pub fn import(name: &str, text: &str) -> Result<Imported, Problem> {
    let source = Source { name, text };
    let root = documents::yaml_value(&source)?;
    let Some(services) = root.get("services").and_then(Value::as_object) else {
        return Err(Problem::new(format!("{name} is no compose file"), "expected a key `services`")
            .help("files of our own and Marathon's documents need no import: mezzo up FILE"));
    };
    let mut imported = Imported {
        text: format!("# From {name}. What could not be carried over was told by `mezzo import`.\n"),
        services: services.len(),
        left: Vec::new(),
    };
    for key in root.as_object().into_iter().flat_map(Map::keys) {
        // Volumes are made where they are used; a name and a version say nothing here.
        if !matches!(key.as_str(), "services" | "version" | "name" | "volumes") {
            imported.left.push(format!("`{key}` at the top"));
        }
    }
    for (service, fields) in services {
        let app = name_of(service);
        let mut writer = Writer { app: &app, lines: Vec::new(), left: Vec::new() };
        if app != *service {
            writer.left.push(format!("the name `{service}`: used `{app}`"));
        }
        match fields.as_object() {
            Some(fields) => fields.iter().for_each(|(key, value)| writer.field(key, value, fields)),
            None => writer.left.push("its definition, which is no table".into()),
        }
        _ = writeln!(imported.text, "\n[app.{app}]");
        let width = writer.lines.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        for (key, value) in &writer.lines {
            _ = writeln!(imported.text, "{key:width$} = {value}");
        }
        imported.left.extend(writer.left.iter().map(|what| format!("{service}: {what}")));
    }
    Ok(imported)
}

/// A name that a path may hold.
fn name_of(service: &str) -> String {
    let name: String = service
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    match name.trim_matches('-') {
        "" => "app".into(),
        name => name.into(),
    }
}

struct Writer<'a> {
    app: &'a str,
    lines: Vec<(String, String)>,
    left: Vec<String>,
}

impl Writer<'_> {
    fn line(&mut self, key: &str, value: impl Into<String>) {
        self.lines.push((key.into(), value.into()));
    }

    fn left(&mut self, what: impl Into<String>) {
        self.left.push(what.into());
    }

    fn field(&mut self, key: &str, value: &Value, all: &Map<String, Value>) {
        match (key, value) {
            ("image", Value::String(image)) => self.line("image", quoted(image)),
            ("user", Value::String(user)) => self.line("user", quoted(user)),
            ("tty", Value::Bool(tty)) => self.line("tty", tty.to_string()),
            ("command" | "entrypoint", _) => self.command(key, value, all),
            ("environment", _) => self.pairs("env", key, value),
            ("labels", _) => self.pairs("labels", key, value),
            ("ports", Value::Array(ports)) => self.ports(ports),
            ("expose", _) => {}
            ("volumes", Value::Array(volumes)) => self.volumes(volumes),
            ("depends_on", _) => self.after(value),
            ("deploy", Value::Object(deploy)) => self.deploy(deploy),
            ("healthcheck", Value::Object(check)) => self.check(check),
            ("stop_grace_period", Value::String(grace)) if units::duration(grace).is_some() => {
                self.line("kill_grace", quoted(grace));
            }
            ("scale", Value::Number(count)) => self.line("instances", count.to_string()),
            ("cpus", value) if number(value).is_some() => {
                self.line("cpus", number(value).unwrap_or_default())
            }
            ("mem_limit", value) if memory(value).is_some() => {
                self.line("memory", memory(value).unwrap_or_default())
            }
            // Services are started again whatever happens.
            ("restart", Value::String(word)) if word == "always" || word == "unless-stopped" => {}
            ("restart", Value::String(word)) => {
                self.left(format!("`restart: {word}`: a service is always started again"))
            }
            ("build", _) => self.left("`build`: build and push the image, and name it in `image`"),
            _ => self.left(format!("`{key}`")),
        }
    }

    fn command(&mut self, key: &str, value: &Value, all: &Map<String, Value>) {
        if key == "command" && all.contains_key("entrypoint") {
            return;
        }
        let words = |value: &Value| match value {
            Value::String(line) => Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()),
            Value::Array(words) => words.iter().map(|word| word.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let rest = if key == "entrypoint" {
            all.get("command").and_then(words).unwrap_or_default()
        } else {
            Vec::new()
        };
        match words(value) {
            // The shell reads a line as it is written.
            Some(_) if key == "command" && value.is_string() => {
                self.line("args", list(&words(value).unwrap_or_default()))
            }
            Some(words) if key == "command" => self.line("args", list(&words)),
            Some(words) => {
                let line: Vec<String> = words.iter().chain(&rest).map(|word| shell(word)).collect();
                self.line("cmd", quoted(&format!("exec {}", line.join(" "))));
            }
            None => self.left(format!("`{key}`")),
        }
    }

    fn pairs(&mut self, ours: &str, key: &str, value: &Value) {
        let mut pairs = Vec::new();
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        };
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match text(value) {
                        Some(text) => pairs.push((name.clone(), text)),
                        None => self.left(format!("`{key}.{name}`, whose value comes from outside")),
                    }
                }
            }
            Value::Array(entries) => {
                for entry in entries.iter().filter_map(Value::as_str) {
                    match entry.split_once('=') {
                        Some((name, value)) => pairs.push((name.into(), value.into())),
                        None => self.left(format!("`{key}: {entry}`, whose value comes from outside")),
                    }
                }
            }
            _ => self.left(format!("`{key}`")),
        }
        if !pairs.is_empty() {
            let pairs: Vec<String> =
                pairs.iter().map(|(name, value)| format!("{} = {}", bare(name), quoted(value))).collect();
            self.line(ours, format!("{{ {} }}", pairs.join(", ")));
        }
    }

    /// The port inside; the one outside is given out by the agent.
    fn ports(&mut self, ports: &[Value]) {
        let mut inside = Vec::new();
        for port in ports {
            let text = match port {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Object(fields) => fields.get("target").map(Value::to_string).unwrap_or_default(),
                _ => String::new(),
            };
            let (numbers, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            let target = numbers.rsplit(':').next().and_then(|number| number.parse::<u16>().ok());
            match target.filter(|_| protocol == "tcp") {
                Some(target) => {
                    inside.push(target);
                    if numbers.contains(':') {
                        self.left(format!(
                            "the port outside of `{text}`: agents give one out, told by `mezzo app show {}`",
                            self.app
                        ));
                    }
                }
                None => self.left(format!("`ports: {text}`")),
            }
        }
        match inside.as_slice() {
            [] => return,
            [port] => self.line("port", port.to_string()),
            ports => {
                let ports: Vec<String> = ports.iter().map(|port| format!("p{port} = {port}")).collect();
                self.line("ports", format!("{{ {} }}", ports.join(", ")));
            }
        }
        self.line("network", "\"bridge\"");
    }

    fn volumes(&mut self, volumes: &[Value]) {
        /// What a volume of unknown size gets.
        const SIZE: &str = "1 GiB";
        let mut pairs = Vec::new();
        for volume in volumes {
            let Some(text) = volume.as_str() else {
                self.left(format!("`volumes: {volume}`"));
                continue;
            };
            let parts: Vec<&str> = text.split(':').collect();
            match parts.as_slice() {
                [from, to] | [from, to, "rw"] if from.starts_with('/') => {
                    pairs.push((*to, (*from).to_owned()))
                }
                [from, to, "ro"] if from.starts_with('/') => pairs.push((*to, format!("{from}:ro"))),
                [from, to, ..] if !from.starts_with(['.', '~']) => {
                    self.left(format!("the size of the volume `{from}`: set to {SIZE}"));
                    pairs.push((*to, SIZE.to_owned()));
                }
                [to] => {
                    self.left(format!("the size of the volume at `{to}`: set to {SIZE}"));
                    pairs.push((*to, SIZE.to_owned()));
                }
                _ => self.left(format!("`volumes: {text}`: a folder beside the file is not on every agent")),
            }
        }
        if !pairs.is_empty() {
            let pairs: Vec<String> =
                pairs.iter().map(|(to, what)| format!("{} = {}", quoted(to), quoted(what))).collect();
            self.line("volume", format!("{{ {} }}", pairs.join(", ")));
        }
    }

    fn after(&mut self, value: &Value) {
        let names: Vec<String> = match value {
            Value::Array(names) => names.iter().filter_map(Value::as_str).map(name_of).collect(),
            Value::Object(names) => {
                for (name, how) in names {
                    let condition = how.get("condition").and_then(Value::as_str).unwrap_or("service_started");
                    if condition != "service_healthy" {
                        self.left(format!(
                            "`depends_on: {condition}` on {name}: used `after`, which waits for health checks"
                        ));
                    }
                }
                names.keys().map(|name| name_of(name)).collect()
            }
            _ => Vec::new(),
        };
        if names.is_empty() {
            self.left("`depends_on`");
        } else {
            self.line("after", list(&names));
        }
    }

    fn deploy(&mut self, deploy: &Map<String, Value>) {
        for (key, value) in deploy {
            match (key.as_str(), value) {
                ("replicas", Value::Number(count)) => self.line("instances", count.to_string()),
                ("resources", Value::Object(resources)) => self.resources(resources),
                _ => self.left(format!("`deploy.{key}`")),
            }
        }
    }

    /// What is reserved is asked for; without that, the limit.
    fn resources(&mut self, resources: &Map<String, Value>) {
        let of = |key: &str, field: &str| resources.get(key).and_then(|part| part.get(field));
        if let Some(cpus) = of("reservations", "cpus").or_else(|| of("limits", "cpus")).and_then(number) {
            self.line("cpus", cpus);
        }
        if let Some(memory) = of("reservations", "memory").or_else(|| of("limits", "memory")).and_then(memory)
        {
            self.line("memory", memory);
        }
        if resources.contains_key("limits") && resources.contains_key("reservations") {
            self.left("`deploy.resources.limits` beside reservations");
        }
    }

    fn check(&mut self, check: &Map<String, Value>) {
        let line = match check.get("test") {
            Some(Value::String(line)) => Some(line.clone()),
            Some(Value::Array(words)) => {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                match words.as_slice() {
                    ["CMD-SHELL", line] => Some((*line).to_owned()),
                    ["CMD", words @ ..] => {
                        Some(words.iter().map(|word| shell(word)).collect::<Vec<_>>().join(" "))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        let Some(line) = line else { return self.left("`healthcheck`") };
        let mut parts = vec![format!("command = {}", quoted(&line))];
        for (key, ours) in [("interval", "every"), ("timeout", "timeout"), ("start_period", "grace")] {
            if let Some(text) =
                check.get(key).and_then(Value::as_str).filter(|text| units::duration(text).is_some())
            {
                parts.push(format!("{ours} = {}", quoted(text)));
            }
        }
        if let Some(retries) = check.get("retries").and_then(Value::as_u64) {
            parts.push(format!("failures = {retries}"));
        }
        self.line("check", format!("{{ {} }}", parts.join(", ")));
    }
}

fn number(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0).map(|_| text)
}

/// `512M`, `1g`, `64mb` or a number of bytes.
fn memory(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.to_ascii_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim_end_matches('b') {
        "" => 1.0 / (1024.0 * 1024.0),
        "k" | "ki" => 1.0 / 1024.0,
        "m" | "mi" => 1.0,
        "g" | "gi" => 1024.0,
        _ => return None,
    };
    Some(format!("\"{} MiB\"", (number.parse::<f64>().ok()? * scale).ceil()))
}

/// A text in TOML's quotes, which escape as JSON's do.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// A name of a variable or label, in quotes when TOML wants them.
fn bare(name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { name.to_owned() } else { quoted(name) }
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

/// One word for the shell.
fn shell(word: &str) -> String {
    let plain =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
