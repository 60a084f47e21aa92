//! What is different between two trees, at the price of what is different: parts that two trees share are passed over.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_services_model::{Group, PathId, RunSpec};

/// Services of which the two trees hold different values.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) removed: BTreeMap<PathId, RunSpec>,
    pub(crate) added: BTreeMap<PathId, RunSpec>,
    /// Before and after, which may be equal.
    pub(crate) changed: BTreeMap<PathId, (RunSpec, RunSpec)>,
    /// Groups whose dependencies have changed, added ones included.
    pub(crate) groups: Vec<PathId>,
}

/// Compares two trees.
pub(crate) fn differences(old: &Arc<Group>, new: &Arc<Group>) -> Differences {
    let mut found = Differences::default();
    let mut left: Vec<Pair<'_, Group>> = vec![(Some(old), Some(new))];
    while let Some((old, new)) = left.pop() {
        if let (Some(old), Some(new)) = (old, new)
            && Arc::ptr_eq(old, new)
        {
            continue;
        }
        if let Some(new) = new
            && old.is_none_or(|old| old.dependencies != new.dependencies)
        {
            found.groups.push(new.id.clone());
        }
        for (id, (old, new)) in both(old.map(|group| &group.apps), new.map(|group| &group.apps)) {
            if let (Some(old), Some(new)) = (old, new)
                && Arc::ptr_eq(old, new)
            {
                continue;
            }
            found.add(id, old.cloned().map(RunSpec::App), new.cloned().map(RunSpec::App));
        }
        for (id, (old, new)) in both(old.map(|group| &group.pods), new.map(|group| &group.pods)) {
            if let (Some(old), Some(new)) = (old, new)
                && Arc::ptr_eq(old, new)
            {
                continue;
            }
            found.add(id, old.cloned().map(RunSpec::Pod), new.cloned().map(RunSpec::Pod));
        }
        left.extend(
            both(old.map(|group| &group.groups), new.map(|group| &group.groups)).map(|(_, pair)| pair),
        );
    }
    found
}

impl Differences {
    fn add(&mut self, id: &PathId, old: Option<RunSpec>, new: Option<RunSpec>) {
        match (old, new) {
            (Some(old), Some(new)) => {
                self.changed.insert(id.clone(), (old, new));
            }
            // An app that becomes a pod shows up twice: once gone, once new.
            (Some(old), None) => match self.added.remove(id) {
                Some(new) => {
                    self.changed.insert(id.clone(), (old, new));
                }
                None => {
                    self.removed.insert(id.clone(), old);
                }
            },
            (None, Some(new)) => match self.removed.remove(id) {
                Some(old) => {
                    self.changed.insert(id.clone(), (old, new));
                }
                None => {
                    self.added.insert(id.clone(), new);
                }
            },
            (None, None) => {}
        }
    }
}

type Pair<'a, T> = (Option<&'a Arc<T>>, Option<&'a Arc<T>>);

/// The members of two sorted maps, side by side.
fn both<'a, T>(
    old: Option<&'a BTreeMap<PathId, Arc<T>>>,
    new: Option<&'a BTreeMap<PathId, Arc<T>>>,
) -> impl Iterator<Item = (&'a PathId, Pair<'a, T>)> {
    let mut old = old.into_iter().flatten().peekable();
    let mut new = new.into_iter().flatten().peekable();
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            // Most are shared, and their ids need not be looked at.
            (Some((_, a)), Some((_, b))) if Arc::ptr_eq(a, b) => std::cmp::Ordering::Equal,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return None,
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let id = before.or(after)?.0;
        Some((id, (before.map(|(_, value)| value), after.map(|(_, value)| value))))
    })
}
