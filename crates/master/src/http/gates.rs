//! What every call of a v1 API passes before anybody looks at its meaning, in Mesos' order: method, type, body.

use axum::body::Body;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use mesarch_edge::Whole;
use mesarch_mesos_v1::{ApiMessage, ContentType};

use super::error;
use crate::app::App;

/// A refusal; boxed because answers are large and most calls have none.
pub(super) type Refused = Box<Response<Body>>;

/// The body of a POST and its encoding.
async fn post(app: &App, parts: &Parts, body: Incoming) -> Result<(ContentType, Whole), Refused> {
    if parts.method != Method::POST {
        return Err(Box::new(error::method_not_allowed(&["POST"])));
    }
    let Some(content_type) = parts.headers.get(header::CONTENT_TYPE) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"));
    };
    let Some(content_type) = content_type.to_str().ok().and_then(ContentType::parse) else {
        let reason = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    };
    Ok((content_type, whole(app, &parts.headers, body).await?))
}

/// The call in a POST, and the request's head. Boxed because calls are large and move from step to step.
pub(super) async fn call<M: ApiMessage + Send + 'static>(
    app: &App,
    request: Request<Incoming>,
) -> Result<(Parts, Box<M>), Refused> {
    let (parts, body) = request.into_parts();
    let (content_type, whole) = post(app, &parts, body).await?;
    let decoded = app.large.decode(content_type, whole.bytes.clone()).await;
    drop(whole);
    let call = decoded
        .map_err(|error| Box::new(error::of_call(&error)))?
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("Failed to parse body: {error}")))?;
    Ok((parts, call))
}

/// A whole body, bounded in bytes, time and memory.
pub(super) async fn whole(app: &App, headers: &HeaderMap, body: Incoming) -> Result<Whole, Refused> {
    let read = app.bodies.read(headers, body).await;
    read.map_err(|error| refuse(error.status(), &error.to_string()))
}

pub(super) fn refuse(status: StatusCode, reason: &str) -> Refused {
    Box::new(error::text(status, reason))
}

/// The encoding that the client wants its answer in.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<ContentType, Refused> {
    let acceptable = ContentType::negotiate(accept(headers).as_deref());
    let reason = "Expecting 'Accept' to allow application/json or application/x-protobuf";
    acceptable.ok_or_else(|| refuse(StatusCode::NOT_ACCEPTABLE, reason))
}

/// All `Accept` headers as one; what is not text accepts nothing.
fn accept(headers: &HeaderMap) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(header::ACCEPT).iter().map(|one| one.to_str().unwrap_or("-")).collect();
    (!values.is_empty()).then(|| values.join(","))
}
