//! `/api/v1/scheduler`: the gates in Mesos' order, then the call.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use mesarch_mesos_v1::{ContentType, scheduler::validate};
use mesarch_proto::mesos::v1::scheduler::{Call, call::Type};
use mesarch_types::StreamId;

use super::{body, error, redirect};
use crate::{
    app::App,
    calls::{self, CallError, Subscription},
    events,
    leader::Session,
    patience::Patience,
    queue::Form,
    streams::Reader,
};

/// Names the stream that a call belongs to.
const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");
/// The stream that a SUBSCRIBE wants to go on with.
const RESUME: HeaderName = HeaderName::from_static("mesarch-resume");

/// A call that passed the gates of its form.
struct Formed {
    /// Boxed because it is large and moves from step to step.
    call: Box<Call>,
    kind: Type,
    headers: HeaderMap,
}

/// Answers one call. `long_path` is what a redirect names.
pub(super) async fn call(
    app: Arc<App>,
    request: Request<Incoming>,
    long_path: String,
    patience: Arc<Patience>,
) -> Response<Body> {
    // Others share a connection of HTTP/2, and a stream of it may end alone.
    let connection = (request.version() < Version::HTTP_2).then_some(patience);
    let query = request.uri().query().map(str::to_owned);
    let session = match redirect::leader(&app, &long_path, query.as_deref()).await {
        Ok(session) => session,
        Err(elsewhere) => return *elsewhere,
    };
    let answer = match form(&app, request).await {
        Ok(formed) if formed.kind == Type::Subscribe => {
            Box::pin(subscribe(app.clone(), session, formed, connection)).await
        }
        Ok(formed) => submit(&app, &session, formed).await,
        Err(refusal) => return *refusal,
    };
    match answer {
        Ok(response) => response,
        // Nothing was done: the client is sent to whoever leads now.
        Err(CallError::NotLeader) => match redirect::leader(&app, &long_path, query.as_deref()).await {
            Err(elsewhere) => *elsewhere,
            Ok(_) => error::of_call(&CallError::NotLeader),
        },
        Err(error) => error::of_call(&error),
    }
}

/// Gates 5 to 9: method, type, body, form.
async fn form(app: &App, request: Request<Incoming>) -> Result<Formed, Box<Response<Body>>> {
    let refuse = |status: StatusCode, reason: &str| Box::new(error::text(status, reason));
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        return Err(Box::new(error::method_not_allowed()));
    }
    let Some(content_type) = parts.headers.get(header::CONTENT_TYPE) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"));
    };
    let Some(content_type) = content_type.to_str().ok().and_then(ContentType::parse) else {
        let reason = "Expecting 'Content-Type' of application/json or application/x-protobuf";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    };
    let bytes = body::read(body).await.map_err(|error| {
        let status = match error {
            body::BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            body::BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            body::BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        refuse(status, &error.to_string())
    })?;
    let decoded = app.large.decode(content_type, bytes).await;
    let call = decoded
        .map_err(|error| Box::new(error::of_call(&error)))?
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &format!("Failed to parse body: {error}")))?;
    let kind = validate(&call, None).map_err(|error| Box::new(error::of_call(&CallError::Invalid(error))))?;
    Ok(Formed { call, kind, headers: parts.headers })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// All `Accept` headers as one; what is not text accepts nothing.
fn accept(headers: &HeaderMap) -> Option<String> {
    let values: Vec<_> =
        headers.get_all(header::ACCEPT).iter().map(|one| one.to_str().unwrap_or("-")).collect();
    (!values.is_empty()).then(|| values.join(","))
}

async fn submit(app: &App, session: &Session, formed: Formed) -> Result<Response<Body>, CallError> {
    let Formed { call, kind, headers } = formed;
    if kind == Type::ReconcileOperations && ContentType::negotiate(accept(&headers).as_deref()).is_none() {
        return Ok(not_acceptable());
    }
    calls::submit(app, session, call, kind, text(&headers, &STREAM_ID)).await?;
    Ok(super::empty(StatusCode::ACCEPTED))
}

fn not_acceptable() -> Response<Body> {
    let reason = "Expecting 'Accept' to allow application/json or application/x-protobuf";
    error::text(StatusCode::NOT_ACCEPTABLE, reason)
}

async fn subscribe(
    app: Arc<App>,
    session: Arc<Session>,
    formed: Formed,
    connection: Option<Arc<Patience>>,
) -> Result<Response<Body>, CallError> {
    let Formed { call, headers, .. } = formed;
    let Some(content_type) = ContentType::negotiate(accept(&headers).as_deref()) else {
        return Ok(not_acceptable());
    };
    if headers.contains_key(&STREAM_ID) {
        return Err(CallError::StreamIdOnSubscribe);
    }
    let resume = text(&headers, &RESUME).map(StreamId::from);
    let reader = Reader { form: Form::Record(content_type), connection };
    // Its presence was checked with the call's form.
    let subscribe = call.subscribe.unwrap_or_default();
    let (id, body) = match calls::subscribe(app, session, subscribe, resume, reader).await? {
        Subscription::Accepted { id, events } => (id, body::events(events)),
        Subscription::Rejected { id, error } => (id, body::single(events::error(&error), content_type)),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type.as_str()));
    // Drawn as a uuid here, or equal to one that was.
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(STREAM_ID, id);
    }
    Ok(response)
}
