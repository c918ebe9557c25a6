//! How much of a resource there is.

use std::fmt;

use super::{Ranges, Scalar, Set};

/// How much of a resource there is, in one of Mesos' three kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An amount, such as cpus or MB of memory.
    Scalar(Scalar),
    /// Numbers, such as ports.
    Ranges(Ranges),
    /// Names.
    Set(Set),
}

/// The kind of a [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of `Value`")]
pub enum ValueKind {
    Scalar,
    Ranges,
    Set,
}

impl Value {
    /// Which kind this is.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Scalar(_) => ValueKind::Scalar,
            Self::Ranges(_) => ValueKind::Ranges,
            Self::Set(_) => ValueKind::Set,
        }
    }

    /// The amount, if this is a scalar.
    pub fn as_scalar(&self) -> Option<Scalar> {
        match self {
            Self::Scalar(scalar) => Some(*scalar),
            Self::Ranges(_) | Self::Set(_) => None,
        }
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(scalar) => scalar.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(set) => set.is_empty(),
        }
    }

    /// Whether `other` is of the same kind and not more.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(mine), Self::Scalar(theirs)) => mine >= theirs,
            (Self::Ranges(mine), Self::Ranges(theirs)) => mine.contains(theirs),
            (Self::Set(mine), Self::Set(theirs)) => mine.contains(theirs),
            _ => false,
        }
    }

    /// Both together (numbers and names coalesce); `None` if the kinds differ or an amount overflows.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Scalar(mine), Self::Scalar(theirs)) => mine.checked_add(*theirs).map(Self::Scalar),
            (Self::Ranges(mine), Self::Ranges(theirs)) => Some(Self::Ranges(mine.union(theirs))),
            (Self::Set(mine), Self::Set(theirs)) => Some(Self::Set(mine.union(theirs))),
            _ => None,
        }
    }

    /// What is left without `other`; `None` unless [`Value::contains`] holds.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.contains(other).then(|| self.saturating_sub(other))
    }

    /// What is left of `self` without as much of `other` as is there; all of `self` if the kinds differ.
    pub fn saturating_sub(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Scalar(mine), Self::Scalar(theirs)) => Self::Scalar(mine.saturating_sub(*theirs)),
            (Self::Ranges(mine), Self::Ranges(theirs)) => Self::Ranges(mine.difference(theirs)),
            (Self::Set(mine), Self::Set(theirs)) => Self::Set(mine.difference(theirs)),
            _ => self.clone(),
        }
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        Self::Scalar(scalar)
    }
}

impl From<Ranges> for Value {
    fn from(ranges: Ranges) -> Self {
        Self::Ranges(ranges)
    }
}

impl From<Set> for Value {
    fn from(set: Set) -> Self {
        Self::Set(set)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => scalar.fmt(f),
            Self::Ranges(ranges) => ranges.fmt(f),
            Self::Set(set) => set.fmt(f),
        }
    }
}
