//! What an operator call to an agent must look like before it is carried out.

use mesarch_proto::mesos::v1::agent::{Call, call::Type};

pub use crate::operator::InvalidCall;

/// Checks the shape of a call and gives its type. `UNKNOWN` passes: it is answered with 501. To be shown as "Failed to
/// validate agent::Call: …".
///
/// # Errors
/// When the type, or the field that belongs to it, is missing.
pub fn validate(call: &Call) -> Result<Type, InvalidCall> {
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or(InvalidCall::NoType)?;
    let (name, is_present) = match kind {
        Type::GetMetrics => ("get_metrics", call.get_metrics.is_some()),
        Type::SetLoggingLevel => ("set_logging_level", call.set_logging_level.is_some()),
        Type::ListFiles => ("list_files", call.list_files.is_some()),
        Type::ReadFile => ("read_file", call.read_file.is_some()),
        Type::LaunchNestedContainer => ("launch_nested_container", call.launch_nested_container.is_some()),
        Type::WaitNestedContainer => ("wait_nested_container", call.wait_nested_container.is_some()),
        Type::KillNestedContainer => ("kill_nested_container", call.kill_nested_container.is_some()),
        Type::RemoveNestedContainer => ("remove_nested_container", call.remove_nested_container.is_some()),
        Type::LaunchNestedContainerSession => {
            ("launch_nested_container_session", call.launch_nested_container_session.is_some())
        }
        Type::AttachContainerInput => ("attach_container_input", call.attach_container_input.is_some()),
        Type::AttachContainerOutput => ("attach_container_output", call.attach_container_output.is_some()),
        Type::LaunchContainer => ("launch_container", call.launch_container.is_some()),
        Type::WaitContainer => ("wait_container", call.wait_container.is_some()),
        Type::KillContainer => ("kill_container", call.kill_container.is_some()),
        Type::RemoveContainer => ("remove_container", call.remove_container.is_some()),
        Type::AddResourceProviderConfig => {
            ("add_resource_provider_config", call.add_resource_provider_config.is_some())
        }
        Type::UpdateResourceProviderConfig => {
            ("update_resource_provider_config", call.update_resource_provider_config.is_some())
        }
        Type::RemoveResourceProviderConfig => {
            ("remove_resource_provider_config", call.remove_resource_provider_config.is_some())
        }
        Type::MarkResourceProviderGone => {
            ("mark_resource_provider_gone", call.mark_resource_provider_gone.is_some())
        }
        Type::Unknown
        | Type::GetHealth
        | Type::GetFlags
        | Type::GetVersion
        | Type::GetLoggingLevel
        | Type::GetState
        | Type::GetContainers
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetOperations
        | Type::GetTasks
        | Type::GetAgent
        | Type::GetResourceProviders
        | Type::PruneImages => return Ok(kind),
    };
    if is_present { Ok(kind) } else { Err(InvalidCall::Missing(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_needs_the_field_of_its_own_name_or_none() {
        let mut needing = 0;
        for number in 0..=40 {
            let Ok(kind) = Type::try_from(number) else { continue };
            let bare = Call { r#type: Some(number), ..Call::default() };
            if let Err(error) = validate(&bare) {
                let InvalidCall::Missing(name) = error else { panic!("{kind:?}: {error}") };
                assert_eq!(kind.as_str_name().to_lowercase(), name);
                needing += 1;
            }
        }
        assert_eq!(needing, 19);
        assert_eq!(validate(&Call::default()), Err(InvalidCall::NoType));
        let unknown = Call { r#type: Some(1_000), ..Call::default() };
        assert_eq!(validate(&unknown), Err(InvalidCall::NoType));
    }
}
