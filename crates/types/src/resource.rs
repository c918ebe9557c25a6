//! What an agent has and a task uses: single resources, canonical collections of them, and plain quantities.
//!
//! [`Resources`] is the workhorse: merged, sorted, without empties, cheap to clone, with exact fixed-point arithmetic.
//! [`Quantities`] forgets reservations, disks and the rest and keeps amounts by name, for shares and quota.

mod arithmetic;
mod operation;
mod quantities;
mod ranges;
mod reservations;
mod resources;
mod scalar;
mod set;
mod text;
mod value;

#[cfg(test)]
mod resources_test;

use std::{cmp::Ordering, fmt, sync::Arc};

use bytes::Bytes;

use crate::Role;

pub use operation::{Conversion, ConversionError};
pub use quantities::Quantities;
pub use ranges::{Range, Ranges};
pub use reservations::Reservations;
pub use resources::Resources;
pub use scalar::{Scalar, ScalarTextError};
pub use set::Set;
pub use text::{ResourceTextError, parse_resources};
pub(crate) use text::{parse_ranges, without_spaces};
pub use value::{Value, ValueKind};

/// Who made a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationKind {
    /// The agent's operator, by flag; it cannot be undone.
    Static,
    /// A RESERVE operation; UNRESERVE undoes it.
    Dynamic,
}

/// One level of reservation. Refined reservations are a stack of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// Who made it.
    pub kind: ReservationKind,
    /// For whom: this role and its descendants.
    pub role: Role,
    /// Who asked for it, if authenticated.
    pub principal: Option<Arc<str>>,
    /// The v1 `Labels` message, canonical bytes; empty if there are none. Compared, never read.
    pub labels: Bytes,
}

/// Where a disk comes from; only this decides whether it can be cut in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskSource {
    /// The agent's own work directory.
    #[default]
    Root,
    /// A directory on another file system; divisible.
    Path,
    /// A whole file system.
    Mount,
    /// A whole block device.
    Block,
    /// Storage without a form yet; indivisible once it has an id.
    Raw,
}

/// What makes a disk resource more than an amount.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Disk {
    /// The v1 `Resource.DiskInfo` message, canonical bytes. Compared; the only thing ever read of it is
    /// where its `source` begins and ends, when a volume on it is destroyed.
    pub info: Bytes,
    /// The id of the persistent volume, if it is one.
    pub persistence_id: Option<Arc<str>>,
    /// Where it comes from.
    pub source: DiskSource,
    /// The source's id, if it has one.
    pub source_id: Option<Arc<str>>,
}

impl Disk {
    /// Whether it is given away whole or not at all: a volume, a file system, a device.
    pub fn is_indivisible(&self) -> bool {
        self.persistence_id.is_some()
            || match self.source {
                DiskSource::Mount | DiskSource::Block => true,
                DiskSource::Raw => self.source_id.is_some(),
                DiskSource::Root | DiskSource::Path => false,
            }
    }
}

/// An amount of one kind under one set of conditions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// Such as `cpus`, `mem` (MB), `disk` (MB), `gpus`, `ports`.
    pub name: Arc<str>,
    /// How much.
    pub value: Value,
    /// For whom, outermost first; each further one refines the one before. Empty: unreserved.
    pub reservations: Reservations,
    /// What kind of disk it is, if more than an amount.
    pub disk: Option<Arc<Disk>>,
    /// Whether it may be taken back from its user at any time (oversubscription).
    pub revocable: bool,
    /// Whether several tasks may use it at once (a shared persistent volume).
    pub shared: bool,
    /// The resource provider it comes from; none: the agent itself.
    pub provider: Option<Arc<str>>,
    /// The role to which it is offered or allocated; none while it belongs to nobody.
    pub allocated_to: Option<Role>,
}

/// Why a list of resources is no [`Resources`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// A resource without a name.
    #[error("a resource has no name")]
    NoName,
    /// Below zero.
    #[error("resource {name} is negative")]
    Negative {
        /// The resource.
        name: Arc<str>,
    },
    /// More than 9.2e15 of something.
    #[error("the sum of {name} is out of range")]
    Overflow {
        /// The resource.
        name: Arc<str>,
    },
    /// The same name with values of different kinds.
    #[error("resource {name} has values of different kinds")]
    KindConflict {
        /// The resource.
        name: Arc<str>,
    },
}

impl Resource {
    /// An unreserved, unallocated, ordinary resource.
    pub fn new(name: impl Into<Arc<str>>, value: impl Into<Value>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            reservations: Reservations::default(),
            disk: None,
            revocable: false,
            shared: false,
            provider: None,
            allocated_to: None,
        }
    }

    /// The role it is reserved to (the innermost reservation's), if any.
    pub fn reserved_role(&self) -> Option<&Role> {
        self.reservations.last().map(|reservation| &reservation.role)
    }

    /// Whether a framework of `role` may be offered it: unreserved, or reserved to `role` or an ancestor of it.
    pub fn is_allocatable_to(&self, role: &Role) -> bool {
        self.reserved_role().is_none_or(|reserved| reserved == role || reserved.is_ancestor_of(role))
    }

    /// Whether giving it to a framework counts against its role's quota: an unreserved, non-revocable amount. (What is
    /// reserved counts from the reservation on, held or not.)
    pub fn counts_in_quota(&self) -> bool {
        matches!(self.value, Value::Scalar(_)) && self.reservations.is_empty() && !self.revocable
    }

    /// Whether it is a persistent volume.
    pub fn is_persistent(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.persistence_id.is_some())
    }

    /// Whether it is given away whole or not at all. Shared volumes are: each use takes another copy.
    pub fn is_indivisible(&self) -> bool {
        self.shared || self.disk.as_ref().is_some_and(|disk| disk.is_indivisible())
    }

    /// Orders by everything that keeps two resources from being merged; equal means that they add up.
    pub(crate) fn cmp_key(&self, other: &Self) -> Ordering {
        let by_conditions = cmp_text(&self.name, &other.name)
            .then_with(|| self.value.kind().cmp(&other.value.kind()))
            .then_with(|| self.revocable.cmp(&other.revocable))
            .then_with(|| self.shared.cmp(&other.shared))
            .then_with(|| self.reservations.cmp(&other.reservations))
            .then_with(|| self.disk.cmp(&other.disk))
            .then_with(|| self.provider.cmp(&other.provider))
            .then_with(|| self.allocated_to.cmp(&other.allocated_to));
        by_conditions.then_with(|| match self.is_indivisible() {
            true => self.value.cmp(&other.value),
            false => Ordering::Equal,
        })
    }
}

/// Text order; texts are mostly shared, so the same allocation is tried first.
fn cmp_text(left: &Arc<str>, right: &Arc<str>) -> Ordering {
    if Arc::ptr_eq(left, right) { Ordering::Equal } else { left.cmp(right) }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.principal) {
            (ReservationKind::Static, _) => write!(f, "({})", self.role),
            (ReservationKind::Dynamic, principal) => {
                write!(f, "({},{})", self.role, principal.as_deref().unwrap_or_default())
            }
        }
    }
}

/// `name(role,principal)[volume]{REV}:value`. Plain, reserved and revocable resources read back equal; labels, disks,
/// providers and the role allocated to are for the eye only.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.reservations.iter().try_for_each(|reservation| reservation.fmt(f))?;
        if let Some(disk) = &self.disk {
            let label = disk.persistence_id.as_ref().or(disk.source_id.as_ref());
            write!(f, "[{}]", label.map_or("disk", |label| label))?;
        }
        if self.shared {
            f.write_str("{SHARED}")?;
        }
        if self.revocable {
            f.write_str("{REV}")?;
        }
        write!(f, ":{}", self.value)
    }
}
