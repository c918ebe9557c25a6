//! What a resource provider's call must look like before the provider that it names is looked up.

use mesarch_proto::mesos::v1::{
    self, OperationStatus, Resource, ResourceProviderInfo,
    resource_provider::{Call, call::Type},
};
use mesarch_types::{OperationState, valid_text_id};
use prost::Message;

use crate::{convert::resources_from_v1, executor::UUID_BYTES};

/// Largest description of a provider and largest state of an operation, in bytes of protobuf: both are kept by the agent,
/// and go to the masters together with those of others.
const INFO_BYTES_MAX: usize = 16 * 1024;
const STATUS_BYTES_MAX: usize = 256 * 1024;

/// Why a call is refused (400). To be shown as "Failed to validate resource_provider::Call: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// `type` is unset, or a name or number that nobody knows.
    #[error("Expecting 'type' to be present")]
    NoType,
    /// The field of this name is unset.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    /// A uuid has sixteen bytes.
    #[error("'{field}' has {bytes} bytes instead of 16")]
    BadUuid {
        /// Which.
        field: &'static str,
        /// How many it has.
        bytes: usize,
    },
    /// Types and names become parts of paths.
    #[error(
        "'resource_provider_info.{0}' must be a name: not empty, at most 255 bytes, without '/' and '\\'"
    )]
    BadName(&'static str),
    /// Larger than what is kept and handed on.
    #[error("'{field}' has {bytes} bytes; at most {max} are possible")]
    TooLarge {
        /// Which.
        field: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
    /// Not resources, or not the provider's own.
    #[error("'{field}': {reason}")]
    BadResources {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The number is no state of operations.
    #[error("'status.state' is unknown")]
    BadState,
    /// The outcome of a publication is unset or UNKNOWN.
    #[error("Expecting 'update_publish_resources_status.status' to be OK or FAILED")]
    BadStatus,
}

/// Checks the shape of a call and gives its type.
pub fn validate(call: &Call) -> Result<Type, InvalidCall> {
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or(InvalidCall::NoType)?;
    match kind {
        Type::Subscribe => {
            validate_info(&present(&call.subscribe, "subscribe")?.resource_provider_info)?;
        }
        Type::UpdateState => {
            let update = present(&call.update_state, "update_state")?;
            uuid("update_state.resource_version_uuid", &update.resource_version_uuid)?;
            for operation in &update.operations {
                uuid("update_state.operations.uuid", &operation.uuid)?;
                status(&operation.latest_status, own(call)?)?;
            }
            own_resources("update_state.resources", &update.resources, own(call)?)?;
        }
        Type::UpdateOperationStatus => {
            let update = present(&call.update_operation_status, "update_operation_status")?;
            uuid("update_operation_status.operation_uuid", &update.operation_uuid)?;
            status(&update.status, own(call)?)?;
            update.latest_status.as_ref().map_or(Ok(()), |latest| status(latest, own(call)?))?;
        }
        Type::UpdatePublishResourcesStatus => {
            use v1::resource_provider::call::update_publish_resources_status::Status;
            let update = present(&call.update_publish_resources_status, "update_publish_resources_status")?;
            uuid("update_publish_resources_status.uuid", &update.uuid)?;
            if !matches!(Status::try_from(update.status), Ok(Status::Ok | Status::Failed)) {
                return Err(InvalidCall::BadStatus);
            }
        }
        Type::Unknown => {}
    }
    if !matches!(kind, Type::Subscribe | Type::Unknown) {
        own(call)?;
    }
    Ok(kind)
}

fn validate_info(info: &ResourceProviderInfo) -> Result<(), InvalidCall> {
    for (field, text) in [("type", &info.r#type), ("name", &info.name)] {
        if !valid_text_id(text) {
            return Err(InvalidCall::BadName(field));
        }
    }
    within("resource_provider_info", info.encoded_len(), INFO_BYTES_MAX)
}

/// A state of an operation goes to the masters, which do not listen to an agent that sends them what they cannot read.
fn status(status: &OperationStatus, provider: &str) -> Result<(), InvalidCall> {
    status.uuid.as_ref().map_or(Ok(()), |it| uuid("status.uuid", it))?;
    if OperationState::from_number(status.state).is_none() {
        return Err(InvalidCall::BadState);
    }
    within("status", status.encoded_len(), STATUS_BYTES_MAX)?;
    own_resources("status.converted_resources", &status.converted_resources, provider)
}

fn within(field: &'static str, bytes: usize, max: usize) -> Result<(), InvalidCall> {
    match bytes > max {
        true => Err(InvalidCall::TooLarge { field, bytes, max }),
        false => Ok(()),
    }
}

fn own(call: &Call) -> Result<&str, InvalidCall> {
    present(&call.resource_provider_id, "resource_provider_id").map(|id| id.value.as_str())
}

fn own_resources(field: &'static str, list: &[Resource], own: &str) -> Result<(), InvalidCall> {
    let bad = |reason: String| Err(InvalidCall::BadResources { field, reason });
    let resources = match resources_from_v1(list) {
        Ok(resources) => resources,
        Err(error) => return bad(error.to_string()),
    };
    match resources.iter().find(|one| one.provider.as_deref() != Some(own)) {
        Some(other) => bad(format!("{other} does not carry the id of the resource provider")),
        None => Ok(()),
    }
}

fn uuid(field: &'static str, uuid: &v1::Uuid) -> Result<(), InvalidCall> {
    match uuid.value.len() {
        UUID_BYTES => Ok(()),
        bytes => Err(InvalidCall::BadUuid { field, bytes }),
    }
}

fn present<'a, T>(field: &'a Option<T>, name: &'static str) -> Result<&'a T, InvalidCall> {
    field.as_ref().ok_or(InvalidCall::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn check(text: &str, expect: Result<Type, &str>) {
        let text = text
            .replace("UUID", r#"{"value":"AAAAAAAAAAAAAAAAAAAAAA=="}"#)
            .replace("ME", r#""resource_provider_id":{"value":"p"}"#)
            .replace("DISK", r#""name":"disk","type":"SCALAR","scalar":{"value":1}"#);
        let call: Call = json::decode(text.as_bytes()).expect("well-formed");
        match (validate(&call), expect) {
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error} for {text}"),
            (found, expect) => assert_eq!(found.ok(), expect.ok(), "{text}"),
        }
    }

    #[test]
    fn every_call_is_checked_before_its_provider_is_looked_up() {
        check("{}", Err("'type'"));
        check(r#"{"type":"SUBSCRIBE"}"#, Err("'subscribe'"));
        let subscribe = |name: &str| {
            format!(
                r#"{{"type":"SUBSCRIBE","subscribe":{{"resource_provider_info":{{"type":"t","name":"{name}"}}}}}}"#
            )
        };
        check(&subscribe("n"), Ok(Type::Subscribe));
        check(&subscribe("a/b"), Err("name"));
        let state = |inner: &str| format!(r#"{{"type":"UPDATE_STATE",ME,"update_state":{{{inner}}}}}"#);
        check(&state(r#""resource_version_uuid":UUID"#), Ok(Type::UpdateState));
        check(&state(r#""resource_version_uuid":{"value":"AAAA"}"#), Err("3 bytes"));
        check(&state(r#""resource_version_uuid":UUID,"resources":[{DISK}]"#), Err("does not carry"));
        let own = r#""resource_version_uuid":UUID,"resources":[{DISK,"provider_id":{"value":"p"}}]"#;
        check(&state(own), Ok(Type::UpdateState));
        let status = |state: &str| {
            format!(
                r#"{{"type":"UPDATE_OPERATION_STATUS",ME,"update_operation_status":{{"operation_uuid":UUID,"status":{{"state":"{state}"}}}}}}"#
            )
        };
        check(&status("OPERATION_FINISHED"), Ok(Type::UpdateOperationStatus));
        check(&status("OPERATION_FINISHED").replace("ME,", ""), Err("resource_provider_id"));
        let listed = |status: &str| {
            let operation =
                format!(r#"{{"uuid":UUID,"info":{{"type":"RESERVE"}},"latest_status":{status}}}"#);
            state(&format!(r#""resource_version_uuid":UUID,"operations":[{operation}]"#))
        };
        check(&listed(r#"{"state":"OPERATION_PENDING"}"#), Ok(Type::UpdateState));
        check(&listed(r#"{"state":"OPERATION_PENDING","uuid":{"value":"AAAA"}}"#), Err("3 bytes"));
        check(
            &listed(r#"{"state":"OPERATION_FINISHED","converted_resources":[{DISK}]}"#),
            Err("does not carry"),
        );
        let latest = status("OPERATION_FINISHED").replace(
            r#","status""#,
            r#","latest_status":{"state":"OPERATION_FINISHED","uuid":{"value":"AAAA"}},"status""#,
        );
        check(&latest, Err("3 bytes"));
        check(
            &subscribe(&"n".repeat(200)).replace(
                r#""type":"t""#,
                &format!(r#""type":"t","attributes":[{{"name":"{}","type":"SCALAR"}}]"#, "a".repeat(20_000)),
            ),
            Err("at most 16384"),
        );
        let published = |status: &str| {
            format!(
                r#"{{"type":"UPDATE_PUBLISH_RESOURCES_STATUS",ME,"update_publish_resources_status":{{"uuid":UUID,"status":"{status}"}}}}"#
            )
        };
        check(&published("OK"), Ok(Type::UpdatePublishResourcesStatus));
        check(&published("UNKNOWN"), Err("OK or FAILED"));
    }
}
