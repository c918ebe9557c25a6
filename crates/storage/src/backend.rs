//! What the log needs from a disk: seven methods, two implementations.
//!
//! [`SledLog`](crate::SledLog) is the one to run; [`SegmentLog`](crate::SegmentLog) is its oracle in tests and a choice
//! for those who prefer plain files. Both are used from the storage thread only, so nothing here is asynchronous.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{DiskError, SegmentLog, SledLog};

/// One encoded entry and its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Log index.
    pub index: u64,
    /// The entry as [`encode_entry`](crate::codec::encode_entry) made it.
    pub bytes: Bytes,
}

/// A small value kept beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetaKey {
    /// The vote: without it a restarted node could vote twice in a term.
    Vote = 1,
    /// The last log id known to be committed: a restart applies up to it at once.
    Committed = 2,
    /// The last purged log id: its term is needed to answer for the entry before the first.
    Purged = 3,
}

impl MetaKey {
    /// Every key.
    pub const ALL: [Self; 3] = [Self::Vote, Self::Committed, Self::Purged];
}

/// Everything that a backend holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Entries above the purge floor, by index, without gaps.
    pub records: Vec<Record>,
    /// The small values.
    pub meta: BTreeMap<MetaKey, Bytes>,
}

/// A log on disk. Operations take effect in the order of the calls; they are durable after the next [`sync`], and a
/// crash before it keeps a prefix of them.
///
/// [`sync`]: LogBackend::sync
pub trait LogBackend: Send + 'static {
    /// Reads everything. Called once, first.
    fn load(&mut self) -> Result<Loaded, DiskError>;
    /// Appends entries with consecutive indexes, the first one after the last entry held.
    fn append(&mut self, records: &[Record]) -> Result<(), DiskError>;
    /// Removes the entries from index `from` on.
    fn truncate(&mut self, from: u64) -> Result<(), DiskError>;
    /// Forgets the entries up to and including `upto`; the space is freed by [`housekeep`](LogBackend::housekeep).
    fn purge(&mut self, upto: u64) -> Result<(), DiskError>;
    /// Stores a small value.
    fn put_meta(&mut self, key: MetaKey, value: &[u8]) -> Result<(), DiskError>;
    /// Makes everything so far survive a crash of the host.
    fn sync(&mut self) -> Result<(), DiskError>;
    /// Frees a bounded slice of what was purged; whether there is more.
    fn housekeep(&mut self) -> Result<bool, DiskError>;
}

/// Which implementation keeps the log. A data directory keeps the one that it was created with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// sled, many entries per key.
    #[default]
    Sled,
    /// Append-only segment files.
    Segments,
}

impl Backend {
    /// Opens the log in `path`, a directory of its own.
    pub fn open(self, path: &Path) -> Result<Box<dyn LogBackend>, DiskError> {
        Ok(match self {
            Self::Sled => Box::new(SledLog::open(path)?),
            Self::Segments => Box::new(SegmentLog::open(path)?),
        })
    }
}
