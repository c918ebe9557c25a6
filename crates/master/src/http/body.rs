//! Streams of events as bodies.

use std::convert::Infallible;

use axum::body::Body;
use futures::stream;
use mesarch_mesos_v1::{ContentType, recordio};

use crate::streams::Events;

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
