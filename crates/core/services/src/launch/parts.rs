//! Small messages that several parts of a task are made of.

use std::{collections::BTreeMap, time::Duration};

use mezzo_mesos::v1::{self, command_info, secret as secret_message, value};
use mezzo_services_model::{Artifact, Limit, ResourceLimits};

/// Labels; none when there are none.
pub(super) fn labels<'a>(all: impl IntoIterator<Item = (&'a String, &'a String)>) -> Option<v1::Labels> {
    let labels: Vec<v1::Label> =
        all.into_iter().map(|(key, value)| label(key.as_str(), value.as_str())).collect();
    (!labels.is_empty()).then_some(v1::Labels { labels })
}

/// One label.
pub(super) fn label(key: impl Into<String>, value: impl Into<String>) -> v1::Label {
    v1::Label { key: key.into(), value: Some(value.into()) }
}

/// A secret by its name in the store.
pub(super) fn secret(name: &str) -> v1::Secret {
    v1::Secret {
        r#type: Some(secret_message::Type::Reference.into()),
        reference: Some(secret_message::Reference { name: name.into(), key: None }),
        value: None,
    }
}

/// A file that is fetched.
pub(super) fn uri(artifact: &Artifact) -> command_info::Uri {
    command_info::Uri {
        value: artifact.uri.clone(),
        executable: Some(artifact.executable),
        extract: Some(artifact.extract),
        cache: Some(artifact.cache),
        output_file: artifact.dest_path.clone(),
    }
}

/// From the request to end to the kill (rule 195).
pub(super) fn kill_policy(grace: Option<Duration>) -> Option<v1::KillPolicy> {
    let grace = v1::DurationInfo { nanoseconds: i64::try_from(grace?.as_nanos()).unwrap_or(i64::MAX) };
    Some(v1::KillPolicy { grace_period: Some(grace) })
}

/// Upper bounds; no bound is infinite.
pub(super) fn limits(limits: Option<ResourceLimits>) -> BTreeMap<String, value::Scalar> {
    let Some(limits) = limits else { return BTreeMap::new() };
    let one = |name: &str, limit: Option<Limit>| {
        let value = match limit? {
            Limit::Unlimited => f64::INFINITY,
            Limit::Value(value) => value,
        };
        Some((name.to_owned(), value::Scalar { value }))
    };
    [one("cpus", limits.cpus), one("mem", limits.mem)].into_iter().flatten().collect()
}
