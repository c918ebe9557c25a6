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
use mesarch_mesos_v1::{ContentType, executor::validate};
use mesarch_proto::mesos::v1::executor::{Call, call::Type};
use tokio::sync::oneshot;

use super::{Site, ending, gates};
use crate::requests::{CallRefusal, EventStream, Request};

pub(super) async fn handle(site: &Site, request: HttpRequest) -> Response {
    let (headers, call) = match gates::call::<Call>(site, request).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    match kind(&call) {
        Ok(Type::Subscribe) => subscribe(site, call, &headers).await,
        Ok(kind) => match submit(site, call, kind).await {
            Ok(()) => StatusCode::ACCEPTED.into_response(),
            Err(error) => refused(error),
        },
        Err(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
    }
}

/// Why a call is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTaken {
    /// By what the agent knows.
    #[error("{0}")]
    Refused(CallRefusal),
    /// 501
    #[error("not implemented: UNKNOWN")]
    Unknown,
    /// 503: the agent ends.
    #[error("Agent is shutting down")]
    Ending,
}

/// The type of a valid call, or why it is none.
pub(super) fn kind(call: &Call) -> Result<Type, String> {
    validate(call).map_err(|error| format!("Failed to validate executor::Call: {error}"))
}

async fn subscribe(site: &Site, call: Box<Call>, headers: &HeaderMap) -> Response {
    let content_type = match gates::negotiate(headers) {
        Ok(content_type) => content_type,
        Err(refused) => return *refused,
    };
    match open(site, call, content_type).await {
        Ok(stream) => {
            let body = Body::new(Events(stream));
            ([(header::CONTENT_TYPE, content_type.as_str())], body).into_response()
        }
        Err(error) => refused(error),
    }
}

/// Opens an executor's stream, for a valid SUBSCRIBE.
pub(super) async fn open(
    site: &Site,
    call: Box<Call>,
    content_type: ContentType,
) -> Result<EventStream, NotTaken> {
    let (reply, answer) = oneshot::channel();
    let asked = site.requests.send(Request::Subscribe { call, content_type, reply }).await;
    asked.map_err(|_| NotTaken::Ending)?;
    answer.await.map_err(|_| NotTaken::Ending)?.map_err(NotTaken::Refused)
}

/// Carries out a valid call of any other type.
pub(super) async fn submit(site: &Site, call: Box<Call>, kind: Type) -> Result<(), NotTaken> {
    match kind {
        Type::Heartbeat => Ok(()),
        Type::Unknown | Type::Subscribe => Err(NotTaken::Unknown),
        Type::Update | Type::Message => {
            let (reply, answer) = oneshot::channel();
            let asked = site.requests.send(Request::Call { call, reply }).await;
            asked.map_err(|_| NotTaken::Ending)?;
            answer.await.map_err(|_| NotTaken::Ending)?.map_err(NotTaken::Refused)
        }
    }
}

fn refused(error: NotTaken) -> Response {
    let status = match error {
        NotTaken::Refused(CallRefusal::UnknownFramework | CallRefusal::UnknownExecutor) => {
            StatusCode::BAD_REQUEST
        }
        NotTaken::Refused(CallRefusal::NotSubscribed) => StatusCode::FORBIDDEN,
        NotTaken::Unknown => StatusCode::NOT_IMPLEMENTED,
        NotTaken::Ending => return ending(),
    };
    (status, error.to_string()).into_response()
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
