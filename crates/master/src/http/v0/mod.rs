//! The endpoints without a version that tools made for Mesos rely on, in the shapes that it gave them.

mod change;
mod duration;
mod help;
mod model;
mod numbers;
mod policy;
mod process;
mod roles;
mod snapshot;
mod summary;
mod tasks;

#[cfg(test)]
mod v0_test;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use mesarch_state::State;
use serde::Serialize;

use super::{error, json, routes::Read};
use crate::{app::App, leader::Session, master_info::API_VERSION, operator::maintenance};

pub(super) use change::make as change;
pub(super) use help::help;
pub(super) use process::{flags, flags_view, logging, system};
pub(super) use roles::{RoleHoldings, role_holdings};
pub(super) use snapshot::gather as metrics;

/// Query parameters; the last of a name counts.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
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

/// A read by the leader, while it holds its lease.
pub(super) async fn read(
    app: Arc<App>,
    session: Arc<Session>,
    read: Read,
    query: Option<String>,
) -> Response<Body> {
    let render =
        move |app: &App, state: &State| render(app, &session, state, read, &Query::parse(query.as_deref()));
    super::read::rendered(app, render).await
}

fn render(app: &App, session: &Session, state: &State, read: Read, query: &Query) -> Response<Body> {
    match read {
        Read::State => answer(&model::state(app, session, state), query),
        Read::Summary => answer(&summary::summary(app, state), query),
        Read::Frameworks => answer(&model::frameworks(state, query.get("framework_id")), query),
        Read::Slaves => answer(&model::slaves(state, query.get("slave_id")), query),
        Read::Tasks => answer(&tasks::list(state, query), query),
        Read::Roles => answer(&roles::list(state), query),
        Read::Quota => answer(&policy::quota(state), query),
        Read::Weights => answer(&policy::weights(state), query),
        Read::Registry => answer(&policy::registry(app, state), query),
        Read::MaintenanceSchedule => answer(&model::raw(&maintenance::present_schedule(state)), query),
        Read::MaintenanceStatus => answer(&model::raw(&maintenance::cluster_status(state)), query),
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
pub(super) fn version(query: &Query) -> Response<Body> {
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
    answer(&version, query)
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

/// `/metrics/snapshot`. All values are in memory: a timeout is read, and never met.
pub(super) fn metrics_snapshot(app: &App, query: &Query) -> Response<Body> {
    if let Some(text) = query.get("timeout").filter(|text| duration::parse(text).is_none()) {
        return error::text(StatusCode::BAD_REQUEST, &format!("timeout: {text:?} is not like 5secs"));
    }
    answer(&metrics(app), query)
}

/// Files, by either API: there are none to show.
pub(super) fn no_files() -> Response<Body> {
    error::text(StatusCode::NOT_FOUND, "no such file: a master logs to standard error and attaches no files")
}

/// `/files/debug`: which files are attached.
pub(super) fn no_file_names(query: &Query) -> Response<Body> {
    answer(&BTreeMap::<&str, &str>::new(), query)
}
