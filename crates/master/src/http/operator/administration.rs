//! Agents and machines taken out of service, answered once that is committed.

use axum::body::Body;
use http::{Response, StatusCode};
use mesarch_proto::mesos::v1::{MachineId, maintenance::Schedule, master::call::DrainAgent};
use mesarch_state::{
    Command,
    command::{DeactivateAgent, MarkAgentGone, ReactivateAgent},
    outcome::Denial,
};
use mesarch_types::AgentId;

use super::change::committed;
use crate::{
    app::App,
    http::error,
    leader::Session,
    operator::{ChangeError, maintenance, request::invalid},
};

/// Begins a drain; the answer does not wait for its end.
pub(super) async fn drain(
    app: &App,
    session: &Session,
    asked: &DrainAgent,
) -> Result<Response<Body>, ChangeError> {
    let max_grace_ns = match &asked.max_grace_period {
        None => None,
        Some(max) => Some(nanoseconds(max.seconds, max.nanos).ok_or_else(|| {
            invalid("max_grace_period: must not be negative, and its nanos must be below one second")
        })?),
    };
    let command = mesarch_state::command::DrainAgent {
        agent: AgentId::from(asked.agent_id.value.as_str()),
        max_grace_ns,
        mark_gone: asked.mark_gone(),
    };
    committed(app, session, Command::DrainAgent(command), StatusCode::OK).await
}

/// Of a protobuf duration; none if it is negative or malformed. One that is longer than can be told is as long as can be.
fn nanoseconds(seconds: i64, nanos: i32) -> Option<u64> {
    let (seconds, nanos) = (u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
    let whole = seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(nanos));
    (nanos < 1_000_000_000).then_some(whole.min(i64::MAX.unsigned_abs()))
}

/// No more offers of an agent.
pub(super) async fn deactivate(
    app: &App,
    session: &Session,
    agent: &str,
) -> Result<Response<Body>, ChangeError> {
    let command = Command::DeactivateAgent(DeactivateAgent { agent: agent.into() });
    committed(app, session, command, StatusCode::OK).await
}

/// Offers of an agent again.
pub(super) async fn reactivate(
    app: &App,
    session: &Session,
    agent: &str,
) -> Result<Response<Body>, ChangeError> {
    let command = Command::ReactivateAgent(ReactivateAgent { agent: agent.into() });
    committed(app, session, command, StatusCode::OK).await
}

/// An agent is no more. Unlike with the other calls, one that is unknown is not found.
pub(super) async fn mark_gone(
    app: &App,
    session: &Session,
    agent: &str,
) -> Result<Response<Body>, ChangeError> {
    let command = Command::MarkAgentGone(MarkAgentGone { agent: agent.into() });
    match committed(app, session, command, StatusCode::OK).await {
        Err(error @ ChangeError::Denied(Denial::UnknownAgent(_))) => {
            Ok(error::text(StatusCode::NOT_FOUND, &error.to_string()))
        }
        answered => answered,
    }
}

/// Replaces the maintenance schedule.
pub(in crate::http) async fn set_schedule(
    app: &App,
    session: &Session,
    schedule: &Schedule,
) -> Result<Response<Body>, ChangeError> {
    committed(app, session, maintenance::schedule(schedule)?, StatusCode::OK).await
}

/// Scheduled machines go down.
pub(in crate::http) async fn start_maintenance(
    app: &App,
    session: &Session,
    machines: &[MachineId],
) -> Result<Response<Body>, ChangeError> {
    let command = Command::StartMaintenance(maintenance::machines(machines)?);
    committed(app, session, command, StatusCode::OK).await
}

/// Machines that were down are up.
pub(in crate::http) async fn stop_maintenance(
    app: &App,
    session: &Session,
    machines: &[MachineId],
) -> Result<Response<Body>, ChangeError> {
    let command = Command::StopMaintenance(maintenance::machines(machines)?);
    committed(app, session, command, StatusCode::OK).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_whole() {
        assert_eq!(nanoseconds(1, 500_000_000), Some(1_500_000_000));
        assert_eq!(nanoseconds(0, 0), Some(0));
        assert_eq!(nanoseconds(i64::MAX, 0), Some(i64::MAX.unsigned_abs()));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(nanoseconds(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
