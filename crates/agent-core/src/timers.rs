//! What is due when. Entries are hints: whoever fires asks the entity whether the time is still meant.

use std::collections::BTreeSet;

use mesarch_types::Millis;

use crate::{ExecutorKey, TaskKey};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The head update of a task is to be repeated.
    Repeat(TaskKey),
    /// A run has reached the end of a period.
    Run(ExecutorKey),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Millis, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Millis, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, at: Millis, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<Millis> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes the earliest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<(Millis, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first()
    }
}
