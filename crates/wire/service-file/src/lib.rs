//! Files of services as people keep them: TOML of our own, and Marathon's documents as JSON or YAML.
//!
//! [`import`] turns compose files into our TOML. [`read`] turns any of them into Marathon's documents, with the place where each was written; what those mean, and whether
//! they hold, is for `wire/marathon` to say. In TOML an app is a table:
//!
//! ```toml
//! group = "/shop"
//!
//! [app.web]
//! cmd       = "python3 -m http.server $PORT0"
//! instances = 2
//! cpus      = 0.1
//! memory    = "64 MiB"
//! port      = "any"
//! check     = "http /"
//! after     = ["store"]
//! ```

mod app;
mod canary;
mod checks;
mod compose;
mod documents;
mod ports;
mod volumes;

#[cfg(test)]
mod tests;

pub use compose::{Imported, import};
use mezzo_document::{Place, Problem, Section, Source};
use serde_json::Value;

/// Bytes of a file: ten thousand apps of four hundred bytes.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Apps, pods and groups of one file, what one tree is tested with.
pub const ENTRIES_MAX: usize = 10_000;

/// What a document is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An app.
    App,
    /// A pod.
    Pod,
    /// A group with what is in it.
    Group,
}

/// One of Marathon's documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is of.
    pub kind: Kind,
    /// Its id as written, made absolute by the file's group.
    pub id: String,
    /// The document.
    pub value: Value,
    /// Where it was written, in TOML.
    pub place: Option<Place>,
}

/// In which form a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Our own.
    Toml,
    /// Marathon's documents.
    Yaml,
    /// Marathon's documents.
    Json,
}

impl Form {
    /// By the end of the name; TOML unless it says otherwise.
    pub fn of(name: &str) -> Self {
        match name.rsplit('.').next().map(str::to_ascii_lowercase).as_deref() {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Toml,
        }
    }
}

/// Reads a file that messages call `name` and that lies in `folder`, an absolute path: what our TOML fetches by a relative
/// path lies beside the file.
pub fn read(name: &str, text: &str, form: Form, folder: &str) -> Result<Vec<Entry>, Problem> {
    if text.len() > FILE_BYTES_MAX {
        let what = format!("{name} has {} bytes", text.len());
        return Err(Problem::new(what, format!("expected at most {FILE_BYTES_MAX}"))
            .help("several files may be given: mezzo up a.toml b.toml"));
    }
    let source = Source { name, text };
    let entries = match form {
        Form::Toml => own(&source, folder)?,
        Form::Yaml => documents::yaml(&source)?,
        Form::Json => documents::json(&source)?,
    };
    match entries.len() {
        0 => Err(Problem::new(format!("{name} names no service"), "expected at least one app")
            .help("[app.web]\n        cmd = \"python3 -m http.server $PORT0\"\n        port = \"any\"")),
        count if count > ENTRIES_MAX => Err(Problem::new(
            format!("{name} names {count} services"),
            format!("expected at most {ENTRIES_MAX}"),
        )),
        _ => Ok(entries),
    }
}

/// TOML of our own.
fn own(source: &Source<'_>, folder: &str) -> Result<Vec<Entry>, Problem> {
    let root = toml::de::DeTable::parse(source.text).map_err(|error| {
        let what = format!("the file is not TOML: {}", error.message().lines().next().unwrap_or("?"));
        Problem::new(what, "expected lines of `key = value` under [app.NAME]")
            .at(source.place(error.span().unwrap_or(0..0)))
            .help("a value that is not a number, true or false is in quotes: image = \"nginx\"")
    })?;
    let root = Section::new(source, "a file of services", 0..1, root.get_ref());
    let group = root.text("group", "\"/shop\"")?.map_or("/", |group| group.value).trim_end_matches('/');
    let mut entries = Vec::new();
    for (name, section) in root.named("app", "[app.web]")? {
        let place = source.place(name.span.clone());
        let id = if name.value.starts_with('/') {
            name.value.to_owned()
        } else {
            format!(
                "{}/{}",
                if group.starts_with('/') || group.is_empty() { group.into() } else { format!("/{group}") },
                name.value
            )
        };
        let value = app::read(section, &id, group, folder)?;
        entries.push(Entry { kind: Kind::App, id, value, place: Some(place) });
    }
    root.end()?;
    Ok(entries)
}
