//! The data directory of a master: one node, one cluster, one process.
//!
//! ```text
//! identity    who it belongs to (see Identity)
//! damage      there only if the state was found to differ from the others' (see Damage)
//! removed     there only if the node was removed from its cluster (see Removal)
//! lock        held by the process that uses it
//! log/        the Raft log and vote
//! snapshots/  snapshot files
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesarch_types::{ClusterId, NodeId};

use crate::damage::Damage;
use crate::disk::{OnDisk, create_dir, replace, sync_dir};
use crate::identity::{DiskId, Identity};
use crate::removal::Removal;
use crate::{Backend, DiskError, NodeInfo};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It is not empty, and nothing of this program is in it.
    #[error("{}: holds other files and no identity; give an empty directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error("{}: another process uses this data directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another node.
    #[error("{}: belongs to node {found}, not to node {wanted}", path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node in its identity.
        found: NodeId,
        /// The node that was started.
        wanted: NodeId,
    },
    /// Its log is stored another way.
    #[error("{}: was created with the log in {found:?}, not in {wanted:?}", path.display())]
    OtherBackend {
        /// The directory.
        path: PathBuf,
        /// The way it is stored.
        found: Backend,
        /// The way that was asked for.
        wanted: Backend,
    },
    /// It was bootstrapped or has joined a cluster; a cluster is bootstrapped once.
    #[error("{}: belongs to cluster {cluster} already; start it without bootstrapping", path.display())]
    AlreadyBootstrapped {
        /// The directory.
        path: PathBuf,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// A bootstrap with other members was begun in it and did not finish.
    #[error("{}: a bootstrap with other members was begun; start it without bootstrapping to finish it", path.display())]
    OtherBootstrap {
        /// The directory.
        path: PathBuf,
    },
    /// A file in it failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Most peers whose disk is remembered; a cluster replaces a master now and then, not hundreds of times.
const PEERS_MAX: usize = 1024;

/// An open, locked data directory.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Mutex<Identity>,
    /// The lock lasts until it is released or the file is closed.
    lock: File,
}

impl DataDir {
    /// Opens the directory of `node`, or creates it. Blocks.
    pub fn open(path: &Path, node: NodeId, backend: Backend) -> Result<Self, DataDirError> {
        create_dir(path)?;
        // Nothing is changed in a directory that is not ours, or that another process uses.
        refuse_foreign(path)?;
        let lock = lock(path)?;
        remove_unfinished(path)?;
        let identity = match read_identity(path)? {
            Some(identity) => {
                require_folder(&path.join("log"))?;
                identity
            }
            None => create(path, node, backend)?,
        };
        let path = path.to_path_buf();
        if identity.node != node {
            return Err(DataDirError::OtherNode { path, found: identity.node, wanted: node });
        }
        if identity.backend != backend {
            return Err(DataDirError::OtherBackend { path, found: identity.backend, wanted: backend });
        }
        Ok(Self { path, identity: Mutex::new(identity), lock })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory free for the next process, once nothing is written to it any more.
    pub fn release(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "cannot unlock the data directory");
        }
    }

    /// Where the log lives.
    pub fn log_folder(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where snapshots live.
    pub fn snapshot_folder(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Who it belongs to.
    pub fn identity(&self) -> Identity {
        self.lock_identity().clone()
    }

    /// Begins the bootstrap of a cluster of `members`: draws its id and stores both before the log is touched, so that
    /// a crash in between is finished by the next start. Blocks.
    pub fn begin_bootstrap(&self, members: &BTreeMap<u64, NodeInfo>) -> Result<ClusterId, DataDirError> {
        let mut identity = self.lock_identity();
        let path = || self.path.clone();
        match (identity.cluster, &identity.bootstrap) {
            (Some(cluster), None) => Err(DataDirError::AlreadyBootstrapped { path: path(), cluster }),
            (Some(cluster), Some(begun)) if begun == members => Ok(cluster),
            (Some(_), Some(_)) => Err(DataDirError::OtherBootstrap { path: path() }),
            (None, _) => {
                let cluster = ClusterId(uuid::Uuid::new_v4().into_bytes());
                self.change(&mut identity, |identity| {
                    identity.cluster = Some(cluster);
                    identity.incarnation = 1;
                    identity.bootstrap = Some(members.clone());
                })?;
                Ok(cluster)
            }
        }
    }

    /// Notes that the bootstrap reached the log. Blocks.
    pub fn finish_bootstrap(&self) -> Result<(), DiskError> {
        self.change(&mut self.lock_identity(), |identity| identity.bootstrap = None)
    }

    /// Joins the cluster that named this node first. Returns the cluster and incarnation that it belongs to now, which
    /// are others if it had joined before. Blocks.
    pub fn adopt(&self, cluster: ClusterId, incarnation: u64) -> Result<(ClusterId, u64), DiskError> {
        let mut identity = self.lock_identity();
        if let Some(cluster) = identity.cluster {
            return Ok((cluster, identity.incarnation));
        }
        self.change(&mut identity, |identity| {
            identity.cluster = Some(cluster);
            identity.incarnation = incarnation;
        })?;
        Ok((cluster, incarnation))
    }

    /// Remembers on which disk `peer` lives. Returns the disk known for it, which is another one if the peer came back
    /// with an empty disk. Blocks the first time.
    pub fn know_peer(&self, peer: NodeId, disk: DiskId) -> Result<DiskId, DiskError> {
        let mut identity = self.lock_identity();
        if let Some(known) = identity.peers.get(&peer.0) {
            return Ok(*known);
        }
        if identity.peers.len() >= PEERS_MAX {
            return Ok(disk);
        }
        self.change(&mut identity, |identity| {
            identity.peers.insert(peer.0, disk);
        })?;
        Ok(disk)
    }

    /// Keeps what was found out about this node's state, for its next start. Blocks.
    pub fn record_damage(&self, damage: &Damage) -> Result<(), DiskError> {
        replace(&self.damage_file(), &damage.encode())
    }

    /// What an earlier process found out about its state. Blocks.
    pub fn damage(&self) -> Result<Option<Damage>, DiskError> {
        let path = self.damage_file();
        read(&path)?.map(|bytes| Damage::decode(&path, &bytes)).transpose()
    }

    /// Forgets it: what is on disk does not hold the damage. Blocks.
    pub fn clear_damage(&self) -> Result<(), DiskError> {
        let path = self.damage_file();
        fs::remove_file(&path).on(&path, "remove")?;
        sync_dir(&self.path)
    }

    /// Keeps for the next start that the node was removed from its cluster. Blocks.
    pub fn record_removal(&self, removal: Removal) -> Result<(), DiskError> {
        replace(&self.removal_file(), &removal.encode())
    }

    /// Whether, and by what, the node was removed from its cluster. Blocks.
    pub fn removal(&self) -> Result<Option<Removal>, DiskError> {
        let path = self.removal_file();
        read(&path)?.map(|bytes| Removal::decode(&path, &bytes)).transpose()
    }

    fn removal_file(&self) -> PathBuf {
        self.path.join("removed")
    }

    fn damage_file(&self) -> PathBuf {
        self.path.join("damage")
    }

    fn lock_identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the identity on disk first, in memory after.
    fn change(&self, identity: &mut Identity, change: impl FnOnce(&mut Identity)) -> Result<(), DiskError> {
        let mut changed = identity.clone();
        change(&mut changed);
        replace(&self.path.join("identity"), &changed.encode())?;
        *identity = changed;
        Ok(())
    }
}

/// A directory that was never ours must not become ours by accident.
fn refuse_foreign(path: &Path) -> Result<(), DataDirError> {
    if path.join("identity").try_exists().on(path, "inspect")? {
        return Ok(());
    }
    for entry in fs::read_dir(path).on(path, "list")? {
        let entry = entry.on(path, "list")?;
        let name = entry.file_name();
        let file = name == "lock" || name == "identity.tmp";
        // A folder of ours is empty as long as there is no identity.
        let folder = || FOLDERS.iter().any(|folder| name == **folder) && is_empty_folder(&entry.path());
        if !file && !folder() {
            return Err(DataDirError::Foreign { path: path.to_path_buf() });
        }
    }
    Ok(())
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Folders of a directory that got no identity. They are looked at again, by their removal, now that nobody else makes
/// them; they are made anew.
fn remove_unfinished(path: &Path) -> Result<(), DataDirError> {
    if path.join("identity").try_exists().on(path, "inspect")? {
        return Ok(());
    }
    for folder in FOLDERS {
        match fs::remove_dir(path.join(folder)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return Err(DataDirError::Foreign { path: path.to_path_buf() }),
        }
    }
    Ok(())
}

pub(crate) const FOLDERS: [&str; 2] = ["log", "snapshots"];

/// Makes the folders first and the identity last, so that an identity without a log means that the log was lost.
fn create(path: &Path, node: NodeId, backend: Backend) -> Result<Identity, DiskError> {
    for folder in FOLDERS {
        create_dir(&path.join(folder))?;
    }
    let identity = Identity::blank(node, backend);
    write_identity(path, &identity)?;
    Ok(identity)
}

pub(crate) fn write_identity(path: &Path, identity: &Identity) -> Result<(), DiskError> {
    replace(&path.join("identity"), &identity.encode())
}

/// A node that forgot its vote and log must not go on under its old id.
fn require_folder(path: &Path) -> Result<(), DiskError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(DiskError::corrupt(path, "it is not a folder")),
        Err(_) => {
            Err(DiskError::corrupt(path, "the log is missing; give the node a new id and an empty directory"))
        }
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let lock_path = path.join("lock");
    let file = File::create(&lock_path).on(&lock_path, "create")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::Locked { path: path.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(DiskError::io(&lock_path, "lock", source).into()),
    }
}

pub(crate) fn read_identity(path: &Path) -> Result<Option<Identity>, DiskError> {
    let path = path.join("identity");
    read(&path)?.map(|bytes| Identity::decode(&path, &bytes)).transpose()
}

/// None if there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::io(path, "read", error)),
    }
}

#[cfg(test)]
#[path = "data_dir_test.rs"]
mod tests;
