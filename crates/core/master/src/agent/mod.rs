//! What agents say, one message per file.

mod executor;
mod link_state;
mod operation_status;
mod register;
mod reregister;
mod status_update;
mod unregister;
mod update_agent;

use mezzo_ids::AgentId;
use mezzo_protocol::link::{ToMaster, to_master::Message};

pub(crate) use link_state::{on_link_down, on_link_lost, on_link_resumed};

use crate::{
    effect::Effect,
    input::LinkId,
    master::{Master, Moment},
    metrics::Counter,
};

/// Serves a message of an agent. Only registrations may come over a link that is not registered yet.
pub(crate) fn on_message(master: &mut Master, moment: &mut Moment<'_>, link: LinkId, message: ToMaster) {
    let Some(message) = message.message else { return };
    match message {
        Message::Register(register) => {
            master.count(Counter::MessagesRegisterAgent);
            register::on_register(master, moment, link, register);
        }
        Message::Reregister(reregister) => {
            master.count(Counter::MessagesReregisterAgent);
            reregister::on_reregister(master, moment, link, reregister);
        }
        message => match master.links.get(&link).cloned() {
            Some(agent) => on_registered(master, moment, &agent, message),
            // What comes of an agent that was removed is too late; it has to register again.
            None => master.effects.push(Effect::CloseLink(link)),
        },
    }
}

fn on_registered(master: &mut Master, moment: &mut Moment<'_>, agent: &AgentId, message: Message) {
    match message {
        Message::Register(_) | Message::Reregister(_) => {}
        Message::Unregister(_) => unregister::on_unregister(master, moment, agent),
        Message::StatusUpdate(update) => status_update::on_status_update(master, moment, agent, update),
        Message::OperationStatusUpdate(update) => {
            operation_status::on_operation_status(master, moment, agent, update);
        }
        Message::ExecutorExited(exited) => executor::on_exited(master, moment, agent, exited),
        Message::ExecutorMessage(message) => executor::on_message(master, agent, message),
        Message::UpdateAgent(update) => update_agent::on_update_agent(master, moment, agent, update),
        Message::Pong(_) => {
            // Rule 240.
            if let Some(watch) = master.watches.get_mut(agent) {
                watch.answered();
            }
        }
    }
}
