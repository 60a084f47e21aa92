//! Service ports: numbers that belong to one service each.

use std::{collections::BTreeMap, ops::Range};

use mezzo_services_model::{App, RunSpec};

/// How many ports of services have each number; explicit ones may collide (rule 212).
pub(crate) type Used = BTreeMap<u16, u32>;

pub(crate) fn take(used: &mut Used, spec: &RunSpec) {
    let RunSpec::App(app) = spec else { return };
    for port in app.service_ports().filter(|port| *port != 0) {
        *used.entry(port).or_default() += 1;
    }
}

pub(crate) fn give_back(used: &mut Used, spec: &RunSpec) {
    let RunSpec::App(app) = spec else { return };
    for port in app.service_ports().filter(|port| *port != 0) {
        if let Some(count) = used.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                used.remove(&port);
            }
        }
    }
}

/// All numbers are in use (rule 213).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoneFree;

/// Gives numbers out in order; one per change of the tree, so that a change of many apps looks at each number once.
pub(crate) struct Free {
    next: u16,
    end: u16,
}

impl Free {
    pub(crate) fn new(range: &Range<u16>) -> Self {
        Self { next: range.start, end: range.end }
    }

    fn take(&mut self, used: &Used) -> Result<u16, NoneFree> {
        while self.next < self.end {
            let port = self.next;
            self.next += 1;
            if !used.contains_key(&port) {
                return Ok(port);
            }
        }
        Err(NoneFree)
    }
}

/// Whether a port waits for its number.
pub(crate) fn is_open(app: &App) -> bool {
    app.service_ports().any(|port| port == 0)
}

/// The app with a number for each port that had none (rule 210): those that its old definition had and this one has not
/// come first (rule 211). `used` holds the explicit numbers of this app, and gets the ones given.
pub(crate) fn assign(
    app: &mut App,
    old: Option<&App>,
    range: &Range<u16>,
    free: &mut Free,
    used: &mut Used,
) -> Result<(), NoneFree> {
    let own: Vec<u16> = app.service_ports().collect();
    let mut freed = old
        .into_iter()
        .flat_map(App::service_ports)
        .filter(|port| range.contains(port) && !own.contains(port) && !used.contains_key(port))
        .collect::<Vec<_>>()
        .into_iter();
    let definitions = app.port_definitions.iter_mut().map(|definition| &mut definition.port);
    let mappings = app.container.iter_mut().flat_map(|container| &mut container.port_mappings);
    for port in definitions.chain(mappings.map(|mapping| &mut mapping.service_port)) {
        if *port == 0 {
            *port = match freed.next() {
                Some(port) => port,
                None => free.take(used)?,
            };
            *used.entry(*port).or_default() += 1;
        }
    }
    Ok(())
}
