//! In which order apps come.

use std::collections::BTreeMap;

use mezzo_services_model::{Group, PathId};

/// A cycle of dependencies was found (rule 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cycle;

/// The levels of apps and groups of one tree, found when asked for and kept.
///
/// The level of an app is the number of apps on the longest path of dependencies that begins with it (rule 3). A group
/// stands for all apps below it (rule 16), and has the highest level of these. Pods have no part in it (rule 17), and
/// what does not exist is passed over (rule 18).
pub(crate) struct Levels<'a> {
    root: &'a Group,
    known: BTreeMap<PathId, u32>,
    /// The way from the first question to where we are.
    open: BTreeMap<PathId, ()>,
}

/// One node on the way down, with what is left to be looked at below it.
struct Node {
    id: PathId,
    is_app: bool,
    left: Vec<PathId>,
    below: u32,
}

impl<'a> Levels<'a> {
    pub(crate) fn new(root: &'a Group) -> Self {
        Self { root, known: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// The level of an app, or of all apps of a group; 0 for what is neither. A stack of our own: chains are as long as users
    /// like.
    pub(crate) fn of(&mut self, id: &PathId) -> Result<u32, Cycle> {
        if let Some(level) = self.known.get(id) {
            return Ok(*level);
        }
        let mut stack = vec![self.enter(id)];
        while let Some(node) = stack.last_mut() {
            let Some(next) = node.left.pop() else {
                let level = node.below + u32::from(node.is_app);
                let id = node.id.clone();
                stack.pop();
                self.open.remove(&id);
                self.known.insert(id, level);
                if let Some(above) = stack.last_mut() {
                    above.below = above.below.max(level);
                }
                continue;
            };
            if let Some(level) = self.known.get(&next) {
                node.below = node.below.max(*level);
            } else if self.open.contains_key(&next) {
                return Err(Cycle);
            } else {
                let next = self.enter(&next);
                stack.push(next);
            }
        }
        Ok(self.known.get(id).copied().unwrap_or(0))
    }

    fn enter(&mut self, id: &PathId) -> Node {
        self.open.insert(id.clone(), ());
        let mut left = Vec::new();
        let is_app = match (self.root.app(id), self.root.group(id)) {
            (Some(app), _) => {
                left.extend(app.dependencies.iter().cloned());
                // What the groups above depend on.
                let mut group = self.root;
                loop {
                    left.extend(group.dependencies.iter().cloned());
                    let depth = group.id.segments().count();
                    let step = group.id.child(id.segments().nth(depth).unwrap_or(""));
                    match group.groups.get(&step) {
                        Some(next) if id.is_below(&step) => group = next,
                        _ => break,
                    }
                }
                true
            }
            (None, Some(group)) => {
                left.extend(group.apps.keys().cloned());
                left.extend(group.groups.keys().cloned());
                false
            }
            (None, None) => false,
        };
        Node { id: id.clone(), is_app, left, below: 0 }
    }
}
