//! A small cluster to try rules on; the rules are in the modules, by area.

mod constraints;
mod drf;
mod judged;
mod offers;
mod properties;
mod quota;
mod sharing;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::{Name, Quantities, Resources, Scalar, parse_resources};
use mezzo_time::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use crate::*;

/// An allocator with a clock, driven by short texts.
struct Cluster {
    allocator: Allocator,
    now: Timestamp,
    rng: ChaCha8Rng,
}

fn parse(text: &str) -> Resources {
    parse_resources(text, "*").expect("a valid text")
}

/// A disk that is a shared volume of a role.
fn shared_volume(role: &str) -> Resources {
    let disk = v1::resource::DiskInfo {
        persistence: Some(v1::resource::disk_info::Persistence { id: "v".into(), principal: None }),
        ..v1::resource::DiskInfo::default()
    };
    parse(&format!("disk({role}):100"))
        .map(|resource| resource.with_disk(Some(disk.clone())).with_copies(Some(1)))
}

fn amounts(text: &str) -> Quantities {
    Quantities::parse(text).expect("a valid text")
}

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().copied().map(Role::from).collect()
}

fn profile(names: &[&str]) -> FrameworkProfile {
    FrameworkProfile { roles: roles(names), ..FrameworkProfile::default() }
}

fn region(name: &str) -> Option<v1::DomainInfo> {
    use v1::domain_info::{
        FaultDomain,
        fault_domain::{RegionInfo, ZoneInfo},
    };
    Some(v1::DomainInfo {
        fault_domain: Some(FaultDomain {
            region: RegionInfo { name: name.into() },
            zone: ZoneInfo { name: format!("{name}-1") },
        }),
    })
}

fn filters(refuse_seconds: f64) -> v1::Filters {
    v1::Filters { refuse_seconds: Some(refuse_seconds) }
}

impl Cluster {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self {
            allocator: Allocator::new(config),
            now: Timestamp::from_nanos(1_000_000_000_000),
            rng: ChaCha8Rng::seed_from_u64(1),
        }
    }

    fn framework(&mut self, id: &str, roles: &[&str]) {
        self.framework_as(id, profile(roles));
    }

    fn framework_as(&mut self, id: &str, profile: FrameworkProfile) {
        self.allocator.add_framework(&id.into(), profile, true);
    }

    fn agent(&mut self, id: &str, total: &str) {
        self.agent_as(id, AgentProfile { total: parse(total), ..AgentProfile::default() });
    }

    fn agent_as(&mut self, id: &str, mut profile: AgentProfile) {
        if profile.hostname.is_empty() {
            profile.hostname = format!("{id}.example");
        }
        self.allocator.add_agent(&id.into(), profile, &BTreeMap::new());
    }

    fn pass(&mut self) -> Allocations {
        self.allocator.allocate(self.now, &mut self.rng)
    }

    /// Offers of one pass, each as `framework role agent resources`.
    fn offers(&mut self) -> Vec<String> {
        let line = |offer: Allocation| {
            let resources = offer.resources().unallocated();
            format!("{} {} {} {resources}", offer.framework, offer.role, offer.agent)
        };
        self.pass().offers.into_iter().map(line).collect()
    }

    /// As [`Cluster::offers`], without the resources.
    fn takers(&mut self) -> Vec<String> {
        let line = |offer: Allocation| format!("{} {} {}", offer.framework, offer.role, offer.agent);
        self.pass().offers.into_iter().map(line).collect()
    }

    fn wait(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    /// Gives back what a framework holds of an agent.
    fn decline(&mut self, framework: &str, agent: &str, refuse_seconds: f64) {
        let held = self.allocator.held(&framework.into(), &agent.into());
        let filter = Some(Filter::of_decline(Some(&filters(refuse_seconds))));
        self.allocator.recover(self.now, &framework.into(), &agent.into(), &held, filter);
    }

    /// A task of a framework ended.
    fn finish(&mut self, framework: &str, role: &str, agent: &str, resources: &str) {
        let resources = parse(resources).allocated(&Role::from(role));
        self.allocator.recover(self.now, &framework.into(), &agent.into(), &resources, None);
    }

    fn quota(&mut self, role: &str, guarantee: &str, limit: &str) {
        let limit: BTreeMap<Name, Scalar> =
            amounts(limit).iter().map(|(name, amount)| (name.clone(), amount)).collect();
        self.allocator.set_quota(&role.into(), Quota { guarantee: amounts(guarantee), limit });
    }

    fn why(&self, framework: &str) -> Vec<Reason> {
        self.allocator.why(&framework.into()).into_iter().map(|withheld| withheld.reason).collect()
    }
}
