//! What schedulers say, one call per file.

mod accept;
mod acknowledge;
mod decline;
mod inverse_offers;
pub(crate) mod kill;
mod launch;
mod launch_group;
mod message;
pub(crate) mod operation_status;
mod reconcile;
mod reconcile_operations;
mod revive;
mod subscribe;
mod update_framework;

use std::sync::Arc;

use mezzo_ids::{FrameworkId, Principal};
use mezzo_mesos::v1::scheduler::{Call, call::Type};

pub(crate) use accept::Acceptance;
pub(crate) use subscribe::on_subscribe;

use crate::{
    effect::Answer,
    input::RequestId,
    master::{Master, Moment},
    metrics::Counter,
    validate,
};

/// Serves a call other than SUBSCRIBE. Most are answered 202 before anything is known of their effect,
/// which arrives as events.
pub(crate) fn on_call(
    master: &mut Master,
    moment: &mut Moment<'_>,
    request: RequestId,
    call: Call,
    stream_uuid: Option<Arc<str>>,
    principal: Option<Principal>,
) {
    if let Err(why) = validate::scheduler_call(&call, principal.as_deref()) {
        let text = format!("Failed to validate scheduler::Call: {why}");
        return master.answer(request, Answer::BadRequest(text));
    }
    let framework =
        master.framework_id(call.framework_id.as_ref().map_or("", |framework| framework.value.as_str()));
    if let Err(answer) = admit(master, &framework, stream_uuid.as_deref(), principal.as_deref()) {
        return master.answer(request, answer);
    }
    master.counters().call(&framework, call.r#type());
    match call.r#type() {
        Type::UpdateFramework => {
            let Some(update) = call.update_framework else { return };
            let answer = update_framework::on_update_framework(master, moment, &framework, *update);
            return master.answer(request, answer);
        }
        // SUBSCRIBE has its own input; anything else was refused above.
        Type::Unknown | Type::Subscribe => {
            return master.answer(request, Answer::NotImplemented(String::new()));
        }
        _ => master.answer(request, Answer::Accepted),
    }
    dispatch(master, moment, &framework, call);
}

fn dispatch(master: &mut Master, moment: &mut Moment<'_>, framework: &FrameworkId, call: Call) {
    match call.r#type() {
        Type::Unknown | Type::Subscribe | Type::UpdateFramework => {}
        Type::Teardown => {
            master.count(Counter::MessagesUnregisterFramework);
            master.remove_framework(moment, framework);
        }
        Type::Accept => {
            if let Some(accept) = call.accept {
                accept::on_accept(master, moment, framework, accept);
            }
        }
        Type::Decline => {
            if let Some(decline) = call.decline {
                decline::on_decline(master, moment, framework, &decline);
            }
        }
        Type::AcceptInverseOffers => {
            if let Some(accept) = call.accept_inverse_offers {
                inverse_offers::on_accept(master, moment, framework, &accept);
            }
        }
        Type::DeclineInverseOffers => {
            if let Some(decline) = call.decline_inverse_offers {
                inverse_offers::on_decline(master, moment, framework, &decline);
            }
        }
        Type::Revive => revive::on_revive(master, framework, call.revive.unwrap_or_default().roles),
        Type::Suppress => revive::on_suppress(master, framework, call.suppress.unwrap_or_default().roles),
        Type::Kill => {
            if let Some(kill) = call.kill {
                kill::on_kill(master, moment, framework, kill);
            }
        }
        Type::Shutdown => {
            if let Some(shutdown) = call.shutdown {
                kill::on_shutdown(master, framework, shutdown);
            }
        }
        Type::Acknowledge => {
            if let Some(acknowledge) = call.acknowledge {
                acknowledge::on_acknowledge(master, moment, framework, acknowledge);
            }
        }
        Type::AcknowledgeOperationStatus => {
            if let Some(acknowledge) = call.acknowledge_operation_status {
                operation_status::on_acknowledge(master, moment, framework, acknowledge);
            }
        }
        Type::Reconcile => {
            if let Some(reconcile) = call.reconcile {
                reconcile::on_reconcile(master, moment, framework, &reconcile.tasks);
            }
        }
        Type::ReconcileOperations => {
            if let Some(reconcile) = call.reconcile_operations {
                reconcile_operations::on_reconcile(master, framework, &reconcile.operations);
            }
        }
        Type::Message => {
            if let Some(message) = call.message {
                message::on_message(master, framework, message);
            }
        }
        // Rule 111: a hint that this allocator has no use for.
        Type::Request => master.count(Counter::MessagesResourceRequest),
    }
}

/// The checks every call but SUBSCRIBE passes, in this order (rules 47 and 48).
fn admit(
    master: &Master,
    id: &FrameworkId,
    stream_uuid: Option<&str>,
    principal: Option<&str>,
) -> Result<(), Answer> {
    let Some(framework) = master.state.frameworks.get(id) else {
        return Err(Answer::BadRequest("Framework cannot be found".into()));
    };
    validate::principal_matches(principal, framework.info.principal.as_deref())
        .map_err(Answer::BadRequest)?;
    let Some((_, current)) = &framework.stream else {
        return Err(Answer::Forbidden("Framework is not subscribed".into()));
    };
    let Some(stream_uuid) = stream_uuid else {
        let text = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
        return Err(Answer::BadRequest(text.into()));
    };
    if stream_uuid != &**current {
        return Err(Answer::BadRequest(format!(
            "The stream ID '{stream_uuid}' included in this request didn't match \
             the stream ID currently associated with framework ID {id}"
        )));
    }
    Ok(())
}
