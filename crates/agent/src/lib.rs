//! The agent: runs tasks on one machine for the leading master.
//!
//! **What for.** [`Agent`] follows the leader over gRPC, starts executors in sandboxes, serves the executor API
//! (`/api/v1/executor`) and the operators' (`/api/v1`), and keeps on disk what must outlive it. What happens to tasks and
//! updates is decided by `mesarch-agent-core`; this crate owns the files, the processes and the sockets around it.
//!
//! **Contract.**
//! - Nothing is done before it is on disk: see `runner.rs`, the only place that performs what the core decides.
//! - Every executor has its own session. Executors of checkpointing frameworks survive the agent: a restart in the same
//!   work directory finds them again; the link to the masters may come and go without a task noticing.
//! - The API has no authentication. It listens on loopback unless [`Options::allow_remote`] says otherwise.
//!
//! **Not here (refused plainly, never ignored):** containers with images, volumes, networks, capabilities, seccomp, limits
//! or terminals of their own, variables of type SECRET, health checks and checks, fetching from a network,
//! extraction of archives. Tasks run as the agent's own user (`user` of a framework or command is not
//! switched to), and their resources are not enforced by the kernel.
//!
//! **Must never do.** Decide the state of a task. Kill a process that it did not start. Show a file outside a sandbox.
//!
//! Every task that is spawned is in [`tasks`], has a name, and ends with the agent.
//!
//! Start with `runner.rs`, then `link.rs`, `http/executor.rs`, `containerizer/posix.rs`, `command_executor/` and
//! `default_executor/`.

mod agent;
mod calls;
mod checkpoint;
mod containerizer;
mod environment;
mod fetcher;
mod history;
mod http;
mod info;
mod launch;
mod link;
mod providers;
mod requests;
mod runner;
mod sandbox;
mod status;
mod streams;
mod tasks;
mod volumes;
mod wire;

pub mod command_executor;
pub mod default_executor;
pub mod launcher;
pub mod masters;
pub mod metrics;
pub mod options;

pub use agent::{Agent, RenderMetrics, RunError, StartError};
pub use checkpoint::CheckpointError;
pub use mesarch_edge::PortOptions;
pub use options::{InvalidOptions, Options};
pub use volumes::VolumeError;
