//! Frameworks, present and past, and what they have yet to be told.

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, OrdSet, Vector};
use mesarch_types::{
    AgentId, Epoch, ExecutorId, FrameworkCapability, FrameworkId, Millis, OfferId, OperationId,
    OperationState, Reason, Role, Source, StreamId, TaskId, TaskState, WallMillis, view::FrameworkView,
};

use super::Task;
use crate::command::{FrameworkSpec, OutboxPosition};

/// Most items in one framework's outbox. Beyond, the oldest RESCIND or FAILURE goes, and if there is none the oldest
/// update: reconciliation repairs the loss of either.
pub const OUTBOX_MAX: usize = 10_000;
/// Most ended tasks remembered per framework (as in Mesos); the oldest goes first.
pub const COMPLETED_TASKS_MAX: usize = 1000;

/// A framework that has subscribed and not been removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Framework {
    /// Its id.
    pub id: FrameworkId,
    /// What it says of itself.
    pub spec: Arc<FrameworkSpec>,
    /// Roles for which it wants no offers now.
    pub suppressed: BTreeSet<Role>,
    /// Place in the log of the last change that matters to a plan: spec, suppression, connection.
    pub version: Epoch,
    /// Whether it is there.
    pub connection: Connection,
    /// Its outstanding offers.
    pub offers: OrdSet<OfferId>,
    /// Its tasks in the table, terminal ones that wait for its acknowledgement included.
    pub tasks: OrdSet<TaskId>,
    /// Its tasks on unreachable agents; their ids are still taken.
    pub unreachable: OrdMap<TaskId, AgentId>,
    /// What it was promised and has not been sent yet, in log order; at most [`OUTBOX_MAX`].
    pub outbox: OrdMap<OutboxPosition, Arc<OutboxItem>>,
    /// Those of the outbox that give way first: RESCIND and FAILURE.
    pub outbox_minor: OrdSet<OutboxPosition>,
    /// The position that the next item gets.
    pub outbox_next: OutboxPosition,
    /// Items that gave way since it subscribed first. For metrics.
    pub outbox_dropped: u64,
    /// Its ended tasks, oldest first; at most [`COMPLETED_TASKS_MAX`].
    pub completed: Vector<Arc<Task>>,
    /// When it got its id. For display.
    pub registered: WallMillis,
    /// When it last came back. For display.
    pub reregistered: Option<WallMillis>,
}

/// Whether a framework is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It has a stream at the present leader.
    Connected {
        /// Which.
        stream: StreamId,
        /// The subscription that began it.
        epoch: Epoch,
    },
    /// It had a stream when the term began, and may go on with it; events wait in the outbox.
    Expected {
        /// Which.
        stream: StreamId,
        /// The subscription that began it.
        epoch: Epoch,
    },
    /// Its stream broke.
    Disconnected {
        /// When that was.
        epoch: Epoch,
        /// The same in cluster time: its failover timeout runs from here.
        at: Millis,
    },
}

impl Framework {
    /// Whether events reach it now.
    pub fn is_connected(&self) -> bool {
        matches!(self.connection, Connection::Connected { .. })
    }

    /// Whether it has, or is about to go on with, a stream: connected or expected.
    pub fn is_active(&self) -> bool {
        !matches!(self.connection, Connection::Disconnected { .. })
    }

    /// The present or expected stream and its subscription.
    pub fn stream(&self) -> Option<(&StreamId, Epoch)> {
        match &self.connection {
            Connection::Connected { stream, epoch } | Connection::Expected { stream, epoch } => {
                Some((stream, *epoch))
            }
            Connection::Disconnected { .. } => None,
        }
    }

    /// Whether it knows the finer words for lost tasks.
    pub fn is_partition_aware(&self) -> bool {
        self.spec.capabilities.has(FrameworkCapability::PartitionAware)
    }

    /// Whether it wants offers for `role` now.
    pub fn wants(&self, role: &Role) -> bool {
        self.is_active() && self.spec.roles.contains(role) && !self.suppressed.contains(role)
    }

    /// The framework as the allocator sees it.
    pub fn view(&self) -> FrameworkView {
        FrameworkView {
            id: self.id.clone(),
            roles: self.spec.roles.clone(),
            suppressed: self.suppressed.clone(),
            capabilities: self.spec.capabilities,
            active: self.is_active(),
            min_allocatable: self.spec.rules.min_allocatable.clone(),
            constraints: self.spec.rules.constraints.clone(),
            version: self.version.0,
        }
    }
}

/// Something that a framework was promised, and that no acknowledgement asks for again.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboxItem {
    /// A status update of the masters', without uuid.
    Update(TaskNews),
    /// An offer is gone.
    Rescind(OfferId),
    /// An inverse offer is gone.
    RescindInverse(OfferId),
    /// An agent or executor is gone.
    Failure {
        /// Which agent.
        agent: AgentId,
        /// Which executor on it; none: the agent itself.
        executor: Option<ExecutorId>,
        /// Wait status of the executor's process.
        status: Option<i32>,
    },
    /// What the masters themselves conclude about an operation, without uuid.
    Operation(OperationNews),
}

impl OutboxItem {
    /// Whether it gives way first, for it says least: RESCIND and FAILURE.
    pub(crate) fn is_minor(&self) -> bool {
        matches!(self, Self::Rescind(_) | Self::RescindInverse(_) | Self::Failure { .. })
    }
}

/// A state of an operation as the masters tell it: all that a `mesos.v1.OperationStatus` without uuid is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationNews {
    /// As its framework names it.
    pub operation: OperationId,
    /// Whose resources it is about; none if it was never carried out.
    pub agent: Option<AgentId>,
    /// What is said.
    pub state: OperationState,
    /// In words.
    pub message: Arc<str>,
}

/// A status of a task as the masters tell it: all that a `mesos.v1.TaskStatus` without uuid is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskNews {
    /// Which task.
    pub task: TaskId,
    /// Where, if it is known.
    pub agent: Option<AgentId>,
    /// In the words that the framework knows.
    pub state: TaskState,
    /// Who says so.
    pub source: Source,
    /// Why.
    pub reason: Option<Reason>,
    /// In words.
    pub message: Arc<str>,
    /// Since when its agent is unreachable, if that is why.
    pub unreachable: Option<WallMillis>,
    /// When it was concluded.
    pub at: WallMillis,
}

/// A framework that ended; its id does not come back.
#[derive(Clone, Debug, PartialEq)]
pub struct RemovedFramework {
    /// Place in the log at which it was removed.
    pub epoch: Epoch,
    /// The same in cluster time.
    pub at: Millis,
    /// The same for display.
    pub wall: WallMillis,
    /// As it was, with its ended tasks; only the newest few keep this.
    pub record: Option<Arc<Framework>>,
}
