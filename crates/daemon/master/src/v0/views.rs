//! A snapshot as the views that the v0 writers take, gathered in one pass over agents and tasks.

use std::collections::{BTreeMap, BTreeSet};

use mezzo_ids::{FrameworkId, Role};
use mezzo_master::state::{Agent, Framework, Snapshot};
use mezzo_mesos::v1;
use mezzo_mesos_v0::{
    AgentView, ExecutorView, FrameworkView, OfferView, TaskCounts, Writer, names, write_agent, write_task,
};
use mezzo_resources::Resources;
use mezzo_time::Timestamp;

use crate::{
    giving_way::giving_way,
    written::{Group, Pen, Sheet, Sheets},
};

/// Seconds as Mesos prints them: to the microsecond.
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.as_nanos().saturating_add(500).div_euclid(1000) as f64 / 1e6
}

/// What an agent's view borrows.
pub(super) struct AgentParts<'a> {
    agent: &'a Agent,
    pid: String,
    used: Resources,
    reservations: BTreeMap<Role, Resources>,
    unreserved: Resources,
}

impl<'a> AgentParts<'a> {
    pub(super) fn new(agent: &'a Agent) -> Self {
        let mut used = Resources::empty();
        for resources in agent.used.values() {
            used += &**resources;
        }
        Self {
            agent,
            pid: format!("{}@{}:{}", names::AGENT_PROCESS, agent.ip, agent.port),
            used,
            reservations: agent.total.reservations(),
            unreserved: agent.total.unreserved(),
        }
    }

    /// Reserved resources by role, to be lent to [`AgentParts::view`].
    pub(super) fn reserved(&self) -> Vec<(&str, &Resources)> {
        self.reservations.iter().map(|(role, resources)| (role.as_str(), resources)).collect()
    }

    pub(super) fn view<'v>(&'v self, reserved: &'v [(&'v str, &'v Resources)]) -> AgentView<'v> {
        let agent = self.agent;
        AgentView {
            info: &agent.info,
            pid: &self.pid,
            registered: seconds(agent.registered),
            reregistered: agent.reregistered.map(seconds),
            total: &agent.total,
            used: &self.used,
            offered: &agent.offered,
            reserved,
            unreserved: &self.unreserved,
            active: agent.active,
            deactivated: agent.deactivated,
            version: &agent.version,
            capabilities: &agent.capabilities,
            drain: agent.drain.as_ref(),
            drain_started: agent.drain_started.map(|at| at.as_nanos().div_euclid(1_000_000_000) as f64),
        }
    }
}

/// Views of many agents, over parts and their reservations.
pub(super) fn agent_views<'v>(
    parts: &'v [AgentParts<'_>],
    reserved: &'v [Vec<(&'v str, &'v Resources)>],
) -> Vec<AgentView<'v>> {
    parts.iter().zip(reserved).map(|(parts, reserved)| parts.view(reserved)).collect()
}

/// What a framework's view borrows.
pub(super) struct FrameworkParts<'a> {
    framework: &'a Framework,
    used: Resources,
    offered: Resources,
    total: Resources,
    tasks: Vec<&'a v1::Task>,
    /// Instead of `tasks`, when there are sheets for them.
    groups: Vec<(&'a Agent, &'a Group)>,
    unreachable: Vec<&'a v1::Task>,
    completed: Vec<&'a v1::Task>,
    offers: Vec<OfferView<'a>>,
    executors: Vec<ExecutorView<'a>>,
}

impl<'a> FrameworkParts<'a> {
    fn new(framework: &'a Framework) -> Self {
        Self {
            framework,
            used: Resources::empty(),
            offered: Resources::empty(),
            total: Resources::empty(),
            tasks: Vec::new(),
            groups: Vec::new(),
            unreachable: framework.unreachable_tasks.iter().map(|task| &task.info).collect(),
            completed: framework.completed_tasks.iter().map(|task| &task.info).collect(),
            offers: Vec::new(),
            executors: Vec::new(),
        }
    }

    pub(super) fn view(&self) -> FrameworkView<'_> {
        let framework = self.framework;
        FrameworkView {
            info: &framework.info,
            pid: None,
            used: &self.used,
            offered: &self.offered,
            total: &self.total,
            active: framework.active,
            connected: framework.stream.is_some(),
            recovered: framework.recovered,
            registered: seconds(framework.registered),
            reregistered: framework.reregistered.map(seconds),
            unregistered: framework.unregistered.map(seconds),
            tasks: &self.tasks,
            more_tasks: None,
            unreachable_tasks: &self.unreachable,
            completed_tasks: &self.completed,
            offers: &self.offers,
            executors: &self.executors,
            constraints: framework.constraints.as_deref(),
        }
    }

    /// Writes its tasks from what was written before, where there is something.
    pub(super) fn write_tasks(&self, w: &mut Writer<'_>, sheets: &Sheets) {
        for (agent, group) in giving_way(&self.groups) {
            match group.tasks.get() {
                Some(written) => w.raw(written),
                None => {
                    let piece = w.piece(|w| write_group(w, agent, group));
                    sheets.keep(&group.tasks, piece);
                }
            }
            w.pause();
        }
    }

    /// Every task of the framework that the master knows, if they were not left to sheets.
    pub(super) fn all_tasks(&self) -> impl Iterator<Item = &'a v1::Task> {
        self.tasks.iter().chain(&self.unreachable).chain(&self.completed).copied()
    }

    /// Its tasks by state, and the agents they are on.
    pub(super) fn summary(&self) -> (TaskCounts, Vec<&'a str>) {
        let (mut counts, mut agents) = (TaskCounts::default(), BTreeSet::new());
        for task in self.all_tasks() {
            counts.add(task.state);
            agents.insert(task.agent_id.value.as_str());
        }
        (counts, agents.into_iter().collect())
    }
}

/// Writes registered agents, each as [`write_agent`] does, from what was written before where there is
/// something.
pub(super) fn write_agents(w: &mut Writer<'_>, snapshot: &Snapshot, sheets: &Sheets) {
    for (agent, sheet) in sheets.agents(snapshot) {
        let slot = &sheet.own().agent;
        match slot.get() {
            Some(written) => w.raw(written),
            None => {
                let piece = w.piece(|w| write_parts(w, agent));
                sheets.keep(slot, piece);
            }
        }
        w.pause();
    }
}

fn write_group(w: &mut Writer<'_>, agent: &Agent, group: &Group) {
    group.tasks_of(agent).for_each(|task| write_task(w, &task.info));
}

fn write_parts(w: &mut Writer<'_>, agent: &Agent) {
    let parts = AgentParts::new(agent);
    write_agent(w, &parts.view(&parts.reserved()));
}

/// Fills the sheet of an agent with all that [`FrameworkParts::write_tasks`] and [`write_agents`] need of it.
pub(super) fn fill(agent: &Agent, sheet: &Sheet, pen: &mut Pen<'_>) {
    let written = |buffer: &mut Vec<u8>, write: &dyn Fn(&mut Writer<'_>)| {
        let mut writer = Writer::appending(std::mem::take(buffer));
        write(&mut writer);
        *buffer = writer.finish();
    };
    for group in sheet.groups() {
        pen.fill(&group.tasks, |buffer| written(buffer, &|w| write_group(w, agent, group)));
    }
    pen.fill(&sheet.own().agent, |buffer| written(buffer, &|w| write_parts(w, agent)));
}

/// Registered frameworks and then completed ones, oldest first; only the one of this id if there is one.
/// With sheets, the tasks of registered ones are left to [`FrameworkParts::write_tasks`].
pub(super) fn framework_parts<'a>(
    snapshot: &'a Snapshot,
    only: Option<&str>,
    sheets: Option<&'a Sheets>,
) -> (Vec<FrameworkParts<'a>>, Vec<FrameworkParts<'a>>) {
    let wanted = |id: &str| only.is_none_or(|only| only == id);
    let mut registered: BTreeMap<&FrameworkId, FrameworkParts<'a>> = snapshot
        .frameworks
        .iter()
        .filter(|(id, _)| wanted(id))
        .map(|(id, framework)| (id, FrameworkParts::new(framework)))
        .collect();
    for (agent_id, agent) in giving_way(&snapshot.agents) {
        for (id, used) in &agent.used {
            if let Some(parts) = registered.get_mut(id) {
                parts.used += &**used;
            }
        }
        for offer in agent.offers.values() {
            let Some(parts) = registered.get_mut(&offer.framework) else { continue };
            parts.offered += &offer.resources;
            parts.offers.push(OfferView {
                id: &offer.id,
                framework: &offer.framework,
                role: &offer.role,
                agent: &offer.agent,
                resources: &offer.resources,
            });
        }
        for ((id, _), executor) in &agent.executors {
            if let Some(parts) = registered.get_mut(id) {
                parts.executors.push(ExecutorView { info: Some(executor), agent: agent_id });
            }
        }
        if sheets.is_some() {
            continue;
        }
        // Tasks come grouped by framework, so the framework is looked up once per group.
        let mut tasks = agent.tasks.iter().peekable();
        while let Some(((id, _), first)) = tasks.next() {
            let group = std::iter::once(first).chain(std::iter::from_fn(|| {
                tasks.next_if(|((other, _), _)| other == id).map(|(_, task)| task)
            }));
            match registered.get_mut(id) {
                Some(parts) => parts.tasks.extend(group.map(|task| &task.info)),
                None => group.for_each(drop),
            }
        }
    }
    for (agent, sheet) in sheets.iter().flat_map(|sheets| sheets.agents(snapshot)) {
        for group in sheet.groups() {
            if let Some(parts) = registered.get_mut(&group.framework) {
                parts.groups.push((agent, group));
            }
        }
    }
    for parts in registered.values_mut() {
        parts.total += &parts.used;
        parts.total += &parts.offered;
    }
    let completed = snapshot
        .completed_frameworks
        .iter()
        .filter(|framework| framework.info.id.as_ref().is_some_and(|id| wanted(&id.value)));
    (registered.into_values().collect(), completed.map(|framework| FrameworkParts::new(framework)).collect())
}
