//! Looks at plans and at running deployments from outside. It shares no code with what makes them: what it finds is wrong,
//! whoever is to blame. For tests and simulations.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::{
    Action, ActionKind, App, CanaryPhase, CanarySize, Condition, Goal, Group, Instance, InstanceId, PathId,
    Plan, RunSpec,
};

use crate::Snapshot;

/// What is wrong with a plan, in words; empty when nothing is.
pub fn check_plan(plan: &Plan) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut first: BTreeMap<&PathId, usize> = BTreeMap::new();
    let mut last: BTreeMap<&PathId, (usize, &Action)> = BTreeMap::new();
    for (number, step) in plan.steps.iter().enumerate() {
        if step.actions.is_empty() {
            wrong.push(format!("step {number} is empty"));
        }
        let paths: BTreeSet<&PathId> = step.actions.iter().map(|action| &action.run_spec).collect();
        if paths.len() != step.actions.len() {
            wrong.push(format!("step {number} does two things to one service"));
        }
        for action in &step.actions {
            let before = first.contains_key(&action.run_spec);
            let (old, new) =
                (plan.original.run_spec(&action.run_spec), plan.target.run_spec(&action.run_spec));
            let sound = match action.kind {
                ActionKind::Stop => old.is_some() && new.is_none() && number == 0,
                ActionKind::Start => old.is_none() && new.is_some() && !before,
                ActionKind::Scale { to } => {
                    new.as_ref().is_some_and(|new| new.instances() == to) && (old.is_some() || before)
                }
                ActionKind::Restart => old.is_some() && new.is_some(),
            };
            if !sound {
                wrong.push(format!("step {number}: {} {} makes no sense", action.name(), action.run_spec));
            }
            first.entry(&action.run_spec).or_insert(number);
            last.insert(&action.run_spec, (number, action));
        }
    }
    for spec in plan.original.all_run_specs() {
        if plan.target.run_spec(spec.id()).is_none() && !last.contains_key(spec.id()) {
            wrong.push(format!("{} is not stopped", spec.id()));
        }
    }
    for spec in plan.target.all_run_specs() {
        let before = plan.original.run_spec(spec.id());
        if before.as_ref() != Some(&spec)
            && before.is_none_or(|before| before.version() != spec.version())
            && !last.contains_key(spec.id())
        {
            wrong.push(format!("{} has changed and nothing is done about it", spec.id()));
        }
    }
    // What comes before something else has its last action in an earlier step.
    for app in plan.target.all_apps() {
        let Some((own, _)) = last.get(&app.id) else { continue };
        for other in prerequisites(&plan.target, &app.id) {
            if let Some((theirs, _)) = last.get(&other)
                && theirs >= own
            {
                wrong.push(format!("{} comes before {other}, on which it depends", app.id));
            }
        }
    }
    wrong
}

/// The apps that an app depends on directly, by itself or by a group that it is in.
fn prerequisites(root: &Group, id: &PathId) -> BTreeSet<PathId> {
    let mut named: BTreeSet<PathId> = BTreeSet::new();
    for group in root.all_groups().filter(|group| id.is_below(&group.id)) {
        named.extend(group.dependencies.iter().cloned());
    }
    named.extend(root.app(id).into_iter().flat_map(|app| app.dependencies.iter().cloned()));
    root.all_apps()
        .map(|app| app.id.clone())
        .filter(|app| named.contains(app) || named.iter().any(|group| app.is_below(group)))
        .collect()
}

/// What one step of the machine has done wrong to the services that are being replaced: serving instances were ended below the
/// minimum, or there are more than there may be; or to one that is tried on canaries first: there are more of these than were
/// asked for, or old instances were ended that were in nobody's way. Unhealthy instances and those that end by themselves are no fault.
pub fn check_step(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut wrong = Vec::new();
    for deployment in after.deployments.values() {
        let Some(step) = deployment.step.checked_sub(1).and_then(|step| deployment.plan.steps.get(step))
        else {
            continue;
        };
        for action in step.actions.iter().filter(|action| action.kind == ActionKind::Restart) {
            let Some(spec) = after.root.run_spec(&action.run_spec) else { continue };
            replacing(before, after, &spec, &mut wrong);
        }
    }
    for reports in before.canaries.values() {
        for report in reports.values().filter(|report| !settled(report.phase)) {
            tried(before, after, &report.run_spec, report.version, report.base, &mut wrong);
        }
    }
    for (path, instances) in after.instances.iter() {
        for instance in instances.values().filter(|instance| instance.run_spec != *path) {
            wrong.push(format!("{} stands under {path}", instance.id));
        }
    }
    wrong
}

fn replacing(before: &Snapshot, after: &Snapshot, spec: &RunSpec, wrong: &mut Vec<String>) {
    let wanted = f64::from(spec.instances());
    let strategy = spec.upgrade_strategy();
    let mut min = (wanted * strategy.minimum_health_capacity).ceil();
    let mut max = (wanted + wanted * strategy.maximum_over_capacity).floor();
    if min == max {
        if spec.is_resident() { min -= 1.0 } else { max += 1.0 }
    }
    let path = spec.id();
    let all = |snapshot: &Snapshot| -> BTreeMap<InstanceId, Instance> {
        let known = snapshot.instances.get(path).into_iter().flat_map(|all| all.iter());
        known.map(|(id, instance)| (id.clone(), (**instance).clone())).collect()
    };
    let (old, new) = (all(before), all(after));
    let checked = match spec {
        RunSpec::App(app) => !app.health_checks.is_empty(),
        RunSpec::Pod(pod) => pod.containers.iter().any(|container| container.health_check.is_some()),
    };
    let serves = |instance: &Instance| {
        instance.goal == Goal::Running
            && instance.condition == Condition::Running
            && (!checked || instance.healthy == Some(true))
    };
    // One that is ended on purpose still runs when its goal changes; one that has died, or of which the step has told that it
    // is not well, is no fault.
    let ended = old.iter().filter(|(id, instance)| {
        serves(instance)
            && new.get(*id).is_some_and(|now| {
                now.goal != Goal::Running && serves(&Instance { goal: Goal::Running, ..now.clone() })
            })
    });
    let left = new.values().filter(|instance| serves(instance)).count() as f64;
    let ended = ended.count();
    if ended > 0 && left < min {
        wrong.push(format!(
            "{path}: {ended} serving instances were ended, and {left} of at least {min} are left"
        ));
    }
    let there = |all: &BTreeMap<InstanceId, Instance>| {
        let there = all.values().filter(|instance| match instance.condition {
            Condition::Unreachable => instance.goal == Goal::Running,
            Condition::Scheduled => instance.goal == Goal::Running,
            condition => condition.is_active(),
        });
        there.count()
    };
    // What comes back to life was not added by the machine.
    let adds = new.keys().any(|id| !old.contains_key(id));
    let is = there(&new);
    if adds && is > there(&old) && is as f64 > max {
        wrong.push(format!("{path}: {is} instances are there, {max} may be"));
    }
}

fn settled(phase: CanaryPhase) -> bool {
    matches!(phase, CanaryPhase::Passed | CanaryPhase::Waived)
}

/// One step of a service whose `version` is tried, and which would go back to `base`.
fn tried(
    before: &Snapshot,
    after: &Snapshot,
    path: &PathId,
    version: mezzo_time::Timestamp,
    base: mezzo_time::Timestamp,
    wrong: &mut Vec<String>,
) {
    let (Some(was), Some(is)) = (before.root.app(path), after.root.app(path)) else { return };
    let Some(canary) = was.canary.as_ref().filter(|_| was.version == version) else { return };
    let of = |snapshot: &Snapshot| -> Vec<Instance> {
        let all = snapshot.instances.get(path).into_iter().flat_map(|all| all.values());
        all.map(|one| (**one).clone()).collect()
    };
    let (old, new) = (of(before), of(after));
    let begun = was.version_info.last_config_change_at;
    let trying = |all: &[Instance]| {
        all.iter()
            .filter(|one| one.goal == Goal::Running && one.version >= begun && one.version <= version)
            .count()
    };
    let still = after.canaries.get(path).and_then(|reports| reports.get(&version)).map(|report| report.phase);
    let most = match canary.size {
        CanarySize::Count(count) => count as usize,
        CanarySize::Percent(share) => (was.instances as usize * share as usize).div_ceil(100),
    };
    if is.version == version && still.is_some_and(|phase| !settled(phase)) && is.canary == was.canary {
        let (were, are) = (trying(&old), trying(&new));
        if are > were && are > most.max(1) {
            wrong.push(format!("{path}: {are} instances try what {most} were to try"));
        }
    }
    // Old ones that serve stay, unless there is no room for a canary beside them or fewer are wanted.
    let back = same_but_versions(before, path, base, is);
    let strategy = was.upgrade_strategy;
    let wanted = f64::from(was.instances);
    let max = (wanted + wanted * strategy.maximum_over_capacity).floor() as usize;
    let there = old.iter().filter(|one| one.goal == Goal::Running || one.condition.is_active()).count();
    let free_to_end = (is.version == version && there >= max) || (is.version != version && !back);
    if free_to_end || is.instances < was.instances || still.is_some_and(settled) {
        return;
    }
    for one in old.iter().filter(|one| one.version <= base && one.goal == Goal::Running) {
        let now = new.iter().find(|now| now.id == one.id);
        let ended = now.is_some_and(|now| now.goal != Goal::Running && now.condition == Condition::Running);
        if ended && one.condition == Condition::Running && one.healthy != Some(false) {
            wrong.push(format!("{path}: {} was ended although its definition is not done with", one.id));
        }
    }
}

/// Whether an app says what it said at a version, but for the number of instances.
fn same_but_versions(snapshot: &Snapshot, path: &PathId, version: mezzo_time::Timestamp, app: &App) -> bool {
    let known = snapshot.versions.get(path).and_then(|versions| versions.get(&version));
    let Some(RunSpec::App(base)) = known else { return false };
    let like = App {
        version: base.version,
        version_info: base.version_info,
        instances: base.instances,
        canary: base.canary.clone(),
        ..app.clone()
    };
    like == **base
}
