//! Amounts by name: the four names that every agent has lie in fixed places, others on a slow path.

use mezzo_resources::{Name, Quantities, Scalar};

/// Thousandths of cpus, mem, disk and gpus.
pub(crate) type Common = [i64; 4];

/// The names of [`Common`], in order.
pub(crate) const NAMES: [&str; 4] = ["cpus", "mem", "disk", "gpus"];

/// Where in [`Common`] a name is counted.
pub(crate) fn place(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

/// Sums by name; never negative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) common: Common,
    /// Names that have no place in [`Common`].
    pub(crate) rare: Quantities,
}

impl Amounts {
    pub(crate) fn of_common(common: Common) -> Self {
        Self { common, rare: Quantities::EMPTY }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.common == [0; 4] && self.rare.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> i64 {
        place(name).map_or_else(|| self.rare.get(name).thousandths(), |at| self.common[at])
    }

    pub(crate) fn add_one(&mut self, name: &Name, amount: Scalar) {
        match place(name) {
            Some(at) => self.common[at] = self.common[at].saturating_add(amount.thousandths()),
            None => self.rare.add_one(name, amount),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, other) in self.common.iter_mut().zip(other.common) {
            *mine = mine.saturating_add(other);
        }
        if !other.rare.is_empty() {
            self.rare += &other.rare;
        }
    }

    /// Takes away what is there.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for (mine, other) in self.common.iter_mut().zip(other.common) {
            *mine = (*mine - other).max(0);
        }
        if !other.rare.is_empty() {
            self.rare.subtract(&other.rare);
        }
    }

    pub(crate) fn quantities(&self) -> Quantities {
        let mut all = self.rare.clone();
        for (name, amount) in NAMES.iter().zip(self.common) {
            all.add_one(&Name::from(*name), Scalar::from_thousandths(amount));
        }
        all
    }
}

impl From<&Quantities> for Amounts {
    fn from(quantities: &Quantities) -> Self {
        let mut amounts = Self::default();
        for (name, amount) in quantities.iter() {
            amounts.add_one(name, amount);
        }
        amounts
    }
}
