//! Where the instances of a plan would go: the plan is played on what agents have, with the matching that places instances.
//!
//! A forecast, not a promise: other frameworks take resources meanwhile, and the master decides who is offered what.

use std::{collections::BTreeMap, sync::Arc};

use mezzo_mesos::v1;
use mezzo_resources::{InvalidResource, Resources};
use mezzo_services_model::{
    ActionKind, App, Condition, Goal, Instance, InstanceId, NoPlace, Outlook, PathId, Plan, RunSpec,
};
use mezzo_time::Timestamp;
use rand_core::Rng;

use crate::{
    Config, Snapshot,
    matching::{Need, Opened, Placed, Terms, fit},
    upgrade::Bounds,
};

/// Of how many agents it is told why an instance finds no place there.
const LACKS_MAX: usize = 64;
/// Trials for a smaller amount: each halves what is left of 32 bits.
const HALVINGS_MAX: u32 = 32;

/// An agent as the master knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// All that it has, in the form of an offer.
    pub offer: v1::Offer,
    /// What of it is used.
    pub used: Vec<v1::Resource>,
}

/// What the plan does to each service, in the order of its steps. `region` is the master's.
pub fn outlook(
    snapshot: &Snapshot,
    config: &Config,
    plan: &Plan,
    agents: Vec<Known>,
    region: Option<&str>,
    now: Timestamp,
    rng: &mut dyn Rng,
) -> Result<Vec<Outlook>, InvalidResource> {
    let agents = agents.into_iter().map(free_of).collect::<Result<_, _>>()?;
    let framework = v1::FrameworkId { value: snapshot.framework.clone().unwrap_or_default() };
    let mut play = Play { snapshot, config, plan, framework, region, now, agents };
    let mut all: BTreeMap<PathId, Outlook> = BTreeMap::new();
    let mut order = Vec::new();
    for action in plan.steps.iter().flat_map(|step| &step.actions) {
        let found = play.action(&action.run_spec, action.kind, rng);
        if !all.contains_key(&action.run_spec) {
            order.push(action.run_spec.clone());
        }
        // The last action of a service is the one that starts something.
        all.insert(action.run_spec.clone(), found);
    }
    Ok(order.into_iter().filter_map(|path| all.remove(&path)).collect())
}

struct Play<'a> {
    snapshot: &'a Snapshot,
    config: &'a Config,
    plan: &'a Plan,
    framework: v1::FrameworkId,
    region: Option<&'a str>,
    now: Timestamp,
    agents: Vec<Opened>,
}

/// What is left of an agent.
fn free_of(agent: Known) -> Result<Opened, InvalidResource> {
    let mut opened = Opened::new(Arc::new(agent.offer))?;
    // What is used says for whom, what there is does not.
    let used = agent.used.into_iter().map(|resource| v1::Resource { allocation_info: None, ..resource });
    opened.take_away(&Resources::from_proto(&used.collect::<Vec<_>>())?);
    Ok(opened)
}

/// How many were placed where, and what the first one lacks that was not.
#[derive(Default)]
struct Placing {
    places: BTreeMap<String, u32>,
    placed: u32,
    lacks: Vec<NoPlace>,
}

impl Play<'_> {
    fn instances(&self, path: &PathId) -> Vec<Arc<Instance>> {
        let all = self.snapshot.instances.get(path).into_iter().flat_map(|all| all.values());
        all.filter(|one| one.goal == Goal::Running && one.condition != Condition::UnreachableInactive)
            .cloned()
            .collect()
    }

    fn action(&mut self, path: &PathId, kind: ActionKind, rng: &mut dyn Rng) -> Outlook {
        let there = self.instances(path);
        let count = u32::try_from(there.len()).unwrap_or(u32::MAX);
        let spec = self.plan.target.run_spec(path);
        let mut outlook = Outlook {
            run_spec: path.clone(),
            starts: 0,
            stops: 0,
            places: BTreeMap::new(),
            waiting: 0,
            lacks: Vec::new(),
            missing_secrets: spec
                .as_ref()
                .map(|spec| self.snapshot.missing_secrets(spec))
                .unwrap_or_default(),
            changes: Vec::new(),
        };
        match (kind, spec) {
            (ActionKind::Scale { to }, Some(spec)) if to > count => {
                outlook.starts = to - count;
                let before = self.agents.clone();
                let placing = self.place(&spec, outlook.starts, rng);
                self.told(&mut outlook, placing, &spec, &before, rng);
            }
            (ActionKind::Scale { to }, Some(_)) => {
                // Which of them go is decided when they go.
                outlook.stops = count - to;
            }
            (ActionKind::Stop, _) => {
                outlook.stops = count;
                self.free(&there);
            }
            (ActionKind::Restart, Some(spec)) => self.replace(&mut outlook, &spec, &there, rng),
            _ => {}
        }
        outlook
    }

    /// As many new ones as there is room for beside the old ones; then the old ones make room for the rest.
    fn replace(&mut self, outlook: &mut Outlook, spec: &RunSpec, there: &[Arc<Instance>], rng: &mut dyn Rng) {
        let since = spec.version_info().last_config_change_at;
        let old: Vec<Arc<Instance>> = there.iter().filter(|one| one.version < since).cloned().collect();
        let size = |all: &[Arc<Instance>]| u32::try_from(all.len()).unwrap_or(u32::MAX);
        let kept = size(there) - size(&old);
        outlook.stops = size(&old);
        outlook.starts = spec.instances().saturating_sub(kept);
        let bounds = Bounds::of(spec, size(there));
        let beside = bounds.max.saturating_sub(size(there)).min(outlook.starts);
        let before = self.agents.clone();
        let first = self.place(spec, beside, rng);
        if first.placed == 0 && size(there) <= bounds.min && outlook.starts > 0 {
            // None may go before one has come.
            return self.told(outlook, first, spec, &before, rng);
        }
        // Smaller ones would find what the old ones leave.
        self.free(&old);
        let after = std::mem::replace(&mut self.agents, before);
        self.free(&old);
        let before = std::mem::replace(&mut self.agents, after);
        let mut rest = self.place(spec, outlook.starts - first.placed, rng);
        for (host, count) in first.places {
            *rest.places.entry(host).or_default() += count;
        }
        rest.placed += first.placed;
        self.told(outlook, rest, spec, &before, rng);
    }

    fn told(
        &mut self,
        outlook: &mut Outlook,
        placing: Placing,
        spec: &RunSpec,
        before: &[Opened],
        rng: &mut dyn Rng,
    ) {
        outlook.waiting = outlook.starts - placing.placed;
        outlook.places = placing.places;
        if outlook.waiting > 0 {
            outlook.lacks = placing.lacks;
            outlook.changes = self.changes(spec, outlook, before, rng);
        }
    }

    /// What of one kind would have to be asked for so that all find a place.
    fn changes(
        &mut self,
        spec: &RunSpec,
        outlook: &Outlook,
        before: &[Opened],
        rng: &mut dyn Rng,
    ) -> Vec<String> {
        let mut changes = Vec::new();
        let placed = outlook.starts - outlook.waiting;
        let there = spec.instances().saturating_sub(outlook.starts);
        if placed + there > 0 {
            changes.push(format!("instances {}", placed + there));
        }
        let RunSpec::App(app) = spec else { return changes };
        let after = self.agents.clone();
        type Set = fn(&mut App, u32);
        let kinds: [(&str, f64, f64, Set); 2] = [
            ("cpus", app.resources.cpus, 1_000.0, |app, parts| {
                app.resources.cpus = f64::from(parts) / 1_000.0
            }),
            ("mem", app.resources.mem, 1.0, |app, parts| app.resources.mem = f64::from(parts)),
        ];
        for (name, wanted, parts, set) in kinds {
            let (mut fits, mut too_much) = (0, (wanted * parts).min(f64::from(u32::MAX)) as u32);
            for _ in 0..HALVINGS_MAX {
                let middle = fits + (too_much - fits) / 2;
                if middle == fits {
                    break;
                }
                let mut less = (**app).clone();
                set(&mut less, middle);
                self.agents = before.to_vec();
                let placing = self.place(&RunSpec::App(less.into()), outlook.starts, rng);
                if placing.placed == outlook.starts { fits = middle } else { too_much = middle }
            }
            if fits > 0 {
                changes.push(format!("{name} {}", f64::from(fits) / parts));
            }
        }
        self.agents = after;
        changes
    }

    /// Places instances in rounds over all agents, a few on each as the machine does it.
    fn place(&mut self, spec: &RunSpec, wanted: u32, rng: &mut dyn Rng) -> Placing {
        let terms =
            Terms { config: self.config, framework: &self.framework, region: self.region, now: self.now };
        let instance = waiting(spec, self.now);
        let others = self.instances(spec.id());
        let mut placed = Placed::of(spec, others.iter().map(Arc::as_ref));
        let top = spec.id().segments().next().map(|name| PathId::root().child(name));
        let top = top.and_then(|top| self.plan.target.groups.get(&top));
        let enforce_role = top.is_some_and(|group| group.enforce_role);
        let mut placing = Placing::default();
        loop {
            let before = placing.placed;
            placing.lacks.clear();
            for offer in &mut self.agents {
                offer.set_role(spec.role());
                for _ in 0..self.config.instances_per_offer {
                    if placing.placed == wanted {
                        placing.lacks.clear();
                        return placing;
                    }
                    let need = Need { run_spec: spec, instance: &instance, placed: &placed, enforce_role };
                    match fit(offer, &need, &terms, rng) {
                        Ok(_) => {
                            placing.placed += 1;
                            *placing.places.entry(offer.agent().host.clone()).or_default() += 1;
                            placed.add(offer.agent());
                        }
                        Err(mismatch) => {
                            if placing.lacks.len() < LACKS_MAX {
                                let (host, why) = (offer.agent().host.clone(), mismatch.to_string());
                                placing.lacks.push(NoPlace { host, why });
                            }
                            break;
                        }
                    }
                }
            }
            if placing.placed == before {
                return placing;
            }
        }
    }

    /// What instances hold is free again.
    fn free(&mut self, instances: &[Arc<Instance>]) {
        for instance in instances.iter().filter(|one| one.condition.is_active()) {
            let kept = self.snapshot.versions.get(&instance.run_spec);
            let spec = kept.and_then(|versions| versions.get(&instance.version));
            let (Some(spec), Some(agent)) = (spec, &instance.agent) else { continue };
            let ports = instance.tasks.values().flat_map(|task| task.host_ports.iter().copied());
            if let Some(offer) = self.agents.iter_mut().find(|offer| offer.agent().id == agent.id) {
                offer.give_back(&spec.resources(), ports);
            }
        }
    }
}

/// One that waits for its first launch.
fn waiting(spec: &RunSpec, now: Timestamp) -> Instance {
    Instance {
        id: InstanceId::new(spec.id(), "0"),
        run_spec: spec.id().clone(),
        version: spec.version(),
        goal: Goal::Running,
        condition: Condition::Scheduled,
        since: now,
        active_since: None,
        healthy: None,
        agent: None,
        tasks: BTreeMap::new(),
        incarnation: 0,
        reservation: None,
        role: spec.role().clone(),
    }
}
