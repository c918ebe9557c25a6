//! The vocabulary of the cluster: ids, times, resources, roles, task states, and the predicates over them.
//!
//! **Contract.** Plain values with total, deterministic operations. Everything here is shared by the pure cores
//! (`state`, `allocator`, `leader-core`, `agent-core`) and by the adapters around them, so nothing here knows a
//! protocol, a clock, a file or a thread. Quantities are fixed-point integers; floating point enters only where a
//! wire double becomes a [`resource::Scalar`] or back.
//!
//! **Must never do:** I/O, read a clock, draw a random number, iterate a map in an order that depends on hashing.
//!
//! Start reading at [`id`] for the names of things and at [`resource`] for what can be given away.

#![deny(clippy::float_arithmetic)]

pub mod attribute;
pub mod capability;
pub mod constraint;
pub mod digest;
pub mod domain;
pub mod filter;
pub mod id;
pub mod quota;
pub mod resource;
pub mod role;
pub mod task;
pub mod time;
pub mod view;

pub use attribute::{Attribute, AttributeTextError, AttributeValue, parse_attributes};
pub use capability::{AgentCapabilities, AgentCapability, FrameworkCapabilities, FrameworkCapability};
pub use constraint::{
    Constraint, Constraints, ConstraintsError, PatternError, Predicate, Selector, TextPattern,
};
pub use domain::{FaultDomain, FaultDomainTextError};
pub use filter::{FILTERS_MAX, REFUSE_DEFAULT, REFUSE_MAX, RefuseFilter, refuse_duration};
pub use id::*;
pub use quota::{Priority, PriorityError, Quota, QuotaError, QuotaField, Weight, WeightError};
pub use resource::{
    Conversion, ConversionError, Disk, DiskSource, Quantities, Range, Ranges, Reservation, ReservationKind,
    Reservations, Resource, ResourceError, ResourceTextError, Resources, Scalar, ScalarTextError, Set, Value,
    ValueKind, parse_resources,
};
pub use role::InvalidRole;
pub use task::{OperationState, Reason, Source, TaskState};
pub use time::{At, Millis, ResourceVersion, WallMillis};
pub use view::{AgentView, FrameworkView, Unavailability, can_handle, is_allocatable};
