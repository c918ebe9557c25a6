//! The data directory of a master that does not run, read without changing it: for those who look back at an incident.
//!
//! The directory's lock is held for reading meanwhile, so that no master starts in it. Segment files and snapshots are
//! read where they stand; sled cannot open a database without writing to it, so its files are copied and the copy is
//! opened. Nothing is repaired: what is damaged is told, and what is whole is given.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::backend::{MetaKey, Record};
use crate::codec::{CodecError, decode_entry, decode_log_id};
use crate::data_dir::read_identity;
use crate::disk::OnDisk;
use crate::types::{Entry, LogId};
use crate::{Backend, DiskError, Identity, SledLog, SnapshotFile, segment_log, sled_log};

/// Why a data directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum StoppedDirError {
    /// Nothing in it says that it belongs to a master.
    #[error("{}: not the data directory of a master: no file \"identity\" in it", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A master uses it.
    #[error("{}: a master uses this data directory; stop that master first, the others go on without it", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file in it failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The data directory of a master that does not run.
#[derive(Debug)]
pub struct StoppedDir {
    path: PathBuf,
    identity: Identity,
    /// Held until this is dropped. A copied directory may have none.
    _lock: Option<File>,
}

impl StoppedDir {
    /// Opens the directory for reading. Blocks.
    ///
    /// # Errors
    /// It is no data directory, a master uses it, or its identity is damaged.
    pub fn open(path: &Path) -> Result<Self, StoppedDirError> {
        let lock = lock_for_reading(path)?;
        let identity = read_identity(path)?;
        let identity = identity.ok_or_else(|| StoppedDirError::Foreign { path: path.to_path_buf() })?;
        Ok(Self { path: path.to_path_buf(), identity, _lock: lock })
    }

    /// Who it belongs to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The log's entries from `from` on. `scratch` is an empty directory for a copy of what cannot be read in place; it
    /// has to outlive the log. Blocks, as does every step of the result.
    ///
    /// # Errors
    /// The log cannot be opened at all. What is damaged in it comes as an item.
    pub fn log(&self, from: u64, scratch: &Path) -> Result<StoredLog, DiskError> {
        let folder = self.path.join("log");
        match self.identity.backend {
            Backend::Sled => {
                copy_files(&folder, scratch)?;
                let opened = SledLog::open(scratch).map_err(|error| error.moved(scratch, &folder))?;
                let scan = sled_log::Scan::new(opened, &folder, from)?;
                StoredLog::new(&folder, scan.meta().clone(), from, Box::new(scan))
            }
            Backend::Segments => {
                let scan = segment_log::Scan::new(&folder, from)?;
                StoredLog::new(&folder, scan.meta().clone(), from, Box::new(scan))
            }
        }
    }

    /// All snapshot files, oldest first; one that is damaged as its error. Checks every byte of each. Blocks.
    pub fn snapshots(&self) -> Result<Vec<Result<SnapshotFile, DiskError>>, DiskError> {
        let folder = self.path.join("snapshots");
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).on(&folder, "list")? {
            let path = entry.on(&folder, "list")?.path();
            if path.extension().is_some_and(|extension| extension == "snapshot") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths.iter().map(|path| SnapshotFile::read(path)).collect())
    }
}

/// The log of a stopped master. Items are its entries in order; what is damaged or missing in between is an error, after
/// which the rest follows as far as it can be found.
pub struct StoredLog {
    path: PathBuf,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// The next index, once it is known.
    expected: Option<u64>,
    /// An entry that waits behind the error about those that are missing before it.
    ready: Option<Entry>,
    records: Box<dyn Iterator<Item = Result<Record, DiskError>> + Send>,
}

impl StoredLog {
    fn new(
        path: &Path,
        meta: std::collections::BTreeMap<MetaKey, bytes::Bytes>,
        from: u64,
        records: Box<dyn Iterator<Item = Result<Record, DiskError>> + Send>,
    ) -> Result<Self, DiskError> {
        let wrong = |error: CodecError| DiskError::corrupt(path, error.to_string());
        let read = |key| meta.get(&key).map_or(Ok(None), |value| decode_log_id(value)).map_err(wrong);
        let (purged, committed) = (read(MetaKey::Purged)?, read(MetaKey::Committed)?);
        let first = purged.map_or(0, |purged| purged.index + 1);
        let expected = Some(first.max(from));
        Ok(Self { path: path.to_path_buf(), purged, committed, expected, ready: None, records })
    }

    /// The newest entry that is in a snapshot and not in the log any more, if any is.
    pub fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// The newest entry that this master knew to be committed. Later ones may be, or may have given way to others.
    pub fn committed(&self) -> Option<LogId> {
        self.committed
    }

    fn corrupt(&self, what: String) -> DiskError {
        DiskError::corrupt(&self.path, what)
    }

    fn take(&mut self, record: &Record) -> Result<Option<Entry>, DiskError> {
        let expected = self.expected.unwrap_or(record.index);
        if record.index < expected {
            // Purged, and not yet deleted; or before the part that was asked for.
            return Ok(None);
        }
        self.expected = Some(record.index + 1);
        let entry = decode_entry(&record.bytes)
            .map_err(|error| self.corrupt(format!("entry {}: {error}", record.index)))?;
        let index = entry.log_id.index;
        if index != record.index {
            return Err(self.corrupt(format!("entry {index} stands where entry {} belongs", record.index)));
        }
        if index > expected {
            self.ready = Some(entry);
            return Err(self.corrupt(format!("entries {expected} to {} are missing", index - 1)));
        }
        Ok(Some(entry))
    }
}

impl Iterator for StoredLog {
    type Item = Result<Entry, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.ready.take() {
            return Some(Ok(entry));
        }
        loop {
            match self.records.next()?.and_then(|record| self.take(&record)) {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Shared with other readers. Opened without writing, so that a directory on a read-only disk can be read.
fn lock_for_reading(path: &Path) -> Result<Option<File>, StoppedDirError> {
    let lock_path = path.join("lock");
    let file = match File::open(&lock_path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DiskError::io(&lock_path, "open", error).into()),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoppedDirError::InUse { path: path.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(DiskError::io(&lock_path, "lock", source).into()),
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), DiskError> {
    for entry in fs::read_dir(from).on(from, "list")? {
        let entry = entry.on(from, "list")?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().on(&source, "inspect")?.is_dir() {
            fs::create_dir(&target).on(&target, "create the directory")?;
            copy_files(&source, &target)?;
        } else {
            fs::copy(&source, &target).map(drop).on(&source, "copy")?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "stopped_test.rs"]
mod tests;
