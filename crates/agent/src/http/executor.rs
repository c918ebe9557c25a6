//! `/api/v1/executor`: the gates in Mesos' order, then the runner.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request as HttpRequest,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use mesarch_mesos_v1::{ContentType, decode, executor::validate, recordio::RECORD_BYTES_MAX};
use mesarch_proto::mesos::v1::executor::{Call, call::Type};
use tokio::{sync::oneshot, time::timeout};

use super::{Site, ending};
use crate::requests::{CallRefusal, EventStream, Request};

/// How long a client may take to send a body.
const BODY_WITHIN: Duration = Duration::from_secs(30);

type Answer<T> = Result<T, (StatusCode, String)>;

pub(super) async fn handle(site: &Site, request: HttpRequest) -> Response {
    if request.method() != Method::POST {
        let allow = [(header::ALLOW, "POST")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "Expecting 'POST'\n").into_response();
    }
    let (parts, body) = request.into_parts();
    let call = match read(&parts.headers, body).await {
        Ok(call) => call,
        Err(refusal) => return refusal.into_response(),
    };
    match validate(&call) {
        Ok(Type::Subscribe) => subscribe(site, call, &parts.headers).await,
        Ok(Type::Update | Type::Message) => forward(site, call).await,
        Ok(Type::Heartbeat) => StatusCode::ACCEPTED.into_response(),
        Ok(Type::Unknown) => (StatusCode::NOT_IMPLEMENTED, "not implemented: UNKNOWN\n").into_response(),
        Err(error) => bad(format!("Failed to validate executor::Call: {error}")).into_response(),
    }
}

fn bad(message: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message)
}

async fn read(headers: &HeaderMap, body: Body) -> Answer<Call> {
    let Some(name) = headers.get(header::CONTENT_TYPE) else {
        return Err(bad("Expecting 'Content-Type' to be present".to_owned()));
    };
    let unsupported = "Expecting 'Content-Type' of application/json or application/x-protobuf";
    let content_type = name.to_str().ok().and_then(ContentType::parse);
    let content_type = content_type.ok_or((StatusCode::UNSUPPORTED_MEDIA_TYPE, unsupported.to_owned()))?;
    let late = |_| (StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned());
    let whole = timeout(BODY_WITHIN, axum::body::to_bytes(body, RECORD_BYTES_MAX)).await.map_err(late)?;
    let bytes = whole.map_err(|_| {
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is cut off or longer than {RECORD_BYTES_MAX} bytes"),
        )
    })?;
    decode(content_type, &bytes).map_err(|error| bad(format!("Failed to parse the body: {error}")))
}

async fn subscribe(site: &Site, call: Call, headers: &HeaderMap) -> Response {
    let accept: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok()).collect();
    let accept = accept.join(",");
    let Some(content_type) = ContentType::negotiate(Some(&accept)) else {
        let message = "Expecting 'Accept' to allow application/json or application/x-protobuf";
        return (StatusCode::NOT_ACCEPTABLE, message).into_response();
    };
    let (reply, answer) = oneshot::channel();
    let request = Request::Subscribe { call: Box::new(call), content_type, reply };
    if site.requests.send(request).await.is_err() {
        return ending();
    }
    match answer.await {
        Ok(Ok(stream)) => {
            let body = Body::new(Events(stream));
            ([(header::CONTENT_TYPE, content_type.as_str())], body).into_response()
        }
        Ok(Err(refusal)) => refused(refusal),
        Err(_) => ending(),
    }
}

async fn forward(site: &Site, call: Call) -> Response {
    let (reply, answer) = oneshot::channel();
    if site.requests.send(Request::Call { call: Box::new(call), reply }).await.is_err() {
        return ending();
    }
    match answer.await {
        Ok(Ok(())) => StatusCode::ACCEPTED.into_response(),
        Ok(Err(refusal)) => refused(refusal),
        Err(_) => ending(),
    }
}

fn refused(refusal: CallRefusal) -> Response {
    let status = match refusal {
        CallRefusal::UnknownFramework | CallRefusal::UnknownExecutor => StatusCode::BAD_REQUEST,
        CallRefusal::NotSubscribed => StatusCode::FORBIDDEN,
    };
    (status, refusal.to_string()).into_response()
}

/// A stream of events: each frame is one record and becomes one chunk. Dropped when the reader goes away.
struct Events(EventStream);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.frames.poll_recv(context).map(|frame| frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
