//! Frameworks of a kind: what they can do and which agents they want at all.
//!
//! Whether an agent is for a framework in a role (rules 106, 107, 112, 132) depends on few things, which
//! most frameworks share. Each such combination is a class with a number, [`crate::kinds`] remember the
//! classes that they are for as bits, and the tree of roles remembers which classes want something where.
//! So frameworks that an agent is not for cost nothing when it is offered around. The tree tells only the
//! first classes apart; all others are one group to it, whose frameworks are told apart one by one.

use std::collections::BTreeSet;

use crate::{
    FrameworkCapabilities,
    constraints::{Constraint, Group},
};

/// Classes that the tree of roles tells apart. Few in tests, so that stories meet both sorts.
pub(crate) const CLASSES_APART: u32 = if cfg!(test) { 3 } else { 127 };
/// Some of these classes, and the group of all others, as bits.
pub(crate) type ClassSet = u128;
/// The bit of all classes that are not told apart; every agent may be for one of them.
pub(crate) const MIXED: ClassSet = 1 << CLASSES_APART;

/// Steps of a pass that looking at a constraint counts for: it may be a pattern that comes from memory.
const CONSTRAINT_STEPS: u64 = 4;

/// What decides for which agents a framework is, and which special resources it can be given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Class {
    pub(crate) capabilities: FrameworkCapabilities,
    /// The role has a slash.
    pub(crate) is_nested: bool,
    /// The framework has its own minimum in the role (rule 105).
    pub(crate) own_minimum: bool,
    /// `None`: no constraints.
    pub(crate) constraints: Option<Vec<Group>>,
}

impl Class {
    /// How much work it is to find out whether an agent is for it, in steps of a pass.
    fn cost(&self) -> u64 {
        let constraints: usize = self.constraints.iter().flatten().map(Vec::len).sum();
        1 + CONSTRAINT_STEPS * constraints as u64
    }

    /// Whether agents that differ in nothing but their names may differ to it.
    fn looks_at_hostname(&self) -> bool {
        self.constraints.iter().flatten().flatten().any(Constraint::looks_at_hostname)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// With how many frameworks and roles are of each. Those of none stay until their number is needed.
    all: Vec<(Class, usize)>,
    /// By class, of all of them.
    costs: Vec<u64>,
    /// Numbers that mean another combination than before.
    pub(crate) renamed: Vec<u32>,
    /// Whether any class ever looked at hostnames.
    pub(crate) look_at_hostname: bool,
}

/// The bit of a class.
pub(crate) fn bit(class: u32) -> ClassSet {
    1 << class.min(CLASSES_APART)
}

impl Classes {
    /// One more of a combination.
    pub(crate) fn enter(&mut self, class: Class) -> u32 {
        if let Some(at) = self.all.iter().position(|(known, _)| *known == class) {
            self.all[at].1 += 1;
            return at as u32;
        }
        self.look_at_hostname |= class.looks_at_hostname();
        let unused = self.all.iter().position(|(_, members)| *members == 0);
        match unused.filter(|_| self.all.len() >= CLASSES_APART as usize) {
            Some(at) => {
                self.costs[at] = class.cost();
                self.all[at] = (class, 1);
                self.renamed.push(at as u32);
                at as u32
            }
            None => {
                self.costs.push(class.cost());
                self.all.push((class, 1));
                (self.all.len() - 1) as u32
            }
        }
    }

    /// One less of a class.
    pub(crate) fn leave(&mut self, class: u32) {
        if let Some((_, members)) = self.all.get_mut(class as usize) {
            *members = members.saturating_sub(1);
        }
    }

    pub(crate) fn get(&self, class: u32) -> Option<&Class> {
        self.all.get(class as usize).map(|(class, _)| class)
    }

    /// How many steps of a pass it takes to look at a class.
    pub(crate) fn cost(&self, class: u32) -> u64 {
        self.costs.get(class as usize).copied().unwrap_or(1)
    }

    /// The classes with members for which `holds`.
    pub(crate) fn which(&self, holds: impl Fn(&Class) -> bool) -> ClassSet {
        let mut bits = 0;
        for (at, (class, members)) in self.all.iter().enumerate() {
            if *members > 0 && holds(class) {
                bits |= bit(at as u32);
            }
        }
        bits
    }
}

/// How many of each class want something.
#[derive(Debug, Default)]
pub(crate) struct Census {
    counts: Vec<(ClassSet, u32)>,
    /// The classes that occur.
    pub(crate) signature: ClassSet,
    pub(crate) total: u32,
}

impl Census {
    pub(crate) fn change(&mut self, class: u32, wants: bool) {
        if wants {
            self.add(class);
        } else {
            self.remove(class);
        }
    }

    fn add(&mut self, class: u32) {
        self.total += 1;
        let class = bit(class);
        match self.counts.iter_mut().find(|(known, _)| *known == class) {
            Some((_, count)) => *count += 1,
            None => {
                self.counts.push((class, 1));
                self.signature |= class;
            }
        }
    }

    fn remove(&mut self, class: u32) {
        let class = bit(class);
        let Some(at) = self.counts.iter().position(|(known, _)| *known == class) else { return };
        self.total -= 1;
        self.counts[at].1 -= 1;
        if self.counts[at].1 == 0 {
            self.counts.swap_remove(at);
            self.signature &= !class;
        }
    }
}

/// Which of the classes that the tree of roles does not tell apart want something.
#[derive(Debug, Default)]
pub(crate) struct Mixed {
    /// From class [`CLASSES_APART`] on.
    counts: Vec<u32>,
    /// The same as bits.
    pub(crate) wanting: Vec<u64>,
    /// All that want something, by class.
    clients: BTreeSet<(u32, u32)>,
}

impl Mixed {
    pub(crate) fn change(&mut self, class: u32, client: u32, wants: bool) {
        let Some(at) = class.checked_sub(CLASSES_APART) else { return };
        if wants {
            self.clients.insert((class, client));
        } else {
            self.clients.remove(&(class, client));
        }
        let at = at as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
            self.wanting.resize(at / 64 + 1, 0);
        }
        let count = &mut self.counts[at];
        *count = if wants { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.wanting[at / 64] &= !(1 << (at % 64));
        } else {
            self.wanting[at / 64] |= 1 << (at % 64);
        }
    }

    /// How many want something.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Who wants something of a class.
    pub(crate) fn of_class(&self, class: u32) -> impl Iterator<Item = u32> {
        self.clients.range((class, 0)..=(class, u32::MAX)).map(|(_, client)| *client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(n: usize) -> Class {
        let capabilities = FrameworkCapabilities {
            gpu_resources: n & 1 != 0,
            revocable_resources: n & 2 != 0,
            shared_resources: n & 4 != 0,
            multi_role: n & 8 != 0,
            reservation_refinement: n & 16 != 0,
            region_aware: n & 32 != 0,
        };
        Class { capabilities, is_nested: n & 64 != 0, own_minimum: n & 128 != 0, constraints: None }
    }

    #[test]
    fn numbers_run_out_and_are_used_again() {
        let mut classes = Classes::default();
        for n in 0..140 {
            assert_eq!(classes.enter(class(n)), n as u32);
        }
        assert_eq!(bit(CLASSES_APART - 1), 1 << (CLASSES_APART - 1));
        assert_eq!((bit(CLASSES_APART), bit(139)), (MIXED, MIXED));
        assert_eq!(classes.which(|class| class.own_minimum), MIXED);
        for n in 128..140 {
            classes.leave(n);
        }
        assert_eq!(classes.which(|class| class.own_minimum), 0);
        classes.leave(7);
        assert_eq!(classes.enter(class(7)), 7);
        assert_eq!(classes.enter(class(130)), 130);
        classes.leave(7);
        assert_eq!(classes.enter(class(200)), 7);
        assert_eq!(classes.renamed, [7]);
    }

    #[test]
    fn a_census_knows_which_occur() {
        let mut census = Census::default();
        for class in [1, 2, 1] {
            census.add(class);
        }
        census.remove(1);
        census.remove(0);
        assert_eq!((census.total, census.signature), (2, 0b110));
        census.remove(1);
        assert_eq!((census.total, census.signature), (1, 0b100));
    }
}
