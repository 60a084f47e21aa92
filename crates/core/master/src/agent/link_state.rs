//! The connection to an agent comes and goes.

use crate::{
    input::LinkId,
    master::{Master, Moment},
};

/// The connection broke, but the session may go on: no offers meanwhile (rule 242).
pub(crate) fn on_link_down(master: &mut Master, moment: &mut Moment<'_>, link: LinkId) {
    if let Some(agent) = master.links.get(&link).cloned() {
        master.suspend_agent(moment, &agent);
    }
}

/// The session goes on and nothing was lost.
pub(crate) fn on_link_resumed(master: &mut Master, link: LinkId) {
    if let Some(agent) = master.links.get(&link).cloned() {
        master.resume_agent(&agent);
    }
}

/// The session is over: the agent is disconnected until it registers again.
pub(crate) fn on_link_lost(master: &mut Master, moment: &mut Moment<'_>, link: LinkId) {
    if let Some(agent) = master.links.remove(&link) {
        master.disconnect_agent(moment, &agent);
    }
}
