//! The handle that the rest of the master holds.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use mesarch_storage::{Fatal, NodeInfo, SnapshotFile};
use mesarch_types::{ClusterId, NodeId};
use tokio::sync::{oneshot, watch};

use crate::census::{Census, Health};
use crate::control::{Control, MembershipError, ReadError, SnapshotError, TransferError};
use crate::leadership::Leadership;
use crate::limits::Full;
use crate::network::heard::Heard;
use crate::proposer::COMMAND_BYTES_MAX;
use crate::queue::{Queue, Queued};
use crate::status::{Members, Status};

/// How long a proposal waits for a place in the queue.
pub(crate) const PLACE_WAIT: Duration = Duration::from_secs(1);

/// Why a command was not proposed. Nothing was done: it may be proposed again, here or elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node is not the leader in the term that was named.
    #[error("this node does not lead in that term")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<(NodeId, NodeInfo)>,
    },
    /// There was no place in the queue within a second.
    #[error("too many proposals are waiting")]
    Busy,
    /// A resource runs out.
    #[error(transparent)]
    Full(#[from] Full),
    /// The command is bigger than any may be.
    #[error("a command of {bytes} bytes is longer than {max} bytes")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopped,
}

/// How a command wants to be proposed. By default it is refused while a resource runs out, and goes into the next entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Taken even while a resource runs out: for what a leader cannot do without, and for what gives room back. That is
    /// what the reserve is for.
    pub from_reserve: bool,
    /// Nobody waits for it: it may stay in the queue for up to 50 ms, or until a command that is not patient comes after
    /// it, enough are there to fill an entry, or somebody waits after all ([`Handle::hurry`]).
    pub patient: bool,
}

/// Why a proposed command has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// It is certain that it never commits.
    #[error("the command was not committed and never will be")]
    NotCommitted,
    /// The node stopped, or a snapshot replaced its state, before it could be known.
    #[error("it is unknown whether the command was committed")]
    Unknown,
}

/// A command that holds its place: resolves to its outcome once it is applied on this node.
///
/// There is no deadline: while a command may still commit, it stays open. Dropping the ticket does not take the command
/// back.
#[derive(Debug)]
#[must_use = "the command may be refused later"]
pub struct Ticket<O> {
    outcome: oneshot::Receiver<Result<O, Unresolved>>,
}

impl<O> Future for Ticket<O> {
    type Output = Result<O, Unresolved>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut self.outcome).poll(context);
        outcome.map(|told| told.unwrap_or(Err(Unresolved::Unknown)))
    }
}

/// What every clone of a handle shares.
pub(crate) struct Shared<O> {
    pub(crate) queue: Arc<Queue<O>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) members: watch::Receiver<Members>,
    pub(crate) census: Census,
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) heard: Heard,
    pub(crate) full: watch::Receiver<Option<Full>>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) identity: Box<dyn Fn() -> (Option<ClusterId>, u64) + Send + Sync>,
    pub(crate) fatal: Fatal,
}

/// Proposes, reads and changes members. Cheap to clone.
pub struct Handle<O> {
    pub(crate) shared: Arc<Shared<O>>,
}

impl<O> Clone for Handle<O> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<O: Send + 'static> Handle<O> {
    /// Proposes `command` in exactly `term`, in the default [`Manner`].
    pub async fn propose(&self, term: u64, command: Bytes) -> Result<Ticket<O>, ProposeError> {
        self.propose_in(Manner::default(), term, command).await
    }

    /// Proposes `command` in exactly `term`. Waits at most a second for a place in the queue; commands that one task
    /// proposes in order are applied in order. The term is checked again when the command is appended.
    pub async fn propose_in(
        &self,
        manner: Manner,
        term: u64,
        command: Bytes,
    ) -> Result<Ticket<O>, ProposeError> {
        self.check(term, &command)?;
        let shared = &self.shared;
        if let Some(full) = shared.full.borrow().clone().filter(|_| !manner.from_reserve) {
            return Err(ProposeError::Full(full));
        }
        match tokio::time::timeout(PLACE_WAIT, shared.queue.place(command.len())).await {
            Err(_) => Err(ProposeError::Busy),
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Ok(Ok(place)) => {
                let (reply, outcome) = oneshot::channel();
                place.put(Queued { term, command, reply, patient: manner.patient });
                Ok(Ticket { outcome })
            }
        }
    }

    /// Somebody waits for a patient command that was proposed: all that wait go into the log now.
    pub fn hurry(&self) {
        self.shared.queue.hurry();
    }

    fn check(&self, term: u64, command: &Bytes) -> Result<(), ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: command.len(), max: COMMAND_BYTES_MAX });
        }
        let leadership = self.shared.leadership.borrow();
        if !leadership.is_self || leadership.term != term {
            return Err(ProposeError::NotLeader { leader: leadership.leader.clone() });
        }
        Ok(())
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.clone()
    }

    /// Returns once the local state holds everything that was committed anywhere before the call (ReadIndex). Only the
    /// leader can. At most 5 s.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        self.shared.control.read(openraft::ReadPolicy::ReadIndex).await
    }

    /// Like [`read_barrier`](Handle::read_barrier), but trusts the leader's lease instead of asking a quorum: cheaper,
    /// and at most one lease stale if a leader that still runs was taken for dead.
    pub async fn lease_read(&self) -> Result<(), ReadError> {
        self.shared.control.read(openraft::ReadPolicy::LeaseRead).await
    }

    /// Hands the leadership to `to`, or to the follower whose log is longest. Returns once another node leads. At most
    /// 2 s.
    pub async fn transfer(&self, to: Option<NodeId>) -> Result<(), TransferError> {
        self.shared.control.transfer(to, self.leadership()).await
    }

    /// A snapshot file of at least all that is applied here now; the newest one, if that is one. At most 5 min.
    ///
    /// # Errors
    /// Nothing is applied yet, it is not written in time, or the node is stopping.
    pub async fn snapshot(&self) -> Result<SnapshotFile, SnapshotError> {
        self.shared.control.snapshot().await
    }

    /// Who belongs to the cluster, by this node's log.
    pub fn membership(&self) -> Members {
        self.shared.control.members()
    }

    /// [`membership`](Handle::membership), as it changes.
    pub fn memberships(&self) -> watch::Receiver<Members> {
        self.shared.members.clone()
    }

    /// How the members do; empty on a node that does not lead.
    pub fn health(&self) -> BTreeMap<NodeId, Health> {
        self.shared.census.look(&self.shared.control.status())
    }

    /// Whether a change of members is under way that the next leader would have to finish.
    pub fn is_changing_members(&self) -> bool {
        self.shared.control.is_joint()
    }

    /// Index of the last entry applied here; 0 before the first.
    pub fn applied_index(&self) -> u64 {
        *self.shared.applied.borrow()
    }

    /// [`applied_index`](Handle::applied_index), as it grows.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.applied.clone()
    }

    /// For how long the state here may have missed what was committed, as far as this node knows: on a follower since the
    /// leader's newest word of which all is applied here, on the leader since a quorum answered it. What a leader that was
    /// taken for dead meanwhile missed comes on top, and so does the way of a message. None before any of that.
    pub fn staleness(&self) -> Option<Duration> {
        match self.shared.leadership.borrow().is_self {
            true => self.shared.control.status().quorum_silent_ms.map(Duration::from_millis),
            false => self.shared.heard.staleness(),
        }
    }

    /// Everything an operator may ask about this node.
    pub fn status(&self) -> Status {
        let (cluster, incarnation) = self.identity();
        let mut status = self.shared.control.status();
        (status.cluster, status.incarnation) = (cluster, incarnation);
        status.applied = self.applied_index();
        status.full = self.shared.full.borrow().clone();
        status
    }

    /// The cluster that this node belongs to, once it has joined one, and its incarnation.
    pub fn identity(&self) -> (Option<ClusterId>, u64) {
        (self.shared.identity)()
    }

    /// Adds a node that receives the log and does not vote. Its process must answer, belong to no other cluster and know
    /// feature `level`. No effect if it is a member already. At most 40 s.
    ///
    /// # Errors
    /// A [`Rule`](crate::Rule) or Raft refuses it, or this node does not lead; `Unknown` if it may come yet.
    pub async fn add_learner(&self, node: NodeId, info: NodeInfo, level: u32) -> Result<(), MembershipError> {
        self.shared.control.add_learner(node, info, level).await
    }

    /// Lets a learner vote that is healthy. No effect if it votes. At most 35 s.
    ///
    /// # Errors
    /// As for [`add_learner`](Handle::add_learner).
    pub async fn promote(&self, node: NodeId) -> Result<(), MembershipError> {
        self.shared.control.promote(node).await
    }

    /// Removes a voter, unless that would cost the quorum, or a learner; its id is never used again. A leader that is to
    /// remove itself hands its leadership over instead, and says that it does not lead. At most 70 s.
    ///
    /// # Errors
    /// As for [`add_learner`](Handle::add_learner).
    pub async fn remove(&self, node: NodeId) -> Result<(), MembershipError> {
        self.shared.control.remove(node, self.leadership()).await
    }

    /// The highest feature level that each member knows, learners included, asked just now; none: it did not tell, within
    /// two seconds or because its version is too old to be asked.
    pub async fn known_levels(&self) -> BTreeMap<NodeId, Option<u32>> {
        self.shared.control.known_levels().await
    }

    /// Why the node must stop, once it must.
    pub fn fatal(&self) -> Fatal {
        self.shared.fatal.clone()
    }
}
