//! Answers the other masters.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt, future, stream};
use mesarch_proto::raft as pb;
use mesarch_proto::raft::raft_server::{Raft as RaftService, RaftServer};
use mesarch_storage::snapshot::Incoming;
use mesarch_storage::types::Vote;
use mesarch_storage::{SnapshotFile, SnapshotStore, Types};
use mesarch_types::NodeId;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::connection::Connection;
use super::convert::{
    MessageError, append_of, digests_of, to_append_reply, to_digests, to_stream_reply, to_transfer_reply,
    to_vote, to_vote_reply, transfer_of, vote_of, vote_request_of,
};
use super::gate::Gate;
use super::heard::Heard;
use super::{KEEPALIVE_DEADLINE, KEEPALIVE_INTERVAL, MESSAGE_BYTES_MAX, SNAPSHOT_DEADLINE, WINDOW_BYTES};
use crate::compare::Digests;
use crate::machine::Machine;
use crate::standing::{Standing, standing_of};
use crate::state_machine::{Raft, Snapshot};
use crate::stop::{Stopping, stopped};

/// Longest wait for Raft's answer to one message. Raft answers from memory and one sync.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Most appends of a stream that Raft has not answered. It takes far fewer at a time.
const UNANSWERED_MAX: usize = 4096;

/// Serves until `stop`. Returns early only if the listener fails.
pub(crate) async fn serve<M: Machine>(
    listener: TcpListener,
    service: Service<M>,
    mut stop: Stopping,
) -> Result<(), tonic::transport::Error> {
    let service = RaftServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_DEADLINE))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming_shutdown(Box::pin(connections(listener, stop.clone())), async move {
            stopped(&mut stop).await
        })
        .await
}

/// Accepted connections, which end with the node. The listener closes before they do: who sees its connection break and
/// connects again is to find that nobody listens any more.
fn connections(listener: TcpListener, stop: Stopping) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((incoming(listener), stop), async |(mut incoming, mut stop)| {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => return None,
            accepted = incoming.next() => accepted?,
        };
        let connection = accepted.map(|stream| Connection::new(stream, stop.clone()));
        Some((connection, (incoming, stop)))
    })
}

/// Accepted connections, without Nagle's delay: tonic applies its own option only to listeners that it binds, and with
/// the delay replication falls from a thousand to twenty rounds a second.
fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// The service behind the Raft port.
pub(crate) struct Service<M: Machine> {
    pub(crate) raft: Raft<M>,
    pub(crate) gate: Gate,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) digests: Digests,
    pub(crate) heard: Heard,
    /// Index of the last entry applied here.
    pub(crate) applied: watch::Receiver<u64>,
    /// The highest feature level that this node knows.
    pub(crate) level: u32,
}

type Replies = Pin<Box<dyn Stream<Item = Result<pb::AppendReply, Status>> + Send>>;

#[tonic::async_trait]
impl<M: Machine> RaftService for Service<M> {
    type StreamAppendStream = Replies;

    async fn stream_append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        // Answers come in the order of what they answer.
        let (words, mut answered) = mpsc::channel(UNANSWERED_MAX);
        let appends = request.into_inner().scan((), move |(), message| {
            let append = message.and_then(|message| append_of(message).map_err(invalid));
            let append =
                append.inspect_err(|status| tracing::debug!(from, %status, "an append stream ended")).ok();
            // The stream ends with its answers, and rather than remember more of them than ever are on their way.
            future::ready(append.filter(|append| words.try_send(word(append)).is_ok()))
        });
        let heard = self.heard.clone();
        let replies =
            self.raft.stream_append(appends).map(move |answer| -> Result<pb::AppendReply, Status> {
                let result = answer.map_err(unavailable)?;
                if let (Ok((committed, at)), Ok(_)) = (answered.try_recv(), &result) {
                    heard.note(committed, at);
                }
                Ok(to_stream_reply(&result))
            });
        Ok(self.gate.reply(from, Box::pin(replies) as Replies))
    }

    async fn append(&self, request: Request<pb::AppendRequest>) -> Result<Response<pb::AppendReply>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        let append = append_of(request.into_inner()).map_err(invalid)?;
        let (committed, at) = word(&append);
        let answer = within(self.raft.append_entries(append)).await?.map_err(unavailable)?;
        if matches!(answer, AppendEntriesResponse::Success) {
            self.heard.note(committed, at);
        }
        Ok(self.gate.reply(from, to_append_reply(&answer)))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        let vote = vote_request_of(request.into_inner()).map_err(invalid)?;
        let answer = within(self.raft.vote(vote)).await?.map_err(unavailable)?;
        Ok(self.gate.reply(from, to_vote_reply(&answer)))
    }

    async fn pre_vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteReply>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        let vote = vote_request_of(request.into_inner()).map_err(invalid)?;
        let answer = within(self.raft.pre_vote(vote)).await?.map_err(unavailable)?;
        Ok(self.gate.reply(from, to_vote_reply(&answer)))
    }

    async fn transfer(
        &self,
        request: Request<pb::TransferRequest>,
    ) -> Result<Response<pb::TransferReply>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        let transfer = transfer_of(request.into_inner()).map_err(invalid)?;
        let answer = within(self.raft.handle_transfer_leader(transfer)).await?.map_err(unavailable)?;
        Ok(self.gate.reply(from, to_transfer_reply(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotPart>>,
    ) -> Result<Response<pb::SnapshotReply>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        let (vote, file) = self.receive(request.into_inner()).await?;
        let snapshot = Snapshot { meta: file.meta().clone(), snapshot: file };
        // No deadline: installing takes as long as it takes, and the sender has one.
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(unavailable)?;
        Ok(self.gate.reply(from, pb::SnapshotReply { vote: Some(to_vote(&answer.vote)) }))
    }

    async fn compare_digests(&self, request: Request<pb::Digests>) -> Result<Response<pb::Digests>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        let theirs = digests_of(request.into_inner()).map_err(invalid)?;
        let ours = self.digests.exchange(NodeId(from), &theirs);
        Ok(self.gate.reply(from, to_digests(&ours)))
    }

    async fn known_level(
        &self,
        request: Request<pb::KnownLevelRequest>,
    ) -> Result<Response<pb::KnownLevelReply>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        Ok(self.gate.reply(from, pb::KnownLevelReply { level: self.level }))
    }

    async fn standing(
        &self,
        request: Request<pb::StandingRequest>,
    ) -> Result<Response<pb::StandingReply>, Status> {
        let from = self.gate.admit(request.metadata()).await?;
        let members = self.raft.metrics().borrow_watched().membership_config.clone();
        let decided = members.log_id().as_ref().map_or(0, |id| id.index);
        let is_member = |node: NodeId| members.get_node(&node.0).is_some();
        let Standing { member, decided } =
            standing_of(NodeId(from), is_member, decided, *self.applied.borrow());
        Ok(self.gate.reply(from, pb::StandingReply { member, decided }))
    }
}

/// Up to where an append says that entries are committed, and when it came.
fn word(append: &AppendEntriesRequest<Types>) -> (u64, Instant) {
    (append.leader_commit.map_or(0, |id| id.index), Instant::now())
}

impl<M: Machine> Service<M> {
    async fn receive(&self, mut parts: Streaming<pb::SnapshotPart>) -> Result<(Vote, SnapshotFile), Status> {
        let Some(pb::snapshot_part::Part::Begin(begin)) = next_part(&mut parts).await? else {
            return Err(Status::invalid_argument("a snapshot begins with what it is"));
        };
        let vote = vote_of(begin.vote).map_err(invalid)?;
        let store = self.snapshots.clone();
        let mut incoming = blocking(move || store.receive(begin.bytes)).await?;
        while let Some(part) = next_part(&mut parts).await? {
            let pb::snapshot_part::Part::Data(data) = part else {
                return Err(Status::invalid_argument("a snapshot begins once"));
            };
            incoming = blocking(move || {
                incoming.write(&data)?;
                Ok(incoming)
            })
            .await?;
        }
        let file = blocking(move || Incoming::finish(incoming)).await?;
        Ok((vote, file))
    }
}

async fn next_part(
    parts: &mut Streaming<pb::SnapshotPart>,
) -> Result<Option<pb::snapshot_part::Part>, Status> {
    let next = tokio::time::timeout(SNAPSHOT_DEADLINE, parts.message()).await;
    match next.map_err(|_| Status::deadline_exceeded("the next part of the snapshot did not come"))?? {
        None => Ok(None),
        Some(pb::SnapshotPart { part: Some(part) }) => Ok(Some(part)),
        Some(pb::SnapshotPart { part: None }) => Err(Status::invalid_argument("an empty part of a snapshot")),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, mesarch_storage::DiskError> + Send + 'static,
) -> Result<T, Status> {
    let done =
        tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| {
        tracing::warn!(%error, "a snapshot cannot be received");
        Status::data_loss("the snapshot cannot be stored")
    })
}

async fn within<T>(answer: impl Future<Output = T>) -> Result<T, Status> {
    let answered = tokio::time::timeout(ANSWER_DEADLINE, answer).await;
    answered.map_err(|_| Status::deadline_exceeded("Raft did not answer in time"))
}

fn invalid(error: MessageError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node does not take part: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn trap_2_accepted_connections_are_sent_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let accepted = incoming(listener).next().await.unwrap().unwrap();
        assert!(accepted.nodelay().unwrap());
        drop(client);
    }
}
