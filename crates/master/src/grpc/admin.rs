//! Operators, over gRPC.

use std::sync::Arc;

use mesarch_consensus::TransferError;
use mesarch_proto::admin::{
    Member, SetWeightsReply, SetWeightsRequest, StatusReply, StatusRequest, TransferLeaderReply,
    TransferLeaderRequest, admin_server::Admin,
};
use mesarch_state::{Command, Outcome, command::SetWeights};
use mesarch_types::{NodeId, Role};
use tonic::{Request, Response, Status};

use super::{leader, status};
use crate::{app::App, calls, view::LeaderView};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) app: Arc<App>,
}

#[tonic::async_trait]
impl Admin for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let known = self.app.consensus.0.status();
        let voters = known.members.voters.iter().map(|(node, info)| (node, info, true));
        let learners = known.members.learners.iter().map(|(node, info)| (node, info, false));
        let members: Vec<Member> = voters
            .chain(learners)
            .map(|(node, info, voter)| Member {
                node: node.0,
                raft: info.raft.clone(),
                client: info.client.clone(),
                voter,
            })
            .collect();
        let leader = known.leader.map_or(0, |node| node.0);
        let leader_client = members.iter().find(|member| member.node == leader);
        Ok(Response::new(StatusReply {
            node: known.node.0,
            term: known.term,
            leader,
            leader_client: leader_client.map(|member| member.client.clone()).unwrap_or_default(),
            leading: matches!(*self.app.view.borrow(), LeaderView::Leading(_)),
            applied: known.applied,
            members,
            cluster: known.cluster.map_or_else(Default::default, |cluster| cluster.0.to_vec().into()),
            incarnation: known.incarnation,
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderReply>, Status> {
        leader(&self.app).await?;
        let to = request.into_inner().to;
        let to = (to != 0).then_some(NodeId(to));
        self.app.consensus.0.transfer(to).await.map_err(|error| refused(&error))?;
        Ok(Response::new(TransferLeaderReply {}))
    }

    async fn set_weights(
        &self,
        request: Request<SetWeightsRequest>,
    ) -> Result<Response<SetWeightsReply>, Status> {
        let session = leader(&self.app).await?;
        let weights = request.into_inner().weights.into_iter().map(|weight| {
            let role =
                Role::parse(&weight.role).map_err(|error| Status::invalid_argument(error.to_string()))?;
            match weight.thousandths {
                0 => Err(Status::invalid_argument(format!("the weight of {role} must be above zero"))),
                thousandths => Ok((role, thousandths)),
            }
        });
        let command = SetWeights { weights: weights.collect::<Result<_, _>>()? };
        let placed =
            session.place(&Command::SetWeights(command)).await.map_err(|error| status(&error.into()))?;
        let answer = calls::decided(placed.resolved()).await.map_err(|error| status(&error))?;
        match answer.outcome {
            Outcome::Refused(refusal) => Err(Status::failed_precondition(refusal.to_string())),
            _ => Ok(Response::new(SetWeightsReply {})),
        }
    }
}

fn refused(error: &TransferError) -> Status {
    Status::failed_precondition(error.to_string())
}
