//! sled and segment files hold the same log after any sequence of operations, whenever they are reopened.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use mesarch_storage::backend::{LogBackend, MetaKey, Record};
use mesarch_storage::{SegmentLog, SledLog};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    /// A position in the log, as a fraction of 256.
    Truncate(u8),
    Purge(u8),
    Meta(usize, Vec<u8>),
    Sync,
    Housekeep,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![4 => 0..200usize, 2 => 8_000..8_300usize, 1 => 16_000..40_000usize];
    prop_oneof![
        6 => prop::collection::vec(length, 1..12).prop_map(Step::Append),
        2 => any::<u8>().prop_map(Step::Truncate),
        2 => any::<u8>().prop_map(Step::Purge),
        2 => (0..3usize, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(key, value)| Step::Meta(key, value)),
        2 => Just(Step::Sync),
        1 => Just(Step::Housekeep),
        2 => Just(Step::Reopen),
    ]
}

/// Bounds of the log, to make only valid calls.
#[derive(Default)]
struct Model {
    first: u64,
    next: u64,
    fill: u8,
}

impl Model {
    fn records(&mut self, lengths: &[usize]) -> Vec<Record> {
        let make = |&length: &usize| {
            self.fill = self.fill.wrapping_add(1);
            let record = Record { index: self.next, bytes: Bytes::from(vec![self.fill; length]) };
            self.next += 1;
            record
        };
        lengths.iter().map(make).collect()
    }

    fn at(&self, fraction: u8) -> u64 {
        self.first + (self.next - self.first) * u64::from(fraction) / 256
    }
}

fn apply(log: &mut dyn LogBackend, step: &Step, records: &[Record], at: u64) {
    match step {
        Step::Append(_) => log.append(records).unwrap(),
        Step::Truncate(_) => log.truncate(at).unwrap(),
        Step::Purge(_) => log.purge(at).unwrap(),
        Step::Meta(key, value) => log.put_meta(MetaKey::ALL[*key], value).unwrap(),
        Step::Sync | Step::Reopen => log.sync().unwrap(),
        Step::Housekeep => while log.housekeep().unwrap() {},
    }
}

/// Around everything that splits or closes: a sled chunk and its parts, sled's own limit for values in files, a group of
/// the storage thread, a segment, and the longest entry that a master writes.
#[test]
fn entries_around_each_boundary_come_back_from_both() {
    let chunk = mesarch_storage::sled_log::CHUNK_BYTES;
    let boundaries = [chunk, 2 * chunk, 100 * chunk, 256 << 10, 4 << 20, 16 << 20, 32 << 20];
    let lengths = boundaries.into_iter().flat_map(|boundary| [boundary - 9, boundary, boundary + 9]);
    let (sled_dir, segment_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sled = SledLog::open(sled_dir.path()).unwrap();
    let mut segments = SegmentLog::open(segment_dir.path()).unwrap();
    let mut model = Model::default();
    let mut expected = Vec::new();
    for length in lengths {
        // A small one before and behind: neither may be lost or doubled.
        let records = model.records(&[3, length, 3]);
        for log in [&mut sled as &mut dyn LogBackend, &mut segments] {
            log.append(&records).unwrap();
            log.sync().unwrap();
        }
        expected.extend(records);
    }
    drop((sled, segments));
    let mut sled = SledLog::open(sled_dir.path()).unwrap();
    let mut segments = SegmentLog::open(segment_dir.path()).unwrap();
    assert!(sled.load().unwrap().records == expected);
    assert!(segments.load().unwrap().records == expected);
    // The longest one is taken back, and another comes in its place.
    let longest = model.next - 2;
    (model.next, expected) = (longest, expected[..longest as usize].to_vec());
    let instead = model.records(&[20 << 10]);
    for log in [&mut sled as &mut dyn LogBackend, &mut segments] {
        log.truncate(longest).unwrap();
        log.append(&instead).unwrap();
        log.sync().unwrap();
    }
    expected.extend(instead);
    drop((sled, segments));
    assert!(SledLog::open(sled_dir.path()).unwrap().load().unwrap().records == expected);
    assert!(SegmentLog::open(segment_dir.path()).unwrap().load().unwrap().records == expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sled_and_segments_hold_the_same(steps in prop::collection::vec(step(), 1..40)) {
        let (sled_dir, segment_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open = || {
            let mut sled = SledLog::open(sled_dir.path()).unwrap();
            let mut segments = SegmentLog::open_with(segment_dir.path(), 20_000).unwrap();
            let (left, right) = (sled.load().unwrap(), segments.load().unwrap());
            assert_eq!(left, right);
            (sled, segments)
        };
        let mut model = Model::default();
        let (mut sled, mut segments) = open();
        for step in steps.iter().chain([&Step::Reopen]) {
            let mut records = Vec::new();
            let mut at = 0;
            match step {
                Step::Append(lengths) => records = model.records(lengths),
                Step::Truncate(fraction) => {
                    at = model.at(*fraction);
                    model.next = at;
                }
                Step::Purge(_) if model.next == model.first => continue,
                Step::Purge(fraction) => {
                    at = model.at(*fraction);
                    model.first = at + 1;
                }
                _ => {}
            }
            apply(&mut sled, step, &records, at);
            apply(&mut segments, step, &records, at);
            if matches!(step, Step::Reopen) {
                drop((sled, segments));
                (sled, segments) = open();
            }
        }
    }
}
