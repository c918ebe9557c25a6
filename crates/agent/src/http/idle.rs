//! Whether a connection is used: a peer that neither asks nor reads must not hold a descriptor for ever.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

/// How many requests of one connection are being answered. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Use(watch::Sender<usize>);

/// One request that is being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Use);

impl Use {
    /// A request has come.
    pub(super) fn begin(&self) -> Busy {
        self.0.send_modify(|count| *count += 1);
        Busy(self.clone())
    }

    /// Ends when no request was there for so long: whether none came, or only a part of one.
    pub(super) async fn unused_for(&self, longest: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // Fails only if the sender is gone, which is held here.
            let _ = count.wait_for(|count| *count == 0).await;
            tokio::select! {
                () = tokio::time::sleep(longest) => return,
                _ = count.changed() => {}
            }
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// An answer whose connection is in use for as long as it lasts.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) _busy: Busy,
}

impl http_body::Body for Answer {
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
