//! The data directory of a cluster that begins from a state: from a backup, or from what one master has left.
//!
//! The new directory holds a snapshot of the state and an empty log behind it, whose only voter is the node that it is for.
//! The identity is written last: what was not finished is no data directory, and no master starts in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mesarch_types::{ClusterId, NodeId};

use crate::backend::MetaKey;
use crate::codec::{encode_log_id, encode_vote};
use crate::data_dir::{FOLDERS, write_identity};
use crate::disk::{OnDisk, create_dir, sync_dir};
use crate::types::{LogId, Membership, SnapshotMeta, StoredMembership, log_id, vote};
use crate::{Backend, DiskError, Identity, NodeInfo, SnapshotStore};

/// The log of the new cluster goes on so many entries behind the last one that is known. What the old cluster decided after
/// that one is forgotten, but agents remember it: no entry, and no launch, may bear the same number again. 2^40 are ten
/// years at 3,000 entries a second, and leave room for 8,000 such beginnings in a number that JSON can hold.
pub const ENTRIES_SKIPPED: u64 = 1 << 40;

/// Why a directory was not made.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Something is there.
    #[error("{}: not empty; name a directory that is, or that does not exist yet", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file in it failed. What is there by then is to be removed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The members make no sense to Raft.
    #[error("Raft refuses the member: {0}")]
    Member(String),
}

/// What the new cluster begins with.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its only voter.
    pub node: NodeId,
    /// Where that is reached.
    pub info: NodeInfo,
    /// The cluster, which goes on: agents belong to it.
    pub cluster: ClusterId,
    /// Higher than any before: what is left of the old cluster is not listened to any more.
    pub incarnation: u64,
    /// Term and index of the entry after which the state stands.
    pub last: LogId,
}

/// Makes the data directory of the first master of a cluster that goes on from the state that `encode` writes; returns the
/// log index that it stands for now. Blocks.
///
/// # Errors
/// The directory is not empty, or cannot be written.
pub fn plant(
    path: &Path,
    seed: &Seed,
    encode: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<u64, SeedError> {
    create_dir(path)?;
    if fs::read_dir(path).on(path, "list")?.next().is_some() {
        return Err(SeedError::NotEmpty { path: path.to_path_buf() });
    }
    for folder in FOLDERS {
        create_dir(&path.join(folder))?;
    }
    let last = log_id(seed.last.leader_id.term, seed.last.index + ENTRIES_SKIPPED);
    let nodes = BTreeMap::from([(seed.node.0, seed.info.clone())]);
    let members = Membership::new(vec![BTreeSet::from([seed.node.0])], nodes);
    let members = members.map_err(|error| SeedError::Member(error.to_string()))?;
    let meta =
        SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::new(Some(last), members) };
    SnapshotStore::open(&path.join("snapshots"))?.write(&meta, encode)?;
    write_log(&path.join("log"), seed.node, &last)?;
    let mut identity = Identity::blank(seed.node, Backend::default());
    identity.cluster = Some(seed.cluster);
    identity.incarnation = seed.incarnation;
    write_identity(path, &identity)?;
    sync_dir(path)?;
    Ok(last.index)
}

/// A log of which all entries up to `last` were purged, and the vote of a node that has seen its term.
fn write_log(path: &Path, node: NodeId, last: &LogId) -> Result<(), DiskError> {
    let mut log = Backend::default().open(path)?;
    log.load()?;
    let seen = vote(last.leader_id.term, node.0, false);
    log.put_meta(MetaKey::Vote, &encode_vote(&seen))?;
    log.put_meta(MetaKey::Committed, &encode_log_id(last))?;
    log.put_meta(MetaKey::Purged, &encode_log_id(last))?;
    log.purge(last.index)?;
    log.sync()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::data_dir::DataDir;
    use crate::log::open_in;
    use crate::{Fatal, StoppedDir};

    fn seed() -> Seed {
        let info = NodeInfo { raft: "m4:5052".into(), client: "m4:5050".into() };
        let (cluster, last) = (ClusterId([7; 16]), log_id(5, 100));
        Seed { node: NodeId(4), info, cluster, incarnation: 3, last }
    }

    #[tokio::test]
    async fn a_directory_holds_the_state_behind_a_gap_and_one_voter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let index = plant(&path, &seed(), |out| out.write_all(b"state")).unwrap();
        assert_eq!(index, 100 + ENTRIES_SKIPPED);
        let dir = DataDir::open(&path, NodeId(4), Backend::default()).unwrap();
        let identity = dir.identity();
        assert_eq!((identity.cluster, identity.incarnation), (Some(ClusterId([7; 16])), 3));
        assert_eq!(identity.bootstrap, None);
        let newest = SnapshotStore::open(&dir.snapshot_folder()).unwrap().newest().unwrap();
        let mut state = String::new();
        newest.state().unwrap().read_to_string(&mut state).unwrap();
        assert_eq!(state, "state");
        let members = newest.meta().last_membership.membership();
        assert_eq!(members.voter_ids().collect::<Vec<_>>(), [4]);
        let log = open_in(dir.log_folder(), Backend::default(), Fatal::default()).unwrap();
        assert_eq!(log.purged(), Some(log_id(5, index)));
        assert!(!log.is_blank());
        log.close().await.unwrap();
        dir.release();
        assert_eq!(StoppedDir::open(&path).unwrap().snapshots().unwrap().len(), 1);
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter"), "dear diary").unwrap();
        let refused = plant(folder.path(), &seed(), |_| Ok(())).unwrap_err();
        assert!(matches!(refused, SeedError::NotEmpty { .. }), "{refused}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_was_not_finished_is_not_one() {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path(), &seed(), |_| Err(io::Error::other("the disk is gone"))).unwrap_err();
        fs::write(folder.path().join("snapshots/left"), "").unwrap();
        assert!(DataDir::open(folder.path(), NodeId(4), Backend::default()).is_err());
    }
}
