//! The life of tasks, executors and status updates on one agent, as a state machine without I/O.
//!
//! **What for.** [`Agent::step`] takes one [`Input`] (a message from the leader, a call of an executor, the end of a
//! process, a timer) and answers with [`Output`]s, in order. The shell around it owns files, processes and sockets.
//!
//! **Contract.**
//! - *Durable before effect.* An output may be performed only when every [`Output::Persist`] before it, of this and of
//!   all earlier steps, is on disk. So a launch is stored before its executor starts, an update before its executor is
//!   told ACKNOWLEDGED and before a master sees it, an acknowledgement before `Forgot` is sent. The records of one step
//!   are stored together or not at all: they may lean on one another.
//! - *Replay.* What survives is the fold of the records ([`Durable`]); nothing changes it but a record.
//!   [`Agent::recover`] starts from there.
//! - *One life, one run.* A launch id is run at most once, ever: not when its message is doubled or late, not after a
//!   restart, not after it was killed before it came.
//! - *In order, at least once.* One update per task is outstanding; it is repeated until its acknowledgement is stored.
//! - Two obligations of the shell: after [`Output::StartExecutor`] and after [`Output::KillExecutor`] the end of that
//!   run is reported as [`Input::ExecutorExited`] or [`Input::LaunchFailed`], even if there was no process; and link
//!   numbers grow.
//!
//! **Must never do.** Read a clock, draw a random number (uuids are derived from the launch), decode a protobuf
//! (infos and statuses are opaque bytes), touch a file, a socket or a process.
//!
//! Start with [`Input`] and [`Output`], then `agent.rs` (dispatch), `task.rs` and `executor.rs` (the two lives),
//! `updates.rs` (delivery), `resources.rs` (reservations and volumes), `attach.rs` (what a new leader is told), `durable.rs` (what survives).

#![deny(clippy::float_arithmetic)]

mod agent;
mod attach;
mod derive;
mod durable;
mod executor;
mod input;
mod output;
mod record;
mod recover;
mod resources;
mod task;
mod timers;
mod updates;

#[cfg(test)]
mod agent_test;
#[cfg(test)]
mod attach_test;
#[cfg(test)]
mod executor_test;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod resources_test;
#[cfg(test)]
mod updates_test;

pub use agent::{Agent, Config, RunPhase, RunView};
pub use attach::{Hello, Inventory, InventoryTask, LISTED_MAX};
pub use durable::{
    Durable, FINISHED_MAX, FrameworkFacts, RECENT_UPDATES_MAX, RunFacts, TaskFacts, UPDATES_MAX,
};
pub use input::{
    ExecutorUpdate, FrameworkSpec, Input, MasterMessage, Now, ProviderOperation, Resume, RunTask,
};
pub use output::{ExecutorEvent, LinkRefusal, Output, StartExecutor, ToMaster, ToProvider};
pub use record::{Body, ExecutorKey, ExecutorSpec, Record, ResourceFacts, Run, TaskKey, TaskRecord, Update};
