//! The event streams of subscribed schedulers: bounded queues between the effects task and the connections.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mesarch_edge::Patience;
use mesarch_proto::mesos::v1::scheduler::Event;
use mesarch_state::{command::OutboxPosition, effect::FAILED_OVER};
use mesarch_types::{Epoch, FrameworkId, Role};
use parking_lot::MutexGuard;
use tokio::sync::Notify;

use crate::{
    events,
    leader::{Placed, Session, ToLeader, Watched},
    metrics,
    queue::{Form, Pushed, Queue, QueueReader, queue},
};

/// Time between two HEARTBEATs; announced in SUBSCRIBED.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// How long the connection of a stream that overflowed has for the end of what it is at.
const OVERFLOW_WAIT: Duration = Duration::from_secs(1);
/// How long the connection of a stream that was ended has for what is queued.
const END_WAIT: Duration = Duration::from_secs(30);

/// Who reads a stream.
#[derive(Debug)]
pub(crate) struct Reader {
    /// How it has its events.
    pub(crate) form: Form,
    /// Its connection, if that carries nothing else meanwhile, and so may be cut.
    pub(crate) connection: Option<Arc<Patience>>,
}

/// One subscription's stream. Lives until its connection ends or it is closed.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Whose.
    pub(crate) framework: FrameworkId,
    /// The subscription.
    pub(crate) epoch: Epoch,
    /// Whether it goes on with the framework's stream before it, which then ends without a word.
    resumes: bool,
    /// The last call that found a place in the proposer's queue. Holding the lock while placing keeps the calls of one
    /// framework in order of arrival.
    pub(crate) calls: tokio::sync::Mutex<Calls>,
    queue: Queue,
    /// Held by whoever pushes, and by an answer from the state it reads until it is pushed.
    turn: parking_lot::Mutex<()>,
    /// The connection that reads it, as long as it does.
    connection: Mutex<Option<Arc<Patience>>>,
    /// Log index up to which its open work was listed when it opened.
    listed: AtomicU64,
    /// Told when the connection's side is gone.
    gone: Notify,
}

/// The calls of a stream that found their places.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// The last one.
    pub(crate) last: LastCall,
    /// The last SUPPRESS, if nothing was placed behind it that could make offers come again. To say the same once more
    /// changes nothing, whether it is in the log by now or not: what would lose the one would lose the other.
    pub(crate) suppressed: Option<Suppressed>,
}

/// What a SUPPRESS asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suppressed {
    /// Of the leader that took it: what a term has lost, another one does not know.
    pub(crate) term: u64,
    /// As named; none means all.
    pub(crate) roles: BTreeSet<Role>,
}

/// The last call of a stream that found its place. Most are never looked at again, so sharing one is put off until
/// somebody asks.
#[derive(Debug, Default)]
pub(crate) enum LastCall {
    /// There was none.
    #[default]
    None,
    /// Nobody waits for it.
    Placed(Placed),
    /// Somebody may.
    Watched(Watched),
}

impl LastCall {
    /// For one more to wait for it.
    pub(crate) fn watch(&mut self) -> Option<Watched> {
        let watched = match std::mem::take(self) {
            Self::None => return None,
            Self::Placed(placed) => placed.watched(),
            Self::Watched(watched) => watched,
        };
        *self = Self::Watched(watched.clone());
        Some(watched)
    }
}

/// The connection's side of a stream.
#[derive(Debug)]
pub(crate) struct Events {
    queue: QueueReader,
    stream: Arc<Stream>,
    session: Arc<Session>,
    /// Taken by the connection, to be reported with the next poll.
    delivered: Option<OutboxPosition>,
}

impl Stream {
    /// A stream and its connection's side. Nothing is sent before [`Streams::open`].
    pub(crate) fn new(
        framework: FrameworkId,
        epoch: Epoch,
        resumes: bool,
        session: Arc<Session>,
        reader: Reader,
    ) -> (Arc<Self>, Events) {
        let (queue, events) = queue(reader.form);
        let stream = Arc::new(Self {
            framework,
            epoch,
            resumes,
            calls: tokio::sync::Mutex::default(),
            queue,
            turn: parking_lot::Mutex::new(()),
            connection: Mutex::new(reader.connection),
            listed: AtomicU64::new(0),
            gone: Notify::new(),
        });
        let events = Events { queue: events, stream: stream.clone(), session, delivered: None };
        (stream, events)
    }

    /// Queues an event; a stream that overflows is closed. `outbox` is where the event came from, if from there.
    pub(crate) fn push(&self, event: &Event, outbox: Option<OutboxPosition>) {
        let _turn = self.turn.lock();
        self.push_in_turn(event, outbox);
    }

    /// Queues answers piece by piece: `read` takes the next piece from the newest state, until there is none. What a
    /// newer state leads to is queued behind the piece: it is published before it is pushed, and the push waits for its
    /// turn. Between two pieces whoever waits has it. Blocks as long as `read` needs for all.
    pub(crate) fn push_answers(&self, mut read: impl FnMut() -> Option<Vec<Event>>) {
        let mut turn = self.turn.lock();
        while let Some(piece) = read() {
            if piece.iter().any(|event| self.push_in_turn(event, None) != Pushed::Done) {
                return;
            }
            MutexGuard::bump(&mut turn);
        }
    }

    fn push_in_turn(&self, event: &Event, outbox: Option<OutboxPosition>) -> Pushed {
        let pushed = self.queue.push(event, outbox);
        if pushed == Pushed::Overflowed {
            tracing::warn!(framework = %self.framework, "the scheduler reads too slowly: its stream is closed");
            metrics::stream_overflowed();
            self.gone.notify_one();
            self.cut_within(OVERFLOW_WAIT);
        }
        pushed
    }

    /// Cuts the connection if it does not take the end of the stream in time.
    fn cut_within(&self, wait: Duration) {
        if let Some(connection) = &*self.connection() {
            connection.cut_within(wait);
        }
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Option<Arc<Patience>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether effects of the entry at `index` were listed when the stream opened, and so need not be performed again.
    pub(crate) fn has_listed(&self, index: u64) -> bool {
        index <= self.listed.load(Ordering::Relaxed)
    }

    /// Says that everything owed up to the entry at `index` is queued.
    pub(crate) fn listed_up_to(&self, index: u64) {
        self.listed.store(index, Ordering::Relaxed);
    }

    /// Ends the stream after what is queued, with an ERROR event if there is something to say.
    pub(crate) fn close(&self, error: Option<&str>) {
        self.queue.end(error);
        self.gone.notify_one();
        self.cut_within(END_WAIT);
    }

    /// Beats until the connection's side is gone or the stream is closed.
    async fn beat(&self) {
        let first = tokio::time::Instant::now() + HEARTBEAT_INTERVAL;
        let mut ticks = tokio::time::interval_at(first, HEARTBEAT_INTERVAL);
        loop {
            tokio::select! {
                () = self.gone.notified() => return,
                _ = ticks.tick() => self.push(&events::heartbeat(), None),
            }
        }
    }
}

impl Events {
    /// The next event in the stream's form; none once the stream has ended. The previous one counts as delivered by this
    /// call: the connection has taken it.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if let Some(up_to) = self.delivered.take() {
            let (framework, epoch) = (self.stream.framework.clone(), self.stream.epoch);
            let input = mesarch_leader_core::Input::Delivered { framework, epoch, up_to };
            self.session.tell(ToLeader::Input(input)).await;
        }
        let queued = self.queue.next().await?;
        self.delivered = queued.outbox;
        Some(queued.event)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // The connection has taken all of it, or is no more. It may be asked other things now.
        if let Some(connection) = self.stream.connection().take() {
            connection.spare();
        }
        self.stream.gone.notify_one();
    }
}

/// All open streams of this master.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    by_framework: Mutex<HashMap<FrameworkId, Arc<Stream>>>,
}

impl Streams {
    /// The framework's open stream.
    pub(crate) fn get(&self, framework: &FrameworkId) -> Option<Arc<Stream>> {
        self.lock().get(framework).cloned()
    }

    /// Opens a stream: `subscribed` is its first event, a HEARTBEAT follows at once. Nobody finds the stream before both
    /// are queued. An older stream of the framework ends. The leader is told when the connection is gone.
    pub(crate) fn open(self: &Arc<Self>, stream: Arc<Stream>, session: Arc<Session>, subscribed: Event) {
        let mut open = self.lock();
        // Queued under the lock, so that a scheduler which answers at once is known.
        stream.push(&subscribed, None);
        stream.push(&events::heartbeat(), None);
        let older = open.insert(stream.framework.clone(), stream.clone());
        metrics::streams_open(open.len());
        drop(open);
        // The effect that closes it may come later and find the newer one.
        if let Some(older) = older {
            older.close((!stream.resumes).then_some(FAILED_OVER));
        }
        let streams = self.clone();
        tokio::spawn(async move {
            stream.beat().await;
            streams.remove(&stream);
            let (framework, epoch) = (stream.framework.clone(), stream.epoch);
            session
                .tell(ToLeader::Input(mesarch_leader_core::Input::StreamClosed { framework, epoch }))
                .await;
        });
    }

    /// Closes one subscription's stream, unless a newer one has taken its place.
    pub(crate) fn close(&self, framework: &FrameworkId, epoch: Epoch, error: Option<&str>) {
        if let Some(stream) = self.get(framework).filter(|stream| stream.epoch == epoch) {
            self.remove(&stream);
            stream.close(error);
        }
    }

    /// Ends all streams, without an ERROR: their schedulers move on to the next leader.
    pub(crate) fn close_all(&self) {
        let all = std::mem::take(&mut *self.lock());
        all.into_values().for_each(|stream| stream.close(None));
        metrics::streams_open(0);
    }

    fn remove(&self, stream: &Arc<Stream>) {
        let mut streams = self.lock();
        if streams.get(&stream.framework).is_some_and(|open| Arc::ptr_eq(open, stream)) {
            streams.remove(&stream.framework);
        }
        metrics::streams_open(streams.len());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<FrameworkId, Arc<Stream>>> {
        self.by_framework.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
