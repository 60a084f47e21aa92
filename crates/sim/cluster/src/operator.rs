//! What an operator does: drains machines, gives some up, ends frameworks; and asks again until the master has heard.

use mezzo_mesos::v1::master::{Call, call};

use crate::{
    event::Event,
    queue::Nanos,
    world::{MILLI, World, nanos},
};

/// Between two attempts of an operator.
const AGAIN: Nanos = MILLI * 1000;
/// How long an operator waits for a machine to become empty. It never does when a framework acknowledges
/// nothing: its tasks are over, and the master may not forget them (rule 264).
const PATIENCE: Nanos = 120 * AGAIN;

/// An agent that was given up.
#[derive(Debug)]
pub(crate) struct Departing {
    id: mezzo_ids::AgentId,
    /// Whether its machine is another agent by now.
    is_wiped: bool,
}

impl World<'_> {
    /// The id that the master has given an agent, as the agent knows it.
    fn id_of(&self, agent: usize) -> Option<mezzo_mesos::v1::AgentId> {
        let id = self.agents[agent].core.as_ref()?.state().id.clone()?;
        Some(mezzo_mesos::v1::AgentId { value: id.to_string() })
    }

    pub(crate) fn drain(&mut self, agent: usize, number: u32, until: Nanos) -> bool {
        let Some(agent_id) = self.id_of(agent).filter(|_| self.master.core.is_some()) else { return false };
        let drain = call::DrainAgent { agent_id, ..Default::default() };
        let kind = call::Type::DrainAgent as i32;
        self.operate(Call { r#type: Some(kind), drain_agent: Some(drain), ..Default::default() });
        self.queue.push(until, Event::FaultOver(number));
        true
    }

    pub(crate) fn give_up(&mut self, agent: usize, number: u32, until: Nanos) -> bool {
        let Some(agent_id) = self.id_of(agent).filter(|_| self.master.core.is_some()) else { return false };
        self.checks.on_gone(agent);
        let id = mezzo_ids::AgentId::from(agent_id.value.as_str());
        self.departing.insert(number as usize, Departing { id, is_wiped: false });
        self.mark_gone(agent_id);
        self.queue.push(until, Event::FaultOver(number));
        true
    }

    /// After a drain: the machine takes tasks again as soon as it may, and is given up when it never becomes
    /// empty.
    pub(crate) fn take_back(&mut self, agent: usize, number: usize) {
        if self.departing.contains_key(&number) {
            return self.see_gone(agent, number);
        }
        let fault = &self.setup.faults[number];
        let asked_first = MILLI * fault.at_ms as Nanos + nanos(fault.kind.length());
        let id = self.id_of(agent);
        let known = self.master.core.as_ref().zip(id.as_ref()).and_then(|(core, id)| {
            core.state().agents.get(&mezzo_ids::AgentId::from(id.value.as_str())).cloned()
        });
        if known.as_ref().is_some_and(|known| !known.deactivated) {
            return self.log(|| format!("agent {agent} is taken back"));
        }
        if known.is_some() && self.now > asked_first + PATIENCE {
            self.log(|| format!("agent {agent} never becomes empty and is given up"));
            self.give_up(agent, number as u32, self.now + AGAIN);
            return;
        }
        if let Some(agent_id) = id.filter(|_| known.is_some()) {
            let back = call::ReactivateAgent { agent_id };
            let kind = call::Type::ReactivateAgent as i32;
            self.operate(Call { r#type: Some(kind), reactivate_agent: Some(back), ..Default::default() });
        }
        self.queue.push(self.now + AGAIN, Event::FaultOver(number as u32));
    }

    /// A machine that was given up is wiped once, and is another agent from then on.
    pub(crate) fn see_gone(&mut self, agent: usize, number: usize) {
        let departing = self.departing.get_mut(&number);
        if departing.is_some_and(|departing| !std::mem::replace(&mut departing.is_wiped, true)) {
            self.log(|| format!("agent {agent} is wiped and comes back"));
            self.checks.on_wiped(agent);
            self.agent_reboot(agent, AGAIN, true);
        }
        self.mark_gone_again(number);
    }

    fn mark_gone(&mut self, agent_id: mezzo_mesos::v1::AgentId) {
        let gone = call::MarkAgentGone { agent_id };
        let kind = call::Type::MarkAgentGone as i32;
        self.operate(Call { r#type: Some(kind), mark_agent_gone: Some(gone), ..Default::default() });
    }

    /// The operator tries again until the master has it in its registry: nobody else can say that a wiped
    /// machine's tasks are over.
    fn mark_gone_again(&mut self, number: usize) {
        let Some(Departing { id, .. }) = self.departing.get(&number) else { return };
        let master = self.master.core.as_ref();
        if master.is_some_and(|core| core.state().gone_agents.contains_key(id)) {
            self.departing.remove(&number);
            return;
        }
        if master.is_some() {
            let agent_id = mezzo_mesos::v1::AgentId { value: id.to_string() };
            self.log(|| format!("an operator marks {} gone once more", agent_id.value));
            self.mark_gone(agent_id);
        }
        self.queue.push(self.now + AGAIN, Event::FaultOver(number as u32));
    }

    /// An agent that dies before it has learnt its first id comes back under another one. Its master had
    /// admitted it, and may have sent it tasks: they stay unreachable until an operator, who knows the
    /// machines, tells that the old one is gone (Mesos waits as well, rule 255).
    pub(crate) fn give_up_strangers(&mut self) {
        let known: Option<Vec<_>> = (0..self.agents.len()).map(|agent| self.id_of(agent)).collect();
        let Some((core, known)) = self.master.core.as_ref().zip(known) else { return };
        let is_known = |id: &mezzo_ids::AgentId| known.iter().any(|known| known.value == id.as_str());
        let unreachable = core.state().unreachable_agents.keys();
        let strangers: Vec<_> = unreachable.filter(|id| !is_known(id)).cloned().collect();
        for id in strangers {
            self.log(|| format!("an operator marks {id} gone, which no machine is"));
            self.mark_gone(mezzo_mesos::v1::AgentId { value: id.to_string() });
        }
    }

    pub(crate) fn teardown(&mut self, framework: usize) -> bool {
        let id = self.schedulers[framework].framework_id.clone();
        let Some(framework_id) = id.filter(|_| self.master.core.is_some()) else { return false };
        self.checks.on_teardown(framework);
        self.uncount_torn(framework);
        self.tear_down(framework_id);
        // The services node is told.
        let scheduler = &mut self.schedulers[framework];
        scheduler.is_over |= !scheduler.serves;
        true
    }

    pub(crate) fn tear_down(&mut self, framework_id: mezzo_mesos::v1::FrameworkId) {
        let teardown = call::Teardown { framework_id };
        let kind = call::Type::Teardown as i32;
        self.operate(Call { r#type: Some(kind), teardown: Some(teardown), ..Default::default() });
    }
}
