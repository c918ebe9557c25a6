//! What any master answers about itself: flags, machine, log.

use std::{collections::BTreeMap, time::Duration};

use axum::body::Body;
use http::{Response, StatusCode};
use mesarch_telemetry::logs;
use serde::Serialize;

use super::{Query, answer, duration};
use crate::{app::App, http::error};

#[derive(Serialize)]
struct FlagsView {
    flags: BTreeMap<&'static str, String>,
}

/// `/flags`.
pub(in crate::http) fn flags_view(app: &App, query: &Query) -> Response<Body> {
    answer(&FlagsView { flags: flags(app) }, query)
}

/// Those settings that have a flag of Mesos' as their like.
pub(in crate::http) fn flags(app: &App) -> BTreeMap<&'static str, String> {
    let options = &app.options;
    let duration = |ms: u64| match ms % 1000 {
        0 => format!("{}secs", ms / 1000),
        _ => format!("{ms}ms"),
    };
    let mut flags = BTreeMap::from([
        ("agent_ping_timeout", duration(options.agent_ping_timeout_ms)),
        ("agent_reregister_timeout", duration(options.agent_reregister_timeout_ms)),
        ("allocation_interval", duration(options.allocation_interval_ms)),
        ("authenticate_agents", "false".to_owned()),
        ("authenticate_frameworks", "false".to_owned()),
        ("authenticate_http_frameworks", "false".to_owned()),
        ("authenticate_http_readonly", "false".to_owned()),
        ("authenticate_http_readwrite", "false".to_owned()),
        ("filter_gpu_resources", options.filter_gpu_resources.to_string()),
        ("hostname", app.facts.host().to_owned()),
        ("max_agent_ping_timeouts", options.max_agent_ping_timeouts.to_string()),
        ("min_allocatable_resources", options.min_allocatable_resources.clone()),
        ("port", app.facts.port().to_string()),
        ("work_dir", options.data_dir.display().to_string()),
    ]);
    if let Some(timeout) = options.offer_timeout_ms {
        flags.insert("offer_timeout", duration(timeout));
    }
    if !options.cluster.is_empty() {
        flags.insert("cluster", options.cluster.clone());
    }
    flags
}

#[derive(Serialize)]
struct SystemView {
    avg_load_1min: f64,
    avg_load_5min: f64,
    avg_load_15min: f64,
    cpus_total: usize,
    mem_total_bytes: u64,
    mem_free_bytes: u64,
}

/// `/system/stats.json`.
pub(in crate::http) fn system(query: &Query) -> Response<Body> {
    /// The kernel's loads are fractions of this.
    const LOAD_UNIT: f64 = 65_536.0;
    let info = rustix::system::sysinfo();
    let load = |place: usize| info.loads[place] as f64 / LOAD_UNIT;
    let bytes = |units: u64| units.saturating_mul(u64::from(info.mem_unit));
    let view = SystemView {
        avg_load_1min: load(0),
        avg_load_5min: load(1),
        avg_load_15min: load(2),
        cpus_total: std::thread::available_parallelism().map_or(1, usize::from),
        mem_total_bytes: bytes(info.totalram),
        mem_free_bytes: bytes(info.freeram),
    };
    answer(&view, query)
}

/// `/logging/toggle`: the level as text, or a new one for a while.
pub(in crate::http) fn logging(query: &Query) -> Response<Body> {
    match (query.get("level"), query.get("duration")) {
        (None, None) => error::text(StatusCode::OK, &format!("{}\n", logs::verbosity())),
        (Some(level), Some(duration)) => match toggled(level, duration) {
            Ok(()) => super::super::empty(StatusCode::OK),
            Err(reason) => error::text(StatusCode::BAD_REQUEST, &reason),
        },
        (None, Some(_)) => error::text(StatusCode::BAD_REQUEST, "Expecting 'level=value' in query"),
        (Some(_), None) => error::text(StatusCode::BAD_REQUEST, "Expecting 'duration=value' in query"),
    }
}

fn toggled(level: &str, duration: &str) -> Result<(), String> {
    let level: u32 = level.parse().map_err(|_| format!("level: {level:?} is not a number from 0 up"))?;
    let duration: Duration =
        duration::parse(duration).ok_or_else(|| format!("duration: {duration:?} is not like 5mins"))?;
    logs::set_verbosity(level, duration).map_err(|error| error.to_string())
}
