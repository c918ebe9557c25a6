//! The endpoints without a version that tools made for Mesos rely on, in the shapes that it gave them.

mod change;
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

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use mesarch_mesos_v1::duration;
use mesarch_state::State;
use serde::Serialize;

use super::{error, json, read::Reader, routes::Read};
use crate::{app::App, leader::Session, master_info::API_VERSION, operator::maintenance};

pub(super) use change::make as change;
pub(super) use help::help;
pub(super) use mesarch_mesos_v1::Query;
pub(super) use process::{flags, flags_view, logging, system};
pub(super) use roles::{RoleHoldings, role_holdings};
pub(super) use snapshot::gather as metrics;

/// A read of the state, as fresh as its reader wants it.
pub(super) async fn read(app: Arc<App>, reader: Reader, read: Read, query: Option<String>) -> Response<Body> {
    let session = reader.session().cloned();
    let render = move |app: &App, state: &State| {
        render(app, session.as_deref(), state, read, &Query::parse(query.as_deref()))
    };
    super::read::rendered(app, reader, render).await
}

fn render(app: &App, session: Option<&Session>, state: &State, read: Read, query: &Query) -> Response<Body> {
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

/// What `/frameworks`, `/slaves` and `/roles` tell of `state`, in one object: of a state that no master serves.
///
/// # Errors
/// Something in it has no form in JSON.
pub fn past(state: &State) -> serde_json::Result<serde_json::Value> {
    let (frameworks, slaves) = (model::frameworks(state, None), model::slaves(state, None));
    let mut all = serde_json::Map::new();
    for part in [
        serde_json::to_value(frameworks)?,
        serde_json::to_value(slaves)?,
        serde_json::to_value(roles::list(state))?,
    ] {
        if let serde_json::Value::Object(part) = part {
            all.extend(part);
        }
    }
    Ok(serde_json::Value::Object(all))
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
