//! The HTTP side of the client port.

mod body;
mod error;
mod redirect;
mod routes;
mod scheduler;
mod server;
mod v0;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, header};

use crate::app::App;

pub(crate) use server::serve;

use routes::{Endpoint, Route};

/// Answers one request.
pub(crate) async fn handle(app: Arc<App>, request: Request<Body>) -> Response<Body> {
    let Some(Route { endpoint, long_path }) = routes::resolve(request.uri().path()) else {
        return error::text(StatusCode::NOT_FOUND, "Not Found");
    };
    let query = request.uri().query().map(str::to_owned);
    match endpoint {
        Endpoint::Health => empty(StatusCode::OK),
        Endpoint::Version => v0::version(query.as_deref()),
        Endpoint::Metrics => v0::prometheus(&app),
        Endpoint::MetricsSnapshot => v0::metrics_snapshot(&app, query.as_deref()),
        Endpoint::Redirect => redirect::to_leader(&app).await,
        Endpoint::Scheduler | Endpoint::Operator | Endpoint::Read(_) | Endpoint::Unimplemented(_) => {
            let session = match redirect::leader(&app, &long_path, query.as_deref()).await {
                Ok(session) => session,
                Err(elsewhere) => return *elsewhere,
            };
            match endpoint {
                Endpoint::Scheduler => {
                    scheduler::call(app, session, request, &long_path, query.as_deref()).await
                }
                Endpoint::Read(read) => v0::read(app, session, read, query).await,
                Endpoint::Operator => operator(&request),
                Endpoint::Unimplemented(name) => error::not_implemented(name),
                Endpoint::Health
                | Endpoint::Version
                | Endpoint::Metrics
                | Endpoint::MetricsSnapshot
                | Endpoint::Redirect => error::text(StatusCode::NOT_FOUND, "Not Found"),
            }
        }
    }
}

/// The operator API is not there yet; its gates are.
fn operator(request: &Request<Body>) -> Response<Body> {
    match request.method() == http::Method::POST {
        true => error::not_implemented("the operator API (/api/v1)"),
        false => error::method_not_allowed(),
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn json(bytes: Vec<u8>, jsonp: Option<&str>) -> Response<Body> {
    let (bytes, kind) = match jsonp {
        Some(function) => {
            let mut wrapped = Vec::with_capacity(bytes.len() + function.len() + 3);
            wrapped.extend_from_slice(function.as_bytes());
            wrapped.push(b'(');
            wrapped.extend_from_slice(&bytes);
            wrapped.extend_from_slice(b");");
            (wrapped, "text/javascript")
        }
        None => (bytes, "application/json"),
    };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
