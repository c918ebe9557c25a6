//! One stream's bounded queue of events, from the effects task to the connection.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use mesarch_mesos_v1::{ContentType, recordio};
use mesarch_state::command::OutboxPosition;
use prost::Message;
use tokio::sync::mpsc;

use crate::events::{self, Event};

/// Most events that wait for a slow reader; beyond, its stream is closed. An answer to a reconciliation of all tasks
/// has to fit.
pub(crate) const STREAM_EVENTS_MAX: usize = 262_144;
/// Most bytes that wait for a slow reader; beyond, its stream is closed. Of a whole reconciliation, each answer may have
/// one KiB.
pub(crate) const STREAM_BYTES_MAX: usize = 256 * 1024 * 1024;

const OVERFLOW: &str = "The event stream overflowed: events were not read in time";

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
    fn write(self, event: &Event) -> Bytes {
        match self {
            Self::Record(content_type) => recordio::encode_message(content_type, event),
            Self::Message => event.encode_to_vec().into(),
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

/// The side that writes.
#[derive(Debug)]
pub(crate) struct Queue {
    form: Form,
    sender: Mutex<Option<mpsc::Sender<Queued>>>,
    bytes: Arc<AtomicUsize>,
    events_max: usize,
    bytes_max: usize,
}

/// The side that reads.
#[derive(Debug)]
pub(crate) struct QueueReader {
    receiver: mpsc::Receiver<Queued>,
    bytes: Arc<AtomicUsize>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for its reader, or there is none any more.
    Done,
    /// It did not fit: the queue has ended with an ERROR event.
    Overflowed,
}

/// A queue with the usual bounds.
pub(crate) fn queue(form: Form) -> (Queue, QueueReader) {
    with_bounds(form, STREAM_EVENTS_MAX, STREAM_BYTES_MAX)
}

fn with_bounds(form: Form, events_max: usize, bytes_max: usize) -> (Queue, QueueReader) {
    // One place is kept for the ERROR that tells an overflow.
    let (sender, receiver) = mpsc::channel(events_max + 1);
    let bytes = Arc::new(AtomicUsize::new(0));
    let queue = Queue { form, sender: Mutex::new(Some(sender)), bytes: bytes.clone(), events_max, bytes_max };
    (queue, QueueReader { receiver, bytes })
}

impl Queue {
    /// Queues an event; a queue that overflows ends.
    pub(crate) fn push(&self, event: &Event, outbox: Option<OutboxPosition>) -> Pushed {
        let mut guard = self.lock();
        let Some(sender) = guard.as_ref() else {
            return Pushed::Done;
        };
        let event = self.form.write(event);
        let waiting = sender.max_capacity() - sender.capacity();
        if waiting >= self.events_max
            || self.bytes.load(Ordering::Relaxed).saturating_add(event.len()) > self.bytes_max
        {
            end(&mut guard, self.form, Some(OVERFLOW));
            return Pushed::Overflowed;
        }
        self.bytes.fetch_add(event.len(), Ordering::Relaxed);
        // Fails only if the reader is gone, which is noticed elsewhere.
        let _ = sender.try_send(Queued { event, outbox });
        Pushed::Done
    }

    /// Ends the queue after what is in it, with an ERROR event if there is something to say.
    pub(crate) fn end(&self, error: Option<&str>) {
        end(&mut self.lock(), self.form, error);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Queued>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(sender: &mut Option<mpsc::Sender<Queued>>, form: Form, error: Option<&str>) {
    if let (Some(sender), Some(text)) = (sender.take(), error) {
        let event = form.write(&events::error(text));
        // The last place was kept for this; a reader that is gone needs no reason.
        let _ = sender.try_send(Queued { event, outbox: None });
    }
}

impl QueueReader {
    /// The next event; none once the queue has ended and is empty.
    pub(crate) async fn next(&mut self) -> Option<Queued> {
        let queued = self.receiver.recv().await?;
        // The ERROR at the end was not counted, and nothing is counted after it.
        self.bytes.fetch_sub(queued.event.len(), Ordering::Relaxed);
        Some(queued)
    }
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::scheduler::event::Type;

    use super::*;

    async fn rest(mut reader: QueueReader) -> Vec<Type> {
        let mut types = Vec::new();
        while let Some(queued) = reader.next().await {
            types.push(Event::decode(queued.event).expect("our own bytes").r#type());
        }
        types
    }

    #[tokio::test]
    async fn too_many_events_end_the_queue_with_an_error() {
        let (queue, reader) = with_bounds(Form::Message, 2, usize::MAX);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Overflowed);
        assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done, "nobody is there any more");
        assert_eq!(rest(reader).await, [Type::Heartbeat, Type::Heartbeat, Type::Error]);
    }

    #[tokio::test]
    async fn too_many_bytes_end_it_too_and_reading_makes_room() {
        let bytes = events::heartbeat().encoded_len();
        let (queue, mut reader) = with_bounds(Form::Message, usize::MAX >> 4, 2 * bytes);
        for _ in 0..5 {
            assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
            assert_eq!(queue.push(&events::heartbeat(), None), Pushed::Done);
            reader.next().await.expect("an event");
            reader.next().await.expect("an event");
        }
        queue.push(&events::heartbeat(), None);
        assert_eq!(queue.push(&events::error("long enough to be too long"), None), Pushed::Overflowed);
        assert_eq!(rest(reader).await, [Type::Heartbeat, Type::Error]);
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
