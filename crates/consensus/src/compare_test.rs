use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::thread::{self, ThreadId};

use bytes::Bytes;

use mesarch_storage::Backend;

use super::*;
use crate::machine::{Corrupt, EntryContext, LogPosition};

/// Tells on which thread a copy was dropped.
struct Copy(u128, std::sync::mpsc::Sender<ThreadId>);

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.1.send(thread::current().id());
    }
}

struct Nothing;

impl Machine for Nothing {
    type Outcome = ();
    type Frozen = Copy;

    async fn apply(&mut self, _: EntryContext, _: Vec<Bytes>) -> Result<Vec<()>, Corrupt> {
        Ok(Vec::new())
    }
    fn freeze(&self) -> Copy {
        Copy(0, std::sync::mpsc::channel().0)
    }
    fn is_checkpoint(&self) -> bool {
        true
    }
    fn digest(frozen: Copy) -> u128 {
        frozen.0
    }
    fn encode(_: Copy, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
    fn restore(&mut self, _: &mut dyn Read, _: LogPosition) -> Result<(), Corrupt> {
        Ok(())
    }
}

fn voters() -> Voters {
    vec![BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)])]
}

struct Fixture {
    digests: Digests,
    dir: Arc<DataDir>,
    fatal: Fatal,
    _folder: tempfile::TempDir,
}

/// Of node 1.
fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let dir = Arc::new(DataDir::open(folder.path(), NodeId(1), Backend::Segments).unwrap());
    let fatal = Fatal::default();
    Fixture { digests: Digests::new(dir.clone(), fatal.clone()), dir, fatal, _folder: folder }
}

fn said(index: u64, digest: u128) -> [Checkpoint; 1] {
    [Checkpoint { index, digest }]
}

#[tokio::test]
async fn trap_11_the_copy_is_dropped_on_a_thread_that_applies_nothing() {
    let (sender, dropped) = std::sync::mpsc::channel();
    let Fixture { digests, _folder, .. } = fixture();
    digest::<Nothing>(Taken { index: 5, frozen: Copy(7, sender), voters: voters() }, &digests).await;
    assert_ne!(dropped.recv().unwrap(), thread::current().id());
    assert_eq!(digests.checkpoints(), said(5, 7));
}

#[test]
fn a_state_is_skipped_while_others_wait_and_never_copied_for_a_lone_master() {
    let (checkpoints, mut taken) = Checkpoints::new(NodeId(1));
    checkpoints.take(1, vec![BTreeSet::from([NodeId(1)])], || panic!("there is nobody to compare with"));
    assert!(taken.try_recv().is_err());
    checkpoints.take(2, voters(), || 'a');
    checkpoints.take(3, voters(), || panic!("there is no place for it"));
    assert_eq!(taken.try_recv().unwrap().index, 2);
    checkpoints.take(4, voters(), || 'b');
    assert_eq!(taken.try_recv().unwrap().index, 4);
}

#[test]
fn a_majority_with_another_digest_stops_the_node_and_says_what_differs() {
    let Fixture { digests, fatal, dir, _folder } = fixture();
    digests.computed(Checkpoint { index: 5, digest: 0xa }, voters());
    assert_eq!(digests.exchange(NodeId(2), &said(5, 0xb)), said(5, 0xa));
    assert_eq!(fatal.reason(), None, "one against one");
    digests.exchange(NodeId(3), &said(5, 0xb));
    let reason = fatal.reason().unwrap();
    let zeros = "0".repeat(31);
    for part in ["log entry 5", &format!("{zeros}a here"), &format!("{zeros}b on a majority")] {
        assert!(reason.contains(part), "{reason}");
    }
    let damage = Some(Damage { agreed: None, differs: 5, again: false });
    assert_eq!(dir.damage().unwrap(), damage);
    digests.computed(Checkpoint { index: 6, digest: 0xa }, voters());
    digests.exchange(NodeId(2), &said(6, 0xb));
    digests.exchange(NodeId(3), &said(6, 0xb));
    assert_eq!(dir.damage().unwrap(), damage, "the same process finds the same damage");
}

#[test]
fn a_damage_is_kept_with_the_last_entry_on_which_the_masters_agreed() {
    let Fixture { digests, dir, fatal, _folder } = fixture();
    for (index, here, there) in [(5, 0xa, 0xa), (6, 0xa, 0xa), (7, 0xa, 0xb)] {
        assert_eq!((fatal.reason(), dir.damage().unwrap()), (None, None));
        digests.computed(Checkpoint { index, digest: here }, voters());
        digests.exchange(NodeId(2), &said(index, there));
        digests.exchange(NodeId(3), &said(index, there));
    }
    assert!(fatal.reason().is_some());
    assert_eq!(dir.damage().unwrap(), Some(Damage { agreed: Some(6), differs: 7, again: false }));
}

fn snapshot_of(dir: &DataDir, covered: u64) -> SnapshotStore {
    let store = SnapshotStore::open(&dir.snapshot_folder()).unwrap();
    let last_log_id = Some(mesarch_storage::types::log_id(1, covered));
    let meta = mesarch_storage::types::SnapshotMeta { last_log_id, ..Default::default() };
    store.write(&meta, |_| Ok(())).unwrap();
    store
}

#[test]
fn a_start_is_refused_only_from_a_snapshot_that_may_hold_the_damage() {
    let damage = Damage { agreed: Some(6), differs: 9, again: false };
    for (covered, refused) in [(5, false), (6, false), (7, true), (12, true)] {
        let Fixture { dir, _folder, .. } = fixture();
        let snapshots = snapshot_of(&dir, covered);
        refuse_damage(&dir, &snapshots).expect("nothing was found out");
        dir.record_damage(&damage).unwrap();
        match refuse_damage(&dir, &snapshots) {
            Ok(()) => assert_eq!((refused, dir.damage().unwrap()), (false, Some(damage)), "{covered}"),
            Err(error) => {
                assert!(refused, "{covered}: {error}");
                assert!(error.to_string().contains(&format!("up to entry {covered}")), "{error}");
                assert_eq!(dir.damage().unwrap(), Some(damage), "the next start is refused as well");
            }
        }
    }
}

#[test]
fn a_start_without_a_snapshot_replays_all_of_the_log() {
    let Fixture { dir, _folder, .. } = fixture();
    let damage = Damage { agreed: None, differs: 9, again: false };
    dir.record_damage(&damage).unwrap();
    let snapshots = SnapshotStore::open(&dir.snapshot_folder()).unwrap();
    refuse_damage(&dir, &snapshots).unwrap();
    dir.record_damage(&Damage { again: true, ..damage }).unwrap();
    assert!(refuse_damage(&dir, &snapshots).is_err(), "that did not heal it");
}

#[test]
fn a_damage_is_forgotten_once_a_majority_agrees_and_not_before() {
    for (here, expect) in [(0xb, None), (0xa, Some(Damage { agreed: None, differs: 5, again: true }))] {
        let Fixture { digests, dir, _folder, .. } = fixture();
        dir.record_damage(&Damage { agreed: Some(1), differs: 2, again: false }).unwrap();
        digests.computed(Checkpoint { index: 5, digest: here }, voters());
        digests.exchange(NodeId(2), &said(5, 0xb));
        digests.exchange(NodeId(3), &said(5, 0xb));
        assert_eq!(dir.damage().unwrap(), expect);
    }
}
