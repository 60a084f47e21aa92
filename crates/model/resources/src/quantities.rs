//! Amounts by name only: what quota, weights and minimums are counted in.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Add, AddAssign},
};

use crate::{Name, ParseError, Scalar};

/// Scalar amounts by resource name, sorted by name. Zeros are not kept, so a missing name is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantities(BTreeMap<Name, Scalar>);

impl Quantities {
    /// Nothing.
    pub const EMPTY: Self = Self(BTreeMap::new());

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and amounts, sorted by name; none is zero.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Scalar)> + '_ {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// The amount of one name.
    pub fn get(&self, name: &str) -> Scalar {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Adds to one name.
    pub fn add_one(&mut self, name: &Name, amount: Scalar) {
        if amount.is_zero() {
            return;
        }
        match self.0.get_mut(name.as_str()) {
            Some(mine) => *mine += amount,
            None => {
                self.0.insert(name.clone(), amount);
            }
        }
    }

    /// Whether every amount of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(name, amount)| self.get(name) >= amount)
    }

    /// `None` unless `other` is contained.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.contains(other).then(|| {
            let mut left = self.clone();
            left.subtract(other);
            left
        })
    }

    /// Takes away what is there.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            self.subtract_one(name, amount);
        }
    }

    /// Takes away what is there of one name.
    pub fn subtract_one(&mut self, name: &str, amount: Scalar) {
        if let Some(mine) = self.0.get_mut(name) {
            *mine = mine.saturating_sub(amount);
            if mine.is_zero() {
                self.0.remove(name);
            }
        }
    }

    /// Reads `cpus:0.5;mem:64`. A repeated name adds up.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut all = Self::default();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let bad = || ParseError::new(part, "expected a name, a colon and a number that is not negative");
            let (name, number) = part.split_once(':').ok_or_else(bad)?;
            let (name, number) = (name.trim(), number.trim().parse::<f64>().map_err(|_| bad())?);
            if name.is_empty() || !number.is_finite() || number < 0.0 {
                return Err(bad());
            }
            all.add_one(&Name::from(name), Scalar::from_f64(number));
        }
        Ok(all)
    }
}

impl FromIterator<(Name, Scalar)> for Quantities {
    fn from_iter<I: IntoIterator<Item = (Name, Scalar)>>(all: I) -> Self {
        let mut sum = Self::default();
        for (name, amount) in all {
            sum.add_one(&name, amount);
        }
        sum
    }
}

impl AddAssign<&Self> for Quantities {
    fn add_assign(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            self.add_one(name, amount);
        }
    }
}

impl Add<&Self> for Quantities {
    type Output = Self;
    fn add(mut self, other: &Self) -> Self {
        self += other;
        self
    }
}

impl fmt::Display for Quantities {
    /// `cpus:0.5; mem:64`, sorted by name, as Mesos writes quantities into quota errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, amount)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{name}:{amount}")?;
        }
        Ok(())
    }
}
