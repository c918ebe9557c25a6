//! Bodies of requests: bounded in bytes, in time by the progress that they make, and all large ones together in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::metrics::{self, Why};

/// Bounds of what is read.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Largest body, in bytes.
    pub bytes_max: usize,
    /// How long any body may take, however small.
    pub grace: Duration,
    /// Beyond that it must have come at this rate from its beginning on, in bytes per second.
    pub rate_min: usize,
    /// How long a body may take at most.
    pub wait_max: Duration,
    /// A body of fewer bytes is small: it takes nothing of the budget.
    pub small_bytes: usize,
    /// Memory for all bodies that are not small together, in bytes.
    pub in_flight_max: usize,
    /// For how long the rest of a body that is too large is thrown away, so that its sender comes to read the refusal.
    pub linger: Duration,
}

impl BodyLimits {
    /// The usual ones, for bodies of so many bytes.
    pub const fn of(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            grace: Duration::from_secs(10),
            rate_min: 64 * 1024,
            wait_max: Duration::from_secs(60),
            small_bytes: 64 * 1024,
            in_flight_max: 256 * 1024 * 1024,
            linger: Duration::from_secs(1),
        }
    }

    /// When a body has to have made more progress.
    fn deadline(&self, began: Instant, bytes: usize) -> Instant {
        let earned = Duration::from_secs_f64(bytes as f64 / self.rate_min.max(1) as f64);
        began + self.wait_max.min(self.grace + earned)
    }
}

/// Why a body cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// 413
    #[error("the body is larger than {max} bytes")]
    TooLarge {
        /// The bound, in bytes.
        max: usize,
    },
    /// 408
    #[error("the body did not come in time: at least {rate_min} bytes per second, and {wait_max:?} at most")]
    TooSlow {
        /// In bytes per second, after a while.
        rate_min: usize,
        /// For the whole body.
        wait_max: Duration,
    },
    /// 400
    #[error("the body could not be read")]
    Broken,
    /// 503; nothing was done.
    #[error("the bodies of requests take {max} bytes of memory, which is the bound; try again")]
    Full {
        /// Of all together, in bytes.
        max: usize,
    },
}

impl BodyError {
    /// As HTTP says it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Full { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn why(&self) -> Why {
        match self {
            Self::TooLarge { .. } => Why::BodyTooLarge,
            Self::TooSlow { .. } => Why::BodyTooSlow,
            Self::Broken => Why::BodyBroken,
            Self::Full { .. } => Why::Memory,
        }
    }
}

/// Reads bodies, all of one port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bodies {
    limits: Arc<BodyLimits>,
    in_flight: Arc<AtomicUsize>,
}

/// A whole body, and its place in the budget: to be kept until nothing needs the bytes any more.
#[derive(Debug)]
pub struct Whole {
    /// All of it.
    pub bytes: Bytes,
    place: Place,
}

/// What one body takes of the budget.
#[derive(Debug)]
struct Place {
    in_flight: Arc<AtomicUsize>,
    bytes: usize,
}

impl Bodies {
    /// A budget of its own.
    pub fn new(limits: BodyLimits) -> Self {
        Self { limits: Arc::new(limits), in_flight: Arc::default() }
    }

    /// The bounds.
    pub fn limits(&self) -> &BodyLimits {
        &self.limits
    }

    /// Reads a whole body of at most [`BodyLimits::bytes_max`].
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Whole, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.read_up_to(headers, body, self.limits.bytes_max).await
    }

    /// [`read`](Bodies::read) with another bound.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn read_up_to<B>(
        &self,
        headers: &HeaderMap,
        mut body: B,
        max: usize,
    ) -> Result<Whole, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let read = match announced > max {
            true => Err(BodyError::TooLarge { max }),
            false => self.collect(&mut body, max).await,
        };
        if let Err(error) = &read {
            metrics::refused(error.why());
            // Who waits for our word before it sends anything is not to send it now.
            let waits = announced > max && headers.contains_key(header::EXPECT);
            if matches!(error, BodyError::TooLarge { .. }) && !waits {
                throw_away(body, Instant::now() + self.limits.linger).await;
            }
        }
        read
    }

    async fn collect<B>(&self, body: &mut B, max: usize) -> Result<Whole, BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let limits = &self.limits;
        let began = Instant::now();
        let mut place = Place { in_flight: self.in_flight.clone(), bytes: 0 };
        // Most bodies come as one piece, which is taken as it is.
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        loop {
            let so_far = first.len().max(rest.len());
            let Ok(frame) = timeout_at(limits.deadline(began, so_far), body.frame()).await else {
                return Err(BodyError::TooSlow { rate_min: limits.rate_min, wait_max: limits.wait_max });
            };
            let Some(frame) = frame else { break };
            // What is no data are trailers, which nobody reads.
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            let bytes = so_far + data.len();
            if bytes > max {
                return Err(BodyError::TooLarge { max });
            }
            if bytes > limits.small_bytes && !place.grow(bytes, limits.in_flight_max) {
                return Err(BodyError::Full { max: limits.in_flight_max });
            }
            if so_far == 0 {
                first = data;
            } else {
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&data);
            }
        }
        let bytes = if rest.is_empty() { first } else { rest.freeze() };
        Ok(Whole { bytes, place })
    }
}

impl Whole {
    /// How much of the budget it takes, in bytes.
    pub fn held(&self) -> usize {
        self.place.bytes
    }
}

impl Place {
    /// Whether there is room for so many bytes.
    fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let more = bytes - self.bytes;
        let before = self.in_flight.fetch_add(more, Ordering::Relaxed);
        self.bytes = bytes;
        metrics::body_bytes(before + more);
        before + more <= max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let before = self.in_flight.fetch_sub(self.bytes, Ordering::Relaxed);
            metrics::body_bytes(before - self.bytes);
        }
    }
}

async fn throw_away<B: Body + Unpin>(mut body: B, until: Instant) {
    while let Ok(Some(Ok(_))) = timeout_at(until, body.frame()).await {}
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits {
        bytes_max: 1000,
        grace: Duration::from_millis(300),
        rate_min: 1000,
        wait_max: Duration::from_millis(2000),
        small_bytes: 10,
        in_flight_max: 10_000,
        linger: Duration::from_millis(20),
    };

    /// A body of these pieces, each so long after the one before.
    fn body(pieces: &[usize], pause: Duration) -> impl Body<Data = Bytes> + Unpin {
        let pieces = stream::iter(pieces.to_vec()).then(move |bytes| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; bytes])))
        });
        StreamBody::new(Box::pin(pieces))
    }

    async fn read(bodies: &Bodies, pieces: &[usize], pause_ms: u64) -> Result<Whole, BodyError> {
        bodies.read(&HeaderMap::new(), body(pieces, Duration::from_millis(pause_ms))).await
    }

    #[tokio::test]
    async fn bodies_are_bounded_in_bytes_and_progress() {
        let slow = BodyError::TooSlow { rate_min: 1000, wait_max: Duration::from_millis(2000) };
        let table: [(&[usize], u64, Result<usize, BodyError>); 7] = [
            (&[], 0, Ok(0)),
            (&[5], 0, Ok(5)),
            (&[5, 6, 7], 0, Ok(18)),
            (&[1], 400, Err(slow)),
            // It may take 900 ms more once it has come so far.
            (&[900, 1], 200, Ok(901)),
            (&[1; 20], 100, Err(slow)),
            (&[1001], 0, Err(BodyError::TooLarge { max: 1000 })),
        ];
        for (pieces, pause_ms, expect) in table {
            let bodies = Bodies::new(LIMITS);
            let read = read(&bodies, pieces, pause_ms).await.map(|whole| whole.bytes.len());
            assert_eq!(read, expect, "{pieces:?} every {pause_ms} ms");
            assert_eq!(bodies.in_flight.load(Ordering::Relaxed), 0, "nothing is kept");
        }
    }

    #[tokio::test]
    async fn large_bodies_share_a_budget_until_they_are_dropped() {
        let bodies = Bodies::new(BodyLimits { in_flight_max: 100, ..LIMITS });
        let small = read(&bodies, &[10], 0).await.unwrap();
        assert_eq!(small.held(), 0);
        let large = read(&bodies, &[40, 40], 0).await.unwrap();
        assert_eq!(large.held(), 80);
        assert_eq!(read(&bodies, &[21], 0).await.unwrap_err(), BodyError::Full { max: 100 });
        assert!(read(&bodies, &[10], 0).await.is_ok(), "small ones pass");
        drop(large);
        assert!(read(&bodies, &[21], 0).await.is_ok());
    }
}
