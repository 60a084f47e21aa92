//! Whether instances are where the constraint of their app lets them be.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_mesos::v1::{TaskState, TaskStatus};
use mezzo_services_model::TaskId;

use crate::{
    services::{
        operator::Wanted,
        setup::{Placement, path_of},
    },
    world::World,
};

/// What places are judged by, beside where instances run.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Tasks that the services were told to be away or over: these are not counted any more, although one may come back
    /// (rule 108).
    given_up: BTreeSet<String>,
    /// Makes of which one ran on when the services were told so: it may be counted again, and draw others to its host.
    torn: BTreeSet<u32>,
    /// Makes of which instances may have been replaced by others of the same: only equal versions are compared (rule 107).
    again: BTreeSet<u32>,
    /// The most instances that were ever wanted of a make.
    most: BTreeMap<u32, u32>,
}

impl Places {
    /// The most instances that were ever wanted of a make.
    pub(super) fn most_of(&self, make: u32) -> u32 {
        self.most.get(&make).copied().unwrap_or(0)
    }
}

impl super::services::Services {
    /// The services hear of a task.
    pub(super) fn on_heard(&mut self, status: &TaskStatus) {
        use TaskState as State;
        let there = [State::TaskStaging, State::TaskStarting, State::TaskRunning, State::TaskKilling];
        if !there.contains(&status.state()) {
            let running = self.running.values().find(|one| one.serving.task.as_str() == status.task_id.value);
            self.places.torn.extend(running.map(|one| one.serving.make));
            self.places.given_up.insert(status.task_id.value.clone());
        }
    }

    /// Somebody asks for something that may replace instances of a make by others of it.
    pub(crate) fn note_again(&mut self, wanted: Option<Wanted>) {
        self.places.again.extend(wanted.map(|wanted| wanted.make));
    }

    /// Somebody asks for so many instances.
    pub(crate) fn note_asked(&mut self, wanted: Option<Wanted>) {
        let Some(wanted) = wanted else { return };
        let most = self.places.most.entry(wanted.make).or_default();
        *most = wanted.instances.max(*most);
    }
}

impl World<'_> {
    /// An instance begins to run: those of its make and generation that are counted with it are where they may be.
    pub(super) fn check_place(&mut self, app: usize, task: &TaskId) {
        let Some(placement) = self.app_setup(app).and_then(|app| app.placement) else { return };
        let services = &self.checks.services;
        let Some(own) = services.running.get(task) else { return };
        if services.places.given_up.contains(task.as_str()) {
            return;
        }
        let make = own.serving.make;
        let is_torn = services.places.torn.contains(&make);
        let once = !services.places.again.contains(&make);
        let path = path_of(app);
        let counted = services.of_app(&path).filter(|one| {
            one.serving.make == make
                && (once || one.serving.version == own.serving.version)
                && !services.places.given_up.contains(one.serving.task.as_str())
        });
        let mut on_host: BTreeMap<usize, u32> = BTreeMap::new();
        counted.for_each(|one| *on_host.entry(one.agent).or_default() += 1);
        let here = on_host.get(&own.agent).copied().unwrap_or(0);
        let is_right = match placement {
            Placement::Unique => here == 1,
            Placement::Cluster => is_torn || on_host.len() == 1,
            Placement::MaxPer(most) => here <= most,
            Placement::GroupBy(hosts) => {
                let most = services.places.most_of(make).div_ceil(hosts);
                here <= most && (is_torn || on_host.len() <= hosts as usize)
            }
        };
        if !is_right {
            let what = format!("{} on agent {}: {on_host:?} of {placement:?}", task.as_str(), own.agent);
            self.violate("instances are where their constraint lets them be", what);
        }
    }
}
