//! `/v2/apps/{id}/versions`

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mezzo_http::Response;
use mezzo_marathon_api::answer::{Problem, write_app, write_app_versions};
use mezzo_services_model::{App, PathId, RunSpec};
use mezzo_time::Timestamp;

use super::{version, written};
use crate::{http::Failure, shared::Shared};

/// When each version was made, newest first.
pub(super) fn list(shared: &Shared, id: &PathId) -> Result<Response, Failure> {
    let snapshot = shared.snapshot();
    // Versions go with their app (marathon rule 242).
    if snapshot.root.app(id).is_none() {
        return Err(Problem::NoApp(id.clone(), None).into());
    }
    let versions = snapshot.versions.get(id).into_iter().flat_map(|versions| versions.keys());
    let canaries = snapshot.canaries.get(id).into_iter().flat_map(|reports| reports.values().rev());
    let principals = snapshot.principals.get(id).into_iter().flat_map(|known| known.iter().rev());
    let principals = principals.map(|(version, name)| (*version, name.as_str()));
    Ok(written(|w| write_app_versions(w, versions.rev().copied(), canaries, principals)))
}

/// The definition of a version, as it is.
pub(super) fn show(shared: &Shared, id: &PathId, at: &str) -> Result<Response, Failure> {
    let at = version(at)?;
    let snapshot = shared.snapshot();
    let versions = snapshot.versions.get(id).filter(|_| snapshot.root.app(id).is_some());
    let found = versions.and_then(|versions| self::at(versions, at));
    let app = found.ok_or_else(|| Problem::NoApp(id.clone(), Some(at)))?;
    Ok(written(|w| write_app(w, app)))
}

/// The app of a version. A stamp in the API has milliseconds; those within are one.
pub(super) fn at(versions: &BTreeMap<Timestamp, RunSpec>, at: Timestamp) -> Option<&Arc<App>> {
    let end = at + Duration::from_millis(1);
    match versions.range(at..end).next() {
        Some((_, RunSpec::App(app))) => Some(app),
        _ => None,
    }
}
