//! Renders answers from copies of the state, on threads of their own that give way to everybody else's.
//!
//! Readers who ask the same at the same state share one answer: one render, many readers of its pieces. While one is
//! rendered from a state that has become old meanwhile, all who ask the same wait for one more, which begins when that
//! one ends, with the state of then. So what is polled by many is rendered by one thread at a time.

mod chain;
mod sink;

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use mesarch_mesos_v1::{ContentType, Query};
use mesarch_state::State;
use tokio::sync::mpsc;

use super::{read::Looked, routes::Read};
use crate::app::App;

use chain::{Broken, Start, Writer};
pub(super) use sink::Sink;

/// Threads that render. On few cores they take what others leave.
const THREADS: usize = 2;
/// How much less of a core they get than others who want it as well, as `nice` counts.
const NICENESS: i32 = 5;
/// Answers that wait for a thread; more readers wait for a place among them.
const JOBS_MAX: usize = 64;
/// How long a reader waits for such a place.
const PLACE_WAIT: Duration = Duration::from_secs(10);
/// How long a reader waits for its answer to begin.
const BEGIN_WAIT: Duration = Duration::from_secs(30);

/// What is asked: equal keys have equal answers at the same state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) what: What,
    /// Whether the answer is to be compressed.
    pub(super) gzip: bool,
    /// The term in which this master answers as leader.
    pub(super) term: Option<u64>,
}

/// Which answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Of the v0 API, with what its query asks for.
    V0(Read, Query),
    /// Of the operator API, by the number of its type.
    V1(i32, ContentType),
}

/// Writes an answer.
pub(super) type Render = Box<dyn FnOnce(&App, &State, &mut Sink) -> io::Result<()> + Send>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RenderError {
    #[error("too many reads at a time")]
    Busy,
    #[error("the answer could not be written")]
    Failed,
}

/// An answer whose beginning is there.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) body: Body,
    pub(super) is_compressed: bool,
    pub(super) looked: Looked,
}

/// One answer, from when it is asked for until it is written.
#[derive(Debug)]
struct Rendering {
    /// Until nobody may join any more.
    start: Mutex<Option<Start>>,
    /// Set when it begins. Until then its state is yet to be taken.
    looked: OnceLock<Looked>,
    is_compressed: Arc<OnceLock<bool>>,
}

impl Rendering {
    /// One more reader, if that state is new enough.
    fn join(&self, index: u64) -> Option<chain::Reader> {
        if self.looked.get().is_some_and(|looked| looked.index < index) {
            return None;
        }
        locked(&self.start).as_ref()?.reader()
    }
}

/// Those of one key.
struct Row {
    now: Arc<Rendering>,
    /// Begins when that one has ended.
    next: Option<Job>,
}

type Rows = Arc<Mutex<HashMap<Key, Row>>>;

struct Job {
    app: Weak<App>,
    key: Key,
    rendering: Arc<Rendering>,
    writer: Writer,
    render: Render,
}

impl Job {
    fn new(app: &Arc<App>, key: Key, render: Render) -> Self {
        let (writer, start) = chain::chain();
        let rendering = Arc::new(Rendering {
            start: Mutex::new(Some(start)),
            looked: OnceLock::new(),
            is_compressed: Arc::default(),
        });
        Self { app: Arc::downgrade(app), key, rendering, writer, render }
    }
}

/// Where readers ask.
pub(crate) struct Desk {
    jobs: mpsc::Sender<Job>,
    rows: Rows,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    /// Starts the threads; they end some time after this is dropped.
    ///
    /// # Errors
    /// If there are no more threads to be had.
    pub(crate) fn new() -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let (queue, rows) = (Arc::new(Mutex::new(queue)), Rows::default());
        for _ in 0..THREADS {
            let worker = Worker { queue: queue.clone(), jobs: jobs.downgrade(), rows: rows.clone() };
            std::thread::Builder::new().name("render".to_owned()).spawn(move || worker.run())?;
        }
        Ok(Self { jobs, rows })
    }

    /// The answer of this key at the state of now or later. `render` is used if nobody else has asked already.
    ///
    /// # Errors
    /// If it could not begin in time, or not at all.
    pub(super) async fn rendered(
        &self,
        app: &Arc<App>,
        key: Key,
        render: Render,
    ) -> Result<Rendered, RenderError> {
        let (mut reader, rendering) = self.reader(app, key, render).await?;
        let first = tokio::time::timeout(BEGIN_WAIT, reader.next()).await.map_err(|_| RenderError::Busy)?;
        let first = first.unwrap_or(Ok(Bytes::new())).map_err(|Broken| RenderError::Failed)?;
        let looked = *rendering.looked.get().ok_or(RenderError::Failed)?;
        let is_compressed = rendering.is_compressed.get().copied().unwrap_or(false);
        let body = if reader.is_at_end() { Body::from(first) } else { stream(first, reader) };
        Ok(Rendered { body, is_compressed, looked })
    }

    async fn reader(
        &self,
        app: &Arc<App>,
        key: Key,
        render: Render,
    ) -> Result<(chain::Reader, Arc<Rendering>), RenderError> {
        if let Some(joined) = join(&locked(&self.rows), app, &key) {
            return Ok(joined);
        }
        let place = tokio::time::timeout(PLACE_WAIT, self.jobs.reserve()).await;
        let place = place.map_err(|_| RenderError::Busy)?.map_err(|_| RenderError::Failed)?;
        let mut rows = locked(&self.rows);
        if let Some(joined) = join(&rows, app, &key) {
            return Ok(joined);
        }
        let job = Job::new(app, key.clone(), render);
        let rendering = job.rendering.clone();
        let reader = rendering.join(0).ok_or(RenderError::Failed)?;
        match rows.get_mut(&key) {
            // There is none yet, or it would have been joined: what has not begun takes every reader.
            Some(row) => row.next = Some(job),
            None => {
                rows.insert(key, Row { now: rendering.clone(), next: None });
                place.send(job);
            }
        }
        Ok((reader, rendering))
    }
}

/// An answer that others have asked for, if it will do. The rows are locked: what has not begun by now will look at a
/// state at least as new as this one.
fn join(rows: &HashMap<Key, Row>, app: &App, key: &Key) -> Option<(chain::Reader, Arc<Rendering>)> {
    let index = app.newest().index;
    let row = rows.get(key)?;
    let candidates = [Some(&row.now), row.next.as_ref().map(|job| &job.rendering)];
    candidates.into_iter().flatten().find_map(|one| Some((one.join(index)?, one.clone())))
}

/// The pieces of an answer as a body. One that breaks breaks its connection: it cannot be taken for a whole one.
fn stream(first: Bytes, reader: chain::Reader) -> Body {
    let pieces = stream::unfold((Some(first), reader), |(first, mut reader)| async move {
        let piece = match first {
            Some(first) => Ok(first),
            None => reader.next().await?,
        };
        Some((piece, (None, reader)))
    });
    Body::from_stream(pieces)
}

struct Worker {
    queue: Arc<Mutex<mpsc::Receiver<Job>>>,
    /// Weak, so that the queue ends with the desk.
    jobs: mpsc::WeakSender<Job>,
    rows: Rows,
}

impl Worker {
    fn run(self) {
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "renderers do not give way to other threads");
        }
        loop {
            let job = locked(&self.queue).blocking_recv();
            let Some(mut job) = job else { return };
            // One after the other as long as no other thread may take the next one.
            while let Some(next) = self.carry_out(job) {
                match self.pass_on(next) {
                    None => break,
                    Some(kept) => job = kept,
                }
            }
        }
    }

    /// Renders; what is to be rendered next of the same key.
    fn carry_out(&self, job: Job) -> Option<Job> {
        let Job { app, key, rendering, writer, render } = job;
        if let Some(app) = app.upgrade().filter(|_| writer.is_wanted()) {
            let written =
                catch_unwind(AssertUnwindSafe(|| self.write(&app, &key, &rendering, writer, render)));
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, ?key, "an answer was given up"),
                Err(_) => tracing::error!(?key, "rendering an answer failed"),
            }
        }
        let mut rows = locked(&self.rows);
        let next = rows.get_mut(&key).and_then(|row| row.next.take());
        match (&next, rows.get_mut(&key)) {
            (Some(next), Some(row)) => row.now = next.rendering.clone(),
            _ => drop(rows.remove(&key)),
        }
        next
    }

    fn write(
        &self,
        app: &Arc<App>,
        key: &Key,
        rendering: &Arc<Rendering>,
        writer: Writer,
        render: Render,
    ) -> io::Result<()> {
        let (published, looked) = {
            let _rows = locked(&self.rows);
            let (published, looked) = Looked::now(app);
            // Set once: a job is carried out once.
            let _ = rendering.looked.set(looked);
            (published, looked)
        };
        let (newest, joined) = (app.clone(), rendering.clone());
        let passed = move || {
            // Nobody can join an answer from a state that is old: what all have read may go.
            if newest.newest().index != looked.index {
                drop(locked(&joined.start).take());
            }
        };
        let is_compressed = rendering.is_compressed.clone();
        let mut sink = Sink::new(writer, key.gzip, is_compressed, Box::new(passed));
        render(app, &published.state, &mut sink)?;
        sink.end()
    }

    /// To the end of the queue, so that others have their turn; back, if there is no place or no queue.
    fn pass_on(&self, job: Job) -> Option<Job> {
        let Some(jobs) = self.jobs.upgrade() else { return Some(job) };
        jobs.try_send(job).err().map(|error| match error {
            mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job) => job,
        })
    }
}

/// Nothing is left half done under these locks.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
