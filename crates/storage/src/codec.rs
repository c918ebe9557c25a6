//! The form in which entries, votes and positions are stored. Fixed layouts; the backend adds checksums and versions.

use bytes::Bytes;
use openraft::EntryPayload;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::{Entry, LogId, Payload, Vote, log_id, vote};

/// Bytes before an entry's data: term, index, kind.
pub const ENTRY_HEAD_BYTES: usize = 17;

/// What is stored is not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored {0} does not decode")]
pub struct CodecError(pub &'static str);

/// What an entry is; the numbers are stored and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A new leader's first entry.
    Blank = 1,
    /// Commands, opaque here.
    Commands = 2,
    /// The members.
    Membership = 3,
}

impl TryFrom<u8> for EntryKind {
    type Error = CodecError;

    fn try_from(kind: u8) -> Result<Self, CodecError> {
        match kind {
            1 => Ok(Self::Blank),
            2 => Ok(Self::Commands),
            3 => Ok(Self::Membership),
            _ => Err(CodecError("entry kind")),
        }
    }
}

/// Splits an entry's payload into its kind and its bytes; no copy for commands.
pub fn payload_parts(payload: &EntryPayload<Payload, u64, crate::NodeInfo>) -> (EntryKind, Bytes) {
    match payload {
        EntryPayload::Blank => (EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(Payload(bytes)) => (EntryKind::Commands, bytes.clone()),
        EntryPayload::Membership(members) => (EntryKind::Membership, to_bytes(members).into()),
    }
}

/// Makes an entry of its parts.
pub fn entry_of(id: LogId, kind: EntryKind, data: Bytes) -> Result<Entry, CodecError> {
    let payload = match kind {
        EntryKind::Blank => EntryPayload::Blank,
        EntryKind::Commands => EntryPayload::Normal(Payload(data)),
        EntryKind::Membership => EntryPayload::Membership(from_bytes(&data, "membership")?),
    };
    Ok(Entry { log_id: id, payload })
}

/// Encodes an entry for the log: term, index (little endian), kind, data.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    let (kind, data) = payload_parts(&entry.payload);
    let mut bytes = Vec::with_capacity(ENTRY_HEAD_BYTES + data.len());
    bytes.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
    bytes.extend_from_slice(&entry.log_id.index.to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&data);
    bytes
}

/// Decodes what [`encode_entry`] made; the data is a slice of `bytes`.
pub fn decode_entry(bytes: &Bytes) -> Result<Entry, CodecError> {
    let term = take_u64(bytes, 0)?;
    let index = take_u64(bytes, 8)?;
    let kind = EntryKind::try_from(*bytes.get(16).ok_or(CodecError("entry"))?)?;
    entry_of(log_id(term, index), kind, bytes.slice(ENTRY_HEAD_BYTES..))
}

/// Bytes that an entry occupies in memory and, about, on disk.
pub fn entry_bytes(entry: &Entry) -> u64 {
    let data = match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(Payload(bytes)) => bytes.len(),
        // Members are few; what matters is that a membership entry is not free.
        EntryPayload::Membership(_) => 256,
    };
    (ENTRY_HEAD_BYTES + data) as u64
}

/// Encodes a vote: term, node, committed.
pub fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut bytes = vote.leader_id.term.to_le_bytes().to_vec();
    bytes.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    bytes.push(u8::from(vote.committed));
    bytes
}

/// Decodes what [`encode_vote`] made.
pub fn decode_vote(bytes: &[u8]) -> Result<Vote, CodecError> {
    match bytes {
        [.., committed @ (0 | 1)] if bytes.len() == 17 => {
            Ok(vote(take_u64(bytes, 0)?, take_u64(bytes, 8)?, *committed == 1))
        }
        _ => Err(CodecError("vote")),
    }
}

/// Encodes a log id: term, index.
pub fn encode_log_id(id: &LogId) -> Vec<u8> {
    let mut bytes = id.leader_id.term.to_le_bytes().to_vec();
    bytes.extend_from_slice(&id.index.to_le_bytes());
    bytes
}

/// Decodes what [`encode_log_id`] made; `None` from no bytes.
pub fn decode_log_id(bytes: &[u8]) -> Result<Option<LogId>, CodecError> {
    match bytes.len() {
        0 => Ok(None),
        16 => Ok(Some(log_id(take_u64(bytes, 0)?, take_u64(bytes, 8)?))),
        _ => Err(CodecError("log id")),
    }
}

/// Encodes plain data in the storage's own form.
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data with known lengths always encodes")
}

/// Decodes what [`to_bytes`] made; `what` names it in the error.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, CodecError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(CodecError(what)),
    }
}

fn take_u64(bytes: &[u8], at: usize) -> Result<u64, CodecError> {
    let slice = bytes.get(at..at + 8).ok_or(CodecError("number"))?;
    Ok(u64::from_le_bytes(slice.try_into().expect("the slice is eight bytes long")))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::NodeInfo;
    use crate::types::Membership;

    fn entries() -> Vec<Entry> {
        let info = NodeInfo { raft: "a:1".into(), client: "a:2".into() };
        let members = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, info)])).unwrap();
        vec![
            Entry { log_id: log_id(1, 0), payload: EntryPayload::Membership(members) },
            Entry { log_id: log_id(2, 1), payload: EntryPayload::Blank },
            Entry {
                log_id: log_id(u64::MAX, u64::MAX),
                payload: EntryPayload::Normal(Payload(Bytes::from_static(b"commands"))),
            },
        ]
    }

    #[test]
    fn every_kind_of_entry_comes_back() {
        for entry in entries() {
            assert_eq!(decode_entry(&encode_entry(&entry).into()).unwrap(), entry);
        }
    }

    #[test]
    fn cut_or_unknown_entries_are_refused() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            for cut in 0..ENTRY_HEAD_BYTES {
                assert!(decode_entry(&Bytes::copy_from_slice(&bytes[..cut])).is_err());
            }
            let mut unknown = bytes;
            unknown[16] = 9;
            assert!(decode_entry(&unknown.into()).is_err());
        }
    }

    #[test]
    fn votes_and_log_ids_come_back() {
        for case in [vote(3, 7, true), vote(0, 0, false)] {
            assert_eq!(decode_vote(&encode_vote(&case)).unwrap(), case);
        }
        assert!(decode_vote(&[0; 16]).is_err());
        assert!(decode_vote(&[2; 17]).is_err());
        assert_eq!(decode_log_id(&encode_log_id(&log_id(4, 9))).unwrap(), Some(log_id(4, 9)));
        assert_eq!(decode_log_id(&[]).unwrap(), None);
        assert!(decode_log_id(&[1]).is_err());
    }
}
