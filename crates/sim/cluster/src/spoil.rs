//! Plants mistakes: changes what goes in and out of the real cores.

use std::sync::Arc;

use mezzo_ids::OfferId;
use mezzo_master::{Effect, Input, StreamId};
use mezzo_mesos::v1::{self, TaskState, scheduler::call};
use mezzo_protocol::link::{Acknowledge, ToAgent, ToMaster, to_agent, to_master};
use mezzo_sdk::tasks::is_terminal;

use crate::{agent::machine::TaskKey, plant::Plant, setup::RoleSetup, world::World};

/// One in so many is spoiled.
const EVERY: u32 = 12;
/// Seconds of a year.
const YEAR: f64 = 365.0 * 24.0 * 3600.0;

fn is_chosen(task: Option<&v1::TaskId>) -> bool {
    task.and_then(|id| TaskKey::parse(&id.value)).is_some_and(|key| key.plan % EVERY == 2)
}

impl World<'_> {
    /// What an agent says, on its way out.
    pub(crate) fn mutate_to_master(&mut self, agent: usize, message: Box<ToMaster>) -> Option<Box<ToMaster>> {
        self.check_sent(agent, &message);
        if self.setup.plant != Some(Plant::LostUpdate) {
            return Some(message);
        }
        let Some(to_master::Message::StatusUpdate(update)) = &message.message else { return Some(message) };
        let status = update.status.clone().unwrap_or_default();
        if !is_chosen(Some(&status.task_id)) || status.state() != TaskState::TaskRunning {
            return Some(message);
        }
        let acknowledge = Acknowledge {
            framework_id: update.framework_id.clone(),
            task_id: Some(status.task_id),
            uuid: status.uuid.unwrap_or_default(),
        };
        let message = ToAgent { message: Some(to_agent::Message::Acknowledge(acknowledge)) };
        self.agent_hears(agent, 1, mezzo_agent::Input::FromMaster(Box::new(message)));
        None
    }

    pub(crate) fn mutate_weight(&self, role: &RoleSetup) -> f64 {
        if self.setup.plant == Some(Plant::WrongShare) { 1.0 / role.weight } else { role.weight }
    }

    pub(crate) fn mutate_input(&mut self, mut input: Input) -> Input {
        match (self.setup.plant, &mut input) {
            (Some(Plant::ForgottenExpiry), Input::SchedulerCall { call, .. })
                if call.r#type() == call::Type::Decline =>
            {
                if let Some(decline) = &mut call.decline {
                    decline.filters = Some(v1::Filters { refuse_seconds: Some(YEAR) });
                }
            }
            (Some(Plant::LeakedResource), Input::FromAgent { message, .. }) => {
                if let Some(to_master::Message::StatusUpdate(update)) = &mut message.message
                    && let Some(status) = &mut update.status
                    && is_chosen(Some(&status.task_id))
                {
                    update.latest_state = TaskState::TaskRunning as i32;
                    if is_terminal(status.state()) {
                        let uuid = status.uuid.clone().unwrap_or_default();
                        self.spoiled.insert(uuid, status.state);
                        status.state = TaskState::TaskRunning as i32;
                    }
                }
            }
            _ => {}
        }
        input
    }

    pub(crate) fn mutate_effects(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        match self.setup.plant {
            Some(Plant::DoubleOffer) => self.double_offers(&mut effects),
            // The scheduler hears what the master does not know.
            Some(Plant::LeakedResource) => {
                for effect in &mut effects {
                    let Effect::Event { event, .. } = effect else { continue };
                    let uuid = event.update.as_ref().and_then(|update| update.status.uuid.as_ref());
                    let Some(state) = uuid.and_then(|uuid| self.spoiled.get(uuid)).copied() else { continue };
                    if let Some(update) = &mut Arc::make_mut(event).update {
                        update.status.state = state;
                    }
                }
            }
            _ => {}
        }
        effects
    }

    fn double_offers(&mut self, effects: &mut Vec<Effect>) {
        let mut doubled = Vec::new();
        for effect in effects.iter() {
            let Effect::Event { stream: StreamId(stream), event } = effect else { continue };
            let Some(first) = event.offers.as_ref().and_then(|offers| offers.offers.first()) else {
                continue;
            };
            let Some((other, _)) = self.streams.iter().find(|(id, _)| *id != stream) else { continue };
            let mut offer = first.clone();
            offer.id.value = OfferId::from(format!("{}-again", offer.id.value)).to_string();
            let offers = Some(v1::scheduler::event::Offers { offers: vec![offer] });
            let event = Arc::new(v1::scheduler::Event { offers, ..(**event).clone() });
            doubled.push(Effect::Event { stream: StreamId(*other), event });
        }
        effects.extend(doubled);
    }
}
