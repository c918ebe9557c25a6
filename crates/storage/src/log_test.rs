use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::type_config::TypeConfigExt;
use tokio::time::timeout;

use super::*;
use crate::backend::{Loaded, Record};
use crate::types::{Payload, log_id, vote};

/// A backend that writes down what it is told, and fails when it is told to.
#[derive(Clone, Default)]
struct Recorder {
    calls: Arc<Mutex<Vec<String>>>,
    broken: Arc<AtomicBool>,
}

impl Recorder {
    fn note(&self, call: String) -> Result<(), DiskError> {
        self.calls.lock().unwrap().push(call);
        if self.broken.load(Ordering::SeqCst) {
            return Err(DiskError::io(Path::new("/log"), "write", io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl LogBackend for Recorder {
    fn load(&mut self) -> Result<Loaded, DiskError> {
        Ok(Loaded::default())
    }
    fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        let indexes: Vec<_> = records.iter().map(|record| record.index).collect();
        self.note(format!("append {indexes:?}"))
    }
    fn truncate(&mut self, from: u64) -> Result<(), DiskError> {
        self.note(format!("truncate {from}"))
    }
    fn purge(&mut self, upto: u64) -> Result<(), DiskError> {
        self.note(format!("purge {upto}"))
    }
    fn put_meta(&mut self, key: MetaKey, _: &[u8]) -> Result<(), DiskError> {
        self.note(format!("meta {key:?}"))
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        self.note("sync".into())
    }
    fn housekeep(&mut self) -> Result<bool, DiskError> {
        Ok(false)
    }
}

/// A sled log whose sync says that it has begun and ends as it is told.
struct Gated {
    log: Log,
    begun: mpsc::UnboundedReceiver<()>,
    end: std::sync::mpsc::Sender<io::Result<()>>,
    fatal: Fatal,
    _dir: tempfile::TempDir,
}

fn gated() -> Gated {
    let dir = tempfile::tempdir().unwrap();
    let (begin, begun) = mpsc::unbounded_channel();
    let (end, told) = std::sync::mpsc::channel();
    end.send(Ok(())).unwrap();
    let sled = crate::SledLog::open_with(dir.path(), move |_| {
        Box::new(move || {
            begin.send(()).map_err(io::Error::other)?;
            told.recv().map_err(io::Error::other)?
        })
    });
    let fatal = Fatal::default();
    let log = Log::open(dir.path(), Box::new(sled.unwrap()), fatal.clone()).unwrap();
    Gated { log, begun, end, fatal, _dir: dir }
}

const SOON: Duration = Duration::from_secs(10);

/// A backend with much to free, which stops before each slice until it is told to go on.
struct Freeing {
    recorder: Recorder,
    slices: usize,
    begin: mpsc::UnboundedSender<()>,
    go_on: std::sync::mpsc::Receiver<()>,
}

impl LogBackend for Freeing {
    fn load(&mut self) -> Result<Loaded, DiskError> {
        self.recorder.load()
    }
    fn append(&mut self, records: &[Record]) -> Result<(), DiskError> {
        self.recorder.append(records)
    }
    fn truncate(&mut self, from: u64) -> Result<(), DiskError> {
        self.recorder.truncate(from)
    }
    fn purge(&mut self, upto: u64) -> Result<(), DiskError> {
        self.slices = 3;
        self.recorder.purge(upto)
    }
    fn put_meta(&mut self, key: MetaKey, value: &[u8]) -> Result<(), DiskError> {
        self.recorder.put_meta(key, value)
    }
    fn sync(&mut self) -> Result<(), DiskError> {
        self.recorder.sync()
    }
    fn housekeep(&mut self) -> Result<bool, DiskError> {
        if self.slices == 0 {
            return Ok(false);
        }
        self.slices -= 1;
        self.begin.send(()).unwrap();
        self.go_on.recv().unwrap();
        self.recorder.note("slice".into())?;
        Ok(self.slices > 0)
    }
}

fn entry(term: u64, index: u64, length: usize) -> Entry {
    let bytes = Bytes::from(vec![7; length]);
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Payload(bytes)) }
}

async fn append(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    let (sender, signalled) = Types::oneshot();
    log.append(entries, IOFlushed::signal(sender)).await?;
    signalled.await.unwrap()
}

fn recorded() -> (Log, Recorder, Fatal) {
    let (recorder, fatal) = (Recorder::default(), Fatal::default());
    let log = Log::open(Path::new("/log"), Box::new(recorder.clone()), fatal.clone()).unwrap();
    (log, recorder, fatal)
}

#[tokio::test]
async fn trap_15_appends_and_votes_are_acknowledged_after_a_sync_and_in_order() {
    let (mut log, recorder, _) = recorded();
    append(&mut log, vec![entry(1, 0, 1), entry(1, 1, 1)]).await.unwrap();
    assert_eq!(recorder.calls(), ["append [0, 1]", "sync"]);
    log.save_vote(&vote(2, 1, false)).await.unwrap();
    log.truncate_after(Some(log_id(1, 0))).await.unwrap();
    append(&mut log, vec![entry(2, 1, 1)]).await.unwrap();
    let expected = ["append [0, 1]", "sync", "meta Vote", "sync", "truncate 1", "sync", "append [1]", "sync"];
    assert_eq!(recorder.calls(), expected);
}

#[tokio::test]
async fn trap_3_nothing_is_acknowledged_before_the_fdatasync_has_ended() {
    let mut gated = gated();
    timeout(SOON, gated.begun.recv()).await.expect("the opening syncs").unwrap();
    for index in 0..3 {
        let appending = append(&mut gated.log, vec![entry(1, index, 1)]);
        tokio::pin!(appending);
        tokio::select! {
            early = &mut appending => panic!("acknowledged before the sync: {early:?}"),
            begun = timeout(SOON, gated.begun.recv()) => begun.expect("our own sync is called").unwrap(),
        }
        // The thread that is to acknowledge stands in the sync: what it had said before would be here now.
        assert!(timeout(Duration::ZERO, &mut appending).await.is_err(), "acknowledged before the sync ended");
        gated.end.send(Ok(())).unwrap();
        timeout(SOON, appending).await.expect("acknowledged after the sync").unwrap();
    }
}

#[tokio::test]
async fn trap_3_a_failed_fdatasync_acknowledges_nothing_and_stops_the_node() {
    let mut gated = gated();
    gated.end.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    assert!(timeout(SOON, append(&mut gated.log, vec![entry(1, 0, 1)])).await.expect("told").is_err());
    let reason = gated.fatal.reported().await;
    assert!(reason.contains("no space left"), "{reason}");
    assert!(timeout(SOON, gated.log.save_vote(&vote(1, 1, false))).await.expect("told").is_err());
}

#[tokio::test]
async fn trap_6_an_append_waits_for_one_slice_of_a_purge_and_not_for_all() {
    let recorder = Recorder::default();
    let (begin, mut begun) = mpsc::unbounded_channel();
    let (go, go_on) = std::sync::mpsc::channel();
    let freeing = Freeing { recorder: recorder.clone(), slices: 0, begin, go_on };
    let mut log = Log::open(Path::new("/log"), Box::new(freeing), Fatal::default()).unwrap();
    append(&mut log, vec![entry(1, 0, 1), entry(1, 1, 1)]).await.unwrap();
    log.purge(log_id(1, 0)).await.unwrap();
    timeout(SOON, begun.recv()).await.expect("it frees while it is idle").unwrap();
    let (sender, signalled) = Types::oneshot();
    log.append(vec![entry(1, 2, 1)], IOFlushed::signal(sender)).await.unwrap();
    go.send(()).unwrap();
    timeout(SOON, signalled).await.expect("appended after one slice").unwrap().unwrap();
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    log.close().await.unwrap();
    let calls = recorder.calls();
    let from_purge = calls.iter().skip_while(|call| *call != "purge 0").map(String::as_str);
    let expected = ["purge 0", "slice", "append [2]", "sync"];
    assert_eq!(from_purge.take(4).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn committed_and_purge_do_not_wait_for_a_sync_and_keep_their_order() {
    let (mut log, recorder, _) = recorded();
    append(&mut log, vec![entry(1, 0, 1), entry(1, 1, 1)]).await.unwrap();
    log.save_committed(Some(log_id(1, 1))).await.unwrap();
    log.purge(log_id(1, 0)).await.unwrap();
    log.close().await.unwrap();
    let calls = recorder.calls();
    assert_eq!(calls[2..], ["meta Committed", "meta Purged", "purge 0", "sync"]);
}

#[tokio::test]
async fn a_failed_write_is_told_to_the_waiter_and_to_the_node_and_nothing_is_written_after_it() {
    let (mut log, recorder, fatal) = recorded();
    recorder.broken.store(true, Ordering::SeqCst);
    assert!(append(&mut log, vec![entry(1, 0, 1)]).await.is_err());
    let reason = fatal.reported().await;
    assert!(reason.contains("no space left"), "{reason}");
    recorder.broken.store(false, Ordering::SeqCst);
    assert!(log.save_vote(&vote(1, 1, false)).await.is_err());
    assert_eq!(recorder.calls(), ["append [0]"]);
}

#[tokio::test]
async fn a_hole_is_refused() {
    let (mut log, ..) = recorded();
    append(&mut log, vec![entry(1, 0, 1)]).await.unwrap();
    assert!(log.append(vec![entry(1, 2, 1)], IOFlushed::noop()).await.is_err());
}

#[tokio::test]
async fn reads_are_bounded_by_bytes_and_never_empty() {
    let (mut log, ..) = recorded();
    let big = REPLICATION_BYTES as usize;
    append(
        &mut log,
        vec![entry(1, 0, 2 * big), entry(1, 1, big / 2), entry(1, 2, big / 4), entry(1, 3, big / 2)],
    )
    .await
    .unwrap();
    let mut read = async |from: u64| log.limited_get_log_entries(from, 4).await.unwrap().len();
    assert_eq!([read(0).await, read(1).await, read(2).await, read(3).await], [1, 2, 2, 1]);
}

#[tokio::test]
async fn bytes_and_the_purge_point_follow_the_log() {
    let (mut log, ..) = recorded();
    let entries = (0..10).map(|index| entry(1, index, 100)).collect();
    append(&mut log, entries).await.unwrap();
    let each = entry_bytes(&entry(1, 0, 100));
    assert_eq!(log.bytes(), 10 * each);
    assert_eq!(log.bytes_after(7), 2 * each);
    assert_eq!(log.purge_point(3 * each), Some(6));
    assert_eq!(log.purge_point(10 * each), None);
    log.purge(log_id(1, 6)).await.unwrap();
    log.truncate_after(Some(log_id(1, 8))).await.unwrap();
    assert_eq!(log.bytes(), 2 * each);
}

#[tokio::test]
async fn both_backends_give_back_the_log_after_a_restart() {
    for backend in [crate::Backend::Sled, crate::Backend::Segments] {
        let dir = tempfile::tempdir().unwrap();
        let open = || open_in(dir.path().join("log"), backend, Fatal::default()).unwrap();
        let mut log = open();
        assert!(log.is_blank());
        append(&mut log, (0..20).map(|index| entry(1, index, 3_000)).collect()).await.unwrap();
        log.save_vote(&vote(3, 2, true)).await.unwrap();
        log.save_committed(Some(log_id(1, 9))).await.unwrap();
        log.purge(log_id(1, 4)).await.unwrap();
        log.close().await.unwrap();
        let mut log = open();
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(3, 2, true)));
        assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 9)));
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 4)));
        assert_eq!(state.last_log_id, Some(log_id(1, 19)));
        assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 15);
        log.close().await.unwrap();
    }
}

#[test]
fn a_log_with_a_hole_on_disk_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let mut backend = crate::Backend::Segments.open(dir.path()).unwrap();
    let record = |index| Record { index, bytes: crate::codec::encode_entry(&entry(1, index, 1)).into() };
    backend.append(&[record(0), record(2)]).unwrap();
    backend.sync().unwrap();
    let opened = open_in(dir.path().into(), crate::Backend::Segments, Fatal::default());
    assert!(matches!(opened, Err(DiskError::Corrupt { .. })));
}
