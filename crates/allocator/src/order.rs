//! A set in order whose first members are asked for, most often of very few.

use std::collections::BTreeSet;

/// So many stand in a list; more are kept in a tree.
const FEW_MAX: usize = 24;

/// Different values, ascending. A tree takes and gives back memory whenever its only member is replaced, and a role with one
/// framework replaces it with every offer; a short list does not.
#[derive(Debug)]
pub(crate) struct Order<T> {
    /// Sorted. Empty if there are, or were, many.
    few: Vec<T>,
    many: BTreeSet<T>,
}

impl<T: Ord> Order<T> {
    pub(crate) fn insert(&mut self, value: T) {
        if !self.many.is_empty() {
            self.many.insert(value);
        } else if let Err(place) = self.few.binary_search(&value) {
            self.few.insert(place, value);
            if self.few.len() > FEW_MAX {
                self.many.extend(self.few.drain(..));
            }
        }
    }

    pub(crate) fn remove(&mut self, value: &T) {
        if !self.many.is_empty() {
            self.many.remove(value);
        } else if let Ok(place) = self.few.binary_search(value) {
            self.few.remove(place);
        }
    }

    /// From the first to the last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.few.iter().chain(&self.many)
    }
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { few: Vec::new(), many: BTreeSet::new() }
    }
}

impl<T: Ord> FromIterator<T> for Order<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        values.into_iter().fold(Self::default(), |mut order, value| {
            order.insert(value);
            order
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::mix;

    #[test]
    fn it_is_a_set_in_order_however_many_there_are() {
        let (mut order, mut expect) = (Order::default(), BTreeSet::new());
        for round in 0..5_000_u64 {
            // It grows for a while, then it shrinks to nothing, and again.
            let (value, grows) = (mix(round) % 60, (round / 500) % 2 == 0);
            match grows == (mix(round ^ 1) % 10 < 8) {
                true => {
                    order.insert(value);
                    expect.insert(value);
                }
                false => {
                    order.remove(&value);
                    expect.remove(&value);
                }
            }
            assert!(order.iter().eq(&expect), "round {round}");
        }
    }
}
