//! Sums, differences and comparisons of [`Resources`]. Both sides are sorted alike, so each is one pass over both.

use std::{
    cmp::Ordering,
    ops::{Add, AddAssign},
};

use super::{
    Quantities, Resources, Scalar, Value,
    resources::{Entry, kind_conflict},
};

impl Entry {
    /// Both together; `None` on overflow. The keys are equal.
    pub(super) fn checked_add(&self, other: &Self) -> Option<Self> {
        let mut sum = self.clone();
        if sum.resource.is_indivisible() {
            sum.copies = self.copies.checked_add(other.copies)?;
        } else {
            sum.resource.value = self.resource.value.checked_add(&other.resource.value)?;
        }
        Some(sum)
    }

    fn saturating_add(&self, other: &Self) -> Self {
        self.checked_add(other).unwrap_or_else(|| {
            let mut most = self.clone();
            match &mut most.resource.value {
                Value::Scalar(amount) if !self.resource.is_indivisible() => *amount = Scalar::MAX,
                _ => most.copies = u32::MAX,
            }
            most
        })
    }

    fn contains(&self, other: &Self) -> bool {
        if self.resource.is_indivisible() {
            self.copies >= other.copies
        } else {
            self.resource.value.contains(&other.resource.value)
        }
    }

    /// What is left, `None` if nothing is. The keys are equal.
    fn saturating_sub(&self, other: &Self) -> Option<Self> {
        if self.resource.is_indivisible() {
            let copies = self.copies.saturating_sub(other.copies);
            return (copies > 0).then(|| Self { copies, ..self.clone() });
        }
        let value = self.resource.value.saturating_sub(&other.resource.value);
        if value.is_empty() {
            return None;
        }
        let mut rest = self.clone();
        rest.resource.value = value;
        Some(rest)
    }
}

/// What a walk over two sorted collections meets.
enum Met<'a> {
    Left(&'a Entry),
    Right(&'a Entry),
    Both(&'a Entry, &'a Entry),
}

fn walk<'a>(mut left: &'a [Entry], mut right: &'a [Entry]) -> impl Iterator<Item = Met<'a>> {
    std::iter::from_fn(move || {
        let order = match (left.first(), right.first()) {
            (Some(mine), Some(theirs)) => mine.resource.cmp_key(&theirs.resource),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let mine = if order.is_le() { take_first(&mut left) } else { None };
        let theirs = if order.is_ge() { take_first(&mut right) } else { None };
        match (mine, theirs) {
            (Some(mine), Some(theirs)) => Some(Met::Both(mine, theirs)),
            (Some(mine), None) => Some(Met::Left(mine)),
            (None, theirs) => theirs.map(Met::Right),
        }
    })
}

fn take_first<'a>(entries: &mut &'a [Entry]) -> Option<&'a Entry> {
    let (first, rest) = entries.split_first()?;
    *entries = rest;
    Some(first)
}

impl Resources {
    /// Whether everything in `other` is there: `cpus:4` contains `cpus:3`, but `cpus(eng):4` does not.
    pub fn contains(&self, other: &Self) -> bool {
        self.ptr_eq(other)
            || walk(&self.0, &other.0).all(|met| match met {
                Met::Left(_) => true,
                Met::Right(_) => false,
                Met::Both(mine, theirs) => mine.contains(theirs),
            })
    }

    /// Both together; `None` if an amount overflows or a name would have values of two kinds. Numbers and names that
    /// both hold coalesce, as in Mesos.
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        if let Some(sum) = self.add_nothing(other) {
            return Some(sum);
        }
        let sum: Option<Vec<Entry>> = walk(&self.0, &other.0)
            .map(|met| match met {
                Met::Left(entry) | Met::Right(entry) => Some(entry.clone()),
                Met::Both(mine, theirs) => mine.checked_add(theirs),
            })
            .collect();
        let sum = sum?;
        kind_conflict(&sum).is_none().then(|| Self::from_canonical(sum))
    }

    /// Both together; amounts stop at [`Scalar::MAX`], and kinds of values stand side by side. For sums that are only
    /// shown or compared; books are kept with [`Resources::checked_add`].
    pub fn saturating_add(&self, other: &Self) -> Self {
        if let Some(sum) = self.add_nothing(other) {
            return sum;
        }
        let sum = walk(&self.0, &other.0).map(|met| match met {
            Met::Left(entry) | Met::Right(entry) => entry.clone(),
            Met::Both(mine, theirs) => mine.saturating_add(theirs),
        });
        Self::from_canonical(sum.collect())
    }

    /// All together, as by [`Resources::saturating_add`], in one pass.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else {
            return Self::default();
        };
        let mut more = parts.peekable();
        if more.peek().is_none() {
            return first.clone();
        }
        Self::normalize(first.0.iter().chain(more.flat_map(|part| part.0.iter())).cloned().collect())
    }

    fn add_nothing(&self, other: &Self) -> Option<Self> {
        if other.is_empty() {
            return Some(self.clone());
        }
        self.is_empty().then(|| other.clone())
    }

    /// What is left without `other`; `None` unless [`Resources::contains`] holds.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.contains(other).then(|| self.saturating_sub(other))
    }

    /// What is left of `self` without as much of `other` as is there.
    pub fn saturating_sub(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        if self.ptr_eq(other) {
            return Self::default();
        }
        let rest = walk(&self.0, &other.0).filter_map(|met| match met {
            Met::Left(entry) => Some(entry.clone()),
            Met::Right(_) => None,
            Met::Both(mine, theirs) => mine.saturating_sub(theirs),
        });
        Self::from_canonical(rest.collect())
    }

    /// The scalars of `self`, in canonical order, as far as they fit in `target` by name; kinds that it does not name,
    /// numbers and names are left out. What is indivisible comes whole or not at all.
    pub fn shrink_to(&self, target: &Quantities) -> Self {
        self.shrink(target, false)
    }

    /// `self` cut to `limits`: as [`Resources::shrink_to`], but what the limits do not name stays.
    pub fn shrink_to_limits(&self, limits: &Quantities) -> Self {
        self.shrink(limits, true)
    }

    fn shrink(&self, target: &Quantities, keep_unnamed: bool) -> Self {
        let mut left = target.clone();
        let kept = self.0.iter().filter_map(|entry| {
            let amount = entry.resource.value.as_scalar();
            match amount.and_then(|_| left.get_exact(&entry.resource.name)) {
                None => keep_unnamed.then(|| entry.clone()),
                Some(room) => {
                    let (cut, used) = entry.cut_to(room)?;
                    left.take_one(&entry.resource.name, used);
                    Some(cut)
                }
            }
        });
        Self::from_canonical(kept.collect())
    }

    /// Sorts and merges entries whose keys were changed.
    pub(super) fn normalize(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|left, right| left.resource.cmp_key(&right.resource));
        let mut merged: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match merged.last_mut() {
                Some(last) if last.resource.cmp_key(&entry.resource).is_eq() => {
                    *last = last.saturating_add(&entry);
                }
                _ => merged.push(entry),
            }
        }
        Self::from_canonical(merged)
    }
}

impl Entry {
    /// As much of a scalar entry as fits in `room`, and how much that is; `None` if nothing fits.
    fn cut_to(&self, room: Scalar) -> Option<(Self, Scalar)> {
        let amount = self.resource.value.as_scalar()?;
        let mut cut = self.clone();
        if self.resource.is_indivisible() {
            let fitting = u32::try_from(room.0.checked_div(amount.0)?.max(0)).unwrap_or(u32::MAX);
            cut.copies = self.copies.min(fitting);
            let used = Scalar(amount.0.saturating_mul(i64::from(cut.copies)));
            return (cut.copies > 0).then_some((cut, used));
        }
        let used = amount.min(room);
        cut.resource.value = Value::Scalar(used);
        (used > Scalar::ZERO).then_some((cut, used))
    }
}

impl Add<&Resources> for &Resources {
    type Output = Resources;

    /// [`Resources::saturating_add`].
    fn add(self, other: &Resources) -> Resources {
        self.saturating_add(other)
    }
}

impl AddAssign<&Resources> for Resources {
    /// [`Resources::saturating_add`].
    fn add_assign(&mut self, other: &Resources) {
        *self = self.saturating_add(other);
    }
}
