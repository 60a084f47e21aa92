//! The shape of a scheduler call: the parts that its type needs are there.

use mezzo_ids::Uuid;
use mezzo_mesos::v1::scheduler::{Call, call::Type};

/// Checks a call before anything else looks at it; the text follows
/// `Failed to validate scheduler::Call: ` in the 400 answer (rule 1).
pub fn scheduler_call(call: &Call, principal: Option<&str>) -> Result<(), String> {
    let Some(r#type) = call.r#type.and_then(|t| Type::try_from(t).ok()) else {
        return Err(expecting("type"));
    };
    if r#type == Type::Subscribe {
        let Some(subscribe) = &call.subscribe else { return Err(expecting("subscribe")) };
        // Rule 53.
        if call.framework_id != subscribe.framework_info.id {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".into());
        }
        return principal_matches(principal, subscribe.framework_info.principal.as_deref());
    }
    let Some(framework_id) = &call.framework_id else { return Err(expecting("framework_id")) };
    let (present, name) = match r#type {
        Type::Unknown | Type::Subscribe | Type::Teardown | Type::Revive | Type::Suppress => return Ok(()),
        Type::Accept => (call.accept.is_some(), "accept"),
        Type::Decline => (call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => (call.accept_inverse_offers.is_some(), "accept_inverse_offers"),
        Type::DeclineInverseOffers => (call.decline_inverse_offers.is_some(), "decline_inverse_offers"),
        Type::Kill => (call.kill.is_some(), "kill"),
        Type::Shutdown => (call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => (call.acknowledge.is_some(), "acknowledge"),
        Type::AcknowledgeOperationStatus => {
            (call.acknowledge_operation_status.is_some(), "acknowledge_operation_status")
        }
        Type::Reconcile => (call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => (call.reconcile_operations.is_some(), "reconcile_operations"),
        Type::Message => (call.message.is_some(), "message"),
        Type::Request => (call.request.is_some(), "request"),
        Type::UpdateFramework => (call.update_framework.is_some(), "update_framework"),
    };
    if !present {
        return Err(expecting(name));
    }
    // Rule 215.
    let uuids = [
        call.acknowledge.as_ref().filter(|_| r#type == Type::Acknowledge).map(|ack| &ack.uuid),
        call.acknowledge_operation_status
            .as_ref()
            .filter(|_| r#type == Type::AcknowledgeOperationStatus)
            .map(|ack| &ack.uuid),
    ];
    if uuids.into_iter().flatten().any(|uuid| Uuid::from_slice(uuid).is_none()) {
        return Err("Not a valid UUID".into());
    }
    match r#type {
        Type::AcknowledgeOperationStatus
            if call.acknowledge_operation_status.as_ref().is_some_and(|ack| ack.agent_id.is_none()) =>
        {
            Err(expecting("agent_id"))
        }
        Type::UpdateFramework
            if call
                .update_framework
                .as_ref()
                .is_some_and(|update| update.framework_info.id.as_ref() != Some(framework_id)) =>
        {
            Err("'framework_id' differs from 'update_framework.framework_info.id'".into())
        }
        _ => Ok(()),
    }
}

fn expecting(field: &str) -> String {
    format!("Expecting '{field}' to be present")
}

/// Whether an authenticated principal may speak for a framework of another one.
pub(crate) fn principal_matches(principal: Option<&str>, wanted: Option<&str>) -> Result<(), String> {
    match (principal, wanted) {
        (Some(principal), Some(wanted)) if principal != wanted => Err(format!(
            "Authenticated principal '{principal}' does not match principal '{wanted}' set in `FrameworkInfo`"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use mezzo_mesos::v1::{self, scheduler::call};

    use super::*;

    fn call(r#type: Type) -> Call {
        let framework_id = Some(v1::FrameworkId { value: "f".into() });
        Call { framework_id, r#type: Some(r#type.into()), ..Default::default() }
    }

    #[test]
    fn rule_1_each_type_needs_its_message() {
        assert_eq!(scheduler_call(&Call::default(), None), Err("Expecting 'type' to be present".into()));
        let bare = Call { r#type: Some(Type::Revive.into()), ..Default::default() };
        assert_eq!(scheduler_call(&bare, None), Err("Expecting 'framework_id' to be present".into()));
        let names = [
            (Type::Subscribe, "subscribe"),
            (Type::Accept, "accept"),
            (Type::Decline, "decline"),
            (Type::AcceptInverseOffers, "accept_inverse_offers"),
            (Type::DeclineInverseOffers, "decline_inverse_offers"),
            (Type::Kill, "kill"),
            (Type::Shutdown, "shutdown"),
            (Type::Acknowledge, "acknowledge"),
            (Type::AcknowledgeOperationStatus, "acknowledge_operation_status"),
            (Type::Reconcile, "reconcile"),
            (Type::ReconcileOperations, "reconcile_operations"),
            (Type::Message, "message"),
            (Type::Request, "request"),
            (Type::UpdateFramework, "update_framework"),
        ];
        for (r#type, name) in names {
            assert_eq!(scheduler_call(&call(r#type), None), Err(format!("Expecting '{name}' to be present")));
        }
        for r#type in [Type::Teardown, Type::Revive, Type::Suppress] {
            assert_eq!(scheduler_call(&call(r#type), None), Ok(()));
        }
    }

    #[test]
    fn rule_53_ids_of_call_and_info_agree() {
        let subscribe = Some(Box::<call::Subscribe>::default());
        let mut wrong = Call { subscribe, ..call(Type::Subscribe) };
        let message = "'framework_id' differs from 'subscribe.framework_info.id'";
        assert_eq!(scheduler_call(&wrong, None), Err(message.into()));
        wrong.framework_id = None;
        assert_eq!(scheduler_call(&wrong, None), Ok(()));
        let update = Call { update_framework: Some(Box::default()), ..call(Type::UpdateFramework) };
        let message = "'framework_id' differs from 'update_framework.framework_info.id'";
        assert_eq!(scheduler_call(&update, None), Err(message.into()));
    }

    #[test]
    fn rule_215_acknowledged_uuids_have_16_bytes() {
        let mut wrong = call(Type::Acknowledge);
        wrong.acknowledge = Some(call::Acknowledge { uuid: vec![1; 5], ..Default::default() });
        assert_eq!(scheduler_call(&wrong, None), Err("Not a valid UUID".into()));
        wrong.acknowledge = Some(call::Acknowledge { uuid: vec![1; 16], ..Default::default() });
        assert_eq!(scheduler_call(&wrong, None), Ok(()));
    }
}
