//! Calls that cost a worker more than a moment are read and answered on threads of their own, a few at a time: the
//! workers serve everybody, and a call may have megabytes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mesarch_mesos_v1::{ApiMessage, ContentType, DecodeError};
use tokio::sync::Semaphore;

use crate::calls::CallError;

/// A call of more bytes is large.
pub(crate) const LARGE_BYTES: usize = 64 * 1024;
/// How long a large call waits for its thread.
const PLACE_WAIT: Duration = Duration::from_secs(5);

/// The places for large calls: for half of the processors.
#[derive(Debug)]
pub(crate) struct LargeCalls {
    places: Arc<Semaphore>,
}

impl LargeCalls {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { places: Arc::new(Semaphore::new((processors / 2).max(1))) }
    }

    /// Does the work on a thread of its own, to its end even if nobody waits any more. `Busy` after five seconds
    /// without a place.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let place = tokio::time::timeout(PLACE_WAIT, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            crate::metrics::busy();
            return Err(CallError::Busy);
        };
        let span = tracing::Span::current();
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            span.in_scope(work)
        });
        // It only fails if the work panics, and then it is unknown how far it came.
        work.await.map_err(|_| CallError::Unknown)
    }

    /// Reads a call, in place if it is small.
    pub(crate) async fn decode<M: ApiMessage + Send + 'static>(
        &self,
        content_type: ContentType,
        bytes: Bytes,
    ) -> Result<Result<Box<M>, DecodeError>, CallError> {
        let is_large = bytes.len() > LARGE_BYTES;
        let decode = move || mesarch_mesos_v1::decode(content_type, &bytes).map(Box::new);
        match is_large {
            // Boxed: it is rare, and the future of every call would be as large.
            true => Box::pin(self.run(decode)).await,
            false => Ok(decode()),
        }
    }
}
