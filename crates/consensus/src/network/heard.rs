//! How long ago this node's state was the leader's: for those who read it without asking the leader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What the leader was heard to have committed, and when. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Heard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Index of the last entry applied here.
    applied: watch::Receiver<u64>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// When the leader sent the newest word of which all is applied here.
    fresh: Option<Instant>,
    /// The oldest word after that: up to where it said that entries were committed.
    open: Option<(u64, Instant)>,
    /// Up to where any word said so. One that says less was on its way for longer, and tells nothing of now.
    highest: u64,
}

impl Memory {
    fn settle(&mut self, applied: u64) {
        if let Some((_, at)) = self.open.take_if(|(committed, _)| *committed <= applied) {
            self.fresh = self.fresh.max(Some(at));
        }
    }
}

impl Heard {
    pub(crate) fn new(applied: watch::Receiver<u64>) -> Self {
        Self(Arc::new(Inner { applied, memory: Mutex::default() }))
    }

    /// The leader's word that this node took: entries up to `committed` were committed when it came, at `at`.
    pub(crate) fn note(&self, committed: u64, at: Instant) {
        let mut memory = self.memory();
        if committed < memory.highest {
            return;
        }
        memory.highest = committed;
        memory.open.get_or_insert((committed, at));
        memory.settle(self.applied());
        if committed <= self.applied() {
            memory.fresh = memory.fresh.max(Some(at));
        }
    }

    /// For how long this node may have missed what was committed; none if it has heard no leader yet.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        self.staleness_at(Instant::now())
    }

    fn staleness_at(&self, now: Instant) -> Option<Duration> {
        let mut memory = self.memory();
        memory.settle(self.applied());
        memory.fresh.map(|fresh| now.saturating_duration_since(fresh))
    }

    fn applied(&self) -> u64 {
        *self.0.applied.borrow()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_as_old_as_the_newest_word_that_it_holds_all_of() {
        let (apply, applied) = watch::channel(0);
        let (heard, began) = (Heard::new(applied), Instant::now());
        let at = |ms: u64| began + Duration::from_millis(ms);
        let check = |now: u64, expect: Option<u64>| {
            assert_eq!(heard.staleness_at(at(now)), expect.map(Duration::from_millis), "at {now}");
        };
        check(0, None);
        heard.note(0, at(0));
        check(10, Some(10));
        heard.note(5, at(10));
        // What was said then is not applied.
        check(20, Some(20));
        heard.note(7, at(20));
        apply.send_replace(5);
        // All of the first word is, and the second was not remembered.
        check(30, Some(20));
        heard.note(7, at(40));
        apply.send_replace(9);
        check(45, Some(5));
        heard.note(9, at(50));
        check(50, Some(0));
        // A word that was on its way for longer than another tells nothing of now.
        heard.note(12, at(60));
        heard.note(9, at(70));
        check(80, Some(30));
    }
}
