//! Agents of a kind: for which classes of frameworks they are is found out once for all of them.
//!
//! Agents are of one kind when they have the same capabilities, domain and texts of attributes, and all or
//! none of them have gpus. Once some framework looks at hostnames, each is a kind of its own.

use std::{collections::BTreeMap, fmt::Write};

use mezzo_mesos::v1::value;

use crate::{
    Config,
    agent::Agent,
    classes::{CLASSES_APART, ClassSet, Classes, MIXED, bit},
    slots::Slots,
};

/// Stands for the kind of an agent that nobody asked for yet.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Mixed classes that a visit looks at in advance; the others when it is their frameworks' turn.
const LOOKS_MAX: usize = 16;

/// Classes as bits: those that the tree tells apart, and all others.
#[derive(Debug, Default)]
struct Bits {
    apart: ClassSet,
    others: Vec<u64>,
}

impl Bits {
    fn set(&mut self, class: u32, is_set: bool) {
        let Some(at) = class.checked_sub(CLASSES_APART) else {
            self.apart = if is_set { self.apart | bit(class) } else { self.apart & !bit(class) };
            return;
        };
        let word = at as usize / 64;
        if self.others.len() <= word {
            self.others.resize(word + 1, 0);
        }
        if is_set {
            self.others[word] |= 1 << (at % 64);
        } else {
            self.others[word] &= !(1 << (at % 64));
        }
    }

    fn get(&self, class: u32) -> bool {
        match class.checked_sub(CLASSES_APART) {
            None => self.apart & bit(class) != 0,
            Some(at) => (self.others(at as usize / 64) >> (at % 64)) & 1 != 0,
        }
    }

    fn others(&self, word: usize) -> u64 {
        self.others.get(word).copied().unwrap_or(0)
    }
}

#[derive(Debug)]
struct Kind {
    name: Box<str>,
    agents: u32,
    /// Classes that were looked at, and those of them that the agents are for.
    known: Bits,
    admitted: Bits,
}

#[derive(Debug, Default)]
pub(crate) struct Kinds {
    all: Slots<Kind>,
    names: BTreeMap<Box<str>, u32>,
    /// Steps that were spent on finding out whom agents are for.
    pub(crate) steps: u64,
}

impl Kinds {
    /// The kind of an agent, which counts as one more of it.
    fn enter(&mut self, agent: &Agent, with_hostname: bool) -> u32 {
        let name = name(agent, with_hostname);
        if let Some(slot) = self.names.get(name.as_str()) {
            self.all[*slot].agents += 1;
            return *slot;
        }
        let name = name.into_boxed_str();
        let kind = Kind { name: name.clone(), agents: 1, known: Bits::default(), admitted: Bits::default() };
        let slot = self.all.insert(kind);
        self.names.insert(name, slot);
        slot
    }

    /// An agent is gone or is to be looked at anew.
    pub(crate) fn leave(&mut self, agent: &mut Agent) {
        let slot = std::mem::replace(&mut agent.kind, UNKNOWN);
        let Some(kind) = self.all.get_mut(slot) else { return };
        kind.agents -= 1;
        if kind.agents == 0
            && let Some(kind) = self.all.remove(slot)
        {
            self.names.remove(&kind.name);
        }
    }

    /// Forgets all kinds; all agents are to be looked at anew.
    pub(crate) fn clear(&mut self) {
        *self = Self { steps: self.steps, ..Self::default() };
    }

    /// Some classes mean something else than before.
    pub(crate) fn forget(&mut self, classes: &[u32]) {
        for kind in self.all.values_mut() {
            for class in classes {
                kind.known.set(*class, false);
            }
        }
    }

    fn kind(&mut self, agent: &mut Agent, classes: &Classes) -> &mut Kind {
        if agent.kind == UNKNOWN {
            agent.kind = self.enter(agent, classes.look_at_hostname);
        }
        &mut self.all[agent.kind]
    }

    /// Brings what is known of an agent's kind into its place early.
    pub(crate) fn resolve(&mut self, agent: &mut Agent, classes: &Classes) {
        self.kind(agent, classes);
    }

    /// Which of `wanted` classes an agent is for; the mixed bit stands for the `mixed` ones, of which some may
    /// not have been looked at yet.
    pub(crate) fn admitted(
        &mut self,
        agent: &mut Agent,
        classes: &Classes,
        config: &Config,
        wanted: ClassSet,
        mixed: &[u64],
    ) -> ClassSet {
        let mut steps = 0;
        let kind = self.kind(agent, classes);
        let mut unknown = wanted & !kind.known.apart & !MIXED;
        while unknown != 0 {
            steps += kind.look(unknown.trailing_zeros(), agent, classes, config);
            unknown &= unknown - 1;
        }
        let mut admitted = kind.admitted.apart & wanted & !MIXED;
        if wanted & MIXED != 0 {
            let mut looks = 0;
            for (word, mixed) in mixed.iter().enumerate() {
                let mut unknown = mixed & !kind.known.others(word);
                while unknown != 0 && looks < LOOKS_MAX {
                    let class = CLASSES_APART + word as u32 * 64 + unknown.trailing_zeros();
                    steps += kind.look(class, agent, classes, config);
                    unknown &= unknown - 1;
                    looks += 1;
                }
                if unknown != 0 || mixed & kind.admitted.others(word) != 0 {
                    admitted |= MIXED;
                }
            }
        }
        self.steps += steps;
        admitted
    }

    /// Whether an agent may be for one of some classes, as far as that is known.
    pub(crate) fn may_admit(&self, agent: &Agent, wanted: ClassSet) -> bool {
        let Some(kind) = self.all.get(agent.kind) else { return true };
        wanted & (kind.admitted.apart | !kind.known.apart | MIXED) != 0
    }

    /// Whether an agent is for one class, if somebody asked before.
    pub(crate) fn remembers(&self, agent: &Agent, class: u32) -> Option<bool> {
        let kind = self.all.get(agent.kind)?;
        kind.known.get(class).then(|| kind.admitted.get(class))
    }

    /// Whether an agent is for one class.
    pub(crate) fn admits(
        &mut self,
        agent: &mut Agent,
        classes: &Classes,
        config: &Config,
        class: u32,
    ) -> bool {
        let kind = self.kind(agent, classes);
        let steps = if kind.known.get(class) { 0 } else { kind.look(class, agent, classes, config) };
        let is_for = kind.admitted.get(class);
        self.steps += steps;
        is_for
    }

    /// Those of the `mixed` classes that an agent is for, up to `most` of them; `None` when there are more,
    /// or not all were looked at.
    pub(crate) fn few_mixed(&self, agent: &Agent, mixed: &[u64], most: usize) -> Option<Vec<u32>> {
        let kind = self.all.get(agent.kind)?;
        if mixed.iter().enumerate().any(|(word, mixed)| mixed & !kind.known.others(word) != 0) {
            return None;
        }
        let admitted = || mixed.iter().enumerate().map(|(word, mixed)| mixed & kind.admitted.others(word));
        if admitted().map(|word| word.count_ones() as usize).sum::<usize>() > most {
            return None;
        }
        let mut classes = Vec::new();
        for (word, mut admitted) in admitted().enumerate() {
            while admitted != 0 {
                classes.push(CLASSES_APART + word as u32 * 64 + admitted.trailing_zeros());
                admitted &= admitted - 1;
            }
        }
        Some(classes)
    }
}

impl Kind {
    /// Finds out whether agents of this kind, of which one is given, are for a class. Returns the steps that
    /// it took.
    fn look(&mut self, class: u32, agent: &Agent, classes: &Classes, config: &Config) -> u64 {
        let is_for = classes.get(class).is_some_and(|class| agent.admits(class, config).is_ok());
        self.known.set(class, true);
        self.admitted.set(class, is_for);
        classes.cost(class)
    }
}

/// Everything that [`Agent::admits`] may look at. Lengths keep parts from running into each other.
fn name(agent: &Agent, with_hostname: bool) -> String {
    let rest = &agent.rest;
    let can = rest.capabilities;
    let flags = [can.multi_role, can.hierarchical_role, agent.has_gpus()];
    let mut name: String = flags.map(|flag| if flag { '1' } else { '0' }).iter().collect();
    // Writing to a text cannot fail.
    let mut push = |text: &str| {
        let _ = write!(name, "{}:{text}", text.len());
    };
    if let Some(domain) = rest.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref()) {
        push(&domain.region.name);
        push(&domain.zone.name);
    }
    push("");
    for attribute in &rest.attributes {
        push(&attribute.name);
        match &attribute.text {
            Some(text) if attribute.r#type() == value::Type::Text => {
                push(&text.value);
                push("t");
            }
            _ => {
                push("");
                push("");
            }
        }
    }
    if with_hostname {
        push(&rest.hostname);
    }
    name
}
