//! Who a data directory belongs to: the `identity` file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use mesarch_types::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

use crate::codec::{from_bytes, to_bytes};
use crate::disk::{seal, unseal};
use crate::{Backend, DiskError, NodeInfo};

const MAGIC: [u8; 8] = *b"MSRHNODE";
const VERSION: u32 = 1;

/// Names a data directory: drawn when it is created, so that a node id that comes back with an empty disk is noticed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiskId(pub [u8; 16]);

impl DiskId {
    /// Draws a new one.
    pub fn draw() -> Self {
        Self(uuid::Uuid::new_v4().into_bytes())
    }
}

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", uuid::Uuid::from_bytes(self.0))
    }
}

/// What the `identity` file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node that the directory belongs to; another one must not use its vote.
    pub node: NodeId,
    /// How the log is stored; the other implementation would see an empty log.
    pub backend: Backend,
    /// Drawn at creation.
    pub disk: DiskId,
    /// The cluster, once the node has joined one.
    pub cluster: Option<ClusterId>,
    /// Raised by restore and recovery; 0 while there is no cluster.
    pub incarnation: u64,
    /// The members of a bootstrap that was begun and may not have reached the log.
    pub bootstrap: Option<BTreeMap<u64, NodeInfo>>,
    /// On which disk each peer was seen first; a node id lives on one disk only.
    pub peers: BTreeMap<u64, DiskId>,
}

/// The stored form, version 1.
#[derive(Serialize, Deserialize)]
struct Stored {
    node: u64,
    backend: Backend,
    disk: DiskId,
    cluster: Option<[u8; 16]>,
    incarnation: u64,
    bootstrap: Option<BTreeMap<u64, NodeInfo>>,
    peers: BTreeMap<u64, DiskId>,
}

impl Identity {
    /// A node without a cluster, on a disk drawn now.
    pub fn blank(node: NodeId, backend: Backend) -> Self {
        let disk = DiskId::draw();
        Self { node, backend, disk, cluster: None, incarnation: 0, bootstrap: None, peers: BTreeMap::new() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            node: self.node.0,
            backend: self.backend,
            disk: self.disk,
            cluster: self.cluster.map(|cluster| cluster.0),
            incarnation: self.incarnation,
            bootstrap: self.bootstrap.clone(),
            peers: self.peers.clone(),
        };
        seal(MAGIC, VERSION, &to_bytes(&stored))
    }

    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, DiskError> {
        let (_, body) = unseal(path, MAGIC, VERSION, bytes)?;
        let stored: Stored =
            from_bytes(body, "identity").map_err(|error| DiskError::corrupt(path, error.to_string()))?;
        Ok(Self {
            node: NodeId(stored.node),
            backend: stored.backend,
            disk: stored.disk,
            cluster: stored.cluster.map(ClusterId),
            incarnation: stored.incarnation,
            bootstrap: stored.bootstrap,
            peers: stored.peers,
        })
    }
}
