//! Request bodies, bounded, and streams of events.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use mesarch_mesos_v1::{
    ContentType,
    recordio::{self, RECORD_BYTES_MAX},
};

use crate::{patience::Busy, streams::Events};

/// Largest body of a call, in bytes.
pub(super) const BODY_BYTES_MAX: usize = RECORD_BYTES_MAX;
/// How long a client may take to send a body.
const BODY_WAIT: Duration = Duration::from_secs(60);

/// Why a body cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the body did not come in time")]
    TooSlow,
    #[error("the body could not be read")]
    Broken,
}

/// Reads a whole body.
pub(super) async fn read(body: Incoming) -> Result<Bytes, BodyError> {
    read_up_to(body, BODY_BYTES_MAX).await
}

/// [`read`], with another bound.
pub(super) async fn read_up_to(body: Incoming, bytes_max: usize) -> Result<Bytes, BodyError> {
    let whole = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(BODY_WAIT, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::TooSlow),
    }
}

/// A scheduler's events, which are records. Each record is one frame of the body, and so one HTTP chunk: some clients
/// take a chunk for exactly one record.
pub(super) fn events(events: Events) -> Body {
    Body::from_stream(stream::unfold(events, |mut events| async move {
        let record = events.next().await?;
        Some((Ok::<_, Infallible>(record), events))
    }))
}

/// One event and the end.
pub(super) fn single(event: crate::events::Event, content_type: ContentType) -> Body {
    let record = recordio::encode_message(content_type, &event);
    Body::from_stream(stream::iter([Ok::<_, Infallible>(record)]))
}

/// A body that keeps its connection busy until it is taken.
pub(super) struct Held {
    body: Body,
    _busy: Busy,
}

/// `body`, and what it keeps busy. Short ones are taken at once.
pub(super) fn held(body: Body, busy: Busy) -> Body {
    const SHORT_BYTES: u64 = 16 * 1024;
    match body.size_hint().exact() {
        Some(bytes) if bytes <= SHORT_BYTES => body,
        _ => Body::new(Held { body, _busy: busy }),
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
