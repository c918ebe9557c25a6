//! The entries of a sled log, one key at a time.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use bytes::Bytes;

use super::{SledLog, key, split_key};
use crate::DiskError;
use crate::backend::{MetaKey, Record};

/// The entries of a log in sled. A damaged key is an error; the ones behind it follow.
pub(crate) struct Scan {
    log: SledLog,
    meta: BTreeMap<MetaKey, Bytes>,
    pairs: sled::Iter,
    /// Of the last key.
    ready: VecDeque<Record>,
}

impl Scan {
    /// Of an open log; errors tell of it as `shown`. Begins with the chunk that holds `from`, or before.
    pub(crate) fn new(mut log: SledLog, shown: &Path, from: u64) -> Result<Self, DiskError> {
        log.path = shown.to_path_buf();
        let meta = log.load_meta()?;
        let first = begin(&log, from)?;
        let pairs = log.log.range(key(first, 0)..);
        Ok(Self { log, meta, pairs, ready: VecDeque::new() })
    }

    /// The small values.
    pub(crate) fn meta(&self) -> &BTreeMap<MetaKey, Bytes> {
        &self.meta
    }

    fn load(&mut self, pair: sled::Result<(sled::IVec, sled::IVec)>) -> Result<(), DiskError> {
        let (stored_key, value) = pair.map_err(|error| self.log.error("read", error))?;
        let mut records = Vec::new();
        self.log.load_key(&stored_key, &value, &mut records)?;
        self.ready.extend(records);
        // What serves to write is not needed here, and would grow with the log.
        self.log.doomed.clear();
        while self.log.chunks.len() > 1 {
            self.log.chunks.pop_first();
        }
        Ok(())
    }
}

/// First index of the chunk that holds `from`; 0 if none does. Parts whose beginning is gone are passed over.
fn begin(log: &SledLog, from: u64) -> Result<u64, DiskError> {
    for pair in log.log.range(..=key(from, u32::MAX)).rev() {
        let (found, _) = pair.map_err(|error| log.error("read", error))?;
        let found = found.as_ref().try_into().map_err(|_| log.corrupt("a key has the wrong length"))?;
        if let (first, 0) = split_key(&found) {
            return Ok(first);
        }
    }
    Ok(0)
}

impl Iterator for Scan {
    type Item = Result<Record, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(Ok(record));
            }
            let pair = self.pairs.next()?;
            if let Err(error) = self.load(pair) {
                return Some(Err(error));
            }
        }
    }
}
