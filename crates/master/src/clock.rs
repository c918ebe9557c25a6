//! The clock that a leader stamps log entries with.
//!
//! Cluster time goes on from the state's and advances with the monotonic clock; wall time is for display. A wall clock
//! that jumps changes cluster time by at most [`ABSENCE_MAX`], and only when a term begins.

use std::{
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mesarch_types::{Millis, WallMillis};

/// Most cluster time that a new term credits for the time in which there was no leader.
pub(crate) const ABSENCE_MAX: Millis = Millis::from_secs(10);

/// Cluster time and wall time of this process.
#[derive(Debug)]
pub(crate) struct Clock {
    anchor: Mutex<Anchor>,
}

/// Cluster time was `cluster` at `instant`.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    cluster: Millis,
    instant: Instant,
}

impl Clock {
    /// Starts at zero; meaningful once a term begins.
    pub(crate) fn new() -> Self {
        Self { anchor: Mutex::new(Anchor { cluster: Millis::ZERO, instant: Instant::now() }) }
    }

    /// Sets cluster time for a term that is about to begin: the state's, and what may have passed since its last entry.
    pub(crate) fn begin_term(&self, state_now: Millis, state_wall: WallMillis) {
        self.set(state_now.saturating_add(absence(state_wall, wall_now())));
    }

    /// Moves cluster time up to the state's if it is behind: the log may have held more than was applied when the term
    /// was about to begin.
    pub(crate) fn catch_up(&self, state_now: Millis) {
        if self.now() < state_now {
            self.set(state_now);
        }
    }

    /// Cluster time.
    pub(crate) fn now(&self) -> Millis {
        let anchor = *self.lock();
        let elapsed = u64::try_from(anchor.instant.elapsed().as_millis()).unwrap_or(u64::MAX);
        anchor.cluster.saturating_add(Millis(elapsed))
    }

    /// When cluster time will be `at`; now if it has been.
    pub(crate) fn instant_of(&self, at: Millis) -> Instant {
        let anchor = *self.lock();
        let ahead = Duration::from_millis(at.saturating_sub(anchor.cluster).0);
        // Beyond what an instant can hold nothing is ever due; an hour later the caller asks again.
        anchor.instant.checked_add(ahead).unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    fn set(&self, cluster: Millis) {
        *self.lock() = Anchor { cluster, instant: Instant::now() };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Anchor> {
        // A holder cannot panic between the two stores of a copy.
        self.anchor.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Wall time; zero for a clock before 1970.
pub(crate) fn wall_now() -> WallMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How much cluster time passed while nobody led, as far as wall clocks can say.
fn absence(last: WallMillis, now: WallMillis) -> Millis {
    Millis(now.0.saturating_sub(last.0)).min(ABSENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_changes_little() {
        let hour = 3_600_000;
        for (last, now, expect) in
            [(1000, 1000, 0), (1000, 4000, 3000), (1000, 1000 + hour, 10_000), (hour, 1000, 0)]
        {
            assert_eq!(absence(WallMillis(last), WallMillis(now)), Millis(expect));
        }
        assert_eq!(absence(WallMillis(0), WallMillis(u64::MAX)), ABSENCE_MAX);
    }

    #[test]
    fn cluster_time_never_goes_back_within_a_term() {
        let clock = Clock::new();
        clock.begin_term(Millis(5000), wall_now());
        let begun = clock.now();
        assert!(begun >= Millis(5000) && begun < Millis(15_001));
        clock.catch_up(Millis(100));
        assert!(clock.now() >= begun);
        clock.catch_up(Millis(90_000));
        assert!(clock.now() >= Millis(90_000));
    }

    #[test]
    fn instants_of_the_past_are_due() {
        let clock = Clock::new();
        clock.catch_up(Millis(1000));
        assert!(clock.instant_of(Millis(1)) <= Instant::now());
        assert!(clock.instant_of(Millis::FOREVER) > Instant::now());
    }
}
