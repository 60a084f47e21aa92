//! Whether a scenario can work at all: which resource lacks how much.

use crate::scenario::{Amounts, Scenario, WorkloadKind};
use mezzo_document::{Place, Problem};

/// Refuses tasks that fit on no node or under no limit, and guarantees above the cluster.
pub(crate) fn check(scenario: &Scenario) -> Result<(), Problem> {
    guarantees(scenario)?;
    for framework in &scenario.frameworks {
        for workload in &framework.workloads {
            match &workload.kind {
                WorkloadKind::Trace { trace, owner } => {
                    for submission in trace.submissions.iter().filter(|one| one.owner == *owner) {
                        let role = &trace.owners[submission.owner as usize].role;
                        let constraint = submission.constraint.map(|number| {
                            let constraint = &trace.constraints[number as usize];
                            (constraint.attribute.as_str(), constraint.value.as_str())
                        });
                        let who = format!("a task of the trace {}", trace.file);
                        fits(scenario, &who, &submission.resources, constraint, &workload.place)?;
                        limits(
                            scenario,
                            &who,
                            std::slice::from_ref(role),
                            &submission.resources,
                            &workload.place,
                        )?;
                    }
                }
                _ => {
                    let who = format!("a task of framework {}", framework.name);
                    fits(scenario, &who, &workload.resources, None, &workload.place)?;
                    limits(scenario, &who, &framework.roles, &workload.resources, &workload.place)?;
                }
            }
        }
    }
    Ok(())
}

fn guarantees(scenario: &Scenario) -> Result<(), Problem> {
    let groups = scenario.nodes.iter();
    let cluster =
        groups.fold(Amounts::default(), |all, group| all.plus(&group.resources.times(group.count as f64)));
    let mut sum = Amounts::default();
    for role in &scenario.roles {
        let Some(guarantee) = &role.guarantee else { continue };
        // A role's guarantee contains those of its children.
        let inside = scenario.roles.iter().any(|other| {
            other.guarantee.is_some()
                && role.name.strip_prefix(&other.name).is_some_and(|rest| rest.starts_with('/'))
        });
        if inside {
            continue;
        }
        sum = sum.plus(guarantee);
        let missing = lacking(&sum, &cluster);
        if !missing.is_empty() {
            let what = format!("the guarantee of role {} is above what the cluster has", role.name);
            return Err(Problem::new(
                what,
                format!("guarantees so far against all nodes: {}", missing.join("; ")),
            )
            .at(role.place.clone())
            .help("add nodes or lower the guarantee"));
        }
    }
    Ok(())
}

fn fits(
    scenario: &Scenario,
    who: &str,
    task: &Amounts,
    constraint: Option<(&str, &str)>,
    place: &Place,
) -> Result<(), Problem> {
    let mut nearest: Option<(usize, f64, String)> = None;
    let mut allowed = 0;
    for group in &scenario.nodes {
        let has = |(attribute, value): (&str, &str)| {
            group.attributes.iter().any(|(name, known)| name == attribute && known == value)
        };
        if constraint.is_some_and(|constraint| !has(constraint)) {
            continue;
        }
        allowed += 1;
        let missing = lacking(task, &group.resources);
        if missing.is_empty() {
            return Ok(());
        }
        let far: f64 = task
            .named()
            .iter()
            .zip(group.resources.named())
            .map(|((_, wanted), (_, there))| if *wanted > there { wanted / there.max(1.0) } else { 0.0 })
            .sum();
        let text = format!("nodes \"{}\": {}", group.name, missing.join("; "));
        if nearest.as_ref().is_none_or(|(count, best, _)| (missing.len(), far) < (*count, *best)) {
            nearest = Some((missing.len(), far, text));
        }
    }
    let why = match (nearest, constraint) {
        (Some((_, _, text)), _) => format!("the nearest of {allowed} kinds, {text}"),
        (None, Some((attribute, value))) => format!("no node has the attribute {attribute}={value}"),
        (None, None) => "there are no nodes".into(),
    };
    Err(Problem::new(format!("{who} fits on no node"), why)
        .at(place.clone())
        .help("make the task smaller or add larger nodes under [[nodes]]"))
}

fn limits(
    scenario: &Scenario,
    who: &str,
    roles: &[String],
    task: &Amounts,
    place: &Place,
) -> Result<(), Problem> {
    let mut refused = None;
    for name in roles {
        let above = scenario.roles.iter().filter(|role| {
            role.name == *name || name.strip_prefix(&role.name).is_some_and(|rest| rest.starts_with('/'))
        });
        let missing = above.flat_map(|role| {
            task.named().into_iter().filter_map(|(resource, wanted)| {
                let (_, limit) = role.limit.iter().find(|(name, _)| name == resource)?;
                (wanted > *limit).then(|| {
                    let lacks = number(wanted - limit);
                    format!(
                        "role {}, {resource}: needs {}, limit {}, lacks {lacks}",
                        role.name,
                        number(wanted),
                        number(*limit)
                    )
                })
            })
        });
        let missing: Vec<String> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        refused = Some(missing.join("; "));
    }
    match refused {
        None => Ok(()),
        Some(why) => Err(Problem::new(format!("{who} is larger than its role may ever hold"), why)
            .at(place.clone())
            .help("make the task smaller or raise the limit under [[roles]]")),
    }
}

fn lacking(wanted: &Amounts, there: &Amounts) -> Vec<String> {
    let both = wanted.named().into_iter().zip(there.named());
    both.filter(|((_, wanted), (_, there))| wanted > there)
        .map(|((name, wanted), (_, there))| {
            let unit = if matches!(name, "mem" | "disk") { " MiB" } else { "" };
            let lacks = number(wanted - there);
            format!(
                "{name}: needs {}{unit}, has {}{unit}, lacks {lacks}{unit}",
                number(wanted),
                number(there)
            )
        })
        .collect()
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
