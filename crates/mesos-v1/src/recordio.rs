//! RecordIO: a stream of records, each `<decimal length>\n<bytes>` with nothing after it.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{ApiMessage, append};
use crate::media::ContentType;

/// Default bound of one record, in bytes; that of request bodies as well.
pub const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// No length has more digits.
const HEADER_DIGITS_MAX: usize = 20;

/// Holds most events, header included, without growing. Small enough for the allocator's fast path.
const USUAL_BYTES: usize = 1024;

/// One frame. To be written as one HTTP chunk: some clients take each chunk for exactly one record.
pub fn encode(record: &[u8]) -> Bytes {
    let header = record.len().to_string();
    let mut frame = Vec::with_capacity(header.len() + 1 + record.len());
    frame.extend_from_slice(header.as_bytes());
    frame.push(b'\n');
    frame.extend_from_slice(record);
    frame.into()
}

/// One frame that holds this message, in no more memory than it has bytes.
pub fn encode_message<T: ApiMessage>(content_type: ContentType, message: &T) -> Bytes {
    // The length is known last and stands first.
    let room = HEADER_DIGITS_MAX + 1;
    let mut frame = Vec::with_capacity(USUAL_BYTES);
    frame.resize(room, b'\n');
    append(content_type, message, &mut frame);
    let header = (frame.len() - room).to_string();
    let start = room - 1 - header.len();
    frame[start..room - 1].copy_from_slice(header.as_bytes());
    Bytes::copy_from_slice(&frame[start..])
}

/// Why a stream cannot be read on. Every later call answers the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// What should be a length is not one.
    #[error("the length of a record is not a decimal number")]
    BadLength,
    /// The record is longer than the decoder was made for.
    #[error("a record of {length} bytes is longer than the limit of {max}")]
    TooLong {
        /// As announced, in bytes.
        length: u64,
        /// The bound, in bytes.
        max: usize,
    },
    /// The stream ended inside a record.
    #[error("the stream ended inside a record")]
    CutOff,
}

/// Takes a stream apart as its chunks come in, however they are cut.
///
/// Holds at most one unfinished record and what was pushed and not yet taken out: take all records out after each push.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Length of the record whose header was read.
    record_bytes: Option<usize>,
    record_bytes_max: usize,
    failed: Option<RecordError>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(RECORD_BYTES_MAX)
    }
}

impl Decoder {
    /// `record_bytes_max` bounds each record, in bytes.
    pub fn new(record_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), record_bytes: None, record_bytes_max, failed: None }
    }

    /// Adds the next chunk of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next whole record; `None` until more chunks are pushed.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.advance().inspect_err(|error| self.fail(*error)),
        }
    }

    /// Says that the stream is over: an error if it is in the middle of a record.
    pub fn finish(&self) -> Result<(), RecordError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.buffer.is_empty() && self.record_bytes.is_none() => Ok(()),
            None => Err(RecordError::CutOff),
        }
    }

    fn fail(&mut self, error: RecordError) {
        self.failed = Some(error);
        self.buffer = BytesMut::new();
    }

    fn advance(&mut self) -> Result<Option<Bytes>, RecordError> {
        if self.record_bytes.is_none() {
            self.record_bytes = self.header()?;
        }
        match self.record_bytes {
            Some(length) if self.buffer.len() >= length => {
                self.record_bytes = None;
                Ok(Some(self.buffer.split_to(length).freeze()))
            }
            _ => Ok(None),
        }
    }

    fn header(&mut self) -> Result<Option<usize>, RecordError> {
        let visible = &self.buffer[..self.buffer.len().min(HEADER_DIGITS_MAX + 1)];
        let digits = visible.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length = match visible.get(digits) {
            Some(b'\n') if digits > 0 => number(&visible[..digits])?,
            None if digits <= HEADER_DIGITS_MAX => return Ok(None),
            _ => return Err(RecordError::BadLength),
        };
        self.buffer.advance(digits + 1);
        match usize::try_from(length) {
            Ok(fits) if fits <= self.record_bytes_max => Ok(Some(fits)),
            _ => Err(RecordError::TooLong { length, max: self.record_bytes_max }),
        }
    }
}

fn number(digits: &[u8]) -> Result<u64, RecordError> {
    let text = std::str::from_utf8(digits).map_err(|_| RecordError::BadLength)?;
    text.parse().map_err(|_| RecordError::BadLength)
}

#[cfg(test)]
#[path = "recordio_test.rs"]
mod tests;
