//! The types that openraft is configured with, and short names for what they make of its generics.

use std::fmt;

use bytes::Bytes;
use openraft::type_config::alias;
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Serialize};

/// Where a master can be reached; part of the replicated membership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeInfo {
    /// `host:port` of the Raft listener, for other masters.
    pub raft: String,
    /// `host:port` of the client listener, for everybody else.
    pub client: String,
}

impl fmt::Display for NodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raft={} client={}", self.raft, self.client)
    }
}

/// What a log entry carries: opaque bytes, encoded once by the proposer and never looked into here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

openraft::declare_raft_types!(
    /// openraft's configuration. One leader per term (`leader_id_std`), so that a term alone is a fence.
    pub Types:
        D = Payload,
        R = (),
        NodeId = u64,
        Node = NodeInfo,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

/// A log entry.
pub type Entry = alias::EntryOf<Types>;
/// Term and index of an entry.
pub type LogId = alias::LogIdOf<Types>;
/// The leader of a term, as far as a log id tells.
pub type CommittedLeaderId = alias::CommittedLeaderIdOf<Types>;
/// A vote: who leads or wants to lead which term.
pub type Vote = alias::VoteOf<Types>;
/// The members and where in the log they were decided.
pub type StoredMembership = alias::StoredMembershipOf<Types>;
/// The members.
pub type Membership = openraft::Membership<u64, NodeInfo>;
/// What a snapshot covers.
pub type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// The part of a log id that names the leader of `term`.
pub fn committed_leader(term: u64) -> CommittedLeaderId {
    openraft::impls::leader_id_std::LeaderId::new(term, 0).to_committed()
}

/// The log id of `index`, written by the leader of `term`.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(committed_leader(term), index)
}

/// The vote of `node` in `term`; `committed` once a quorum granted it.
pub fn vote(term: u64, node: u64, committed: bool) -> Vote {
    Vote { leader_id: openraft::impls::leader_id_std::LeaderId::new(term, node), committed }
}
