//! The endpoints without a version that tools made for Mesos rely on, in the shapes that it gave them.

mod change;
mod each;
mod frameworks;
mod help;
mod model;
mod numbers;
mod out;
mod policy;
mod process;
mod roles;
mod snapshot;
mod summary;
mod tasks;

#[cfg(test)]
mod v0_test;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use mesarch_mesos_v1::duration;
use mesarch_state::State;
use serde::Serialize;

use super::{
    error, json,
    read::{Asked, Reader, takes_gzip},
    render::{Sink, What},
    routes::Read,
};
use crate::{app::App, leader::Session, master_info::API_VERSION, metrics, operator::maintenance};

pub(super) use change::make as change;
pub(super) use help::help;
pub(super) use mesarch_mesos_v1::Query;
pub(super) use process::{flags, flags_view, logging, system};
pub(super) use roles::{RoleHoldings, role_holdings};
pub(super) use snapshot::gather as mesos_metrics;

use out::Out;

/// Parameters of a query that change an answer; others, as those that are to get around caches, do not.
const PARAMETERS: [&str; 7] = ["jsonp", "framework_id", "slave_id", "task_id", "limit", "offset", "order"];

/// A read of the state, as fresh as its reader wants it.
pub(super) async fn read(
    app: Arc<App>,
    reader: Reader,
    read: Read,
    request: &Request<Incoming>,
) -> Response<Body> {
    let query = Query::parse(request.uri().query()).only(&PARAMETERS);
    let asked = Asked {
        what: What::V0(read, query.clone()),
        media: query.media(),
        gzip: takes_gzip(request.headers()),
        head: request.method() == Method::HEAD,
    };
    let session = reader.session().cloned();
    let render = move |app: &App, state: &State, sink: &mut Sink| {
        let Some(function) = query.jsonp() else {
            return render(app, session.as_deref(), state, read, &query, sink);
        };
        write!(sink, "{function}(")?;
        render(app, session.as_deref(), state, read, &query, sink)?;
        sink.write_all(b");")
    };
    super::read::rendered(app, reader, asked, render).await
}

fn render(
    app: &App,
    session: Option<&Session>,
    state: &State,
    read: Read,
    query: &Query,
    sink: &mut Sink,
) -> io::Result<()> {
    match read {
        Read::State => Out::pieces(sink, |out| model::state(app, session, state, out)),
        Read::Summary => write(&summary::summary(app, state), sink),
        Read::Frameworks => {
            let only = query.get("framework_id");
            Out::pieces(sink, |out| frameworks::frameworks(state, only, out))
        }
        Read::Slaves => Out::pieces(sink, |out| model::slaves(state, query.get("slave_id"), out)),
        Read::Tasks => Out::pieces(sink, |out| tasks::list(state, query, out)),
        Read::Roles => write(&roles::list(state), sink),
        Read::Quota => write(&policy::quota(state), sink),
        Read::Weights => write(&policy::weights(state), sink),
        Read::Registry => write(&policy::registry(app, state), sink),
        Read::MaintenanceSchedule => write(&model::raw(&maintenance::present_schedule(state)), sink),
        Read::MaintenanceStatus => write(&model::raw(&maintenance::cluster_status(state)), sink),
    }
}

/// What `/frameworks`, `/slaves` and `/roles` tell of `state`, in one object: of a state that no master serves.
///
/// # Errors
/// Something in it has no form in JSON.
pub fn past(state: &State) -> serde_json::Result<serde_json::Value> {
    let parsed = |text: io::Result<Vec<u8>>| serde_json::from_slice(&text.map_err(serde_json::Error::io)?);
    let mut all = serde_json::Map::new();
    for part in [
        parsed(Out::whole(|out| frameworks::frameworks(state, None, out)))?,
        parsed(Out::whole(|out| model::slaves(state, None, out)))?,
        serde_json::to_value(roles::list(state))?,
    ] {
        if let serde_json::Value::Object(part) = part {
            all.extend(part);
        }
    }
    Ok(serde_json::Value::Object(all))
}

fn write(value: &impl Serialize, sink: &mut Sink) -> io::Result<()> {
    serde_json::to_writer(sink, value).map_err(io::Error::from)
}

fn answer(value: &impl Serialize, query: &Query) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json(bytes, query),
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
    metrics::administration(&app.newest().state);
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
    answer(&mesos_metrics(app), query)
}

/// Files, by either API: there are none to show.
pub(super) fn no_files() -> Response<Body> {
    error::text(StatusCode::NOT_FOUND, "no such file: a master logs to standard error and attaches no files")
}

/// `/files/debug`: which files are attached.
pub(super) fn no_file_names(query: &Query) -> Response<Body> {
    answer(&BTreeMap::<&str, &str>::new(), query)
}
