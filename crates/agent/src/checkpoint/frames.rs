//! The bytes of the log: header and frames.

/// Format version of the file.
pub(super) const VERSION: u32 = 1;
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
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + batch.len());
    frame.extend_from_slice(&(batch.len() as u32).to_le_bytes());
    frame.extend_from_slice(&crc32c::crc32c(batch).to_le_bytes());
    frame.extend_from_slice(batch);
    frame
}

/// The batches with their offsets, and how many bytes of the content are good: a frame that the end of the file cuts
/// off, and zeros that a crash left behind, do not count.
pub(super) fn split(content: &[u8]) -> Result<(Vec<Batch<'_>>, usize), FrameError> {
    if !content.starts_with(&MAGIC) || content.len() < HEADER.len() {
        return Err(FrameError::Foreign);
    }
    let version = word(content, MAGIC.len());
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let (mut batches, mut at) = (Vec::new(), HEADER.len());
    while content.len() - at >= FRAME_HEADER_BYTES {
        let (start, length) = (at + FRAME_HEADER_BYTES, word(content, at) as usize);
        let Some(batch) = content.get(start..start + length) else {
            break;
        };
        if length == 0 && content[at..].iter().all(|byte| *byte == 0) {
            break;
        }
        if crc32c::crc32c(batch) != word(content, at + 4) {
            if start + length == content.len() {
                break;
            }
            return Err(FrameError::Broken(at));
        }
        batches.push((at, batch));
        at = start + length;
    }
    Ok((batches, at))
}

fn word(content: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([content[at], content[at + 1], content[at + 2], content[at + 3]])
}
