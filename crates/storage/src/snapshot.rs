//! Snapshot files: written beside, synced, renamed; checked in full before they are believed.
//!
//! A file is: magic, version, length of the meta data, meta data (what the snapshot covers), the machine's state as
//! one zstd stream, then a trailer with the checksum of all before it. The file itself is what travels to a lagging
//! node, so that the leader encodes once and the receiver checks the same checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::DiskError;
use crate::codec::{from_bytes, to_bytes};
use crate::disk::{OnDisk, create_dir, sync_dir};
use crate::metrics::{SNAPSHOT_BYTES, SNAPSHOT_SECONDS};
use crate::types::SnapshotMeta;

const MAGIC: [u8; 8] = *b"MSRHSNAP";
const TRAILER_MAGIC: [u8; 4] = *b"SEND";
const VERSION: u32 = 1;
const HEAD_BYTES: u64 = 16;
const TRAILER_BYTES: u64 = 16;
/// The meta data holds a handful of addresses.
const META_BYTES_MAX: u32 = 1 << 20;
/// Fast, and already six times smaller than the plain encoding.
const ZSTD_LEVEL: i32 = 1;
const BUFFER_BYTES: usize = 256 << 10;

/// A snapshot file that was checked. Cheap to clone; stays readable after the file is replaced.
#[derive(Clone, Debug)]
pub struct SnapshotFile(Arc<Open>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    body_from: u64,
    meta: SnapshotMeta,
    /// A received file that nobody adopted is removed with its last handle.
    temporary: AtomicBool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.temporary.load(Ordering::Acquire) {
            // Best effort: leftovers are also removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SnapshotFile {
    /// What it covers.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.0.meta
    }

    /// Size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// Up to `length` bytes of the file from `offset` on; fewer only at its end. Blocks.
    pub fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let length = (self.0.bytes.saturating_sub(offset)).min(length as u64) as usize;
        let mut part = vec![0; length];
        self.0.file.read_exact_at(&mut part, offset)?;
        Ok(part)
    }

    /// The machine's state, decompressed while it is read. Blocks.
    pub fn state(&self) -> io::Result<impl Read + Send + use<>> {
        let to = self.0.bytes - TRAILER_BYTES;
        let body = Section { open: self.0.clone(), at: self.0.body_from, to };
        zstd::stream::read::Decoder::new(BufReader::with_capacity(BUFFER_BYTES, body))
    }

    /// Opens a snapshot file where it stands and checks every byte of it. Blocks.
    ///
    /// # Errors
    /// It is no snapshot, of a newer version, or damaged.
    pub fn read(path: &Path) -> Result<Self, DiskError> {
        Self::open(path, false)
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The same file, already checked, under its new name.
    fn moved_to(&self, path: &Path) -> Result<Self, DiskError> {
        let Open { file, bytes, body_from, meta, .. } = &*self.0;
        let file = file.try_clone().on(path, "open")?;
        let (temporary, path) = (AtomicBool::new(false), path.to_path_buf());
        Ok(Self(Arc::new(Open {
            path,
            file,
            bytes: *bytes,
            body_from: *body_from,
            meta: meta.clone(),
            temporary,
        })))
    }

    fn open(path: &Path, temporary: bool) -> Result<Self, DiskError> {
        let file = File::open(path).on(path, "open")?;
        let bytes = file.metadata().on(path, "inspect")?.len();
        let (meta, body_from) = check(path, &file, bytes)?;
        let temporary = AtomicBool::new(temporary);
        Ok(Self(Arc::new(Open { path: path.to_path_buf(), file, bytes, body_from, meta, temporary })))
    }
}

/// A part of a snapshot file, read front to back.
struct Section {
    open: Arc<Open>,
    at: u64,
    to: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (self.to - self.at).min(buffer.len() as u64) as usize;
        let count = self.open.file.read_at(&mut buffer[..length], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// The snapshots of a node: the newest one, and whatever is being written or received.
#[derive(Clone)]
pub struct SnapshotStore(Arc<Store>);

struct Store {
    folder: PathBuf,
    newest: Mutex<Option<SnapshotFile>>,
    /// Gives every unfinished file its own name.
    unfinished: AtomicU64,
}

impl SnapshotStore {
    /// Opens the folder, removes unfinished files and picks the newest valid snapshot. A damaged one is left in place,
    /// logged, and passed over.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        create_dir(folder)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).on(folder, "list")? {
            let path = entry.on(folder, "list")?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("snapshot") => names.push(path),
                Some("unfinished") => fs::remove_file(&path).on(&path, "remove")?,
                _ => {}
            }
        }
        names.sort();
        let newest = names.iter().rev().find_map(|path| open_or_log(path));
        let store =
            Store { folder: folder.to_path_buf(), newest: Mutex::new(newest), unfinished: AtomicU64::new(0) };
        Ok(Self(Arc::new(store)))
    }

    /// The newest snapshot, if there is one.
    pub fn newest(&self) -> Option<SnapshotFile> {
        self.0.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a snapshot of what `meta` says; `encode` writes the state. Durable when it returns. Blocks.
    pub fn write(
        &self,
        meta: &SnapshotMeta,
        encode: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<SnapshotFile, DiskError> {
        let started = Instant::now();
        let (path, file) = self.create()?;
        let written = write_file(file, meta, encode).on(&path, "write the snapshot");
        let file = written.and_then(|()| SnapshotFile::open(&path, true)).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        let adopted = self.adopt(&file)?;
        metrics::histogram!(SNAPSHOT_SECONDS).record(started.elapsed());
        Ok(adopted)
    }

    /// Begins to receive a snapshot file of `bytes` bytes. Blocks.
    pub fn receive(&self, bytes: u64) -> Result<Incoming, DiskError> {
        let (path, file) = self.create()?;
        Ok(Incoming { path, file: Some(file), expected: bytes, written: 0 })
    }

    /// Puts a written or received file in its place, durably, and removes older ones. A file that is in its place
    /// already stays there. Blocks.
    pub fn adopt(&self, snapshot: &SnapshotFile) -> Result<SnapshotFile, DiskError> {
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.0.folder.join(file_name(snapshot.meta()));
        let placed = if snapshot.0.temporary.swap(false, Ordering::AcqRel) {
            fs::rename(&snapshot.0.path, &path).on(&path, "rename into place")?;
            sync_dir(&self.0.folder)?;
            snapshot.moved_to(&path)?
        } else {
            snapshot.clone()
        };
        let older = newest
            .as_ref()
            .is_some_and(|newest| newest.meta().last_log_id.as_ref() > placed.meta().last_log_id.as_ref());
        if !older {
            metrics::gauge!(SNAPSHOT_BYTES).set(placed.bytes() as f64);
            *newest = Some(placed.clone());
        }
        if let Some(newest) = &*newest {
            self.remove_all_but(&newest.0.path)?;
        }
        Ok(placed)
    }

    fn remove_all_but(&self, keep: &Path) -> Result<(), DiskError> {
        let folder = &self.0.folder;
        for entry in fs::read_dir(folder).on(folder, "list")? {
            let path = entry.on(folder, "list")?.path();
            if path.extension().is_some_and(|extension| extension == "snapshot") && path != keep {
                fs::remove_file(&path).on(&path, "remove")?;
            }
        }
        Ok(())
    }

    fn create(&self) -> Result<(PathBuf, File), DiskError> {
        let number = self.0.unfinished.fetch_add(1, Ordering::Relaxed);
        let path = self.0.folder.join(format!("{number}.unfinished"));
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&path).on(&path, "create")?;
        Ok((path, file))
    }
}

/// A snapshot file that is being received; removed if it is dropped before it is finished.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: Option<File>,
    expected: u64,
    written: u64,
}

impl Incoming {
    /// Appends the next bytes. Blocks.
    pub fn write(&mut self, part: &[u8]) -> Result<(), DiskError> {
        self.written += part.len() as u64;
        if self.written > self.expected {
            return Err(DiskError::corrupt(&self.path, "the sender sent more than it announced"));
        }
        match &mut self.file {
            Some(file) => file.write_all(part).on(&self.path, "write"),
            None => Ok(()),
        }
    }

    /// Syncs the file and checks all of it. Blocks.
    pub fn finish(mut self) -> Result<SnapshotFile, DiskError> {
        if self.written != self.expected {
            return Err(DiskError::corrupt(&self.path, "the sender sent less than it announced"));
        }
        if let Some(file) = &self.file {
            file.sync_all().on(&self.path, "sync")?;
        }
        let checked = SnapshotFile::open(&self.path, true)?;
        // From here on the handle removes it.
        self.file = None;
        Ok(checked)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A snapshot that is damaged is passed over, which loses nothing: whoever opens the store compares what the log has
/// purged with the newest snapshot that is whole, and stops if entries in between are missing. If none are, the older
/// state and the log lead to the same state as the damaged snapshot.
fn open_or_log(path: &Path) -> Option<SnapshotFile> {
    match SnapshotFile::open(path, false) {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "this snapshot cannot be used");
            None
        }
    }
}

fn file_name(meta: &SnapshotMeta) -> String {
    let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
    format!("{index:020}-{term:020}.snapshot")
}

/// Counts and checksums what passes through.
struct Checksummed<W> {
    to: W,
    crc: u32,
    bytes: u64,
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.to.write(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, &buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn write_file(
    file: File,
    meta: &SnapshotMeta,
    encode: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = Checksummed { to: BufWriter::with_capacity(BUFFER_BYTES, file), crc: 0, bytes: 0 };
    let meta = to_bytes(meta);
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&(meta.len() as u32).to_le_bytes())?;
    out.write_all(&meta)?;
    let mut body = zstd::stream::write::Encoder::new(&mut out, ZSTD_LEVEL)?;
    encode(&mut body)?;
    body.finish()?;
    let mut trailer = out.bytes.to_le_bytes().to_vec();
    trailer.extend_from_slice(&out.crc.to_le_bytes());
    trailer.extend_from_slice(&TRAILER_MAGIC);
    out.to.write_all(&trailer)?;
    let file = out.to.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()
}

/// Checks all of the file; what it covers and where the state begins.
fn check(path: &Path, file: &File, bytes: u64) -> Result<(SnapshotMeta, u64), DiskError> {
    let wrong = |what: &str| DiskError::corrupt(path, what);
    let content = bytes.checked_sub(TRAILER_BYTES).filter(|content| *content >= HEAD_BYTES);
    let content = content.ok_or_else(|| wrong("too short for a snapshot"))?;
    let mut head = [0; HEAD_BYTES as usize];
    file.read_exact_at(&mut head, 0).on(path, "read")?;
    if head[..8] != MAGIC {
        return Err(wrong("it is not a snapshot"));
    }
    let found = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if found != VERSION {
        return Err(DiskError::Version { path: path.to_path_buf(), found, known: VERSION });
    }
    check_trailer(path, file, content)?;
    let meta_bytes = u32::from_le_bytes([head[12], head[13], head[14], head[15]]);
    let body_from = HEAD_BYTES + u64::from(meta_bytes);
    if meta_bytes > META_BYTES_MAX || body_from > content {
        return Err(wrong("the meta data is too long"));
    }
    let mut meta = vec![0; meta_bytes as usize];
    file.read_exact_at(&mut meta, HEAD_BYTES).on(path, "read")?;
    let meta = from_bytes(&meta, "snapshot meta data").map_err(|error| wrong(&error.to_string()))?;
    Ok((meta, body_from))
}

fn check_trailer(path: &Path, file: &File, content: u64) -> Result<(), DiskError> {
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut trailer, content).on(path, "read")?;
    let mut expected = content.to_le_bytes().to_vec();
    expected.extend_from_slice(&checksum(file, content).on(path, "read")?.to_le_bytes());
    expected.extend_from_slice(&TRAILER_MAGIC);
    if trailer[..] != expected[..] {
        return Err(DiskError::corrupt(path, "the checksum does not match"));
    }
    Ok(())
}

fn checksum(file: &File, bytes: u64) -> io::Result<u32> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut crc, mut at) = (0, 0);
    while at < bytes {
        let length = (bytes - at).min(BUFFER_BYTES as u64) as usize;
        file.read_exact_at(&mut buffer[..length], at)?;
        crc = crc32c::crc32c_append(crc, &buffer[..length]);
        at += length as u64;
    }
    Ok(crc)
}

#[cfg(test)]
#[path = "snapshot_test.rs"]
mod tests;
