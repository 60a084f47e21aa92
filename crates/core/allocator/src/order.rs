//! In which order frameworks are asked: a walk through the tree of roles that goes as far as somebody
//! asks.

use std::collections::BTreeSet;

use rand_core::Rng;

use crate::{
    Sorter,
    classes::{ClassSet, bit},
    roles::{Measure, OWN, ROOT, Roles},
    sorted::Cursor,
};

/// Draws that hit somebody who was drawn before, after which the rest is put in order at once.
const MISSES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A role's children and itself by share.
    Level,
    /// A role's own frameworks by share.
    Members,
    /// Roles in a weighted random order (rule 126).
    Lottery,
    /// A role's own frameworks in a random order.
    Shuffle,
}

#[derive(Debug)]
struct Frame {
    node: u32,
    kind: Kind,
    cursor: Cursor,
    /// What a shuffle has left.
    left: Vec<u32>,
}

/// Walks over clients in the order in which they are served. Neither shares nor wishes may change
/// meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    frames: Vec<Frame>,
    /// How many of them are in use; the others keep their memory.
    depth: usize,
    classes: ClassSet,
    lottery: Lottery,
}

/// What decides the order besides shares.
#[derive(Clone, Copy)]
pub(crate) struct Sorters {
    pub(crate) roles: Sorter,
    pub(crate) frameworks: Sorter,
}

impl Sorters {
    /// Whether shares decide everything.
    pub(crate) fn are_fair(self) -> bool {
        (self.roles, self.frameworks) == (Sorter::FairShare, Sorter::FairShare)
    }
}

impl Walker {
    /// Begins below a role, with clients of some classes.
    pub(crate) fn start(
        &mut self,
        roles: &mut Roles,
        from: u32,
        classes: ClassSet,
        measure: &Measure,
        sorters: Sorters,
    ) {
        self.depth = 0;
        self.classes = classes;
        if roles.nodes[from].hungry.signature & classes == 0 {
            return;
        }
        match sorters.roles {
            Sorter::FairShare => self.enter(roles, from, measure, sorters),
            Sorter::Random => {
                self.lottery.prepare(roles, from, classes);
                self.push(from, Kind::Lottery);
            }
        }
    }

    /// Begins with a role's own clients, of some classes, and ends with them.
    pub(crate) fn start_own(
        &mut self,
        roles: &mut Roles,
        of: u32,
        classes: ClassSet,
        measure: &Measure,
        sorters: Sorters,
    ) {
        self.depth = 0;
        self.classes = classes;
        if roles.nodes[of].hungry_own.signature & classes != 0 {
            self.enter_own(roles, of, measure, sorters);
        }
    }

    /// The next client. Roles that `is_spent` are left out with all below them.
    pub(crate) fn next(
        &mut self,
        roles: &mut Roles,
        measure: &Measure,
        sorters: Sorters,
        rng: &mut dyn Rng,
        is_spent: impl Fn(&Roles, u32) -> bool,
    ) -> Option<u32> {
        while self.depth > 0 {
            let frame = &mut self.frames[self.depth - 1];
            let node = frame.node;
            match frame.kind {
                Kind::Members => match frame.cursor.next(&roles.nodes[node].members) {
                    Some(client) => return Some(client),
                    None => self.depth -= 1,
                },
                Kind::Shuffle => {
                    if !frame.left.is_empty() {
                        let at = (rng.next_u64() % frame.left.len() as u64) as usize;
                        return Some(frame.left.swap_remove(at));
                    }
                    self.depth -= 1;
                }
                Kind::Level => match frame.cursor.next(&roles.nodes[node].level) {
                    Some(OWN) => self.enter_own(roles, node, measure, sorters),
                    Some(child) if is_spent(roles, child) => {}
                    Some(child) => self.enter(roles, child, measure, sorters),
                    None => self.depth -= 1,
                },
                Kind::Lottery => match self.lottery.draw(rng) {
                    Some(role) if is_spent(roles, role) => {}
                    Some(role) => self.enter_own(roles, role, measure, sorters),
                    None => self.depth -= 1,
                },
            }
        }
        None
    }

    /// Leaves roles that are spent by now, with all below them.
    pub(crate) fn leave(&mut self, roles: &Roles, is_spent: impl Fn(&Roles, u32) -> bool) {
        let frames = self.frames[..self.depth].iter();
        let spent = frames.map(|frame| frame.node).position(|node| node != ROOT && is_spent(roles, node));
        self.depth = spent.unwrap_or(self.depth);
    }

    fn enter(&mut self, roles: &mut Roles, node: u32, measure: &Measure, sorters: Sorters) {
        if roles.nodes[node].has_hungry_children() {
            let classes = self.classes;
            roles.freshen_level(node, measure);
            self.push(node, Kind::Level).cursor.start(classes);
            return;
        }
        self.enter_own(roles, node, measure, sorters);
    }

    fn enter_own(&mut self, roles: &mut Roles, node: u32, measure: &Measure, sorters: Sorters) {
        let classes = self.classes;
        match sorters.frameworks {
            Sorter::FairShare => {
                roles.freshen_members(node, measure);
                self.push(node, Kind::Members).cursor.start(classes);
            }
            Sorter::Random => {
                let clients = &roles.clients;
                let wanted = |client: &u32| {
                    let client = &clients[*client];
                    client.hungry && bit(client.class) & classes != 0
                };
                let members = roles.nodes[node].clients.values().copied().filter(wanted);
                self.push(node, Kind::Shuffle).left.extend(members);
            }
        }
    }

    fn push(&mut self, node: u32, kind: Kind) -> &mut Frame {
        if self.depth == self.frames.len() {
            self.frames.push(Frame { node, kind, cursor: Cursor::default(), left: Vec::new() });
        }
        let frame = &mut self.frames[self.depth];
        frame.node = node;
        frame.kind = kind;
        frame.left.clear();
        self.depth += 1;
        frame
    }
}

/// Draws roles by weight without drawing one twice.
#[derive(Debug, Default)]
struct Lottery {
    /// For which wishes, role and classes the tickets were made.
    made_for: Option<(u64, u32, ClassSet)>,
    tickets: Vec<(u32, f64)>,
    /// Sums of the weights up to each ticket.
    sums: Vec<f64>,
    drawn: BTreeSet<usize>,
    /// Tickets that are left, the last one first, once drawing hits too many that are gone.
    rest: Option<Vec<u32>>,
}

impl Lottery {
    fn prepare(&mut self, roles: &Roles, from: u32, classes: ClassSet) {
        self.drawn.clear();
        self.rest = None;
        let wanted = Some((roles.changes, from, classes));
        if self.made_for != wanted {
            self.made_for = wanted;
            self.tickets = roles.weigh(from, classes);
            let mut sum = 0.0;
            self.sums.clear();
            self.sums.extend(self.tickets.iter().map(|(_, weight)| {
                sum += weight;
                sum
            }));
        }
    }

    fn draw(&mut self, rng: &mut dyn Rng) -> Option<u32> {
        if let Some(rest) = &mut self.rest {
            return rest.pop();
        }
        let sum = self.sums.last()?;
        for _ in 0..MISSES_MAX {
            let point = sum * unit(rng);
            let at = self.sums.partition_point(|sum| *sum <= point).min(self.sums.len() - 1);
            if self.drawn.insert(at) {
                return Some(self.tickets[at].0);
            }
        }
        // Each of the rest waits for an exponential time with its weight as rate: who comes first is as
        // likely as if drawn by weight.
        let mut rest: Vec<(f64, u32)> = self
            .tickets
            .iter()
            .enumerate()
            .filter(|(at, _)| !self.drawn.contains(at))
            .map(|(_, (role, weight))| (-(1.0 - unit(rng)).ln() / weight, *role))
            .collect();
        rest.sort_by(|left, right| right.0.total_cmp(&left.0));
        let mut rest: Vec<u32> = rest.into_iter().map(|(_, role)| role).collect();
        let first = rest.pop();
        self.rest = Some(rest);
        first
    }
}

/// A number from 0 to just below 1.
fn unit(rng: &mut dyn Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Draws an order where each is as likely.
pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut dyn Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
}
