//! Makes plans: which services change, and in which order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mezzo_services_model::{Action, ActionKind, DeploymentId, Group, PathId, Plan, RunSpec, Step};

use crate::{
    differences::Differences,
    graph::{Cycle, Levels},
    spec::{Difference, difference},
};

/// The steps from `original` to `target`, whose differences are given: stops, then starts, then one step per level of
/// dependencies (rules 1 to 13).
pub(crate) fn plan(
    id: DeploymentId,
    original: &Arc<Group>,
    target: &Arc<Group>,
    differences: &Differences,
    restart: &BTreeSet<PathId>,
) -> Result<Plan, Cycle> {
    let mut levels = Levels::new(target);
    let mut steps: BTreeMap<u32, Step> = BTreeMap::new();
    let mut add = |level: u32, spec: &RunSpec, kind: ActionKind| {
        let is_pod = matches!(spec, RunSpec::Pod(_));
        steps.entry(level).or_default().actions.push(Action { run_spec: spec.id().clone(), is_pod, kind });
    };
    // Levels begin with 2: 0 are the stops, 1 the starts.
    let mut level_of = |spec: &RunSpec| match spec {
        RunSpec::App(app) => levels.of(&app.id).map(|level| level + 1),
        RunSpec::Pod(_) => Ok(2),
    };
    for spec in differences.removed.values() {
        add(0, spec, ActionKind::Stop);
    }
    for spec in differences.added.values() {
        add(1, spec, ActionKind::Start);
        add(level_of(spec)?, spec, ActionKind::Scale { to: spec.instances() });
    }
    for (path, (old, new)) in &differences.changed {
        let kind = match (difference(old, new), restart.contains(path)) {
            (Difference::None | Difference::Silent, false) => continue,
            (Difference::Scale, false) => ActionKind::Scale { to: new.instances() },
            _ if new.instances() == 0 => ActionKind::Scale { to: 0 },
            _ => ActionKind::Restart,
        };
        add(level_of(new)?, new, kind);
    }
    // A cycle needs something new to close it, so only what is new is looked at.
    for path in &differences.groups {
        levels.of(path)?;
    }
    for path in differences.added.keys().chain(differences.changed.keys()) {
        if let Some(app) = target.app(path) {
            levels.of(&app.id)?;
        }
    }
    Ok(Plan {
        id,
        original: original.clone(),
        target: target.clone(),
        steps: steps.into_values().collect(),
        version: target.version,
    })
}
