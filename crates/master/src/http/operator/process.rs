//! Calls about the master itself: health, flags, version, metrics, log, and who it is.

use axum::body::Body;
use http::{Response, StatusCode};
use mesarch_proto::mesos::v1::{
    Flag, Metric, VersionInfo,
    master::{
        Response as Answer,
        call::SetLoggingLevel,
        response::{self, Type as AnswerType},
    },
};
use mesarch_telemetry::logs;

use super::of;
use crate::{
    app::App,
    http::{empty, error, v0},
    leader::Session,
    master_info::API_VERSION,
    status::seconds,
};

pub(super) fn health() -> Answer {
    Answer { get_health: Some(response::GetHealth { healthy: true }), ..of(AnswerType::GetHealth) }
}

pub(super) fn flags(app: &App) -> Answer {
    let flags = v0::flags(app).into_iter();
    let flags = flags.map(|(name, value)| Flag { name: name.to_owned(), value: Some(value) });
    let get_flags = response::GetFlags { flags: flags.collect() };
    Answer { get_flags: Some(get_flags), ..of(AnswerType::GetFlags) }
}

pub(super) fn version() -> Answer {
    let version_info = VersionInfo { version: API_VERSION.to_owned(), ..VersionInfo::default() };
    Answer { get_version: Some(response::GetVersion { version_info }), ..of(AnswerType::GetVersion) }
}

/// All are in memory: no timeout is ever met.
pub(super) fn metrics(app: &App) -> Answer {
    let metrics = v0::mesos_metrics(app).into_iter().map(|(name, value)| Metric { name, value: Some(value) });
    let get_metrics = response::GetMetrics { metrics: metrics.collect() };
    Answer { get_metrics: Some(get_metrics), ..of(AnswerType::GetMetrics) }
}

pub(super) fn logging_level() -> Answer {
    let get_logging_level = response::GetLoggingLevel { level: logs::verbosity() };
    Answer { get_logging_level: Some(get_logging_level), ..of(AnswerType::GetLoggingLevel) }
}

/// Who leads: this master.
pub(super) fn master(app: &App, session: &Session) -> Answer {
    let get_master = response::GetMaster {
        master_info: Some(app.facts().info()),
        start_time: Some(seconds(app.started)),
        elected_time: Some(seconds(session.since)),
    };
    Answer { get_master: Some(get_master), ..of(AnswerType::GetMaster) }
}

pub(super) fn set_logging_level(call: &SetLoggingLevel) -> Response<Body> {
    let Ok(nanoseconds) = u64::try_from(call.duration.nanoseconds) else {
        return error::text(StatusCode::BAD_REQUEST, "duration: must not be negative");
    };
    match logs::set_verbosity(call.level, std::time::Duration::from_nanos(nanoseconds)) {
        Ok(()) => empty(StatusCode::OK),
        Err(error) => error::text(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}
