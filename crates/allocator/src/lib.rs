//! Who is offered what: the mechanism and the policies, over views of agents and frameworks.
//!
//! **Contract.** [`Allocator`] is an index: a fold over what changed in the replicated state, which can be rebuilt from
//! it at any time. [`Allocator::plan`] reads the index and proposes offers; it books nothing. Only what the state
//! confirms is booked, by [`Allocator::take`] and [`Allocator::give_back`]. One plan is in flight at a time: whoever
//! proposes it does not call `plan` again before every item is applied (then taken) or refused (then
//! [`Allocator::mark_dirty`]). Inverse offers have a plan of their own, under the same rules.
//!
//! The mechanism (reservations, capabilities, constraints, quota, smallest offers, refusals, pacing) is the same for
//! every [`Policy`]; a policy only ranks roles among their siblings and frameworks within their role. [`Drf`] is the
//! default, [`StrictPriority`] and [`WeightedRandom`] are there too, and a [`Registry`] takes those of others.
//!
//! The cost of a plan follows what changed. Agents with nothing to give, agents that nobody wants and frameworks that
//! suppress or refuse are left out by bit sets, not found out by looking.
//!
//! # One run
//!
//! Agents are looked at in an order that only the number of the tick and their ids decide. If guarantees are open, the
//! first stage gives of every agent what they lack; then the second stage gives of every agent what is left, to
//! whoever is first in order, as far as limits and the headroom for guarantees that are still open allow. What one
//! framework gets of one agent in one role is one offer. Shares, limits and headroom move with every offer of the run.
//!
//! *Consumption* of a role with quota is what is reserved to it or below it, held or not, and what it or those below
//! hold of unreserved, non-revocable amounts. *Headroom*: of a kind that guarantees still lack, only what is free beyond
//! that may be given to others. Revocable resources, ports and other sets are outside of quota.
//!
//! # Where this differs from Mesos
//!
//! - **Limits and guarantees hold for the whole subtree.** Mesos looks limits up for the exact role (so a framework in
//!   `eng/web` escapes those of `eng`) and serves guarantees to frameworks of the exact role only. Here a framework in
//!   `eng/web` is limited by what `eng` with all below consumes, and an open guarantee of `eng` serves it. Since only
//!   top-level roles can have quota, the limit of the top-level role is that of every ancestor.
//! - **The first stage passes nobody by.** Mesos leaves a role whose guarantee is open for the second stage where an
//!   agent has nothing that counts towards it. Here it gets, in the first stage, what is reserved for it there; and what
//!   is reserved to an ancestor comes with what is guaranteed.
//! - **Who holds what counts at once**, also for frameworks that are not known yet. Mesos counts it from their
//!   registration on.
//! - **Cutting is not random.** Where only a part of several equal kinds of resources fits, the canonical order decides.
//!   An indivisible disk that does not fit is left out, whole.
//! - **An order is not shuffled** for its own sake: the same facts give the same offers on every leader. The order of
//!   agents changes with every tick, by a function of their ids.
//! - **Freed resources are offered at once**, declined ones with the next tick; Mesos waits for the next tick in both
//!   cases. What quota withheld is looked at again at the first tick after something that may have loosened it.
//! - **Ties** of equal share are broken by the number of times somebody was given something, as in Mesos; the two
//!   stages' pieces for one offer are one time, not two.
//! - **No policy of Mesos is strict priority.** Under [`StrictPriority`] whoever ranks low gets what the others refuse,
//!   and starves if that is nothing; guarantees still come first. [`Stats::starving`] counts those.
//! - **Constraints' patterns** are RE2's syntax in another engine: `\C` means a character, look-around and back references
//!   are refused as in RE2, and the bound is on steps (100, counted alike) and bytes (1024) instead of memory.
//!
//! **Must never do:** I/O, read a clock, draw a random number, let the order of events or of a hash table decide who
//! is served, compute in floating point outside `share.rs`.
//!
//! Start reading at `allocator.rs` for the calls, then `plan.rs` for the two stages, `pick.rs` and `eligible.rs` for the
//! decision, `tree.rs` for the order and `quota.rs` for the books of quota. [`scenario`] plays what-if files.

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
mod order;
mod pace;
mod pick;
mod plan;
mod policy;
mod priority;
mod quota;
mod random;
mod readers;
mod registry;
pub mod scenario;
mod settings;
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
