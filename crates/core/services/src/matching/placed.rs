//! Where the instances of one service are, counted by what its constraints look at.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_services_model::{AgentRef, Condition, Constraint, Instance, Operator, RunSpec};
use regex::Regex;

use super::value;

/// Memory that a compiled pattern may take. A pattern comes from a user and is compiled in the deciding thread; one for a
/// host name or an attribute takes a hundredth of this.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// Where the counted instances of one service are. Judging an offer costs one look-up per constraint, however many instances
/// there are; so does adding and removing one.
#[derive(Debug)]
pub struct Placed {
    constraints: BTreeSet<Constraint>,
    wanted: u32,
    rules: Vec<Rule>,
    count: u32,
}

/// A constraint with what it needs to be judged.
#[derive(Debug)]
struct Rule {
    constraint: Constraint,
    judge: Judge,
}

#[derive(Debug)]
enum Judge {
    Unique(Counts),
    ClusterOn(String),
    Cluster(Counts),
    /// With the number of groups, when one was given.
    GroupBy(Counts, Option<u32>),
    MaxPer(Counts, u32),
    Like(Regex),
    Unlike(Regex),
    Is(String),
    /// What was asked for cannot be understood, in words.
    Never(&'static str),
}

/// How many instances are on each value.
#[derive(Debug, Default)]
struct Counts {
    by_value: BTreeMap<String, u32>,
    /// How many values have so many instances.
    by_count: BTreeMap<u32, u32>,
}

impl Counts {
    fn on(&self, value: &str) -> u32 {
        self.by_value.get(value).copied().unwrap_or(0)
    }

    fn groups(&self) -> u32 {
        u32::try_from(self.by_value.len()).unwrap_or(u32::MAX)
    }

    /// How many values have more than `count`.
    fn above(&self, count: u32) -> u32 {
        // Instances that are spread have two or three different counts at a time.
        self.by_count.range(count.saturating_add(1)..).map(|(_, groups)| groups).sum()
    }

    fn add(&mut self, value: &str) {
        let before = match self.by_value.get_mut(value) {
            Some(count) => {
                *count += 1;
                *count - 1
            }
            None => {
                self.by_value.insert(value.to_owned(), 1);
                0
            }
        };
        self.moved(before, before + 1);
    }

    fn remove(&mut self, value: &str) {
        let Some(count) = self.by_value.get_mut(value) else { return };
        let before = *count;
        *count -= 1;
        if *count == 0 {
            self.by_value.remove(value);
        }
        self.moved(before, before - 1);
    }

    fn moved(&mut self, from: u32, to: u32) {
        if let Some(groups) = self.by_count.get_mut(&from) {
            *groups -= 1;
            if *groups == 0 {
                self.by_count.remove(&from);
            }
        }
        if to > 0 {
            *self.by_count.entry(to).or_default() += 1;
        }
    }
}

/// Whether an instance counts for the constraints of its service: it has a place, and runs a definition of the same make, so
/// that a replacement may sit beside the old one (rules 107 and 108).
pub fn counts(instance: &Instance, run_spec: &RunSpec) -> bool {
    let lost = matches!(
        instance.condition,
        Condition::Scheduled | Condition::Unreachable | Condition::UnreachableInactive | Condition::Unknown
    );
    instance.agent.is_some()
        && instance.version >= run_spec.version_info().last_config_change_at
        && (instance.reservation.is_some() || !(lost || instance.condition.is_terminal()))
}

impl Placed {
    /// Nothing placed yet.
    pub fn new(run_spec: &RunSpec) -> Self {
        let constraints = run_spec.constraints().clone();
        let rules = constraints.iter().map(Rule::new).collect();
        Self { constraints, wanted: run_spec.instances(), rules, count: 0 }
    }

    /// Those of `instances` that count.
    pub fn of<'a>(run_spec: &RunSpec, instances: impl IntoIterator<Item = &'a Instance>) -> Self {
        let mut placed = Self::new(run_spec);
        for instance in instances {
            if counts(instance, run_spec)
                && let Some(agent) = &instance.agent
            {
                placed.add(agent);
            }
        }
        placed
    }

    /// Whether it was made for the constraints that this definition has. The wanted number may differ: see [`Self::want`].
    pub fn is_for(&self, run_spec: &RunSpec) -> bool {
        self.constraints == *run_spec.constraints()
    }

    /// Another number of instances is wanted, over which GROUP_BY spreads.
    pub fn want(&mut self, instances: u32) {
        self.wanted = instances;
    }

    /// How many are counted.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// One instance more on an agent.
    pub fn add(&mut self, agent: &AgentRef) {
        self.count += 1;
        for rule in &mut self.rules {
            let field = &rule.constraint.field;
            if let Some(counts) = rule.judge.counts_mut()
                && let Some(value) = value::of(agent, field)
            {
                counts.add(&value);
            }
        }
    }

    /// One instance less on an agent.
    pub fn remove(&mut self, agent: &AgentRef) {
        self.count = self.count.saturating_sub(1);
        for rule in &mut self.rules {
            let field = &rule.constraint.field;
            if let Some(counts) = rule.judge.counts_mut()
                && let Some(value) = value::of(agent, field)
            {
                counts.remove(&value);
            }
        }
    }

    /// The constraints that an agent does not meet, with why and what would change it.
    pub(super) fn judge(&self, agent: &AgentRef) -> Vec<String> {
        self.rules.iter().filter_map(|rule| rule.refuses(agent, self.wanted)).collect()
    }

    /// The values on which instances are, of a rule that counts them, with how many.
    pub(super) fn values(&self, constraint: &Constraint) -> impl Iterator<Item = (&str, u32)> {
        let rule = self.rules.iter().find(|rule| rule.constraint == *constraint);
        let counts = rule.and_then(|rule| rule.judge.counts());
        counts.into_iter().flat_map(|counts| &counts.by_value).map(|(value, count)| (value.as_str(), *count))
    }
}

/// Compiles a pattern that has to match a whole value (rule 116).
fn pattern(text: &str) -> Option<Regex> {
    regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(PATTERN_SIZE_MAX).build().ok()
}

/// Whether a pattern can be used at all.
pub(super) fn is_pattern(text: &str) -> bool {
    pattern(text).is_some()
}

/// Whether a pattern matches the whole of a value; a bad one matches nothing.
pub(super) fn matches(text: &str, value: &str) -> bool {
    pattern(text).is_some_and(|pattern| pattern.is_match(value))
}

impl Rule {
    fn new(constraint: &Constraint) -> Self {
        let text = constraint.value.as_deref();
        let counts = Counts::default();
        let judge = match (constraint.operator, text) {
            (Operator::Unique, _) => Judge::Unique(counts),
            (Operator::Cluster, Some(value)) if !value.is_empty() => Judge::ClusterOn(value.into()),
            (Operator::Cluster, _) => Judge::Cluster(counts),
            // Rule 115.
            (Operator::GroupBy, Some("inf")) => Judge::GroupBy(counts, Some(u32::MAX)),
            (Operator::GroupBy, Some(groups)) => {
                Judge::GroupBy(counts, groups.parse().ok().filter(|groups| *groups > 0))
            }
            (Operator::GroupBy, None) => Judge::GroupBy(counts, None),
            (Operator::MaxPer, _) => match text.and_then(|text| text.parse().ok()) {
                Some(most) => Judge::MaxPer(counts, most),
                None => Judge::Never("its value is no number"),
            },
            (Operator::Like | Operator::Unlike, _) => match text.and_then(pattern) {
                Some(pattern) if constraint.operator == Operator::Like => Judge::Like(pattern),
                Some(pattern) => Judge::Unlike(pattern),
                None => Judge::Never("its value is no pattern"),
            },
            (Operator::Is, Some(value)) => Judge::Is(value.into()),
            (Operator::Is, None) => Judge::Never("it has no value"),
        };
        Self { constraint: constraint.clone(), judge }
    }

    /// Why an agent may not be used; none when it may.
    fn refuses(&self, agent: &AgentRef, wanted: u32) -> Option<String> {
        let field = &self.constraint.field;
        let why = match (value::of(agent, field), &self.judge) {
            (_, Judge::Never(why)) => (*why).to_owned(),
            // Rule 109.
            (None, Judge::Unlike(_)) => return None,
            (None, _) => format!("the agent has no {field}; it would need one"),
            (Some(value), judge) => judge.refuses(&value, wanted)?,
        };
        let operator = self.constraint.operator.name();
        Some(match &self.constraint.value {
            Some(value) => format!("{field} {operator} {value}: {why}"),
            None => format!("{field} {operator}: {why}"),
        })
    }
}

impl Judge {
    fn counts(&self) -> Option<&Counts> {
        match self {
            Self::Unique(counts)
            | Self::Cluster(counts)
            | Self::GroupBy(counts, _)
            | Self::MaxPer(counts, _) => Some(counts),
            Self::ClusterOn(_) | Self::Like(_) | Self::Unlike(_) | Self::Is(_) | Self::Never(_) => None,
        }
    }

    fn counts_mut(&mut self) -> Option<&mut Counts> {
        match self {
            Self::Unique(counts)
            | Self::Cluster(counts)
            | Self::GroupBy(counts, _)
            | Self::MaxPer(counts, _) => Some(counts),
            Self::ClusterOn(_) | Self::Like(_) | Self::Unlike(_) | Self::Is(_) | Self::Never(_) => None,
        }
    }

    fn refuses(&self, value: &str, wanted: u32) -> Option<String> {
        match self {
            // Rule 110.
            Self::Unique(counts) => (counts.on(value) > 0)
                .then(|| format!("an instance is on {value} already; one agent with another value would do")),
            // Rule 111.
            Self::ClusterOn(one) => (value != one).then(|| format!("the agent has {value}, not {one}")),
            Self::Cluster(counts) => (counts.groups() > 0 && counts.on(value) == 0).then(|| {
                let first = counts.by_value.keys().next().map_or("", String::as_str);
                format!("the agent has {value}, the other instances are on {first}")
            }),
            Self::GroupBy(counts, None) => spread(counts, value),
            Self::GroupBy(counts, Some(groups)) => divide(counts, value, *groups, wanted),
            // Rule 117.
            Self::MaxPer(counts, most) => {
                let on = counts.on(value);
                (on >= *most).then(|| {
                    format!("{on} instances are on {value}; fewer there, or a limit of {}, would do", on + 1)
                })
            }
            Self::Like(pattern) => {
                (!pattern.is_match(value)).then(|| format!("the agent has {value}, which does not match"))
            }
            Self::Unlike(pattern) => {
                pattern.is_match(value).then(|| format!("the agent has {value}, which matches"))
            }
            Self::Is(one) => (!value::is(value, one)).then(|| format!("the agent has {value}, not {one}")),
            Self::Never(why) => Some((*why).to_owned()),
        }
    }
}

/// GROUP_BY without a number: a value that is not used yet, or the one with the fewest instances. Marathon 1.10 and later
/// divide by zero here (rule 114); this is what it did before, with no least number of groups (rule 113).
fn spread(counts: &Counts, value: &str) -> Option<String> {
    let on = counts.on(value);
    let fewest = counts.by_count.keys().next().copied().unwrap_or(0);
    (on > fewest)
        .then(|| format!("{on} instances are on {value}, and only {fewest} on another; that one comes first"))
}

/// GROUP_BY with a number: each of so many values gets an equal share, and the first ones what is left over (rule 112).
fn divide(counts: &Counts, value: &str, groups: u32, wanted: u32) -> Option<String> {
    let (share, over) = (wanted / groups, wanted % groups);
    let on = counts.on(value);
    if on == 0 && counts.groups() >= groups {
        return Some(format!(
            "{groups} values are used already, and {value} is another; a number of {} would do",
            groups.saturating_add(1)
        ));
    }
    if on < share || (on == share && counts.above(share) < over) {
        return None;
    }
    Some(format!(
        "{on} instances are on {value}, whose share of {wanted} is full; an agent with another value would do ({} of {groups} are used)",
        counts.groups()
    ))
}
