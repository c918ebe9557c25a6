//! The master: serves frameworks, agents and operators on one port, and leads the cluster when Raft elects it.
//!
//! **What for.** It moves bytes: HTTP and gRPC calls become commands in the replicated log; what the log's application
//! led to, and what the leader's mind ([`mesarch_leader_core`]) decides, becomes events and messages on streams.
//!
//! **Contract.**
//! - What a client is told is true of the replicated log: 202 to ACCEPT, KILL, SHUTDOWN and TEARDOWN, and SUBSCRIBED,
//!   come after the commit; an update reaches its framework after its commit, a task its agent after its ACCEPT's.
//! - Only the leader, once its BeginTerm is applied, serves calls and reads; another master sends clients on (307) or,
//!   while nobody leads, holds them a moment and refuses them (503).
//! - Every queue towards a peer is bounded; a peer that does not keep up loses its stream or link, never its data.
//!
//! **Must never do.** Decide: what is offered, who is gone and what is open is decided in `leader-core` and `state`.
//! Keep anything that must survive: all of it is in the log.
//!
//! **Start reading** at [`Master::start`], then `machine` (the log's end), `leader` (the term), `calls` (the scheduler
//! API behind its protocols), `http` and `grpc` (the protocols), `effects` (the way back).

mod app;
mod calls;
mod clock;
mod effects;
mod events;
mod framework_validation;
mod grpc;
mod http;
mod large;
mod leader;
mod link_messages;
mod links;
mod machine;
mod master_info;
mod members;
pub mod metrics;
mod moments;
mod offers;
mod operation_validation;
mod operator;
mod options;
mod queue;
mod raft_threads;
mod specs;
mod start;
mod status;
mod stop;
mod streams;
mod subscribers;
mod task_validation;
mod view;

pub use http::past;
pub use mesarch_allocator::{Contender, Policies, Policy, Rank, Ranking, Registry};
pub use mesarch_edge::PortOptions;
pub use options::{Domain, MasterAddress, Options, OptionsError, SNAPSHOT_ENTRIES, STATE_DIGEST_INTERVAL_MS};
pub use start::{Deps, Master, Running, StartError, StopError};
