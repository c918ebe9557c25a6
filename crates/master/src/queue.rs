//! One stream's bounded queue of events, from the effects task to the connection.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use mesarch_mesos_v1::{ContentType, recordio};
use mesarch_state::command::OutboxPosition;
use tokio::sync::Notify;

use crate::events::{self, Event};

/// Most events that wait for a slow reader; beyond, its stream is closed. An answer to a reconciliation of all tasks
/// has to fit.
pub(crate) const STREAM_EVENTS_MAX: usize = 262_144;
/// Most memory that waits for a slow reader, in bytes; beyond, its stream is closed. Of a whole reconciliation, each
/// answer may have nearly one KiB.
pub(crate) const STREAM_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What an event costs beside its bytes: its place in the queue, and what the allocator and `Bytes` add.
const EVENT_OVERHEAD: usize = size_of::<Queued>() + 48;
/// An empty queue does not keep room for more events than this.
const KEPT_EVENTS_MAX: usize = 1024;

/// How a stream's connection has its events. They are written when they are queued: what waits is bounded as it is, and
/// the connection only hands it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One RecordIO frame each: HTTP.
    Record(ContentType),
    /// The protobuf message alone: gRPC has frames of its own.
    Message,
}

impl Form {
    /// In no more memory than it has bytes.
    fn write(self, event: &Event) -> Bytes {
        match self {
            Self::Record(content_type) => recordio::encode_message(content_type, event),
            Self::Message => mesarch_mesos_v1::encode(ContentType::Protobuf, event),
        }
    }
}

/// One event on its way.
#[derive(Debug)]
pub(crate) struct Queued {
    /// In the queue's form.
    pub(crate) event: Bytes,
    /// The place in the framework's outbox that it came from.
    pub(crate) outbox: Option<OutboxPosition>,
}

impl Queued {
    fn cost(&self) -> usize {
        self.event.len() + EVENT_OVERHEAD
    }
}

/// The side that writes.
#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
    form: Form,
    events_max: usize,
    bytes_max: usize,
}

/// The side that reads.
#[derive(Debug)]
pub(crate) struct QueueReader {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// For the one reader: there is something new, or the end.
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Queued>,
    /// What they cost.
    bytes: usize,
    /// Nothing comes after them.
    ended: bool,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for its reader.
    Done,
    /// The queue has ended, or nobody reads it any more.
    Ended,
    /// It did not fit. The queue has ended, and nothing is in it any more: its reader is not told what it missed, and
    /// learns it when it subscribes again.
    Overflowed,
}

/// A queue with the usual bounds.
pub(crate) fn queue(form: Form) -> (Queue, QueueReader) {
    with_bounds(form, STREAM_EVENTS_MAX, STREAM_BYTES_MAX)
}

fn with_bounds(form: Form, events_max: usize, bytes_max: usize) -> (Queue, QueueReader) {
    let shared = Arc::new(Shared::default());
    (Queue { shared: shared.clone(), form, events_max, bytes_max }, QueueReader { shared })
}

impl Queue {
    /// Queues an event; a queue that overflows ends.
    pub(crate) fn push(&self, event: &Event, outbox: Option<OutboxPosition>) -> Pushed {
        if self.shared.lock().ended {
            return Pushed::Ended;
        }
        let queued = Queued { event: self.form.write(event), outbox };
        let mut waiting = self.shared.lock();
        if waiting.ended {
            return Pushed::Ended;
        }
        let fits = waiting.events.len() < self.events_max
            && waiting.bytes.saturating_add(queued.cost()) <= self.bytes_max;
        let dropped = if fits { VecDeque::new() } else { waiting.clear() };
        if fits {
            waiting.push(queued);
        }
        drop(waiting);
        // There may be many: not under the lock.
        drop(dropped);
        self.shared.news.notify_one();
        if fits { Pushed::Done } else { Pushed::Overflowed }
    }

    /// Ends the queue after what is in it, with an ERROR event if there is something to say.
    pub(crate) fn end(&self, error: Option<&str>) {
        let mut waiting = self.shared.lock();
        if let (false, Some(text)) = (waiting.ended, error) {
            // One event beyond the bounds, once.
            waiting.push(Queued { event: self.form.write(&events::error(text)), outbox: None });
        }
        waiting.ended = true;
        drop(waiting);
        self.shared.news.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, queued: Queued) {
        self.bytes += queued.cost();
        self.events.push_back(queued);
    }

    fn pop(&mut self) -> Option<Queued> {
        let queued = self.events.pop_front()?;
        self.bytes -= queued.cost();
        if self.events.is_empty() && self.events.capacity() > KEPT_EVENTS_MAX {
            self.events = VecDeque::new();
        }
        Some(queued)
    }

    /// Ends it; what was in it.
    fn clear(&mut self) -> VecDeque<Queued> {
        (self.bytes, self.ended) = (0, true);
        std::mem::take(&mut self.events)
    }
}

impl QueueReader {
    /// The next event; none once the queue has ended and is empty.
    pub(crate) async fn next(&mut self) -> Option<Queued> {
        loop {
            {
                let mut waiting = self.shared.lock();
                let queued = waiting.pop();
                if queued.is_some() || waiting.ended {
                    return queued;
                }
            }
            self.shared.news.notified().await;
        }
    }
}

impl Drop for QueueReader {
    fn drop(&mut self) {
        let dropped = self.shared.lock().clear();
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::scheduler::event::Type;
    use prost::Message;

    use super::*;

    async fn rest(mut reader: QueueReader) -> Vec<Type> {
        let mut types = Vec::new();
        while let Some(queued) = reader.next().await {
            types.push(Event::decode(queued.event).expect("our own bytes").r#type());
        }
        types
    }

    #[tokio::test]
    async fn a_queue_that_overflows_is_emptied_and_ends_without_an_error() {
        let (queue, reader) = with_bounds(Form::Message, 2, usize::MAX);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Overflowed);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Ended);
        queue.end(Some("too late"));
        assert_eq!(queue.shared.lock().bytes, 0);
        assert_eq!(rest(reader).await, []);
    }

    #[tokio::test]
    async fn too_many_bytes_end_it_too_and_reading_makes_room() {
        let bytes = events::heartbeat().encoded_len() + EVENT_OVERHEAD;
        let (queue, mut reader) = with_bounds(Form::Message, usize::MAX, 2 * bytes);
        for _ in 0..5 {
            assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
            assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
            reader.next().await.expect("an event");
            reader.next().await.expect("an event");
        }
        queue.push(&events::heartbeat(), None);
        assert_eq!(queue.push(&events::error("long enough to be too long"), None), Pushed::Overflowed);
        assert_eq!(rest(reader).await, []);
    }

    #[tokio::test]
    async fn a_queue_without_its_reader_takes_nothing() {
        let (queue, reader) = with_bounds(Form::Message, 2, usize::MAX);
        queue.push(&events::heartbeat(), None);
        drop(reader);
        assert_eq!(queue.shared.lock().events.len(), 0);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Ended);
    }

    #[tokio::test]
    async fn an_ended_queue_gives_what_is_in_it() {
        let (queue, reader) = with_bounds(Form::Message, 1, usize::MAX);
        queue.push(&events::heartbeat(), Some(OutboxPosition(3)));
        queue.end(Some("why"));
        queue.end(Some("again"));
        assert_eq!(rest(reader).await, [Type::Heartbeat, Type::Error]);
    }

    #[tokio::test]
    async fn events_come_in_the_form_that_was_asked_for() {
        let json: &[u8] = b"20\n{\"type\":\"HEARTBEAT\"}";
        let table = [
            (Form::Record(ContentType::Json), json),
            (Form::Record(ContentType::Protobuf), b"2\n\x08\x08"),
            (Form::Message, b"\x08\x08"),
        ];
        for (form, expect) in table {
            let (queue, mut reader) = with_bounds(form, 1, usize::MAX);
            queue.push(&events::heartbeat(), None);
            assert_eq!(reader.next().await.expect("an event").event, expect, "{form:?}");
        }
    }
}
