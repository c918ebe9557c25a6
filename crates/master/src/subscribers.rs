//! Operators who follow the state: a bounded number of them, each with a bounded queue between the state's steps and its
//! connection.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use mesarch_mesos_v1::ContentType;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, oneshot,
    },
    time::{Instant, interval_at},
};

use crate::{
    metrics,
    moments::{Moment, Step},
    streams::HEARTBEAT_INTERVAL,
    view::LeaderView,
};

/// Most subscribers of a master; a new one takes the place of the oldest, as in Mesos.
pub(crate) const SUBSCRIBERS_MAX: usize = 1000;
/// Most records that wait for a connection to take them: the end of a large framework is one step of the state.
const RECORDS_MAX: usize = 1 << 17;
/// Most bytes of them, beside the records that a stream begins with: the whole state is let in whatever it takes.
const BYTES_MAX: usize = 64 << 20;

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its reader is gone.
    Gone,
    /// It did not read as fast as the state changed.
    TooSlow,
    /// A new subscriber took its place.
    Replaced,
    /// This master does not lead any more, and the subscriber wanted the leader.
    NotLeader,
    /// The state came from another master as a whole: what changed is not known.
    Snapshot,
    /// This master stops.
    Stopping,
}

impl End {
    /// For logs and metrics.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::TooSlow => "too slow",
            Self::Replaced => "replaced by a new subscriber",
            Self::NotLeader => "this master does not lead any more",
            Self::Snapshot => "the state was replaced by a snapshot",
            Self::Stopping => "this master stops",
        }
    }
}

/// Those who are subscribed, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    places: VecDeque<(u64, oneshot::Sender<End>)>,
    next: u64,
}

/// A subscriber's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<Mutex<Open>>,
    number: u64,
    /// Why it is taken away.
    taken: oneshot::Receiver<End>,
}

impl Subscribers {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        lock(&self.open).places.len()
    }

    /// A place; the oldest subscriber loses its own if there is no other.
    pub(crate) fn enter(&self) -> Place {
        let mut open = lock(&self.open);
        if open.places.len() >= SUBSCRIBERS_MAX {
            let oldest = open.places.pop_front();
            // Its stream may be about to end by itself.
            let _ = oldest.map(|(_, place)| place.send(End::Replaced));
        }
        let (number, (place, taken)) = (open.next, oneshot::channel());
        open.next += 1;
        open.places.push_back((number, place));
        metrics::subscribers_open(open.places.len());
        drop(open);
        Place { open: self.open.clone(), number, taken }
    }

    /// Ends all streams: their readers move on to another master.
    pub(crate) fn close_all(&self) {
        for (_, place) in std::mem::take(&mut lock(&self.open).places) {
            let _ = place.send(End::Stopping);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.places.retain(|(number, _)| *number != self.number);
        metrics::subscribers_open(open.places.len());
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be written to one subscriber.
#[derive(Debug)]
pub(crate) struct Queue {
    records: mpsc::Sender<Bytes>,
    waiting_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The connection's side of a [`Queue`].
#[derive(Debug)]
pub(crate) struct Records {
    records: Arc<Mutex<mpsc::Receiver<Bytes>>>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// A queue that begins with these records.
pub(crate) fn queue(first: impl IntoIterator<Item = Bytes>) -> (Queue, Records) {
    let (sender, records) = mpsc::channel(RECORDS_MAX);
    let records = Arc::new(Mutex::new(records));
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let mut bytes = 0;
    for record in first {
        bytes += record.len();
        // There are few, and room for many.
        let _ = sender.try_send(record);
    }
    waiting_bytes.store(bytes, Ordering::Relaxed);
    let bytes_max = BYTES_MAX.saturating_add(bytes);
    let queue = Queue { records: sender, waiting_bytes: waiting_bytes.clone(), bytes_max };
    (queue, Records { records, waiting_bytes })
}

impl Queue {
    fn push(&self, record: &Bytes) -> Result<(), End> {
        let waiting = self.waiting_bytes.fetch_add(record.len(), Ordering::Relaxed);
        if waiting.saturating_add(record.len()) > self.bytes_max {
            return Err(End::TooSlow);
        }
        self.records.try_send(record.clone()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => End::TooSlow,
            mpsc::error::TrySendError::Closed(_) => End::Gone,
        })
    }
}

impl Records {
    /// The next record; none once the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let record = poll_fn(|context| lock(&self.records).poll_recv(context)).await?;
        self.waiting_bytes.fetch_sub(record.len(), Ordering::Relaxed);
        Some(record)
    }

    /// The other handle of the same records.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting(self.records.clone())
    }
}

/// What a connection has not taken, as whoever ends its stream has it.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Mutex<mpsc::Receiver<Bytes>>>);

impl Waiting {
    /// Throws it away: its reader may never come for it, and shares its connection with others.
    pub(crate) fn forget(self) {
        let mut records = lock(&self.0);
        records.close();
        while records.try_recv().is_ok() {}
    }
}

/// One subscription, from the state that its first record shows.
pub(crate) struct Subscription {
    pub(crate) place: Place,
    /// Followed since before that state was looked at.
    pub(crate) moments: broadcast::Receiver<Moment>,
    /// Log index of that state.
    pub(crate) from: u64,
    pub(crate) content_type: ContentType,
    /// Who must go on leading for the stream to go on; none: nobody.
    pub(crate) leader: Option<(u64, tokio::sync::watch::Receiver<LeaderView>)>,
    pub(crate) queue: Queue,
    pub(crate) heartbeat: Bytes,
    /// How a step is written, record by record.
    pub(crate) write: fn(&Step, ContentType) -> Vec<Bytes>,
}

impl Subscription {
    /// Carries every later step to the subscriber, until the stream ends.
    pub(crate) async fn run(mut self) -> End {
        let mut heartbeats = interval_at(Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
        let deposed = deposed(self.leader.take());
        tokio::pin!(deposed);
        loop {
            let pushed = tokio::select! {
                // Someone who is to move on, or gone, is not told more first.
                biased;
                () = &mut deposed => Err(End::NotLeader),
                taken = &mut self.place.taken => Err(taken.unwrap_or(End::Replaced)),
                () = self.queue.records.closed() => Err(End::Gone),
                moment = self.moments.recv() => self.take(moment),
                _ = heartbeats.tick() => self.queue.push(&self.heartbeat),
            };
            if let Err(end) = pushed {
                return end;
            }
        }
    }

    fn take(&self, moment: Result<Moment, RecvError>) -> Result<(), End> {
        match moment {
            Ok(Moment::Applied(step)) if step.after.index > self.from => {
                let place = usize::from(self.content_type == ContentType::Protobuf);
                let records = step.written[place].get_or_init(|| (self.write)(&step, self.content_type));
                records.iter().try_for_each(|record| self.queue.push(record))
            }
            // The first record shows it already.
            Ok(Moment::Applied(_)) => Ok(()),
            Ok(Moment::Replaced) => Err(End::Snapshot),
            Err(RecvError::Lagged(_)) => Err(End::TooSlow),
            Err(RecvError::Closed) => Err(End::Stopping),
        }
    }
}

/// Waits until this master does not lead in that term any more; for ever if nobody must lead.
async fn deposed(leader: Option<(u64, tokio::sync::watch::Receiver<LeaderView>)>) {
    let Some((term, mut view)) = leader else { return std::future::pending().await };
    let leads = |view: &LeaderView| matches!(view, LeaderView::Leading(session) if session.term == term);
    // Without a sender the master is going away, which is no leader either.
    let _ = view.wait_for(|view| !leads(view)).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesarch_state::{Change, State};
    use tokio::time::timeout;

    use super::*;
    use crate::{machine::Published, moments::Moments};

    fn at(index: u64) -> Arc<Published> {
        Arc::new(Published { state: State::new(), index })
    }

    fn step(moments: &Moments, index: u64) {
        moments.applied(&at(index - 1), &at(index), &[Change::Policy]);
    }

    fn write(step: &Step, _: ContentType) -> Vec<Bytes> {
        vec![Bytes::from(step.after.index.to_string())]
    }

    fn subscription(subscribers: &Subscribers, moments: &Moments, from: u64) -> (Subscription, Records) {
        let (queue, records) = queue([Bytes::from_static(b"state")]);
        let subscription = Subscription {
            place: subscribers.enter(),
            moments: moments.follow(),
            from,
            content_type: ContentType::Json,
            leader: None,
            queue,
            heartbeat: Bytes::from_static(b"beat"),
            write,
        };
        (subscription, records)
    }

    async fn rest(mut records: Records) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(record) = records.next().await {
            all.push(String::from_utf8(record.to_vec()).expect("text"));
        }
        all
    }

    #[tokio::test]
    async fn every_step_after_the_state_comes_once_and_in_order() {
        let (subscribers, moments) = (Subscribers::default(), Moments::default());
        let (subscription, records) = subscription(&subscribers, &moments, 7);
        (6..=10).for_each(|index| step(&moments, index));
        drop(moments);
        assert_eq!(subscription.run().await, End::Stopping);
        assert_eq!(rest(records).await, ["state", "8", "9", "10"]);
    }

    #[tokio::test]
    async fn who_does_not_read_is_ended_and_who_misses_steps_too() {
        let (subscribers, moments) = (Subscribers::default(), Moments::default());
        let (slow, _records) = subscription(&subscribers, &moments, 0);
        for index in 1..=RECORDS_MAX {
            slow.queue
                .push(&Bytes::from(index.to_string()))
                .map_or_else(|end| assert_eq!(end, End::TooSlow), drop);
        }
        step(&moments, 1);
        assert_eq!(slow.run().await, End::TooSlow);
        let (behind, _records) = subscription(&subscribers, &moments, 0);
        (1..=2000).for_each(|index| step(&moments, index));
        assert_eq!(behind.run().await, End::TooSlow);
    }

    #[tokio::test]
    async fn bytes_that_wait_are_bounded_and_reading_makes_room() {
        let (queue, mut records) = queue([]);
        let half = Bytes::from(vec![0; BYTES_MAX / 2]);
        for _ in 0..4 {
            assert_eq!(queue.push(&half), Ok(()));
            assert_eq!(queue.push(&half), Ok(()));
            assert!(records.next().await.is_some() && records.next().await.is_some());
        }
        assert_eq!((queue.push(&half), queue.push(&half)), (Ok(()), Ok(())));
        assert_eq!(queue.push(&Bytes::from_static(b"x")), Err(End::TooSlow));
    }

    #[tokio::test]
    async fn a_new_subscriber_takes_the_place_of_the_oldest() {
        let (subscribers, moments) = (Subscribers::default(), Moments::default());
        let (oldest, _first) = subscription(&subscribers, &moments, 0);
        let (younger, _second) = subscription(&subscribers, &moments, 0);
        let others: Vec<Place> = (2..SUBSCRIBERS_MAX).map(|_| subscribers.enter()).collect();
        let newest = subscribers.enter();
        assert_eq!(oldest.run().await, End::Replaced);
        drop((others, newest));
        let running = timeout(Duration::from_millis(20), younger.run());
        assert!(running.await.is_err(), "it keeps its place");
        assert_eq!(lock(&subscribers.open).places.len(), 0, "those who end leave");
    }

    #[tokio::test]
    async fn a_state_that_was_replaced_ends_the_stream() {
        let (subscribers, moments) = (Subscribers::default(), Moments::default());
        let (subscription, records) = subscription(&subscribers, &moments, 0);
        step(&moments, 1);
        moments.replaced();
        assert_eq!(subscription.run().await, End::Snapshot);
        assert_eq!(rest(records).await, ["state", "1"]);
    }

    #[tokio::test]
    async fn a_stream_of_the_leader_ends_with_its_term() {
        let (subscribers, moments) = (Subscribers::default(), Moments::default());
        let (mut subscription, _records) = subscription(&subscribers, &moments, 0);
        let (_view, following) = tokio::sync::watch::channel(LeaderView::Electing { term: 4 });
        subscription.leader = Some((3, following));
        assert_eq!(subscription.run().await, End::NotLeader);
    }
}
