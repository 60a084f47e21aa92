//! Volumes of an app.

use mezzo_document::{Problem, Section, units};
use serde_json::{Map, Value, json};

/// `volume = { "/data" = "1 GiB" }` is kept by the agent, `"/etc/site" = "/srv/site:ro"` a folder of the agent, `"/run/key" =
/// "secret:shop/key"` a file with a secret.
pub(crate) fn read(section: &Section<'_>, app: &mut Map<String, Value>) -> Result<Vec<Value>, Problem> {
    let mut volumes = Vec::new();
    for (path, what) in section.pairs("volume", "{ \"/data\" = \"1 GiB\" }")? {
        let volume = if let Some(source) = what.strip_prefix("secret:") {
            let key = format!("volume{}", volumes.len());
            let secrets = app.entry("secrets").or_insert_with(|| json!({}));
            if let Value::Object(secrets) = secrets {
                secrets.insert(key.clone(), json!({ "source": source }));
            }
            json!({ "containerPath": path, "secret": key })
        } else if let Some(folder) = what.strip_suffix(":ro").filter(|folder| folder.starts_with('/')) {
            json!({ "containerPath": path, "hostPath": folder, "mode": "RO" })
        } else if what.starts_with('/') {
            json!({ "containerPath": path, "hostPath": what, "mode": "RW" })
        } else if let Some(size) = units::megabytes(&what) {
            // Persistent volumes appear in the sandbox, under one name.
            let name = path.trim_matches('/').replace('/', "-");
            json!({ "containerPath": name, "persistent": { "size": size.ceil() as u64 }, "mode": "RW" })
        } else {
            let message = format!("{}: the volume \"{path}\" cannot be \"{what}\"", section.name);
            return Err(section
                .wrong(
                    section.span(),
                    message,
                    "expected a size, a folder of the agent (with :ro or not), or secret:NAME",
                )
                .help("for example  volume = { \"/data\" = \"1 GiB\", \"/etc/site\" = \"/srv/site:ro\" }"));
        };
        volumes.push(volume);
    }
    Ok(volumes)
}
