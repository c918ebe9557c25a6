//! The canonical collection of resources: construction, views of it, text.

use std::{fmt, iter::repeat_n, sync::Arc};

use super::{Quantities, Resource, ResourceError, Value};
use crate::Role;

/// Resources, merged where they add up, sorted, without empties. Cheap to clone; equality is equality of what is there.
///
/// What cannot be divided (volumes, whole disks) and what can be shared is counted in copies, never summed.
#[derive(Clone, Default, Eq)]
pub struct Resources(pub(super) Arc<[Entry]>);

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        // The comparison of slices would look at each entry even if both are the same allocation.
        self.ptr_eq(other) || self.0 == other.0
    }
}

/// One resource and how many copies of it: more than one only for what is indivisible or shared.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) resource: Resource,
    pub(super) copies: u32,
}

impl Resources {
    /// The sum of the given resources; zeros and empty values vanish.
    pub fn new(list: impl IntoIterator<Item = Resource>) -> Result<Self, ResourceError> {
        let mut entries = Vec::new();
        for resource in list {
            check(&resource)?;
            if !resource.value.is_empty() {
                entries.push(Entry { resource, copies: 1 });
            }
        }
        entries.sort_by(|left, right| left.resource.cmp_key(&right.resource));
        let mut merged: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match merged.last_mut() {
                Some(last) if last.resource.cmp_key(&entry.resource).is_eq() => {
                    *last = last.checked_add(&entry).ok_or_else(|| overflow(&entry))?;
                }
                _ => merged.push(entry),
            }
        }
        match kind_conflict(&merged) {
            Some(name) => Err(ResourceError::KindConflict { name }),
            None => Ok(Self::from_canonical(merged)),
        }
    }

    pub(super) fn from_canonical(entries: Vec<Entry>) -> Self {
        if entries.is_empty() { Self::default() } else { Self(entries.into()) }
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each resource in canonical order; one with several copies as often.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.0.iter().flat_map(|entry| repeat_n(&entry.resource, entry.copies as usize))
    }

    /// Each different resource in canonical order, with its copies (1 but for indivisible and shared ones).
    pub fn iter_counted(&self) -> impl ExactSizeIterator<Item = (&Resource, u32)> {
        self.0.iter().map(|entry| (&entry.resource, entry.copies))
    }

    /// The resources that satisfy `keep`.
    pub fn filter(&self, mut keep: impl FnMut(&Resource) -> bool) -> Self {
        let Some(first_out) = self.0.iter().position(|entry| !keep(&entry.resource)) else {
            return self.clone();
        };
        let (before, after) = (&self.0[..first_out], &self.0[first_out + 1..]);
        let kept = before.iter().chain(after.iter().filter(|entry| keep(&entry.resource)));
        Self::from_canonical(kept.cloned().collect())
    }

    /// Those reserved to nobody.
    pub fn unreserved(&self) -> Self {
        self.filter(|resource| resource.reservations.is_empty())
    }

    /// Those reserved to exactly `role`.
    pub fn reserved_to(&self, role: &Role) -> Self {
        self.filter(|resource| resource.reserved_role() == Some(role))
    }

    /// Those that a framework of `role` may be offered: unreserved, or reserved to `role` or an ancestor of it.
    pub fn allocatable_to(&self, role: &Role) -> Self {
        self.filter(|resource| resource.is_allocatable_to(role))
    }

    /// Those that may be taken back at any time.
    pub fn revocable(&self) -> Self {
        self.filter(|resource| resource.revocable)
    }

    /// Those that stay with their user.
    pub fn non_revocable(&self) -> Self {
        self.filter(|resource| !resource.revocable)
    }

    /// Those that several tasks may use at once.
    pub fn shared(&self) -> Self {
        self.filter(|resource| resource.shared)
    }

    /// Those that one task uses at a time.
    pub fn non_shared(&self) -> Self {
        self.filter(|resource| !resource.shared)
    }

    /// The amounts.
    pub fn scalars_only(&self) -> Self {
        self.filter(|resource| matches!(resource.value, Value::Scalar(_)))
    }

    /// The numbers and names.
    pub fn non_scalars(&self) -> Self {
        self.filter(|resource| !matches!(resource.value, Value::Scalar(_)))
    }

    /// The same, stamped as offered or allocated to `role`.
    pub fn allocated_to(&self, role: &Role) -> Self {
        self.with_allocation(Some(role))
    }

    /// The same, belonging to nobody.
    pub fn without_allocation(&self) -> Self {
        self.with_allocation(None)
    }

    fn with_allocation(&self, role: Option<&Role>) -> Self {
        if self.0.iter().all(|entry| entry.resource.allocated_to.as_ref() == role) {
            return self.clone();
        }
        let stamp = |entry: &Entry| {
            let resource = Resource { allocated_to: role.cloned(), ..entry.resource.clone() };
            Entry { resource, copies: entry.copies }
        };
        let stamped = self.0.iter().map(stamp).collect();
        // With one stamp for all, now and before, it decides nothing about their order, and none become equal.
        let mut stamps = self.0.iter().map(|entry| &entry.resource.allocated_to);
        let first = stamps.next();
        match stamps.all(|stamp| Some(stamp) == first) {
            true => Self::from_canonical(stamped),
            false => Self::normalize(stamped),
        }
    }

    /// Scalar totals by name, reserved and revocable ones included; a shared resource counts once.
    pub fn quantities(&self) -> Quantities {
        let scalars = self.0.iter().filter_map(|entry| {
            let amount = entry.resource.value.as_scalar()?;
            let copies = if entry.resource.shared { 1 } else { i64::from(entry.copies) };
            Some((&entry.resource.name, super::Scalar(amount.0.saturating_mul(copies))))
        });
        Quantities::from_sorted(scalars)
    }

    /// Whether both are the same allocation: a cheap, sufficient test of equality.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

fn check(resource: &Resource) -> Result<(), ResourceError> {
    if resource.name.is_empty() {
        return Err(ResourceError::NoName);
    }
    if resource.value.as_scalar().is_some_and(|amount| amount.0 < 0) {
        return Err(ResourceError::Negative { name: resource.name.clone() });
    }
    Ok(())
}

fn overflow(entry: &Entry) -> ResourceError {
    ResourceError::Overflow { name: entry.resource.name.clone() }
}

/// A name that occurs with two kinds of values; entries are sorted by name, then kind.
pub(super) fn kind_conflict(entries: &[Entry]) -> Option<Arc<str>> {
    let conflict = entries.windows(2).find(|pair| {
        let (left, right) = (&pair[0].resource, &pair[1].resource);
        left.value.kind() != right.value.kind() && left.name == right.name
    });
    conflict.map(|pair| pair[0].resource.name.clone())
}

/// The flag text, `cpus:4;mem(eng):1024`; see [`Resource`]'s for what reads back.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, resource) in self.iter().enumerate() {
            let separator = if position == 0 { "" } else { ";" };
            write!(f, "{separator}{resource}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
