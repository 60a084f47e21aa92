//! Variables and secrets.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::EnvValue;
use serde_json::Value;

use crate::{json::At, verdict::Verdict};

/// The feature that all uses of secrets need.
pub(crate) const SECRETS: &str = "secrets";

/// What a disabled feature is answered with.
pub(crate) fn feature_error(feature: &str) -> String {
    format!("Feature {feature} is not enabled. Enable with --enable_features {feature})")
}

pub(crate) fn read_env(at: At<'_>) -> Option<BTreeMap<String, EnvValue>> {
    at.map(|at| match at.value() {
        Value::Object(_) => at.object(|o| Some(EnvValue::Secret(o.required("secret", |at| at.string())?))),
        _ => at.string().map(EnvValue::Text),
    })
}

/// Secrets by key: where they lie in the store.
pub(crate) fn read_secrets(at: At<'_>) -> Option<BTreeMap<String, String>> {
    at.map(|at| at.object(|o| o.required("source", |at| at.some_text())))
}

/// Rules 226 and 227 for variables and declarations at `env` and `secrets`.
pub(crate) fn judge(
    verdict: &mut Verdict,
    env: &BTreeMap<String, EnvValue>,
    secrets: &BTreeMap<String, String>,
    features: &BTreeSet<String>,
) {
    let enabled = features.contains(SECRETS);
    if !enabled && !secrets.is_empty() {
        verdict.add("secrets", feature_error(SECRETS));
    }
    if secrets.contains_key("") {
        verdict.add("secrets", "must not be empty");
    }
    if !enabled && env.values().any(|value| matches!(value, EnvValue::Secret(_))) {
        verdict.add(
            "env",
            "use of secret-references in the environment requires the secrets feature to be enabled",
        );
    }
    for (name, value) in env {
        if name.is_empty() {
            verdict.add("env", "must not be empty");
        }
        if matches!(value, EnvValue::Secret(key) if !secrets.contains_key(key)) {
            verdict.add(format!("env/{name}/secret"), "references an undefined secret");
        }
    }
}
