//! Who may talk to whom: the header that every request and reply carries.
//!
//! A message of another cluster or incarnation, or one that is meant for another node, is refused before its body is
//! looked at. So is a node id that comes back on another disk than the one it was first seen on: its votes and its
//! log are gone, and counting it as before could lose what was acknowledged.

use std::sync::Arc;

use mesarch_proto::raft as pb;
use mesarch_storage::{DataDir, DiskId};
use mesarch_types::{ClusterId, NodeId};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use crate::metrics::REFUSED_PEERS;

const KEY: &str = "mesarch-raft-bin";

/// Why a peer is not listened to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the message carries no valid header")]
    NoHeader,
    #[error("this node belongs to no cluster yet")]
    NoCluster,
    #[error("it speaks for cluster {theirs}, this node belongs to {ours}")]
    OtherCluster { theirs: ClusterId, ours: ClusterId },
    #[error("it speaks for incarnation {theirs} of the cluster, this node belongs to {ours}")]
    OtherIncarnation { theirs: u64, ours: u64 },
    #[error("it is meant for node {meant}, this is node {this}")]
    OtherNode { meant: u64, this: u64 },
    #[error("node {node} came back with another disk: it needs a new node id")]
    OtherDisk { node: u64 },
    #[error("the identity cannot be written: {0}")]
    Disk(String),
}

/// A checked header.
struct Claim {
    cluster: ClusterId,
    incarnation: u64,
    from: u64,
    to: u64,
    disk: DiskId,
}

/// Writes and checks headers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    dir: Arc<DataDir>,
}

impl Gate {
    pub(crate) fn new(dir: Arc<DataDir>) -> Self {
        Self { dir }
    }

    /// A request to `to`.
    pub(crate) fn request<T>(&self, to: u64, message: T) -> Result<Request<T>, Refusal> {
        let mut request = Request::new(message);
        self.write(to, request.metadata_mut())?;
        Ok(request)
    }

    /// A reply to `to`.
    pub(crate) fn reply<T>(&self, to: u64, message: T) -> Response<T> {
        let mut response = Response::new(message);
        // A node without a cluster answers nobody, so the header is always there.
        drop(self.write(to, response.metadata_mut()));
        response
    }

    /// Checks a request; who sent it. A node without a cluster joins the one that names it.
    pub(crate) async fn admit(&self, metadata: &MetadataMap) -> Result<u64, Status> {
        let claim = read(metadata);
        let gate = self.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let claim = claim?;
            gate.check_target(&claim)?;
            let adopted = gate.dir.adopt(claim.cluster, claim.incarnation);
            adopted.map_err(|error| Refusal::Disk(error.to_string()))?;
            gate.check_origin(&claim)?;
            Ok(claim.from)
        });
        let checked: Result<u64, Refusal> =
            checked.await.map_err(|error| Status::internal(error.to_string()))?;
        checked.map_err(|refusal| {
            note(&refusal);
            Status::failed_precondition(refusal.to_string())
        })
    }

    /// Checks the reply of `from`.
    pub(crate) async fn check_reply(&self, from: u64, metadata: &MetadataMap) -> Result<(), Refusal> {
        let claim = read(metadata);
        let gate = self.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let claim = claim?;
            if claim.from != from {
                return Err(Refusal::OtherNode { meant: from, this: claim.from });
            }
            gate.check_target(&claim)?;
            gate.check_origin(&claim)
        });
        let checked = checked.await.map_err(|error| Refusal::Disk(error.to_string()))?;
        checked.inspect_err(note)
    }

    fn write(&self, to: u64, metadata: &mut MetadataMap) -> Result<(), Refusal> {
        let identity = self.dir.identity();
        let cluster = identity.cluster.ok_or(Refusal::NoCluster)?;
        let header = pb::Header {
            cluster: cluster.0.to_vec().into(),
            incarnation: identity.incarnation,
            from: identity.node.0,
            to,
            disk: identity.disk.0.to_vec().into(),
        };
        metadata.insert_bin(KEY, MetadataValue::from_bytes(&header.encode_to_vec()));
        Ok(())
    }

    fn check_target(&self, claim: &Claim) -> Result<(), Refusal> {
        let this = self.dir.identity().node.0;
        if claim.to == this { Ok(()) } else { Err(Refusal::OtherNode { meant: claim.to, this }) }
    }

    fn check_origin(&self, claim: &Claim) -> Result<(), Refusal> {
        let identity = self.dir.identity();
        let ours = identity.cluster.ok_or(Refusal::NoCluster)?;
        if claim.cluster != ours {
            return Err(Refusal::OtherCluster { theirs: claim.cluster, ours });
        }
        if claim.incarnation != identity.incarnation {
            return Err(Refusal::OtherIncarnation { theirs: claim.incarnation, ours: identity.incarnation });
        }
        let known = self.dir.know_peer(NodeId(claim.from), claim.disk);
        let known = known.map_err(|error| Refusal::Disk(error.to_string()))?;
        if known == claim.disk { Ok(()) } else { Err(Refusal::OtherDisk { node: claim.from }) }
    }
}

fn read(metadata: &MetadataMap) -> Result<Claim, Refusal> {
    let bytes = metadata.get_bin(KEY).and_then(|value| value.to_bytes().ok()).ok_or(Refusal::NoHeader)?;
    let header = pb::Header::decode(bytes).map_err(|_| Refusal::NoHeader)?;
    let cluster = ClusterId::try_from(&header.cluster[..]).map_err(|_| Refusal::NoHeader)?;
    let disk = <[u8; 16]>::try_from(&header.disk[..]).map_err(|_| Refusal::NoHeader)?;
    let pb::Header { incarnation, from, to, .. } = header;
    Ok(Claim { cluster, incarnation, from, to, disk: DiskId(disk) })
}

fn note(refusal: &Refusal) {
    metrics::counter!(REFUSED_PEERS).increment(1);
    tracing::warn!(%refusal, "refused a master");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mesarch_storage::{Backend, NodeInfo};

    use super::*;

    struct Node {
        _folder: tempfile::TempDir,
        dir: Arc<DataDir>,
        gate: Gate,
    }

    fn node(id: u64) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let dir = Arc::new(DataDir::open(folder.path(), NodeId(id), Backend::Segments).unwrap());
        Node { _folder: folder, gate: Gate::new(dir.clone()), dir }
    }

    fn bootstrapped(id: u64) -> Node {
        let node = node(id);
        node.dir.begin_bootstrap(&BTreeMap::from([(id, NodeInfo::default())])).unwrap();
        node
    }

    async fn send(from: &Node, to: u64, at: &Node) -> Result<u64, Status> {
        at.gate.admit(from.gate.request(to, ()).unwrap().metadata()).await
    }

    #[tokio::test]
    async fn a_blank_node_joins_the_cluster_that_names_it_and_no_other() {
        let (ours, theirs, blank) = (bootstrapped(1), bootstrapped(3), node(2));
        assert!(blank.gate.request(1, ()).is_err(), "without a cluster it has nothing to say");
        assert!(send(&ours, 9, &blank).await.unwrap_err().message().contains("meant for node 9"));
        assert_eq!(blank.dir.identity().cluster, None);
        assert_eq!(send(&ours, 2, &blank).await.unwrap(), 1);
        assert_eq!(blank.dir.identity().cluster, ours.dir.identity().cluster);
        let refused = send(&theirs, 2, &blank).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert!(refused.message().contains("it speaks for cluster"));
        let bare = blank.gate.admit(&MetadataMap::new()).await.unwrap_err();
        assert_eq!(bare.code(), tonic::Code::FailedPrecondition);
    }

    #[tokio::test]
    async fn trap_10_a_node_id_that_comes_back_with_an_empty_disk_is_refused_both_ways() {
        let (leader, follower, replaced) = (bootstrapped(1), node(2), node(2));
        send(&leader, 2, &follower).await.unwrap();
        send(&leader, 2, &replaced).await.unwrap();
        let reply = |from: &Node| from.gate.reply(1, ()).metadata().clone();
        assert_eq!(leader.gate.check_reply(2, &reply(&follower)).await, Ok(()));
        assert_eq!(leader.gate.check_reply(2, &reply(&replaced)).await, Err(Refusal::OtherDisk { node: 2 }));
        assert!(send(&replaced, 1, &leader).await.unwrap_err().message().contains("needs a new node id"));
        assert_eq!(send(&follower, 1, &leader).await.unwrap(), 2);
    }
}
