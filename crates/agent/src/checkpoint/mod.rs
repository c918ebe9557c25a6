//! The checkpoint: an append-only log of record batches in `<work_dir>/meta/agent.log`.
//!
//! Layout: magic, format version, then frames of length, crc32c (of length and batch) and a `mesarch.checkpoint.Batch`. A batch
//! is written and synced as one. A frame that is cut off at the end of the file was never acknowledged to anybody and is cut away; one
//! that is broken before the end is corruption, and the agent refuses to start on it. When the log has grown well
//! beyond what it says, it is written anew beside and renamed over.

mod codec;
mod frames;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use mesarch_agent_core::Record;
use mesarch_faults::{Fault, on};
use rand::Rng;

use frames::{FrameError, HEADER};

/// How long the lock may be held by a former owner's child between its fork and its exec, which inherits it that long.
const LOCK_WITHIN: Duration = Duration::from_secs(1);
/// Within the work directory: what the agent knows of itself, and its log there.
const META: &str = "meta";
const LOG: &str = "agent.log";
const LOCK_AGAIN: Duration = Duration::from_millis(10);
/// The log is written anew when it is longer than this and than [`GROWTH_MAX`] times its last compact form.
const COMPACT_BYTES_MIN: u64 = 4 << 20;
const GROWTH_MAX: u64 = 4;

/// An open checkpoint. The work directory is locked as long as it lives.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    log: File,
    path: PathBuf,
    bytes: u64,
    compact_bytes: u64,
    nonce: [u8; 16],
    _lock: File,
}

/// Why a work directory cannot be used. Each names the path.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system said no.
    #[error("{path}: {action} failed")]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file system takes no changes.
    #[error("{0}: the file system is read-only; remount it for writing, or choose another work directory")]
    ReadOnly(PathBuf),
    /// It, or a folder above it, is a file.
    #[error("{0}: a file is in its place; choose a folder")]
    NotAFolder(PathBuf),
    /// It holds what is not an agent's.
    #[error("{path}: holds other files ({name}) and no agent; choose an empty folder")]
    Occupied {
        /// The work directory.
        path: PathBuf,
        /// One of the files.
        name: String,
    },
    /// Another process holds the lock.
    #[error("{0}: another agent uses this work directory")]
    InUse(PathBuf),
    /// Written by another program.
    #[error("{0}: not a work directory of a Mesarch agent; choose an empty one")]
    Foreign(PathBuf),
    /// Written by a newer version.
    #[error("{path}: written in format {found}, this program knows up to {known}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known one.
        known: u32,
    },
    /// The bytes are not what was written.
    #[error(
        "{path}: corrupt at byte {offset}: {what}; restore it, or remove the work directory to start as a new agent"
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

impl Checkpoint {
    /// Locks the work directory and reads what is there; a blank one is set up.
    pub(crate) fn open(work_dir: &Path) -> Result<(Self, Vec<Record>), CheckpointError> {
        let meta = work_dir.join(META);
        // Nothing is changed in a folder that is not ours.
        let log = meta.join(LOG);
        if !log.try_exists().map_err(|error| failed(&log, "looking for the log", error))? {
            refuse_foreign(work_dir)?;
        }
        fs::create_dir_all(&meta).map_err(|error| failed(&meta, "creating the folder", error))?;
        let lock = lock(&meta)?;
        let path = meta.join(LOG);
        if !path.exists() {
            create(&path)?;
        }
        Self::read(path, lock)
    }

    fn read(path: PathBuf, lock: File) -> Result<(Self, Vec<Record>), CheckpointError> {
        let content = fs::read(&path).map_err(|error| failed(&path, "reading", error))?;
        let corrupt = |offset: usize, what: String| CheckpointError::Corrupt {
            path: path.clone(),
            offset: offset as u64,
            what,
        };
        let frames::Content { batches, good, version } =
            frames::split(&content).map_err(|error| match error {
                FrameError::Foreign => CheckpointError::Foreign(path.clone()),
                FrameError::Version(found) => {
                    CheckpointError::Version { path: path.clone(), found, known: frames::VERSION }
                }
                FrameError::Broken(offset) => corrupt(offset, "checksum mismatch".to_owned()),
            })?;
        let mut log = codec::Log::default();
        for (offset, batch) in batches {
            log.read(batch).map_err(|error| corrupt(offset, error.to_string()))?;
        }
        let nonce =
            log.nonce.ok_or_else(|| corrupt(HEADER.len(), "the first record is missing".to_owned()))?;
        let file = match version {
            frames::VERSION => open_cut(&path, good as u64, content.len() as u64)?,
            _ => replace(&path, nonce, &log.records)?,
        };
        let bytes = file.metadata().map_err(|error| failed(&path, "reading its length", error))?.len();
        let checkpoint = Self { log: file, path, bytes, compact_bytes: bytes, nonce, _lock: lock };
        Ok((checkpoint, log.records))
    }

    /// Drawn before the agent first registered.
    pub(crate) fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// Writes the records as one batch; when this returns they are on disk.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), CheckpointError> {
        // Broken: a launch is on disk before it is started.
        let kept: Vec<Record>;
        let records = match on(Fault::LaunchUnstored) {
            false => records,
            true => {
                kept = records.iter().filter(|it| !matches!(it, Record::Task(_))).cloned().collect();
                &kept
            }
        };
        let frame = frames::frame(&codec::batch(None, records));
        self.log.write_all(&frame).map_err(|error| failed(&self.path, "writing", error))?;
        self.log.sync_data().map_err(|error| failed(&self.path, "syncing", error))?;
        self.bytes += frame.len() as u64;
        metrics::counter!(crate::metrics::CHECKPOINT_BYTES).increment(frame.len() as u64);
        Ok(())
    }

    /// Whether the log says much more than the state that it leads to.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.bytes > COMPACT_BYTES_MIN.max(self.compact_bytes.saturating_mul(GROWTH_MAX))
    }

    /// Replaces the log by these records, which lead to the same state.
    pub(crate) fn compact(&mut self, records: &[Record]) -> Result<(), CheckpointError> {
        self.log = replace(&self.path, self.nonce, records)?;
        let length =
            self.log.metadata().map_err(|error| failed(&self.path, "reading its length", error))?.len();
        (self.bytes, self.compact_bytes) = (length, length);
        Ok(())
    }
}

/// Accepts what a first start that was cut short leaves, and what file systems put into a new one.
fn refuse_foreign(work_dir: &Path) -> Result<(), CheckpointError> {
    let listed = |error| failed(work_dir, "listing", error);
    let entries = match fs::read_dir(work_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(listed)?,
    };
    for entry in entries {
        let name = entry.map_err(listed)?.file_name();
        if name != META && name != "lost+found" {
            let name = name.to_string_lossy().into_owned();
            return Err(CheckpointError::Occupied { path: work_dir.to_owned(), name });
        }
    }
    // Apache's agents have such a folder, too, with this in it.
    match work_dir.join(META).join("slaves").exists() {
        true => Err(CheckpointError::Foreign(work_dir.to_owned())),
        false => Ok(()),
    }
}

fn lock(meta: &Path) -> Result<File, CheckpointError> {
    let path = meta.join("lock");
    let options = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = options.map_err(|error| failed(&path, "opening", error))?;
    let give_up = Instant::now() + LOCK_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < give_up => std::thread::sleep(LOCK_AGAIN),
            Err(fs::TryLockError::WouldBlock) => return Err(CheckpointError::InUse(meta.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(failed(&path, "locking", error)),
        }
    }
}

fn create(path: &Path) -> Result<(), CheckpointError> {
    replace(path, rand::rng().random(), &[]).map(drop)
}

/// Writes a whole log beside `path`, syncs it and renames it over.
fn replace(path: &Path, nonce: [u8; 16], records: &[Record]) -> Result<File, CheckpointError> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh).map_err(|error| failed(&fresh, "creating", error))?;
    let frame = frames::frame(&codec::batch(Some(nonce), records));
    let written =
        file.write_all(&HEADER).and_then(|()| file.write_all(&frame)).and_then(|()| file.sync_all());
    written.map_err(|error| failed(&fresh, "writing", error))?;
    fs::rename(&fresh, path).map_err(|error| failed(path, "renaming over", error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed(folder, "syncing the folder", error))?;
    Ok(file)
}

/// Opens for appending, without the torn tail if there is one.
fn open_cut(path: &Path, good: u64, length: u64) -> Result<File, CheckpointError> {
    let opened = OpenOptions::new().append(true).open(path);
    let file = opened.map_err(|error| failed(path, "opening", error))?;
    if good < length {
        tracing::warn!(path = %path.display(), bytes = length - good, "cutting off a batch that was never finished");
        let cut = file.set_len(good).and_then(|()| file.sync_all());
        cut.map_err(|error| failed(path, "cutting", error))?;
    }
    Ok(file)
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> CheckpointError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => CheckpointError::ReadOnly(path),
        io::ErrorKind::NotADirectory => CheckpointError::NotAFolder(path),
        _ => CheckpointError::Io { path, action, source },
    }
}

#[cfg(test)]
#[path = "checkpoint_test.rs"]
mod tests;
