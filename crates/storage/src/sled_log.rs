//! The log in sled: many small entries per key, a big entry over several keys, one sync of our own.
//!
//! sled's cost is per key, so entries that are appended together share a key up to [`CHUNK_BYTES`]. Its values never
//! grow beyond that, because sled 0.34 puts values of 16 KB and more into files that it never syncs. Its `flush()` does
//! not reach the disk's cache, so every sync ends with `fdatasync` on a descriptor of our own; its timed flush is off.
//!
//! Key: index of the first entry, number of the part (both big endian). Value: checksum of the rest, kind, then either
//! framed entries or one part of a single entry. What sled forgets of a damaged file is found out by a [`witness`].

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesarch_faults::{Fault, on};

use crate::DiskError;
use crate::backend::{Loaded, LogBackend, MetaKey, Record};
use crate::disk::{OnDisk, create_dir, sync_dir};

/// Longest value, in bytes. Must stay well below sled's 16 KB blob threshold.
pub const CHUNK_BYTES: usize = 8 << 10;
/// Most keys removed in one batch: removing ten thousand at once blocks for 0.1 s.
const PURGE_SLICE_KEYS: usize = 64;
/// sled's page cache, in bytes; the log is read from memory, so it only has to hold the tip of the tree.
const PAGE_CACHE_BYTES: u64 = 64 << 20;
const FORMAT_VERSION: u32 = 1;
/// How long a lock that is still held is waited for. The data directory has a lock of its own, so it can only be held by
/// an earlier log of this process: sled's background jobs outlive the drop of their database.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Key of the number of the newest sync.
const SYNC: &str = "sync";

const VALUE_HEAD_BYTES: usize = 5;
const FRAME_HEAD_BYTES: usize = 4;
const KIND_FRAMES: u8 = 1;
const KIND_PART: u8 = 2;

mod scan;
mod witness;

pub(crate) use scan::Scan;
use witness::Witness;

type Key = [u8; 12];

/// The sync that reaches the disk. Tests put one of their own around it.
pub(crate) type Syncer = Box<dyn FnMut() -> io::Result<()> + Send>;

/// What one key, or the run of keys of a big entry, holds.
#[derive(Clone, Copy)]
struct Chunk {
    last: u64,
    parts: u32,
}

/// The log in a sled database.
pub struct SledLog {
    db: sled::Db,
    log: sled::Tree,
    meta: sled::Tree,
    /// `fdatasync` of sled's own file.
    syncer: Syncer,
    witness: Witness,
    path: PathBuf,
    /// By first index.
    chunks: BTreeMap<u64, Chunk>,
    /// Everything up to and including this index is purged.
    floor: Option<u64>,
    doomed: VecDeque<Key>,
}

impl SledLog {
    /// Opens or creates the database in the directory `path`.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        Self::open_with(path, |file| Box::new(move || file.sync_data()))
    }

    /// [`SledLog::open`], with a sync of the caller's making.
    pub(crate) fn open_with(path: &Path, syncer: impl FnOnce(File) -> Syncer) -> Result<Self, DiskError> {
        create_dir(path)?;
        remove_unfinished_snapshots(path)?;
        let db = open_db(path)?;
        let tree = |name: &str| db.open_tree(name).map_err(|error| sled_error(path, "open the log", error));
        let (log, meta) = (tree("log")?, tree("meta")?);
        let witness = Witness::open(path, newest_sync(path, &meta)?)?;
        let file_path = path.join("db");
        let file = File::open(&file_path).on(&file_path, "open")?;
        let (syncer, path) = (syncer(file), path.to_path_buf());
        let (chunks, doomed) = (BTreeMap::new(), VecDeque::new());
        let mut opened = Self { db, log, meta, syncer, witness, path, chunks, floor: None, doomed };
        opened.check_format()?;
        opened.sync()?;
        // sled writes in two steps what it says of itself, and never syncs it: half of it is a database that does not open.
        let settings = opened.path.join("conf");
        File::open(&settings).and_then(|file| file.sync_all()).on(&settings, "sync")?;
        sync_dir(&opened.path)?;
        Ok(opened)
    }

    fn check_format(&mut self) -> Result<(), DiskError> {
        let stored = self.meta.get("format").map_err(|e| self.error("read the format version", e))?;
        let Some(stored) = stored else {
            self.put("format", &FORMAT_VERSION.to_le_bytes())?;
            return Ok(());
        };
        let found =
            u32::from_le_bytes(stored.as_ref().try_into().map_err(|_| self.corrupt("format version"))?);
        if found != FORMAT_VERSION {
            return Err(DiskError::Version { path: self.path.clone(), found, known: FORMAT_VERSION });
        }
        Ok(())
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), DiskError> {
        self.meta.insert(key, value).map(drop).map_err(|error| self.error("write", error))
    }

    fn apply(&self, batch: sled::Batch) -> Result<(), DiskError> {
        self.log.apply_batch(batch).map_err(|error| self.error("write", error))
    }

    fn error(&self, action: &'static str, error: sled::Error) -> DiskError {
        sled_error(&self.path, action, error)
    }

    fn corrupt(&self, what: impl Into<String>) -> DiskError {
        DiskError::corrupt(&self.path, what)
    }

    /// Adds the removal of at most one slice of purged keys to `batch`; how many.
    fn doom(&mut self, batch: &mut sled::Batch) -> usize {
        let count = self.doomed.len().min(PURGE_SLICE_KEYS);
        for key in self.doomed.drain(..count) {
            batch.remove(&key);
        }
        count
    }

    /// Puts as many of `records` as fit into one value; how many.
    fn put_frames(&mut self, records: &[Record], batch: &mut sled::Batch) -> usize {
        let mut value = new_value(KIND_FRAMES);
        let mut count = 0;
        for record in records {
            if value.len() + FRAME_HEAD_BYTES + record.bytes.len() > CHUNK_BYTES {
                break;
            }
            put_frame(&mut value, &record.bytes);
            count += 1;
        }
        if let (Some(first), Some(last)) = (records.first(), records[..count].last()) {
            batch.insert(&key(first.index, 0), finish_value(value));
            self.chunks.insert(first.index, Chunk { last: last.index, parts: 1 });
        }
        count
    }

    fn put_parts(&mut self, record: &Record, batch: &mut sled::Batch) {
        let mut parts = 0;
        let count = record.bytes.len().div_ceil(PART_DATA_BYTES) as u32;
        for data in record.bytes.chunks(PART_DATA_BYTES) {
            let mut value = new_value(KIND_PART);
            value.extend_from_slice(&count.to_le_bytes());
            value.extend_from_slice(data);
            batch.insert(&key(record.index, parts), finish_value(value));
            parts += 1;
        }
        self.chunks.insert(record.index, Chunk { last: record.index, parts });
    }

    /// Rewrites the chunk that holds both `from - 1` and `from`, without the entries from `from` on.
    fn cut_chunk(&mut self, from: u64, batch: &mut sled::Batch) -> Result<(), DiskError> {
        let straddling = self.chunks.range(..from).next_back().filter(|(_, chunk)| chunk.last >= from);
        let Some((&first, _)) = straddling else {
            return Ok(());
        };
        let stored = self.log.get(key(first, 0)).map_err(|error| self.error("read", error))?;
        let stored = stored.ok_or_else(|| self.corrupt(format!("entry {first} is missing")))?;
        let (_, body) = self.open_value(first, &stored)?;
        let mut value = new_value(KIND_FRAMES);
        for frame in self.frames(first, body)?.into_iter().take((from - first) as usize) {
            put_frame(&mut value, frame);
        }
        batch.insert(&key(first, 0), finish_value(value));
        self.chunks.insert(first, Chunk { last: from - 1, parts: 1 });
        Ok(())
    }

    fn open_value<'a>(&self, first: u64, value: &'a [u8]) -> Result<(u8, &'a [u8]), DiskError> {
        let (crc, rest) = value
            .split_first_chunk::<4>()
            .ok_or_else(|| self.corrupt(format!("entry {first} is cut short")))?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(rest) {
            return Err(self.corrupt(format!("the checksum of entry {first} does not match")));
        }
        let (kind, body) =
            rest.split_first().ok_or_else(|| self.corrupt(format!("entry {first} is empty")))?;
        Ok((*kind, body))
    }

    fn frames<'a>(&self, first: u64, mut body: &'a [u8]) -> Result<Vec<&'a [u8]>, DiskError> {
        let mut frames = Vec::new();
        while let Some((length, rest)) = body.split_first_chunk::<4>() {
            let (frame, rest) = rest
                .split_at_checked(u32::from_le_bytes(*length) as usize)
                .ok_or_else(|| self.corrupt(format!("the chunk of entry {first} is cut short")))?;
            frames.push(frame);
            body = rest;
        }
        Ok(frames)
    }

    /// Joins the parts of the big entry `first`, whose first value is at hand.
    fn join_parts(&self, first: u64, body: &[u8]) -> Result<(Bytes, u32), DiskError> {
        let missing = || self.corrupt(format!("entry {first} lacks a part"));
        let (count, data) = body.split_first_chunk::<4>().ok_or_else(missing)?;
        let mut whole = data.to_vec();
        let parts = u32::from_le_bytes(*count);
        for part in 1..parts {
            let value = self.log.get(key(first, part)).map_err(|error| self.error("read", error))?;
            let value = value.ok_or_else(missing)?;
            let (kind, body) = self.open_value(first, &value)?;
            // A part that tells another number is of another entry.
            let body = body.strip_prefix(count).filter(|_| kind == KIND_PART);
            whole.extend_from_slice(body.ok_or_else(missing)?);
        }
        Ok((whole.into(), parts))
    }

    fn load_key(
        &mut self,
        stored_key: &[u8],
        value: &[u8],
        records: &mut Vec<Record>,
    ) -> Result<(), DiskError> {
        let stored_key: Key =
            stored_key.try_into().map_err(|_| self.corrupt("a key has the wrong length"))?;
        let (first, part) = split_key(&stored_key);
        if part > 0 {
            if self.chunks.get(&first).is_none_or(|chunk| part >= chunk.parts) {
                self.doomed.push_back(stored_key);
            }
            return Ok(());
        }
        let (kind, body) = self.open_value(first, value)?;
        let (entries, parts) = match kind {
            KIND_FRAMES => (self.frames(first, body)?.into_iter().map(Bytes::copy_from_slice).collect(), 1),
            KIND_PART => self.join_parts(first, body).map(|(whole, parts)| (vec![whole], parts))?,
            _ => return Err(self.corrupt(format!("entry {first} is of an unknown kind"))),
        };
        if entries.is_empty() {
            return Err(self.corrupt(format!("the chunk of entry {first} is empty")));
        }
        let last = first + entries.len() as u64 - 1;
        if self.floor.is_some_and(|floor| last <= floor) {
            self.doomed.extend((0..parts).map(|part| key(first, part)));
            return Ok(());
        }
        self.chunks.insert(first, Chunk { last, parts });
        let numbered = (first..).zip(entries).map(|(index, bytes)| Record { index, bytes });
        records.extend(numbered.filter(|record| self.floor.is_none_or(|floor| record.index > floor)));
        Ok(())
    }

    fn load_meta(&mut self) -> Result<BTreeMap<MetaKey, Bytes>, DiskError> {
        let get = |name: &str| self.meta.get(name).map_err(|error| self.error("read", error));
        let mut meta = BTreeMap::new();
        for key in MetaKey::ALL {
            if let Some(value) = get(meta_name(key))? {
                meta.insert(key, Bytes::copy_from_slice(&value));
            }
        }
        if let Some(floor) = get("floor")? {
            let floor = floor.as_ref().try_into().map_err(|_| self.corrupt("the purge floor"))?;
            self.floor = Some(u64::from_be_bytes(floor));
        }
        Ok(meta)
    }
}

impl Drop for SledLog {
    /// sled syncs its file when it goes, and panics if that fails. On a disk that does not sync any more it stays in memory:
    /// the process is about to end.
    fn drop(&mut self) {
        // What cannot be opened any more can be synced all the same: sled has it open.
        let Ok(file) = File::open(self.path.join("db")) else { return };
        if let Err(error) = file.sync_all() {
            tracing::warn!(path = %self.path.display(), %error, "the log cannot be synced at its end");
            std::mem::forget(self.db.clone());
        }
    }
}

impl LogBackend for SledLog {
    fn load(&mut self) -> Result<Loaded, DiskError> {
        let meta = self.load_meta()?;
        let mut records = Vec::new();
        for pair in self.log.clone().iter() {
            let (key, value) = pair.map_err(|error| self.error("read", error))?;
            self.load_key(&key, &value, &mut records)?;
        }
        Ok(Loaded { records, meta })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        if let (Some(first), Some(floor)) = (records.first(), self.floor)
            && first.index <= floor
        {
            return Err(self.corrupt(format!("entry {} was purged and is appended again", first.index)));
        }
        let mut batch = sled::Batch::default();
        let mut rest = records;
        while let Some(first) = rest.first() {
            let mut count = self.put_frames(rest, &mut batch);
            if count == 0 {
                self.put_parts(first, &mut batch);
                count = 1;
            }
            rest = &rest[count..];
        }
        self.doom(&mut batch);
        self.apply(batch)
    }

    fn truncate(&mut self, from: u64) -> Result<(), DiskError> {
        let mut batch = sled::Batch::default();
        self.cut_chunk(from, &mut batch)?;
        for (first, chunk) in self.chunks.split_off(&from) {
            for part in 0..chunk.parts {
                batch.remove(&key(first, part));
            }
        }
        self.apply(batch)
    }

    fn purge(&mut self, upto: u64) -> Result<(), DiskError> {
        let floor = self.floor.map_or(upto, |floor| floor.max(upto));
        self.floor = Some(floor);
        self.put("floor", &floor.to_be_bytes())?;
        while let Some(chunk) = self.chunks.first_entry().filter(|chunk| chunk.get().last <= floor) {
            let (first, chunk) = chunk.remove_entry();
            self.doomed.extend((0..chunk.parts).map(|part| key(first, part)));
        }
        Ok(())
    }

    fn put_meta(&mut self, key: MetaKey, value: &[u8]) -> Result<(), DiskError> {
        self.put(meta_name(key), value)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.put(SYNC, &self.witness.next().to_le_bytes())?;
        self.db.flush().map_err(|error| self.error("flush", error))?;
        if !on(Fault::SyncSkipped) {
            (self.syncer)().on(&self.path, "sync")?;
        }
        self.witness.advance()
    }

    fn housekeep(&mut self) -> Result<bool, DiskError> {
        let mut batch = sled::Batch::default();
        if self.doom(&mut batch) > 0 {
            self.apply(batch)?;
        }
        Ok(!self.doomed.is_empty())
    }
}

/// The number of the newest sync that sled knows of; 0 if it was written before these had numbers.
fn newest_sync(path: &Path, meta: &sled::Tree) -> Result<u64, DiskError> {
    let stored = meta.get(SYNC).map_err(|error| sled_error(path, "read", error))?;
    let Some(stored) = stored else { return Ok(0) };
    let number =
        stored.as_ref().try_into().map_err(|_| DiskError::corrupt(path, "the number of the last sync"))?;
    Ok(u64::from_le_bytes(number))
}

/// Opens the database, once nobody has it open any more.
fn open_db(path: &Path) -> Result<sled::Db, DiskError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match config(path).open() {
            Ok(db) => return Ok(db),
            Err(error) if is_locked(&error) && Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(sled_error(path, "open the log", error)),
        }
    }
}

/// sled tells it in words only: the kind of its error is `Other`.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(cause) if cause.kind() == io::ErrorKind::Other
        && cause.to_string().contains("could not acquire lock"))
}

/// Syncs are ours alone: sled's own timed flush would only compete with them.
fn config(path: &Path) -> sled::Config {
    sled::Config::new().path(path).flush_every_ms(None).cache_capacity(PAGE_CACHE_BYTES)
}

const PART_DATA_BYTES: usize = CHUNK_BYTES - VALUE_HEAD_BYTES - 4;

fn meta_name(key: MetaKey) -> &'static str {
    match key {
        MetaKey::Vote => "vote",
        MetaKey::Committed => "committed",
        MetaKey::Purged => "purged",
    }
}

fn key(index: u64, part: u32) -> Key {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn split_key(key: &Key) -> (u64, u32) {
    let (index, part) = key.split_at(8);
    let index = u64::from_be_bytes(index.try_into().expect("split at eight"));
    (index, u32::from_be_bytes(part.try_into().expect("twelve less eight is four")))
}

fn new_value(kind: u8) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHUNK_BYTES);
    value.extend_from_slice(&[0; 4]);
    value.push(kind);
    value
}

fn finish_value(mut value: Vec<u8>) -> Vec<u8> {
    debug_assert!(value.len() <= CHUNK_BYTES);
    let crc = crc32c::crc32c(&value[4..]);
    value[..4].copy_from_slice(&crc.to_le_bytes());
    value
}

fn put_frame(value: &mut Vec<u8>, bytes: &[u8]) {
    value.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    value.extend_from_slice(bytes);
}

/// A `snap.*.generating` left by a crash makes sled fail to open for ever; it holds nothing that the log lacks.
fn remove_unfinished_snapshots(path: &Path) -> Result<(), DiskError> {
    for entry in fs::read_dir(path).on(path, "list")? {
        let file = entry.on(path, "list")?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&file).on(&file, "remove")?;
        }
    }
    Ok(())
}

fn sled_error(path: &Path, action: &'static str, error: sled::Error) -> DiskError {
    match error {
        sled::Error::Io(source) => DiskError::io(path, action, source),
        sled::Error::Corruption { .. } => DiskError::corrupt(path, "sled found a damaged page"),
        other => DiskError::io(path, action, std::io::Error::other(other)),
    }
}

#[cfg(test)]
#[path = "sled_log_test.rs"]
mod tests;
