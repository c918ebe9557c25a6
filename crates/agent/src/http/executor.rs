//! `/api/v1/executor`: the gates in Mesos' order, then the runner.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::Body,
    extract::Request as HttpRequest,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use mesarch_mesos_v1::executor::validate;
use mesarch_proto::mesos::v1::executor::{Call, call::Type};
use tokio::sync::oneshot;

use super::{Site, ending, gates};
use crate::requests::{CallRefusal, EventStream, Request};

pub(super) async fn handle(site: &Site, request: HttpRequest) -> Response {
    let (headers, call) = match gates::call::<Call>(request).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    match validate(&call) {
        Ok(Type::Subscribe) => subscribe(site, call, &headers).await,
        Ok(Type::Update | Type::Message) => forward(site, call).await,
        Ok(Type::Heartbeat) => StatusCode::ACCEPTED.into_response(),
        Ok(Type::Unknown) => (StatusCode::NOT_IMPLEMENTED, "not implemented: UNKNOWN\n").into_response(),
        Err(error) => {
            let reason = format!("Failed to validate executor::Call: {error}");
            (StatusCode::BAD_REQUEST, reason).into_response()
        }
    }
}

async fn subscribe(site: &Site, call: Box<Call>, headers: &HeaderMap) -> Response {
    let content_type = match gates::negotiate(headers) {
        Ok(content_type) => content_type,
        Err(refused) => return *refused,
    };
    let (reply, answer) = oneshot::channel();
    if site.requests.send(Request::Subscribe { call, content_type, reply }).await.is_err() {
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

async fn forward(site: &Site, call: Box<Call>) -> Response {
    let (reply, answer) = oneshot::channel();
    if site.requests.send(Request::Call { call, reply }).await.is_err() {
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
pub(super) struct Events(pub(super) EventStream);

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
