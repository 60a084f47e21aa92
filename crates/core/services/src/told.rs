//! What the master is told of constraints, so that it offers less that would be declined (rule 123).

use std::{collections::BTreeMap, sync::Arc};

use mezzo_mesos::v1::scheduler::{
    OfferConstraints,
    call::{Type, UpdateFramework},
};
use mezzo_services_model::RunSpec;
use mezzo_time::Timestamp;

use crate::{
    matching::{Placed, Waiting, offer_constraints},
    services::{Moment, Services},
    timers::Timer,
};

/// Waiting instances of one service that are looked at for what they will run: few definitions wait at a time.
const LOOKED_AT_MAX: usize = 1_000;

/// What was said last, and whether it may be wrong by now.
#[derive(Debug, Default)]
pub(crate) struct Told {
    constraints: Option<OfferConstraints>,
    at: Option<Timestamp>,
    is_stale: bool,
}

impl Told {
    /// Nothing that was said counts any more: the master is another one, or may not have heard.
    pub(crate) fn forget(&mut self) {
        *self = Self { constraints: None, at: self.at, is_stale: true };
    }
}

impl Services {
    /// Tells the master when constraints have changed, at most once per interval.
    pub(crate) fn tell_constraints(&mut self, m: &Moment<'_>) {
        let Some(interval) = self.config.offer_constraints else { return };
        // Whatever changes who waits, for what, or where others are, is written down or shown.
        self.told.is_stale |=
            !self.records.is_empty() || !self.dirty.is_empty() || !self.queue.dirty.is_empty();
        if !self.connected || !self.told.is_stale {
            return;
        }
        if let Some(earliest) = self.told.at.map(|at| at + interval).filter(|earliest| *earliest > m.now) {
            return self.timers.ensure(Timer::Constraints, earliest);
        }
        self.told.is_stale = false;
        let constraints = self.wanted_constraints();
        if self.told.constraints.as_ref() == Some(&constraints) {
            return;
        }
        self.told.constraints = Some(constraints.clone());
        self.told.at = Some(m.now);
        let suppressed_roles = self.suppressed_roles();
        self.call(Type::UpdateFramework, |call| {
            call.update_framework = Some(Box::new(UpdateFramework {
                // Whoever sends it knows the rest of what we tell of ourselves.
                framework_info: Default::default(),
                suppressed_roles,
                offer_constraints: Some(constraints),
            }));
        });
    }

    fn wanted_constraints(&self) -> OfferConstraints {
        let mut waiting: Vec<(String, RunSpec, Placed, bool)> = Vec::new();
        for (path, role, ids) in self.open_queue() {
            let keeps = ids.last().is_some_and(|(is_kept, _)| *is_kept);
            let known = ids.iter().take(LOOKED_AT_MAX).filter_map(|(_, id)| self.instance(id));
            let specs: BTreeMap<Timestamp, RunSpec> = known
                .filter_map(|known| self.launched_as(known))
                .map(|spec| (spec.version(), spec))
                .collect();
            for spec in specs.into_values() {
                let placed = Placed::of(&spec, self.instances(path).map(Arc::as_ref));
                waiting.push((role.to_owned(), spec, placed, keeps));
            }
        }
        let waiting = waiting.iter().map(|(role, run_spec, placed, keeps)| Waiting {
            role,
            run_spec,
            placed,
            keeps: *keeps,
        });
        let mut constraints = offer_constraints(waiting);
        // What is to be given up lies on agents that nothing else may want.
        constraints.role_constraints.retain(|role, _| !self.is_releasing(role));
        constraints
    }
}
