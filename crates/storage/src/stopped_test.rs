use std::collections::BTreeMap;

use bytes::Bytes;
use mesarch_types::NodeId;
use openraft::EntryPayload;

use super::*;
use crate::DataDir;
use crate::codec::{encode_entry, encode_log_id};
use crate::types::{Payload, log_id};

const BACKENDS: [Backend; 2] = [Backend::Sled, Backend::Segments];

fn record(index: u64, length: usize) -> Record {
    let data = Bytes::from(vec![index as u8; length]);
    let entry = Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(Payload(data)) };
    Record { index, bytes: encode_entry(&entry).into() }
}

/// A data directory with a log of many shapes: small and big entries, a cut end written anew, a purged beginning.
fn written(backend: Backend) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path(), NodeId(1), backend).unwrap();
    let mut log = backend.open(&data.log_folder()).unwrap();
    log.load().unwrap();
    for index in 0..40 {
        log.append(&[record(index, if index % 7 == 0 { 30_000 } else { 50 })]).unwrap();
    }
    log.truncate(35).unwrap();
    log.append(&[record(35, 9), record(36, 9)]).unwrap();
    log.put_meta(MetaKey::Purged, &encode_log_id(&log_id(1, 4))).unwrap();
    log.put_meta(MetaKey::Committed, &encode_log_id(&log_id(1, 36))).unwrap();
    log.purge(4).unwrap();
    log.sync().unwrap();
    dir
}

fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| {
        if path.is_dir() { files(&path) } else { BTreeMap::from([(path.clone(), fs::read(&path).unwrap())]) }
    });
    below.collect()
}

/// What can be read from `from` on: indexes, and the texts of errors.
fn read(dir: &Path, from: u64) -> (Vec<u64>, Vec<String>) {
    let scratch = tempfile::tempdir().unwrap();
    let (mut indexes, mut errors) = (Vec::new(), Vec::new());
    for item in StoppedDir::open(dir).unwrap().log(from, scratch.path()).unwrap() {
        match item {
            Ok(entry) => indexes.push(entry.log_id.index),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (indexes, errors)
}

#[test]
fn entries_are_read_from_anywhere_and_nothing_is_changed() {
    for backend in BACKENDS {
        let dir = written(backend);
        let before = files(dir.path());
        for from in [0, 5, 6, 7, 8, 13, 14, 15, 34, 36, 37, 100] {
            let expect: Vec<u64> = (from.max(5)..37).collect();
            assert_eq!(read(dir.path(), from), (expect, vec![]), "{backend:?} from {from}");
        }
        let scratch = tempfile::tempdir().unwrap();
        let log = StoppedDir::open(dir.path()).unwrap().log(0, scratch.path()).unwrap();
        assert_eq!((log.purged(), log.committed()), (Some(log_id(1, 4)), Some(log_id(1, 36))));
        let cut: Vec<usize> = log
            .filter_map(Result::ok)
            .skip(30)
            .map(|entry| match entry.payload {
                EntryPayload::Normal(Payload(bytes)) => bytes.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(cut, [9, 9], "what was written in place of the cut end");
        assert!(files(dir.path()) == before, "{backend:?}: a file has changed");
    }
}

#[test]
fn a_directory_in_use_is_refused_and_nobody_starts_while_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = StoppedDir::open(dir.path()).unwrap_err();
    assert!(matches!(foreign, StoppedDirError::Foreign { .. }), "{foreign}");
    let data = DataDir::open(dir.path(), NodeId(1), Backend::Sled).unwrap();
    let used = StoppedDir::open(dir.path()).unwrap_err().to_string();
    assert!(used.contains("stop that master") && used.starts_with(&*dir.path().to_string_lossy()), "{used}");
    drop(data);
    let first = StoppedDir::open(dir.path()).unwrap();
    let second = StoppedDir::open(dir.path()).unwrap();
    let refused = DataDir::open(dir.path(), NodeId(1), Backend::Sled).unwrap_err();
    assert!(matches!(refused, crate::DataDirError::Locked { .. }), "{refused}");
    drop((first, second));
    DataDir::open(dir.path(), NodeId(1), Backend::Sled).unwrap();
    fs::remove_file(dir.path().join("lock")).unwrap();
    StoppedDir::open(dir.path()).unwrap();
}

#[test]
fn a_torn_or_damaged_segment_is_told_after_what_is_whole() {
    let dir = written(Backend::Segments);
    let path = dir.path().join("log/0000000000000001.segment");
    let whole = fs::read(&path).unwrap();
    let mut log = Backend::Segments.open(&dir.path().join("log")).unwrap();
    log.load().unwrap();
    log.append(&[record(37, 9)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let longer = fs::read(&path).unwrap();
    fs::write(&path, &longer[..longer.len() - 1]).unwrap();
    let (indexes, errors) = read(dir.path(), 30);
    assert_eq!(indexes, (30..37).collect::<Vec<_>>());
    assert!(errors.len() == 1 && errors[0].contains("torn at byte"), "{errors:?}");
    let mut damaged = longer;
    let last = whole.len() - 1;
    damaged[last] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let (_, errors) = read(dir.path(), 30);
    assert!(errors.len() == 1 && errors[0].contains("is damaged"), "{errors:?}");
    assert!(errors[0].starts_with(&*path.to_string_lossy()), "{errors:?}");
}

#[test]
fn entries_that_are_missing_are_told_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path(), NodeId(1), Backend::Sled).unwrap();
    let mut log = Backend::Sled.open(&data.log_folder()).unwrap();
    log.load().unwrap();
    log.append(&[record(0, 9), record(1, 9)]).unwrap();
    log.append(&[record(5, 9)]).unwrap();
    log.sync().unwrap();
    drop((log, data));
    let (indexes, errors) = read(dir.path(), 0);
    assert_eq!(indexes, [0, 1, 5]);
    assert!(errors.len() == 1 && errors[0].contains("entries 2 to 4 are missing"), "{errors:?}");
}
