use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::thread::{self, ThreadId};

use bytes::Bytes;

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

fn said(index: u64, digest: u128) -> [Checkpoint; 1] {
    [Checkpoint { index, digest }]
}

#[tokio::test]
async fn trap_11_the_copy_is_dropped_on_a_thread_that_applies_nothing() {
    let (sender, dropped) = std::sync::mpsc::channel();
    let digests = Digests::new(NodeId(1), Fatal::default());
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
    let fatal = Fatal::default();
    let digests = Digests::new(NodeId(1), fatal.clone());
    digests.computed(Checkpoint { index: 5, digest: 0xa }, voters());
    assert_eq!(digests.exchange(NodeId(2), &said(5, 0xb)), said(5, 0xa));
    assert_eq!(fatal.reason(), None, "one against one");
    digests.exchange(NodeId(3), &said(5, 0xb));
    let reason = fatal.reason().unwrap();
    let zeros = "0".repeat(31);
    for part in ["log entry 5", &format!("{zeros}a here"), &format!("{zeros}b on a majority")] {
        assert!(reason.contains(part), "{reason}");
    }
}
