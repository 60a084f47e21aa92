//! One app of our TOML as Marathon's document.

use mezzo_document::{At, Kind, Problem, Section};
use serde_json::{Map, Value, json};

use crate::{canary, checks, ports, volumes};

/// Cores of one instance, beyond any machine.
const CPUS_MAX: f64 = 10_000.0;
/// MiB of memory or disk of one instance: an exbibyte.
const MIB_MAX: f64 = (1u64 << 40) as f64;

pub(crate) fn read(section: Section<'_>, id: &str, group: &str, folder: &str) -> Result<Value, Problem> {
    let mut app = Map::new();
    app.insert("id".into(), json!(id));
    command(&section, &mut app)?;
    if let Some(instances) = section.whole("instances", 0..=u64::from(u32::MAX >> 1), "2")? {
        app.insert("instances".into(), json!(instances.value));
    }
    if let Some(cpus) = section.number("cpus", CPUS_MAX, "0.5")? {
        app.insert("cpus".into(), json!(cpus.value));
    }
    for (key, field) in [("memory", "mem"), ("disk", "disk")] {
        if let Some(size) = section.size(key, MIB_MAX, "\"256 MiB\"")? {
            app.insert(field.into(), json!(size.value));
        }
    }
    if let Some(gpus) = section.whole("gpus", 0..=1024, "1")? {
        app.insert("gpus".into(), json!(gpus.value));
    }
    for (key, field, example) in [("user", "user", "\"www-data\""), ("role", "role", "\"shop\"")] {
        if let Some(text) = section.text(key, example)? {
            app.insert(field.into(), json!(text.value));
        }
    }
    environment(&section, &mut app)?;
    let labels = section.pairs("labels", "{ tier = \"front\" }")?;
    if !labels.is_empty() {
        app.insert("labels".into(), pairs(labels));
    }
    if let Some(after) = section.texts("after", "[\"store\"]")? {
        app.insert(
            "dependencies".into(),
            after.iter().map(|name| json!(absolute(name.value, group))).collect(),
        );
    }
    if let Some(rules) = section.texts("constraints", "[\"hostname UNIQUE\"]")? {
        let rules: Result<Vec<Value>, Problem> =
            rules.iter().map(|rule| constraint(&section, rule)).collect();
        app.insert("constraints".into(), Value::Array(rules?));
    }
    if let Some(uris) = section.texts("fetch", "[\"https://example.com/site.tar.gz\"]")? {
        app.insert(
            "fetch".into(),
            uris.iter().map(|uri| json!({ "uri": beside(uri.value, folder) })).collect(),
        );
    }
    if let Some(grace) = section.duration("kill_grace", "\"10s\"")? {
        app.insert("taskKillGracePeriodSeconds".into(), json!(grace.value.as_secs()));
    }
    if let Some(which) = section.word("kill", &["youngest", "oldest"])? {
        app.insert("killSelection".into(), json!(format!("{}_FIRST", which.value.to_uppercase())));
    }
    if let Some(tty) = section.flag("tty")? {
        app.insert("tty".into(), json!(tty));
    }
    strategies(&section, &mut app)?;
    canary::read(&section, &mut app)?;
    let image = section.text("image", "\"nginx:1.27\"")?;
    let volumes = volumes::read(&section, &mut app)?;
    let ports = ports::read(&section, &mut app)?;
    if image.is_some() || !volumes.is_empty() || !ports.mappings.is_empty() {
        let mut container = Map::new();
        container.insert("type".into(), json!("MESOS"));
        if let Some(image) = image {
            container.insert("docker".into(), json!({ "image": image.value }));
        }
        if !volumes.is_empty() {
            container.insert("volumes".into(), Value::Array(volumes));
        }
        if !ports.mappings.is_empty() {
            container.insert("portMappings".into(), Value::Array(ports.mappings));
        }
        app.insert("container".into(), Value::Object(container));
    }
    checks::read(&section, &ports.names, &mut app)?;
    section.end()?;
    Ok(Value::Object(app))
}

fn command(section: &Section<'_>, app: &mut Map<String, Value>) -> Result<(), Problem> {
    let cmd = section.text("cmd", "\"python3 -m http.server $PORT0\"")?;
    let args = section.texts("args", "[\"serve\", \"--port\", \"80\"]")?;
    if let (Some(cmd), Some(_)) = (&cmd, &args) {
        let what = format!("{} has both 'cmd' and 'args'", section.name);
        return Err(section
            .wrong(cmd.span.clone(), what, "expected a line for the shell, or a program with its arguments")
            .help("drop one of them"));
    }
    if let Some(cmd) = cmd {
        app.insert("cmd".into(), json!(cmd.value));
    }
    if let Some(args) = args {
        app.insert("args".into(), args.iter().map(|arg| json!(arg.value)).collect());
    }
    Ok(())
}

fn environment(section: &Section<'_>, app: &mut Map<String, Value>) -> Result<(), Problem> {
    let mut env: Map<String, Value> = section
        .pairs("env", "{ LOG = \"info\" }")?
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    let mut secrets = Map::new();
    for (name, source) in section.pairs("secret", "{ DB_PASSWORD = \"shop/db\" }")? {
        let key = name.to_lowercase();
        env.insert(name, json!({ "secret": key }));
        secrets.insert(key, json!({ "source": source }));
    }
    if !env.is_empty() {
        app.insert("env".into(), Value::Object(env));
    }
    if !secrets.is_empty() {
        app.insert("secrets".into(), Value::Object(secrets));
    }
    Ok(())
}

/// `hostname UNIQUE`, `zone GROUP_BY 3`.
fn constraint(section: &Section<'_>, rule: &At<&str>) -> Result<Value, Problem> {
    let words: Vec<&str> =
        rule.value.splitn(3, char::is_whitespace).map(str::trim).filter(|word| !word.is_empty()).collect();
    if words.len() < 2 {
        let what = format!("{}: the constraint \"{}\" is not understood", section.name, rule.value);
        return Err(section
            .wrong(
                rule.span.clone(),
                what,
                "expected a field, one of UNIQUE CLUSTER GROUP_BY LIKE UNLIKE MAX_PER IS, and a value",
            )
            .help("for example  constraints = [\"hostname UNIQUE\", \"zone GROUP_BY 3\"]"));
    }
    Ok(json!(words))
}

fn strategies(section: &Section<'_>, app: &mut Map<String, Value>) -> Result<(), Problem> {
    if let Some(upgrade) = section.table("upgrade", "{ min_healthy = 0.5, max_over = 0.2 }")? {
        let least = upgrade.number("min_healthy", 1.0, "0.5")?.map_or(1.0, |share| share.value);
        let most = upgrade.number("max_over", 1.0, "0.2")?.map_or(1.0, |share| share.value);
        app.insert(
            "upgradeStrategy".into(),
            json!({ "minimumHealthCapacity": least, "maximumOverCapacity": most }),
        );
        upgrade.end()?;
    }
    if let Some(backoff) = section.table("backoff", "{ first = \"1s\", factor = 1.15, longest = \"5m\" }")? {
        if let Some(first) = backoff.duration("first", "\"1s\"")? {
            app.insert("backoffSeconds".into(), json!(first.value.as_secs()));
        }
        if let Some(factor) = backoff.number("factor", 1000.0, "1.15")? {
            app.insert("backoffFactor".into(), json!(factor.value));
        }
        if let Some(longest) = backoff.duration("longest", "\"5m\"")? {
            app.insert("maxLaunchDelaySeconds".into(), json!(longest.value.as_secs()));
        }
        backoff.end()?;
    }
    if section.kind("unreachable") == Some(Kind::Table) {
        if let Some(table) =
            section.table("unreachable", "{ replace_after = \"5m\", forget_after = \"1h\" }")?
        {
            let replace = table.duration("replace_after", "\"5m\"")?.map_or(0, |after| after.value.as_secs());
            let forget =
                table.duration("forget_after", "\"1h\"")?.map_or(replace, |after| after.value.as_secs());
            table.end()?;
            app.insert(
                "unreachableStrategy".into(),
                json!({ "inactiveAfterSeconds": replace, "expungeAfterSeconds": forget }),
            );
        }
    } else if section.word("unreachable", &["wait"])?.is_some() {
        app.insert("unreachableStrategy".into(), json!("disabled"));
    }
    Ok(())
}

/// An address as it is, and a relative path as seen from the folder of the file.
fn beside(uri: &str, folder: &str) -> String {
    if uri.contains("://") || uri.starts_with('/') {
        uri.to_owned()
    } else {
        format!("{}/{uri}", folder.trim_end_matches('/'))
    }
}

/// A name in the file's group, or a path.
fn absolute(name: &str, group: &str) -> String {
    if name.starts_with('/') {
        name.to_owned()
    } else {
        format!("/{}/{name}", group.trim_matches('/')).replace("//", "/")
    }
}

pub(crate) fn pairs(pairs: Vec<(String, String)>) -> Value {
    Value::Object(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}
