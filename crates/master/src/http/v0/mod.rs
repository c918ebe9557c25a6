//! The reads that tools made for Mesos rely on, in the shapes that it gave them.

mod model;
mod numbers;
mod roles;
mod snapshot;
mod tasks;

#[cfg(test)]
mod v0_test;

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use mesarch_state::State;
use serde::Serialize;

use super::{error, json, routes::Read};
use crate::{app::App, leader::Session, master_info::API_VERSION};

/// How long a read waits for its turn.
const READ_WAIT: Duration = Duration::from_secs(10);

/// Query parameters; the last of a name counts.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(decoded).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The function that JSONP wants; only a plain JavaScript path, so that nothing else can be smuggled in.
    fn jsonp(&self) -> Option<&str> {
        let plain = |name: &&str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.'))
        };
        self.get("jsonp").filter(plain)
    }
}

fn decoded((key, value): (&str, &str)) -> (String, String) {
    (percent_decoded(key), percent_decoded(value))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A read by the leader, while it holds its lease. Rendered from a copy of the state, on a thread of its own: a big
/// answer takes its time, and nobody waits for it but its reader.
pub(super) async fn read(
    app: Arc<App>,
    session: Arc<Session>,
    read: Read,
    query: Option<String>,
) -> Response<Body> {
    if let Err(error) = app.consensus.0.lease_read().await {
        tracing::debug!(%error, "a read was refused: the lease is not held");
        return error::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected");
    }
    let Ok(Ok(_place)) = tokio::time::timeout(READ_WAIT, app.reads.acquire()).await else {
        return error::text(StatusCode::SERVICE_UNAVAILABLE, "too many reads at a time");
    };
    let published = app.newest();
    let shared = app.clone();
    let render = move || render(&shared, &session, &published.state, read, &Query::parse(query.as_deref()));
    tokio::task::spawn_blocking(render).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a read failed");
        error::text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written")
    })
}

fn render(app: &App, session: &Session, state: &State, read: Read, query: &Query) -> Response<Body> {
    match read {
        Read::State => answer(&model::state(app, session, state), query),
        Read::Frameworks => answer(&model::frameworks(state, query.get("framework_id")), query),
        Read::Slaves => answer(&model::slaves(state, query.get("slave_id")), query),
        Read::Tasks => answer(&tasks::list(state, query), query),
        Read::Roles => answer(&roles::list(state), query),
    }
}

fn answer(value: &impl Serialize, query: &Query) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json(bytes, query.jsonp()),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            error::text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written")
        }
    }
}

/// The API level that we implement, which clients compare, and our own version beside it.
pub(super) fn version(query: Option<&str>) -> Response<Body> {
    #[derive(Serialize)]
    struct Version {
        version: &'static str,
        mesarch_version: &'static str,
        build_date: &'static str,
        build_time: f64,
        build_user: &'static str,
    }
    let version = Version {
        version: API_VERSION,
        mesarch_version: env!("CARGO_PKG_VERSION"),
        build_date: "",
        build_time: 0.0,
        build_user: "",
    };
    answer(&version, &Query::parse(query))
}

/// `/metrics`.
pub(super) fn prometheus(app: &App) -> Response<Body> {
    let Some(exporter) = &app.exporter else {
        return error::text(StatusCode::NOT_FOUND, "this master was started without metrics");
    };
    let mut response = Response::new(Body::from(exporter.render()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `/metrics/snapshot`.
pub(super) fn metrics_snapshot(app: &App, query: Option<&str>) -> Response<Body> {
    answer(&snapshot::gather(app), &Query::parse(query))
}
