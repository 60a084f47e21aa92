//! What operators ask for, one group of calls per file.
//!
//! A handler validates, changes the state, pushes the records and messages that follow from it, and
//! returns the [`Answer`], which leaves behind them: an operator who has an answer has a durable change.

mod agents;
mod maintenance;
pub(crate) mod quota;
mod resources;
mod teardown;
mod weights;

#[cfg(test)]
mod tests;

use mezzo_ids::{Principal, Role};
use mezzo_mesos::v1::master::{Call, call::Type};

use crate::{
    effect::Answer,
    input::{OperatorCall, RequestId},
    master::{Master, Moment},
};

/// Serves a call that changes something; ends in an [`crate::Effect::Answer`].
pub(crate) fn on_operator(
    master: &mut Master,
    moment: &mut Moment<'_>,
    request: RequestId,
    call: OperatorCall,
    principal: Option<Principal>,
) {
    let served = match call {
        OperatorCall::RemoveQuota(role) => {
            let refused = format!("Failed to remove quota for path '/master/quota/{role}'");
            quota::on_remove(master, &Role::from(role), &refused)
        }
        OperatorCall::V1(call) => serve(master, moment, *call, principal.as_deref()),
    };
    let answer = served.unwrap_or_else(|refused| refused);
    master.answer(request, answer);
}

/// An answer, or the one that says why nothing was done.
type Served = Result<Answer, Answer>;

/// The answer to a call without the message of its type.
fn missing(field: &str) -> Answer {
    Answer::BadRequest(format!("Failed to validate master::Call: Expecting '{field}' to be present"))
}

#[expect(deprecated, reason = "SET_QUOTA and REMOVE_QUOTA are still served")]
fn serve(master: &mut Master, moment: &mut Moment<'_>, call: Call, principal: Option<&str>) -> Served {
    match call.r#type() {
        Type::UpdateWeights => {
            let call = call.update_weights.ok_or_else(|| missing("update_weights"))?;
            weights::on_update(master, moment, call.weight_infos)
        }
        Type::UpdateQuota => {
            let call = call.update_quota.ok_or_else(|| missing("update_quota"))?;
            quota::on_update(master, moment, call.force(), call.quota_configs)
        }
        Type::SetQuota => {
            let call = call.set_quota.ok_or_else(|| missing("set_quota"))?;
            quota::on_set(master, moment, &call.quota_request)
        }
        Type::RemoveQuota => {
            let call = call.remove_quota.ok_or_else(|| missing("remove_quota"))?;
            quota::on_remove(master, &Role::from(call.role), "Failed to remove quota")
        }
        Type::ReserveResources => {
            let call = call.reserve_resources.ok_or_else(|| missing("reserve_resources"))?;
            resources::on_reserve(master, moment, principal, call)
        }
        Type::UnreserveResources => {
            let call = call.unreserve_resources.ok_or_else(|| missing("unreserve_resources"))?;
            resources::on_unreserve(master, moment, principal, call)
        }
        Type::CreateVolumes => {
            let call = call.create_volumes.ok_or_else(|| missing("create_volumes"))?;
            resources::on_create(master, moment, principal, call)
        }
        Type::DestroyVolumes => {
            let call = call.destroy_volumes.ok_or_else(|| missing("destroy_volumes"))?;
            resources::on_destroy(master, moment, principal, call)
        }
        Type::GrowVolume => {
            let call = call.grow_volume.ok_or_else(|| missing("grow_volume"))?;
            resources::on_grow(master, moment, principal, call)
        }
        Type::ShrinkVolume => {
            let call = call.shrink_volume.ok_or_else(|| missing("shrink_volume"))?;
            resources::on_shrink(master, moment, principal, call)
        }
        Type::UpdateMaintenanceSchedule => {
            let call =
                call.update_maintenance_schedule.ok_or_else(|| missing("update_maintenance_schedule"))?;
            maintenance::on_update_schedule(master, moment, call.schedule)
        }
        Type::StartMaintenance => {
            let call = call.start_maintenance.ok_or_else(|| missing("start_maintenance"))?;
            maintenance::on_start(master, moment, &call.machines)
        }
        Type::StopMaintenance => {
            let call = call.stop_maintenance.ok_or_else(|| missing("stop_maintenance"))?;
            maintenance::on_stop(master, &call.machines)
        }
        Type::DrainAgent => {
            let call = call.drain_agent.ok_or_else(|| missing("drain_agent"))?;
            agents::on_drain(master, moment, &call)
        }
        Type::DeactivateAgent => {
            let call = call.deactivate_agent.ok_or_else(|| missing("deactivate_agent"))?;
            agents::on_deactivate(master, moment, &call.agent_id)
        }
        Type::ReactivateAgent => {
            let call = call.reactivate_agent.ok_or_else(|| missing("reactivate_agent"))?;
            agents::on_reactivate(master, &call.agent_id)
        }
        Type::MarkAgentGone => {
            let call = call.mark_agent_gone.ok_or_else(|| missing("mark_agent_gone"))?;
            agents::on_mark_gone(master, moment, &call.agent_id)
        }
        Type::Teardown => {
            let call = call.teardown.ok_or_else(|| missing("teardown"))?;
            teardown::on_teardown(master, moment, &call.framework_id)
        }
        // Reads and calls about the process are answered elsewhere and never come here.
        _ => Err(Answer::NotImplemented(String::new())),
    }
}
