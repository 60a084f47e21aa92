//! Resources of one agent, with plain numbers apart from everything special.

use mezzo_ids::Role;
use mezzo_resources::{Name, Resource, Resources, Scalar, Value};

use crate::{
    amounts::{Amounts, Common, NAMES, place},
    rare::Rare,
};

/// Unreserved, permanent, plain amounts of the common names, and all else. Without allocation roles.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bundle {
    pub(crate) common: Common,
    /// Ports, sets, rare names, and whatever is reserved, revocable, shared, a volume or a provider's.
    pub(crate) rare: Rare,
}

/// In which order an agent named its common resources: offers show the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order([u8; 4]);

impl Order {
    pub(crate) fn of(resources: &Resources) -> Self {
        let mut order: Vec<u8> = Vec::with_capacity(NAMES.len());
        let named = resources.iter().filter_map(|resource| place(resource.name())).chain(0..NAMES.len());
        for at in named {
            let at = at as u8;
            if !order.contains(&at) {
                order.push(at);
            }
        }
        Self(std::array::from_fn(|i| order.get(i).copied().unwrap_or_default()))
    }

    pub(crate) fn places(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().map(usize::from)
    }
}

/// Where a resource is counted in [`Bundle::common`].
fn common_place(resource: &Resource) -> Option<usize> {
    let plain = resource.is_unreserved()
        && !resource.is_revocable()
        && !resource.is_shared()
        && resource.disk().is_none()
        && resource.provider_id().is_none();
    if plain { resource.as_scalar().and_then(|_| place(resource.name())) } else { None }
}

/// Whether limits, guarantees and headroom look at it when it is given away: reservations are
/// charged when they are made, revocable resources never (rule 146).
pub(crate) fn is_quota_counted(resource: &Resource) -> bool {
    resource.is_unreserved() && !resource.is_revocable() && resource.as_scalar().is_some()
}

/// All numbers of rare resources by name.
pub(crate) fn rare_amounts<'a>(rare: impl IntoIterator<Item = &'a Resource>) -> Amounts {
    let mut sum = Amounts::default();
    for resource in rare {
        if let Some(amount) = resource.as_scalar() {
            sum.add_one(resource.name(), amount);
        }
    }
    sum
}

impl Bundle {
    pub(crate) fn of_common(common: Common) -> Self {
        Self { common, rare: Rare::default() }
    }

    /// Forgets allocation roles.
    pub(crate) fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut parts = Parts::default();
        for resource in resources {
            parts.add_one(resource);
        }
        parts.into()
    }

    /// One bundle per allocation role; what no role is named for counts for `*`.
    pub(crate) fn by_role(resources: &Resources) -> Vec<(Role, Self)> {
        let mut all: Vec<(Role, Parts)> = Vec::new();
        for resource in resources {
            let role = resource.allocation_role();
            let text = role.map_or("*", Role::as_str);
            match all.iter_mut().find(|(known, _)| known.as_str() == text) {
                Some((_, parts)) => parts.add_one(resource),
                None => {
                    let mut parts = Parts::default();
                    parts.add_one(resource);
                    all.push((role.cloned().unwrap_or_else(|| Role::from("*")), parts));
                }
            }
        }
        all.into_iter().map(|(role, parts)| (role, parts.into())).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.common == [0; 4] && self.rare.is_empty()
    }

    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.common.iter().zip(other.common).all(|(mine, other)| *mine >= other)
            && (other.rare.is_empty() || self.rare.is_same(&other.rare) || self.rare.contains(&other.rare))
    }

    pub(crate) fn add(&mut self, other: Self) {
        add_common(&mut self.common, &other.common);
        if self.rare.is_empty() {
            self.rare = other.rare;
        } else if !other.rare.is_empty() {
            self.rare.change(|rare| *rare += &*other.rare);
        }
    }

    /// Takes away what is there.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for (mine, other) in self.common.iter_mut().zip(other.common) {
            *mine = (*mine - other).max(0);
        }
        // Of copies that are shared, the same number on both sides leaves none as well.
        if self.rare.is_same(&other.rare) {
            self.rare = Rare::default();
        } else if !other.rare.is_empty() {
            self.rare.change(|rare| rare.subtract(&other.rare));
        }
    }

    /// The part of `wanted` that is here: whole resources, or nothing of one.
    pub(crate) fn found_of(&self, wanted: &Self) -> Self {
        let common =
            std::array::from_fn(|i| if self.common[i] >= wanted.common[i] { wanted.common[i] } else { 0 });
        let rare = if wanted.rare.is_empty() || self.rare.contains(&wanted.rare) {
            wanted.rare.clone()
        } else {
            wanted.rare.filter(|resource| self.rare.contains_one(resource)).into()
        };
        Self { common, rare }
    }

    /// All numbers by name; a shared resource counts once.
    pub(crate) fn amounts(&self) -> Amounts {
        let mut sum = self.rare.amounts().clone();
        add_common(&mut sum.common, &self.common);
        sum
    }

    /// What of it quota looks at.
    pub(crate) fn counted(&self) -> Amounts {
        let mut sum = self.rare.counted().clone();
        add_common(&mut sum.common, &self.common);
        sum
    }

    /// As an agent lists what it has: common resources in its order, then special ones.
    pub(crate) fn listed(&self, order: Order) -> Resources {
        let mut all = Resources::with_capacity(4 + self.rare.len());
        self.push_common(order, None, &mut all);
        for resource in &*self.rare {
            all.push_distinct(resource.clone());
        }
        all
    }

    fn push_common(&self, order: Order, role: Option<&Role>, all: &mut Resources) {
        for at in order.places().filter(|at| self.common[*at] > 0) {
            let value = Value::Scalar(Scalar::from_thousandths(self.common[at]));
            let resource = Resource::new(Name::from(NAMES[at]), value);
            all.push_distinct(resource.with_allocation_role(role.cloned()));
        }
    }

    /// As offers list what they have: special resources first, then common ones in an agent's order, then
    /// special ones that are numbers without reservation; all held for `role`, if any.
    pub(crate) fn resources(&self, order: Order, role: Option<&Role>) -> Resources {
        let mut all = Resources::with_capacity(4 + self.rare.len());
        let rare = |resource: &Resource| resource.clone().with_allocation_role(role.cloned());
        for resource in self.rare.iter().filter(|resource| !is_quota_counted(resource)) {
            all.push_distinct(rare(resource));
        }
        self.push_common(order, role, &mut all);
        for resource in self.rare.iter().filter(|resource| is_quota_counted(resource)) {
            all.push_distinct(rare(resource));
        }
        all
    }
}

/// A bundle in the making.
#[derive(Default)]
struct Parts {
    common: Common,
    rare: Resources,
}

impl Parts {
    fn add_one(&mut self, resource: &Resource) {
        match (common_place(resource), resource.as_scalar()) {
            (Some(at), Some(amount)) => {
                self.common[at] = self.common[at].saturating_add(amount.thousandths());
            }
            _ if resource.allocation_role().is_none() => self.rare.add_one(resource),
            _ => self.rare.add_one(&resource.clone().with_allocation_role(None)),
        }
    }
}

impl From<Parts> for Bundle {
    fn from(parts: Parts) -> Self {
        Self { common: parts.common, rare: parts.rare.into() }
    }
}

pub(crate) fn add_common(sum: &mut Common, other: &Common) {
    for (mine, other) in sum.iter_mut().zip(other) {
        *mine = mine.saturating_add(*other);
    }
}
