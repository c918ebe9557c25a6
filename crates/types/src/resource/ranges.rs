//! Ranges of numbers, such as ports.

use std::{fmt, sync::Arc};

/// All numbers from `begin` to `end`, both included; `begin <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// First number.
    pub begin: u64,
    /// Last number.
    pub end: u64,
}

/// A set of numbers as inclusive ranges: sorted, apart from each other by at least one number. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Arc<[Range]>);

impl Ranges {
    /// The union of the given inclusive ranges, in any order; `None` if one begins after its end.
    pub fn new(ranges: impl IntoIterator<Item = (u64, u64)>) -> Option<Self> {
        let ranges: Option<Vec<Range>> =
            ranges.into_iter().map(|(begin, end)| (begin <= end).then_some(Range { begin, end })).collect();
        ranges.map(Self::coalesce)
    }

    fn coalesce(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        let mut out: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match out.last_mut() {
                Some(last) if range.begin <= last.end.saturating_add(1) => last.end = last.end.max(range.end),
                _ => out.push(range),
            }
        }
        Self(out.into())
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range> + DoubleEndedIterator + '_ {
        self.0.iter().copied()
    }

    /// How many numbers there are, at most `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0u64, |sum, range| sum.saturating_add((range.end - range.begin).saturating_add(1)))
    }

    /// Whether `number` is there.
    pub fn contains_number(&self, number: u64) -> bool {
        let after = self.0.partition_point(|range| range.begin <= number);
        after > 0 && number <= self.0[after - 1].end
    }

    /// Whether every number of `other` is there.
    pub fn contains(&self, other: &Self) -> bool {
        // Coalesced: a range of `other` lies within one range of ours or not at all.
        other.0.iter().all(|range| {
            let after = self.0.partition_point(|mine| mine.begin <= range.begin);
            after > 0 && range.end <= self.0[after - 1].end
        })
    }

    /// The numbers of both.
    pub fn union(&self, other: &Self) -> Self {
        Self::coalesce(self.0.iter().chain(other.0.iter()).copied().collect())
    }

    /// Our numbers that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Vec::with_capacity(self.0.len() + other.0.len());
        for mine in self.iter() {
            let mut begin = Some(mine.begin);
            let first = other.0.partition_point(|theirs| theirs.end < mine.begin);
            for theirs in other.0[first..].iter().take_while(|theirs| theirs.begin <= mine.end) {
                let Some(from) = begin else { break };
                if from < theirs.begin {
                    out.push(Range { begin: from, end: theirs.begin - 1 });
                }
                begin = theirs.end.checked_add(1).filter(|next| *next <= mine.end);
            }
            out.extend(begin.map(|begin| Range { begin, end: mine.end }));
        }
        Self(out.into())
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (position, range) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{}-{}", range.begin, range.end)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(u64, u64)]) -> Ranges {
        Ranges::new(pairs.iter().copied()).expect("well-formed")
    }

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        assert_eq!(ranges(&[(5, 9), (1, 2), (3, 4), (8, 12)]), ranges(&[(1, 12)]));
        assert_eq!(ranges(&[(1, 2), (4, 5)]).iter().len(), 2);
        assert_eq!(ranges(&[(0, u64::MAX), (7, 8)]), ranges(&[(0, u64::MAX)]));
        assert_eq!(Ranges::new([(2, 1)]), None);
    }

    #[test]
    fn difference_at_the_edges() {
        let whole = ranges(&[(0, u64::MAX)]);
        assert_eq!(whole.difference(&ranges(&[(0, 0), (u64::MAX, u64::MAX)])), ranges(&[(1, u64::MAX - 1)]));
        assert_eq!(
            ranges(&[(1, 9)]).difference(&ranges(&[(3, 4), (6, 6)])),
            ranges(&[(1, 2), (5, 5), (7, 9)])
        );
        assert_eq!(whole.difference(&whole), Ranges::default());
        assert_eq!(whole.count(), u64::MAX, "saturates");
    }

    #[test]
    fn contains_looks_at_every_number() {
        let ports = ranges(&[(10, 20), (30, 40)]);
        for (other, expect) in [((10, 20), true), ((15, 16), true), ((20, 30), false), ((9, 10), false)] {
            assert_eq!(ports.contains(&ranges(&[other])), expect, "{other:?}");
        }
        assert!(ports.contains_number(40) && !ports.contains_number(25) && !ports.contains_number(0));
    }

    #[test]
    fn display_is_the_flag_text() {
        assert_eq!(ranges(&[(5, 9), (1, 2)]).to_string(), "[1-2, 5-9]");
        assert_eq!(Ranges::default().to_string(), "[]");
    }
}
