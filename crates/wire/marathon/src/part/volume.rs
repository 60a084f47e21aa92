//! Volumes of apps and what they have in common with those of pods.

use std::collections::BTreeMap;

use mezzo_services_model::{
    AppVolume, Constraint, ExternalVolume, PersistentKind, PersistentVolume, ReadMode, VolumeSource,
};

use crate::{json::At, verdict::Verdict};

use super::constraint;

pub(crate) fn read_mode(at: At<'_>) -> Option<ReadMode> {
    at.word(&[("RO", ReadMode::Ro), ("RW", ReadMode::Rw)])
}

/// A persistent volume. The kind of disk is a whole one where a profile is named, else the agent's own (rule 165).
/// Constraints are read and judged at once; what is wrong with one is its own path's error.
pub(crate) fn read_persistent(at: At<'_>) -> Option<PersistentVolume> {
    let kinds =
        [("root", PersistentKind::Root), ("path", PersistentKind::Path), ("mount", PersistentKind::Mount)];
    at.object(|o| {
        let profile_name = o.read("profileName", |at| at.string());
        let kind = o.read("type", |at| at.word(&kinds));
        let size = o.required("size", |at| at.long());
        let max_size = o.read("maxSize", |at| at.long());
        let constraints = o.read("constraints", |at| at.list(read_constraint)).unwrap_or_default();
        let default = if profile_name.is_some() { PersistentKind::Mount } else { PersistentKind::Root };
        Some(PersistentVolume {
            kind: kind.unwrap_or(default),
            size: size?,
            max_size,
            profile_name,
            constraints,
        })
    })
}

fn read_constraint(at: At<'_>) -> Option<Constraint> {
    match constraint::of_volume_texts(&constraint::read_texts(at)?) {
        Ok(constraint) => Some(constraint),
        Err(error) => at.wrong(&error),
    }
}

/// The provider whose volumes there is no form for here: they are refused by name instead of by the form of their options.
pub(crate) const CSI: &str = "csi";

fn read_external(at: At<'_>) -> Option<ExternalVolume> {
    at.object(|o| {
        let name = o.read("name", |at| at.string());
        let provider = o.read("provider", |at| at.string()).unwrap_or_default();
        let size = o.read("size", |at| at.long());
        let options = match provider == CSI {
            true => o.has("options").then(BTreeMap::new),
            false => o.read("options", |at| at.labels()),
        };
        let shared = o.read("shared", |at| at.boolean()).unwrap_or(false);
        Some(ExternalVolume { name, provider, size, options: options.unwrap_or_default(), shared })
    })
}

/// A volume of an app: which kind it is is told by the key that holds it.
pub(crate) fn read_app_volume(at: At<'_>) -> Option<AppVolume> {
    at.object(|o| {
        let container_path = o.required("containerPath", |at| at.some_text());
        let persistent = o.read("persistent", read_persistent).map(VolumeSource::Persistent);
        let external = o.read("external", read_external).map(VolumeSource::External);
        let secret = o.read("secret", |at| at.some_text()).map(VolumeSource::Secret);
        let source = if o.has("persistent") {
            persistent
        } else if o.has("external") {
            external
        } else if o.has("secret") {
            secret
        } else {
            o.required("hostPath", |at| at.some_text()).map(VolumeSource::Host)
        };
        // A secret is only ever read; the others must say what they want.
        let mode = match o.has("secret") {
            true => o.read("mode", read_mode).or(Some(ReadMode::Ro)),
            false => o.required("mode", read_mode),
        };
        o.has("hostPath");
        Some(AppVolume { container_path: container_path?, source: source?, mode: mode? })
    })
}

/// Rules of a persistent volume whose fields are at `path`.
pub(crate) fn judge_persistent(verdict: &mut Verdict, path: &str, volume: &PersistentVolume) {
    if volume.size == 0 {
        verdict.add(format!("{path}/size"), "got 0, expected more than 0");
    }
    if volume.max_size.is_some() && volume.kind != PersistentKind::Mount {
        verdict.add(path, "Only mount volumes can have maxSize");
    }
    if volume.max_size.is_some_and(|max| max <= volume.size) {
        verdict.add(path, "Max size must be larger than size");
    }
    if volume.kind == PersistentKind::Root && !volume.constraints.is_empty() {
        verdict.add(path, "Constraints on root volumes are not supported");
    }
}
