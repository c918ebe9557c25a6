//! Who belongs to the cluster, and its changes.

use std::time::Duration;

use mesarch_consensus::{MembershipError, NodeInfo, Rule};
use mesarch_proto::admin::{AddMemberRequest, Member, MemberHealth, MembersReply};
use mesarch_types::NodeId;
use tonic::Status;

use super::leader;
use crate::{app::App, members::Roster, view::settled};

/// How long the next leader may take to be known here, for who is to be sent on to it.
const NEXT_LEADER_WAIT: Duration = Duration::from_secs(5);
/// How often a change is tried at a leader that loses its place and has it again.
const TRIES_MAX: usize = 10;
/// Pause before the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn all(app: &App) -> MembersReply {
    let roster = Roster::of(app);
    let members = roster.members.iter().map(|it| MemberHealth {
        member: Some(Member {
            node: it.node,
            raft: it.raft.clone(),
            client: it.client.clone(),
            voter: it.role.votes(),
        }),
        healthy: it.healthy,
        healthy_ms: it.healthy_ms.unwrap_or(0),
        silent_ms: it.silent_ms,
        lag: it.lag_entries,
    });
    MembersReply {
        members: members.collect(),
        term: roster.term,
        leader: roster.leader.unwrap_or(0),
        changing: roster.changing,
        failures_tolerated: roster.failures_tolerated,
    }
}

pub(super) async fn add(app: &App, request: AddMemberRequest) -> Result<(), Status> {
    let member = request.member.ok_or_else(|| Status::invalid_argument("member: it is not there"))?;
    let node = node(member.node)?;
    for (field, address) in [("raft", &member.raft), ("client", &member.client)] {
        if !is_address(address) {
            return Err(Status::invalid_argument(format!("{field}: {address:?} is not host:port")));
        }
    }
    let info = NodeInfo { raft: member.raft, client: member.client };
    Change::Add(node, info).carry_out(app).await
}

pub(super) async fn promote(app: &App, number: u64) -> Result<(), Status> {
    Change::Promote(node(number)?).carry_out(app).await
}

pub(super) async fn remove(app: &App, number: u64) -> Result<(), Status> {
    Change::Remove(node(number)?).carry_out(app).await
}

fn node(number: u64) -> Result<NodeId, Status> {
    if number == 0 {
        Err(Status::invalid_argument("node: it must be above zero"))
    } else {
        Ok(NodeId(number))
    }
}

fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// A change of members. One that was made before has no effect.
enum Change {
    Add(NodeId, NodeInfo),
    Promote(NodeId),
    Remove(NodeId),
}

impl Change {
    /// The change itself may unseat the leader for a moment: a voter that is slow to answer is needed for the majority now.
    /// Whoever leads then is asked, this master again if it is.
    async fn carry_out(self, app: &App) -> Result<(), Status> {
        let members = app.consensus.0.membership();
        for _ in 0..TRIES_MAX {
            leader(app).await?;
            match self.try_once(app).await {
                // It was one when this was asked: a try that unseated the leader has removed it.
                Err(MembershipError::Rule(Rule::NotAMember(node)))
                    if matches!(self, Self::Remove(_)) && members.contains(node) =>
                {
                    return Ok(());
                }
                Err(MembershipError::NotLeader { .. }) => {
                    // What is known here of who leads is a little older than what Raft knows.
                    tokio::time::sleep(RETRY_PAUSE).await;
                    settled(&app.view, NEXT_LEADER_WAIT).await;
                }
                outcome => return outcome.map_err(|error| told(&error)),
            }
        }
        leader(app).await?;
        Err(Status::unavailable("the leader changed again and again; the change may have been made"))
    }

    async fn try_once(&self, app: &App) -> Result<(), MembershipError> {
        let consensus = &app.consensus.0;
        match self {
            Self::Add(node, info) => {
                consensus.add_learner(*node, info.clone(), app.newest().state.level()).await
            }
            Self::Promote(node) => consensus.promote(*node).await,
            Self::Remove(node) => consensus.remove(*node).await,
        }
    }
}

fn told(error: &MembershipError) -> Status {
    let text = error.to_string();
    match error {
        MembershipError::Rule(_) | MembershipError::Refused(_) => Status::failed_precondition(text),
        MembershipError::Unknown => Status::unknown(text),
        MembershipError::NotLeader { .. } | MembershipError::Stopped => Status::unavailable(text),
    }
}
