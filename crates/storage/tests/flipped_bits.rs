//! Bits that flip in sled's files are found out, wherever they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use mesarch_storage::backend::{Loaded, MetaKey, Record};
use mesarch_storage::{LogBackend, SledLog};
use tempfile::TempDir;

fn record(index: u64, length: usize) -> Record {
    Record { index, bytes: vec![index as u8; length].into() }
}

fn copy_of(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn reopened(path: &Path) -> Loaded {
    SledLog::open(path).unwrap().load().unwrap()
}

/// What opening and loading these files leads to; `None` if it is refused. sled itself panics at some damage.
fn loaded_or_refused(path: &Path) -> Option<Loaded> {
    let path = path.to_path_buf();
    let load = move || SledLog::open(&path).and_then(|mut log| log.load());
    std::panic::catch_unwind(load).ok()?.ok()
}

#[test]
fn a_bit_flipped_anywhere_is_refused_or_harmless_and_never_a_shorter_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    log.put_meta(MetaKey::Vote, b"vote").unwrap();
    for index in 0..40 {
        log.append(&[record(index, 300)]).unwrap();
        log.sync().unwrap();
    }
    let whole = log.load().unwrap();
    drop(log);
    let mut refused = 0;
    for name in ["db", "witness"] {
        let bytes = fs::read(dir.path().join(name)).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(40)) {
            let copy = copy_of(dir.path());
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(copy.path().join(name), damaged).unwrap();
            match loaded_or_refused(copy.path()) {
                Some(loaded) => assert_eq!(loaded, whole, "byte {at} of {name}"),
                None => refused += 1,
            }
        }
    }
    assert!(refused > 40, "{refused} refused");
}

#[test]
fn a_log_without_a_witness_is_of_an_older_version_and_one_with_an_empty_one_of_a_crashed_host() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SledLog::open(dir.path()).unwrap();
    log.append(&[record(0, 10)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let witness = dir.path().join("witness");
    for content in [None, Some(&[][..]), Some(&[0; 24][..])] {
        fs::remove_file(&witness).unwrap();
        if let Some(content) = content {
            fs::write(&witness, content).unwrap();
        }
        assert_eq!(reopened(dir.path()).records, [record(0, 10)]);
    }
}
