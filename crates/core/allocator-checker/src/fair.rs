//! Who is ahead of whom: dominant shares in the tree of roles (rules 121 to 125).

use mezzo_ids::{FrameworkId, Role};
use mezzo_resources::Quantities;

use crate::{
    Cluster,
    cluster::{is_within, sum},
};

/// One framework in one role.
pub(crate) type Client<'a> = (&'a FrameworkId, &'a Role);

/// Something that two clients are compared by: all that is held in a role and below it, or in exactly a
/// role, or by one framework in a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Subtree(String),
    Own(Role),
    Framework(FrameworkId, Role),
}

impl Party {
    pub(crate) fn includes(&self, (framework, role): Client<'_>) -> bool {
        match self {
            Self::Subtree(above) => is_within(role, above),
            Self::Own(own) => own == role,
            Self::Framework(of, own) => of == framework && own == role,
        }
    }
}

/// The parties of two different clients at the first level where their paths part.
pub(crate) fn parties(one: Client<'_>, other: Client<'_>) -> (Party, Party) {
    if one.1 == other.1 {
        let framework = |client: Client<'_>| Party::Framework(client.0.clone(), client.1.clone());
        return (framework(one), framework(other));
    }
    let path = |client: Client<'_>| client.1.split('/').map(String::from).collect::<Vec<_>>();
    let (left, right) = (path(one), path(other));
    let common = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let party = |path: &[String], role: &Role| {
        if path.len() == common {
            Party::Own(role.clone())
        } else {
            Party::Subtree(path[..=common].join("/"))
        }
    };
    (party(&left, one.1), party(&right, other.1))
}

impl Cluster {
    pub(crate) fn held_by(&self, party: &Party) -> Quantities {
        let mut all = Quantities::default();
        for ((_, framework, role), held) in &self.held {
            if party.includes((framework, role)) {
                all += &sum(held);
            }
        }
        all
    }

    /// The dominant share of amounts, divided by the party's weight.
    pub(crate) fn share(&self, party: &Party, held: &Quantities) -> f64 {
        let mut total = Quantities::default();
        for agent in self.agents.values() {
            total += &sum(&agent.total);
        }
        let weight = match party {
            Party::Subtree(role) => self.settings.weights.get(role.as_str()).copied().unwrap_or(1.0),
            Party::Own(_) | Party::Framework(..) => 1.0,
        };
        held.iter()
            .filter(|(name, _)| !self.settings.excluded.contains(name.as_str()))
            .filter(|(name, _)| !total.get(name).is_zero())
            .map(|(name, amount)| amount.as_f64() / total.get(name).as_f64() / weight)
            .fold(0.0, f64::max)
    }
}
