//! SUBSCRIBE: the state, then every change of it.

use std::{convert::Infallible, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::Response;
use mesarch_edge::Patience;
use mesarch_mesos_v1::{
    ContentType, recordio,
    writer::{Field, message},
};
use mesarch_proto::mesos::v1::master::event::Type;
use tokio::sync::oneshot;

use super::{events, read, with};
use crate::{
    app::App,
    http::{
        gates::Refused,
        read::{Looked, Reader, snapshot},
    },
    machine::Published,
    metrics,
    streams::HEARTBEAT_INTERVAL,
    subscribers::{End, Records, Subscription, queue},
};

/// How long the connection of a stream that ended has to take what is queued.
const END_WAIT: std::time::Duration = std::time::Duration::from_secs(30);
/// The same if it was too slow before.
const TOO_SLOW_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// Answers with a stream. `connection` is the one that carries it, and nothing else.
pub(super) async fn subscribe(
    app: Arc<App>,
    reader: Reader,
    content_type: ContentType,
    connection: Arc<Patience>,
) -> Response<Body> {
    let Followed { records, looked, end } = match follow(app, &reader, content_type).await {
        Ok(followed) => followed,
        Err(refused) => return *refused,
    };
    let watched = connection.clone();
    tokio::spawn(async move {
        if let Ok(end) = end.await {
            ended(end, &watched);
        }
    });
    let mut response = with(content_type, body(Reading { records, connection }));
    reader.tell(looked, response.headers_mut());
    response
}

/// A subscription that has begun.
pub(crate) struct Followed {
    /// The state, a HEARTBEAT, and every change from then on: RecordIO frames.
    pub(crate) records: Records,
    /// Which state it begins with.
    pub(crate) looked: Looked,
    /// Why there are no more of them.
    pub(crate) end: oneshot::Receiver<End>,
}

/// Begins a subscription, or says why not.
pub(crate) async fn follow(
    app: Arc<App>,
    reader: &Reader,
    content_type: ContentType,
) -> Result<Followed, Refused> {
    // Before the state is looked at: what changes meanwhile waits here.
    let moments = app.outlets.moments.follow();
    let looked = snapshot(app.clone(), reader, move |_, published| {
        recordio::encode(&subscribed(published, content_type))
    });
    let (first, looked) = looked.await?;
    let heartbeat = recordio::encode_message(content_type, &events::heartbeat());
    let (queue, records) = queue([first, heartbeat.clone()]);
    let leader = reader.session().map(|session| (session.term, app.view.clone()));
    let (place, write) = (app.subscribers.enter(), events::write);
    let from = looked.index;
    let subscription = Subscription { place, moments, from, content_type, leader, queue, heartbeat, write };
    let (tell, end) = oneshot::channel();
    tokio::spawn(async move {
        let end = subscription.run().await;
        metrics::subscriber_ended(end.why());
        if end != End::Gone {
            tracing::info!(why = end.why(), "a stream of changes is ended");
        }
        // Whoever reads it may be gone.
        let _ = tell.send(end);
    });
    Ok(Followed { records, looked, end })
}

/// The first event.
fn subscribed(published: &Published, content_type: ContentType) -> Vec<u8> {
    message(content_type, |event| {
        event.symbol(Field("type", 1), Type::Subscribed.as_str_name(), Type::Subscribed as i32);
        event.message(Field("subscribed", 2), |subscribed| {
            subscribed.message(Field("get_state", 1), |lists| read::write_state(&published.state, lists));
            subscribed.double(Field("heartbeat_interval_seconds", 2), HEARTBEAT_INTERVAL.as_secs_f64());
        });
    })
}

/// Does not let the reader of a stream that has ended hold the connection for ever.
fn ended(end: End, connection: &Patience) {
    match end {
        End::Gone => {}
        End::TooSlow => connection.cut_within(TOO_SLOW_WAIT),
        End::Replaced | End::NotLeader | End::Snapshot | End::Stopping => connection.cut_within(END_WAIT),
    }
}

/// The connection's side.
struct Reading {
    records: Records,
    connection: Arc<Patience>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        // The connection has taken all of it, or is no more. It may be asked other things now.
        self.connection.spare();
    }
}

/// Each record is one chunk.
fn body(reading: Reading) -> Body {
    Body::from_stream(stream::unfold(reading, |mut reading| async move {
        let record: Bytes = reading.records.next().await?;
        Some((Ok::<_, Infallible>(record), reading))
    }))
}
