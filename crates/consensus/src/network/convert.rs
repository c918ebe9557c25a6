//! Between openraft's messages and ours. protobuf cannot require fields: what is missing is refused here.

use mesarch_proto::raft as pb;
use mesarch_state::comparison::{CHECKPOINTS_KEPT, Checkpoint};
use mesarch_storage::codec::{CodecError, EntryKind, entry_of, payload_parts};
use mesarch_storage::types::{Entry, LogId, Types, Vote, log_id, vote};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

/// A message that a peer of this version would not send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("the field {0} is missing or has no known value")]
    Missing(&'static str),
    #[error(transparent)]
    Payload(#[from] CodecError),
}

pub(crate) fn to_log_id(id: &LogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, index: id.index }
}

fn log_id_of(id: pb::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn to_vote(vote: &Vote) -> pb::BallotVote {
    pb::BallotVote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_of(message: Option<pb::BallotVote>) -> Result<Vote, MessageError> {
    let message = message.ok_or(MessageError::Missing("vote"))?;
    Ok(vote(message.term, message.node, message.committed))
}

fn to_entry(entry: &Entry) -> pb::Entry {
    let (kind, data) = payload_parts(&entry.payload);
    let kind = match kind {
        EntryKind::Blank => pb::EntryKind::Blank,
        EntryKind::Commands => pb::EntryKind::Commands,
        EntryKind::Membership => pb::EntryKind::Membership,
    };
    pb::Entry { id: Some(to_log_id(&entry.log_id)), kind: kind.into(), data }
}

fn entry_from(message: pb::Entry) -> Result<Entry, MessageError> {
    let kind = match message.kind() {
        pb::EntryKind::Blank => EntryKind::Blank,
        pb::EntryKind::Commands => EntryKind::Commands,
        pb::EntryKind::Membership => EntryKind::Membership,
        pb::EntryKind::Unspecified => return Err(MessageError::Missing("kind")),
    };
    let id = message.id.ok_or(MessageError::Missing("id"))?;
    Ok(entry_of(log_id_of(id), kind, message.data)?)
}

pub(crate) fn to_append(request: &AppendEntriesRequest<Types>) -> pb::AppendRequest {
    pb::AppendRequest {
        vote: Some(to_vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(to_log_id),
        entries: request.entries.iter().map(to_entry).collect(),
        leader_commit: request.leader_commit.as_ref().map(to_log_id),
    }
}

pub(crate) fn append_of(message: pb::AppendRequest) -> Result<AppendEntriesRequest<Types>, MessageError> {
    Ok(AppendEntriesRequest {
        vote: vote_of(message.vote)?,
        prev_log_id: message.previous.map(log_id_of),
        entries: message.entries.into_iter().map(entry_from).collect::<Result<_, _>>()?,
        leader_commit: message.leader_commit.map(log_id_of),
    })
}

pub(crate) fn to_append_reply(response: &AppendEntriesResponse<Types>) -> pb::AppendReply {
    let reply = |status: pb::AppendStatus, last: Option<&LogId>, vote: Option<&Vote>| pb::AppendReply {
        status: status.into(),
        last: last.map(to_log_id),
        vote: vote.map(to_vote),
    };
    match response {
        AppendEntriesResponse::Success => reply(pb::AppendStatus::Stored, None, None),
        AppendEntriesResponse::PartialSuccess(last) => {
            reply(pb::AppendStatus::PartlyStored, last.as_ref(), None)
        }
        AppendEntriesResponse::Conflict => reply(pb::AppendStatus::Conflict, None, None),
        AppendEntriesResponse::HigherVote(vote) => reply(pb::AppendStatus::HigherVote, None, Some(vote)),
    }
}

pub(crate) fn append_reply_of(reply: pb::AppendReply) -> Result<AppendEntriesResponse<Types>, MessageError> {
    match reply.status() {
        pb::AppendStatus::Stored => Ok(AppendEntriesResponse::Success),
        pb::AppendStatus::PartlyStored => {
            Ok(AppendEntriesResponse::PartialSuccess(reply.last.map(log_id_of)))
        }
        pb::AppendStatus::Conflict => Ok(AppendEntriesResponse::Conflict),
        pb::AppendStatus::HigherVote => Ok(AppendEntriesResponse::HigherVote(vote_of(reply.vote)?)),
        pb::AppendStatus::Unspecified => Err(MessageError::Missing("status")),
    }
}

/// In a stream every answer says how far the log reaches, so that answers need not be matched to requests.
pub(crate) fn to_stream_reply(result: &StreamAppendResult<Types>) -> pb::AppendReply {
    let (status, last, vote) = match result {
        Ok(last) => (pb::AppendStatus::Stored, last.as_ref(), None),
        Err(StreamAppendError::Conflict(last)) => (pb::AppendStatus::Conflict, Some(last), None),
        Err(StreamAppendError::HigherVote(vote)) => (pb::AppendStatus::HigherVote, None, Some(vote)),
    };
    pb::AppendReply { status: status.into(), last: last.map(to_log_id), vote: vote.map(to_vote) }
}

pub(crate) fn stream_reply_of(reply: pb::AppendReply) -> Result<StreamAppendResult<Types>, MessageError> {
    match reply.status() {
        pb::AppendStatus::Stored | pb::AppendStatus::PartlyStored => Ok(Ok(reply.last.map(log_id_of))),
        pb::AppendStatus::Conflict => {
            let last = reply.last.ok_or(MessageError::Missing("last"))?;
            Ok(Err(StreamAppendError::Conflict(log_id_of(last))))
        }
        pb::AppendStatus::HigherVote => Ok(Err(StreamAppendError::HigherVote(vote_of(reply.vote)?))),
        pb::AppendStatus::Unspecified => Err(MessageError::Missing("status")),
    }
}

pub(crate) fn to_vote_request(request: &VoteRequest<Types>) -> pb::VoteRequest {
    pb::VoteRequest {
        vote: Some(to_vote(&request.vote)),
        last: request.last_log_id.as_ref().map(to_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_of(message: pb::VoteRequest) -> Result<VoteRequest<Types>, MessageError> {
    let mut request = VoteRequest::new(vote_of(message.vote)?, message.last.map(log_id_of));
    request.leadership_transfer = message.leadership_transfer;
    Ok(request)
}

pub(crate) fn to_vote_reply(response: &VoteResponse<Types>) -> pb::VoteReply {
    pb::VoteReply {
        vote: Some(to_vote(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(to_log_id),
    }
}

pub(crate) fn vote_reply_of(reply: pb::VoteReply) -> Result<VoteResponse<Types>, MessageError> {
    Ok(VoteResponse::new(vote_of(reply.vote)?, reply.last.map(log_id_of), reply.granted))
}

pub(crate) fn to_transfer(request: &TransferLeaderRequest<Types>) -> pb::TransferRequest {
    pb::TransferRequest {
        leader: Some(to_vote(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(to_log_id),
    }
}

pub(crate) fn transfer_of(
    message: pb::TransferRequest,
) -> Result<TransferLeaderRequest<Types>, MessageError> {
    Ok(TransferLeaderRequest::new(vote_of(message.leader)?, message.to, message.last.map(log_id_of)))
}

pub(crate) fn to_transfer_reply(response: &TransferLeaderResponse<Types>) -> pb::TransferReply {
    use openraft::raft::TransferLeaderError::{LogNotFlushed, VoteChanged};
    let (status, vote, last) = match response {
        Ok(()) => (pb::TransferStatus::Accepted, None, None),
        Err(VoteChanged { actual, .. }) => (pb::TransferStatus::VoteChanged, Some(to_vote(actual)), None),
        Err(LogNotFlushed { actual, .. }) => {
            (pb::TransferStatus::LogBehind, None, actual.as_ref().map(to_log_id))
        }
    };
    pb::TransferReply { status: status.into(), vote, last }
}

/// `request` is what the reply answers: it says what was expected.
pub(crate) fn transfer_reply_of(
    request: &TransferLeaderRequest<Types>,
    reply: pb::TransferReply,
) -> Result<TransferLeaderResponse<Types>, MessageError> {
    use openraft::raft::TransferLeaderError::{LogNotFlushed, VoteChanged};
    match reply.status() {
        pb::TransferStatus::Accepted => Ok(Ok(())),
        pb::TransferStatus::VoteChanged => {
            Ok(Err(VoteChanged { expected: *request.from_leader(), actual: vote_of(reply.vote)? }))
        }
        pb::TransferStatus::LogBehind => {
            let expected = request.last_log_id().copied();
            Ok(Err(LogNotFlushed { expected, actual: reply.last.map(log_id_of) }))
        }
        pb::TransferStatus::Unspecified => Err(MessageError::Missing("status")),
    }
}

pub(crate) fn to_digests(checkpoints: &[Checkpoint]) -> pb::Digests {
    let digest = |checkpoint: &Checkpoint| {
        let digest = checkpoint.digest.to_le_bytes().to_vec().into();
        pb::StateDigest { index: checkpoint.index, digest }
    };
    pb::Digests { digests: checkpoints.iter().map(digest).collect() }
}

/// The newest ones are enough.
pub(crate) fn digests_of(message: pb::Digests) -> Result<Vec<Checkpoint>, MessageError> {
    let skip = message.digests.len().saturating_sub(CHECKPOINTS_KEPT);
    let newest = message.digests.into_iter().skip(skip).map(|told| {
        let bytes = <[u8; 16]>::try_from(&told.digest[..]).map_err(|_| MessageError::Missing("digest"))?;
        Ok(Checkpoint { index: told.index, digest: u128::from_le_bytes(bytes) })
    });
    newest.collect()
}

/// A master knows some level; 0 is a message without one.
pub(crate) fn level_of(message: pb::KnownLevelReply) -> Result<u32, MessageError> {
    if message.level == 0 { Err(MessageError::Missing("level")) } else { Ok(message.level) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use bytes::Bytes;
    use mesarch_storage::types::Membership;
    use mesarch_storage::{NodeInfo, Payload};
    use openraft::EntryPayload;
    use openraft::raft::TransferLeaderError;

    use super::*;

    #[test]
    fn an_append_comes_back_with_every_kind_of_entry() {
        let members =
            Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, NodeInfo::default())])).unwrap();
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Payload(Bytes::from_static(b"x"))),
            EntryPayload::Membership(members),
        ];
        let entry = |(index, payload)| Entry { log_id: log_id(3, index), payload };
        let request = AppendEntriesRequest::<Types> {
            vote: vote(3, 1, true),
            prev_log_id: Some(log_id(2, 4)),
            entries: (5..).zip(payloads).map(entry).collect(),
            leader_commit: None,
        };
        let back = append_of(to_append(&request)).unwrap();
        assert_eq!((back.vote, back.prev_log_id), (request.vote, request.prev_log_id));
        assert_eq!((back.entries, back.leader_commit), (request.entries, None));
    }

    #[test]
    fn answers_come_back() {
        let higher = vote(9, 2, false);
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(None),
            AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(higher),
        ] {
            assert_eq!(append_reply_of(to_append_reply(&response)).unwrap(), response);
        }
        for result in [
            Ok(None),
            Ok(Some(log_id(1, 2))),
            Err(StreamAppendError::Conflict(log_id(1, 2))),
            Err(StreamAppendError::HigherVote(higher)),
        ] {
            assert_eq!(stream_reply_of(to_stream_reply(&result)).unwrap(), result);
        }
        let request = TransferLeaderRequest::<Types>::new(vote(3, 1, true), 2, Some(log_id(3, 7)));
        let (expected, actual) = (*request.from_leader(), vote(4, 2, false));
        for response in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected, actual }),
            Err(TransferLeaderError::LogNotFlushed { expected: Some(log_id(3, 7)), actual: None }),
        ] {
            assert_eq!(transfer_reply_of(&request, to_transfer_reply(&response)).unwrap(), response);
        }
        assert_eq!(transfer_of(to_transfer(&request)).unwrap(), request);
    }

    #[test]
    fn votes_come_back_with_the_transfer_flag() {
        let mut request = VoteRequest::<Types>::new(vote(3, 1, false), Some(log_id(2, 2)));
        request.leadership_transfer = true;
        assert_eq!(vote_request_of(to_vote_request(&request)).unwrap(), request);
        let response = VoteResponse::<Types>::new(vote(3, 1, false), None, true);
        assert_eq!(vote_reply_of(to_vote_reply(&response)).unwrap(), response);
    }

    #[test]
    fn digests_come_back_the_newest_of_many() {
        let many: Vec<_> =
            (0..100).map(|index| Checkpoint { index, digest: u128::MAX - u128::from(index) }).collect();
        assert_eq!(digests_of(to_digests(&many)).unwrap(), many[100 - CHECKPOINTS_KEPT..]);
        assert_eq!(digests_of(to_digests(&many[..2])).unwrap(), many[..2]);
    }

    #[test]
    fn trap_9_missing_fields_are_refused() {
        assert!(append_of(pb::AppendRequest::default()).is_err());
        let entry = pb::Entry { id: None, kind: pb::EntryKind::Blank.into(), data: Bytes::new() };
        let append = pb::AppendRequest { vote: Some(to_vote(&vote(1, 1, true))), ..Default::default() };
        assert!(append_of(pb::AppendRequest { entries: vec![entry], ..append.clone() }).is_err());
        assert!(append_of(append).is_ok());
        assert!(vote_request_of(pb::VoteRequest::default()).is_err());
        assert!(vote_reply_of(pb::VoteReply::default()).is_err());
        assert!(transfer_of(pb::TransferRequest::default()).is_err());
        assert!(append_reply_of(pb::AppendReply::default()).is_err());
        assert!(stream_reply_of(pb::AppendReply::default()).is_err());
        assert!(digests_of(pb::Digests { digests: vec![pb::StateDigest::default()] }).is_err());
        assert!(level_of(pb::KnownLevelReply::default()).is_err());
    }
}
