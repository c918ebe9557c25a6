//! A bounded rate in integers: so many per second, with at most one second's worth saved up.

use mesarch_types::Millis;

/// Tokens in thousandths, so that a millisecond earns a whole number of them.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    per_second: u64,
    thousandths: u64,
    at: Millis,
}

impl Rate {
    /// A full bucket of `per_second` (at least 1).
    pub(crate) fn new(per_second: u32, now: Millis) -> Self {
        let per_second = u64::from(per_second.max(1));
        Self { per_second, thousandths: per_second * 1000, at: now }
    }

    /// How many may go now.
    pub(crate) fn available(&mut self, now: Millis) -> usize {
        let earned = now.saturating_sub(self.at).0.saturating_mul(self.per_second);
        self.thousandths = self.thousandths.saturating_add(earned).min(self.per_second * 1000);
        self.at = self.at.max(now);
        usize::try_from(self.thousandths / 1000).unwrap_or(usize::MAX)
    }

    /// Uses `count` up; more than available leaves none.
    pub(crate) fn spend(&mut self, count: usize) {
        let thousandths = (count as u64).saturating_mul(1000);
        self.thousandths = self.thousandths.saturating_sub(thousandths);
    }

    /// The first moment at which one may go.
    pub(crate) fn ready_at(&self) -> Millis {
        let missing = 1000_u64.saturating_sub(self.thousandths);
        self.at.saturating_add(Millis(missing.div_ceil(self.per_second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut rate = Rate::new(10, Millis(0));
        assert_eq!(rate.available(Millis(0)), 10);
        rate.spend(10);
        assert_eq!(rate.available(Millis(0)), 0);
        assert_eq!(rate.ready_at(), Millis(100));
        assert_eq!(rate.available(Millis(99)), 0);
        assert_eq!(rate.available(Millis(100)), 1);
        rate.spend(1);
        assert_eq!(rate.available(Millis(1_000_000)), 10, "never more than one second's worth");
    }

    #[test]
    fn a_clock_that_stands_still_gives_nothing() {
        let mut rate = Rate::new(1000, Millis(50));
        rate.spend(2000);
        assert_eq!(rate.available(Millis(50)), 0);
        assert_eq!(rate.available(Millis(40)), 0);
        assert_eq!(rate.available(Millis(51)), 1);
    }
}
