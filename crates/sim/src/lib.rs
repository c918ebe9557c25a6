//! The unchanged cores (`state`, `leader-core`, `agent-core`) in virtual time, under faults drawn from one seed.
//!
//! **What for.** A whole cluster in one thread: masters as one replicated log with leaders that die, agents with disks
//! that survive them and executors that survive the agents, schedulers that come, go and repeat themselves. First
//! everything goes wrong for a while, then it heals; safety is checked all along, liveness at the end.
//!
//! **Contract.** [`run`] depends on its [`Options`] alone: the same seed gives the same trace, event by event. What the
//! shells around the cores do (moving bytes, proposing, performing effects) is modelled here as badly as the real world
//! allows: late, in part, or not at all, but in order on each connection; what was under way on a connection that broke may arrive
//! when there is a newer one. Schedulers use the ids of ended tasks again.
//!
//! **Must never do:** read a clock, draw a random number that does not come from the seed, change a core to please a
//! test.
//!
//! The masters' own network is not played here (consensus and storage are tested over real sockets and disks, with
//! faults in between), because hundreds of agents and frameworks on a simulated network stack would cost more than they
//! show; the one thing that masters say to each other beside the log, the comparison of their states, is in
//! `comparison.rs`.
//!
//! Start reading at `world.rs` for the loop, then `master.rs`, `host.rs` and `scheduler.rs` for the shells, and
//! `invariants.rs` for what must hold.

mod chaos;
mod comparison;
mod convert;
mod event;
mod host;
mod invariants;
mod master;
mod process;
mod rng;
mod scheduler;
mod world;

pub use invariants::Violation;
pub use world::{Options, Report, Returns, run};
