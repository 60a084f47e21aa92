//! Whether a call has the parts that its type needs: the texts of Mesos' validation, before the core
//! looks at what the parts say.

use mezzo_mesos::v1::master;

/// Checks an operator's call; the error is the text of a 400 answer.
pub(crate) fn master_call(call: &master::Call) -> Result<master::call::Type, String> {
    check_master_call(call).map_err(|text| format!("Failed to validate master::Call: {text}"))
}

#[expect(deprecated, reason = "Mesos still takes the old calls for quota")]
fn check_master_call(call: &master::Call) -> Result<master::call::Type, String> {
    use master::call::Type;
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok());
    let kind = kind.ok_or("Expecting 'type' to be present")?;
    match kind {
        Type::GetMetrics => present(call.get_metrics.as_ref(), "get_metrics").map(drop)?,
        Type::SetLoggingLevel => present(call.set_logging_level.as_ref(), "set_logging_level").map(drop)?,
        Type::ListFiles => present(call.list_files.as_ref(), "list_files").map(drop)?,
        Type::ReadFile => present(call.read_file.as_ref(), "read_file").map(drop)?,
        Type::UpdateWeights => present(call.update_weights.as_ref(), "update_weights").map(drop)?,
        Type::ReserveResources => present(call.reserve_resources.as_ref(), "reserve_resources").map(drop)?,
        Type::UnreserveResources => {
            present(call.unreserve_resources.as_ref(), "unreserve_resources").map(drop)?
        }
        Type::CreateVolumes => present(call.create_volumes.as_ref(), "create_volumes").map(drop)?,
        Type::DestroyVolumes => present(call.destroy_volumes.as_ref(), "destroy_volumes").map(drop)?,
        Type::GrowVolume => {
            present(present(call.grow_volume.as_ref(), "grow_volume")?.agent_id.as_ref(), "agent_id")
                .map(drop)?;
        }
        Type::ShrinkVolume => {
            present(present(call.shrink_volume.as_ref(), "shrink_volume")?.agent_id.as_ref(), "agent_id")
                .map(drop)?;
        }
        Type::UpdateMaintenanceSchedule => {
            present(call.update_maintenance_schedule.as_ref(), "update_maintenance_schedule").map(drop)?;
        }
        Type::StartMaintenance => present(call.start_maintenance.as_ref(), "start_maintenance").map(drop)?,
        Type::StopMaintenance => present(call.stop_maintenance.as_ref(), "stop_maintenance").map(drop)?,
        Type::DrainAgent => present(call.drain_agent.as_ref(), "drain_agent").map(drop)?,
        Type::DeactivateAgent => present(call.deactivate_agent.as_ref(), "deactivate_agent").map(drop)?,
        Type::ReactivateAgent => present(call.reactivate_agent.as_ref(), "reactivate_agent").map(drop)?,
        Type::UpdateQuota => present(call.update_quota.as_ref(), "update_quota").map(drop)?,
        Type::SetQuota => present(call.set_quota.as_ref(), "set_quota").map(drop)?,
        Type::RemoveQuota => present(call.remove_quota.as_ref(), "remove_quota").map(drop)?,
        Type::Teardown => present(call.teardown.as_ref(), "teardown").map(drop)?,
        Type::MarkAgentGone => present(call.mark_agent_gone.as_ref(), "mark_agent_gone").map(drop)?,
        Type::Unknown
        | Type::GetHealth
        | Type::GetFlags
        | Type::GetVersion
        | Type::GetLoggingLevel
        | Type::GetState
        | Type::GetAgents
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetOperations
        | Type::GetTasks
        | Type::GetRoles
        | Type::GetWeights
        | Type::GetMaster
        | Type::Subscribe
        | Type::GetMaintenanceStatus
        | Type::GetMaintenanceSchedule
        | Type::GetQuota => {}
    }
    Ok(kind)
}

fn present<'a, T>(part: Option<&'a T>, name: &str) -> Result<&'a T, String> {
    part.ok_or_else(|| format!("Expecting '{name}' to be present"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_need_their_payload() {
        let call = master::Call { r#type: Some(master::call::Type::ListFiles.into()), ..Default::default() };
        assert_eq!(
            master_call(&call),
            Err("Failed to validate master::Call: Expecting 'list_files' to be present".to_owned())
        );
    }
}
