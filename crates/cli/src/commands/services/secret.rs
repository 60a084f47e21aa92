//! `mezzo secret`

use std::{
    collections::BTreeSet,
    fs::File,
    io::{IsTerminal as _, Read},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mezzo_http::Method;
use serde::Serialize;
use serde_json::Value;

use super::{list as members, text};
use crate::{
    args::{Global, services::Secret},
    error::{CliError, Exit},
    services::Services,
    table::{self, Row},
};

/// What the services framework takes; it says so too.
const VALUE_BYTES_MAX: u64 = 64 << 10;
/// Of a generated value: as many as its key has.
const GENERATED_BYTES: usize = 32;
/// The body is the value, whatever it is.
const BYTES: &str = "application/octet-stream";

/// Does what a command about secrets says.
pub(crate) async fn main(global: &Global, command: &Secret) -> Result<(), CliError> {
    match command {
        Secret::Set { name, generate, from_file, server } => {
            let services = Services::new(&server.services);
            let value = match from_file {
                _ if *generate => generated()?,
                Some(file) => whole(file)?,
                None => typed(name)?,
            };
            let users = users(&services, name).await?;
            services.send_bytes(Method::PUT, &path(name), Some((BYTES, value))).await?;
            let Some(users) = users else {
                eprintln!("secret {} is set", plain(name));
                return Ok(());
            };
            eprintln!("secret {} is changed", plain(name));
            for user in users {
                eprintln!("  {user} keeps the value before until it is restarted:  mezzo app restart {user}");
            }
            Ok(())
        }
        Secret::Ls { server } => {
            let answer = Services::new(&server.services).get("/v2/secrets").await?;
            let rows: Vec<SecretRow> = members(&answer, "secrets").iter().map(row).collect();
            table::print(&rows, global.output)
        }
        Secret::Rm { name, force, server } => {
            let services = Services::new(&server.services);
            let path = format!("{}?force={force}", path(name));
            let removed = services.send(Method::DELETE, &path, None).await;
            removed.map_err(|error| match error.exit() {
                Exit::Conflict => {
                    error.help(format!("all the same:  mezzo secret rm {} --force", plain(name)))
                }
                _ => error,
            })?;
            eprintln!("secret {} is removed", plain(name));
            Ok(())
        }
    }
}

#[derive(Debug, Serialize)]
struct SecretRow {
    name: String,
    changed: String,
    used_by: Vec<String>,
}

impl Row for SecretRow {
    const TITLES: &'static [&'static str] = &["SECRET", "CHANGED", "USED BY"];

    fn cells(&self) -> Vec<String> {
        let users = if self.used_by.is_empty() { "-".into() } else { self.used_by.join(", ") };
        vec![self.name.clone(), self.changed.clone(), users]
    }
}

fn row(secret: &Value) -> SecretRow {
    let users = members(secret, "usedBy").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    SecretRow { name: text(secret, "name"), changed: text(secret, "changed"), used_by: users }
}

/// What waiting services, or those of a plan, lack: one line per secret, with what to do.
pub(super) fn missing<'a>(all: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let names = all.into_iter().flat_map(|one| members(one, "missingSecrets")).filter_map(Value::as_str);
    let names: BTreeSet<&str> = names.collect();
    let line = |name| format!("secret {name} does not exist  ->  mezzo secret set {name}");
    names.into_iter().map(line).collect()
}

/// Who uses a secret that exists; none when it does not.
async fn users(services: &Services, name: &str) -> Result<Option<Vec<String>>, CliError> {
    let answer = services.get("/v2/secrets").await?;
    let known = members(&answer, "secrets").iter().find(|secret| text(secret, "name") == plain(name));
    Ok(known.map(|secret| row(secret).used_by))
}

/// As definitions may have it, with slashes around it, and as it is listed.
fn plain(name: &str) -> &str {
    name.trim_matches('/')
}

fn path(name: &str) -> String {
    // What is no name is refused by the framework, in its words; it must reach it in one piece.
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    format!("/v2/secrets/{}", plain(name).bytes().map(escaped).collect::<String>())
}

fn generated() -> Result<Vec<u8>, CliError> {
    let mut bytes = [0; GENERATED_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CliError::new(Exit::Failed, "read random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into_bytes())
}

fn whole(file: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        CliError::new(exit, format!("read {}", file.display())).why(error.to_string())
    };
    value(File::open(file).map_err(failed)?).map_err(failed).and_then(checked)
}

/// What is typed or piped. The end of the last line is not a part of it.
fn typed(name: &str) -> Result<Vec<u8>, CliError> {
    let failed =
        |error: std::io::Error| CliError::new(Exit::Failed, "read standard input").why(error.to_string());
    let stdin = std::io::stdin();
    let mut read = if stdin.is_terminal() {
        eprint!("value of {}, which is not shown: ", plain(name));
        let _hidden = crate::terminal::Mode::hidden()?;
        let mut line = String::new();
        stdin.read_line(&mut line).map_err(failed)?;
        eprintln!();
        line.into_bytes()
    } else {
        value(stdin.lock()).map_err(failed)?
    };
    if read.ends_with(b"\n") {
        read.pop();
    }
    checked(read)
}

/// One byte more than allowed tells a value that is too long from one that just fits.
fn value(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(VALUE_BYTES_MAX + 2).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn checked(value: Vec<u8>) -> Result<Vec<u8>, CliError> {
    if value.is_empty() {
        return Err(CliError::usage("the value is empty")
            .help("printf %s \"$VALUE\" | mezzo secret set NAME")
            .help("mezzo secret set NAME --generate   makes one"));
    }
    if value.len() as u64 > VALUE_BYTES_MAX {
        return Err(CliError::usage(format!("the value has more than {VALUE_BYTES_MAX} bytes"))
            .why("it has to fit into a variable of a program, which may have 128 KiB with its name"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_missing_secret_is_told_once_with_what_to_do() {
        let queue = [
            json!({ "missingSecrets": ["shop/db", "shop/api"] }),
            json!({ "missingSecrets": ["shop/db"] }),
            json!({ "count": 1 }),
        ];
        assert_eq!(
            missing(&queue),
            [
                "secret shop/api does not exist  ->  mezzo secret set shop/api",
                "secret shop/db does not exist  ->  mezzo secret set shop/db",
            ]
        );
        assert_eq!(path("/shop/a b"), "/v2/secrets/shop/a%20b");
        assert_eq!(generated().map(|value| value.len()).ok(), Some(43));
        assert!(checked(Vec::new()).is_err() && checked(vec![b'x'; (64 << 10) + 1]).is_err());
    }
}
