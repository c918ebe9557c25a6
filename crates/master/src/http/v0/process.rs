//! What any master answers about itself: flags, machine, log.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{Response, StatusCode};
use mesarch_mesos_v1::{query::Toggle, v0::SystemView};
use mesarch_telemetry::{Host, logs};
use serde::Serialize;

use super::{Query, answer};
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

/// `/system/stats.json`.
pub(in crate::http) fn system(query: &Query) -> Response<Body> {
    let host = Host::look();
    let [one, five, fifteen] = host.loads;
    let view = SystemView {
        avg_load_1min: one,
        avg_load_5min: five,
        avg_load_15min: fifteen,
        cpus_total: host.cpus,
        mem_total_bytes: host.mem_total_bytes,
        mem_free_bytes: host.mem_free_bytes,
    };
    answer(&view, query)
}

/// `/logging/toggle`: the level as text, or a new one for a while.
pub(in crate::http) fn logging(query: &Query) -> Response<Body> {
    let toggled = query.toggle().and_then(|toggle| match toggle {
        Toggle::Show => Ok(error::text(StatusCode::OK, &format!("{}\n", logs::verbosity()))),
        Toggle::Set { level, duration } => logs::set_verbosity(level, duration)
            .map(|()| super::super::empty(StatusCode::OK))
            .map_err(|error| error.to_string()),
    });
    toggled.unwrap_or_else(|reason| error::text(StatusCode::BAD_REQUEST, &reason))
}
