//! Who is ahead of whom: dominant shares in the tree of roles (rules 121 to 125).
//!
//! Two clients are compared at the first level where their paths part, so clients are sorted into *contests*:
//! one between what lies directly below a role (or at the root), and one between the frameworks of exactly
//! one role. Whoever was served last had no more than anybody in the same contest who could have had the
//! same instead. Which offer was the last is not known, so somebody is unfairly ahead when every one of his
//! agents was wrong; one agent is offered around in one order, so what comes of it counts as one.

use std::collections::BTreeMap;

use mezzo_ids::{AgentId, FrameworkId, Role};

use crate::{
    Offer, Violation,
    cluster::{is_within, sum},
    judge::Case,
};

/// Shares that differ by less count as equal: they are ratios of large numbers.
const SHARE_MIN: f64 = 1e-9;

/// One framework in one role.
pub(crate) type Client<'a> = (&'a FrameworkId, &'a Role);

/// Something that clients are compared by: all that is held in a role and below it, or in exactly a role, or
/// by one framework in a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party<'a> {
    Subtree(&'a str),
    Own(&'a Role),
    Framework(&'a FrameworkId, &'a Role),
}

/// Where parties meet: below a role (`""` is the root), or in exactly a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Contest<'a> {
    Below(&'a str),
    In(&'a Role),
}

/// A client's party in each contest that it takes part in.
fn parties(client: Client<'_>) -> impl Iterator<Item = (Contest<'_>, Party<'_>)> {
    let (framework, role) = client;
    let ends = role.match_indices('/').map(|(at, _)| at).chain([role.len()]);
    let mut above = "";
    let levels = ends.map(move |end| {
        let level = (Contest::Below(above), Party::Subtree(&role[..end]));
        above = &role[..end];
        level
    });
    levels.chain([
        (Contest::Below(role), Party::Own(role)),
        (Contest::In(role), Party::Framework(framework, role)),
    ])
}

#[derive(Default)]
struct Side<'a> {
    /// Who wants offers.
    hungry: Vec<Client<'a>>,
    offers: Vec<&'a Offer>,
}

impl<'a> Case<'a> {
    pub(crate) fn judge_fairness(&self, offers: &'a [Offer], wrong: &mut Vec<Violation>) {
        let mut contests: BTreeMap<Contest<'a>, BTreeMap<Party<'a>, Side<'a>>> = BTreeMap::new();
        for offer in offers.iter().filter(|offer| !self.was_owed(&offer.role)) {
            for (contest, party) in parties((&offer.framework, &offer.role)) {
                contests.entry(contest).or_default().entry(party).or_default().offers.push(offer);
            }
        }
        // Where nobody was served, nobody is ahead.
        for (id, framework) in &self.cluster.frameworks {
            for role in &framework.hungry {
                for (contest, party) in parties((id, role)) {
                    if let Some(sides) = contests.get_mut(&contest) {
                        sides.entry(party).or_default().hungry.push((id, role));
                    }
                }
            }
        }
        for sides in contests.values().filter(|sides| sides.len() > 1) {
            let share = |party: &Party<'a>| self.shares.share(party, &self.shares.held_by(party));
            let shares: Vec<(f64, &Party<'_>, &Side<'_>)> =
                sides.iter().map(|(party, side)| (share(party), party, side)).collect();
            for (_, party, side) in shares.iter().filter(|(_, _, side)| !side.offers.is_empty()) {
                let before = self.least_before(party, &side.offers);
                for (theirs, other, behind) in &shares {
                    if other == party || before <= theirs + SHARE_MIN {
                        continue;
                    }
                    let could = |client: &&Client<'a>| {
                        side.offers.iter().all(|offer| self.spend() && self.could_take(**client, offer))
                    };
                    for (framework, role) in behind.hungry.iter().filter(could) {
                        wrong.push(Violation::Unfair {
                            ahead: side.offers[0].framework.clone(),
                            ahead_role: side.offers[0].role.clone(),
                            behind: (*framework).clone(),
                            behind_role: (*role).clone(),
                        });
                    }
                }
            }
        }
    }

    /// The share of a party before it was given what it has of one agent, for the agent where that is least.
    fn least_before(&self, party: &Party<'_>, offers: &[&Offer]) -> f64 {
        let held = self.shares.held_by(party);
        let mut by_agent: BTreeMap<&AgentId, Vec<&Offer>> = BTreeMap::new();
        for offer in offers {
            by_agent.entry(&offer.agent).or_default().push(offer);
        }
        let before = by_agent.values().map(|offers| {
            let mut before = held.clone();
            for offer in offers {
                before.subtract(&sum(&offer.resources));
            }
            self.shares.share(party, &before)
        });
        before.fold(f64::INFINITY, f64::min)
    }

    /// Whether guarantees may have decided on offers to this role, and not shares (rule 127).
    fn was_owed(&self, role: &str) -> bool {
        let quotas = self.cluster.quotas.keys();
        quotas.filter(|above| is_within(role, above)).any(|above| !self.before.owed(above).is_empty())
    }
}
