//! What an executor call must look like before the executor it names is looked up.

use mesarch_proto::mesos::v1::executor::Call;
use mesarch_proto::mesos::v1::executor::call::Type;
use mesarch_proto::mesos::v1::{CheckStatusInfo, ExecutorId, TaskState, TaskStatus, check_info, task_status};

/// Length of a uuid on the wire.
pub const UUID_BYTES: usize = 16;

/// Why a call is refused (400). To be shown as "Failed to validate executor::Call: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// `type` is unset, or a name or number that nobody knows.
    #[error("Expecting 'type' to be present")]
    NoType,
    /// The field of this name is unset.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    /// A uuid has sixteen bytes.
    #[error("'uuid' has {0} bytes instead of 16")]
    BadUuid(usize),
    /// The status speaks of another executor than the call.
    #[error("Executor '{call}' of the call differs from executor '{status}' of the status")]
    ExecutorMismatch {
        /// As the call says.
        call: String,
        /// As the status says.
        status: String,
    },
    /// Executors may not speak for others.
    #[error("Expecting 'source' to be SOURCE_EXECUTOR")]
    BadSource,
    /// Only the master says that a task is staging.
    #[error("A status update may not be TASK_STAGING")]
    Staging,
    /// The type of a check status is unset or UNKNOWN.
    #[error("Expecting 'check_status' to have a known 'type'")]
    BadCheckType,
}

/// Checks the shape of a call and gives its type. An update may leave out agent and executor: the agent fills them in.
pub fn validate(call: &Call) -> Result<Type, InvalidCall> {
    let kind = call.r#type.and_then(|number| Type::try_from(number).ok()).ok_or(InvalidCall::NoType)?;
    match kind {
        Type::Subscribe => present(&call.subscribe, "subscribe").map(drop)?,
        Type::Update => {
            let update = present(&call.update, "update")?;
            validate_status(&update.status, &call.executor_id)?;
        }
        Type::Message => present(&call.message, "message").map(drop)?,
        Type::Heartbeat | Type::Unknown => {}
    }
    Ok(kind)
}

fn validate_status(status: &TaskStatus, executor_id: &ExecutorId) -> Result<(), InvalidCall> {
    let uuid = present(&status.uuid, "uuid")?;
    if uuid.len() != UUID_BYTES {
        return Err(InvalidCall::BadUuid(uuid.len()));
    }
    if let Some(other) = status.executor_id.as_ref().filter(|other| *other != executor_id) {
        let (call, status) = (executor_id.value.clone(), other.value.clone());
        return Err(InvalidCall::ExecutorMismatch { call, status });
    }
    if status.source != Some(task_status::Source::Executor as i32) {
        return Err(InvalidCall::BadSource);
    }
    if status.state == TaskState::TaskStaging as i32 {
        return Err(InvalidCall::Staging);
    }
    status.check_status.as_ref().map_or(Ok(()), validate_check_status)
}

/// The inner field that belongs to the type is there; it may be empty while nothing is known.
fn validate_check_status(check: &CheckStatusInfo) -> Result<(), InvalidCall> {
    match check.r#type.and_then(|number| check_info::Type::try_from(number).ok()) {
        Some(check_info::Type::Command) => present(&check.command, "check_status.command").map(drop),
        Some(check_info::Type::Http) => present(&check.http, "check_status.http").map(drop),
        Some(check_info::Type::Tcp) => present(&check.tcp, "check_status.tcp").map(drop),
        Some(check_info::Type::Unknown) | None => Err(InvalidCall::BadCheckType),
    }
}

fn present<'a, T>(field: &'a Option<T>, name: &'static str) -> Result<&'a T, InvalidCall> {
    field.as_ref().ok_or(InvalidCall::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = r#""uuid":"AAAAAAAAAAAAAAAAAAAAAA==""#;

    fn validated(rest: &str) -> Result<Type, String> {
        let json = format!(r#"{{"executor_id":{{"value":"e"}},"framework_id":{{"value":"f"}}{rest}}}"#);
        let call: Call = crate::json::decode(json.as_bytes()).map_err(|error| error.to_string())?;
        validate(&call).map_err(|error| error.to_string())
    }

    fn update(state: &str, rest: &str) -> Result<Type, String> {
        let status = format!(r#"{{"task_id":{{"value":"t"}},"state":"{state}"{rest}}}"#);
        validated(&format!(r#","type":"UPDATE","update":{{"status":{status}}}"#))
    }

    #[test]
    fn good_calls_pass() {
        assert_eq!(validated(r#","type":"SUBSCRIBE","subscribe":{}"#), Ok(Type::Subscribe));
        assert_eq!(validated(r#","type":"HEARTBEAT""#), Ok(Type::Heartbeat));
        assert_eq!(validated(r#","type":"MESSAGE","message":{"data":"AA=="}"#), Ok(Type::Message));
        assert_eq!(
            update("TASK_RUNNING", &format!(r#",{UUID},"source":"SOURCE_EXECUTOR""#)),
            Ok(Type::Update)
        );
        let check = r#""check_status":{"type":"COMMAND","command":{}}"#;
        let rest = format!(r#",{UUID},"source":"SOURCE_EXECUTOR","executor_id":{{"value":"e"}},{check}"#);
        assert_eq!(update("TASK_FINISHED", &rest), Ok(Type::Update));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |got: Result<Type, String>, expect: &str| assert_eq!(got, Err(expect.to_owned()));
        let source = r#""source":"SOURCE_EXECUTOR""#;
        check(validated(""), "Expecting 'type' to be present");
        check(validated(r#","type":"SUBSCRIBE""#), "Expecting 'subscribe' to be present");
        check(validated(r#","type":"UPDATE""#), "Expecting 'update' to be present");
        check(validated(r#","type":"MESSAGE""#), "Expecting 'message' to be present");
        check(update("TASK_RUNNING", &format!(",{source}")), "Expecting 'uuid' to be present");
        check(
            update("TASK_RUNNING", &format!(r#",{source},"uuid":"AA==""#)),
            "'uuid' has 1 bytes instead of 16",
        );
        check(update("TASK_RUNNING", &format!(",{UUID}")), "Expecting 'source' to be SOURCE_EXECUTOR");
        check(
            update("TASK_STAGING", &format!(",{UUID},{source}")),
            "A status update may not be TASK_STAGING",
        );
        check(
            update("TASK_RUNNING", &format!(r#",{UUID},{source},"executor_id":{{"value":"x"}}"#)),
            "Executor 'e' of the call differs from executor 'x' of the status",
        );
        check(
            update(
                "TASK_RUNNING",
                &format!(r#",{UUID},{source},"check_status":{{"type":"TCP","http":{{}}}}"#),
            ),
            "Expecting 'check_status.tcp' to be present",
        );
        check(
            update("TASK_RUNNING", &format!(r#",{UUID},{source},"check_status":{{}}"#)),
            "Expecting 'check_status' to have a known 'type'",
        );
    }
}
