use super::*;

fn record(index: u64, length: usize) -> Record {
    Record { index, bytes: vec![index as u8; length].into() }
}

/// A log with one synced frame per entry 0..4, and the bytes of its only segment.
fn four_frames(path: &Path) -> (PathBuf, Vec<u8>) {
    let mut log = SegmentLog::open(path).unwrap();
    for index in 0..4 {
        log.append(&[record(index, 40)]).unwrap();
        log.sync().unwrap();
    }
    let file = segment_path(path, 1);
    let bytes = fs::read(&file).unwrap();
    (file, bytes)
}

fn indexes(path: &Path) -> Result<Vec<u64>, DiskError> {
    let loaded = SegmentLog::open(path)?.load()?;
    Ok(loaded.records.iter().map(|record| record.index).collect())
}

#[test]
fn a_tail_torn_anywhere_loses_only_the_unfinished_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (file, bytes) = four_frames(dir.path());
    let frame_bytes = (bytes.len() - HEADER_BYTES) / 4;
    for cut in 1..=frame_bytes {
        fs::write(&file, &bytes[..bytes.len() - cut]).unwrap();
        assert_eq!(indexes(dir.path()).unwrap(), [0, 1, 2], "cut {cut}");
    }
    let mut zeroed = bytes.clone();
    zeroed[bytes.len() - frame_bytes..].fill(0);
    fs::write(&file, &zeroed).unwrap();
    assert_eq!(indexes(dir.path()).unwrap(), [0, 1, 2]);
}

#[test]
fn a_torn_frame_of_many_megabytes_is_cut_and_what_came_before_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (file, before) = four_frames(dir.path());
    let mut log = SegmentLog::open(dir.path()).unwrap();
    log.append(&[record(4, 33 << 20)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let whole = fs::read(&file).unwrap();
    for kept in [before.len() + 1, before.len() + FRAME_HEAD_BYTES, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..kept]).unwrap();
        fs::remove_file(segment_path(dir.path(), 2)).ok();
        assert_eq!(indexes(dir.path()).unwrap(), [0, 1, 2, 3], "{kept} bytes");
    }
}

#[test]
fn a_bit_flipped_before_the_last_frame_is_corruption_never_a_shorter_log() {
    let dir = tempfile::tempdir().unwrap();
    let (file, bytes) = four_frames(dir.path());
    let last = bytes.len() - (bytes.len() - HEADER_BYTES) / 4;
    for bit in 0..last * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &damaged).unwrap();
        assert!(indexes(dir.path()).is_err(), "bit {bit}");
    }
}

#[test]
fn unsynced_operations_are_lost_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SegmentLog::open(dir.path()).unwrap();
    log.append(&[record(0, 1)]).unwrap();
    log.sync().unwrap();
    log.append(&[record(1, 1)]).unwrap();
    assert_eq!(indexes(dir.path()).unwrap(), [0]);
}

#[test]
fn purged_segments_are_deleted_and_the_small_values_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SegmentLog::open_with(dir.path(), 200).unwrap();
    log.put_meta(MetaKey::Vote, b"v").unwrap();
    for index in 0..20 {
        log.append(&[record(index, 100)]).unwrap();
        log.sync().unwrap();
    }
    log.purge(17).unwrap();
    log.sync().unwrap();
    let before = log.segments.len();
    while log.housekeep().unwrap() {}
    assert!(log.segments.len() < before / 2, "{before} segments became {}", log.segments.len());
    drop(log);
    let loaded = SegmentLog::open(dir.path()).unwrap().load().unwrap();
    assert_eq!(loaded.records, [record(18, 100), record(19, 100)]);
    assert_eq!(loaded.meta[&MetaKey::Vote], b"v"[..]);
}

#[test]
fn a_missing_segment_and_a_foreign_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SegmentLog::open_with(dir.path(), 10).unwrap();
    for index in 0..4 {
        log.append(&[record(index, 100)]).unwrap();
        log.sync().unwrap();
    }
    drop(log);
    fs::remove_file(segment_path(dir.path(), 2)).unwrap();
    assert!(indexes(dir.path()).is_err());
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("notes.txt"), b"").unwrap();
    assert!(indexes(other.path()).is_err());
}

#[test]
fn a_crash_between_creating_a_segment_and_filling_it_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    four_frames(dir.path());
    for content in [&b""[..], &MAGIC[..5], &[0; 40]] {
        fs::write(segment_path(dir.path(), 2), content).unwrap();
        assert_eq!(indexes(dir.path()).unwrap(), [0, 1, 2, 3]);
    }
}
