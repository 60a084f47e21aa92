//! Whether apps come after those that they depend on, in a change of several.

use std::collections::BTreeSet;

use mezzo_services_model::TaskId;

use crate::{
    services::{
        operator::Wanted,
        setup::{Quality, path_of},
    },
    world::World,
};

/// An app that waits for another one in the deployment that brings a new version of both.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// What is not to run yet.
    make: u32,
    /// The one that comes first.
    first: usize,
    wanted: Wanted,
    /// Instances of the first one that were well at some time.
    well: BTreeSet<TaskId>,
}

impl super::services::Services {
    /// Somebody asks for something else of these apps: what comes of it is no part of the deployment. With force that ends half
    /// way, and what is missing or too many of all its apps is set right without an order or bounds.
    pub(crate) fn forget_deployments(&mut self, touched: &BTreeSet<usize>, force: bool) {
        self.sequences.retain(|app, one| !touched.contains(app) && !touched.contains(&one.first));
        if force {
            self.watches.retain(|app, _| !touched.contains(app));
        }
    }
}

impl World<'_> {
    /// A change of several apps was accepted, this one among them.
    pub(crate) fn watch_sequence(&mut self, app: usize) {
        let Some(first) = self.app_setup(app).and_then(|setup| setup.after) else { return };
        let (Some(own), Some(wanted)) = (self.wanted_app(app), self.wanted_app(first)) else { return };
        // A make that runs already is not brought by it.
        let services = &mut self.checks.services;
        if services.running.values().any(|one| [own.make, wanted.make].contains(&one.serving.make)) {
            return;
        }
        let sequence = Sequence { make: own.make, first, wanted, well: BTreeSet::new() };
        services.sequences.insert(app, sequence);
    }

    /// Instances of an app that are well at this time are remembered by those that wait for them.
    pub(super) fn note_well(&mut self, path: &str) {
        let now = self.now;
        let services = &mut self.checks.services;
        for sequence in services.sequences.values_mut().filter(|one| path_of(one.first) == path) {
            let well = services.running.values().filter(|one| {
                one.serving.make == sequence.wanted.make && one.well_at.is_some_and(|at| at <= now)
            });
            sequence.well.extend(well.map(|one| one.serving.task.clone()));
        }
    }

    /// An instance begins to run: it is no part of something that has to wait.
    pub(super) fn check_sequence(&mut self, app: usize, task: &TaskId) {
        let Some(first) = self.checks.services.sequences.get(&app).map(|one| path_of(one.first)) else {
            return;
        };
        self.note_well(&first);
        let services = &self.checks.services;
        let Some(sequence) = services.sequences.get(&app) else { return };
        if services.running.get(task).is_none_or(|one| one.serving.make != sequence.make) {
            return;
        }
        // Where nothing takes instances away all are there at one time; else as many have been.
        let is_steady = matches!(sequence.wanted.quality, Quality::Good | Quality::Slow);
        let there = |task: &&TaskId| !(services.is_calm && is_steady) || services.running.contains_key(*task);
        let well = sequence.well.iter().filter(there).count();
        if well < sequence.wanted.instances as usize {
            let what = format!(
                "{} runs, and {well} of {} instances of {first} are well",
                task.as_str(),
                sequence.wanted.instances
            );
            self.violate("an app comes after those that it depends on", what);
        }
    }
}
