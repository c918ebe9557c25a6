//! Reads, leadership transfer and membership: what a [`Handle`](crate::Handle) asks of Raft, without its machine's type.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use mesarch_storage::{Log, NodeInfo, Types};
use mesarch_types::NodeId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::{ChangeMembers, RaftMetrics, ReadPolicy};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::detector::is_gone;
use crate::leadership::Leadership;
use crate::machine::Machine;
use crate::network::client::Dialer;
use crate::start::Route;
use crate::state_machine::Raft;
use crate::status::{Members, Status};

/// Longest wait for a read.
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for another node to take over.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(2);
/// How often it is looked at whether the node that is to take over is still there.
const TARGET_LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longest wait for a change of members.
const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(30);

/// Why a read cannot be current. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Only the leader can.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// No quorum confirmed the leadership in time.
    #[error("no quorum confirmed the leadership in time")]
    NoQuorum,
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopped,
}

/// Why leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can.
    #[error("this node does not lead")]
    NotLeader,
    /// There is nobody to hand it to.
    #[error("no other voter could take over")]
    NoTarget,
    /// The target does not vote.
    #[error("node {0} is not another voter")]
    NotAVoter(NodeId),
    /// Nobody took over in time; this node may lead on.
    #[error("nobody took over in time")]
    TimedOut,
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopped,
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader can.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// It makes no sense: an unknown node, the last voter, or another change that is not finished.
    #[error("refused: {0}")]
    Refused(String),
    /// It was begun, and whether it is committed is unknown: look at the membership.
    #[error("it is unknown whether the change was committed")]
    Unknown,
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopped,
}

/// What a handle asks of Raft.
#[async_trait::async_trait]
pub(crate) trait Control: Send + Sync {
    async fn read(&self, policy: ReadPolicy) -> Result<(), ReadError>;
    async fn transfer(
        &self,
        to: Option<NodeId>,
        leadership: watch::Receiver<Leadership>,
    ) -> Result<(), TransferError>;
    async fn add_learner(&self, node: NodeId, info: NodeInfo) -> Result<(), MembershipError>;
    async fn promote(&self, node: NodeId) -> Result<(), MembershipError>;
    async fn remove(&self, node: NodeId) -> Result<(), MembershipError>;
    async fn shutdown(&self);
    fn members(&self) -> Members;
    fn status(&self) -> Status;
    async fn known_levels(&self) -> BTreeMap<NodeId, Option<u32>>;
}

pub(crate) struct RaftControl<M: Machine> {
    pub(crate) raft: Raft<M>,
    pub(crate) log: Log,
    /// How a peer is reached.
    pub(crate) route: Route,
    pub(crate) dialer: Dialer,
    /// The highest feature level that this node knows.
    pub(crate) level: u32,
}

impl<M: Machine> RaftControl<M> {
    fn metrics(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    async fn change(&self, change: ChangeMembers<u64, NodeInfo>) -> Result<(), MembershipError> {
        let change = self.raft.change_membership(change, false);
        match tokio::time::timeout(MEMBERSHIP_DEADLINE, change).await {
            Ok(result) => result.map(drop).map_err(membership_error),
            Err(_) => Err(MembershipError::Unknown),
        }
    }

    /// Who takes over: `to`, or the best of the voters but those that are known to be gone.
    fn target(&self, to: Option<NodeId>, gone: &BTreeSet<u64>) -> Result<u64, TransferError> {
        let metrics = self.metrics();
        if metrics.current_leader != Some(metrics.id) {
            return Err(TransferError::NotLeader);
        }
        let others: BTreeSet<u64> =
            metrics.membership_config.voter_ids().filter(|id| *id != metrics.id).collect();
        let left = &others - gone;
        match to {
            Some(to) if left.contains(&to.0) => Ok(to.0),
            Some(to) if others.contains(&to.0) => Err(TransferError::NoTarget),
            Some(to) => Err(TransferError::NotAVoter(to)),
            None => furthest(&metrics, &left).ok_or(TransferError::NoTarget),
        }
    }

    /// Returns once the process of `node` is proven gone.
    async fn gone(&self, node: u64) {
        let address = self.metrics().membership_config.get_node(&node).map(|info| (self.route)(info));
        let Some(address) = address else {
            return;
        };
        while !is_gone(&address).await {
            sleep(TARGET_LOOK_EVERY).await;
        }
    }
}

/// The voter that answered within the last second and whose log is longest.
fn furthest(metrics: &RaftMetrics<Types>, others: &BTreeSet<u64>) -> Option<u64> {
    let replication = Status::of(metrics).replication;
    let alive = replication.into_iter().filter(|(id, other)| {
        others.contains(&id.0) && other.silent_ms.is_some_and(|silent_ms| silent_ms < 1_000)
    });
    alive.max_by_key(|(_, other)| other.matched).map(|(id, _)| id.0)
}

#[async_trait::async_trait]
impl<M: Machine> Control for RaftControl<M> {
    async fn read(&self, policy: ReadPolicy) -> Result<(), ReadError> {
        match tokio::time::timeout(READ_DEADLINE, self.raft.ensure_linearizable(policy)).await {
            Err(_) => Err(ReadError::NoQuorum),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::Fatal(_))) => Err(ReadError::Stopped),
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) => {
                Err(ReadError::NoQuorum)
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(ReadError::NotLeader { leader: forward.leader_id.map(NodeId) })
            }
        }
    }

    async fn transfer(
        &self,
        to: Option<NodeId>,
        mut leadership: watch::Receiver<Leadership>,
    ) -> Result<(), TransferError> {
        let me = self.metrics().id;
        let deadline = Instant::now() + TRANSFER_DEADLINE;
        let mut gone = BTreeSet::new();
        loop {
            let target = self.target(to, &gone)?;
            self.raft.trigger().transfer_leader(target).await.map_err(|_| TransferError::Stopped)?;
            tokio::select! {
                taken_over = leadership.wait_for(|now| now.leader.as_ref().is_some_and(|(id, _)| id.0 != me)) => {
                    return taken_over.map(drop).map_err(|_| TransferError::Stopped);
                }
                // Masters that stop together must not wait for each other: the next one is asked, if there is one.
                () = self.gone(target) => drop(gone.insert(target)),
                () = sleep_until(deadline) => return Err(TransferError::TimedOut),
            }
        }
    }

    async fn add_learner(&self, node: NodeId, info: NodeInfo) -> Result<(), MembershipError> {
        let known = self.metrics().membership_config.get_node(&node.0).cloned();
        match known {
            Some(known) if known == info => Ok(()),
            Some(_) => {
                Err(MembershipError::Refused(format!("node {node} is a member under another address")))
            }
            None => self.change(ChangeMembers::AddNodes(BTreeMap::from([(node.0, info)]))).await,
        }
    }

    async fn promote(&self, node: NodeId) -> Result<(), MembershipError> {
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node.0]))).await
    }

    async fn remove(&self, node: NodeId) -> Result<(), MembershipError> {
        let members = Members::of(&self.metrics());
        let node_set = BTreeSet::from([node.0]);
        if members.voters.contains_key(&node) {
            self.change(ChangeMembers::RemoveVoters(node_set)).await
        } else if members.learners.contains_key(&node) {
            self.change(ChangeMembers::RemoveNodes(node_set)).await
        } else {
            Err(MembershipError::Refused(format!("node {node} is not a member")))
        }
    }

    async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "Raft did not end cleanly");
        }
    }

    fn members(&self) -> Members {
        Members::of(&self.metrics())
    }

    fn status(&self) -> Status {
        let mut status = Status::of(&self.metrics());
        status.log_bytes = self.log.bytes();
        status.log_entries = self.log.entries();
        status
    }

    async fn known_levels(&self) -> BTreeMap<NodeId, Option<u32>> {
        let (me, members) = (NodeId(self.metrics().id), self.members());
        let asked = members.all().map(|(node, info)| async move {
            if *node == me {
                return (*node, Some(self.level));
            }
            let answer = self.dialer.peer(*node, info).known_level().await;
            (*node, answer.inspect_err(|error| tracing::debug!(%node, %error, "it told no level")).ok())
        });
        join_all(asked.collect::<Vec<_>>()).await.into_iter().collect()
    }
}

fn membership_error(error: RaftError<Types, ClientWriteError<Types>>) -> MembershipError {
    match error {
        RaftError::Fatal(_) => MembershipError::Stopped,
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            MembershipError::NotLeader { leader: forward.leader_id.map(NodeId) }
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => MembershipError::Unknown,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            MembershipError::Refused(error.to_string())
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => {
            MembershipError::Refused(error.to_string())
        }
    }
}
