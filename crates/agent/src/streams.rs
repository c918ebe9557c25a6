//! The event streams of executors.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use mesarch_agent_core::{ExecutorKey, Run};
use mesarch_mesos_v1::{ContentType, recordio};
use mesarch_proto::mesos::v1::executor::Event;
use tokio::sync::{mpsc, oneshot};

use crate::{
    requests::{EventStream, Request},
    tasks::Tasks,
};

/// Most events that an executor may leave unread; then its stream is closed, and it subscribes again.
const EVENTS_MAX: usize = 1024;
/// From the agent to a quiet executor (Mesos' period, the first one after it).
const HEARTBEAT: Duration = Duration::from_secs(30 * 60);

/// All open streams, at most one per executor.
#[derive(Debug)]
pub(crate) struct Streams {
    open: BTreeMap<ExecutorKey, Stream>,
    opened: u64,
    requests: mpsc::Sender<Request>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Stream {
    run: Run,
    number: u64,
    content_type: ContentType,
    frames: mpsc::Sender<Bytes>,
}

impl Streams {
    pub(crate) fn new(requests: mpsc::Sender<Request>, tasks: Tasks) -> Self {
        Self { open: BTreeMap::new(), opened: 0, requests, tasks }
    }

    /// Opens a stream; an older one of the same executor ends.
    pub(crate) fn open(&mut self, run: &Run, content_type: ContentType) -> EventStream {
        self.opened += 1;
        let (frames, receiver) = mpsc::channel(EVENTS_MAX);
        let (open, closed) = oneshot::channel();
        let stream = Stream { run: run.clone(), number: self.opened, content_type, frames };
        self.open.insert(run.key(), stream);
        let watch = watch(closed, run.clone(), self.opened, self.requests.clone());
        self.tasks.spawn("event stream", watch);
        EventStream { frames: receiver, _open: open }
    }

    /// Writes an event, if the run has a stream.
    pub(crate) fn send(&mut self, run: &Run, event: &Event) {
        let key = run.key();
        let Some(stream) = self.open.get(&key).filter(|stream| stream.run == *run) else {
            return;
        };
        let frame = recordio::encode_message(stream.content_type, event);
        if stream.frames.try_send(frame).is_err() {
            tracing::warn!(executor = %run.executor, "closing an event stream that is not read");
            self.open.remove(&key);
        }
    }

    /// Ends the run's stream after what was written so far.
    pub(crate) fn close(&mut self, run: &Run) {
        let key = run.key();
        if self.open.get(&key).is_some_and(|stream| stream.run == *run) {
            self.open.remove(&key);
        }
    }

    /// The number of the run's stream, if it has one.
    pub(crate) fn number(&self, run: &Run) -> Option<u64> {
        self.open.get(&run.key()).filter(|stream| stream.run == *run).map(|stream| stream.number)
    }

    /// Whether this stream is the present one of its executor.
    pub(crate) fn is_present(&self, run: &Run, number: u64) -> bool {
        self.open.get(&run.key()).is_some_and(|stream| stream.number == number)
    }

    /// Forgets a stream whose reader is gone; false if a newer one took its place. A stream that was closed from this
    /// side counts as gone, too.
    pub(crate) fn closed(&mut self, run: &Run, number: u64) -> bool {
        let newer = self.open.get(&run.key()).is_some_and(|stream| stream.number > number);
        if !newer {
            self.open.remove(&run.key());
        }
        !newer
    }
}

/// Tells the runner when the reader is gone, and when it is time for a sign of life.
async fn watch(mut closed: oneshot::Receiver<()>, run: Run, stream: u64, requests: mpsc::Sender<Request>) {
    loop {
        tokio::select! {
            _ = &mut closed => break,
            () = tokio::time::sleep(HEARTBEAT) => {
                // The runner is gone when this fails, and with it the stream.
                let _ = requests.send(Request::Heartbeat { run: run.clone(), stream }).await;
            }
        }
    }
    let _ = requests.send(Request::StreamClosed { run, stream }).await;
}
