//! openraft's own conformance suite over the real log, snapshots and apply path, on both backends.

use std::io::{Read, Write};
use std::thread::{self, ThreadId};

use bytes::Bytes;
use mesarch_storage::{Backend, Log};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::*;
use crate::envelope::Origin;

/// Counts commands. Writes down on which threads what may be large is dropped: its copies, and itself when it is replaced.
#[derive(Default)]
struct Counter(u64, Dropped);

type Dropped = Arc<Mutex<Vec<ThreadId>>>;

struct Frozen(u64, Dropped);

impl Drop for Frozen {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(thread::current().id());
    }
}

impl Machine for Counter {
    type Outcome = u64;
    type Frozen = Frozen;

    async fn apply(&mut self, _: EntryContext, commands: Vec<Bytes>) -> Result<Vec<u64>, Corrupt> {
        let first = self.0;
        self.0 += commands.len() as u64;
        Ok((first..self.0).collect())
    }

    fn freeze(&self) -> Frozen {
        Frozen(self.0, self.1.clone())
    }

    fn is_checkpoint(&self) -> bool {
        true
    }

    fn digest(frozen: Frozen) -> u128 {
        u128::from(frozen.0)
    }

    fn encode(frozen: Frozen, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&frozen.0.to_le_bytes())
    }

    fn restore(&mut self, input: &mut dyn Read, _: LogPosition) -> Result<(), Corrupt> {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes).map_err(|error| Corrupt::new(error.to_string()))?;
        self.0 = u64::from_le_bytes(bytes);
        self.1.lock().unwrap().push(thread::current().id());
        Ok(())
    }
}

struct Stores(Backend);

impl StoreBuilder<Types, Log, Applier<Counter>, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, Log, Applier<Counter>), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let log = mesarch_storage::log::open_in(dir.path().join("log"), self.0, Fatal::default()).unwrap();
        let snapshots = SnapshotStore::open(&dir.path().join("snapshots")).unwrap();
        let applier = applier(snapshots, Fatal::default());
        Ok((dir, log, applier))
    }
}

fn applier(snapshots: SnapshotStore, fatal: Fatal) -> Applier<Counter> {
    applier_of(Counter::default(), snapshots, fatal)
}

fn applier_of(machine: Counter, snapshots: SnapshotStore, fatal: Fatal) -> Applier<Counter> {
    let waiters = Arc::new(Waiters::new(Origin { node: 1, epoch: [0; 16] }));
    Applier::new(machine, waiters, snapshots, watch::Sender::new(0), fatal)
}

#[tokio::test]
async fn trap_15_the_conformance_suite_passes_on_sled() {
    Suite::test_all(Stores(Backend::Sled)).await.unwrap();
}

#[tokio::test]
async fn trap_15_the_conformance_suite_passes_on_segments() {
    Suite::test_all(Stores(Backend::Segments)).await.unwrap();
}

fn entry(
    index: u64,
    payload: EntryPayload<mesarch_storage::Payload, u64, mesarch_storage::NodeInfo>,
) -> Entry {
    Entry { log_id: mesarch_storage::types::log_id(1, index), payload }
}

#[tokio::test]
async fn an_entry_that_does_not_decode_or_comes_twice_stops_the_node() {
    let garbage = EntryPayload::Normal(mesarch_storage::Payload(Bytes::from_static(b"\xff")));
    for entries in
        [vec![entry(1, garbage)], vec![entry(1, EntryPayload::Blank), entry(1, EntryPayload::Blank)]]
    {
        let dir = tempfile::tempdir().unwrap();
        let fatal = Fatal::default();
        let mut applier = applier(SnapshotStore::open(dir.path()).unwrap(), fatal.clone());
        let delivered = futures::stream::iter(entries.into_iter().map(|entry| Ok((entry, None))));
        assert!(applier.apply(delivered).await.is_err());
        assert!(fatal.reason().unwrap().contains("apply entry"), "{:?}", fatal.reason());
    }
}

#[tokio::test]
async fn trap_15_a_snapshot_that_cannot_be_restored_never_becomes_the_current_one() {
    let (sender, receiver) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let meta =
        SnapshotMeta { last_log_id: Some(mesarch_storage::types::log_id(1, 5)), ..SnapshotMeta::default() };
    let sent =
        SnapshotStore::open(sender.path()).unwrap().write(&meta, |out| out.write_all(b"short")).unwrap();
    let store = SnapshotStore::open(receiver.path()).unwrap();
    let mut incoming = store.receive(sent.bytes()).unwrap();
    incoming.write(&sent.read_at(0, 1 << 20).unwrap()).unwrap();
    let received = incoming.finish().unwrap();
    let fatal = Fatal::default();
    let mut applier = applier(store.clone(), fatal.clone());
    assert!(applier.install_snapshot(&meta, received).await.is_err());
    assert!(fatal.reason().is_some());
    assert!(store.newest().is_none());
    assert!(SnapshotStore::open(receiver.path()).unwrap().newest().is_none());
}

#[tokio::test]
async fn trap_11_old_states_are_dropped_on_a_thread_that_applies_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = SnapshotStore::open(dir.path()).unwrap();
    let dropped = Dropped::default();
    let mut applier = applier_of(Counter(3, dropped.clone()), store, Fatal::default());
    applier.last = Some(mesarch_storage::types::log_id(1, 7));
    // A copy for a snapshot, and the state that a snapshot replaces.
    let snapshot = applier.get_snapshot_builder().await.build_snapshot().await.unwrap();
    applier.install_snapshot(&snapshot.meta, snapshot.snapshot).await.unwrap();
    let threads = dropped.lock().unwrap().clone();
    assert_eq!(threads.len(), 2, "{threads:?}");
    assert!(!threads.contains(&thread::current().id()), "dropped where entries are applied");
}
