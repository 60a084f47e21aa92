//! What `/v2/info` tells of the daemon, and `/v2/leader` of its place.

use mezzo_json::Writer;

use super::fields::{key, number, texts};

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Nothing is set.
    Unset,
    /// On or off.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
}

/// The answer of `/v2/info`.
#[derive(Clone, Debug)]
pub struct Info<'a> {
    /// The product.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it was built from.
    pub build: &'a str,
    /// Whether this daemon leads.
    pub is_elected: bool,
    /// `host:port` of the one that leads.
    pub leader: Option<&'a str>,
    /// Our id with the master, once known.
    pub framework: Option<&'a str>,
    /// Settings by their names, as `marathon_config`.
    pub settings: &'a [(&'a str, Setting)],
    /// Settings of the store, as `zookeeper_config`.
    pub store: &'a [(&'a str, Setting)],
    /// The port for HTTP; 0 is none.
    pub http_port: u16,
    /// The port for HTTPS; 0 is none.
    pub https_port: u16,
}

/// Writes the answer of `/v2/info`.
pub fn write_info(w: &mut Writer<'_>, info: &Info<'_>) {
    w.begin_object();
    key!(w, "name");
    w.string(info.name);
    key!(w, "version");
    w.string(info.version);
    key!(w, "buildref");
    w.string(info.build);
    key!(w, "elected");
    w.boolean(info.is_elected);
    if let Some(leader) = info.leader {
        key!(w, "leader");
        w.string(leader);
    }
    key!(w, "frameworkId");
    match info.framework {
        Some(id) => w.string(id),
        None => w.null(),
    }
    key!(w, "marathon_config");
    write_settings(w, info.settings);
    key!(w, "zookeeper_config");
    write_settings(w, info.store);
    key!(w, "http_config");
    w.begin_object();
    key!(w, "http_port");
    w.unsigned(info.http_port.into());
    key!(w, "https_port");
    w.unsigned(info.https_port.into());
    w.end_object();
    w.end_object();
}

fn write_settings(w: &mut Writer<'_>, settings: &[(&str, Setting)]) {
    w.begin_object();
    for (name, setting) in settings {
        w.key(name);
        match setting {
            Setting::Unset => w.null(),
            Setting::Flag(yes) => w.boolean(*yes),
            Setting::Number(value) => number(w, *value),
            Setting::Text(text) => w.string(text),
            Setting::Texts(list) => texts(w, list.iter().map(String::as_str)),
        }
    }
    w.end_object();
}

/// The answer of `/v2/leader`.
pub fn write_leader(w: &mut Writer<'_>, leader: &str) {
    w.begin_object();
    key!(w, "leader");
    w.string(leader);
    w.end_object();
}
