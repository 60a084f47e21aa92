//! Lists of resources that add and subtract.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Add, AddAssign},
    slice,
};

use mezzo_ids::Role;

use crate::{Name, Quantities, Ranges, Reservation, Resource, Scalar, Value};

/// Some resources: no two of them add up to one, and none is empty. Keeps the order in which they
/// came, which is the order Mesos prints; equality does not look at it.
#[derive(Clone, Debug, Default)]
pub struct Resources(Vec<Resource>);

/// What an operation on resources does to their owner: takes one part, gives back another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversion {
    /// What must be there, and vanishes.
    pub consumed: Resources,
    /// What takes its place.
    pub converted: Resources,
}

/// Something was to be taken from where it is not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{owner} does not contain {wanted}")]
pub struct NotContained {
    /// Where from.
    pub owner: Resources,
    /// What.
    pub wanted: Resources,
}

impl Resources {
    /// Nothing.
    pub const fn empty() -> Self {
        Self(Vec::new())
    }

    /// Nothing, with room for so many different resources.
    pub fn with_capacity(resources: usize) -> Self {
        Self(Vec::with_capacity(resources))
    }

    /// Adds one resource that adds up with none that is here, which the caller knows; an empty one
    /// changes nothing.
    pub fn push_distinct(&mut self, resource: Resource) {
        debug_assert!(!self.0.iter().any(|mine| mine.adds_to(&resource)), "{resource} is here already");
        if !resource.is_empty() {
            self.0.push(resource);
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many different resources there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The resources, in the order in which they came.
    pub fn iter(&self) -> slice::Iter<'_, Resource> {
        self.0.iter()
    }

    /// Adds one resource; an empty one changes nothing (rule 437).
    pub fn add_one(&mut self, resource: &Resource) {
        if resource.is_empty() {
            return;
        }
        match self.0.iter_mut().find(|mine| mine.adds_to(resource)) {
            Some(mine) => mine.add(resource),
            None => self.0.push(resource.clone()),
        }
    }

    /// Whether all of one resource is here.
    pub fn contains_one(&self, resource: &Resource) -> bool {
        resource.is_empty() || self.0.iter().any(|mine| mine.contains(resource))
    }

    /// Whether all of `other` is here.
    pub fn contains(&self, other: &Self) -> bool {
        // Equal exclusive resources are entries of their own, so they must be found one by one.
        let mut used: Vec<usize> = Vec::new();
        other.0.iter().all(|wanted| {
            let found = self.0.iter().enumerate().position(|(i, mine)| {
                mine.contains(wanted) && !(wanted.is_exclusive() && !wanted.is_shared() && used.contains(&i))
            });
            found.inspect(|i| used.push(*i)).is_some()
        })
    }

    /// Takes `other` away; `false`, with nothing changed, when it is not all here.
    #[must_use]
    pub fn checked_sub(&mut self, other: &Self) -> bool {
        let contained = self.contains(other);
        if contained {
            self.subtract(other);
        }
        contained
    }

    /// Takes away what is here of `other`.
    pub fn subtract(&mut self, other: &Self) {
        for resource in &other.0 {
            self.subtract_one(resource);
        }
    }

    /// Takes away what is here of one resource.
    pub fn subtract_one(&mut self, resource: &Resource) {
        if let Some(i) = self.0.iter().position(|mine| mine.yields_to(resource)) {
            if resource.is_exclusive() && !resource.is_shared() {
                self.0.remove(i);
                return;
            }
            self.0[i].subtract(resource);
            if self.0[i].is_empty() {
                self.0.remove(i);
            }
        }
    }

    /// The resources for which `keep` holds.
    pub fn filter(&self, keep: impl Fn(&Resource) -> bool) -> Self {
        Self(self.0.iter().filter(|resource| keep(resource)).cloned().collect())
    }

    /// Takes out the resources for which `wanted` holds.
    pub fn extract(&mut self, mut wanted: impl FnMut(&Resource) -> bool) -> Self {
        Self(self.0.extract_if(.., |resource| wanted(resource)).collect())
    }

    /// Every resource changed by `change`.
    pub fn map(&self, change: impl Fn(Resource) -> Resource) -> Self {
        self.0.iter().cloned().map(change).collect()
    }

    /// The same, all held for `role`.
    pub fn allocated(&self, role: &Role) -> Self {
        self.map(|resource| resource.with_allocation_role(Some(role.clone())))
    }

    /// The same, held by nobody.
    pub fn unallocated(&self) -> Self {
        if self.0.iter().all(|resource| resource.allocation_role().is_none()) {
            return self.clone();
        }
        self.map(|resource| resource.with_allocation_role(None))
    }

    /// The reserved ones: to exactly `role`, or to anybody.
    pub fn reserved(&self, role: Option<&Role>) -> Self {
        self.filter(|resource| match role {
            Some(role) => resource.is_reserved_to(role),
            None => !resource.is_unreserved(),
        })
    }

    /// The ones without reservation.
    pub fn unreserved(&self) -> Self {
        self.filter(Resource::is_unreserved)
    }

    /// The reserved ones by the role of their innermost reservation.
    pub fn reservations(&self) -> BTreeMap<Role, Self> {
        let mut by_role: BTreeMap<Role, Self> = BTreeMap::new();
        for resource in &self.0 {
            if let Some(role) = resource.top_role() {
                by_role.entry(role.clone()).or_default().0.push(resource.clone());
            }
        }
        by_role
    }

    /// The ones that `role` may hold.
    pub fn allocatable_to(&self, role: &str) -> Self {
        self.filter(|resource| resource.is_allocatable_to(role))
    }

    /// The ones that may be taken back.
    pub fn revocable(&self) -> Self {
        self.filter(Resource::is_revocable)
    }

    /// The ones that stay.
    pub fn non_revocable(&self) -> Self {
        self.filter(|resource| !resource.is_revocable())
    }

    /// The shared ones.
    pub fn shared(&self) -> Self {
        self.filter(Resource::is_shared)
    }

    /// The ones that only one task holds at a time.
    pub fn non_shared(&self) -> Self {
        self.filter(|resource| !resource.is_shared())
    }

    /// The ones that outlive tasks.
    pub fn persistent_volumes(&self) -> Self {
        self.filter(Resource::is_persistent_volume)
    }

    /// The ones that are numbers.
    pub fn scalars(&self) -> Self {
        self.filter(|resource| resource.as_scalar().is_some())
    }

    /// All with one more reservation inside the others.
    pub fn push_reservation(&self, reservation: &Reservation) -> Self {
        self.map(|resource| resource.push_reservation(reservation.clone()))
    }

    /// All without their innermost reservation.
    pub fn pop_reservation(&self) -> Self {
        self.map(Resource::pop_reservation)
    }

    /// All without any reservation.
    pub fn to_unreserved(&self) -> Self {
        self.map(|resource| resource.with_reservations(&[]))
    }

    /// The sum of one name's numbers, whatever they are reserved for.
    pub fn scalar(&self, name: &str) -> Scalar {
        self.0.iter().filter(|resource| resource.name == *name).filter_map(Resource::as_scalar).sum()
    }

    /// The union of one name's ranges, whatever they are reserved for.
    pub fn ranges(&self, name: &str) -> Ranges {
        let mut all = Ranges::default();
        for resource in self.0.iter().filter(|resource| resource.name == *name) {
            if let Value::Ranges(ranges) = &resource.value {
                all = all.union(ranges);
            }
        }
        all
    }

    /// All numbers by name. A shared resource counts once, however many copies there are.
    pub fn quantities(&self) -> Quantities {
        let mut sum = Quantities::default();
        for resource in &self.0 {
            if let Some(amount) = resource.as_scalar() {
                sum.add_one(&resource.name, amount);
            }
        }
        sum
    }

    /// The names that occur.
    pub fn names(&self) -> BTreeSet<Name> {
        self.0.iter().map(|resource| resource.name.clone()).collect()
    }

    /// Takes what the conversion consumes and adds what it gives.
    pub fn apply(&self, conversion: &Conversion) -> Result<Self, NotContained> {
        let mut result = self.clone();
        if !result.checked_sub(&conversion.consumed) {
            return Err(NotContained { owner: result, wanted: conversion.consumed.clone() });
        }
        result += &conversion.converted;
        Ok(result)
    }

    /// Resources of this list that amount to `target`, whatever they are reserved for: those with the
    /// target's own reservations first, then unreserved ones, then any. `None` when there is too
    /// little. Volumes and other exclusive things are never cut, so they are not taken.
    pub fn find(&self, target: &Self) -> Option<Self> {
        let mut available = self.clone();
        let mut found = Self::empty();
        for wanted in &target.0 {
            let mut missing = wanted.value.clone();
            let preferences: [&dyn Fn(&Resource) -> bool; 3] = [
                &|resource| resource.reservations == wanted.reservations,
                &|resource| resource.is_unreserved(),
                &|_| true,
            ];
            for preferred in preferences {
                let candidates = available.filter(|resource| {
                    !resource.is_exclusive()
                        && !resource.is_shared()
                        && preferred(resource)
                        && resource.clone().with_reservations(wanted.reservations()).is_same_kind(wanted)
                });
                for candidate in candidates {
                    let taken = candidate.value.common(&missing);
                    if taken.is_empty() {
                        continue;
                    }
                    missing.subtract(&taken);
                    let taken = candidate.with_value(taken);
                    available.subtract_one(&taken);
                    found.add_one(&taken);
                }
            }
            if !missing.is_empty() {
                return None;
            }
        }
        Some(found)
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && (self.0 == other.0 || (self.contains(other) && other.contains(self)))
    }
}

impl AddAssign<&Self> for Resources {
    fn add_assign(&mut self, other: &Self) {
        for resource in &other.0 {
            self.add_one(resource);
        }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            *self += &other;
        }
    }
}

impl Add<&Self> for Resources {
    type Output = Self;
    fn add(mut self, other: &Self) -> Self {
        self += other;
        self
    }
}

impl Add for Resources {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl From<Resource> for Resources {
    fn from(resource: Resource) -> Self {
        Self::from_iter([resource])
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut all = Self::empty();
        for resource in resources {
            all.add_one(&resource);
        }
        all
    }
}

impl Extend<Resource> for Resources {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, resources: I) {
        for resource in resources {
            self.add_one(&resource);
        }
    }
}

impl IntoIterator for Resources {
    type Item = Resource;
    type IntoIter = std::vec::IntoIter<Resource>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = slice::Iter<'a, Resource>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
