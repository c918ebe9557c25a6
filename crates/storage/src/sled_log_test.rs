use std::fs;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;

fn record(index: u64, length: usize) -> Record {
    Record { index, bytes: vec![index as u8; length].into() }
}

/// What a crash of the host right now would leave: a copy of the files, taken while the log is open.
fn crash_copy(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn reopened(path: &Path) -> Loaded {
    SledLog::open(path).unwrap().load().unwrap()
}

#[test]
fn trap_3_what_was_synced_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    log.load().unwrap();
    let records = [record(0, 10), record(1, 30_000), record(2, 10)];
    log.append(&records).unwrap();
    log.put_meta(MetaKey::Vote, b"vote").unwrap();
    log.sync().unwrap();
    let copy = crash_copy(dir.path());
    let loaded = reopened(copy.path());
    assert_eq!(loaded.records, records);
    assert_eq!(loaded.meta[&MetaKey::Vote], b"vote"[..]);
}

#[test]
fn trap_3_every_sync_ends_with_an_fdatasync_of_what_sled_has_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = Arc::new(Mutex::new(Vec::new()));
    let (seen, path) = (on_disk.clone(), dir.path().to_path_buf());
    let look = move |file: File| -> Syncer {
        Box::new(move || {
            seen.lock().unwrap().push(reopened(crash_copy(&path).path()).records.len());
            file.sync_data()
        })
    };
    let mut log = SledLog::open_with(dir.path(), look).unwrap();
    for index in 0..3 {
        log.append(&[record(index, 5_000)]).unwrap();
        log.sync().unwrap();
    }
    // Opening syncs as well.
    assert_eq!(*on_disk.lock().unwrap(), [0, 1, 2, 3], "entries in sled's file when it is synced");
}

#[test]
fn trap_3_a_failed_fdatasync_is_a_failed_sync() {
    let dir = tempfile::tempdir().unwrap();
    let mut good = 1;
    let fail = |_| -> Syncer {
        Box::new(move || {
            good -= 1;
            if good < 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    };
    let mut log = SledLog::open_with(dir.path(), fail).unwrap();
    log.append(&[record(0, 10)]).unwrap();
    assert!(matches!(log.sync(), Err(DiskError::Full { .. })));
}

#[test]
fn trap_4_no_value_is_bigger_than_a_chunk_and_no_blob_file_appears() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    let sizes = [1, CHUNK_BYTES - 10, CHUNK_BYTES - 9, CHUNK_BYTES - 8, CHUNK_BYTES, 256 << 10, 3];
    let records: Vec<_> = (0..).zip(sizes).map(|(index, length)| record(index, length)).collect();
    log.append(&records).unwrap();
    log.sync().unwrap();
    for pair in log.log.iter() {
        let (_, value) = pair.unwrap();
        assert!(value.len() <= 8 << 10, "{}", value.len());
    }
    let blobs = fs::read_dir(dir.path().join("blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0);
    drop(log);
    assert_eq!(reopened(dir.path()).records, records);
}

#[test]
fn trap_5_a_leftover_generating_snapshot_does_not_keep_the_log_shut() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    log.append(&[record(0, 5)]).unwrap();
    log.sync().unwrap();
    drop(log);
    fs::write(dir.path().join("snap.0000000000000042.generating"), b"half").unwrap();
    assert_eq!(reopened(dir.path()).records, [record(0, 5)]);
}

#[test]
fn trap_12_sleds_own_timed_flush_is_off() {
    assert_eq!(config(Path::new("/log")).flush_every_ms, None);
}

#[test]
fn truncation_inside_a_chunk_keeps_the_entries_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    let records: Vec<_> = (0..10).map(|index| record(index, 20)).collect();
    log.append(&records).unwrap();
    log.truncate(4).unwrap();
    log.append(&[record(4, 9_000), record(5, 1)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let expected = [&records[..4], &[record(4, 9_000), record(5, 1)]].concat();
    assert_eq!(reopened(dir.path()).records, expected);
}

#[test]
fn trap_6_a_purge_frees_its_keys_in_slices_and_is_believed_before_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    let count = 3 * PURGE_SLICE_KEYS as u64;
    for index in 0..count {
        log.append(&[record(index, 8_000)]).unwrap();
    }
    log.purge(count - 2).unwrap();
    log.sync().unwrap();
    let copy = crash_copy(dir.path());
    assert_eq!(reopened(copy.path()).records, [record(count - 1, 8_000)]);
    let mut left = vec![log.log.len()];
    while log.housekeep().unwrap() {
        left.push(log.log.len());
    }
    left.push(log.log.len());
    let freed = left.windows(2).map(|pair| pair[0] - pair[1]);
    assert!(freed.clone().all(|keys| (1..=PURGE_SLICE_KEYS).contains(&keys)), "{left:?}");
    assert_eq!(freed.count(), 3);
    assert_eq!(log.log.len(), 1);
}

/// Bytes of all files in a folder and below.
fn bytes_in(path: &Path) -> u64 {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().unwrap().len() }
            },
        )
        .sum()
}

#[test]
fn trap_6_the_disk_holds_a_few_times_the_live_log_however_much_was_written() {
    const ENTRY_BYTES: usize = 8_000;
    const LIVE: u64 = 512;
    const STEP: u64 = 64;
    const WRITTEN: u64 = 24 * LIVE;
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    let mut most = 0;
    for first in (0..WRITTEN).step_by(STEP as usize) {
        let records: Vec<_> = (first..first + STEP).map(|index| record(index, ENTRY_BYTES)).collect();
        log.append(&records).unwrap();
        if let Some(upto) = first.checked_sub(LIVE) {
            log.purge(upto).unwrap();
        }
        log.sync().unwrap();
        // As the storage thread does between two groups.
        log.housekeep().unwrap();
        most = most.max(bytes_in(dir.path()));
    }
    let live = LIVE * ENTRY_BYTES as u64;
    assert!(
        most <= 8 * live,
        "{most} bytes on disk for {live} live ones, of {} written",
        live * WRITTEN / LIVE
    );
}

#[test]
fn a_big_entry_that_lacks_a_part_or_has_another_ones_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    let whole = record(0, 20 << 20);
    log.append(&[whole.clone(), record(1, 5 * CHUNK_BYTES)]).unwrap();
    assert_eq!(log.load().unwrap().records[0], whole);
    let last = (20 << 20) / PART_DATA_BYTES as u32;
    for part in [0, 1, 1000, last] {
        let stored = log.log.get(key(0, part)).unwrap().unwrap();
        let mut damaged = stored.to_vec();
        damaged[CHUNK_BYTES / 3] ^= 1;
        let foreign = log.log.get(key(1, 0)).unwrap().unwrap().to_vec();
        for wrong in [Some(damaged), Some(foreign).filter(|_| part > 0), None] {
            match wrong {
                Some(value) => log.log.insert(key(0, part), value).unwrap(),
                None => log.log.remove(key(0, part)).unwrap(),
            };
            // Without its first part there is no trace of an entry but parts, and the next one leaves a gap.
            let found = log.load().map(|loaded| loaded.records[0].index);
            assert!(!matches!(found, Ok(0)), "part {part}");
            log.log.insert(key(0, part), stored.clone()).unwrap();
        }
    }
    assert_eq!(log.load().unwrap().records[0], whole);
}

#[test]
fn a_damaged_value_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    log.append(&[record(0, 50)]).unwrap();
    let mut value = log.log.get(key(0, 0)).unwrap().unwrap().to_vec();
    value[20] ^= 1;
    log.log.insert(key(0, 0), value).unwrap();
    assert!(matches!(log.load(), Err(DiskError::Corrupt { .. })));
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = SledLog::open(dir.path()).unwrap();
    log.put("format", &9u32.to_le_bytes()).unwrap();
    drop(log);
    assert!(matches!(SledLog::open(dir.path()), Err(DiskError::Version { found: 9, .. })));
}
