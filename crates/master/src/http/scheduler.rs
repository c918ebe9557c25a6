//! `/api/v1/scheduler`: the gates in Mesos' order, then the call.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use mesarch_edge::Patience;
use mesarch_mesos_v1::scheduler::validate;
use mesarch_proto::mesos::v1::scheduler::{Call, call::Type};
use mesarch_types::StreamId;

use super::{body, error, gates, redirect};
use crate::{
    app::App,
    calls::{self, CallError, Subscription},
    events,
    leader::Session,
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
async fn form(app: &App, request: Request<Incoming>) -> Result<Formed, gates::Refused> {
    let (parts, call): (_, Box<Call>) = gates::call(app, request).await?;
    let kind = validate(&call, None).map_err(|error| Box::new(error::of_call(&CallError::Invalid(error))))?;
    Ok(Formed { call, kind, headers: parts.headers })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn submit(app: &App, session: &Session, formed: Formed) -> Result<Response<Body>, CallError> {
    let Formed { call, kind, headers } = formed;
    if kind == Type::ReconcileOperations
        && let Err(refused) = gates::negotiate(&headers)
    {
        return Ok(*refused);
    }
    calls::submit(app, session, call, kind, text(&headers, &STREAM_ID)).await?;
    // The one call that is answered with what became of it.
    Ok(super::empty(if kind == Type::UpdateFramework { StatusCode::OK } else { StatusCode::ACCEPTED }))
}

async fn subscribe(
    app: Arc<App>,
    session: Arc<Session>,
    formed: Formed,
    connection: Option<Arc<Patience>>,
) -> Result<Response<Body>, CallError> {
    let Formed { call, headers, .. } = formed;
    let content_type = match gates::negotiate(&headers) {
        Ok(content_type) => content_type,
        Err(refused) => return Ok(*refused),
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
