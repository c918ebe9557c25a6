//! The replicated machine: commands in; outcomes, changes and effects out.
//!
//! **What for.** Every master applies the same committed [`Command`]s in the same order to its own [`State`]; the
//! state is all that the cluster must not forget, and [`State::apply`] is its only writer.
//!
//! **Contract.** `apply` is total and deterministic: every command yields an [`Outcome`] on every replica, and a
//! refusal is an outcome. [`Change`]s say what became different, for indexes and event streams on every replica;
//! [`Effect`]s say what the leader does next. What a client was promised stays in the state until it is delivered,
//! and [`open_work()`] lists it again for a new leader. A `State` is a value: copies are cheap and independent.
//!
//! **Must never do:** read a clock, draw a random number, do I/O other than through the `Read` and `Write` that
//! snapshots are given, iterate in an order that depends on hashing, panic on any command or byte.
//!
//! Start reading at [`command`], then [`machine`](State::apply) and the file of a command's family under `apply/`.
#![deny(clippy::float_arithmetic)]

mod apply;
mod codec;
mod filters;
mod ids;
mod index;
mod invariants;
mod machine;
mod open_work;
mod sharing;
mod step;
mod view;

pub mod change;
pub mod command;
pub mod comparison;
pub mod effect;
pub mod model;
pub mod outcome;
pub mod snapshot;

#[cfg(test)]
mod testing;

pub use change::{Change, Holding, Released};
pub use codec::DecodeError;
pub use command::Command;
pub use effect::Effect;
pub use filters::LongFilter;
pub use invariants::{Violation, check};
pub use machine::{
    Applied, FEATURE_LEVEL_MAX, LEVEL_ADMIN, LEVEL_CONDITIONS, LEVEL_GROUPS, LEVEL_OPERATIONS,
    LEVEL_PROVIDERS, LEVEL_RERESERVE, LEVEL_SHARING, State,
};
pub use open_work::{open_work, open_work_of_agent, open_work_of_framework};
pub use outcome::Outcome;
pub use sharing::POLICY_DEFAULT;
pub use snapshot::RestoreError;
pub use view::Counts;
