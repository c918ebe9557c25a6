//! Sets of small numbers, one bit each.

/// A growing set of small numbers; what is beyond its end is not in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

const WORD_BITS: u32 = u64::BITS;

fn word_of(number: u32) -> (usize, u64) {
    ((number / WORD_BITS) as usize, 1 << (number % WORD_BITS))
}

impl Bits {
    pub(crate) fn set(&mut self, number: u32) {
        let (word, bit) = word_of(number);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    pub(crate) fn clear(&mut self, number: u32) {
        let (word, bit) = word_of(number);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    pub(crate) fn put(&mut self, number: u32, there: bool) {
        if there { self.set(number) } else { self.clear(number) }
    }

    pub(crate) fn has(&self, number: u32) -> bool {
        let (word, bit) = word_of(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// How many there are, but not more than there are in the words that the first `enough` fill.
    pub(crate) fn count_to(&self, enough: u32) -> u32 {
        let mut count = 0;
        for word in &self.0 {
            count += word.count_ones();
            if count >= enough {
                break;
            }
        }
        count
    }

    pub(crate) fn clear_all(&mut self) {
        self.0.clear();
    }

    /// Becomes `base` without `out`; keeps its memory.
    pub(crate) fn assign_difference(&mut self, base: &Self, out: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&base.0);
        self.subtract(out);
    }

    pub(crate) fn subtract(&mut self, out: &Self) {
        self.0.iter_mut().zip(&out.0).for_each(|(word, out)| *word &= !out);
    }

    pub(crate) fn intersect(&mut self, other: &Self) {
        let beyond = other.0.len().min(self.0.len());
        self.0.truncate(beyond);
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    pub(crate) fn unite(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// The numbers, ascending.
    pub(crate) fn ones(&self) -> impl Iterator<Item = u32> {
        self.0.iter().zip(0u32..).flat_map(|(word, position)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let lowest = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(position * WORD_BITS + lowest)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(numbers: &[u32]) -> Bits {
        numbers.iter().fold(Bits::default(), |mut bits, number| {
            bits.set(*number);
            bits
        })
    }

    fn listed(bits: &Bits) -> Vec<u32> {
        bits.ones().collect()
    }

    #[test]
    fn numbers_come_and_go() {
        let mut set = bits(&[200, 0, 63, 64]);
        assert_eq!((listed(&set), set.count()), (vec![0, 63, 64, 200], 4));
        set.clear(63);
        set.clear(9999);
        assert!(set.has(64) && !set.has(63) && !set.has(9999));
        set.put(5, true);
        set.put(0, false);
        assert_eq!(listed(&set), [5, 64, 200]);
        set.clear_all();
        assert!(set.is_empty() && bits(&[]).is_empty());
    }

    #[test]
    fn algebra_over_sets_of_different_lengths() {
        let (short, long) = (bits(&[1, 2]), bits(&[2, 300]));
        for (left, right, minus, and, or) in [
            (&short, &long, vec![1], vec![2], vec![1, 2, 300]),
            (&long, &short, vec![300], vec![2], vec![1, 2, 300]),
        ] {
            let (mut difference, mut meet, mut join) = (bits(&[77]), left.clone(), left.clone());
            difference.assign_difference(left, right);
            meet.intersect(right);
            join.unite(right);
            assert_eq!((listed(&difference), listed(&meet), listed(&join)), (minus, and, or));
        }
    }
}
