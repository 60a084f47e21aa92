//! Amounts by name only: what quota, weights and minimums are counted in.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    iter::{Copied, Peekable},
    ops::{Add, AddAssign},
};

use crate::{
    Name, ParseError, Scalar,
    name::{FREQUENT, FREQUENT_COUNT},
};

/// Scalar amounts by resource name, sorted by name. Zeros are not kept, so a missing name is zero. While
/// there are none but cpus, mem, disk and gpus, nothing is allocated.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Quantities {
    /// In the order of [`FREQUENT`].
    frequent: [Scalar; FREQUENT_COUNT],
    /// None of the frequent ones, and no zeros.
    others: BTreeMap<Name, Scalar>,
}

/// See [`Quantities::iter`].
struct Iter<'a> {
    frequent: std::iter::Zip<std::slice::Iter<'static, Name>, Copied<std::slice::Iter<'a, Scalar>>>,
    /// The next of the frequent ones.
    next: Option<(&'a Name, Scalar)>,
    others: Peekable<btree_map::Iter<'a, Name, Scalar>>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Name, Scalar);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next.is_none() {
            self.next = self.frequent.find(|(_, amount)| !amount.is_zero());
        }
        match (self.next, self.others.peek()) {
            (Some((frequent, _)), Some((other, _))) if *other < frequent => {}
            (Some(_), _) => return self.next.take(),
            (None, _) => {}
        }
        self.others.next().map(|(name, amount)| (name, *amount))
    }
}

impl Quantities {
    /// Nothing.
    pub const EMPTY: Self = Self { frequent: [Scalar::ZERO; FREQUENT_COUNT], others: BTreeMap::new() };

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.frequent.iter().all(|amount| amount.is_zero()) && self.others.is_empty()
    }

    /// Names and amounts, sorted by name; none is zero.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, Scalar)> + '_ {
        let frequent = FREQUENT.iter().zip(self.frequent.iter().copied());
        Iter { frequent, next: None, others: self.others.iter().peekable() }
    }

    /// The amount of one name.
    #[inline]
    pub fn get(&self, name: &str) -> Scalar {
        match Name::frequent(name) {
            Some(at) => self.frequent[at],
            None => self.others.get(name).copied().unwrap_or_default(),
        }
    }

    /// Adds to one name.
    #[inline]
    pub fn add_one(&mut self, name: &Name, amount: Scalar) {
        if amount.is_zero() {
            return;
        }
        if let Some(at) = Name::frequent(name) {
            self.frequent[at] += amount;
            return;
        }
        match self.others.get_mut(name.as_str()) {
            Some(mine) => *mine += amount,
            None => {
                self.others.insert(name.clone(), amount);
            }
        }
    }

    /// Whether every amount of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        self.frequent.iter().zip(&other.frequent).all(|(mine, theirs)| mine >= theirs)
            && other.others.iter().all(|(name, amount)| self.get(name) >= *amount)
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
        for (mine, theirs) in self.frequent.iter_mut().zip(other.frequent) {
            *mine = mine.saturating_sub(theirs);
        }
        for (name, amount) in &other.others {
            self.subtract_one(name, *amount);
        }
    }

    /// Takes away what is there of one name.
    pub fn subtract_one(&mut self, name: &str, amount: Scalar) {
        if let Some(at) = Name::frequent(name) {
            self.frequent[at] = self.frequent[at].saturating_sub(amount);
        } else if let Some(mine) = self.others.get_mut(name) {
            *mine = mine.saturating_sub(amount);
            if mine.is_zero() {
                self.others.remove(name);
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
        for (mine, theirs) in self.frequent.iter_mut().zip(other.frequent) {
            *mine += theirs;
        }
        for (name, amount) in &other.others {
            self.add_one(name, *amount);
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

impl fmt::Debug for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
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
