//! This master as leader: the task that drives the leader's mind for each term it wins, and what handlers hold of it.

mod level;
mod task;
mod term;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, future::Shared};
use mesarch_consensus::{Handle, Manner, ProposeError, Ticket, Unresolved};
use mesarch_leader_core::{Input, Why};
use mesarch_proto::mesos::v1::scheduler::Event;
use mesarch_state::{Command, command::Link};
use mesarch_types::{AgentId, FrameworkId, Millis, WallMillis};
use tokio::sync::{mpsc, oneshot};

pub(crate) use task::{Deps, run};

use crate::{clock::wall_now, machine::Answer, metrics, streams::Stream};

/// Most inputs that wait for the leader task.
pub(crate) const INBOX_MAX: usize = 4096;

/// Declines wait for company in the log under allocation intervals from this on: ten times as long as they may wait.
const PATIENT_INTERVAL: Millis = Millis(500);

/// No larger command may use what is kept in reserve: few of those that may are larger, and none at most times.
const RELIEF_BYTES_MAX: usize = 256 << 10;

/// One term that this master leads, from its BeginTerm on.
pub(crate) struct Session {
    /// Proposals of this session are refused in any other term.
    pub(crate) term: u64,
    /// When it began. For display.
    pub(crate) since: WallMillis,
    inbox: mpsc::Sender<ToLeader>,
    consensus: Handle<Answer>,
    links: AtomicU64,
    /// Whether what is declined waits for the allocation interval so long that a moment more does not matter.
    declines_wait: bool,
}

/// What the leader task is told from outside.
#[derive(Debug)]
pub(crate) enum ToLeader {
    /// For the leader's mind.
    Input(Input),
    /// Somebody asks why a framework is not offered something.
    Explain {
        /// Which framework.
        framework: FrameworkId,
        /// Of which agent; none: of any.
        agent: Option<AgentId>,
        /// Where the answer goes.
        answer: oneshot::Sender<Vec<Why>>,
    },
    /// A subscription was applied and its connection is ready.
    Open {
        /// Not yet visible to anybody.
        stream: Arc<Stream>,
        /// Its first event.
        subscribed: Box<Event>,
    },
}

/// A proposal that has its place in the log's order; resolves once that is decided.
pub(crate) struct Placed(Ticket<Answer>);

/// The same for many to wait for.
#[derive(Clone)]
pub(crate) struct Watched(Shared<Ticket<Answer>>);

/// Why a command was not proposed: nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    /// This master does not lead in the session's term any more.
    #[error("this master does not lead any more")]
    NotLeader,
    /// The queue was full for its whole deadline, or the node refuses new work.
    #[error("the leader is too busy; nothing was done")]
    Busy,
    /// It does not fit into a log entry.
    #[error("the command of {bytes} bytes is larger than {max} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

impl Session {
    fn new(
        term: u64,
        consensus: Handle<Answer>,
        allocation_interval: Millis,
    ) -> (Arc<Self>, mpsc::Receiver<ToLeader>) {
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let declines_wait = allocation_interval >= PATIENT_INTERVAL;
        let (since, links) = (wall_now(), AtomicU64::new(0));
        let session = Self { term, since, inbox, consensus, links, declines_wait };
        (Arc::new(session), messages)
    }

    /// Tells the leader something; whether it still leads.
    pub(crate) async fn tell(&self, message: ToLeader) -> bool {
        self.inbox.send(message).await.is_ok()
    }

    /// Waits until the session's term is over here.
    pub(crate) async fn ended(&self) {
        self.inbox.closed().await;
    }

    /// Names a new link of this term.
    pub(crate) fn next_link(&self) -> Link {
        Link { term: self.term, serial: self.links.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Puts a command into the proposer's queue; waits at most the queue's own deadline for a place. What a leader cannot
    /// do without and what gives room back is taken even while a resource of this node runs out.
    pub(crate) async fn place(&self, command: &Command) -> Result<Placed, PlaceError> {
        self.place_encoded(Encoded::from(command)).await
    }

    /// Somebody waits for what was placed: patient commands go into the log now.
    pub(crate) fn hurry(&self) {
        self.consensus.hurry();
    }

    /// [`Session::place`], of a command that is encoded already.
    pub(crate) async fn place_encoded(&self, command: Encoded) -> Result<Placed, PlaceError> {
        let Encoded { bytes, mut manner } = command;
        manner.patient &= self.declines_wait;
        let placed = self.consensus.propose_in(manner, self.term, bytes).await;
        placed.map(Placed).map_err(|error| refused(&error))
    }
}

/// A command as it goes into the log.
pub(crate) struct Encoded {
    bytes: Bytes,
    manner: Manner,
}

impl From<&Command> for Encoded {
    fn from(command: &Command) -> Self {
        // What is declined waits for the allocation interval anyway, if that is long.
        let patient = matches!(command, Command::DeclineOffers(_));
        let bytes = command.encode();
        let from_reserve = relieves(command) && bytes.len() <= RELIEF_BYTES_MAX;
        Self { bytes, manner: Manner { from_reserve, patient } }
    }
}

/// Whether a command begins a term, ends something or is an operator's.
fn relieves(command: &Command) -> bool {
    match command {
        Command::BeginTerm(_)
        | Command::SetLevel(_)
        | Command::EventsDelivered(_)
        | Command::DetachAgent(_)
        | Command::MarkUnreachable(_)
        | Command::Disconnect(_)
        | Command::Suppress(_)
        | Command::Teardown(_)
        | Command::ExpireFailover(_)
        | Command::DeclineOffers(_)
        | Command::RescindOffers(_)
        | Command::AcknowledgeUpdates(_)
        | Command::AgentForgot(_)
        | Command::RequestKill(_)
        | Command::RequestShutdown(_)
        | Command::ExecutorExited(_)
        | Command::SetWeights(_)
        | Command::SetQuota(_)
        | Command::SetPriorities(_)
        | Command::SetWhitelist(_)
        | Command::SetPolicy(_)
        | Command::ConvertResources(_)
        | Command::DrainAgent(_)
        | Command::DeactivateAgent(_)
        | Command::ReactivateAgent(_)
        | Command::MarkAgentGone(_)
        | Command::SetSchedule(_)
        | Command::StartMaintenance(_)
        | Command::StopMaintenance(_)
        | Command::AnswerInverseOffers(_)
        | Command::ResourcesStored(_)
        | Command::AcknowledgeOperation(_)
        | Command::UpdateProviders(_)
        | Command::RecordOperations(_) => true,
        Command::RegisterAgent(_)
        | Command::AttachAgent(_)
        | Command::Subscribe(_)
        | Command::UpdateFramework(_)
        | Command::Revive(_)
        | Command::IssueOffers(_)
        | Command::IssueInverseOffers(_)
        | Command::AcceptOffers(_)
        | Command::RecordUpdates(_) => false,
    }
}

/// What a refusal of the proposer means for a caller.
fn refused(error: &ProposeError) -> PlaceError {
    match error {
        ProposeError::NotLeader { .. } => PlaceError::NotLeader,
        ProposeError::TooLarge { bytes, max } => PlaceError::TooLarge { bytes: *bytes, max: *max },
        ProposeError::Busy | ProposeError::Full(_) | ProposeError::Stopped => {
            metrics::busy();
            PlaceError::Busy
        }
    }
}

impl Placed {
    /// What came of it.
    pub(crate) async fn resolved(self) -> Result<Answer, Unresolved> {
        self.0.await
    }

    /// For more than one to wait for.
    pub(crate) fn watched(self) -> Watched {
        Watched(self.0.shared())
    }
}

impl Watched {
    /// What came of it.
    pub(crate) async fn resolved(self) -> Result<Answer, Unresolved> {
        self.0.await
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Placed")
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(term {})", self.term)
    }
}
