//! Where renderers write: bytes become pieces of an answer as soon as there are enough of them, compressed if the
//! client wants that.

use std::{
    io::{self, Write},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::chain::Writer;

/// From so many bytes on, a piece is passed on.
const PIECE_BYTES: usize = 128 * 1024;
/// Shorter answers are not compressed, as in Mesos.
const COMPRESSED_BYTES_MIN: usize = 1024;
/// The fastest: what is saved beyond it is little, and takes several times as long.
const LEVEL: Compression = Compression::fast();

/// Takes an answer as it is rendered. Writing fails once nobody waits for the answer any more.
pub(in crate::http) struct Sink {
    buffer: Vec<u8>,
    encoder: Option<GzEncoder<Vec<u8>>>,
    wants_gzip: bool,
    /// Set before the first piece is passed on.
    is_compressed: Arc<OnceLock<bool>>,
    writer: Writer,
    /// Called with every piece.
    passed: Box<dyn FnMut()>,
}

impl Sink {
    pub(super) fn new(
        writer: Writer,
        wants_gzip: bool,
        is_compressed: Arc<OnceLock<bool>>,
        passed: Box<dyn FnMut()>,
    ) -> Self {
        // Pieces end behind what made them long enough.
        let buffer = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        Self { buffer, encoder: None, wants_gzip, is_compressed, writer, passed }
    }

    /// For renderers that fill a buffer of their own: takes what is in it. Whether to go on.
    pub(in crate::http) fn take(&mut self, bytes: &mut Vec<u8>) -> bool {
        self.buffer.append(bytes);
        self.buffer.len() < PIECE_BYTES || self.spill().is_ok()
    }

    /// Passes on what there is.
    fn spill(&mut self) -> io::Result<()> {
        self.decide(true);
        let piece = match &mut self.encoder {
            Some(encoder) => {
                encoder.write_all(&self.buffer)?;
                self.buffer.clear();
                match encoder.get_ref().len() < PIECE_BYTES {
                    true => Bytes::new(),
                    false => std::mem::take(encoder.get_mut()).into(),
                }
            }
            None => {
                let empty = Vec::with_capacity(self.buffer.capacity());
                std::mem::replace(&mut self.buffer, empty).into()
            }
        };
        (self.passed)();
        if piece.is_empty() {
            // Nothing to pass on yet, but nothing to be done for nobody either.
            return match self.writer.is_wanted() {
                true => Ok(()),
                false => Err(unread()),
            };
        }
        self.writer.push(piece).map_err(|_| unread())
    }

    /// Decides, once, whether the answer is compressed.
    fn decide(&mut self, is_long: bool) {
        let wants_gzip = self.wants_gzip && is_long;
        if self.is_compressed.set(wants_gzip).is_ok() && wants_gzip {
            self.encoder = Some(GzEncoder::new(Vec::with_capacity(PIECE_BYTES), LEVEL));
        }
    }

    /// The end of the answer.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.decide(self.buffer.len() >= COMPRESSED_BYTES_MIN);
        let last = match self.encoder {
            Some(mut encoder) => {
                encoder.write_all(&self.buffer)?;
                encoder.finish()?
            }
            None => self.buffer,
        };
        self.writer.end(last.into());
        Ok(())
    }
}

fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, super::chain::Unread)
}

impl Write for Sink {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES { self.spill() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{
        super::chain::{self, Reader},
        *,
    };

    fn sink(wants_gzip: bool) -> (Sink, Reader, Arc<OnceLock<bool>>) {
        let (writer, start) = chain::chain();
        let is_compressed = Arc::new(OnceLock::new());
        let reader = start.reader().unwrap();
        (Sink::new(writer, wants_gzip, is_compressed.clone(), Box::new(|| ())), reader, is_compressed)
    }

    async fn read(mut reader: Reader) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next().await {
            pieces.push(piece.unwrap());
        }
        pieces
    }

    #[tokio::test]
    async fn answers_come_in_pieces_whole_and_compressed_if_that_is_wanted_and_worth_it() {
        for (bytes, wants_gzip, expect) in [
            (0, true, false),
            (COMPRESSED_BYTES_MIN - 1, true, false),
            (COMPRESSED_BYTES_MIN, true, true),
            (COMPRESSED_BYTES_MIN, false, false),
            (5 * PIECE_BYTES, true, true),
            (5 * PIECE_BYTES + 7, false, false),
        ] {
            let (mut sink, reader, is_compressed) = sink(wants_gzip);
            let text: Vec<u8> = (0..bytes).map(|at| (at * at % 251) as u8).collect();
            text.chunks(1000).for_each(|part| sink.write_all(part).unwrap());
            sink.end().unwrap();
            let pieces = read(reader).await;
            assert_eq!(is_compressed.get(), Some(&expect), "{bytes} bytes");
            assert!(pieces.iter().all(|piece| piece.len() < PIECE_BYTES * 2), "{bytes} bytes");
            let mut all = pieces.concat();
            if expect {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&all[..]).read_to_end(&mut plain).unwrap();
                all = plain;
            }
            assert!(all == text, "{bytes} bytes");
        }
    }

    #[test]
    fn nothing_is_rendered_for_a_reader_that_went_away() {
        for wants_gzip in [false, true] {
            let (mut sink, reader, _) = sink(wants_gzip);
            drop(reader);
            let mut written = 0;
            while sink.write_all(&[0; 1000]).is_ok() {
                written += 1000;
            }
            assert!(written < PIECE_BYTES, "{written}");
        }
    }
}
