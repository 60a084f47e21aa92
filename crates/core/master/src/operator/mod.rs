//! What operators ask for, one call per file.

pub(crate) mod quota;

use mezzo_ids::Principal;

use crate::{
    effect::{Answer, Effect},
    input::{OperatorCall, RequestId},
    master::{Master, Moment},
};

/// Serves a call that changes something; ends in an [`Effect::Answer`].
pub(crate) fn on_operator(
    master: &mut Master,
    _moment: &mut Moment<'_>,
    request: RequestId,
    _call: OperatorCall,
    _principal: Option<Principal>,
) {
    let answer = Answer::NotImplemented(String::new());
    master.effects.push(Effect::Answer { request, answer });
}
