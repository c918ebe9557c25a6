//! Refusals in HTTP: one table for calls, and the few that have no call.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use mesarch_consensus::{Full, Resource};

use crate::calls::CallError;

/// Names what has run out, on a refusal for that.
const FULL: HeaderName = HeaderName::from_static("mesarch-full");

/// A refusal with its reason as plain text.
pub(super) fn text(status: StatusCode, reason: &str) -> Response<Body> {
    mesarch_edge::refusal(status, reason)
}

/// 501 for what is not there yet.
pub(super) fn not_implemented(what: &str) -> Response<Body> {
    text(StatusCode::NOT_IMPLEMENTED, &format!("not implemented: {what}"))
}

/// 405, with the methods that are allowed.
pub(super) fn method_not_allowed(allowed: &[&'static str]) -> Response<Body> {
    let quoted: Vec<String> = allowed.iter().map(|method| format!("'{method}'")).collect();
    let reason = format!("Expecting one of {{ {} }}", quoted.join(", "));
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &reason);
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// Status of a refused call.
pub(super) fn status(error: &CallError) -> StatusCode {
    match error {
        CallError::Invalid(_)
        | CallError::Framework(_)
        | CallError::StreamIdOnSubscribe
        | CallError::UnknownFramework
        | CallError::NoStreamId
        | CallError::WrongStreamId => StatusCode::BAD_REQUEST,
        CallError::NotSubscribed => StatusCode::FORBIDDEN,
        CallError::TooManyTasks { .. } | CallError::TooManyOperations { .. } | CallError::TooLarge { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        CallError::UnknownType | CallError::NotImplemented(_) | CallError::Level { .. } => {
            StatusCode::NOT_IMPLEMENTED
        }
        CallError::Busy | CallError::Full(_) | CallError::NotLeader | CallError::Unknown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// A refused call. `Retry-After` says that nothing was done, so it is not said where that is unknown.
pub(super) fn of_call(error: &CallError) -> Response<Body> {
    let mut response = text(status(error), &error.to_string());
    match error {
        CallError::Unknown => drop(response.headers_mut().remove(header::RETRY_AFTER)),
        CallError::Full(full) => tell_full(&mut response, full),
        _ => {}
    }
    response
}

/// What has run out, for programs. It comes back less soon than a place in a queue.
fn tell_full(response: &mut Response<Body>, full: &Full) {
    const RETRY_AFTER_SECONDS: u16 = 5;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    let what = match full.what {
        Resource::Disk => "disk space",
        Resource::Memory => "memory",
        Resource::Descriptors => "descriptors",
    };
    response.headers_mut().insert(FULL, HeaderValue::from_static(what));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_that_is_full_says_of_what() {
        let full = Full { what: Resource::Disk, free: 1, reserve: 2 };
        let response = of_call(&CallError::Full(full));
        assert_eq!(response.headers()[FULL], "disk space");
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
        assert!(!of_call(&CallError::Busy).headers().contains_key(FULL));
    }

    #[test]
    fn only_calls_that_did_nothing_are_to_be_tried_again() {
        let table = [(CallError::Busy, true), (CallError::NotLeader, true), (CallError::Unknown, false)];
        for (error, expect) in table {
            let response = of_call(&error);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), expect, "{error}");
        }
    }
}
