//! What a scheduler call must look like before the framework it names is looked up.

use mesarch_proto::mesos::v1::FrameworkId;
use mesarch_proto::mesos::v1::scheduler::Call;
use mesarch_proto::mesos::v1::scheduler::call::{Acknowledge, Subscribe, Type, UpdateFramework};

use crate::executor::UUID_BYTES;

/// Why a call is refused (400). To be shown as "Failed to validate scheduler::Call: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// `type` is unset, or a name or number that nobody knows.
    #[error("Expecting 'type' to be present")]
    NoType,
    /// The field of this name, which belongs to the call's type or to its message, is unset.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    /// A call must name one framework.
    #[error("'framework_id' differs from '{0}.framework_info.id'")]
    FrameworkIdMismatch(&'static str),
    /// Whoever is authenticated speaks for another principal.
    #[error(
        "Authenticated principal '{authenticated}' does not match principal '{claimed}' set in FrameworkInfo"
    )]
    PrincipalMismatch {
        /// From the credentials.
        authenticated: String,
        /// From the call.
        claimed: String,
    },
    /// A uuid has sixteen bytes.
    #[error("'uuid' has {0} bytes instead of 16")]
    BadUuid(usize),
}

/// Checks the shape of a call and gives its type. `principal` is who is authenticated, if anybody.
///
/// `UNKNOWN` passes: it is answered with 501 later, after the framework has been looked up.
pub fn validate(call: &Call, principal: Option<&str>) -> Result<Type, InvalidCall> {
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or(InvalidCall::NoType)?;
    if kind == Type::Subscribe {
        let subscribe = present(&call.subscribe, "subscribe")?;
        validate_subscribe(call.framework_id.as_ref(), subscribe, principal)?;
        return Ok(kind);
    }
    let framework_id = present(&call.framework_id, "framework_id")?;
    validate_message(call, kind, framework_id, principal)?;
    Ok(kind)
}

/// Both ids unset is fine: a new framework.
fn validate_subscribe(
    framework_id: Option<&FrameworkId>,
    subscribe: &Subscribe,
    principal: Option<&str>,
) -> Result<(), InvalidCall> {
    if framework_id != subscribe.framework_info.id.as_ref() {
        return Err(InvalidCall::FrameworkIdMismatch("subscribe"));
    }
    validate_principal(subscribe.framework_info.principal.as_deref(), principal)
}

fn validate_message(
    call: &Call,
    kind: Type,
    framework_id: &FrameworkId,
    principal: Option<&str>,
) -> Result<(), InvalidCall> {
    match kind {
        Type::Accept => present(&call.accept, "accept").map(drop),
        Type::Decline => present(&call.decline, "decline").map(drop),
        Type::AcceptInverseOffers => present(&call.accept_inverse_offers, "accept_inverse_offers").map(drop),
        Type::DeclineInverseOffers => {
            present(&call.decline_inverse_offers, "decline_inverse_offers").map(drop)
        }
        Type::Kill => present(&call.kill, "kill").map(drop),
        Type::Shutdown => present(&call.shutdown, "shutdown").map(drop),
        Type::Acknowledge => validate_acknowledge(present(&call.acknowledge, "acknowledge")?),
        Type::AcknowledgeOperationStatus => {
            let acknowledge = present(&call.acknowledge_operation_status, "acknowledge_operation_status")?;
            validate_uuid(&acknowledge.uuid)?;
            present(&acknowledge.agent_id, "acknowledge_operation_status.agent_id").map(drop)
        }
        Type::Reconcile => present(&call.reconcile, "reconcile").map(drop),
        Type::ReconcileOperations => present(&call.reconcile_operations, "reconcile_operations").map(drop),
        Type::Message => present(&call.message, "message").map(drop),
        Type::Request => present(&call.request, "request").map(drop),
        Type::UpdateFramework => {
            validate_update(present(&call.update_framework, "update_framework")?, framework_id, principal)
        }
        Type::Subscribe | Type::Unknown | Type::Teardown | Type::Revive | Type::Suppress => Ok(()),
    }
}

fn validate_acknowledge(acknowledge: &Acknowledge) -> Result<(), InvalidCall> {
    validate_uuid(&acknowledge.uuid)
}

fn validate_update(
    update: &UpdateFramework,
    framework_id: &FrameworkId,
    principal: Option<&str>,
) -> Result<(), InvalidCall> {
    if update.framework_info.id.as_ref() != Some(framework_id) {
        return Err(InvalidCall::FrameworkIdMismatch("update_framework"));
    }
    validate_principal(update.framework_info.principal.as_deref(), principal)
}

/// A FrameworkInfo without principal takes the authenticated one later.
fn validate_principal(claimed: Option<&str>, authenticated: Option<&str>) -> Result<(), InvalidCall> {
    match (claimed, authenticated) {
        (Some(claimed), Some(authenticated)) if claimed != authenticated => {
            Err(InvalidCall::PrincipalMismatch {
                authenticated: authenticated.to_owned(),
                claimed: claimed.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

fn validate_uuid(uuid: &[u8]) -> Result<(), InvalidCall> {
    if uuid.len() == UUID_BYTES { Ok(()) } else { Err(InvalidCall::BadUuid(uuid.len())) }
}

fn present<'a, T>(field: &'a Option<T>, name: &'static str) -> Result<&'a T, InvalidCall> {
    field.as_ref().ok_or(InvalidCall::Missing(name))
}

#[cfg(test)]
#[path = "scheduler_test.rs"]
mod tests;
