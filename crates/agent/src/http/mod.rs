//! The agent's own HTTP API.

mod containers;
mod executor;
mod files;
mod gates;
mod grpc;
mod metrics;
mod operator;
mod resource_provider;
mod server;
mod site;
pub(crate) mod state;

use axum::{
    extract::Request as HttpRequest,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use mesarch_mesos_v1::{
    Query, duration,
    query::Toggle,
    v0::{HelpView, SystemView},
};
use mesarch_telemetry::{Host, logs};
use serde_json::{Value, json};
pub(crate) use server::serve;
pub(crate) use site::Site;
use site::ending;

/// The level of the Mesos API that is spoken here: clients switch features on by it.
pub(crate) const API_LEVEL: &str = "1.11.0";

/// Routes by the longest known prefix, with or without the process' name in front, as Mesos does.
async fn route(site: &Site, request: HttpRequest) -> Response {
    let query = Query::parse(request.uri().query());
    match endpoint(request.uri().path()) {
        Some(Endpoint::Executor) => executor::handle(site, request).await,
        Some(Endpoint::ResourceProvider) => resource_provider::handle(site, request).await,
        Some(Endpoint::Operator) => operator::handle(site, request).await,
        Some(Endpoint::Health) => StatusCode::OK.into_response(),
        Some(Endpoint::Version) => answer(&version(), &query),
        Some(Endpoint::Metrics) => prometheus(site),
        Some(Endpoint::MetricsSnapshot) => snapshot(site, query).await,
        Some(Endpoint::State) => site.rendered(move |look| answer(&look.render(), &query)).await,
        Some(Endpoint::Flags) => answer(&json!({ "flags": site.facts.flags }), &query),
        Some(Endpoint::Containers) => {
            site.rendered(move |look| answer(&containers::list(look, &query), &query)).await
        }
        Some(Endpoint::Statistics) => {
            site.rendered(move |look| answer(&containers::monitor(look), &query)).await
        }
        Some(Endpoint::Browse) => files::browse(site, query).await,
        Some(Endpoint::Read) => files::read_part(site, query).await,
        Some(Endpoint::Download) => files::download(site, query).await,
        Some(Endpoint::FileNames) => {
            site.rendered(move |look| answer(&json!(files::names(look)), &query)).await
        }
        Some(Endpoint::Logging) => logging(&query),
        Some(Endpoint::System) => answer(&system(), &query),
        // Containers are made in one go: nothing of it is ever left to be waited for.
        Some(Endpoint::Pending) => answer(&json!({ "pending": [] }), &query),
        Some(Endpoint::Help) => help(request.uri().path(), &query),
        Some(Endpoint::Unimplemented(name)) => not_implemented(name),
        None => (StatusCode::NOT_FOUND, "no such endpoint\n").into_response(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Executor,
    ResourceProvider,
    Operator,
    Health,
    Version,
    /// For Prometheus.
    Metrics,
    /// As Mesos has them.
    MetricsSnapshot,
    State,
    Flags,
    Containers,
    Statistics,
    Browse,
    Read,
    Download,
    FileNames,
    Logging,
    System,
    Pending,
    Help,
    /// Known in Mesos, not there yet.
    Unimplemented(&'static str),
}

/// With what each is for; longer ones before those that they begin with. Those of the agent itself may have its name in front.
const ENDPOINTS: [(&str, Endpoint, &str); 22] = [
    ("/api/v1/executor", Endpoint::Executor, "executor API"),
    ("/api/v1/resource_provider", Endpoint::ResourceProvider, "resource provider API"),
    ("/api/v1", Endpoint::Operator, "operator API"),
    ("/health", Endpoint::Health, "200 while the agent serves"),
    ("/version", Endpoint::Version, "the level of the API, and the version"),
    ("/metrics/snapshot", Endpoint::MetricsSnapshot, "metrics by the names of Mesos; timeout, jsonp"),
    ("/metrics", Endpoint::Metrics, "metrics for Prometheus"),
    ("/state", Endpoint::State, "what runs and what ran; jsonp"),
    ("/flags", Endpoint::Flags, "how the agent was started; jsonp"),
    ("/containers", Endpoint::Containers, "running containers and what they use; container_id, jsonp"),
    ("/monitor/statistics", Endpoint::Statistics, "what executors use; jsonp"),
    ("/containerizer/debug", Endpoint::Pending, "operations of the containerizer that are not done; jsonp"),
    ("/files/browse", Endpoint::Browse, "a folder of a sandbox; path, jsonp"),
    ("/files/read", Endpoint::Read, "a part of a file; path, offset, length, jsonp"),
    ("/files/download", Endpoint::Download, "a file; path"),
    ("/files/debug", Endpoint::FileNames, "where sandboxes are; jsonp"),
    ("/logging/toggle", Endpoint::Logging, "the level of the log; level, duration"),
    ("/system/stats.json", Endpoint::System, "the machine; jsonp"),
    ("/help", Endpoint::Help, "this list; format=json"),
    ("/profiler", Endpoint::Unimplemented("/profiler"), ""),
    ("/memory-profiler", Endpoint::Unimplemented("/memory-profiler"), ""),
    ("/__processes__", Endpoint::Unimplemented("/__processes__"), ""),
];

fn endpoint(path: &str) -> Option<Endpoint> {
    if path.contains("/..") {
        return None;
    }
    let path = path.strip_prefix("/slave(1)").unwrap_or(path);
    let below =
        |known: &str| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ENDPOINTS.iter().find(|(known, ..)| below(known)).map(|(_, endpoint, _)| *endpoint)
}

fn version() -> Value {
    json!({
        "version": API_LEVEL,
        "mesarch_version": env!("CARGO_PKG_VERSION"),
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
    })
}

fn prometheus(site: &Site) -> Response {
    match &site.metrics {
        Some(render) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render()).into_response(),
        None => not_implemented("this process records no metrics"),
    }
}

/// `/metrics/snapshot`. All values are in memory: a timeout is read, and never met.
async fn snapshot(site: &Site, query: Query) -> Response {
    if let Some(text) = query.get("timeout").filter(|text| duration::parse(text).is_none()) {
        return (StatusCode::BAD_REQUEST, format!("timeout: {text:?} is not like 5secs\n")).into_response();
    }
    site.rendered(move |look| answer(&json!(metrics::gather(look)), &query)).await
}

/// `/logging/toggle`: the level as text, or a new one for a while.
fn logging(query: &Query) -> Response {
    let toggled = query.toggle().and_then(|toggle| match toggle {
        Toggle::Show => Ok(format!("{}\n", logs::verbosity()).into_response()),
        Toggle::Set { level, duration } => logs::set_verbosity(level, duration)
            .map(|()| StatusCode::OK.into_response())
            .map_err(|error| error.to_string()),
    });
    toggled.unwrap_or_else(|reason| (StatusCode::BAD_REQUEST, reason).into_response())
}

fn system() -> Value {
    let host = Host::look();
    let [one, five, fifteen] = host.loads;
    json!(SystemView {
        avg_load_1min: one,
        avg_load_5min: five,
        avg_load_15min: fifteen,
        cpus_total: host.cpus,
        mem_total_bytes: host.mem_total_bytes,
        mem_free_bytes: host.mem_free_bytes,
    })
}

/// `/help`: which endpoints there are; below it, those whose path begins with what follows.
fn help(path: &str, query: &Query) -> Response {
    let asked = path.strip_prefix("/slave(1)").unwrap_or(path).strip_prefix("/help").unwrap_or_default();
    let asked = asked.strip_prefix("/slave(1)").unwrap_or(asked).trim_end_matches('/');
    let is_served = |endpoint: &Endpoint| !matches!(endpoint, Endpoint::Unimplemented(_));
    let endpoints =
        ENDPOINTS.iter().filter(|(path, endpoint, _)| is_served(endpoint) && path.starts_with(asked));
    let view = HelpView::of(endpoints.map(|(path, _, text)| (*path, *text)));
    match query.get("format") {
        Some("json") => answer(&json!(view), query),
        _ => ([(header::CONTENT_TYPE, "text/html")], view.page()).into_response(),
    }
}

/// JSON, as it is asked for.
fn answer(value: &Value, query: &Query) -> Response {
    let (body, kind) = query.wrap(value.to_string().into_bytes());
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

fn not_implemented(what: &str) -> Response {
    (StatusCode::NOT_IMPLEMENTED, format!("not implemented: {what}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_prefix_answers() {
        let check = |path, expect| assert_eq!(endpoint(path), expect, "{path}");
        check("/api/v1/executor", Some(Endpoint::Executor));
        check("/slave(1)/api/v1/executor/", Some(Endpoint::Executor));
        check("/api/v1/executor/more", Some(Endpoint::Executor));
        check("/api/v1", Some(Endpoint::Operator));
        check("/slave(1)/api/v1/operator", Some(Endpoint::Operator));
        check("/state/", Some(Endpoint::State));
        check("/slave(1)/state", Some(Endpoint::State));
        check("/metrics/snapshot", Some(Endpoint::MetricsSnapshot));
        check("/metrics", Some(Endpoint::Metrics));
        check("/slave(1)/monitor/statistics", Some(Endpoint::Statistics));
        check("/files/read/", Some(Endpoint::Read));
        check("/files", None);
        check("/stately", None);
        check("/health/../state", None);
    }

    #[test]
    fn every_endpoint_is_reached_by_its_own_path() {
        for (path, expect, _) in ENDPOINTS {
            assert_eq!(endpoint(path), Some(expect), "{path}");
        }
    }
}
