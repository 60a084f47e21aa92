//! Which instances go when there are too many.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use mezzo_services_model::{
    AgentRef, Condition, Goal, Instance, InstanceId, KillSelection, Operator, PathId,
};

use crate::services::Services;

impl Services {
    /// So many of the instances that are there to stay, in the order in which they go: those that wait for a place, of which
    /// nobody would notice anything; then those that even out the groups of GROUP_BY; then the rest by condition and age
    /// (rules 69 to 75). Health has no part in it (rule 73).
    pub(crate) fn select(
        &self,
        path: &PathId,
        count: usize,
        of: impl Fn(&Instance) -> bool,
    ) -> Vec<InstanceId> {
        let Some(spec) = self.wanted(path) else { return Vec::new() };
        let youngest_first = spec.kill_selection() == KillSelection::YoungestFirst;
        let mut candidates: Vec<&Arc<Instance>> = self
            .instances(path)
            .filter(|instance| {
                instance.goal == Goal::Running
                    && instance.condition != Condition::UnreachableInactive
                    && of(instance)
            })
            .collect();
        candidates.sort_by_key(|instance| {
            let age = moment(instance).as_nanos();
            (rank(instance.condition), if youngest_first { age.saturating_neg() } else { age })
        });
        let waiting = candidates.iter().take_while(|instance| instance.condition == Condition::Scheduled);
        let mut chosen: Vec<InstanceId> = waiting.map(|instance| instance.id.clone()).take(count).collect();
        candidates.retain(|instance| instance.condition != Condition::Scheduled);
        let fields: Vec<&str> = spec
            .constraints()
            .iter()
            .filter(|constraint| constraint.operator == Operator::GroupBy)
            .map(|constraint| constraint.field.as_str())
            .collect();
        let mut groups = Groups::new(&candidates, &fields);
        while chosen.len() < count
            && let Some(index) = groups.next_uneven()
        {
            chosen.push(candidates[index].id.clone());
        }
        let rest = candidates.iter().zip(&groups.gone).filter(|(_, gone)| !**gone);
        let missing = count.saturating_sub(chosen.len());
        chosen.extend(rest.map(|(instance, _)| instance.id.clone()).take(missing));
        chosen
    }
}

/// Rule 71.
fn rank(condition: Condition) -> u8 {
    match condition {
        Condition::Scheduled => 0,
        Condition::Unreachable => 1,
        Condition::Staging => 2,
        Condition::Starting => 3,
        Condition::Running => 4,
        _ => 5,
    }
}

/// From when the age of an instance counts (rule 72).
fn moment(instance: &Instance) -> mezzo_time::Timestamp {
    let staged = instance.tasks.values().map(|task| task.staged_at).min();
    match instance.condition {
        Condition::Staging => staged.unwrap_or(instance.since),
        Condition::Running => instance.active_since.unwrap_or(instance.since),
        _ => instance.since,
    }
}

/// The candidates by the values of the fields over which they are spread.
struct Groups {
    /// Of each constraint: the candidates of each value in the order in which they go, and how many are left.
    by_field: Vec<BTreeMap<String, (VecDeque<usize>, usize)>>,
    values: Vec<Vec<Option<String>>>,
    gone: Vec<bool>,
}

impl Groups {
    fn new(candidates: &[&Arc<Instance>], fields: &[&str]) -> Self {
        let mut by_field = vec![BTreeMap::new(); fields.len()];
        let mut values = Vec::with_capacity(candidates.len());
        for (index, instance) in candidates.iter().enumerate() {
            let mut own = Vec::with_capacity(fields.len());
            for (groups, field) in by_field.iter_mut().zip(fields) {
                let value = instance.agent.as_ref().and_then(|agent| value(agent, field));
                if let Some(value) = &value {
                    let (members, left): &mut (VecDeque<usize>, usize) =
                        groups.entry(value.clone()).or_default();
                    members.push_back(index);
                    *left += 1;
                }
                own.push(value);
            }
            values.push(own);
        }
        Self { by_field, values, gone: vec![false; candidates.len()] }
    }

    /// Takes one from the largest group of the constraint with the largest spread, while groups differ by more than one (rules
    /// 74 and 75).
    fn next_uneven(&mut self) -> Option<usize> {
        let spreads = self.by_field.iter().enumerate().filter_map(|(field, groups)| {
            let sizes = || groups.values().map(|(_, left)| *left).filter(|left| *left > 0);
            let spread = sizes().max()?.saturating_sub(sizes().min()?);
            (spread > 1).then_some((Reverse(spread), field))
        });
        let (_, field) = spreads.min()?;
        let gone = &self.gone;
        let (members, _) = self.by_field[field].values_mut().max_by_key(|(_, left)| *left)?;
        let index = std::iter::from_fn(|| members.pop_front()).find(|index| !gone[*index])?;
        self.gone[index] = true;
        for (groups, value) in self.by_field.iter_mut().zip(&self.values[index]) {
            if let Some((_, left)) = value.as_ref().and_then(|value| groups.get_mut(value)) {
                *left -= 1;
            }
        }
        Some(index)
    }
}

/// The value that a constraint looks at (rule 106), in a form that tells different ones apart.
fn value(agent: &AgentRef, field: &str) -> Option<String> {
    match field {
        "hostname" | "@hostname" => Some(agent.host.clone()),
        "@region" => agent.region.clone(),
        "@zone" => agent.zone.clone(),
        name => {
            agent.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| match &attribute
                .text
            {
                Some(text) => text.value.clone(),
                None => format!("{:?}{:?}{:?}", attribute.scalar, attribute.ranges, attribute.set),
            })
        }
    }
}
