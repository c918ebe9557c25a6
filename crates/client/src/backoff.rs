//! Bounded, jittered waiting between tries.

use std::time::Duration;

use rand::Rng;

/// The first wait is drawn from up to this: a new leader is there after 20 to 50 ms.
pub const FIRST: Duration = Duration::from_millis(20);
/// No wait is longer.
pub const LONGEST: Duration = Duration::from_secs(1);

/// Doubles from [`FIRST`] to its longest wait; each wait is drawn evenly from its upper half, so crowds spread out.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// Up to [`LONGEST`].
    pub fn new() -> Self {
        Self::up_to(LONGEST)
    }

    /// With another longest wait than [`LONGEST`].
    pub fn up_to(longest: Duration) -> Self {
        Self { next: FIRST, longest: longest.max(FIRST) }
    }

    /// Call after a success.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// How long to wait before the next try.
    #[expect(
        clippy::should_implement_trait,
        reason = "waits are drawn one by one, and there is no end of them"
    )]
    pub fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        rand::rng().random_range(now / 2..=now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_again_after_a_success() {
        let mut backoff = Backoff::new();
        let mut bound = FIRST;
        for _ in 0..12 {
            let wait = backoff.next();
            assert!(wait >= bound / 2 && wait <= bound, "{wait:?} is not in the upper half of {bound:?}");
            bound = (bound * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
