//! The agent's own HTTP API.

mod executor;
mod idle;
mod server;
pub(crate) mod state;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request as HttpRequest, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::{agent::RenderMetrics, requests::Request, tasks::Tasks};

/// The level of the Mesos API that is spoken here: clients switch features on by it.
const API_LEVEL: &str = "1.11.0";

/// How long a connection may be without a whole request: shorter than what clients take for a dead server.
const UNUSED_MAX: Duration = Duration::from_secs(30);
/// Most `/state` answers that are made at a time; others wait so long for their turn.
const READS_MAX: usize = 2;
const READ_WITHIN: Duration = Duration::from_secs(5);

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Site {
    requests: mpsc::Sender<Request>,
    metrics: Option<RenderMetrics>,
    reads: Arc<Semaphore>,
}

impl Site {
    pub(crate) fn new(requests: mpsc::Sender<Request>, metrics: Option<RenderMetrics>) -> Self {
        Self { requests, metrics, reads: Arc::new(Semaphore::new(READS_MAX)) }
    }
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, site: Site, tasks: Tasks) {
    server::serve(listener, Router::new().fallback(route).with_state(site), tasks, UNUSED_MAX).await;
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

/// Taken by the runner, rendered here: tasks do not wait for readers.
async fn state_of(site: &Site) -> Response {
    let Ok(Ok(turn)) = timeout(READ_WITHIN, site.reads.clone().acquire_owned()).await else {
        let busy = "too many readers of /state; try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], busy).into_response();
    };
    let (reply, answer) = oneshot::channel();
    if site.requests.send(Request::State { reply }).await.is_err() {
        return ending();
    }
    let Ok(look) = answer.await else { return ending() };
    let rendered = tokio::task::spawn_blocking(move || {
        let text = look.render().to_string();
        drop(turn);
        text
    });
    match rendered.await {
        Ok(text) => json_text(text),
        Err(_) => ending(),
    }
}

fn json_of(value: &serde_json::Value) -> Response {
    json_text(value.to_string())
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
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
