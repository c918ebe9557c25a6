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
use hyper::body::Incoming;

use crate::{app::App, patience::Patience};

pub(crate) use server::serve;

use routes::{Endpoint, Route};

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
        Endpoint::Health => empty(StatusCode::OK),
        Endpoint::Version => v0::version(request.uri().query()),
        Endpoint::Metrics => v0::prometheus(&app),
        Endpoint::MetricsSnapshot => v0::metrics_snapshot(&app, request.uri().query()),
        Endpoint::Redirect => Box::pin(redirect::to_leader(&app)).await,
        Endpoint::Operator => Box::pin(at_leader(app, &long_path, request, AtLeader::Operator)).await,
        Endpoint::Read(read) => Box::pin(at_leader(app, &long_path, request, AtLeader::Read(read))).await,
        Endpoint::Unimplemented(name) => {
            Box::pin(at_leader(app, &long_path, request, AtLeader::Unimplemented(name))).await
        }
    }
}

/// What only the leader answers, beside scheduler calls.
enum AtLeader {
    Operator,
    Read(routes::Read),
    Unimplemented(&'static str),
}

async fn at_leader(
    app: Arc<App>,
    long_path: &str,
    request: Request<Incoming>,
    what: AtLeader,
) -> Response<Body> {
    let query = request.uri().query().map(str::to_owned);
    let session = match redirect::leader(&app, long_path, query.as_deref()).await {
        Ok(session) => session,
        Err(elsewhere) => return *elsewhere,
    };
    match what {
        AtLeader::Read(read) => v0::read(app, session, read, query).await,
        AtLeader::Operator => operator(&request),
        AtLeader::Unimplemented(name) => error::not_implemented(name),
    }
}

/// The operator API is not there yet; its gates are.
fn operator(request: &Request<Incoming>) -> Response<Body> {
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
