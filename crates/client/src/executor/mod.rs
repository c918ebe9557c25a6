//! An executor's side of the executor API: what runs tasks under an agent.
//!
//! A background task (`session.rs`) holds the subscription and everything that the agent has not acknowledged yet.
//! When the agent restarts, it subscribes again with all of it, so no update is lost.

mod environment;
#[cfg(test)]
mod executor_test;
mod session;

use std::time::SystemTime;

use bytes::Bytes;
use rand::Rng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ContentType;
use crate::v1::{
    AgentInfo, ContainerId, ExecutorInfo, FrameworkInfo, KillPolicy, TaskId, TaskInfo, TaskState, TaskStatus,
    task_status,
};

pub use environment::{Environment, EnvironmentError};
use session::Session;

/// Updates and messages that may wait to be sent; then [`Calls::update`] waits.
pub const CALLS_QUEUED_MAX: usize = 1024;
/// Events that may wait for [`Executor::next`]; then the stream is no longer read.
pub const EVENTS_QUEUED_MAX: usize = 1024;

/// What an agent tells an executor, and what the SDK adds about the stream itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The agent knows this executor; also after every restart of the agent.
    Subscribed(Box<Subscribed>),
    /// Run this task.
    Launch(Box<TaskInfo>),
    /// Run these tasks together.
    LaunchGroup(Vec<TaskInfo>),
    /// End this task.
    Kill {
        /// Which.
        task: TaskId,
        /// How, if the framework said.
        policy: Option<KillPolicy>,
    },
    /// The agent has stored this update; it will reach the framework.
    Acknowledged {
        /// Whose.
        task: TaskId,
        /// The update's uuid.
        uuid: Bytes,
    },
    /// Bytes from the scheduler.
    Message(Bytes),
    /// End all tasks and exit.
    Shutdown,
    /// The stream broke; the SDK tries to subscribe again.
    Disconnected {
        /// How it broke.
        reason: String,
    },
}

/// Where an executor runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribed {
    /// This executor.
    pub executor: ExecutorInfo,
    /// Whose tasks it runs.
    pub framework: FrameworkInfo,
    /// The agent.
    pub agent: AgentInfo,
    /// The container of this run.
    pub container: Option<ContainerId>,
}

/// Why an executor's subscription is over. It should end its tasks and exit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The agent refused the subscription, or sent ERROR.
    #[error("the agent refused the executor: {0}")]
    Refused(String),
    /// The agent did not come back in time (at once, if the framework does not checkpoint).
    #[error("the agent is lost: {0}")]
    AgentLost(String),
}

/// A subscribed executor. Dropping it closes the stream.
#[derive(Debug)]
pub struct Executor {
    events: mpsc::Receiver<Event>,
    calls: Calls,
    session: Option<JoinHandle<Ended>>,
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.abort();
        }
    }
}

impl Executor {
    /// Begins to subscribe, in the background; the first event is [`Event::Subscribed`]. Within a tokio runtime.
    pub fn start(environment: Environment, content_type: ContentType) -> Self {
        let (event_sender, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        let (call_sender, call_queue) = mpsc::channel(CALLS_QUEUED_MAX);
        let session = Session::new(environment, content_type, event_sender, call_queue);
        let session = Some(tokio::spawn(session.run()));
        Self { events, calls: Calls { queue: call_sender }, session }
    }

    /// A handle for updates and messages; cheap to clone.
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// The next event, in order; an error when the subscription is over. Cancel-safe until it has failed once.
    pub async fn next(&mut self) -> Result<Event, Ended> {
        if let Some(event) = self.events.recv().await {
            return Ok(event);
        }
        let closed = Ended::AgentLost("the subscription was closed before".to_owned());
        match self.session.take() {
            Some(session) => Err(session.await.unwrap_or(closed)),
            None => Err(closed),
        }
    }
}

/// Sends updates and messages to the agent.
#[derive(Clone, Debug)]
pub struct Calls {
    queue: mpsc::Sender<Queued>,
}

/// What waits to be sent.
#[derive(Debug)]
enum Queued {
    Update(Box<TaskStatus>),
    Message(Bytes),
}

impl Calls {
    /// Reports a step of a task; it is repeated until the agent has stored it. Returns the update's uuid, which comes
    /// back in [`Event::Acknowledged`]. Updates reach the agent in the order of these calls.
    pub async fn update(&self, status: TaskStatus) -> Result<Bytes, Ended> {
        let (status, uuid) = complete(status);
        self.send(Queued::Update(Box::new(status))).await.map(|()| uuid)
    }

    /// Bytes to the scheduler: they arrive once or not at all.
    pub async fn message(&self, data: Bytes) -> Result<(), Ended> {
        self.send(Queued::Message(data)).await
    }

    async fn send(&self, queued: Queued) -> Result<(), Ended> {
        let lost = |_| Ended::AgentLost("the subscription is over".to_owned());
        self.queue.send(queued).await.map_err(lost)
    }
}

/// A status of a task in this state, to be completed and sent by [`Calls::update`].
pub fn status(task: &TaskId, state: TaskState) -> TaskStatus {
    TaskStatus { task_id: task.clone(), state: state as i32, ..TaskStatus::default() }
}

/// Fills in what every update needs and the caller may leave out: uuid, source and time.
fn complete(mut status: TaskStatus) -> (TaskStatus, Bytes) {
    let uuid = status.uuid.get_or_insert_with(new_uuid).clone();
    status.source = Some(task_status::Source::Executor as i32);
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    status.timestamp.get_or_insert(since_epoch.as_secs_f64());
    (status, uuid)
}

/// A random (version 4) uuid.
fn new_uuid() -> Bytes {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Bytes::copy_from_slice(&bytes)
}
