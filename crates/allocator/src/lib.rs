//! Who is offered what: the mechanism and the policies, over views of agents and frameworks.
//!
//! **Contract.** [`Allocator`] is an index: a fold over what changed in the replicated state, which can be rebuilt from
//! it at any time. [`Allocator::plan`] reads the index and proposes offers; it books nothing. Only what the state
//! confirms is booked, by [`Allocator::take`] and [`Allocator::give_back`]. One plan is in flight at a time: whoever
//! proposes it does not call `plan` again before every item is applied (then taken) or refused (then
//! [`Allocator::mark_dirty`]).
//!
//! The mechanism (reservations, capabilities, smallest offers, refusals, pacing) is the same for every
//! [`Policy`]; a policy only ranks roles among their siblings and frameworks within their role. [`Drf`] is the default.
//!
//! The cost of a plan follows what changed. Agents with nothing to give, agents that nobody wants and frameworks that
//! suppress or refuse are left out by bit sets, not found out by looking.
//!
//! **Must never do:** I/O, read a clock, draw a random number, let the order of events or of a hash table decide who
//! is served, compute in floating point outside `share.rs`.
//!
//! Start reading at `allocator.rs` for the calls, then `plan.rs` for the decision and `tree.rs` for the order.

#![deny(clippy::float_arithmetic)]

mod agent;
mod allocator;
mod bits;
mod books;
mod client;
mod config;
mod draw;
mod drf;
mod eligible;
mod explain;
mod filter;
mod index;
mod inverse;
mod kinds;
pub mod load;
mod pace;
mod plan;
mod policy;
mod priority;
mod quota;
mod random;
mod registry;
pub mod scenario;
mod share;
mod tree;

pub use allocator::{Allocator, GiveBack, Stats};
pub use config::Config;
pub use drf::Drf;
pub use explain::{Reason, Why};
pub use inverse::InversePlan;
pub use plan::Plan;
pub use policy::{Contender, Policies, Policy, Rank, Ranking};
pub use priority::StrictPriority;
pub use random::WeightedRandom;
pub use registry::{NameTaken, Registry, UnknownPolicy};
pub use share::{Share, Usage};
