//! Frameworks of a kind: what they can do and which agents they want at all.
//!
//! Whether an agent is for a framework in a role (rules 106, 107, 112, 132) depends on few things, which
//! most frameworks share. Each such combination is a class with a number, an agent remembers the classes
//! that it is for as bits of a word, and the tree of roles remembers which classes want something where.
//! So frameworks that an agent is not for cost nothing when it is offered around.

use crate::{FrameworkCapabilities, constraints::Group};

/// Combinations that are told apart. Frameworks of further ones are checked one by one.
const CLASSES_MAX: usize = 63;
/// The class of all frameworks whose combination got no number of its own; every agent may be for it.
pub(crate) const MIXED: u8 = CLASSES_MAX as u8;

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

#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// With how many frameworks and roles are of each. Those of none stay until their number is needed.
    all: Vec<(Class, usize)>,
    mixed: usize,
    /// Numbers that mean another combination than before: agents have to forget what they know of them.
    pub(crate) renamed: u64,
}

/// The bit of a class.
pub(crate) fn bit(class: u8) -> u64 {
    1 << class
}

impl Classes {
    /// One more of a combination.
    pub(crate) fn enter(&mut self, class: Class) -> u8 {
        if let Some(at) = self.all.iter().position(|(known, _)| *known == class) {
            self.all[at].1 += 1;
            return at as u8;
        }
        if self.all.len() < CLASSES_MAX {
            self.all.push((class, 1));
            return (self.all.len() - 1) as u8;
        }
        match self.all.iter().position(|(_, members)| *members == 0) {
            Some(at) => {
                self.all[at] = (class, 1);
                self.renamed |= bit(at as u8);
                at as u8
            }
            None => {
                self.mixed += 1;
                MIXED
            }
        }
    }

    /// One less of a class.
    pub(crate) fn leave(&mut self, class: u8) {
        let members = match self.all.get_mut(usize::from(class)) {
            Some((_, members)) => members,
            None => &mut self.mixed,
        };
        *members = members.saturating_sub(1);
    }

    /// The combination of a class that is not mixed.
    pub(crate) fn get(&self, class: u8) -> Option<&Class> {
        self.all.get(usize::from(class)).map(|(class, _)| class)
    }

    /// The classes with members for which `holds`, always with the mixed one.
    pub(crate) fn which(&self, holds: impl Fn(&Class) -> bool) -> u64 {
        let mut bits = if self.mixed > 0 { bit(MIXED) } else { 0 };
        for (at, (class, members)) in self.all.iter().enumerate() {
            if *members > 0 && holds(class) {
                bits |= bit(at as u8);
            }
        }
        bits
    }
}

/// How many of each class want something.
#[derive(Debug, Default)]
pub(crate) struct Census {
    counts: Vec<(u8, u32)>,
    /// The classes that occur.
    pub(crate) signature: u64,
    pub(crate) total: u32,
}

impl Census {
    pub(crate) fn change(&mut self, class: u8, wants: bool) {
        if wants {
            self.add(class);
        } else {
            self.remove(class);
        }
    }

    pub(crate) fn add(&mut self, class: u8) {
        self.total += 1;
        match self.counts.iter_mut().find(|(known, _)| *known == class) {
            Some((_, count)) => *count += 1,
            None => {
                self.counts.push((class, 1));
                self.signature |= bit(class);
            }
        }
    }

    pub(crate) fn remove(&mut self, class: u8) {
        let Some(at) = self.counts.iter().position(|(known, _)| *known == class) else { return };
        self.total -= 1;
        self.counts[at].1 -= 1;
        if self.counts[at].1 == 0 {
            self.counts.swap_remove(at);
            self.signature &= !bit(class);
        }
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
        for n in 0..CLASSES_MAX {
            assert_eq!(usize::from(classes.enter(class(n))), n);
        }
        assert_eq!(classes.enter(class(100)), MIXED);
        assert_eq!(classes.which(|class| class.is_nested), bit(MIXED));
        classes.leave(MIXED);
        assert_eq!(classes.which(|class| class.is_nested), 0);
        classes.leave(7);
        assert_eq!(classes.which(|_| true) & bit(7), 0);
        assert_eq!(classes.enter(class(100)), 7);
        assert_eq!(classes.renamed, bit(7));
    }

    #[test]
    fn a_census_knows_which_occur() {
        let mut census = Census::default();
        for class in [3, 5, 3] {
            census.add(class);
        }
        census.remove(3);
        census.remove(9);
        assert_eq!((census.total, census.signature), (2, 0b10_1000));
        census.remove(3);
        assert_eq!((census.total, census.signature), (1, 0b10_0000));
    }
}
