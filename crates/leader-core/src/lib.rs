//! The leader's mind for one term: planner, timers, open work, expected agents.
//!
//! **What for.** The leading master moves bytes; what to do is decided here. [`Leader::begin`] once the term's
//! `BeginTerm` is applied, then one [`Leader::step`] per [`Input`] (an applied entry, an answer, a link or stream that
//! came or went, a message, time), each giving [`Output`]s: commands to propose, messages to agents, effects to
//! frameworks.
//!
//! **Contract.** The replicated state is the only truth: this crate keeps what the state cannot know (open links and
//! streams, timers, the plan in flight, refusals of a few seconds), all of which may be lost at any moment. Every end
//! that it proposes names the beginning that it ends, so a proposal that comes late is refused by `apply`. What is sent
//! to an agent or framework follows from an applied entry, and is listed again from the state when they come back.
//!
//! **Must never do:** I/O, read a clock (cluster time comes in), draw a random number, wait. A step costs in proportion
//! to its input, not to the cluster.
//!
//! Start reading at [`message`](Input) for what goes in and out, then `leader.rs`, then `attach.rs` and `planner.rs`.

mod attach;
mod batch;
mod config;
mod counters;
mod desk;
mod frameworks;
mod index;
mod inverse;
mod leader;
mod level;
mod links;
mod message;
mod planner;
mod rate;
mod removals;
mod reports;
mod timers;
mod turn;

pub use mesarch_allocator::{Registry, Stats as AllocatorStats, Why};

pub use config::{Config, ConfigError};
pub use counters::Counters;
pub use index::IndexError;
pub use leader::Leader;
pub use level::next_level;
pub use message::{
    Attach, CloseReason, FromAgent, Hello, How, Input, Loss, Output, TaskKey, Ticket, ToAgent,
};
pub use planner::PlanInFlight;
pub use removals::REMOVAL_GUARD_FLOOR;
