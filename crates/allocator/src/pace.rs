//! How many offers may be planned now.

use mesarch_types::Millis;

/// A bucket that fills with time up to one second's worth of offers. Counts thousandths of an offer.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u64,
    filled: u64,
    at: Millis,
}

const OFFER: u64 = 1000;

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = u64::from(per_second.max(1));
        Self { per_second, filled: per_second * OFFER, at: Millis::ZERO }
    }

    /// How many offers may be planned at `now`.
    pub(crate) fn room(&mut self, now: Millis) -> usize {
        self.filled = self.filled_at(now);
        self.at = self.at.max(now);
        (self.filled / OFFER) as usize
    }

    pub(crate) fn spend(&mut self, offers: usize) {
        self.filled = self.filled.saturating_sub(offers as u64 * OFFER);
    }

    /// The first moment from `now` on at which an offer may be planned.
    pub(crate) fn ready(&self, now: Millis) -> Millis {
        let missing = OFFER.saturating_sub(self.filled_at(now));
        now.saturating_add(Millis(missing.div_ceil(self.per_second)))
    }

    fn filled_at(&self, now: Millis) -> u64 {
        let elapsed = now.saturating_sub(self.at).0;
        // One offer per second is one thousandth of an offer per millisecond.
        let gained = elapsed.saturating_mul(self.per_second);
        self.filled.saturating_add(gained).min(self.per_second * OFFER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_offers_at_once_then_one_by_one() {
        let mut pace = Pace::new(10);
        assert_eq!((pace.room(Millis(5)), pace.ready(Millis(5))), (10, Millis(5)));
        pace.spend(10);
        assert_eq!((pace.room(Millis(5)), pace.ready(Millis(5))), (0, Millis(105)));
        assert_eq!((pace.room(Millis(104)), pace.ready(Millis(104))), (0, Millis(105)));
        assert_eq!(pace.room(Millis(105)), 1);
        assert_eq!(pace.room(Millis(60_000)), 10, "it never holds more than a second's worth");
        assert_eq!(pace.room(Millis(1)), 10, "time that goes back takes nothing away");
    }
}
