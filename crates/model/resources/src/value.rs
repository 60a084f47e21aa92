//! Amounts: exact scalars, ranges and sets.

use std::{
    collections::BTreeSet,
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
    sync::Arc,
};

/// A number of something in thousandths, never negative (rule 432). Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scalar(i64);

impl Scalar {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From thousandths; a negative number counts as zero.
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(if thousandths < 0 { 0 } else { thousandths })
    }

    /// From a whole number.
    pub const fn from_whole(number: u32) -> Self {
        Self(number as i64 * 1000)
    }

    /// Rounds to thousandths. Negative numbers and NaN count as zero; huge ones saturate.
    pub fn from_f64(number: f64) -> Self {
        Self::from_thousandths((number * 1000.0).round() as i64)
    }

    /// As messages carry it.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Thousandths.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// Whether there is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `None` when `other` is more.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        (self.0 >= other.0).then(|| Self(self.0 - other.0))
    }

    /// Zero when `other` is more.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self::from_thousandths(self.0 - other.0)
    }
}

impl Add for Scalar {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Scalar {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Scalar {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Scalar {
    /// At most three decimals, none that are zero: `4`, `0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_thousandths(self.0, f)
    }
}

/// Writes thousandths as a decimal number without trailing zeros.
pub(crate) fn display_thousandths(thousandths: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if thousandths < 0 { "-" } else { "" };
    let (whole, rest) = (thousandths.unsigned_abs() / 1000, thousandths.unsigned_abs() % 1000);
    write!(f, "{sign}{whole}")?;
    match rest {
        0 => Ok(()),
        rest if rest % 100 == 0 => write!(f, ".{}", rest / 100),
        rest if rest % 10 == 0 => write!(f, ".{:02}", rest / 10),
        rest => write!(f, ".{rest:03}"),
    }
}

/// Inclusive ranges of whole numbers: sorted, not overlapping, not adjacent (rule 436).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<(u64, u64)>);

/// Two ranges of one message overlap, or one begins after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Its begin is above its end.
    Inverted,
    /// Shares a number with another one.
    Overlapping,
}

impl Ranges {
    /// Merges and sorts. Inverted ranges count as empty.
    pub fn merged(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(begin, end)| begin <= end).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (begin, end) in sorted {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    /// Refuses what [`Ranges::merged`] would repair, except adjacent and unsorted ranges.
    pub fn strict(ranges: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, Overlap> {
        let mut sorted: Vec<_> = ranges.into_iter().collect();
        if sorted.iter().any(|(begin, end)| begin > end) {
            return Err(Overlap::Inverted);
        }
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
            return Err(Overlap::Overlapping);
        }
        Ok(Self::merged(sorted))
    }

    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// How many numbers; saturates.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (begin, end)| sum.saturating_add((end - begin).saturating_add(1)))
    }

    /// Whether every number of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        let mut mine = self.0.iter();
        let mut current = mine.next();
        'wanted: for (begin, end) in &other.0 {
            while let Some((from, to)) = current {
                if to < begin {
                    current = mine.next();
                } else if from <= begin && end <= to {
                    continue 'wanted;
                } else {
                    return false;
                }
            }
            return false;
        }
        true
    }

    /// All numbers of both.
    pub fn union(&self, other: &Self) -> Self {
        Self::merged(self.iter().chain(other.iter()))
    }

    /// The numbers that are not in `other`.
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len() + other.0.len());
        for (mut begin, end) in self.iter() {
            let mut open = true;
            for (from, to) in other.iter() {
                if to < begin || from > end {
                    continue;
                }
                if from > begin {
                    left.push((begin, from - 1));
                }
                if to >= end {
                    open = false;
                    break;
                }
                begin = to + 1;
            }
            if open {
                left.push((begin, end));
            }
        }
        Self(left)
    }

    /// The numbers in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, (begin, end)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{begin}-{end}")?;
        }
        f.write_str("]")
    }
}

/// Different words.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(BTreeSet<Arc<str>>);

impl Set {
    /// Whether there is no item in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The items, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.iter().map(|item| &**item)
    }

    /// Whether every item of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// All items of both.
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// The items that are not in `other`.
    pub fn minus(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }
}

impl<'a> FromIterator<&'a str> for Set {
    fn from_iter<I: IntoIterator<Item = &'a str>>(items: I) -> Self {
        Self(items.into_iter().map(Arc::from).collect())
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, item) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{item}")?;
        }
        f.write_str("}")
    }
}

/// How much of a resource there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// A number.
    Scalar(Scalar),
    /// Numbers, such as ports.
    Ranges(Ranges),
    /// Words, such as names of licences.
    Set(Set),
}

impl Value {
    /// Zero, no range or no item (rule 437).
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(scalar) => scalar.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(set) => set.is_empty(),
        }
    }

    /// Whether both are of one type.
    pub fn same_type(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether `other` could be taken from this; never for different types.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(mine), Self::Scalar(other)) => mine >= other,
            (Self::Ranges(mine), Self::Ranges(other)) => mine.contains(other),
            (Self::Set(mine), Self::Set(other)) => mine.contains(other),
            _ => false,
        }
    }

    /// Adds; leaves this as it is when the types differ.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(mine), Self::Scalar(other)) => *mine += *other,
            (Self::Ranges(mine), Self::Ranges(other)) => *mine = mine.union(other),
            (Self::Set(mine), Self::Set(other)) => *mine = mine.union(other),
            _ => {}
        }
    }

    /// Takes away what is there; leaves this as it is when the types differ.
    pub fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(mine), Self::Scalar(other)) => *mine = mine.saturating_sub(*other),
            (Self::Ranges(mine), Self::Ranges(other)) => *mine = mine.minus(other),
            (Self::Set(mine), Self::Set(other)) => *mine = mine.minus(other),
            _ => {}
        }
    }

    /// What is in both.
    pub fn common(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Scalar(mine), Self::Scalar(other)) => Self::Scalar(*mine.min(other)),
            (Self::Ranges(mine), Self::Ranges(other)) => Self::Ranges(mine.intersection(other)),
            (Self::Set(mine), Self::Set(other)) => Self::Set(mine.minus(&mine.minus(other))),
            _ => Self::Scalar(Scalar::ZERO),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::Ranges(ranges) => ranges.fmt(f),
            Self::Set(set) => set.fmt(f),
        }
    }
}
