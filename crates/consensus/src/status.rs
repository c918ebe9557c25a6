//! What an operator may ask about a node.

use std::collections::BTreeMap;

use mesarch_storage::{NodeInfo, Types};
use mesarch_types::{ClusterId, NodeId};
use openraft::{Instant, RaftMetrics, ServerState};

use crate::limits::Full;

/// Who belongs to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Those that vote.
    pub voters: BTreeMap<NodeId, NodeInfo>,
    /// Those that only receive the log.
    pub learners: BTreeMap<NodeId, NodeInfo>,
}

impl Members {
    /// Voters, then learners.
    pub fn all(&self) -> impl Iterator<Item = (&NodeId, &NodeInfo)> {
        self.voters.iter().chain(&self.learners)
    }

    /// Whether it is a voter or a learner.
    pub fn contains(&self, node: NodeId) -> bool {
        self.voters.contains_key(&node) || self.learners.contains_key(&node)
    }

    pub(crate) fn of(metrics: &RaftMetrics<Types>) -> Self {
        let config = &metrics.membership_config;
        let voters: Vec<u64> = config.voter_ids().collect();
        let named = config.nodes().map(|(id, info)| (NodeId(*id), info.clone()));
        let (voters, learners) = named.partition(|(id, _)| voters.contains(&id.0));
        Self { voters, learners }
    }
}

/// What a node does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives the log, does not vote, or does not know a cluster yet.
    Learner,
    /// Votes and follows.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Is stopping.
    Stopping,
}

impl From<ServerState> for Role {
    fn from(state: ServerState) -> Self {
        match state {
            ServerState::Learner => Self::Learner,
            ServerState::Follower => Self::Follower,
            ServerState::Candidate => Self::Candidate,
            ServerState::Leader => Self::Leader,
            ServerState::Shutdown => Self::Stopping,
        }
    }
}

/// How far one node's log is known to reach, on the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Index up to which the node holds the leader's log.
    pub matched: Option<u64>,
    /// ms since the node answered last; `None` if it never did.
    pub silent_ms: Option<u64>,
}

/// The state of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its cluster, once it has joined one.
    pub cluster: Option<ClusterId>,
    /// The cluster's incarnation.
    pub incarnation: u64,
    /// What it does.
    pub role: Role,
    /// The newest term it knows.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Index of its last entry.
    pub last_log: Option<u64>,
    /// Index up to which it knows entries to be committed.
    pub committed: Option<u64>,
    /// Index of the last entry applied here; 0 before the first.
    pub applied: u64,
    /// Index up to which its newest snapshot reaches.
    pub snapshot: Option<u64>,
    /// Index up to which the log is purged.
    pub purged: Option<u64>,
    /// Bytes of the entries in the log.
    pub log_bytes: u64,
    /// Number of entries in the log.
    pub log_entries: usize,
    /// ms since a quorum answered, on the leader.
    pub quorum_silent_ms: Option<u64>,
    /// Who belongs to the cluster.
    pub members: Members,
    /// The other nodes' logs, on the leader.
    pub replication: BTreeMap<NodeId, Replication>,
    /// What runs out, if something does.
    pub full: Option<Full>,
}

impl Status {
    /// Of a node that knows nothing.
    #[cfg(test)]
    pub(crate) fn blank(node: NodeId) -> Self {
        Self::of(&RaftMetrics::new_initial(node.0))
    }

    pub(crate) fn of(metrics: &RaftMetrics<Types>) -> Self {
        let index = |id: &Option<mesarch_storage::types::LogId>| id.as_ref().map(|id| id.index);
        Self {
            node: NodeId(metrics.id),
            cluster: None,
            incarnation: 0,
            role: metrics.state.into(),
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            last_log: metrics.last_log_index,
            committed: index(&metrics.local_committed),
            applied: 0,
            snapshot: index(&metrics.snapshot),
            purged: index(&metrics.purged),
            log_bytes: 0,
            log_entries: 0,
            quorum_silent_ms: metrics.last_quorum_acked.as_ref().map(|at| at.elapsed().as_millis() as u64),
            members: Members::of(metrics),
            replication: replication(metrics),
            full: None,
        }
    }
}

fn replication(metrics: &RaftMetrics<Types>) -> BTreeMap<NodeId, Replication> {
    let matched = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
    matched
        .map(|(id, matched)| {
            let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(id)).and_then(Option::as_ref);
            let silent_ms = heard.map(|at| at.elapsed().as_millis() as u64);
            (NodeId(*id), Replication { matched: matched.as_ref().map(|id| id.index), silent_ms })
        })
        .collect()
}
