//! Who belongs to the cluster and how they do, for operators.

use mesarch_consensus::{Health, Members};
use mesarch_types::NodeId;
use serde::Serialize;
use std::collections::BTreeMap;

use crate::app::App;

/// All members, as one master sees them.
#[derive(Debug, Serialize)]
pub(crate) struct Roster {
    /// The newest Raft term known.
    pub(crate) term: u64,
    /// Node id of the leader in that term, if it is known.
    pub(crate) leader: Option<u64>,
    /// A change of members was begun and is not finished.
    pub(crate) changing: bool,
    /// Healthy voters that may fail without a loss of the quorum; unknown unless this master leads.
    pub(crate) failures_tolerated: Option<u32>,
    /// By node id.
    pub(crate) members: Vec<MemberView>,
}

/// One member. Health is unknown unless the answering master leads.
#[derive(Debug, Serialize)]
pub(crate) struct MemberView {
    /// Node id.
    pub(crate) node: u64,
    /// host:port for the other masters.
    pub(crate) raft: String,
    /// host:port for clients.
    pub(crate) client: String,
    /// What it does.
    pub(crate) role: MemberRole,
    /// It answered lately and has nearly all of the log.
    pub(crate) healthy: Option<bool>,
    /// ms for which that was so, or not so, under this leader.
    pub(crate) healthy_ms: Option<u64>,
    /// ms since it answered the leader.
    pub(crate) silent_ms: Option<u64>,
    /// Entries of the leader's log that it is not known to have.
    pub(crate) lag_entries: Option<u64>,
}

/// What a member does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemberRole {
    Leader,
    Voter,
    Learner,
}

impl MemberRole {
    /// Whether it counts in quorums.
    pub(crate) fn votes(self) -> bool {
        self != Self::Learner
    }
}

impl Roster {
    /// As this master sees them now.
    pub(crate) fn of(app: &App) -> Self {
        let consensus = &app.consensus.0;
        let status = consensus.status();
        let health = consensus.health();
        let leader = status.leader;
        let failures_tolerated = (!health.is_empty()).then(|| tolerated(&status.members, &health));
        let mut members: Vec<MemberView> = status
            .members
            .all()
            .map(|(node, info)| {
                let voter = status.members.voters.contains_key(node);
                let role = match voter {
                    _ if leader == Some(*node) => MemberRole::Leader,
                    true => MemberRole::Voter,
                    false => MemberRole::Learner,
                };
                let known = health.get(node);
                MemberView {
                    node: node.0,
                    raft: info.raft.clone(),
                    client: info.client.clone(),
                    role,
                    healthy: known.map(|it| it.healthy),
                    healthy_ms: known.map(|it| it.for_ms),
                    silent_ms: known.and_then(|it| it.silent_ms),
                    lag_entries: known.and_then(|it| it.lag),
                }
            })
            .collect();
        members.sort_by_key(|member| member.node);
        let (term, leader) = (status.term, leader.map(|node| node.0));
        Self { term, leader, changing: consensus.is_changing_members(), failures_tolerated, members }
    }
}

/// Healthy voters beyond a majority.
fn tolerated(members: &Members, health: &BTreeMap<NodeId, Health>) -> u32 {
    let healthy = members.voters.keys().filter(|node| health.get(node).is_some_and(|it| it.healthy)).count();
    let majority = members.voters.len() / 2 + 1;
    u32::try_from(healthy.saturating_sub(majority)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use mesarch_consensus::NodeInfo;

    use super::*;

    #[test]
    fn what_may_fail_is_what_is_healthy_beyond_a_majority() {
        for (voters, healthy, expect) in
            [(1, 1, 0), (2, 2, 0), (3, 3, 1), (3, 2, 0), (4, 4, 1), (5, 5, 2), (5, 4, 1), (5, 2, 0)]
        {
            let nodes = (1..=voters).map(NodeId);
            let all = nodes.clone().map(|node| (node, NodeInfo::default())).collect();
            let members = Members { voters: all, ..Members::default() };
            let health =
                |node: NodeId| Health { healthy: node.0 <= healthy, for_ms: 0, silent_ms: None, lag: None };
            let health = nodes.map(|node| (node, health(node))).collect();
            assert_eq!(tolerated(&members, &health), expect, "{healthy} of {voters}");
        }
    }
}
