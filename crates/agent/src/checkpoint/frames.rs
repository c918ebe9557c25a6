//! The bytes of the log: header and frames.

/// Format version of the file.
pub(super) const VERSION: u32 = 2;
/// In this one the checksum did not cover the length. Still read, and written anew at once.
const VERSION_BARE_CHECKSUM: u32 = 1;
const MAGIC: [u8; 8] = *b"MESAGENT";
const FRAME_HEADER_BYTES: usize = 8;

/// First bytes of a log: magic and version.
pub(super) const HEADER: [u8; 12] = {
    let (magic, version) = (MAGIC, VERSION.to_le_bytes());
    let mut header = [0; 12];
    let mut at = 0;
    while at < 12 {
        header[at] = if at < 8 { magic[at] } else { version[at - 8] };
        at += 1;
    }
    header
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// Another program's file.
    Foreign,
    /// A version that is not known.
    Version(u32),
    /// The frame at this offset is damaged, and it is not the last one.
    Broken(usize),
}

/// A batch and where its frame begins.
pub(super) type Batch<'a> = (usize, &'a [u8]);

/// One frame around a batch.
pub(super) fn frame(batch: &[u8]) -> Vec<u8> {
    let length = (batch.len() as u32).to_le_bytes();
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + batch.len());
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&checksum(length, batch).to_le_bytes());
    frame.extend_from_slice(batch);
    frame
}

/// Of the length as well: a damaged one must not pass for the end of the log.
fn checksum(length: [u8; 4], batch: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), batch)
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content<'a> {
    /// In order.
    pub(super) batches: Vec<Batch<'a>>,
    /// How many bytes are good: a frame that the end of the file cuts off, and zeros that a crash left behind, do not
    /// count.
    pub(super) good: usize,
    /// In which format it was written.
    pub(super) version: u32,
}

/// Takes a file apart.
pub(super) fn split(content: &[u8]) -> Result<Content<'_>, FrameError> {
    if !content.starts_with(&MAGIC) || content.len() < HEADER.len() {
        return Err(FrameError::Foreign);
    }
    let version = word(content, MAGIC.len());
    if !(VERSION_BARE_CHECKSUM..=VERSION).contains(&version) {
        return Err(FrameError::Version(version));
    }
    let (mut batches, mut at) = (Vec::new(), HEADER.len());
    while let Some((batch, end)) = whole_frame(content, at, version) {
        batches.push((at, batch));
        at = end;
    }
    match is_torn(content, at, version) {
        true => Ok(Content { batches, good: at, version }),
        false => Err(FrameError::Broken(at)),
    }
}

/// The batch of a frame that is whole and undamaged, and where the frame ends.
fn whole_frame(content: &[u8], at: usize, version: u32) -> Option<(&[u8], usize)> {
    let start = at.checked_add(FRAME_HEADER_BYTES).filter(|start| *start <= content.len())?;
    let length = word(content, at);
    let end = start.checked_add(length as usize)?;
    // No batch is empty: zeros are not a frame.
    let batch = content.get(start..end).filter(|batch| !batch.is_empty())?;
    let sum = match version {
        VERSION_BARE_CHECKSUM => crc32c::crc32c(batch),
        _ => checksum(length.to_le_bytes(), batch),
    };
    (sum == word(content, at + 4)).then_some((batch, end))
}

/// Whether what follows the last good frame is only a write that was never finished: nothing, zeros, or the beginning
/// of one frame. What was synced lies before it, so a good frame behind it proves that something synced is damaged.
fn is_torn(content: &[u8], at: usize, version: u32) -> bool {
    let rest = &content[at..];
    if rest.len() < FRAME_HEADER_BYTES || rest.iter().all(|byte| *byte == 0) {
        return true;
    }
    let reaches_end = rest.len() - FRAME_HEADER_BYTES <= word(content, at) as usize;
    reaches_end && !(at + 1..content.len()).any(|later| whole_frame(content, later, version).is_some())
}

fn word(content: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([content[at], content[at + 1], content[at + 2], content[at + 3]])
}
