//! Lines of the event log that tell what schedulers want and why they wait for it.

use std::collections::BTreeMap;

use mezzo_ids::FrameworkId;

use crate::world::World;

/// Tasks named in one line.
const TASKS_TOLD: usize = 8;

impl World<'_> {
    /// A scheduler began to want these of its plans.
    pub(crate) fn log_wanted(&mut self, scheduler: usize, plans: std::ops::Range<usize>) {
        if !self.is_logging {
            return;
        }
        for plan in plans {
            let needs = self.setup.frameworks[scheduler].tasks[plan].needs;
            let needs: Vec<String> = needs.named().map(|(name, amount)| format!("{name}:{amount}")).collect();
            self.log(|| format!("scheduler {scheduler} wants t{scheduler}-{plan} {}", needs.join(";")));
        }
    }

    /// For each scheduler with tasks that wait: what the allocator says about it.
    pub(crate) fn log_waiting(&mut self) {
        if !self.is_logging {
            return;
        }
        for scheduler in 0..self.schedulers.len() {
            let state = &self.schedulers[scheduler];
            if state.waiting() == 0 || state.is_over {
                continue;
            }
            let (count, tasks) = (state.waiting(), state.waiting_for(TASKS_TOLD).join(" "));
            let more = if count > TASKS_TOLD { " .." } else { "" };
            let reasons = self.reasons(scheduler);
            self.log(|| format!("scheduler {scheduler} waits with {count} tasks ({tasks}{more}): {reasons}"));
        }
    }

    fn reasons(&self, scheduler: usize) -> String {
        let state = &self.schedulers[scheduler];
        let Some(core) = &self.master.core else { return "the master is down".into() };
        let (true, Some(id)) = (state.is_subscribed, &state.framework_id) else {
            return "its scheduler is not subscribed".into();
        };
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut agents = 0;
        for withheld in core.why(&FrameworkId::from(id.value.as_str())) {
            if withheld.agent.is_some() {
                agents += 1;
            }
            *counts.entry(format!("role {}: {}", withheld.role, withheld.reason)).or_default() +=
                usize::from(withheld.agent.is_some());
        }
        let mut reasons: Vec<String> = counts
            .into_iter()
            .map(|(reason, agents)| if agents == 0 { reason } else { format!("{reason} ({agents} agents)") })
            .collect();
        if agents < self.agents.len() {
            reasons.push(format!("{} agents are offered, or held by others", self.agents.len() - agents));
        }
        reasons.join("; ")
    }
}
