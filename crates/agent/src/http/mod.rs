//! The agent's own HTTP API.

mod executor;
mod server;
pub(crate) mod state;

use axum::{
    Router,
    extract::{Request as HttpRequest, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

use crate::{agent::RenderMetrics, requests::Request, tasks::Tasks};

/// The level of the Mesos API that is spoken here: clients switch features on by it.
const API_LEVEL: &str = "1.11.0";

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) metrics: Option<RenderMetrics>,
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, site: Site, tasks: Tasks) {
    server::serve(listener, Router::new().fallback(route).with_state(site), tasks).await;
}

/// Routes by the longest known prefix, with or without the process' name in front, as Mesos does.
async fn route(State(site): State<Site>, request: HttpRequest) -> Response {
    match endpoint(request.uri().path()) {
        Some(Endpoint::Executor) => executor::handle(&site, request).await,
        Some(Endpoint::Health) => StatusCode::OK.into_response(),
        Some(Endpoint::Version) => {
            json_of(&json!({ "version": API_LEVEL, "mesarch_version": env!("CARGO_PKG_VERSION") }))
        }
        Some(Endpoint::Metrics) => metrics(&site),
        Some(Endpoint::State) => state_of(&site).await,
        None => (StatusCode::NOT_FOUND, "no such endpoint\n").into_response(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Executor,
    Health,
    Version,
    Metrics,
    State,
}

const ENDPOINTS: [(&str, Endpoint); 5] = [
    ("/api/v1/executor", Endpoint::Executor),
    ("/health", Endpoint::Health),
    ("/version", Endpoint::Version),
    ("/metrics", Endpoint::Metrics),
    ("/state", Endpoint::State),
];

fn endpoint(path: &str) -> Option<Endpoint> {
    if path.contains("/..") {
        return None;
    }
    let path = path.strip_prefix("/slave(1)").unwrap_or(path);
    let below =
        |known: &str| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ENDPOINTS.iter().find(|(known, _)| below(known)).map(|(_, endpoint)| *endpoint)
}

fn metrics(site: &Site) -> Response {
    match &site.metrics {
        Some(render) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render()).into_response(),
        None => (StatusCode::NOT_IMPLEMENTED, "not implemented: this process records no metrics\n")
            .into_response(),
    }
}

async fn state_of(site: &Site) -> Response {
    let (reply, answer) = oneshot::channel();
    if site.requests.send(Request::State { reply }).await.is_err() {
        return ending();
    }
    match answer.await {
        Ok(state) => json_of(&state),
        Err(_) => ending(),
    }
}

fn json_of(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// The runner is gone: the process is about to end.
fn ending() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "Agent is shutting down\n").into_response()
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
        check("/state/", Some(Endpoint::State));
        check("/slave(1)/state", Some(Endpoint::State));
        check("/stately", None);
        check("/api/v1", None);
        check("/health/../state", None);
    }
}
