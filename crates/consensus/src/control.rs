//! Reads, leadership transfer and membership: what a [`Handle`](crate::Handle) asks of Raft, without its machine's type.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use mesarch_faults::{Fault, on};
use mesarch_storage::{Log, NodeInfo, SnapshotFile, SnapshotStore, Types};
use mesarch_types::NodeId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::{ChangeMembers, RaftMetrics, ReadPolicy};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::census::{Census, Health, Rule, may_add, may_promote, may_remove};
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
/// For how long a node that is to be added may come up.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// For how long a rule may stand against a change of members before that is refused.
const RULE_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at what a rule looks at.
const RULE_LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longest wait for a node that is to be removed to learn that it does not vote any more.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for a snapshot that was asked for.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(300);
/// Between two looks whether it is there.
const SNAPSHOT_LOOK_EVERY: Duration = Duration::from_millis(50);
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
    /// A rule stands against it. Nothing was done.
    #[error(transparent)]
    Rule(#[from] Rule),
    /// Raft refuses it, mostly because another change is not finished. Nothing was done.
    #[error("refused: {0}")]
    Refused(String),
    /// It was begun, and whether it is committed is unknown: look at the membership.
    #[error("it is unknown whether the change was committed")]
    Unknown,
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopped,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// There is nothing to save yet.
    #[error("this node has applied nothing yet")]
    Empty,
    /// It was not written in time.
    #[error("the snapshot was not written in time")]
    TimedOut,
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
    async fn add_learner(&self, node: NodeId, info: NodeInfo, level: u32) -> Result<(), MembershipError>;
    async fn promote(&self, node: NodeId) -> Result<(), MembershipError>;
    async fn remove(
        &self,
        node: NodeId,
        leadership: watch::Receiver<Leadership>,
    ) -> Result<(), MembershipError>;
    async fn shutdown(&self);
    fn members(&self) -> Members;
    fn status(&self) -> Status;
    /// A snapshot of at least what is applied here now.
    async fn snapshot(&self) -> Result<SnapshotFile, SnapshotError>;
    /// Log index of the entry that decided who the members are; 0 before the first.
    fn members_decided(&self) -> u64;
    /// Whether two sets of voters decide together: a change that is not finished.
    fn is_joint(&self) -> bool;
    /// Ends such a change as it was meant.
    async fn finish_change(&self);
    async fn known_levels(&self) -> BTreeMap<NodeId, Option<u32>>;
}

pub(crate) struct RaftControl<M: Machine> {
    pub(crate) raft: Raft<M>,
    pub(crate) log: Log,
    pub(crate) snapshots: SnapshotStore,
    /// Index of the last entry applied here.
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) census: Census,
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

    /// Voters that are taken out of the set of voters stay as learners.
    async fn change(&self, change: ChangeMembers<u64, NodeInfo>) -> Result<(), MembershipError> {
        let change = self.raft.change_membership(change, true);
        match tokio::time::timeout(MEMBERSHIP_DEADLINE, change).await {
            Ok(result) => result.map(drop).map_err(membership_error),
            Err(_) => Err(MembershipError::Unknown),
        }
    }

    fn require_leadership(&self) -> Result<(), MembershipError> {
        let metrics = self.metrics();
        if metrics.state.is_leader() && metrics.current_leader == Some(metrics.id) {
            return Ok(());
        }
        Err(MembershipError::NotLeader { leader: metrics.current_leader.map(NodeId) })
    }

    /// Asks a rule about the members as they do now, and for a while again if it refuses: a new leader has heard of nobody.
    async fn comply(
        &self,
        rule: impl Fn(&Members, &BTreeMap<NodeId, Health>) -> Result<(), Rule> + Send + Sync,
    ) -> Result<(), MembershipError> {
        let deadline = Instant::now() + RULE_PATIENCE;
        loop {
            self.require_leadership()?;
            let status = Status::of(&self.metrics());
            match rule(&status.members, &self.census.look(&status)) {
                Ok(()) => return Ok(()),
                Err(rule) if Instant::now() >= deadline => return Err(rule.into()),
                Err(_) => sleep(RULE_LOOK_EVERY).await,
            }
        }
    }

    /// A process that is not there, is another node or of another cluster must not become a member. It may have been started
    /// just now.
    async fn probe(&self, node: NodeId, info: &NodeInfo, level: u32) -> Result<(), Rule> {
        let peer = self.dialer.peer(node, info);
        let deadline = Instant::now() + ANSWER_PATIENCE;
        loop {
            match peer.known_level().await {
                Ok(known) if known < level => return Err(Rule::TooOld { node, known, level }),
                Ok(_) => return Ok(()),
                Err(_) if Instant::now() < deadline => sleep(RULE_LOOK_EVERY).await,
                Err(error) => {
                    let (address, why) = (info.raft.clone(), error.to_string());
                    return Err(Rule::DoesNotAnswer { node, address, why });
                }
            }
        }
    }

    /// Waits until `node` has the log up to now, if it takes it at all: it is to learn what became of it.
    async fn brought_up(&self, node: NodeId) {
        let goal = self.metrics().last_log_index;
        let deadline = Instant::now() + FAREWELL_DEADLINE;
        while Instant::now() < deadline {
            let status = Status::of(&self.metrics());
            let known = status.replication.get(&node);
            if known.is_none_or(|known| known.matched >= goal) {
                return;
            }
            sleep(TARGET_LOOK_EVERY).await;
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
        let broken = match policy {
            // Broken: a leader that no quorum has answered for a lease shows nothing.
            ReadPolicy::LeaseRead => on(Fault::LeaseIgnored),
            // Broken: a quorum says that it leads still before it shows anything.
            ReadPolicy::ReadIndex => on(Fault::BarrierIgnored),
        };
        if broken {
            return Ok(());
        }
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

    async fn add_learner(&self, node: NodeId, info: NodeInfo, level: u32) -> Result<(), MembershipError> {
        self.require_leadership()?;
        if may_add(&self.members(), node, &info)? {
            return Ok(());
        }
        self.probe(node, &info, level).await?;
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(node.0, info)]))).await
    }

    async fn promote(&self, node: NodeId) -> Result<(), MembershipError> {
        self.comply(|members, health| may_promote(members, health, node)).await?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([node.0]))).await
    }

    async fn remove(
        &self,
        node: NodeId,
        leadership: watch::Receiver<Leadership>,
    ) -> Result<(), MembershipError> {
        self.comply(|members, health| may_remove(members, health, node)).await?;
        if NodeId(self.metrics().id) == node {
            let handed_over = self.transfer(None, leadership).await;
            handed_over.map_err(|error| MembershipError::Refused(error.to_string()))?;
            return Err(MembershipError::NotLeader { leader: self.metrics().current_leader.map(NodeId) });
        }
        let removed = BTreeSet::from([node.0]);
        if self.members().voters.contains_key(&node) {
            // As a learner it still hears of it, and stands for no election any more.
            self.change(ChangeMembers::RemoveVoters(removed.clone())).await?;
            self.brought_up(node).await;
        }
        self.change(ChangeMembers::RemoveNodes(removed)).await
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

    async fn snapshot(&self) -> Result<SnapshotFile, SnapshotError> {
        let goal = *self.applied.borrow();
        if goal == 0 {
            return Err(SnapshotError::Empty);
        }
        let deadline = Instant::now() + SNAPSHOT_DEADLINE;
        while Instant::now() < deadline {
            let newest = self.snapshots.newest();
            let covers = |it: &SnapshotFile| it.meta().last_log_id.is_some_and(|last| last.index >= goal);
            if let Some(newest) = newest.filter(covers) {
                return Ok(newest);
            }
            // One that is being written may have begun before the goal: it is asked for until one reaches that far.
            self.raft.trigger().snapshot().await.map_err(|_| SnapshotError::Stopped)?;
            sleep(SNAPSHOT_LOOK_EVERY).await;
        }
        Err(SnapshotError::TimedOut)
    }

    fn members_decided(&self) -> u64 {
        self.metrics().membership_config.log_id().as_ref().map_or(0, |id| id.index)
    }

    fn is_joint(&self) -> bool {
        self.metrics().membership_config.membership().get_joint_config().len() > 1
    }

    async fn finish_change(&self) {
        // Nothing to add to the set of voters that is meant: what is left is that it decides alone.
        match self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await {
            Ok(()) => tracing::info!("finished a change of members that an earlier leader began"),
            Err(error) => tracing::info!(%error, "a change of members is not finished"),
        }
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
