//! Segment files read where they stand, one at a time. First where every entry is, then the entries.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{
    FRAME_HEAD_BYTES, HEADER_BYTES, OP_ENTRY, OP_META, OP_PURGE, OP_TRUNCATE, Ops, check_header, frame_at,
    segment_numbers, segment_path,
};
use crate::DiskError;
use crate::backend::{MetaKey, Record};
use crate::disk::OnDisk;

/// Where an entry's bytes are.
struct Place {
    segment: u64,
    from: usize,
    to: usize,
}

/// The entries of a log in segment files, then what is damaged, if anything is: nothing behind that is read.
pub(crate) struct Scan {
    path: PathBuf,
    meta: BTreeMap<MetaKey, Bytes>,
    places: BTreeMap<u64, Place>,
    /// The segment that was read last.
    held: Option<(u64, Bytes)>,
    damage: Option<DiskError>,
}

impl Scan {
    /// Looks through all segments in the directory `path`.
    pub(crate) fn new(path: &Path, from: u64) -> Result<Self, DiskError> {
        let (meta, places) = (BTreeMap::new(), BTreeMap::new());
        let mut scan = Self { path: path.to_path_buf(), meta, places, held: None, damage: None };
        let numbers = segment_numbers(path)?;
        for number in &numbers {
            if let Err(damage) = scan.look_through(*number, numbers.last() == Some(number)) {
                scan.damage = Some(damage);
                break;
            }
        }
        scan.places = scan.places.split_off(&from);
        Ok(scan)
    }

    /// The small values.
    pub(crate) fn meta(&self) -> &BTreeMap<MetaKey, Bytes> {
        &self.meta
    }

    fn look_through(&mut self, number: u64, newest: bool) -> Result<(), DiskError> {
        let path = segment_path(&self.path, number);
        let bytes = Bytes::from(fs::read(&path).on(&path, "read")?);
        if newest && (bytes.len() < HEADER_BYTES || bytes.iter().all(|byte| *byte == 0)) {
            // The crash came before the header was synced; nothing in it was acknowledged.
            return Ok(());
        }
        check_header(&path, &bytes)?;
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            let body = frame_at(&bytes, at).ok_or_else(|| {
                let torn = newest && !(at + 1..bytes.len()).any(|later| frame_at(&bytes, later).is_some());
                DiskError::corrupt(
                    &path,
                    if torn {
                        format!("torn at byte {at}: the last write was not finished, and never acknowledged")
                    } else {
                        format!("the frame at byte {at} is damaged; what follows is not read")
                    },
                )
            })?;
            at += FRAME_HEAD_BYTES;
            self.note_all(number, at, &body)
                .ok_or_else(|| DiskError::corrupt(&path, "an operation does not decode"))?;
            at += body.len();
        }
        Ok(())
    }

    /// Notes what the operations of a frame's `body`, which is at byte `at` of the segment, lead to.
    fn note_all(&mut self, segment: u64, at: usize, body: &Bytes) -> Option<()> {
        let mut ops = Ops { body, at: 0 };
        while ops.at < body.len() {
            match ops.byte()? {
                OP_ENTRY => {
                    let (index, length) = (ops.number()?, ops.bytes()?.len());
                    let to = at + ops.at;
                    self.places.insert(index, Place { segment, from: to - length, to });
                }
                OP_TRUNCATE => drop(self.places.split_off(&ops.number()?)),
                OP_PURGE => self.places = self.places.split_off(&(ops.number()? + 1)),
                OP_META => {
                    let key = ops.byte()?;
                    let key = MetaKey::ALL.into_iter().find(|known| *known as u8 == key)?;
                    // A copy: a slice would keep the whole segment in memory.
                    self.meta.insert(key, Bytes::copy_from_slice(&ops.bytes()?));
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn read(&mut self, index: u64, place: &Place) -> Result<Record, DiskError> {
        if self.held.as_ref().is_none_or(|(number, _)| *number != place.segment) {
            let path = segment_path(&self.path, place.segment);
            self.held = None;
            self.held = Some((place.segment, fs::read(&path).on(&path, "read")?.into()));
        }
        let held = self.held.as_ref().filter(|(_, bytes)| place.to <= bytes.len());
        let (_, bytes) = held.ok_or_else(|| {
            DiskError::corrupt(&self.path, format!("entry {index} was cut off while the log was read"))
        })?;
        Ok(Record { index, bytes: bytes.slice(place.from..place.to) })
    }
}

impl Iterator for Scan {
    type Item = Result<Record, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.places.pop_first() {
            Some((index, place)) => Some(self.read(index, &place)),
            None => self.damage.take().map(Err),
        }
    }
}
