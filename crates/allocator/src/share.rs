//! Dominant shares: the only place of floating point, and never stored beyond the index.
#![allow(clippy::float_arithmetic, reason = "shares are compared, never stored or sent")]

use std::{cmp::Ordering, fmt};

/// Weight one, in thousandths.
pub(crate) const WEIGHT_ONE: u64 = 1000;

/// A part of the cluster, 0 to 1 before weights; totally ordered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share(f64);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0.0);

    /// Divided by a weight in thousandths; a weight of zero counts as one thousandth.
    pub fn per_weight(self, weight_thousandths: u64) -> Self {
        match weight_thousandths {
            WEIGHT_ONE => self,
            weight => Self(self.0 * WEIGHT_ONE as f64 / weight.max(1) as f64),
        }
    }

    /// A waiting time drawn with a rate of `weight_thousandths`: among several, each is the shortest as often as its
    /// weight is part of all weights. `draw` are 64 even bits.
    pub fn drawn(draw: u64, weight_thousandths: u64) -> Self {
        // 52 bits and a half are exact as a double; the half keeps zero and one out.
        let part = ((draw >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
        Self(-part.ln() * WEIGHT_ONE as f64 / weight_thousandths.max(1) as f64)
    }

    /// As a number, for display and metrics.
    pub fn as_f64(self) -> f64 {
        self.0
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What somebody holds of each kind of scalar, beside what the cluster has.
#[derive(Clone, Copy, Debug)]
pub struct Usage<'a> {
    pub(crate) held: &'a [i64],
    pub(crate) totals: &'a [i64],
    pub(crate) excluded: &'a [bool],
}

impl Usage<'_> {
    /// The largest part held of any kind that the cluster has and that counts in fairness.
    pub fn dominant_share(&self) -> Share {
        let kinds = self.held.iter().zip(self.totals).zip(self.excluded);
        let parts = kinds
            .filter(|((held, total), excluded)| **held > 0 && **total > 0 && !**excluded)
            .map(|((held, total), _)| Share(*held as f64 / *total as f64));
        parts.max().unwrap_or(Share::NONE)
    }
}

/// Whether two numbers differ by no more than `tolerance`.
pub(crate) fn is_near(left: f64, right: f64, tolerance: f64) -> bool {
    (left - right).abs() <= tolerance
}

/// What part `part` is of `whole`; zero of nothing.
pub(crate) fn fraction(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(held: &[i64], totals: &[i64], excluded: &[bool]) -> Share {
        Usage { held, totals, excluded }.dominant_share()
    }

    #[test]
    fn the_largest_part_of_what_counts() {
        let all = [false; 3];
        assert_eq!(share(&[3000, 1024], &[9000, 18432, 5], &all), Share(1.0 / 3.0));
        assert_eq!(share(&[1, 0, 9], &[2, 2, 0], &all), Share(0.5), "a kind that is gone does not count");
        assert_eq!(share(&[1, 2], &[2, 2], &[false, true]), Share(0.5), "nor one that is excluded");
        assert_eq!(share(&[], &[1], &all), Share::NONE);
    }

    #[test]
    fn equal_parts_of_different_kinds_are_equal() {
        assert_eq!(share(&[3], &[9], &[false]), share(&[6144], &[18432], &[false]));
    }

    #[test]
    fn the_shortest_waiting_time_follows_the_weights() {
        let rounds = 20_000u64;
        let wins = (0..rounds).filter(|round| {
            let draw = |who: u64| crate::draw::mix(crate::draw::mix(*round) ^ who);
            Share::drawn(draw(1), 3000) < Share::drawn(draw(2), 1000)
        });
        assert!(is_near(fraction(wins.count() as i64, rounds as i64), 0.75, 0.02));
        assert!(Share::drawn(0, 1000).as_f64().is_finite() && Share::drawn(u64::MAX, 1000) > Share::NONE);
    }

    #[test]
    fn weights_divide() {
        assert_eq!(Share(0.5).per_weight(2000), Share(0.25));
        assert_eq!(Share(0.5).per_weight(1000), Share(0.5));
        assert!(Share(0.5).per_weight(0) > Share(0.5));
    }
}
