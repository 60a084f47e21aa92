//! Special resources: shared by whoever has, is offered or holds the same ones.

use std::{ops::Deref, sync::Arc};

use mezzo_ids::Role;
use mezzo_resources::{Quantities, Resource, Resources};

use crate::{
    amounts::Amounts,
    bundle::{is_quota_counted, rare_amounts},
};

/// How many different special resources of agents are remembered, so that agents with the same ones share
/// them. Agents of one kind mostly have the same ports and nothing else.
const REMEMBERED_MAX: usize = 16;

/// Special resources of an agent, without allocation roles. A copy costs a counter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rare(Option<Arc<Known>>);

/// With what is asked of them in every pass.
#[derive(Debug)]
struct Known {
    resources: Resources,
    /// All numbers by name.
    amounts: Amounts,
    /// Those that quota looks at.
    counted: Amounts,
    has_revocable: bool,
    has_shared: bool,
    has_scalars: bool,
    /// Roles that something is reserved for.
    owners: Vec<Role>,
}

static NOTHING: Known = Known {
    resources: Resources::empty(),
    amounts: Amounts { common: [0; 4], rare: Quantities::EMPTY },
    counted: Amounts { common: [0; 4], rare: Quantities::EMPTY },
    has_revocable: false,
    has_shared: false,
    has_scalars: false,
    owners: Vec::new(),
};

impl From<Resources> for Rare {
    fn from(resources: Resources) -> Self {
        if resources.is_empty() {
            return Self(None);
        }
        let mut owners: Vec<Role> = Vec::new();
        for role in resources.iter().filter_map(Resource::top_role) {
            if !owners.contains(role) {
                owners.push(role.clone());
            }
        }
        Self(Some(Arc::new(Known {
            amounts: rare_amounts(&resources),
            counted: rare_amounts(resources.iter().filter(|resource| is_quota_counted(resource))),
            has_revocable: resources.iter().any(Resource::is_revocable),
            has_shared: resources.iter().any(Resource::is_shared),
            has_scalars: resources.iter().any(|resource| resource.as_scalar().is_some()),
            owners,
            resources,
        })))
    }
}

impl Deref for Rare {
    type Target = Resources;
    fn deref(&self) -> &Resources {
        &self.known().resources
    }
}

impl PartialEq for Rare {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl Rare {
    fn known(&self) -> &Known {
        match &self.0 {
            Some(known) => known,
            None => &NOTHING,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether both are copies of one; then they are equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(other)) => Arc::ptr_eq(mine, other),
            (None, None) => true,
            _ => false,
        }
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Resources)) {
        let mut resources = match self.0.take().map(Arc::try_unwrap) {
            Some(Ok(known)) => known.resources,
            Some(Err(known)) => known.resources.clone(),
            None => Resources::empty(),
        };
        change(&mut resources);
        *self = resources.into();
    }

    /// All numbers by name; a shared resource counts once.
    pub(crate) fn amounts(&self) -> &Amounts {
        &self.known().amounts
    }

    /// What of it quota looks at.
    pub(crate) fn counted(&self) -> &Amounts {
        &self.known().counted
    }

    pub(crate) fn has_revocable(&self) -> bool {
        self.known().has_revocable
    }

    pub(crate) fn has_shared(&self) -> bool {
        self.known().has_shared
    }

    pub(crate) fn has_scalars(&self) -> bool {
        self.known().has_scalars
    }

    /// Roles that something is reserved for.
    pub(crate) fn owners(&self) -> &[Role] {
        &self.known().owners
    }

    /// Whether both list the same in the same order. Only of what has no disk: a disk's mount is shown but
    /// does not count for being equal.
    fn looks_like(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(mine, other)| mine.disk().is_none() && mine == other)
    }
}

/// Special resources that agents had lately, the last one first.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Vec<Rare>);

impl Remembered {
    /// Lets an agent share what another one has.
    pub(crate) fn share(&mut self, rare: &mut Rare) {
        if rare.is_empty() {
            return;
        }
        match self.0.iter().position(|known| known.looks_like(rare)) {
            Some(at) => {
                *rare = self.0[at].clone();
                self.0[..=at].rotate_right(1);
            }
            None => {
                self.0.insert(0, rare.clone());
                self.0.truncate(REMEMBERED_MAX);
            }
        }
    }
}
