//! The HTTP side of the client port.

mod body;
mod error;
mod gates;
mod operator;
mod read;
mod redirect;
mod render;
mod routes;
mod said;
mod scheduler;
mod server;
mod v0;

pub use v0::past;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use mesarch_edge::Patience;

use crate::{app::App, leader::Session, members::Roster};

pub(crate) use operator::{Followed, answer as answer_operator, follow as follow_state};
pub(crate) use read::{Consistency, FRESHNESS, Reader, UNKNOWN_CONSISTENCY};
pub(crate) use render::Desk;
pub(crate) use server::serve;

use routes::{Change, Endpoint, Local, Read, Route};

/// Answers one request.
///
/// Scheduler calls are by far the most frequent requests: their future is part of the connection's, and kept small.
/// Others that wait are boxed.
pub(crate) async fn handle(
    app: Arc<App>,
    request: Request<Incoming>,
    patience: Arc<Patience>,
) -> Response<Body> {
    let Some(Route { endpoint, long_path }) = routes::resolve(request.uri().path()) else {
        return error::text(StatusCode::NOT_FOUND, "Not Found");
    };
    match endpoint {
        Endpoint::Scheduler => scheduler::call(app, request, long_path, patience).await,
        Endpoint::Operator => Box::pin(operator::call(app, request, long_path, patience)).await,
        Endpoint::Local(local) => {
            Box::pin(answer_locally(&app, local, &long_path, request.uri().query())).await
        }
        Endpoint::UnimplementedHere(name) => error::not_implemented(name),
        Endpoint::Read(_) | Endpoint::Change(_) | Endpoint::Unimplemented(_) => {
            Box::pin(at_leader(app, endpoint, long_path, request)).await
        }
    }
}

/// What any master answers.
async fn answer_locally(app: &App, local: Local, path: &str, query: Option<&str>) -> Response<Body> {
    let query_text = query;
    let query = &v0::Query::parse(query);
    match local {
        Local::Redirect => redirect::to_leader(app).await,
        Local::Health => empty(StatusCode::OK),
        Local::Version => v0::version(query),
        Local::Metrics => v0::prometheus(app),
        Local::MetricsSnapshot => v0::metrics_snapshot(app, query),
        Local::Members => members(app, path, query_text).await,
        Local::Flags => v0::flags_view(app, query),
        Local::Help => v0::help(path, query),
        Local::Logging => v0::logging(query),
        Local::System => v0::system(query),
        Local::Files => v0::no_files(),
        Local::FileNames => v0::no_file_names(query),
    }
}

/// `/v1/members`: how members do is known to the leader only; who they are, to every master.
async fn members(app: &App, path: &str, query: Option<&str>) -> Response<Body> {
    if let Err(elsewhere) = Reader::of(app, path, query).await {
        return *elsewhere;
    }
    match serde_json::to_vec(&Roster::of(app)) {
        Ok(bytes) => json(bytes, &v0::Query::parse(query)),
        Err(problem) => error::text(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string()),
    }
}

/// What only the leader answers, beside the v1 APIs.
async fn at_leader(
    app: Arc<App>,
    endpoint: Endpoint,
    long_path: String,
    request: Request<Incoming>,
) -> Response<Body> {
    let query = request.uri().query().map(str::to_owned);
    let reader = match Reader::of(&app, &long_path, query.as_deref()).await {
        Ok(reader) => reader,
        Err(elsewhere) => return *elsewhere,
    };
    let endpoint = endpoint_of(endpoint, request.method());
    if let Endpoint::Read(read) = endpoint {
        return v0::read(app, reader, read, &request).await;
    }
    let Some(session) = reader.session().cloned() else {
        return error::text(StatusCode::BAD_REQUEST, "consistency=stale: this does not read the state");
    };
    match endpoint {
        Endpoint::Change(change) => changed(app, session, change, &long_path, request).await,
        Endpoint::Unimplemented(name) => error::not_implemented(name),
        Endpoint::Scheduler
        | Endpoint::Operator
        | Endpoint::Read(_)
        | Endpoint::Local(_)
        | Endpoint::UnimplementedHere(_) => error::text(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// The same with the method: some paths are read and changed. Any method reads what can only be read.
fn endpoint_of(endpoint: Endpoint, method: &Method) -> Endpoint {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match endpoint {
        Endpoint::Read(Read::Quota) if !reads => Endpoint::Change(Change::Quota),
        Endpoint::Read(Read::Weights) if !reads => Endpoint::Change(Change::Weights),
        Endpoint::Read(Read::MaintenanceSchedule) if *method == Method::POST => {
            Endpoint::Change(Change::MaintenanceSchedule)
        }
        _ => endpoint,
    }
}

async fn changed(
    app: Arc<App>,
    session: Arc<Session>,
    change: Change,
    long_path: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = match gates::whole(&app, &parts.headers, body).await {
        Ok(whole) => whole,
        Err(refused) => return *refused,
    };
    match v0::change(&app, &session, change, long_path, &parts.method, &body.bytes).await {
        Ok(response) => response,
        Err(error) => operator::refused(&app, long_path, parts.uri.query(), &error).await,
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn json(bytes: Vec<u8>, query: &v0::Query) -> Response<Body> {
    let (bytes, kind) = query.wrap(bytes);
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the future that an async function returns, in bytes.
    fn future_bytes<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_a_request_is_cheap_to_move() {
        let bytes = future_bytes(handle);
        assert!(bytes <= 3072, "{bytes} bytes");
    }
}
