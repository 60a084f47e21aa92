//! Looks at plans and at running deployments from outside. It shares no code with what makes them: what it finds is wrong,
//! whoever is to blame. For tests and simulations.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::{
    Action, ActionKind, Condition, Goal, Group, Instance, InstanceId, PathId, Plan, RunSpec,
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
/// minimum, or there are more than there may be. Unhealthy instances and those that end by themselves are no fault.
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
    // One that is ended on purpose still runs when its goal changes; one that has died is no fault.
    let ended = old.iter().filter(|(id, instance)| {
        serves(instance)
            && new
                .get(*id)
                .is_some_and(|now| now.goal != Goal::Running && now.condition == Condition::Running)
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
    let (was, is) = (there(&old), there(&new));
    if is > was && is as f64 > max {
        wrong.push(format!("{path}: {is} instances are there, {max} may be"));
    }
}
