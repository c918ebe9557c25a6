//! The Raft log as openraft sees it: reads come from memory, writes go through the storage thread.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::{mpsc, oneshot};

use crate::backend::{LogBackend, MetaKey};
use crate::codec::{decode_entry, decode_log_id, decode_vote, encode_log_id, encode_vote, entry_bytes};
use crate::log_thread::{self, Op, QUEUE_OPS};
use crate::metrics::LogGauges;
use crate::types::{Entry, LogId, Types, Vote};
use crate::{DiskError, Fatal};

/// Most bytes of entries in one replication request (more only if a single entry is bigger).
pub const REPLICATION_BYTES: u64 = 1 << 20;

/// The Raft log and vote. Cheap to clone; all clones are one log.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    ops: mpsc::Sender<Op>,
}

struct Shared {
    held: Mutex<Held>,
    gauges: LogGauges,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// All entries that are not purged, and the small values.
#[derive(Default)]
struct Held {
    /// Consecutive indexes.
    entries: VecDeque<Entry>,
    bytes: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

impl Log {
    /// Reads the log that `backend` holds and starts the storage thread. `path` is for error messages.
    pub fn open(path: &Path, mut backend: Box<dyn LogBackend>, fatal: Fatal) -> Result<Self, DiskError> {
        let held = Held::load(path, &mut *backend)?;
        let (ops, queue) = mpsc::channel(QUEUE_OPS);
        let thread = log_thread::spawn(backend, queue, fatal)
            .map_err(|source| DiskError::io(path, "start the storage thread", source))?;
        let thread = Mutex::new(Some(thread));
        let shared = Shared { held: Mutex::new(held), gauges: LogGauges::new(), thread };
        let log = Self { shared: Arc::new(shared), ops };
        log.gauge();
        Ok(log)
    }

    /// Syncs what is left, ends the storage thread and releases the files. Later writes fail.
    pub async fn close(&self) -> io::Result<()> {
        let (done, on_disk) = oneshot::channel();
        self.send(Op::Close(done)).await?;
        on_disk.await.map_err(|_| thread_gone())??;
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            joined.map_err(io::Error::other)?.map_err(|_| thread_gone())?;
        }
        Ok(())
    }

    /// Bytes of the entries held.
    pub fn bytes(&self) -> u64 {
        self.held().bytes
    }

    /// Number of entries held.
    pub fn entries(&self) -> usize {
        self.held().entries.len()
    }

    /// The last purged log id, if any was.
    pub fn purged(&self) -> Option<LogId> {
        self.held().purged
    }

    /// Whether nothing was ever stored: no vote, no entry.
    pub fn is_blank(&self) -> bool {
        let held = self.held();
        held.vote.is_none() && held.entries.is_empty() && held.purged.is_none()
    }

    /// Bytes of the entries after `index`.
    pub fn bytes_after(&self, index: u64) -> u64 {
        let held = self.held();
        let newest_first = held.entries.iter().rev();
        newest_first.take_while(|entry| entry.log_id.index > index).map(entry_bytes).sum()
    }

    /// Up to which index to purge so that at most `bytes` stay; `None` if they already fit.
    pub fn purge_point(&self, bytes: u64) -> Option<u64> {
        let held = self.held();
        let mut kept = 0;
        for entry in held.entries.iter().rev() {
            kept += entry_bytes(entry);
            if kept > bytes {
                return Some(entry.log_id.index);
            }
        }
        None
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauge(&self) {
        let held = self.held();
        self.shared.gauges.bytes.set(held.bytes as f64);
        self.shared.gauges.entries.set(held.entries.len() as f64);
    }

    async fn send(&self, op: Op) -> io::Result<()> {
        self.ops.send(op).await.map_err(|_| thread_gone())
    }

    async fn send_and_wait(&self, op: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Op) -> io::Result<()> {
        let (done, on_disk) = oneshot::channel();
        self.send(op(done)).await?;
        on_disk.await.map_err(|_| thread_gone())?
    }
}

impl Held {
    fn load(path: &Path, backend: &mut dyn LogBackend) -> Result<Self, DiskError> {
        let loaded = backend.load()?;
        let wrong = |error: crate::codec::CodecError| DiskError::corrupt(path, error.to_string());
        let mut held = Self::default();
        for (key, value) in &loaded.meta {
            match key {
                MetaKey::Vote => held.vote = Some(decode_vote(value).map_err(wrong)?),
                MetaKey::Committed => held.committed = decode_log_id(value).map_err(wrong)?,
                MetaKey::Purged => held.purged = decode_log_id(value).map_err(wrong)?,
            }
        }
        // A crash may come after the purged log id was stored and before the entries were forgotten.
        let first = held.purged.map_or(0, |id| id.index + 1);
        let mut expected = first;
        for record in loaded.records.iter().skip_while(|record| record.index < first) {
            let entry = decode_entry(&record.bytes).map_err(wrong)?;
            let index = entry.log_id.index;
            if index != record.index || index != expected {
                let what = format!("entry {index} stands where entry {expected} belongs");
                return Err(DiskError::corrupt(path, what));
            }
            expected = index + 1;
            held.push(entry);
        }
        Ok(held)
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.entries.push_back(entry);
    }

    fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// The entries with `from <= index < to` that are held.
    fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Entry> {
        let first = self.first_index().unwrap_or(0);
        let length = self.entries.len();
        let position = |index: u64| (index.saturating_sub(first) as usize).min(length);
        let (from, to) = (position(from), position(to));
        self.entries.range(from.min(to)..to)
    }

    /// Refuses an append that would leave a hole or that repeats what is held.
    fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entry in entries {
            if let Some(last) = self.entries.back()
                && last.log_id.index + 1 != entry.log_id.index
            {
                let text = format!("entry {} does not follow {}", entry.log_id, last.log_id);
                return Err(io::Error::other(text));
            }
            self.push(entry.clone());
        }
        Ok(())
    }

    fn split_off(&mut self, from: u64) -> VecDeque<Entry> {
        let first = self.first_index().unwrap_or(from);
        let keep = (from.saturating_sub(first) as usize).min(self.entries.len());
        let cut = self.entries.split_off(keep);
        self.bytes -= cut.iter().map(entry_bytes).sum::<u64>();
        cut
    }

    fn purge(&mut self, upto: LogId) -> VecDeque<Entry> {
        self.purged = Some(upto);
        let kept = self.split_off(upto.index + 1);
        self.bytes = kept.iter().map(entry_bytes).sum();
        std::mem::replace(&mut self.entries, kept)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.held().range(from, to).cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.held().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let held = self.held();
        let mut bytes = 0;
        let within = held.range(start, end).take_while(|entry| {
            let begins_within = bytes == 0 || bytes + entry_bytes(entry) <= REPLICATION_BYTES;
            bytes += entry_bytes(entry);
            begins_within
        });
        Ok(within.cloned().collect())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let held = self.held();
        let last = held.entries.back().map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id: held.purged, last_log_id: last.or(held.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.send_and_wait(|done| Op::Meta(MetaKey::Vote, encode_vote(vote), Some(done))).await?;
        self.held().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.held().committed = committed;
        let value = committed.as_ref().map(encode_log_id).unwrap_or_default();
        self.send(Op::Meta(MetaKey::Committed, value, None)).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.held().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.held().append(&entries)?;
        self.send(Op::Append(entries, callback)).await?;
        self.gauge();
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = last_log_id.map_or(0, |id| id.index + 1);
        let cut = self.held().split_off(from);
        drop(cut);
        self.send_and_wait(|done| Op::Truncate(from, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        // Dropped after the lock is released: it may hold many entries.
        let gone = self.held().purge(log_id);
        drop(gone);
        self.gauge();
        self.send(Op::Meta(MetaKey::Purged, encode_log_id(&log_id), None)).await?;
        self.send(Op::Purge(log_id.index)).await
    }
}

/// Opens the log of a data directory: its own folder, with the backend that the directory was created with.
pub fn open_in(folder: PathBuf, backend: crate::Backend, fatal: Fatal) -> Result<Log, DiskError> {
    let opened = backend.open(&folder)?;
    Log::open(&folder, opened, fatal)
}

fn thread_gone() -> io::Error {
    io::Error::other("the storage thread has ended")
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
