//! Calls to the other masters.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use mesarch_proto::raft as pb;
use mesarch_proto::raft::raft_client::RaftClient;
use mesarch_state::comparison::Checkpoint;
use mesarch_storage::codec::entry_bytes;
use mesarch_storage::types::Vote;
use mesarch_storage::{NodeInfo, SnapshotFile, Types};
use mesarch_types::NodeId;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use super::convert::{
    MessageError, append_reply_of, digests_of, level_of, stream_reply_of, to_append, to_digests, to_transfer,
    to_vote, to_vote_request, transfer_reply_of, vote_of, vote_reply_of,
};
use super::gate::{Gate, Refusal};
use super::stream::Unanswered;
use super::{
    APPEND_DEADLINE, CONNECT_DEADLINE, KEEPALIVE_DEADLINE, KEEPALIVE_INTERVAL, MESSAGE_BYTES_MAX,
    SNAPSHOT_DEADLINE, SNAPSHOT_PART_BYTES, SNAPSHOT_RATE, WINDOW_BYTES,
};
use crate::standing::Standing;
use crate::start::Route;
use crate::state_machine::Snapshot;

/// Raft backs off only while its request stream is polled. A refused connection never polls it, so without a pause of
/// our own a leader with one dead follower spins at full speed.
const FAILED_STREAM_PAUSE: Duration = Duration::from_millis(50);
/// Least time that a stream has for being set up; Raft itself offers one heartbeat.
const STREAM_SETUP_DEADLINE: Duration = Duration::from_millis(500);

/// Longest wait for an answer to a question that is not Raft's.
const ASK_DEADLINE: Duration = Duration::from_secs(2);

/// Why a call failed. To Raft all of it means: unreachable, try again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the address {0:?} is not valid")]
    Address(String),
    #[error("no answer in time")]
    Deadline,
    #[error("the call failed: {0}")]
    Call(Status),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("the snapshot cannot be read")]
    Snapshot(#[source] std::io::Error),
}

impl From<CallError> for RPCError<Types> {
    fn from(error: CallError) -> Self {
        RPCError::Unreachable(Unreachable::new(&error))
    }
}

/// Makes connections to the other masters.
#[derive(Clone)]
pub(crate) struct Dialer {
    gate: Gate,
    route: Route,
    append_deadline: Duration,
}

impl Dialer {
    pub(crate) fn new(gate: Gate, route: Route) -> Self {
        Self { gate, route, append_deadline: APPEND_DEADLINE }
    }
}

impl Dialer {
    /// A connection of its own to a member.
    pub(crate) fn peer(&self, node: NodeId, info: &NodeInfo) -> Peer {
        Peer::new(node.0, &(self.route)(info), self.gate.clone(), self.append_deadline)
    }
}

impl RaftNetworkFactory<Types> for Dialer {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &NodeInfo) -> Peer {
        Peer::new(target, &(self.route)(node), self.gate.clone(), self.append_deadline)
    }
}

/// One connection to one master, made when it is needed and again after it broke.
pub(crate) struct Peer {
    id: u64,
    gate: Gate,
    /// Or the address, if it is not valid.
    channel: Result<Channel, String>,
    append_deadline: Duration,
}

impl Peer {
    fn new(id: u64, address: &str, gate: Gate, append_deadline: Duration) -> Self {
        let channel = channel(address).map_err(|_| address.to_owned());
        Self { id, gate, channel, append_deadline }
    }

    fn client(&self) -> Result<RaftClient<Channel>, CallError> {
        let channel = self.channel.clone().map_err(CallError::Address)?;
        let client = RaftClient::new(channel);
        Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Waits for an answer at most until `deadline` and checks who gave it.
    async fn answer<T>(
        &self,
        deadline: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        let response =
            timeout(deadline, call).await.map_err(|_| CallError::Deadline)?.map_err(CallError::Call)?;
        self.gate.check_reply(self.id, response.metadata()).await?;
        Ok(response.into_inner())
    }

    async fn ask_vote(
        &self,
        request: &VoteRequest<Types>,
        pre_vote: bool,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, CallError> {
        let mut client = self.client()?;
        let message = self.gate.request(self.id, to_vote_request(request))?;
        let call =
            async { if pre_vote { client.pre_vote(message).await } else { client.vote(message).await } };
        Ok(vote_reply_of(self.answer(option.hard_ttl(), call).await?)?)
    }

    async fn append_once(
        &self,
        request: &AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, CallError> {
        let mut client = self.client()?;
        let message = self.gate.request(self.id, to_append(request))?;
        let reply = self.answer(option.hard_ttl(), client.append(message)).await?;
        Ok(append_reply_of(reply)?)
    }

    async fn open_stream<S>(
        &self,
        input: S,
        option: RPCOption,
    ) -> Result<BoxStream<'static, Result<StreamAppendResult<Types>, RPCError<Types>>>, CallError>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let unanswered = Arc::new(Unanswered::new(self.append_deadline));
        let sending = unanswered.clone();
        let requests = input.map(move |request| {
            sending.sent(request.entries.iter().map(entry_bytes).sum());
            to_append(&request)
        });
        let mut client = self.client()?;
        let message = self.gate.request(self.id, requests)?;
        let deadline = option.hard_ttl().max(STREAM_SETUP_DEADLINE);
        let replies = self.answer(deadline, client.stream_append(message)).await?;
        Ok(Box::pin(stream::unfold(Some((replies, unanswered)), next_reply)))
    }

    async fn hand_over(
        &self,
        request: &TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, CallError> {
        let mut client = self.client()?;
        let message = self.gate.request(self.id, to_transfer(request))?;
        let reply = self.answer(option.hard_ttl(), client.transfer(message)).await?;
        Ok(transfer_reply_of(request, reply)?)
    }

    /// Tells this node's digests; the other's.
    pub(crate) async fn compare_digests(&self, ours: &[Checkpoint]) -> Result<Vec<Checkpoint>, CallError> {
        let mut client = self.client()?;
        let message = self.gate.request(self.id, to_digests(ours))?;
        Ok(digests_of(self.answer(ASK_DEADLINE, client.compare_digests(message)).await?)?)
    }

    /// The highest feature level that the other knows.
    pub(crate) async fn known_level(&self) -> Result<u32, CallError> {
        let mut client = self.client()?;
        let message = self.gate.request(self.id, pb::KnownLevelRequest {})?;
        Ok(level_of(self.answer(ASK_DEADLINE, client.known_level(message)).await?)?)
    }

    /// Whether this node is a member, as the other knows.
    pub(crate) async fn standing(&self) -> Result<Standing, CallError> {
        let mut client = self.client()?;
        let message = self.gate.request(self.id, pb::StandingRequest {})?;
        let pb::StandingReply { member, decided } =
            self.answer(ASK_DEADLINE, client.standing(message)).await?;
        Ok(Standing { member, decided })
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        file: SnapshotFile,
    ) -> Result<SnapshotResponse<Types>, CallError> {
        let mut client = self.client()?;
        let deadline = SNAPSHOT_DEADLINE + Duration::from_secs(file.bytes() / SNAPSHOT_RATE);
        let begin = pb::SnapshotBegin { vote: Some(to_vote(&vote)), bytes: file.bytes() };
        // Reading must not fail silently: a part that cannot be read ends the stream, and the receiver sees it too short.
        file.read_at(0, 1).map_err(CallError::Snapshot)?;
        let begin = pb::SnapshotPart { part: Some(pb::snapshot_part::Part::Begin(begin)) };
        let parts = stream::once(std::future::ready(begin)).chain(stream::unfold((file, 0), next_part));
        let message = self.gate.request(self.id, parts)?;
        let reply = self.answer(deadline, client.install_snapshot(message)).await?;
        Ok(SnapshotResponse::new(vote_of(reply.vote)?))
    }
}

type Replies = (tonic::Streaming<pb::AppendReply>, Arc<Unanswered>);

/// The next answer of a pipeline; the stream ends after an error.
async fn next_reply(
    state: Option<Replies>,
) -> Option<(Result<StreamAppendResult<Types>, RPCError<Types>>, Option<Replies>)> {
    let (mut replies, unanswered) = state?;
    let reply = tokio::select! {
        reply = replies.message() => reply.map_err(CallError::Call).transpose()?,
        () = unanswered.overdue() => Err(CallError::Deadline),
    };
    unanswered.answered();
    match reply.and_then(|reply| Ok(stream_reply_of(reply)?)) {
        Ok(result) => Some((Ok(result), Some((replies, unanswered)))),
        Err(error) => {
            tokio::time::sleep(FAILED_STREAM_PAUSE).await;
            Some((Err(error.into()), None))
        }
    }
}

async fn next_part((file, at): (SnapshotFile, u64)) -> Option<(pb::SnapshotPart, (SnapshotFile, u64))> {
    if at >= file.bytes() {
        return None;
    }
    let reading = file.clone();
    let part = tokio::task::spawn_blocking(move || reading.read_at(at, SNAPSHOT_PART_BYTES)).await;
    let data: Bytes = match part {
        Ok(Ok(data)) => data.into(),
        Ok(Err(error)) => {
            tracing::error!(%error, "a snapshot cannot be read while it is sent");
            return None;
        }
        Err(_) => return None,
    };
    let next = at + data.len() as u64;
    Some((pb::SnapshotPart { part: Some(pb::snapshot_part::Part::Data(data)) }, (file, next)))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Ok(self.append_once(&request, option).await?)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            match self.open_stream(input, option).await {
                Ok(replies) => Ok(replies as BoxStream<'s, _>),
                Err(error) => {
                    tokio::time::sleep(FAILED_STREAM_PAUSE).await;
                    Err(error.into())
                }
            }
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.ask_vote(&request, false, option).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.ask_vote(&request, true, option).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot.snapshot) => {
                sent.map_err(|error| StreamingError::Unreachable(Unreachable::new(&error)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        Ok(self.hand_over(&request, option).await?)
    }
}

/// A channel that connects when it is first used.
fn channel(address: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let endpoint = endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_DEADLINE)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_DEADLINE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES);
    Ok(endpoint.connect_lazy())
}

#[cfg(test)]
#[path = "client_test.rs"]
mod tests;
