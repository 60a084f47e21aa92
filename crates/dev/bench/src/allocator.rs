//! The allocator alone, on one core: a full pass with every rule in play, one event at a time, and how
//! much memory a large cluster takes.
//!
//! The cluster has two levels of weighted roles, quota, several roles per framework, offer constraints,
//! gpus, two regions, static reservations, ports, revocable cpus and offer filters. Times are CPU time of
//! this thread, so that work of others on the machine counts little.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result};
use mezzo_allocator::{
    AgentProfile, Allocation, Allocator, Config, ConstraintLimits, Filter, FrameworkCapabilities,
    FrameworkProfile, Inquiry, OfferConstraints, Quota,
};
use mezzo_ids::{AgentId, FrameworkId, Role};
use mezzo_mesos::v1;
use mezzo_resources::{Quantities, Resources, parse_attributes, parse_resources};
use mezzo_time::Timestamp;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rustix::time::{ClockId, clock_gettime};

use crate::table::{Table, percentile};

/// Agents, frameworks, and the targets of a full pass at that size.
const SIZES: [(usize, usize, &str); 2] =
    [(20_000, 2_000, "<= 50 ms (20)"), (50_000, 6_000, "<= 150 ms (60)")];
/// Roles at the top, each with leaves below.
const TOPS: usize = 20;
/// Frameworks in each leaf role, or one more.
const LEAF_FRAMEWORKS: usize = 10;
/// Full passes, of which the median is shown.
const FULL_PASSES: usize = 7;
/// Single events, of which the median and the worst are shown.
const EVENTS: usize = 200;
/// Agents that the master looks at at a time to say why a framework is not offered them.
const PART_AGENTS: u64 = 1000;
/// The cluster whose memory is measured: agents, frameworks, tasks.
pub(crate) const LARGE: (usize, usize, usize) = (100_000, 1_000, 1_000_000);

/// Agents and frameworks of a cluster in which everybody refuses everything.
const REFUSED: (usize, usize) = (500, 500);

/// CPU time of this thread, in milliseconds.
fn cpu_ms() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = cpu_ms();
    let done = work();
    (done, cpu_ms() - before)
}

struct Cluster {
    allocator: Allocator,
    rng: ChaCha8Rng,
    now: Timestamp,
    frameworks: usize,
    leaves: usize,
}

fn framework_id(i: usize) -> FrameworkId {
    FrameworkId::from(format!("9f4e1c7a-5f0a-4b4e-9d0c-0242ac120002-{i:04}"))
}

fn agent_id(i: usize) -> AgentId {
    AgentId::from(format!("9f4e1c7a-5f0a-4b4e-9d0c-0242ac120002-S{i}"))
}

fn region(name: &str) -> Option<v1::DomainInfo> {
    use v1::domain_info::{
        FaultDomain,
        fault_domain::{RegionInfo, ZoneInfo},
    };
    let zone = ZoneInfo { name: format!("{name}-a") };
    Some(v1::DomainInfo {
        fault_domain: Some(FaultDomain { region: RegionInfo { name: name.into() }, zone }),
    })
}

/// Constraints on racks or kinds of disks, of twenty different sorts.
fn constraints(role: &Role, sort: usize) -> Result<OfferConstraints> {
    use v1::scheduler::{
        AttributeConstraint,
        attribute_constraint::{Predicate, Selector, predicate, selector},
        offer_constraints::{RoleConstraints, role_constraints::Group},
    };
    let predicate = match sort % 4 {
        0 => predicate::Predicate::TextEquals(predicate::TextEquals { value: format!("r{}", sort * 5) }),
        1 => predicate::Predicate::TextMatches(predicate::TextMatches { regex: format!("r{}[0-9]?", sort) }),
        2 => predicate::Predicate::TextNotEquals(predicate::TextNotEquals { value: format!("r{sort}") }),
        _ => predicate::Predicate::TextNotMatches(predicate::TextNotMatches { regex: format!("r{sort}.") }),
    };
    let constraint = AttributeConstraint {
        selector: Selector { selector: Some(selector::Selector::AttributeName("rack".into())) },
        predicate: Predicate { predicate: Some(predicate) },
    };
    let groups = vec![Group { attribute_constraints: vec![constraint] }];
    let message = v1::scheduler::OfferConstraints {
        role_constraints: [(role.to_string(), RoleConstraints { groups })].into(),
    };
    let roles = BTreeSet::from([role.clone()]);
    OfferConstraints::compile(&message, &roles, ConstraintLimits::default()).map_err(anyhow::Error::msg)
}

impl Cluster {
    /// Without agents and frameworks, with weights and quota for a cluster of this size.
    fn new(agents: usize, frameworks: usize) -> Result<Self> {
        let weights = (0..TOPS).map(|top| (Role::from(format!("t{top:02}")), 1.0 + (top % 4) as f64));
        let config =
            Config { weights: weights.collect(), master_domain: region("east"), ..Config::default() };
        let mut cluster = Self {
            allocator: Allocator::new(config),
            rng: ChaCha8Rng::seed_from_u64(7),
            now: Timestamp::from_nanos(1_000_000_000_000),
            frameworks,
            leaves: frameworks / LEAF_FRAMEWORKS,
        };
        let share = |percent: usize| {
            let (cpus, mem) = (agents * 16 * percent / 100, agents * 65_536 * percent / 100);
            Quantities::parse(&format!("cpus:{cpus};mem:{mem}")).context("amounts")
        };
        let limit = |amounts: &Quantities| amounts.iter().map(|(name, at)| (name.clone(), at)).collect();
        // One role that fills its guarantee, one that hits its limit, and one that is away, so that its
        // guarantee is kept free.
        cluster.quota("t00", share(4)?, BTreeMap::new());
        cluster.quota("t01", Quantities::default(), limit(&share(3)?));
        cluster.quota("t02", share(2)?, limit(&share(5)?));
        Ok(cluster)
    }

    fn quota(
        &mut self,
        role: &str,
        guarantee: Quantities,
        limit: BTreeMap<mezzo_resources::Name, mezzo_resources::Scalar>,
    ) {
        self.allocator.set_quota(&Role::from(role), Quota { guarantee, limit });
    }

    fn leaf(&self, i: usize) -> Role {
        let leaf = i % self.leaves.max(1);
        // The third role at the top has nobody.
        let top = if leaf % TOPS == 2 { 3 } else { leaf % TOPS };
        Role::from(format!("t{top:02}/k{:03}", leaf / TOPS))
    }

    fn profile(&self, i: usize) -> Result<FrameworkProfile> {
        let mut roles = BTreeSet::from([self.leaf(i)]);
        if i.is_multiple_of(20) {
            roles.insert(self.leaf(i + 7));
        }
        if i % 100 == 1 {
            roles = BTreeSet::from([Role::from("t00")]);
        }
        let mut constrained = OfferConstraints::default();
        if i % 10 == 3 {
            let role = roles.first().context("a role")?.clone();
            constrained = constraints(&role, i / 10 % 20)?;
        }
        let capabilities = FrameworkCapabilities {
            revocable_resources: i.is_multiple_of(3),
            gpu_resources: i % 10 == 4,
            shared_resources: false,
            multi_role: roles.len() > 1,
            reservation_refinement: true,
            region_aware: i % 10 == 6,
        };
        Ok(FrameworkProfile { roles, capabilities, constraints: constrained, ..FrameworkProfile::default() })
    }

    fn add_framework(&mut self, i: usize) -> Result<()> {
        let profile = self.profile(i)?;
        self.allocator.add_framework(&framework_id(i), profile, true);
        Ok(())
    }

    fn agent(&self, i: usize) -> Result<AgentProfile> {
        let mut text = "cpus:16;mem:65536;disk:1000000;ports:[31000-32000]".to_string();
        if i % 10 == 1 {
            text.push_str(";gpus:4");
        }
        if i % 5 == 2 {
            let role = self.leaf(i / 5);
            text.push_str(&format!(";cpus({role}):4;mem({role}):8192"));
        }
        let mut total = parse_resources(&text, "*")?;
        if i % 10 == 5 {
            total += parse_resources("cpus:2", "*")?.map(|resource| resource.with_revocable(true));
        }
        let domain = region(if i % 20 == 8 { "west" } else { "east" });
        let attributes = parse_attributes(&format!("rack:r{};disk:{}", i % 100, ["ssd", "hdd"][i % 2]))?;
        let hostname = format!("node-{i}.example");
        Ok(AgentProfile { hostname, domain, attributes, total, ..AgentProfile::default() })
    }

    fn add_agent(&mut self, i: usize) -> Result<()> {
        let profile = self.agent(i)?;
        self.allocator.add_agent(&agent_id(i), profile, &BTreeMap::new());
        Ok(())
    }

    fn wait(&mut self, seconds: f64) {
        self.now = self.now + Duration::from_secs_f64(seconds);
    }

    fn pass(&mut self) -> Vec<Allocation> {
        self.allocator.allocate(self.now, &mut self.rng).offers
    }

    fn give_back(&mut self, offer: &Allocation, filter: Option<Filter>) {
        let Allocation { framework, agent, .. } = offer;
        self.allocator.recover(self.now, framework, agent, &offer.resources(), filter);
    }

    /// One event and the pass that follows it, many times over.
    fn events(&mut self, mut event: impl FnMut(&mut Self, usize)) -> (f64, f64) {
        let mut times = Vec::with_capacity(EVENTS);
        for i in 0..EVENTS {
            // Inside an interval of the allocator, where a full pass is not due.
            self.wait(0.002);
            times.push(timed(|| event(self, i)).1);
        }
        (percentile(&mut times, 0.5), percentile(&mut times, 1.0))
    }
}

fn refuse(seconds: f64) -> Option<Filter> {
    Some(Filter::of_decline(Some(&v1::Filters { refuse_seconds: Some(seconds) })))
}

/// Everything of issue 3 that one allocator decides, at the first size.
pub(crate) fn smaller(table: &mut Table) -> Result<()> {
    let (agents, frameworks, target) = SIZES[0];
    measure(table, agents, frameworks, target)
}

/// The same at the second size.
pub(crate) fn larger(table: &mut Table) -> Result<()> {
    let (agents, frameworks, target) = SIZES[1];
    measure(table, agents, frameworks, target)
}

fn measure(table: &mut Table, agents: usize, frameworks: usize, target: &str) -> Result<()> {
    let size = format!("{agents} agents x {frameworks} frameworks");
    let mut cluster = Cluster::new(agents, frameworks)?;
    for i in 0..agents {
        cluster.add_agent(i)?;
    }
    for i in 0..frameworks {
        cluster.add_framework(i)?;
    }
    let (mut offers, first) = timed(|| cluster.pass());
    let mut full = Vec::new();
    for round in 0..FULL_PASSES {
        for (i, offer) in offers.iter().enumerate() {
            // One in ten is refused for an hour, so that filters have to be looked at.
            let filter = if (i + round).is_multiple_of(10) { refuse(3600.0) } else { None };
            cluster.give_back(offer, filter);
        }
        cluster.wait(1.0);
        let (again, time) = timed(|| cluster.pass());
        full.push(time);
        offers = again;
    }
    let listed = timed(|| offers.iter().map(|offer| offer.resources().len()).sum::<usize>()).1;
    let beside = format!(
        "{} offers; the first took {first:.1} ms; listing all as messages {listed:.1} ms",
        offers.len()
    );
    table.row(
        &format!("full allocation, {size}"),
        &format!("{:.1} ms", percentile(&mut full, 0.5)),
        &beside,
        target,
    );
    // Tasks run on what was offered; the rest is kept free for a guarantee, or nobody may have it.
    cluster.wait(1.0);
    offers.extend(cluster.pass());

    let row = |table: &mut Table, what: &str, (median, worst): (f64, f64), target: &str| {
        let figure = format!("{median:.3} ms");
        table.row(&format!("{what}, {size}"), &figure, &format!("worst of {EVENTS}: {worst:.3} ms"), target);
    };
    let stride = offers.len() / EVENTS;
    let task = parse_resources("cpus:1;mem:1024", "*")?;
    let ended: Vec<(&Allocation, Resources)> =
        offers.iter().step_by(stride).map(|offer| (offer, task.allocated(&offer.role))).collect();
    let times = cluster.events(|cluster, i| {
        let (offer, task) = &ended[i];
        cluster.allocator.recover(cluster.now, &offer.framework, &offer.agent, task, None);
        cluster.pass();
    });
    row(table, "a task ends", times, "<= 1 ms");

    let times = cluster.events(|cluster, i| {
        let offer = &offers[i * stride + stride / 2];
        cluster.give_back(offer, refuse(3600.0));
        cluster.pass();
    });
    row(table, "an offer is declined", times, "<= 1 ms");

    let profiles: Vec<AgentProfile> = (0..EVENTS).map(|i| cluster.agent(i)).collect::<Result<_>>()?;
    let times = cluster.events(|cluster, i| {
        cluster.allocator.add_agent(&agent_id(agents + i), profiles[i].clone(), &BTreeMap::new());
        cluster.pass();
    });
    row(table, "an agent comes", times, "<= 1 ms");

    let times = cluster.events(|cluster, i| {
        cluster.allocator.remove_agent(&agent_id(agents + i));
        cluster.pass();
    });
    row(table, "an agent goes", times, "<= 1 ms");

    let profiles: Vec<FrameworkProfile> = (0..EVENTS).map(|i| cluster.profile(i)).collect::<Result<_>>()?;
    let times = cluster.events(|cluster, i| {
        cluster.allocator.add_framework(&framework_id(frameworks + i), profiles[i].clone(), true);
        cluster.pass();
    });
    row(table, "a framework subscribes", times, "<= 1 ms");

    let none = BTreeSet::new();
    let times = cluster.events(|cluster, i| {
        let id = framework_id(i * 7 % cluster.frameworks);
        cluster.allocator.suppress(&id, &none);
        cluster.allocator.revive(&id, &none);
        cluster.pass();
    });
    row(table, "a framework suppresses and revives", times, "<= 1 ms");

    let times = cluster.events(|cluster, i| {
        cluster.allocator.remove_framework(&framework_id(frameworks + i));
        cluster.pass();
    });
    row(table, "a framework goes", times, "<= 1 ms");

    let plain = parse_resources("cpus:1;mem:1024", "*")?;
    let role = offers[0].role.clone();
    let held: Vec<&Allocation> =
        offers.iter().filter(|offer| offer.resources().contains(&plain.allocated(&offer.role))).collect();
    let mut refused = 0;
    let times = cluster.events(|cluster, i| {
        let offer = held[i * (held.len() / EVENTS)];
        let from = plain.allocated(&offer.role);
        let text = format!("cpus({0}):1;mem({0}):1024", offer.role);
        let Ok(to) = parse_resources(&text, "*") else { return };
        let to = to.allocated(&offer.role);
        let there = cluster.allocator.convert(&offer.framework, &offer.agent, &from, &to);
        let back = cluster.allocator.convert(&offer.framework, &offer.agent, &to, &from);
        refused += usize::from(there.is_err() || back.is_err());
        cluster.pass();
    });
    row(table, &format!("reserve and unreserve ({refused} refused)"), times, "<= 5 ms");

    let times = cluster.events(|cluster, i| {
        let cpus = agents / 10 + i;
        let guarantee = Quantities::parse(&format!("cpus:{cpus}")).unwrap_or_default();
        cluster.allocator.set_quota(&role, Quota { guarantee, limit: BTreeMap::new() });
        cluster.pass();
    });
    row(table, "a quota changes", times, "<= 5 ms");

    why(table, &mut cluster, &size);

    let mut one_by_one = Cluster::new(agents, frameworks)?;
    for i in 0..frameworks {
        one_by_one.add_framework(i)?;
    }
    let profiles: Vec<AgentProfile> = (0..agents).map(|i| one_by_one.agent(i)).collect::<Result<_>>()?;
    let mut given = 0;
    let ((), time) = timed(|| {
        for (i, profile) in profiles.into_iter().enumerate() {
            one_by_one.allocator.add_agent(&agent_id(i), profile, &BTreeMap::new());
            one_by_one.wait(0.001);
            given += one_by_one.pass().len();
        }
    });
    let target = if agents == SIZES[0].0 { "<= 2 s" } else { "" };
    let beside = format!("{given} offers on the way");
    table.row(
        &format!("agents added one by one, each offered, {size}"),
        &format!("{:.2} s", time / 1e3),
        &beside,
        target,
    );
    Ok(())
}

/// What it takes to find out what one framework is not offered, and why: as a whole and in the parts that the
/// master does between its decisions.
fn why(table: &mut Table, cluster: &mut Cluster, size: &str) {
    let (mut wholes, mut parts) = (Vec::new(), Vec::new());
    for i in 0..EVENTS {
        let framework = framework_id(i * 7 % cluster.frameworks);
        wholes.push(timed(|| cluster.allocator.inquire(&mut Inquiry::new(framework.clone()), u64::MAX)).1);
        let mut inquiry = Inquiry::new(framework);
        loop {
            let (is_over, time) = timed(|| cluster.allocator.inquire(&mut inquiry, PART_AGENTS));
            parts.push(time);
            if is_over {
                break;
            }
        }
    }
    table.row(
        &format!("why a framework is not offered more, {size}"),
        &format!("{:.1} ms", percentile(&mut wholes, 0.5)),
        &format!(
            "worst of {EVENTS}: {:.1} ms; its {} parts: median {:.2} ms, p99 {:.2} ms",
            percentile(&mut wholes, 1.0),
            parts.len() / EVENTS,
            percentile(&mut parts, 0.5),
            percentile(&mut parts, 0.99)
        ),
        "",
    );
}

/// A framework that nobody is like: it wants one agent in a hundred by a pattern over hostnames, and names
/// an attribute that is its own.
fn picky(cluster: &Cluster, i: usize) -> Result<FrameworkProfile> {
    use v1::scheduler::{
        AttributeConstraint,
        attribute_constraint::{
            Predicate, Selector, predicate,
            selector::{self, PseudoattributeType},
        },
        offer_constraints::{RoleConstraints, role_constraints::Group},
    };
    let role = cluster.leaf(i);
    let constraint = |selector, predicate| AttributeConstraint {
        selector: Selector { selector: Some(selector) },
        predicate: Predicate { predicate: Some(predicate) },
    };
    let regex = format!("node-[0-9]*{:02}.example", i % 100);
    let by_name = constraint(
        selector::Selector::PseudoattributeType(PseudoattributeType::Hostname as i32),
        predicate::Predicate::TextMatches(predicate::TextMatches { regex }),
    );
    let own = constraint(
        selector::Selector::AttributeName(format!("refused-by-{i}")),
        predicate::Predicate::NotExists(predicate::NotExists {}),
    );
    let groups = vec![Group { attribute_constraints: vec![by_name, own] }];
    let message = v1::scheduler::OfferConstraints {
        role_constraints: [(role.to_string(), RoleConstraints { groups })].into(),
    };
    let roles = BTreeSet::from([role]);
    let constraints = OfferConstraints::compile(&message, &roles, ConstraintLimits::default());
    let capabilities = FrameworkCapabilities {
        gpu_resources: true,
        region_aware: true,
        multi_role: true,
        ..FrameworkCapabilities::default()
    };
    let constraints = constraints.map_err(anyhow::Error::msg)?;
    Ok(FrameworkProfile { roles, capabilities, constraints, ..FrameworkProfile::default() })
}

/// Passes until there is nothing more to give, because one may leave the rest to the next.
fn in_parts(cluster: &mut Cluster) -> (Vec<Allocation>, Vec<f64>) {
    let (mut offers, mut times) = (Vec::new(), Vec::new());
    loop {
        let (some, time) = timed(|| cluster.pass());
        offers.extend(some);
        times.push(time);
        cluster.wait(0.001);
        if cluster.allocator.next_deadline().is_none_or(|at| at > cluster.now) {
            return (offers, times);
        }
    }
}

/// Clusters that are made to be slow: every framework with constraints of its own, and all of a cluster
/// refused by everybody while quota asks for a full pass each interval.
pub(crate) fn hostile(table: &mut Table) -> Result<()> {
    let (agents, frameworks, _) = SIZES[0];
    let mut cluster = Cluster::new(agents, frameworks)?;
    for i in 0..agents {
        cluster.add_agent(i)?;
    }
    for i in 0..frameworks {
        let profile = picky(&cluster, i)?;
        cluster.allocator.add_framework(&framework_id(i), profile, true);
    }
    let (mut offers, first) = in_parts(&mut cluster);
    let (first, parts) = (first.iter().sum::<f64>(), first.len());
    let (mut full, mut worst) = (Vec::new(), 0.0_f64);
    for round in 0..FULL_PASSES {
        for (i, offer) in offers.iter().enumerate() {
            let filter = if (i + round).is_multiple_of(10) { refuse(3600.0) } else { None };
            cluster.give_back(offer, filter);
        }
        cluster.wait(1.0);
        let (again, times) = in_parts(&mut cluster);
        full.push(times.iter().sum());
        worst = times.into_iter().fold(worst, f64::max);
        offers = again;
    }
    table.row(
        &format!("full allocation, {agents} agents x {frameworks} frameworks of as many kinds"),
        &format!("{:.1} ms", percentile(&mut full, 0.5)),
        &format!(
            "{} offers; the longest pass {worst:.1} ms; at first {first:.0} ms in {parts} passes",
            offers.len()
        ),
        "",
    );

    let (agents, frameworks) = REFUSED;
    let mut cluster = Cluster::new(agents, frameworks)?;
    for i in 0..agents {
        cluster.add_agent(i)?;
    }
    for i in 0..frameworks {
        cluster.add_framework(i)?;
    }
    let mut refused = 0;
    loop {
        let offers = cluster.pass();
        if offers.is_empty() {
            break;
        }
        refused += offers.len();
        for offer in &offers {
            cluster.give_back(offer, refuse(1e6));
        }
        cluster.wait(1.1);
    }
    let mut full = Vec::new();
    for _ in 0..FULL_PASSES {
        // Something comes back, so that quota may allow more elsewhere.
        cluster.allocator.remove_agent(&agent_id(agents));
        cluster.add_agent(agents)?;
        for offer in cluster.pass() {
            cluster.give_back(&offer, refuse(1e6));
        }
        cluster.wait(1.1);
        full.push(timed(|| cluster.pass()).1);
    }
    table.row(
        &format!("full pass over {agents} agents that {frameworks} frameworks refused"),
        &format!("{:.2} ms", percentile(&mut full, 0.5)),
        &format!("{refused} refusals"),
        "",
    );
    Ok(())
}

/// Resident memory of this process, in MiB.
pub(crate) fn resident_mib() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = text.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * 4096.0 / f64::from(1 << 20))
}

/// How much memory the allocator of a large cluster takes.
pub(crate) fn memory(table: &mut Table) -> Result<()> {
    let (agents, frameworks, tasks) = LARGE;
    let before = resident_mib()?;
    let mut cluster = Cluster::new(agents, frameworks)?;
    for i in 0..frameworks {
        cluster.add_framework(i)?;
    }
    let task = parse_resources("cpus:0.1;mem:128", "*")?;
    let roles: Vec<Role> = (0..frameworks).map(|i| cluster.leaf(i)).collect();
    for i in 0..agents {
        let mut used: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
        for k in 0..tasks / agents {
            let owner = (i + k * 37) % frameworks;
            *used.entry(framework_id(owner)).or_default() += task.allocated(&roles[owner]);
        }
        let profile = cluster.agent(i)?;
        cluster.allocator.add_agent(&agent_id(i), profile, &used);
    }
    let mib = resident_mib()? - before;
    let (offers, time) = timed(|| cluster.pass());
    let beside = format!("then a full pass: {:.1} ms, {} offers", time, offers.len());
    let what = format!("the allocator's memory, {agents} agents with {tasks} tasks");
    table.row(&what, &format!("{mib:.0} MiB"), &beside, "master with it <= 2048 MiB");
    Ok(())
}
