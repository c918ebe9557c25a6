//! Sets of names, such as devices.

use std::{fmt, sync::Arc};

/// A sorted set of names. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(Arc<[Arc<str>]>);

impl Set {
    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many names there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The names, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<str>> + DoubleEndedIterator {
        self.0.iter()
    }

    /// Whether `name` is there.
    pub fn contains_name(&self, name: &str) -> bool {
        self.0.binary_search_by(|mine| (**mine).cmp(name)).is_ok()
    }

    /// Whether every name of `other` is there.
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|name| self.contains_name(name))
    }

    /// The names of both.
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).cloned().collect()
    }

    /// Our names that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.iter().filter(|name| !other.contains_name(name)).cloned().collect())
    }
}

impl FromIterator<Arc<str>> for Set {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        let mut names: Vec<Arc<str>> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }
}

impl<'a> FromIterator<&'a str> for Set {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        names.into_iter().map(Arc::<str>::from).collect()
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, name) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_without_duplicates() {
        let set: Set = ["b", "a", "b"].into_iter().collect();
        assert_eq!(set.to_string(), "{a, b}");
        assert_eq!(set.count(), 2);
    }

    #[test]
    fn union_and_difference() {
        let left: Set = ["a", "b"].into_iter().collect();
        let right: Set = ["b", "c"].into_iter().collect();
        assert_eq!(left.union(&right).to_string(), "{a, b, c}");
        assert_eq!(left.difference(&right).to_string(), "{a}");
        assert!(left.contains(&left) && !left.contains(&right) && left.contains(&Set::default()));
    }
}
