//! What the state holds: agents, frameworks, tasks, executors, offers, and the bounded memory of those that are gone.
//!
//! Entities are plain values behind `Arc`s in ordered, structurally shared maps: a copy of the state costs a few
//! counters, and a change copies only what it touches.

mod agent;
mod framework;
pub(crate) mod ledger;
mod maintenance;
mod operation;
mod provider;
mod task;

pub use agent::{
    Administration, Agent, Attachment, Converted, Drain, DrainState, ForgettingKey, GoneAgent,
    UnreachableAgent,
};
pub use framework::{
    COMPLETED_TASKS_MAX, Connection, Framework, OUTBOX_MAX, OperationNews, OutboxItem, RemovedFramework,
    TaskNews,
};
pub use ledger::{Holder, Ledger};
pub(crate) use maintenance::{Asked, Maintenance};
pub use maintenance::{InverseAnswer, InverseOffer, Machine, MachineId, MachineMode};
pub(crate) use operation::unnamed;
pub use operation::{OPERATIONS_MAX, Operation};
pub use provider::{Heard, OnProvider, PROVIDERS_MAX, Provider};
pub use task::{Executor, Kill, Offer, Report, STATUSES_PER_TASK_MAX, Task};

/// A framework's task: what tasks are stored under.
pub type TaskKey = (mesarch_types::FrameworkId, mesarch_types::TaskId);

/// A framework's operation: what operations are stored under.
pub type OperationKey = (mesarch_types::FrameworkId, mesarch_types::OperationId);
