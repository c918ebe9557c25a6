//! Operators, over gRPC. What they may change is read in `request.rs` and told in `reply.rs`.

mod members;
mod reply;
mod request;
mod save;

use std::{sync::Arc, time::Duration};

use mesarch_consensus::TransferError;
use mesarch_proto::admin::{
    AddMemberReply, AddMemberRequest, ConvertReply, ConvertRequest, ExplainReply, ExplainRequest,
    GetPolicyReply, GetPolicyRequest, GetPrioritiesReply, GetPrioritiesRequest, GetQuotaReply,
    GetQuotaRequest, GetWeightsReply, GetWeightsRequest, GetWhitelistReply, GetWhitelistRequest, Member,
    MembersReply, MembersRequest, PromoteMemberReply, PromoteMemberRequest, RemoveMemberReply,
    RemoveMemberRequest, SaveSnapshotRequest, SetPolicyReply, SetPolicyRequest, SetPrioritiesReply,
    SetPrioritiesRequest, SetQuotaReply, SetQuotaRequest, SetWeightsReply, SetWeightsRequest,
    SetWhitelistReply, SetWhitelistRequest, StatusReply, StatusRequest, TransferLeaderReply,
    TransferLeaderRequest, admin_server::Admin,
};
use mesarch_state::{Command, State};
use mesarch_types::{AgentId, Conversion, FrameworkId, NodeId, Resources};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::{leader, status};
use crate::{
    app::App,
    leader::ToLeader,
    operator::{self, ChangeError, Invalid},
    view::LeaderView,
};

/// How long the leader has to explain something.
const EXPLANATION_WAIT: Duration = Duration::from_secs(10);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) app: Arc<App>,
}

#[tonic::async_trait]
impl Admin for Service {
    type SaveSnapshotStream = save::Pieces;

    async fn save_snapshot(
        &self,
        request: Request<SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        Ok(Response::new(save::snapshot(&self.app, request.into_inner().stale).await?))
    }

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
            snapshot: known.snapshot.unwrap_or(0),
            purged: known.purged.unwrap_or(0),
            level: self.app.newest().state.level(),
            level_known: self.app.options.feature_level_max,
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

    async fn members(&self, _: Request<MembersRequest>) -> Result<Response<MembersReply>, Status> {
        Ok(Response::new(members::all(&self.app)))
    }

    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<AddMemberReply>, Status> {
        members::add(&self.app, request.into_inner()).await?;
        Ok(Response::new(AddMemberReply {}))
    }

    async fn promote_member(
        &self,
        request: Request<PromoteMemberRequest>,
    ) -> Result<Response<PromoteMemberReply>, Status> {
        members::promote(&self.app, request.into_inner().node).await?;
        Ok(Response::new(PromoteMemberReply {}))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberReply>, Status> {
        members::remove(&self.app, request.into_inner().node).await?;
        Ok(Response::new(RemoveMemberReply {}))
    }

    async fn set_weights(
        &self,
        request: Request<SetWeightsRequest>,
    ) -> Result<Response<SetWeightsReply>, Status> {
        self.change(|_| request::weights(request.into_inner())).await?;
        Ok(Response::new(SetWeightsReply {}))
    }

    async fn get_weights(&self, _: Request<GetWeightsRequest>) -> Result<Response<GetWeightsReply>, Status> {
        self.read(reply::weights).await
    }

    async fn set_quota(&self, request: Request<SetQuotaRequest>) -> Result<Response<SetQuotaReply>, Status> {
        let rescinded = self.change(|_| request::quotas(request.into_inner())).await?;
        Ok(Response::new(SetQuotaReply { rescinded }))
    }

    async fn get_quota(&self, _: Request<GetQuotaRequest>) -> Result<Response<GetQuotaReply>, Status> {
        self.read(reply::quotas).await
    }

    async fn set_priorities(
        &self,
        request: Request<SetPrioritiesRequest>,
    ) -> Result<Response<SetPrioritiesReply>, Status> {
        self.change(|_| request::priorities(request.into_inner())).await?;
        Ok(Response::new(SetPrioritiesReply {}))
    }

    async fn get_priorities(
        &self,
        _: Request<GetPrioritiesRequest>,
    ) -> Result<Response<GetPrioritiesReply>, Status> {
        self.read(reply::priorities).await
    }

    async fn set_policy(
        &self,
        request: Request<SetPolicyRequest>,
    ) -> Result<Response<SetPolicyReply>, Status> {
        self.change(|app| request::policy(request.into_inner(), &app.policies)).await?;
        Ok(Response::new(SetPolicyReply {}))
    }

    async fn get_policy(&self, _: Request<GetPolicyRequest>) -> Result<Response<GetPolicyReply>, Status> {
        let known = self.app.policies.names().map(str::to_owned).collect();
        self.read(|state| GetPolicyReply { name: state.policy().to_owned(), known }).await
    }

    async fn set_whitelist(
        &self,
        request: Request<SetWhitelistRequest>,
    ) -> Result<Response<SetWhitelistReply>, Status> {
        self.change(|_| request::whitelist(request.into_inner())).await?;
        Ok(Response::new(SetWhitelistReply {}))
    }

    async fn get_whitelist(
        &self,
        _: Request<GetWhitelistRequest>,
    ) -> Result<Response<GetWhitelistReply>, Status> {
        self.read(reply::whitelist).await
    }

    async fn reserve(&self, request: Request<ConvertRequest>) -> Result<Response<ConvertReply>, Status> {
        self.convert(request, Conversion::Reserve).await
    }

    async fn unreserve(&self, request: Request<ConvertRequest>) -> Result<Response<ConvertReply>, Status> {
        self.convert(request, Conversion::Unreserve).await
    }

    async fn create_volumes(
        &self,
        request: Request<ConvertRequest>,
    ) -> Result<Response<ConvertReply>, Status> {
        self.convert(request, Conversion::Create).await
    }

    async fn destroy_volumes(
        &self,
        request: Request<ConvertRequest>,
    ) -> Result<Response<ConvertReply>, Status> {
        self.convert(request, Conversion::Destroy).await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainReply>, Status> {
        let session = leader(&self.app).await?;
        let busy = || Status::resource_exhausted("too many readers at a time; try again");
        let _place = self.app.reads.try_acquire().map_err(|_| busy())?;
        let ExplainRequest { framework, agent } = request.into_inner();
        let (framework, agent) = (FrameworkId::from(framework), agent.map(AgentId::from));
        let published = self.app.newest();
        if published.state.framework(&framework).is_none() {
            return Err(Status::not_found(format!("framework: there is no {framework}")));
        }
        let (answer, why) = oneshot::channel();
        session.tell(ToLeader::Explain { framework, agent, answer }).await;
        match tokio::time::timeout(EXPLANATION_WAIT, why).await {
            Ok(Ok(why)) => reply::explanation(&why).map(Response::new),
            Ok(Err(_)) => Err(Status::unavailable("this master does not lead any more")),
            Err(_) => Err(Status::deadline_exceeded("the leader is too busy to explain")),
        }
    }
}

impl Service {
    /// Commits an operator's change; how many offers were withdrawn for it. A refusal says what is wrong with the request
    /// (INVALID_ARGUMENT) or what of the cluster stands against it (FAILED_PRECONDITION).
    async fn change(&self, command: impl FnOnce(&App) -> Result<Command, Invalid>) -> Result<u32, Status> {
        let session = leader(&self.app).await?;
        let command = command(&self.app).map_err(|error| changed(&error.into()))?;
        operator::commit(&self.app, &session, command).await.map_err(|error| changed(&error))
    }

    async fn convert(
        &self,
        request: Request<ConvertRequest>,
        conversion: fn(Resources) -> Conversion,
    ) -> Result<Response<ConvertReply>, Status> {
        let rescinded = self.change(|_| request::convert(request.into_inner(), conversion)).await?;
        Ok(Response::new(ConvertReply { rescinded }))
    }

    /// Answers from the leader's state.
    async fn read<T>(&self, reply: impl FnOnce(&State) -> T) -> Result<Response<T>, Status> {
        leader(&self.app).await?;
        Ok(Response::new(reply(&self.app.newest().state)))
    }
}

/// A change that was not made.
pub(super) fn changed(error: &ChangeError) -> Status {
    match error {
        ChangeError::Invalid(_) => Status::invalid_argument(error.to_string()),
        ChangeError::Level { .. } | ChangeError::Denied(_) | ChangeError::Refused(_) => {
            Status::failed_precondition(error.to_string())
        }
        ChangeError::Call(error) => status(error),
    }
}

fn refused(error: &TransferError) -> Status {
    Status::failed_precondition(error.to_string())
}
