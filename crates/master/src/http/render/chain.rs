//! A long answer in pieces: written once, read by any number of readers, each at its own pace. A piece is freed once
//! the last of them has passed it; when nobody is left to read, the writer is told to give up.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::watch;

/// In place of the number of readers: the writer has given up, and nobody can join any more.
const GIVEN_UP: usize = usize::MAX;

/// A piece and what comes after it.
#[derive(Debug, Default)]
struct Link {
    piece: Bytes,
    /// Said by the link itself: who sees the last piece sees that it is the last.
    is_last: bool,
    next: OnceLock<Arc<Link>>,
}

impl Drop for Link {
    /// One after the other: a chain may be too long for drops within drops.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(link) = next {
            next = Arc::into_inner(link).and_then(|mut link| link.next.take());
        }
    }
}

/// How far the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// So many pieces.
    Pieces(u64),
    /// All of them.
    Whole,
    /// It ended in the middle.
    Broken,
}

#[derive(Debug)]
struct Common {
    progress: watch::Sender<Progress>,
    readers: AtomicUsize,
}

/// The writer ended before the answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer ended in the middle")]
pub(super) struct Broken;

/// Nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for the answer any more")]
pub(super) struct Unread;

/// Where readers begin. As long as it is kept, no piece is freed.
#[derive(Debug)]
pub(super) struct Start {
    first: Arc<Link>,
    common: Arc<Common>,
}

/// The side that writes; dropped before its end, the answer is broken.
#[derive(Debug)]
pub(super) struct Writer {
    last: Arc<Link>,
    common: Arc<Common>,
    pieces: u64,
    is_whole: bool,
}

/// One that reads, from the beginning.
#[derive(Debug)]
pub(super) struct Reader {
    at: Arc<Link>,
    progress: watch::Receiver<Progress>,
    common: Arc<Common>,
}

/// A new answer, still empty.
pub(super) fn chain() -> (Writer, Start) {
    let first = Arc::new(Link::default());
    let common =
        Arc::new(Common { progress: watch::Sender::new(Progress::Pieces(0)), readers: AtomicUsize::new(0) });
    let writer = Writer { last: first.clone(), common: common.clone(), pieces: 0, is_whole: false };
    (writer, Start { first, common })
}

impl Start {
    /// One more reader; none if the writer has given up.
    pub(super) fn reader(&self) -> Option<Reader> {
        let readers = &self.common.readers;
        let joined = readers.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count != GIVEN_UP).then_some(count + 1)
        });
        joined.ok()?;
        let progress = self.common.progress.subscribe();
        Some(Reader { at: self.first.clone(), progress, common: self.common.clone() })
    }
}

impl Writer {
    /// Whether anybody reads. If not, nobody will.
    pub(super) fn is_wanted(&self) -> bool {
        let readers = &self.common.readers;
        match readers.compare_exchange(0, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => false,
            Err(count) => count != GIVEN_UP,
        }
    }

    /// The next piece.
    ///
    /// # Errors
    /// [`Unread`], and then this piece and any further one is for nobody.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Unread> {
        if !self.is_wanted() {
            return Err(Unread);
        }
        self.append(piece, false);
        self.pieces += 1;
        self.common.progress.send_replace(Progress::Pieces(self.pieces));
        Ok(())
    }

    /// The last piece, which may be empty. Readers see it and the end at once.
    pub(super) fn end(mut self, piece: Bytes) {
        self.append(piece, true);
        self.is_whole = true;
        self.common.progress.send_replace(Progress::Whole);
    }

    fn append(&mut self, piece: Bytes, is_last: bool) {
        let link = Arc::new(Link { piece, is_last, next: OnceLock::new() });
        // Only this writer sets what follows the last link, and then goes on to it.
        if self.last.next.set(link.clone()).is_ok() {
            self.last = link;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_whole {
            self.common.progress.send_replace(Progress::Broken);
        }
    }
}

impl Reader {
    /// The next piece; none at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        while !self.at.is_last {
            // Before the link is looked at, so that nothing comes unseen between the two.
            let progress = *self.progress.borrow_and_update();
            if let Some(next) = self.at.next.get().cloned() {
                self.at = next;
                match self.at.piece.is_empty() {
                    true => continue,
                    false => return Some(Ok(self.at.piece.clone())),
                }
            }
            match progress {
                Progress::Broken => return Some(Err(Broken)),
                // The sender lives in what this reader holds.
                Progress::Pieces(_) | Progress::Whole => drop(self.progress.changed().await),
            }
        }
        None
    }

    /// Whether what was read last is the last piece.
    pub(super) fn is_at_end(&self) -> bool {
        self.at.is_last
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A writer gives up only when there is no reader: the count is a count.
        self.common.readers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut reader: Reader) -> Result<Vec<u8>, Broken> {
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    #[tokio::test]
    async fn every_reader_gets_all_pieces_whenever_it_joined() {
        let (mut writer, start) = chain();
        let early = tokio::spawn(all(start.reader().unwrap()));
        writer.push(Bytes::from_static(b"one ")).unwrap();
        let middle = tokio::spawn(all(start.reader().unwrap()));
        tokio::task::yield_now().await;
        writer.push(Bytes::from_static(b"two ")).unwrap();
        writer.end(Bytes::from_static(b"three"));
        let late = all(start.reader().unwrap()).await;
        for got in [early.await.unwrap(), middle.await.unwrap(), late] {
            assert_eq!(got.unwrap(), b"one two three");
        }
    }

    #[tokio::test]
    async fn an_answer_that_ends_in_the_middle_is_broken_and_not_short() {
        let (mut writer, start) = chain();
        let reader = start.reader().unwrap();
        writer.push(Bytes::from_static(b"half")).unwrap();
        drop(writer);
        assert_eq!(all(reader).await, Err(Broken));
    }

    #[test]
    fn without_readers_the_writer_gives_up_and_nobody_joins() {
        let (mut writer, start) = chain();
        drop(start.reader());
        assert_eq!(writer.push(Bytes::from_static(b"piece")), Err(Unread));
        assert!(start.reader().is_none());
        assert!(!writer.is_wanted());
    }

    #[tokio::test]
    async fn a_short_answer_is_seen_to_be_at_its_end_with_its_only_piece() {
        let (writer, start) = chain();
        let mut reader = start.reader().unwrap();
        writer.end(Bytes::from_static(b"all"));
        assert_eq!(reader.next().await, Some(Ok(Bytes::from_static(b"all"))));
        assert!(reader.is_at_end());
    }

    #[tokio::test]
    async fn pieces_are_freed_behind_the_last_reader_however_many_there_are() {
        let (mut writer, start) = chain();
        let mut reader = start.reader().unwrap();
        let kept = Bytes::from(vec![1; 10]);
        writer.push(kept.clone()).unwrap();
        for _ in 0..100_000 {
            writer.push(Bytes::from_static(b"x")).unwrap();
        }
        drop(start);
        assert!(!kept.is_unique());
        reader.next().await;
        reader.next().await;
        assert!(kept.is_unique(), "the first piece is gone");
        drop(writer);
        drop(reader);
    }
}
