//! Commands that wait to be packed: bounded in number and bytes, in order of arrival, and some of them patient.
//!
//! An entry costs a write, a sync and two messages however much it holds, and a published state of which the next entry
//! copies what it changes. And waking the proposer costs about as much as packing a command. So a command that nobody
//! waits for does neither by itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};

use crate::waiters::Reply;

/// A command that waits to be packed.
pub(crate) struct Queued<O> {
    pub(crate) term: u64,
    pub(crate) command: Bytes,
    pub(crate) reply: Reply<O>,
    /// Whether it waits a moment for others to share an entry with.
    pub(crate) patient: bool,
}

/// Bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most commands that wait to be packed.
    pub(crate) commands: usize,
    /// Most bytes of commands that wait to be packed, or are in entries that Raft holds for us.
    pub(crate) bytes: usize,
    /// With so many nobody waits for more.
    pub(crate) enough: usize,
    /// A patient command waits at most so long for company.
    pub(crate) patience: Duration,
}

/// See the module's text.
pub(crate) struct Queue<O> {
    waiting: Mutex<Waiting<O>>,
    /// Told when the proposer has something to look at.
    news: Notify,
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    bounds: Bounds,
}

struct Waiting<O> {
    commands: VecDeque<Held<O>>,
    /// How many of them are not patient.
    urgent: usize,
    /// Nobody packs any more: what comes is dropped.
    closed: bool,
}

struct Held<O> {
    command: Queued<O>,
    room: OwnedSemaphorePermit,
    /// Until when it waits, if it is patient.
    due: Option<Instant>,
}

/// Room in a queue for one command of a certain length.
pub(crate) struct Place<'a, O> {
    queue: &'a Queue<O>,
    place: OwnedSemaphorePermit,
    room: OwnedSemaphorePermit,
}

/// Commands taken out together, in order; none if what waits is not ripe.
pub(crate) struct Batch<O> {
    pub(crate) commands: Vec<Queued<O>>,
    /// Of all of them; given back when their entry has landed.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl<O> Queue<O> {
    /// An empty queue.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            waiting: Mutex::new(Waiting { commands: VecDeque::new(), urgent: 0, closed: false }),
            news: Notify::new(),
            places: Arc::new(Semaphore::new(bounds.commands)),
            room: Arc::new(Semaphore::new(bounds.bytes)),
            bounds,
        }
    }

    /// Waits for a place for a command of `bytes` bytes; an error once nobody packs any more.
    pub(crate) async fn place(&self, bytes: usize) -> Result<Place<'_, O>, AcquireError> {
        let bytes = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(bytes).await?;
        let place = self.places.clone().acquire_owned().await?;
        Ok(Place { queue: self, place, room })
    }

    /// Waits until something is to be packed. May be dropped while it waits.
    pub(crate) async fn ripe(&self) {
        loop {
            let news = self.news.notified();
            let due = {
                let waiting = self.waiting();
                if waiting.is_ripe(Instant::now(), self.bounds.enough) {
                    return;
                }
                waiting.due()
            };
            match due {
                // Time alone makes them ripe, and is judged by the next turn.
                Some(due) => drop(tokio::time::timeout_at(due.into(), news).await),
                None => news.await,
            }
        }
    }

    /// Takes out commands from the front, if they are ripe: as many of one term as `fits` allows, told how many are
    /// taken and how many bytes there are with the next.
    pub(crate) fn take(&self, fits: impl Fn(usize, usize) -> bool) -> Batch<O> {
        let mut batch = Batch { commands: Vec::new(), room: None };
        let mut waiting = self.waiting();
        if !waiting.is_ripe(Instant::now(), self.bounds.enough) {
            return batch;
        }
        let mut bytes = 0;
        while let Some(next) = waiting.commands.front() {
            bytes += next.command.command.len();
            let other_term = batch.commands.first().is_some_and(|first| first.term != next.command.term);
            if other_term || !fits(batch.commands.len(), bytes) {
                break;
            }
            let Some(Held { command, room, .. }) = waiting.pop() else { break };
            batch.commands.push(command);
            match &mut batch.room {
                Some(rooms) => rooms.merge(room),
                None => batch.room = Some(room),
            }
        }
        drop(waiting);
        self.places.add_permits(batch.commands.len());
        batch
    }

    /// Somebody waits for what is there: none of it is patient any more.
    pub(crate) fn hurry(&self) {
        let mut waiting = self.waiting();
        waiting.hurry();
        drop(waiting);
        self.news.notify_one();
    }

    /// Refuses places from now on, and drops what waits.
    pub(crate) fn close(&self) {
        self.places.close();
        self.room.close();
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.commands.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<O>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> Waiting<O> {
    /// Whether they are to be packed: one does not wait, or has waited long enough, or there are enough. An urgent one
    /// takes along those before it: order is kept.
    fn is_ripe(&self, now: Instant, enough: usize) -> bool {
        self.urgent > 0 || self.commands.len() >= enough || self.due().is_some_and(|due| due <= now)
    }

    /// When they are ripe without another command, if only patience keeps them.
    fn due(&self) -> Option<Instant> {
        self.commands.front().and_then(|held| held.due)
    }

    fn push(&mut self, held: Held<O>) {
        if self.closed {
            return;
        }
        self.urgent += usize::from(held.due.is_none());
        self.commands.push_back(held);
    }

    fn hurry(&mut self) {
        self.commands.iter_mut().for_each(|held| held.due = None);
        self.urgent = self.commands.len();
    }

    fn pop(&mut self) -> Option<Held<O>> {
        let held = self.commands.pop_front()?;
        self.urgent -= usize::from(held.due.is_none());
        Some(held)
    }
}

impl<O> Place<'_, O> {
    /// Puts `command` there. The proposer is told if it has to do something now, or to wake up later.
    pub(crate) fn put(self, command: Queued<O>) {
        let Self { queue, place, room } = self;
        // Given back when the command is taken out.
        place.forget();
        let due = command.patient.then(|| Instant::now() + queue.bounds.patience);
        let tell = {
            let mut waiting = queue.waiting();
            waiting.push(Held { command, room, due });
            due.is_none() || waiting.commands.len() == 1 || waiting.commands.len() == queue.bounds.enough
        };
        if tell {
            queue.news.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(3600);
    const BOUNDS: Bounds = Bounds { commands: 4, bytes: 100, enough: 3, patience: LONG };

    fn queue() -> Queue<()> {
        Queue::new(BOUNDS)
    }

    fn command(term: u64, bytes: usize, patient: bool) -> Queued<()> {
        Queued { term, command: vec![0; bytes].into(), reply: oneshot::channel().0, patient }
    }

    fn put(queue: &Queue<()>, command: Queued<()>) {
        let place = queue.place(command.command.len()).now_or_never();
        place.expect("there is a place").expect("open").put(command);
    }

    fn is_ripe(queue: &Queue<()>) -> bool {
        queue.ripe().now_or_never().is_some()
    }

    fn taken(queue: &Queue<()>) -> Vec<u64> {
        queue.take(|_, _| true).commands.iter().map(|command| command.term).collect()
    }

    #[tokio::test]
    async fn patient_commands_wait_for_an_urgent_one_or_for_enough() {
        for (patient, ripe) in [
            (&[][..], false),
            (&[true], false),
            (&[true, true], false),
            (&[false], true),
            (&[true, false], true),
            (&[true, true, true], true),
        ] {
            let queue = queue();
            patient.iter().for_each(|patient| put(&queue, command(1, 1, *patient)));
            assert_eq!(is_ripe(&queue), ripe, "{patient:?}");
            assert_eq!(taken(&queue).len(), if ripe { patient.len() } else { 0 }, "{patient:?}");
        }
    }

    #[tokio::test]
    async fn whoever_waits_hurries_what_is_there_and_not_what_comes() {
        let queue = queue();
        put(&queue, command(1, 1, true));
        queue.hurry();
        assert!(is_ripe(&queue));
        assert_eq!(taken(&queue), [1]);
        put(&queue, command(1, 1, true));
        assert!(!is_ripe(&queue));
    }

    #[tokio::test]
    async fn patience_ends() {
        let patience = Duration::from_millis(20);
        let queue = Arc::new(Queue::new(Bounds { patience, ..BOUNDS }));
        let waits = tokio::spawn({
            let queue = queue.clone();
            async move { queue.ripe().await }
        });
        let began = Instant::now();
        put(&queue, command(1, 1, true));
        tokio::time::timeout(Duration::from_secs(10), waits).await.expect("in time").expect("no panic");
        assert!(began.elapsed() >= patience);
        assert_eq!(taken(&queue), [1]);
        assert!(!is_ripe(&queue));
    }

    #[tokio::test]
    async fn a_batch_is_of_one_term_and_no_more_than_fits() {
        let queue = queue();
        for term in [1, 1, 2, 2] {
            put(&queue, command(term, 1, false));
        }
        assert_eq!(taken(&queue), [1, 1]);
        assert_eq!(queue.take(|packed, _| packed == 0).commands.len(), 1);
        assert_eq!(taken(&queue), [2]);
        assert!(taken(&queue).is_empty());
    }

    #[tokio::test]
    async fn places_come_back_when_commands_are_taken_and_bytes_when_their_entry_has_landed() {
        let queue = queue();
        (0..BOUNDS.commands).for_each(|_| put(&queue, command(1, 25, false)));
        assert!(queue.place(1).now_or_never().is_none(), "full by number and by bytes");
        let batch = queue.take(|packed, _| packed < 2);
        assert!(queue.place(1).now_or_never().is_none(), "full by bytes");
        drop(batch);
        assert!(queue.place(50).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_closed_queue_takes_nothing_and_drops_what_waits() {
        let queue = queue();
        let (reply, outcome) = oneshot::channel();
        put(&queue, Queued { reply, ..command(1, 1, true) });
        let (late_reply, late_outcome) = oneshot::channel();
        let late = queue.place(1).await.expect("open");
        queue.close();
        assert!(queue.place(1).await.is_err());
        assert!(outcome.await.is_err());
        late.put(Queued { reply: late_reply, ..command(1, 1, false) });
        assert!(late_outcome.await.is_err(), "dropped although its place is older than the end");
    }
}
