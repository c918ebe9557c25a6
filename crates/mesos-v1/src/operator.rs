//! What an operator call to the master must look like before it is carried out.

use mesarch_proto::mesos::v1::master::{Call, call::Type};

/// Why a call is refused (400). To be shown as "Failed to validate master::Call: …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// `type` is unset, or a name or number that nobody knows.
    #[error("Expecting 'type' to be present")]
    NoType,
    /// The field of this name, which belongs to the call's type, is unset.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
}

/// Checks the shape of a call and gives its type. `UNKNOWN` passes: it is answered with 501.
pub fn validate(call: &Call) -> Result<Type, InvalidCall> {
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or(InvalidCall::NoType)?;
    let (name, is_present) = match kind {
        Type::GetMetrics => ("get_metrics", call.get_metrics.is_some()),
        Type::SetLoggingLevel => ("set_logging_level", call.set_logging_level.is_some()),
        Type::ListFiles => ("list_files", call.list_files.is_some()),
        Type::ReadFile => ("read_file", call.read_file.is_some()),
        Type::UpdateWeights => ("update_weights", call.update_weights.is_some()),
        Type::ReserveResources => ("reserve_resources", call.reserve_resources.is_some()),
        Type::UnreserveResources => ("unreserve_resources", call.unreserve_resources.is_some()),
        Type::CreateVolumes => ("create_volumes", call.create_volumes.is_some()),
        Type::DestroyVolumes => ("destroy_volumes", call.destroy_volumes.is_some()),
        Type::GrowVolume => ("grow_volume", call.grow_volume.is_some()),
        Type::ShrinkVolume => ("shrink_volume", call.shrink_volume.is_some()),
        Type::UpdateMaintenanceSchedule => {
            ("update_maintenance_schedule", call.update_maintenance_schedule.is_some())
        }
        Type::StartMaintenance => ("start_maintenance", call.start_maintenance.is_some()),
        Type::StopMaintenance => ("stop_maintenance", call.stop_maintenance.is_some()),
        Type::DrainAgent => ("drain_agent", call.drain_agent.is_some()),
        Type::DeactivateAgent => ("deactivate_agent", call.deactivate_agent.is_some()),
        Type::ReactivateAgent => ("reactivate_agent", call.reactivate_agent.is_some()),
        Type::UpdateQuota => ("update_quota", call.update_quota.is_some()),
        Type::SetQuota => ("set_quota", call.set_quota.is_some()),
        Type::RemoveQuota => ("remove_quota", call.remove_quota.is_some()),
        Type::Teardown => ("teardown", call.teardown.is_some()),
        Type::MarkAgentGone => ("mark_agent_gone", call.mark_agent_gone.is_some()),
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
        | Type::GetQuota => return Ok(kind),
    };
    if is_present { Ok(kind) } else { Err(InvalidCall::Missing(name)) }
}

#[cfg(test)]
mod tests {
    use mesarch_proto::{json::Json, mesos::v1::master::call};

    use super::*;

    #[test]
    fn a_call_brings_the_field_of_its_type() {
        let check = |text: &str, expect| {
            assert_eq!(validate(&Call::from_json(text.as_bytes()).expect("JSON")), expect, "{text}");
        };
        check("{}", Err(InvalidCall::NoType));
        check(r#"{"type":"BOGUS"}"#, Err(InvalidCall::NoType));
        check(r#"{"type":"UNKNOWN"}"#, Ok(Type::Unknown));
        check(r#"{"type":"GET_STATE"}"#, Ok(Type::GetState));
        check(r#"{"type":"GET_METRICS"}"#, Err(InvalidCall::Missing("get_metrics")));
        check(r#"{"type":"GET_METRICS","get_metrics":{}}"#, Ok(Type::GetMetrics));
        check(r#"{"type":"UPDATE_QUOTA","update_weights":{}}"#, Err(InvalidCall::Missing("update_quota")));
    }

    #[test]
    fn every_type_names_its_own_field_or_needs_none() {
        for number in 0..=39 {
            let Ok(kind) = call::Type::try_from(number) else { continue };
            let bare = Call { r#type: Some(number), ..Call::default() };
            if let Err(error) = validate(&bare) {
                assert_eq!(error, InvalidCall::Missing(error_field(&error)));
                assert_eq!(kind.as_str_name().to_lowercase(), error_field(&error));
            }
        }
    }

    fn error_field(error: &InvalidCall) -> &'static str {
        match error {
            InvalidCall::Missing(name) => name,
            InvalidCall::NoType => "",
        }
    }
}
