use super::*;
use crate::types::{SnapshotMeta, log_id};

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta { last_log_id: Some(log_id(1, index)), ..SnapshotMeta::default() }
}

fn state_of(snapshot: &SnapshotFile) -> Vec<u8> {
    let mut state = Vec::new();
    snapshot.state().unwrap().read_to_end(&mut state).unwrap();
    state
}

fn write(store: &SnapshotStore, index: u64, state: &[u8]) -> SnapshotFile {
    store.write(&meta(index), |out| out.write_all(state)).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_comes_back_after_a_restart_and_replaces_older_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = SnapshotStore::open(dir.path()).unwrap();
    assert!(store.newest().is_none());
    let old = write(&store, 5, b"old");
    write(&store, 9, &[7; 500_000]);
    assert_eq!(state_of(&old), b"old", "a handle outlives its file");
    assert_eq!(files(dir.path()).len(), 1);
    let newest = SnapshotStore::open(dir.path()).unwrap().newest().unwrap();
    assert_eq!(newest.meta(), &meta(9));
    assert_eq!(state_of(&newest), [7; 500_000]);
    assert!(newest.bytes() < 1_000, "it is compressed");
}

#[test]
fn a_slow_build_does_not_replace_a_newer_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = SnapshotStore::open(dir.path()).unwrap();
    write(&store, 9, b"installed");
    write(&store, 5, b"built late");
    assert_eq!(state_of(&store.newest().unwrap()), b"installed");
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn trap_15_a_received_file_is_not_a_snapshot_before_it_is_adopted() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sent = write(&SnapshotStore::open(from.path()).unwrap(), 3, b"state");
    let store = SnapshotStore::open(to.path()).unwrap();
    let receive = || {
        let mut incoming = store.receive(sent.bytes()).unwrap();
        incoming.write(&sent.read_at(0, 20).unwrap()).unwrap();
        incoming.write(&sent.read_at(20, 1 << 20).unwrap()).unwrap();
        incoming.finish().unwrap()
    };
    drop(receive());
    assert_eq!(files(to.path()), [""; 0]);
    let received = receive();
    assert!(SnapshotStore::open(from.path()).unwrap().newest().is_some());
    assert!(store.newest().is_none());
    let adopted = store.adopt(&received).unwrap();
    assert_eq!(state_of(&store.newest().unwrap()), b"state");
    let again = store.adopt(&adopted).unwrap();
    assert_eq!(state_of(&again), b"state");
    assert_eq!(files(to.path()).len(), 1);
}

#[test]
fn a_short_long_or_damaged_transfer_is_refused() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sent = write(&SnapshotStore::open(from.path()).unwrap(), 3, b"state");
    let store = SnapshotStore::open(to.path()).unwrap();
    let bytes = sent.read_at(0, 1 << 20).unwrap();
    let mut short = store.receive(sent.bytes()).unwrap();
    short.write(&bytes[1..]).unwrap();
    assert!(short.finish().is_err());
    assert!(store.receive(sent.bytes() - 1).unwrap().write(&bytes).is_err());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut incoming = store.receive(sent.bytes()).unwrap();
        incoming.write(&damaged).unwrap();
        assert!(incoming.finish().is_err(), "bit {bit}");
    }
    assert_eq!(files(to.path()), [""; 0]);
}

#[test]
fn a_start_picks_the_newest_valid_file_and_clears_unfinished_ones() {
    let dir = tempfile::tempdir().unwrap();
    let older = write(&SnapshotStore::open(dir.path()).unwrap(), 5, b"valid");
    let mut damaged = older.read_at(0, 1 << 20).unwrap();
    damaged[30] ^= 1;
    fs::write(dir.path().join(file_name(&meta(9))), damaged).unwrap();
    fs::write(dir.path().join("0.unfinished"), b"half").unwrap();
    let store = SnapshotStore::open(dir.path()).unwrap();
    assert_eq!(store.newest().unwrap().meta(), &meta(5));
    assert!(!dir.path().join("0.unfinished").exists());
}

#[test]
fn a_failed_encoding_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = SnapshotStore::open(dir.path()).unwrap();
    let failed = store.write(&meta(1), |_| Err(io::ErrorKind::StorageFull.into()));
    assert!(matches!(failed, Err(DiskError::Full { .. })));
    assert_eq!(files(dir.path()), [""; 0]);
}
