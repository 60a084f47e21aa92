//! In which order roles, and frameworks inside a role, are served.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use mezzo_ids::{FrameworkId, Role};
use mezzo_resources::Quantities;
use rand_core::Rng;

use crate::{
    Sorter,
    roles::{RoleTree, Share},
};

/// What shares are measured against.
pub(crate) struct Measure<'a> {
    pub(crate) total: &'a Quantities,
    pub(crate) excluded: &'a BTreeSet<String>,
    pub(crate) weights: &'a BTreeMap<Role, f64>,
}

impl Measure<'_> {
    fn weight(&self, role: &str) -> f64 {
        self.weights.get(role).copied().unwrap_or(1.0)
    }

    /// Rules 121 and 123, before weights.
    pub(crate) fn dominant_share(&self, allocated: &Quantities) -> f64 {
        let mut share = 0.0_f64;
        for (name, amount) in allocated.iter() {
            let total = self.total.get(name);
            if !total.is_zero() && !self.excluded.contains(name.as_str()) {
                share = share.max(amount.thousandths() as f64 / total.thousandths() as f64);
            }
        }
        share
    }
}

/// What decides between two siblings; the order of the fields is the policy (rules 121, 122).
struct Standing<'a> {
    share: f64,
    count: u64,
    path: &'a str,
}

impl Standing<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        self.share
            .total_cmp(&other.share)
            .then(self.count.cmp(&other.count))
            .then_with(|| self.path.cmp(other.path))
    }
}

/// Roles that want something, the first to be served first.
pub(crate) fn order_roles(
    tree: &RoleTree,
    wanted: impl Fn(&Role) -> bool,
    measure: &Measure<'_>,
    sorter: Sorter,
    rng: &mut dyn Rng,
) -> Vec<Role> {
    let roles: Vec<&Role> = tree.hungry.keys().filter(|role| wanted(role)).collect();
    if roles.len() <= 1 {
        return roles.into_iter().cloned().collect();
    }
    let mut ordered = Vec::with_capacity(roles.len());
    match sorter {
        Sorter::FairShare => order_level(tree, 0, roles, measure, &mut ordered),
        Sorter::Random => {
            let mut weighted = Vec::new();
            weigh_level(0, roles, 1.0, measure, &mut weighted);
            ordered = shuffle_weighted(weighted, rng);
        }
    }
    ordered
}

/// Splits roles by their path of `depth + 1` components.
fn siblings(depth: usize, roles: Vec<&Role>) -> BTreeMap<&str, Vec<&Role>> {
    let mut groups: BTreeMap<&str, Vec<&Role>> = BTreeMap::new();
    for role in roles {
        let text = role.as_str();
        let end = text.match_indices('/').nth(depth).map_or(text.len(), |(at, _)| at);
        groups.entry(&text[..end]).or_default().push(role);
    }
    groups
}

/// Rule 124: siblings are compared on each level, and what is below the winner comes first.
fn order_level(
    tree: &RoleTree,
    depth: usize,
    roles: Vec<&Role>,
    measure: &Measure<'_>,
    ordered: &mut Vec<Role>,
) {
    let none = Share::default();
    let mut level: Vec<(Standing<'_>, Vec<&Role>)> = Vec::new();
    for (path, group) in siblings(depth, roles) {
        let node = tree.nodes.get(path);
        // A parent that wants for itself competes with its children as a leaf of its own.
        let is_virtual_leaf = depth > 0 && path.matches('/').count() < depth;
        let (share, weight) = match node {
            Some(node) if is_virtual_leaf => (&node.own, 1.0),
            Some(node) => (&node.subtree, measure.weight(path)),
            None => (&none, measure.weight(path)),
        };
        let standing =
            Standing { share: measure.dominant_share(&share.allocated) / weight, count: share.count, path };
        level.push((standing, group));
    }
    level.sort_by(|(left, _), (right, _)| left.compare(right));
    for (standing, group) in level {
        match group.as_slice() {
            [only] if only.as_str() == standing.path => ordered.push((*only).clone()),
            _ => order_level(tree, depth + 1, group, measure, ordered),
        }
    }
}

/// Rule 126: a role weighs the product over its path of its weight among its active siblings.
fn weigh_level(
    depth: usize,
    roles: Vec<&Role>,
    share: f64,
    measure: &Measure<'_>,
    weighted: &mut Vec<(Role, f64)>,
) {
    let groups = siblings(depth, roles);
    let weight = |path: &str| {
        if depth > 0 && path.matches('/').count() < depth { 1.0 } else { measure.weight(path) }
    };
    let sum: f64 = groups.keys().map(|path| weight(path)).sum();
    for (path, group) in groups {
        let share = share * weight(path) / sum;
        match group.as_slice() {
            [only] if only.as_str() == path => weighted.push(((*only).clone(), share)),
            _ => weigh_level(depth + 1, group, share, measure, weighted),
        }
    }
}

/// Frameworks of a role that want something, the first to be served first. All weigh the same
/// (rule 125).
pub(crate) fn order_frameworks(
    tree: &RoleTree,
    role: &Role,
    measure: &Measure<'_>,
    sorter: Sorter,
    rng: &mut dyn Rng,
) -> Vec<FrameworkId> {
    let Some(frameworks) = tree.hungry.get(role) else { return Vec::new() };
    if frameworks.len() <= 1 {
        return frameworks.iter().cloned().collect();
    }
    match sorter {
        Sorter::FairShare => {
            let clients = tree.nodes.get(role).map(|node| &node.clients);
            let mut level: Vec<_> = frameworks
                .iter()
                .map(|framework| {
                    let client = clients.and_then(|clients| clients.get(framework));
                    let standing = Standing {
                        share: client.map_or(0.0, |client| measure.dominant_share(&client.allocated)),
                        count: client.map_or(0, |client| client.count),
                        path: framework,
                    };
                    (standing, framework)
                })
                .collect();
            level.sort_by(|(left, _), (right, _)| left.compare(right));
            level.into_iter().map(|(_, framework)| framework.clone()).collect()
        }
        Sorter::Random => {
            shuffle_weighted(frameworks.iter().map(|framework| (framework.clone(), 1.0)).collect(), rng)
        }
    }
}

/// Draws without replacement, each time by weight.
fn shuffle_weighted<T>(mut items: Vec<(T, f64)>, rng: &mut dyn Rng) -> Vec<T> {
    let mut drawn = Vec::with_capacity(items.len());
    while !items.is_empty() {
        let sum: f64 = items.iter().map(|(_, weight)| weight).sum();
        let mut left = sum * ((rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64);
        let picked = items
            .iter()
            .position(|(_, weight)| {
                left -= weight;
                left < 0.0
            })
            .unwrap_or(items.len() - 1);
        drawn.push(items.remove(picked).0);
    }
    drawn
}

/// Draws an order where each is as likely.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut dyn Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
}
