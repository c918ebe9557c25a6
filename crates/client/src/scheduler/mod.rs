//! A framework's side of the scheduler API.
//!
//! A background task (`session.rs`) holds the subscription: it finds the leader, reads events and, when the stream
//! breaks, resumes it at the next leader under the same stream id, so that offers from before the failover stay good.
//! [`Calls`] (`calls.rs`) sends everything else. [`Scheduler::next`] hands out events in the order of the stream.

mod calls;
mod event;
#[cfg(test)]
pub(crate) mod fake_master;
mod leader_watch;
#[cfg(test)]
mod scheduler_test;
mod session;
mod suppressed;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::Ended;
use crate::v1::{FrameworkInfo, TaskStatus};
use crate::{ContentType, v1};

pub use calls::Calls;
pub use event::Event;
use session::{Phase, Session};
use suppressed::Suppressed;

/// Events that may wait for [`Scheduler::next`]; then the stream is no longer read, and the master closes it in the end.
pub const EVENTS_QUEUED_MAX: usize = 1024;
/// Acknowledgements that may wait to be sent; then [`Scheduler::next`] waits too.
const ACKNOWLEDGEMENTS_QUEUED_MAX: usize = 4096;

/// How to subscribe.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where masters serve clients, `host:port`; any of them, not only the leader.
    pub masters: Vec<String>,
    /// Who subscribes. With an id: an instance that takes over that framework.
    pub framework: FrameworkInfo,
    /// Roles for which no offers are wanted at first.
    pub suppressed_roles: Vec<String>,
    /// Protobuf unless told otherwise.
    pub content_type: ContentType,
    /// Whether an update counts as processed, and is acknowledged, when the next event is asked for.
    pub acknowledge: bool,
    /// How long the first subscription may take.
    pub connect_max: Duration,
    /// How long a call may wait for a leader and its answer, over all tries.
    pub call_max: Duration,
    /// How many heartbeats in a row may be missing before another leader is looked for.
    pub heartbeats_missed_max: u32,
}

impl Options {
    /// Protobuf, automatic acknowledgement, and 30 s for the first subscription and for each call.
    pub fn new(masters: Vec<String>, framework: FrameworkInfo) -> Self {
        Self {
            masters,
            framework,
            suppressed_roles: Vec::new(),
            content_type: ContentType::Protobuf,
            acknowledge: true,
            connect_max: Duration::from_secs(30),
            call_max: Duration::from_secs(30),
            heartbeats_missed_max: 3,
        }
    }
}

/// A subscribed framework. Dropping it closes the stream; the framework then has its failover timeout to come back.
#[derive(Debug)]
pub struct Scheduler {
    events: mpsc::Receiver<Event>,
    phase: watch::Receiver<Phase>,
    calls: Calls,
    acknowledge: bool,
    acknowledgements: mpsc::Sender<TaskStatus>,
    unacknowledged: Option<TaskStatus>,
    session: JoinHandle<()>,
    acknowledger: JoinHandle<()>,
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.session.abort();
        self.acknowledger.abort();
    }
}

impl Scheduler {
    /// Subscribes. The first event will be [`Event::Subscribed`].
    pub async fn connect(options: Options) -> Result<Self, Ended> {
        let (event_sender, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        let (phase_sender, phase) =
            watch::channel(Phase::Searching { last: "no master was asked yet".to_owned() });
        let (acknowledgements, queue) = mpsc::channel(ACKNOWLEDGEMENTS_QUEUED_MAX);
        let suppressed = Suppressed::new(&options);
        let calls = Calls::new(phase.clone(), suppressed.clone(), &options);
        let (connect_max, masters) = (options.connect_max, options.masters.join(", "));
        let scheduler = Self {
            events,
            phase: phase.clone(),
            calls: calls.clone(),
            acknowledge: options.acknowledge,
            acknowledgements,
            unacknowledged: None,
            session: tokio::spawn(Session::new(options, suppressed, event_sender, phase_sender).run()),
            acknowledger: tokio::spawn(calls::acknowledge_all(calls, queue)),
        };
        wait_for_subscription(phase, connect_max, masters).await?;
        Ok(scheduler)
    }

    /// A handle for calls; cheap to clone, usable from any task.
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// The framework's id and the present stream's; `None` while no leader is subscribed to.
    pub fn subscription(&self) -> Option<(v1::FrameworkId, String)> {
        match &*self.phase.borrow() {
            Phase::Up(up) => Some((up.framework.clone(), up.stream_id.to_string())),
            Phase::Searching { .. } | Phase::Ended(_) => None,
        }
    }

    /// The next event, in the order of the stream; an error when the subscription is over for good.
    ///
    /// Asking for the next event acknowledges the update that was handed out before, unless
    /// [`Options::acknowledge`] is off. A broken stream is [`Event::Disconnected`], then it is resumed. Cancel-safe.
    pub async fn next(&mut self) -> Result<Event, Ended> {
        self.acknowledge_last().await;
        let Some(event) = self.events.recv().await else {
            return Err(self.end());
        };
        if let Event::Update(status) = &event
            && self.acknowledge
            && status.uuid.is_some()
        {
            self.unacknowledged = Some(status.clone());
        }
        Ok(event)
    }

    async fn acknowledge_last(&mut self) {
        if self.unacknowledged.is_none() {
            return;
        }
        // The permit first: if this future is dropped here, the update is still to be acknowledged.
        if let Ok(permit) = self.acknowledgements.reserve().await
            && let Some(status) = self.unacknowledged.take()
        {
            permit.send(status);
        }
    }

    fn end(&self) -> Ended {
        match &*self.phase.borrow() {
            Phase::Ended(ended) => ended.clone(),
            Phase::Searching { .. } | Phase::Up(_) => Ended::Closed,
        }
    }
}

async fn wait_for_subscription(
    mut phase: watch::Receiver<Phase>,
    within: Duration,
    masters: String,
) -> Result<(), Ended> {
    let decided = timeout(within, async {
        let decided = phase.wait_for(|phase| !matches!(phase, Phase::Searching { .. })).await;
        match decided.as_deref() {
            Ok(Phase::Up(_) | Phase::Searching { .. }) => Ok(()),
            Ok(Phase::Ended(ended)) => Err(ended.clone()),
            Err(_) => Err(Ended::Closed),
        }
    })
    .await;
    decided.unwrap_or_else(|_| match &*phase.borrow() {
        Phase::Up(_) => Ok(()),
        Phase::Ended(ended) => Err(ended.clone()),
        Phase::Searching { last } => Err(Ended::NoLeader { masters, last: last.clone() }),
    })
}
