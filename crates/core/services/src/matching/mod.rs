//! Whether an offer will do for a waiting instance, and what of it is taken.
//!
//! Several instances may be placed on one offer: [`Opened`] is what is left of it. [`Placed`] holds where the instances of one
//! service are, so that a look at an offer costs the same for ten instances and for ten thousand.

mod disks;
mod mismatch;
mod offer_constraints;
mod opened;
mod placed;
mod ports;
pub(crate) mod reserved;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use mezzo_mesos::v1;
use mezzo_resources::{Resource, Resources, Scalar, Value};
use mezzo_services_model::{App, Instance, RunSpec};
use mezzo_time::Timestamp;
use rand_core::Rng;

pub use disks::Disk;
pub use mismatch::Mismatch;
pub use offer_constraints::{Waiting, offer_constraints};
pub use opened::Opened;
pub use placed::{Placed, counts};

use crate::{AcceptedRoles, Config};
use mismatch::{Amount, Lack};

/// What placing depends on besides offer and instance.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The settings.
    pub config: &'a Config,
    /// Our id with the master.
    pub framework: &'a v1::FrameworkId,
    /// The master's region, when it told one.
    pub region: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The definition it will run.
    pub run_spec: &'a RunSpec,
    /// It, as it waits: with a reservation it goes where that is.
    pub instance: &'a Instance,
    /// Where the other instances of the service are.
    pub placed: &'a Placed,
    /// Whether its top-level group sets the role of all in it (rule 202).
    pub enforce_role: bool,
}

/// What one container takes of an offer.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// All of it.
    pub resources: Resources,
    /// Its ports on the agent, in the order of the definition; none where it wants none.
    pub host_ports: Vec<Option<u16>>,
}

/// What an instance takes of an offer.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What the executor beside the containers takes.
    pub executor: Resources,
    /// By container, in the order of the definition; one for apps.
    pub parts: Vec<Part>,
    /// Its volumes: disks that are to become some, in front of a reservation; or, when launched, what it keeps.
    pub disks: Vec<Disk>,
    /// Whether it is resident and this is not reserved yet: it is reserved, and launched with another offer (rule 155).
    pub to_reserve: bool,
}

/// Which resources may be taken.
struct Usable<'a> {
    unreserved: bool,
    /// Reserved to exactly this role, for nobody in particular.
    reserved: Option<&'a str>,
    /// Reserved by this framework for this instance.
    kept: Option<(&'a v1::FrameworkId, &'a str)>,
}

impl Usable<'_> {
    fn allows(&self, resource: &Resource) -> bool {
        if resource.is_revocable() || resource.is_shared() || resource.disk().is_some() {
            return false;
        }
        if let Some((framework, instance)) = self.kept {
            return reserved::keeper(resource, framework) == Some(instance);
        }
        if resource.is_unreserved() {
            return self.unreserved;
        }
        self.reserved.is_some_and(|role| resource.is_reserved_to(role)) && !reserved::is_kept(resource)
    }

    fn words(&self) -> String {
        match (self.unreserved, self.reserved) {
            (true, Some(role)) => format!("unreserved or reserved to {role}"),
            (true, None) => "unreserved".into(),
            (false, Some(role)) => format!("reserved to {role}"),
            (false, None) => "reserved for the instance".into(),
        }
    }
}

/// Rules 234 and 235.
fn usable<'a>(need: &'a Need<'_>, terms: &'a Terms<'_>) -> Usable<'a> {
    let role = need.instance.role.as_str();
    if need.instance.reservation.is_some() {
        let kept = Some((terms.framework, need.instance.id.as_str()));
        return Usable { unreserved: false, reserved: None, kept };
    }
    let (unreserved, own) = if need.run_spec.is_resident() {
        (true, false)
    } else {
        match need.run_spec.accepted_resource_roles() {
            Some(roles) => (roles.contains("*"), roles.contains(role)),
            None => match terms.config.accepted_roles {
                AcceptedRoles::Any => (true, true),
                AcceptedRoles::Unreserved => (true, false),
                AcceptedRoles::Reserved => (false, true),
            },
        }
    };
    Usable {
        unreserved: unreserved || (own && role == "*"),
        reserved: (own && role != "*").then_some(role),
        kept: None,
    }
}

/// Numbers that one part of an instance takes.
type Amounts = [Scalar; Amount::ALL.len()];

fn amounts(cpus: f64, mem: f64, disk: f64, gpus: u32) -> Amounts {
    [Scalar::from_f64(cpus), Scalar::from_f64(mem), Scalar::from_f64(disk), Scalar::from_whole(gpus)]
}

/// What the executor and the containers of a definition take.
fn shares(run_spec: &RunSpec, config: &Config) -> (Amounts, Vec<Amounts>) {
    match run_spec {
        RunSpec::App(app) => {
            let r = app.resources;
            (executor_of_app(app, config), vec![amounts(r.cpus, r.mem, r.disk, r.gpus)])
        }
        RunSpec::Pod(pod) => {
            let e = pod.executor_resources;
            let container = |r: mezzo_services_model::Resources| amounts(r.cpus, r.mem, r.disk, r.gpus);
            (
                amounts(e.cpus, e.mem, e.disk, 0),
                pod.containers.iter().map(|one| container(one.resources)).collect(),
            )
        }
    }
}

fn executor_of_app(app: &App, config: &Config) -> Amounts {
    match (crate::launch::custom_executor(app, config), app.executor_resources) {
        (Some(_), Some(e)) => amounts(e.cpus, e.mem, e.disk, 0),
        _ => Amounts::default(),
    }
}

/// Takes what an instance needs out of an offer, or says why it does not fit; then the offer is as it was.
pub fn fit(
    offer: &mut Opened,
    need: &Need<'_>,
    terms: &Terms<'_>,
    rng: &mut dyn Rng,
) -> Result<Taken, Mismatch> {
    let kept = need.instance.reservation.is_some();
    // Rule 102.
    if offer.role() != need.instance.role {
        let (wanted, offered) = (need.instance.role.clone(), offer.role().to_owned());
        return Err(Mismatch::new(vec![Lack::Role { wanted, offered }]));
    }
    if kept && !offer.keeps_for(terms.framework, &need.instance.id) {
        let own = need.instance.agent.as_ref();
        let agent = own.filter(|agent| agent.id != offer.agent().id).map(|agent| agent.id.clone());
        return Err(Mismatch::new(vec![Lack::Reservation { agent }]));
    }
    let usable = usable(need, terms);
    let allows = |resource: &Resource| usable.allows(resource);
    let mut lacks = Vec::new();
    // Where a kept instance is was judged when its place was reserved; it has no other.
    if !kept {
        judge_place(offer, need, terms, &mut lacks);
        if !offer.left.iter().any(allows) {
            lacks.push(Lack::Accepted { roles: usable.words() });
        }
    }
    if terms.config.avoid_maintenance && in_maintenance(offer.offer(), terms) {
        lacks.push(Lack::Maintenance);
    }

    let (executor, containers) = shares(need.run_spec, terms.config);
    for (i, what) in Amount::ALL.into_iter().enumerate() {
        let wanted: Scalar = containers.iter().chain([&executor]).map(|share| share[i]).sum();
        if wanted.is_zero() {
            continue;
        }
        let free = offer.free(what.name(), allows);
        if free < wanted {
            lacks.push(Lack::Amount { what, wanted, free });
        }
    }
    let wishes = match need.run_spec {
        RunSpec::App(app) => vec![ports::of_app(app)],
        RunSpec::Pod(pod) => ports::of_pod(pod),
    };
    let all: Vec<ports::Wish> = wishes.iter().flatten().copied().collect();
    let host_ports = if all.is_empty() {
        Vec::new()
    } else {
        ports::choose(&all, &ports::free(&offer.left, allows), rng).unwrap_or_else(|short| {
            lacks.push(Lack::Ports { wanted: short.wanted, free: short.free, missing: short.missing });
            Vec::new()
        })
    };
    if !lacks.is_empty() {
        return Err(Mismatch::new(lacks));
    }

    // Nearly every placement takes no disks, and then nothing can fail any more.
    let resident = need.run_spec.is_resident();
    let before = resident.then(|| offer.left.clone());
    let mut host_ports = host_ports.into_iter();
    let executor = take(&mut offer.left, &executor, allows);
    let parts = containers
        .iter()
        .zip(wishes)
        .map(|(share, wishes)| {
            let host_ports: Vec<Option<u16>> = host_ports.by_ref().take(wishes.len()).collect();
            let mut resources = take(&mut offer.left, share, allows);
            resources += ports::take(&mut offer.left, &host_ports, allows);
            Part { resources, host_ports }
        })
        .collect();
    let disks = match (resident, kept) {
        (false, _) => Vec::new(),
        (true, true) => kept_disks(&mut offer.left, need, terms),
        (true, false) => disks::take(&mut offer.left, need.run_spec, &mut lacks),
    };
    if kept && let Some(reservation) = &need.instance.reservation {
        // A volume that is not in the offer is still at work, or lost.
        if disks.len() < reservation.volumes.len() {
            lacks.push(Lack::Reservation { agent: None });
        }
    }
    if !lacks.is_empty() {
        offer.left = before.unwrap_or_default();
        return Err(Mismatch::new(lacks));
    }
    Ok(Taken { executor, parts, disks, to_reserve: resident && !kept })
}

/// Constraints, region and scarce things.
fn judge_place(offer: &Opened, need: &Need<'_>, terms: &Terms<'_>, lacks: &mut Vec<Lack>) {
    let refused = need.placed.judge(offer.agent());
    if !refused.is_empty() {
        lacks.push(Lack::Constraints(refused));
    }
    // Rule 122.
    if let (Some(own), Some(offered)) = (terms.region, offer.agent().region.as_deref())
        && own != offered
        && !need.run_spec.constraints().iter().any(|c| c.field == "@region" || c.field == "@zone")
    {
        lacks.push(Lack::Region { own: own.into(), offered: offered.into() });
    }
    // Rule 125.
    if restricts_gpus(need.run_spec, terms.config)
        && need.run_spec.resources().gpus == 0
        && !offer.free("gpus", |_| true).is_zero()
    {
        lacks.push(Lack::Scarce);
    }
}

fn restricts_gpus(run_spec: &RunSpec, config: &Config) -> bool {
    let labels: &BTreeMap<String, String> = match run_spec {
        RunSpec::App(app) => &app.labels,
        RunSpec::Pod(pod) => &pod.labels,
    };
    match labels.get("GPU_SCHEDULING_BEHAVIOR").map(|value| value.to_ascii_lowercase()).as_deref() {
        Some("unrestricted") => false,
        Some("restricted") => true,
        _ => config.restrict_gpus,
    }
}

/// Rule 124.
fn in_maintenance(offer: &v1::Offer, terms: &Terms<'_>) -> bool {
    let Some(window) = &offer.unavailability else { return false };
    let start = Timestamp::from_nanos(window.start.nanoseconds);
    let over = window.duration.as_ref().is_some_and(|duration| {
        let length = std::time::Duration::from_nanos(u64::try_from(duration.nanoseconds).unwrap_or(0));
        terms.now >= start + length
    });
    terms.now >= start - terms.config.draining && !over
}

/// Takes numbers that are known to be there, reserved ones first: they are of use to fewer.
fn take(left: &mut Resources, share: &Amounts, allows: impl Fn(&Resource) -> bool) -> Resources {
    let mut taken = Resources::empty();
    for (what, wanted) in Amount::ALL.into_iter().zip(share) {
        let mut missing = *wanted;
        for reserved in [true, false] {
            while !missing.is_zero() {
                let found = left.iter().find(|resource| {
                    resource.name().as_str() == what.name()
                        && resource.is_unreserved() != reserved
                        && allows(resource)
                });
                let Some((resource, amount)) = found.and_then(|found| Some((found, found.as_scalar()?)))
                else {
                    break;
                };
                let part = resource.clone().with_value(Value::Scalar(amount.min(missing)));
                missing = missing.saturating_sub(amount);
                left.subtract_one(&part);
                taken.add_one(&part);
            }
        }
    }
    taken
}

/// The volumes that an instance keeps, as far as they are in the offer.
fn kept_disks(left: &mut Resources, need: &Need<'_>, terms: &Terms<'_>) -> Vec<Disk> {
    let volumes = need.instance.reservation.iter().flat_map(|reservation| &reservation.volumes);
    let mut disks = Vec::new();
    for volume in volumes {
        let id = volume.to_string();
        let found = left.iter().find(|resource| {
            resource.persistence().is_some_and(|persistence| persistence.id == id)
                && reserved::keeper(resource, terms.framework) == Some(need.instance.id.as_str())
        });
        if let Some(resource) = found.cloned() {
            left.subtract_one(&resource);
            disks.push(Disk { container_path: volume.container_path.clone(), resource });
        }
    }
    disks
}
