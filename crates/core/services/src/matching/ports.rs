//! Which ports an instance gets (rules 214 and 215).

use mezzo_resources::{Ranges, Resource, Resources, Value};
use mezzo_services_model::{App, Pod};
use rand_core::Rng;

/// What a port of a definition asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// No port on the agent.
    None,
    /// Any.
    Any,
    /// That one.
    Exactly(u16),
}

impl Wish {
    fn of(host_port: Option<u16>) -> Self {
        match host_port {
            None => Self::None,
            Some(0) => Self::Any,
            Some(port) => Self::Exactly(port),
        }
    }
}

/// In the order of the definition.
pub(super) fn of_app(app: &App) -> Vec<Wish> {
    if app.is_on_host_network() {
        let wish = |port| if app.require_ports { Wish::of(Some(port)) } else { Wish::Any };
        return app.port_definitions.iter().map(|definition| wish(definition.port)).collect();
    }
    let mappings = app.container.iter().flat_map(|container| &container.port_mappings);
    mappings.map(|mapping| Wish::of(mapping.host_port)).collect()
}

/// By container, each in the order of the definition.
pub(super) fn of_pod(pod: &Pod) -> Vec<Vec<Wish>> {
    let of = |endpoints: &[mezzo_services_model::Endpoint]| {
        endpoints.iter().map(|endpoint| Wish::of(endpoint.host_port)).collect()
    };
    pod.containers.iter().map(|container| of(&container.endpoints)).collect()
}

/// There are too few ports, or not those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Short {
    pub(super) wanted: usize,
    pub(super) free: u64,
    pub(super) missing: Vec<u16>,
}

/// Chooses ports for all wishes. Any ports are consecutive from a random one on, so that an instance that comes back seldom
/// gets the port on which its clients have seen another, and choosing costs little.
pub(super) fn choose(wishes: &[Wish], free: &Ranges, rng: &mut dyn Rng) -> Result<Vec<Option<u16>>, Short> {
    let wanted = wishes.iter().filter(|wish| **wish != Wish::None).count();
    if wanted == 0 {
        return Ok(vec![None; wishes.len()]);
    }
    let mut fixed: Vec<(u64, u64)> = Vec::new();
    let mut missing = Vec::new();
    for wish in wishes {
        if let Wish::Exactly(port) = *wish {
            let one = (u64::from(port), u64::from(port));
            if fixed.contains(&one) || !free.contains(&Ranges::merged([one])) {
                missing.push(port);
            }
            fixed.push(one);
        }
    }
    let short = |missing| Short { wanted, free: free.count(), missing };
    if !missing.is_empty() {
        return Err(short(missing));
    }
    let any = (wanted - fixed.len()) as u64;
    let open = if fixed.is_empty() { free.clone() } else { free.minus(&Ranges::merged(fixed)) };
    let count = open.count();
    if any > count {
        return Err(short(Vec::new()));
    }
    let start = if any == 0 { 0 } else { rng.next_u64() % count };
    let mut next = 0;
    wishes
        .iter()
        .map(|wish| match wish {
            Wish::None => Ok(None),
            Wish::Exactly(port) => Ok(Some(*port)),
            Wish::Any => {
                let port = nth(&open, (start + next) % count);
                next += 1;
                // An agent that offers numbers above 65535 offers no ports there.
                port.and_then(|port| u16::try_from(port).ok()).map(Some).ok_or_else(|| short(Vec::new()))
            }
        })
        .collect()
}

fn nth(ranges: &Ranges, mut index: u64) -> Option<u64> {
    for (begin, end) in ranges.iter() {
        let count = end - begin + 1;
        if index < count {
            return Some(begin + index);
        }
        index -= count;
    }
    None
}

/// The ports that `usable` resources have.
pub(super) fn free(left: &Resources, usable: impl Fn(&Resource) -> bool) -> Ranges {
    let mut all = Ranges::default();
    for resource in left.iter().filter(|resource| resource.name().as_str() == "ports" && usable(resource)) {
        if let Value::Ranges(ranges) = resource.value() {
            all = if all.is_empty() { ranges.clone() } else { all.union(ranges) };
        }
    }
    all
}

/// Takes chosen ports out of `left`, wherever they are reserved.
pub(super) fn take(
    left: &mut Resources,
    ports: &[Option<u16>],
    usable: impl Fn(&Resource) -> bool,
) -> Resources {
    let mut wanted = Ranges::merged(ports.iter().flatten().map(|port| (u64::from(*port), u64::from(*port))));
    let mut taken = Resources::empty();
    while !wanted.is_empty() {
        let found = left.iter().find_map(|resource| {
            let Value::Ranges(ranges) = resource.value() else { return None };
            if resource.name().as_str() != "ports" || !usable(resource) {
                return None;
            }
            let common = ranges.intersection(&wanted);
            (!common.is_empty()).then(|| (resource.clone().with_value(Value::Ranges(common.clone())), common))
        });
        let Some((part, common)) = found else { break };
        left.subtract_one(&part);
        taken.add_one(&part);
        wanted = wanted.minus(&common);
    }
    taken
}
