//! The log in append-only segment files: the oracle of [`SledLog`](crate::SledLog).
//!
//! A segment is a header and frames. A frame is everything written between two syncs: length, checksum of the length,
//! checksum of the body, body. So only the last frame of the last segment can be torn, and a damaged frame with a valid
//! one behind it is corruption, not a torn tail. A body is a run of operations, replayed in order at load. A new
//! segment begins with a copy of the small values, so that old segments can be deleted whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::DiskError;
use crate::backend::{Loaded, LogBackend, MetaKey, Record};
use crate::disk::{OnDisk, create_dir, sync_dir};

/// A segment that is longer than this is closed, in bytes.
const SEGMENT_BYTES: u64 = 16 << 20;
const MAGIC: [u8; 8] = *b"MSRHSEGM";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 12;
const FRAME_HEAD_BYTES: usize = 12;

const OP_ENTRY: u8 = 1;
const OP_TRUNCATE: u8 = 2;
const OP_PURGE: u8 = 3;
const OP_META: u8 = 4;

mod scan;

pub(crate) use scan::Scan;

struct Segment {
    number: u64,
    /// The highest index that it mentions; it can go once this is purged.
    last: Option<u64>,
}

/// The log in segment files.
pub struct SegmentLog {
    path: PathBuf,
    segment_bytes: u64,
    /// Oldest first; the last one is written to.
    segments: Vec<Segment>,
    file: File,
    written: u64,
    /// Operations since the last sync.
    pending: Vec<u8>,
    meta: BTreeMap<MetaKey, Bytes>,
    floor: Option<u64>,
    /// What replay found, until `load` hands it over.
    replayed: BTreeMap<u64, Bytes>,
}

impl SegmentLog {
    /// Opens or creates the log in the directory `path`.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        Self::open_with(path, SEGMENT_BYTES)
    }

    /// Like [`SegmentLog::open`], with segments of about `segment_bytes`.
    pub fn open_with(path: &Path, segment_bytes: u64) -> Result<Self, DiskError> {
        create_dir(path)?;
        let mut numbers = segment_numbers(path)?;
        if numbers.is_empty() {
            create_segment(path, 1)?;
            numbers.push(1);
        }
        let newest = *numbers.last().expect("there is at least the one just created");
        let newest_path = segment_path(path, newest);
        let file = OpenOptions::new().append(true).open(&newest_path).on(&newest_path, "open")?;
        let mut log = Self {
            path: path.to_path_buf(),
            segment_bytes,
            segments: Vec::new(),
            file,
            written: 0,
            pending: Vec::new(),
            meta: BTreeMap::new(),
            floor: None,
            replayed: BTreeMap::new(),
        };
        for number in numbers {
            log.replay(number, number == newest)?;
        }
        // A crash may have come between the creation of the newest segment and the copy.
        log.repeat_meta();
        Ok(log)
    }

    /// Copies the small values and the purge floor to the newest segment, so that older ones can go.
    fn repeat_meta(&mut self) {
        for (key, value) in self.meta.clone() {
            self.op_meta(key, &value);
        }
        if let Some(floor) = self.floor {
            self.op_number(OP_PURGE, floor);
        }
    }

    fn replay(&mut self, number: u64, newest: bool) -> Result<(), DiskError> {
        let path = segment_path(&self.path, number);
        let bytes = Bytes::from(fs::read(&path).on(&path, "read")?);
        if newest && (bytes.len() < HEADER_BYTES || bytes.iter().all(|byte| *byte == 0)) {
            // The crash came before the header was synced; nothing in it was acknowledged.
            self.segments.push(Segment { number, last: None });
            return self.restart_segment(&path);
        }
        check_header(&path, &bytes)?;
        self.segments.push(Segment { number, last: None });
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            match frame_at(&bytes, at) {
                Some(body) => {
                    at += FRAME_HEAD_BYTES + body.len();
                    self.replay_body(&path, &body)?;
                }
                None if newest && !(at + 1..bytes.len()).any(|later| frame_at(&bytes, later).is_some()) => {
                    tracing::warn!(path = %path.display(), at, "cut the torn tail of an unfinished write");
                    self.file.set_len(at as u64).on(&path, "cut")?;
                    self.file.sync_all().on(&path, "sync")?;
                    break;
                }
                None => {
                    return Err(DiskError::corrupt(&path, format!("the frame at byte {at} is damaged")));
                }
            }
        }
        self.written = at as u64;
        Ok(())
    }

    fn restart_segment(&mut self, path: &Path) -> Result<(), DiskError> {
        self.file.set_len(0).on(path, "cut")?;
        self.file.write_all(&header()).on(path, "write")?;
        self.file.sync_all().on(path, "sync")?;
        self.written = HEADER_BYTES as u64;
        Ok(())
    }

    fn replay_body(&mut self, path: &Path, body: &Bytes) -> Result<(), DiskError> {
        let mut ops = Ops { body, at: 0 };
        while ops.at < body.len() {
            let replayed = self.replay_op(&mut ops);
            replayed.ok_or_else(|| DiskError::corrupt(path, "an operation does not decode"))?;
        }
        Ok(())
    }

    fn replay_op(&mut self, ops: &mut Ops<'_>) -> Option<()> {
        match ops.byte()? {
            OP_ENTRY => {
                let index = ops.number()?;
                let bytes = ops.bytes()?;
                self.replayed.insert(index, bytes);
                self.mention(index);
            }
            OP_TRUNCATE => drop(self.replayed.split_off(&ops.number()?)),
            OP_PURGE => {
                let upto = ops.number()?;
                self.floor = self.floor.max(Some(upto));
                self.replayed = self.replayed.split_off(&(upto + 1));
            }
            OP_META => {
                let key = ops.byte()?;
                let key = MetaKey::ALL.into_iter().find(|known| *known as u8 == key)?;
                self.meta.insert(key, ops.bytes()?);
            }
            _ => return None,
        }
        Some(())
    }

    fn mention(&mut self, index: u64) {
        if let Some(segment) = self.segments.last_mut() {
            segment.last = segment.last.max(Some(index));
        }
    }

    fn op_number(&mut self, op: u8, number: u64) {
        self.pending.push(op);
        self.pending.extend_from_slice(&number.to_le_bytes());
    }

    fn op_bytes(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.pending.extend_from_slice(bytes);
    }

    fn op_meta(&mut self, key: MetaKey, value: &[u8]) {
        self.pending.extend_from_slice(&[OP_META, key as u8]);
        self.op_bytes(value);
    }

    fn rotate(&mut self) -> Result<(), DiskError> {
        let number = self.segments.last().map_or(1, |segment| segment.number + 1);
        self.file = create_segment(&self.path, number)?;
        self.written = HEADER_BYTES as u64;
        self.segments.push(Segment { number, last: None });
        self.repeat_meta();
        self.write_pending()
    }

    fn write_pending(&mut self) -> Result<(), DiskError> {
        if !self.pending.is_empty() {
            let frame = frame(&self.pending);
            self.file.write_all(&frame).on(&self.path, "write")?;
            self.written += frame.len() as u64;
            self.pending.clear();
        }
        self.file.sync_data().on(&self.path, "sync")
    }
}

impl LogBackend for SegmentLog {
    fn load(&mut self) -> Result<Loaded, DiskError> {
        let replayed = std::mem::take(&mut self.replayed);
        let records = replayed.into_iter().map(|(index, bytes)| Record { index, bytes }).collect();
        Ok(Loaded { records, meta: self.meta.clone() })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        for record in records {
            self.op_number(OP_ENTRY, record.index);
            self.op_bytes(&record.bytes);
            self.mention(record.index);
        }
        Ok(())
    }

    fn truncate(&mut self, from: u64) -> Result<(), DiskError> {
        self.op_number(OP_TRUNCATE, from);
        Ok(())
    }

    fn purge(&mut self, upto: u64) -> Result<(), DiskError> {
        self.floor = self.floor.max(Some(upto));
        self.op_number(OP_PURGE, upto);
        Ok(())
    }

    fn put_meta(&mut self, key: MetaKey, value: &[u8]) -> Result<(), DiskError> {
        self.meta.insert(key, Bytes::copy_from_slice(value));
        self.op_meta(key, value);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.write_pending()?;
        if self.written > self.segment_bytes { self.rotate() } else { Ok(()) }
    }

    fn housekeep(&mut self) -> Result<bool, DiskError> {
        // Only what the next segment repeats durably may go: pending operations are not there yet.
        let gone = |segment: &Segment| segment.last.is_none_or(|last| Some(last) <= self.floor);
        if !self.pending.is_empty() || self.segments.len() < 2 || !gone(&self.segments[0]) {
            return Ok(false);
        }
        let path = segment_path(&self.path, self.segments[0].number);
        fs::remove_file(&path).on(&path, "remove")?;
        self.segments.remove(0);
        Ok(self.segments.len() > 1 && gone(&self.segments[0]))
    }
}

/// Reads the operations of one frame's body.
struct Ops<'a> {
    body: &'a Bytes,
    at: usize,
}

impl Ops<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.body.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let number = self.body.get(self.at..)?.first_chunk::<8>()?;
        self.at += 8;
        Some(u64::from_le_bytes(*number))
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = u32::from_le_bytes(*self.body.get(self.at..)?.first_chunk::<4>()?) as usize;
        let from = self.at + 4;
        let to = from.checked_add(length).filter(|to| *to <= self.body.len())?;
        self.at = to;
        Some(self.body.slice(from..to))
    }
}

fn header() -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&VERSION.to_le_bytes());
    header
}

fn check_header(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(DiskError::corrupt(path, "it is shorter than its header"));
    };
    if head[..8] != MAGIC {
        return Err(DiskError::corrupt(path, "it is not a log segment"));
    }
    let found = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if found != VERSION {
        return Err(DiskError::Version { path: path.to_path_buf(), found, known: VERSION });
    }
    Ok(())
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_le_bytes();
    let mut frame = Vec::with_capacity(FRAME_HEAD_BYTES + body.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&crc32c::crc32c(&length).to_le_bytes());
    frame.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

/// The body of the frame that begins at `at`, if that is a whole and undamaged one.
fn frame_at(bytes: &Bytes, at: usize) -> Option<Bytes> {
    let head = bytes.get(at..)?.first_chunk::<FRAME_HEAD_BYTES>()?;
    let word = |from: usize| [head[from], head[from + 1], head[from + 2], head[from + 3]];
    let length = u32::from_le_bytes(word(0)) as usize;
    if length == 0 || crc32c::crc32c(&word(0)).to_le_bytes() != word(4) {
        return None;
    }
    let from = at + FRAME_HEAD_BYTES;
    let to = from.checked_add(length).filter(|to| *to <= bytes.len())?;
    let body = bytes.slice(from..to);
    (crc32c::crc32c(&body).to_le_bytes() == word(8)).then_some(body)
}

fn segment_path(path: &Path, number: u64) -> PathBuf {
    path.join(format!("{number:016}.segment"))
}

fn segment_numbers(path: &Path) -> Result<Vec<u64>, DiskError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(path).on(path, "list")? {
        let name = entry.on(path, "list")?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".segment"));
        let number = number.and_then(|number| number.parse().ok());
        numbers.push(number.ok_or_else(|| {
            DiskError::corrupt(path, format!("{} is not a log segment", name.to_string_lossy()))
        })?);
    }
    numbers.sort_unstable();
    if numbers.windows(2).any(|pair| pair[1] != pair[0] + 1) {
        return Err(DiskError::corrupt(path, "a segment in the middle is missing"));
    }
    Ok(numbers)
}

fn create_segment(path: &Path, number: u64) -> Result<File, DiskError> {
    let file_path = segment_path(path, number);
    let mut file = OpenOptions::new().create(true).append(true).open(&file_path).on(&file_path, "create")?;
    file.write_all(&header()).on(&file_path, "write")?;
    file.sync_all().on(&file_path, "sync")?;
    sync_dir(path)?;
    Ok(file)
}

#[cfg(test)]
#[path = "segment_log_test.rs"]
mod tests;
