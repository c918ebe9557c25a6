//! The form of a log entry that carries commands.

use bytes::Bytes;
use mesarch_proto::raft as pb;
use mesarch_storage::Payload;
use prost::Message;

use crate::machine::{Corrupt, Stamp};

/// Which process of which node proposed an entry: a node that restarts has other waiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node.
    pub node: u64,
    /// Drawn when its process started.
    pub epoch: [u8; 16],
}

/// A log entry that carries commands, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who proposed it.
    pub origin: Origin,
    /// Sequence number of the first command; the others follow without gaps.
    pub first: u64,
    /// When it was proposed.
    pub stamp: Stamp,
    /// At least one, each as the machine encoded it.
    pub commands: Vec<Bytes>,
}

impl Envelope {
    pub(crate) fn encode(self) -> Payload {
        let message = pb::Envelope {
            proposer: self.origin.node,
            epoch: Bytes::copy_from_slice(&self.origin.epoch),
            first_sequence: self.first,
            cluster_ms: self.stamp.cluster_ms,
            wall_ms: self.stamp.wall_ms,
            commands: self.commands,
        };
        Payload(message.encode_to_vec().into())
    }

    /// Decodes an entry of the log; protobuf alone would accept an empty one.
    ///
    /// # Errors
    /// The bytes are no entry that a proposer made.
    pub fn decode(payload: Payload) -> Result<Self, Corrupt> {
        let message = pb::Envelope::decode(payload.0).map_err(|error| Corrupt::new(error.to_string()))?;
        let epoch = <[u8; 16]>::try_from(&message.epoch[..]);
        let epoch = epoch.map_err(|_| Corrupt::new("the epoch of an entry is not 16 bytes long"))?;
        if message.commands.is_empty() {
            return Err(Corrupt::new("an entry without commands"));
        }
        Ok(Self {
            origin: Origin { node: message.proposer, epoch },
            first: message.first_sequence,
            stamp: Stamp { cluster_ms: message.cluster_ms, wall_ms: message.wall_ms },
            commands: message.commands,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_comes_back_and_an_incomplete_one_is_corrupt() {
        let envelope = Envelope {
            origin: Origin { node: 3, epoch: [9; 16] },
            first: 77,
            stamp: Stamp { cluster_ms: 5, wall_ms: 6 },
            commands: vec![Bytes::from_static(b"one"), Bytes::new()],
        };
        assert_eq!(Envelope::decode(envelope.clone().encode()).unwrap(), envelope);
        assert!(Envelope::decode(Payload(Bytes::new())).is_err());
        assert!(Envelope::decode(Payload(Bytes::from_static(&[0xff]))).is_err());
        assert!(Envelope::decode(Envelope { commands: vec![], ..envelope }.encode()).is_err());
    }
}
