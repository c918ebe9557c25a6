//! The fields of each stored thing, in the order in which they are stored. A new field is a new format.

use std::sync::Arc;

use mesarch_types::{
    AgentId, ClusterId, Epoch, ExecutorId, FrameworkId, LaunchId, Millis, OfferId, OperationId,
    OperationState, ProviderId, Reason, ResourceVersion, Role, Source, StreamId, TaskId, TaskState,
    UpdateUuid, WallMillis,
    attribute::{Attribute, AttributeValue},
    capability::{AgentCapabilities, FrameworkCapabilities},
    filter::RefuseFilter,
    resource::{
        Disk, DiskSource, Ranges, Reservation, ReservationKind, Reservations, Resource, Resources, Scalar,
        Set, Value,
    },
};

use super::values::{Input, Malformed, Stored};
use crate::{
    command::{AgentSpec, ExecutorKey, ExecutorSpec, FrameworkSpec, Link, OutboxPosition, TaskSpec, Window},
    machine::Meta,
    model::{
        Administration, Agent, Attachment, Connection, Executor, Framework, GoneAgent, Heard, InverseAnswer,
        InverseOffer, Kill, Machine, MachineId, MachineMode, Offer, OnProvider, Operation, OperationNews,
        OutboxItem, Provider, RemovedFramework, Report, Task, TaskNews, UnreachableAgent,
    },
};

/// A struct by its fields; those after the bar follow from the rest of the state, or have records of their own that come
/// later, and start out as default.
macro_rules! stored_struct {
    ($($name:ident { $($field:ident),+ $(| $($made:ident),+)? })+) => {
        $(impl Stored for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)+
            }

            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                Ok(Self { $($field: Stored::take(input)?,)+ $($($made: Default::default(),)+)? })
            }
        })+
    };
}

/// An enum by the numbers of its variants and their fields.
macro_rules! stored_enum {
    ($($name:ident { $($number:literal = $variant:ident $(($inner:ident))? $({ $($field:ident),+ })?),+ $(,)? })+) => {
        $(impl Stored for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($inner))? $({ $($field),+ })? => {
                        out.push($number);
                        $($inner.put(out);)?
                        $($($field.put(out);)+)?
                    })+
                }
            }

            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                match u8::take(input)? {
                    $($number => {
                        $(let $inner = Stored::take(input)?;)?
                        $($(let $field = Stored::take(input)?;)+)?
                        Ok(Self::$variant $(($inner))? $({ $($field),+ })?)
                    })+
                    _ => Err(Malformed),
                }
            }
        })+
    };
}

/// A value that is made from another one, if that is in order.
macro_rules! stored_as {
    ($($name:ty as $other:ty: $to:expr, $from:expr;)+) => {
        $(impl Stored for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let to: fn(&$name) -> $other = $to;
                to(self).put(out);
            }

            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                let from: fn($other) -> Option<$name> = $from;
                from(<$other>::take(input)?).ok_or(Malformed)
            }
        })+
    };
}

macro_rules! stored_text_ids {
    ($($name:ident)+) => {
        $(impl Stored for $name {
            fn put(&self, out: &mut Vec<u8>) {
                (self.as_str().len() as u64).put(out);
                out.extend_from_slice(self.as_str().as_bytes());
            }

            fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
                Arc::<str>::take(input).map(|text| Self::from(&*text))
            }
        })+
    };
}
stored_text_ids! { FrameworkId AgentId OfferId TaskId ExecutorId OperationId ProviderId StreamId Role }

stored_as! {
    ClusterId as [u8; 16]: |id| id.0, |bytes| Some(ClusterId(bytes));
    UpdateUuid as [u8; 16]: |id| id.0, |bytes| Some(UpdateUuid(bytes));
    Epoch as u64: |epoch| epoch.0, |place| Some(Epoch(place));
    Millis as u64: |time| time.0, |millis| Some(Millis(millis));
    WallMillis as u64: |time| time.0, |millis| Some(WallMillis(millis));
    OutboxPosition as u64: |position| position.0, |place| Some(OutboxPosition(place));
    Scalar as i64: |scalar| scalar.0, |thousandths| Some(Scalar(thousandths));
    TaskState as i32: |state| *state as i32, TaskState::from_number;
    OperationState as i32: |state| *state as i32, OperationState::from_number;
    Source as i32: |source| *source as i32, Source::from_number;
    Reason as i32: |reason| *reason as i32, Reason::from_number;
    AgentCapabilities as Vec<i32>: |set| set.numbers().collect(), |list| Some(AgentCapabilities::from_numbers(list));
    FrameworkCapabilities as Vec<i32>:
        |set| set.numbers().collect(), |list| Some(FrameworkCapabilities::from_numbers(list));
    Ranges as Vec<(u64, u64)>: |ranges| ranges.iter().map(|range| (range.begin, range.end)).collect(), Ranges::new;
    Set as Vec<Arc<str>>: |set| set.iter().cloned().collect(), |names| Some(names.into_iter().collect());
    Reservations as Vec<Reservation>: |stack| stack.to_vec(), |list| Some(list.into());
    Resources as Vec<Resource>: |all| all.iter().cloned().collect(), |list| Resources::new(list).ok();
}

stored_struct! {
    Meta {
        cluster, incarnation, level, term, term_index, term_began, now, wall, policy_version, next_framework,
        next_agent, next_offer
    }
    LaunchId { index, position }
    Link { term, serial }
    Reservation { kind, role, principal, labels }
    Disk { info, persistence_id, source, source_id }
    Resource { name, value, reservations, disk, revocable, shared, provider, allocated_to }
    Attribute { name, value }
    RefuseFilter { refused, until }
    AgentSpec { info, hostname, port, total, attributes, capabilities, version }
    FrameworkSpec { info, name, user, principal, roles, capabilities, checkpoint, failover_timeout | rules }
    TaskSpec { id, info, resources, executor }
    ExecutorSpec { id, info, resources }
    ExecutorKey { framework, agent, executor }
    Agent {
        id, nonce, spec, version, link, attachment, incarnation, registered, reregistered, forgetting,
        pending_shutdowns | set_hash, unsettled, ledger, offers, tasks, executors, owes_inventory, converted,
        administration, unavailability, converted_at, stored, leaving, operations, providers, heard
    }
    UnreachableAgent { agent, epoch, since, wall, tasks }
    Framework {
        id, spec, suppressed, version, connection, outbox, outbox_next, outbox_dropped, completed, registered,
        reregistered | offers, tasks, unreachable, outbox_minor
    }
    RemovedFramework { epoch, at, wall, record }
    Task {
        framework, spec, launch, agent, role, state, statuses, unacknowledged, reported, acknowledged, ack_owed, kill
    }
    Kill { policy }
    Report { state, source, reason, message, uuid, status, at }
    TaskNews { task, agent, state, source, reason, message, unreachable, at }
    Executor { key, spec, role, launch, shutdown_requested | tasks }
    Offer { id, framework, role, agent, resources, issued }
    Administration { deactivated, drain }
    GoneAgent { epoch, wall }
    MachineId { hostname, ip }
    Machine { mode, unavailability }
    Window { machines, unavailability }
    InverseOffer { id, issued }
    InverseAnswer { accepted, at }
    ResourceVersion { incarnation, epoch }
    Operation { framework, id, agent, uuid, info, made, version, finished | on_provider }
    OnProvider { provider, version, serial, taken, is_open, told, end, message }
    Provider { id, info, total, version, connected, doubtful }
    Heard { link, sequence }
    OperationNews { operation, agent, state, message }
}

stored_enum! {
    Value { 1 = Scalar(it), 2 = Ranges(it), 3 = Set(it) }
    AttributeValue { 1 = Scalar(it), 2 = Ranges(it), 3 = Text(it) }
    ReservationKind { 1 = Static, 2 = Dynamic }
    DiskSource { 1 = Root, 2 = Path, 3 = Mount, 4 = Block, 5 = Raw }
    Attachment { 1 = Attached { since }, 2 = Expected, 3 = Detached { since, at } }
    Connection { 1 = Connected { stream, epoch }, 2 = Expected { stream, epoch }, 3 = Disconnected { epoch, at } }
    MachineMode { 1 = Draining, 2 = Down }
    OutboxItem {
        1 = Update(it), 2 = Rescind(it), 3 = Failure { agent, executor, status }, 4 = RescindInverse(it),
        5 = Operation(it)
    }
}
