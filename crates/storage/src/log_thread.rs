//! The storage thread: everything queued is written together, synced once, and only then acknowledged.
//!
//! Group commit is what makes a disk with a 0.2 ms sync carry 100,000 commands a second. Writes keep their order:
//! votes and truncations go through the same queue as appends.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use mesarch_faults::{Fault, on};
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use crate::backend::{LogBackend, MetaKey, Record};
use crate::codec::encode_entry;
use crate::metrics::LogMetrics;
use crate::types::{Entry, Types};
use crate::{DiskError, Fatal};

/// Most operations that wait for the storage thread; more wait in Raft.
pub(crate) const QUEUE_OPS: usize = 1024;
/// A group is closed once it holds this many bytes of entries.
const GROUP_BYTES: usize = 4 << 20;
/// A sync that takes longer is worth a warning.
const SLOW_SYNC: Duration = Duration::from_millis(500);

/// So many entries a broken log keeps to itself.
const UNWRITTEN_MAX: usize = 64;

/// Told when an operation is on disk.
pub(crate) type Done = oneshot::Sender<io::Result<()>>;

/// One operation on the log.
pub(crate) enum Op {
    Append(Vec<Entry>, IOFlushed<Types>),
    Meta(MetaKey, Vec<u8>, Option<Done>),
    Truncate(u64, Done),
    Purge(u64),
    /// Syncs what is left and ends the thread.
    Close(Done),
}

/// Starts the thread; it ends after [`Op::Close`] or when the queue's last sender is gone.
pub(crate) fn spawn(
    backend: Box<dyn LogBackend>,
    queue: mpsc::Receiver<Op>,
    fatal: Fatal,
) -> io::Result<JoinHandle<()>> {
    let metrics = LogMetrics::new();
    let (group, unwritten) = (Group::default(), Vec::new());
    let worker = Worker { backend, queue, fatal, metrics, failed: None, group, unwritten };
    thread::Builder::new().name("raft-log".into()).spawn(move || worker.run())
}

/// What was done since the last sync and who waits for it.
#[derive(Default)]
struct Group {
    records: Vec<Record>,
    bytes: usize,
    entries: usize,
    flushed: Vec<IOFlushed<Types>>,
    done: Vec<Done>,
    close: bool,
}

struct Worker {
    backend: Box<dyn LogBackend>,
    queue: mpsc::Receiver<Op>,
    fatal: Fatal,
    metrics: LogMetrics,
    /// The first failure: nothing is written after it, so that the disk keeps a prefix.
    failed: Option<Arc<DiskError>>,
    group: Group,
    /// Kept back by a fault, and lost with the process.
    unwritten: Vec<Record>,
}

/// Reports a panic of the storage thread: without it the node would wait for acknowledgements for ever.
struct PanicGuard(Fatal);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.report("the storage thread panicked");
        }
    }
}

impl Worker {
    fn run(mut self) {
        let _guard = PanicGuard(self.fatal.clone());
        while let Some(op) = self.queue.blocking_recv() {
            self.fill_group(op);
            let close = self.group.close;
            self.commit_group();
            if close {
                break;
            }
            self.housekeep_while_idle();
        }
    }

    fn fill_group(&mut self, first: Op) {
        self.group.records.append(&mut self.unwritten);
        let mut next = Some(first);
        while let Some(op) = next {
            let result = self.take(op);
            self.note(result);
            let full = self.group.close || self.group.bytes >= GROUP_BYTES;
            next = if full { None } else { self.queue.try_recv().ok() };
        }
        // Broken: what is answered is on disk. The end of the process loses what waits, as that of the host would.
        if on(Fault::AckBeforeSync) && !self.group.close {
            self.keep_unwritten();
        }
        let result = self.write_records();
        self.note(result);
    }

    fn keep_unwritten(&mut self) {
        let waits = self.group.records.len();
        if waits <= UNWRITTEN_MAX {
            self.unwritten = std::mem::take(&mut self.group.records);
        }
    }

    fn take(&mut self, op: Op) -> Result<(), DiskError> {
        match op {
            Op::Append(entries, flushed) => {
                self.add_entries(&entries);
                self.group.flushed.push(flushed);
                Ok(())
            }
            // Broken with the rest below: what is known to be committed is on disk.
            Op::Meta(MetaKey::Committed, _, done) if on(Fault::AckBeforeSync) => {
                self.group.done.extend(done);
                Ok(())
            }
            Op::Meta(key, value, done) => {
                self.group.done.extend(done);
                // Broken: a vote is on disk before it is given.
                if on(Fault::VoteUnsaved) && key == MetaKey::Vote {
                    return Ok(());
                }
                self.ordered(|backend| backend.put_meta(key, &value))
            }
            Op::Truncate(from, done) => {
                self.group.done.push(done);
                self.ordered(|backend| backend.truncate(from))
            }
            Op::Purge(upto) => self.ordered(|backend| backend.purge(upto)),
            Op::Close(done) => {
                self.group.done.push(done);
                self.group.close = true;
                Ok(())
            }
        }
    }

    fn add_entries(&mut self, entries: &[Entry]) {
        for entry in entries {
            let bytes = encode_entry(entry);
            self.group.bytes += bytes.len();
            self.group.records.push(Record { index: entry.log_id.index, bytes: bytes.into() });
        }
        self.group.entries += entries.len();
    }

    /// Runs `write` after all appends that were queued before it.
    fn ordered(
        &mut self,
        write: impl FnOnce(&mut dyn LogBackend) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        self.write_records()?;
        if self.failed.is_some() { Ok(()) } else { write(&mut *self.backend) }
    }

    fn write_records(&mut self) -> Result<(), DiskError> {
        let records = std::mem::take(&mut self.group.records);
        if records.is_empty() || self.failed.is_some() {
            return Ok(());
        }
        self.backend.append(&records)
    }

    fn note(&mut self, result: Result<(), DiskError>) {
        if let Err(error) = result
            && self.failed.is_none()
        {
            self.fatal.report(format_args!("the Raft log cannot be written: {}", with_cause(&error)));
            self.failed = Some(Arc::new(error));
        }
    }

    fn commit_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        if (!group.flushed.is_empty() || !group.done.is_empty()) && self.failed.is_none() {
            let started = Instant::now();
            let result = self.backend.sync();
            self.note(result);
            self.measure(&group, started.elapsed());
        }
        for flushed in group.flushed {
            flushed.io_completed(self.outcome());
        }
        for done in group.done {
            // The waiter may have been dropped with its task; the operation happened all the same.
            let _ = done.send(self.outcome());
        }
    }

    fn measure(&self, group: &Group, took: Duration) {
        self.metrics.sync_seconds.record(took);
        self.metrics.sync_entries.record(group.entries as f64);
        self.metrics.appended_bytes.increment(group.bytes as u64);
        if took > SLOW_SYNC {
            let ms = took.as_millis();
            tracing::warn!(
                ms,
                entries = group.entries,
                "the disk is slow: one sync of the Raft log took long"
            );
        }
    }

    fn outcome(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(io::Error::other(error.clone())),
        }
    }

    fn housekeep_while_idle(&mut self) {
        while self.failed.is_none() && self.queue.is_empty() {
            match self.backend.housekeep() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => self.note(Err(error)),
            }
        }
    }
}

fn with_cause(error: &DiskError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
