//! What can happen to an agent.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{
    AgentId, ExecutorId, Fence, FrameworkId, LaunchId, Millis, ProviderId, Resources, TaskId, TaskState,
    UpdateUuid, WallMillis,
};

use crate::{ExecutorKey, ExecutorSpec, ResourceFacts, Run, TaskKey};

/// When a step happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time of the agent; only durations are read from it.
    pub mono: Millis,
    /// For the timestamps of updates that the agent makes.
    pub wall: WallMillis,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A stream to a master is open; it replaces every older one. Answered by [`ToMaster::Hello`](crate::ToMaster).
    LinkOpened {
        /// Numbered by the shell, growing.
        link: u64,
    },
    /// The stream is gone.
    LinkClosed {
        /// Which; an older one is ignored.
        link: u64,
    },
    /// The leader sent something.
    Master {
        /// On which link; only the newest is listened to.
        link: u64,
        /// Under which fence.
        fence: Fence,
        /// What.
        message: MasterMessage,
    },
    /// A run could not be started: sandbox, files or process.
    LaunchFailed {
        /// Which.
        run: Run,
        /// Why, for the framework.
        message: Arc<str>,
    },
    /// An executor opened its event stream.
    ExecutorSubscribed {
        /// Which run.
        run: Run,
        /// What it may have to tell again.
        resume: Resume,
    },
    /// The executor's event stream broke; its process may live on.
    ExecutorStreamClosed {
        /// Which run.
        run: Run,
    },
    /// An executor reports a state.
    ExecutorUpdate {
        /// Which run.
        run: Run,
        /// What it reports.
        update: ExecutorUpdate,
    },
    /// Bytes from an executor to its scheduler.
    ExecutorMessage {
        /// From whom.
        executor: ExecutorKey,
        /// Opaque.
        data: Bytes,
    },
    /// The process of a run has ended, with everything in its session.
    ExecutorExited {
        /// Which run.
        run: Run,
        /// Raw wait status; −1 if unknown.
        status: i32,
    },
    /// A resource provider is to be known from here on, by this id and description.
    ProviderAdmitted {
        /// Its id.
        id: ProviderId,
        /// `mesos.v1.ResourceProviderInfo`, with id.
        info: Bytes,
    },
    /// An operator declared a resource provider gone.
    ProviderGone(ProviderId),
    /// The time of [`Agent::next_wake`](crate::Agent::next_wake) has come.
    Timer,
}

/// What an executor says when it subscribes again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Tasks that it was given and of which no update has been acknowledged to it.
    pub tasks: Vec<TaskId>,
    /// Updates that were not acknowledged to it, in order.
    pub updates: Vec<ExecutorUpdate>,
}

/// A status update as its executor sent it, completed by the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorUpdate {
    /// Which task; its newest life is meant.
    pub task: TaskId,
    /// Drawn by the executor.
    pub uuid: UpdateUuid,
    /// Reported state.
    pub state: TaskState,
    /// Complete `mesos.v1.TaskStatus`.
    pub status: Bytes,
}

/// A message of the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterMessage {
    /// The leader knows the agent under this id; launches and updates flow.
    Attached(AgentId),
    /// The digests differ: tell everything.
    InventoryRequest,
    /// What became of the agent's resources, as it is now.
    Resources(ResourceFacts),
    /// Have a resource provider carry out an operation, once however often this comes.
    ApplyOperation(Box<ProviderOperation>),
    /// The end of an operation that a resource provider told is known.
    OperationAcknowledged {
        /// Who told.
        provider: ProviderId,
        /// Which operation.
        operation: UpdateUuid,
        /// Which status of it.
        status: UpdateUuid,
    },
    /// Run a task.
    RunTask(Box<RunTask>),
    /// End a task.
    KillTask {
        /// Which life.
        key: TaskKey,
        /// `mesos.v1.KillPolicy`, empty if none.
        policy: Bytes,
    },
    /// A framework's acknowledgement is committed.
    Acknowledged {
        /// Which life.
        key: TaskKey,
        /// Which update.
        uuid: UpdateUuid,
    },
    /// End an executor.
    ShutdownExecutor(ExecutorKey),
    /// End everything of a removed framework.
    ShutdownFramework(FrameworkId),
    /// End everything, for ever: the masters do not take this agent any more. Why, for people.
    Shutdown(Arc<str>),
    /// Bytes from a scheduler to its executor; dropped when it is not subscribed.
    Message {
        /// To whom.
        executor: ExecutorKey,
        /// Opaque.
        data: Bytes,
    },
    /// The end of an executor is judged by the masters: it need not be told again.
    ExecutorExitNoted {
        /// Which.
        executor: ExecutorKey,
        /// As it was told; the end of a later run is not meant.
        newest: LaunchId,
    },
}

/// What a resource provider is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderOperation {
    /// Who.
    pub provider: ProviderId,
    /// Names the operation.
    pub operation: UpdateUuid,
    /// Who wants it.
    pub framework: FrameworkId,
    /// `mesos.v1.Offer.Operation`.
    pub info: Bytes,
    /// The provider's word on its resources that this rests on.
    pub version: UpdateUuid,
}

/// What the agent needs to know of a framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkSpec {
    /// Which.
    pub id: FrameworkId,
    /// `mesos.v1.FrameworkInfo`, with id.
    pub info: Bytes,
    /// Whether its executors are meant to outlive the agent.
    pub checkpoint: bool,
    /// Whether it understands DROPPED and GONE; otherwise it is told LOST.
    pub partition_aware: bool,
}

/// A task to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTask {
    /// Which life.
    pub key: TaskKey,
    /// `mesos.v1.TaskInfo`.
    pub info: Bytes,
    /// Its owner.
    pub framework: FrameworkSpec,
    /// Who runs it.
    pub executor: ExecutorSpec,
    /// What of its resources, and of its executor's, exists only because of an operation; without marks.
    pub converted: Resources,
    /// Why this agent cannot run it at all (asks for what it does not have); told in a TASK_FAILED.
    pub refused: Option<Arc<str>>,
}

impl ExecutorKey {
    /// The executor `executor` of `framework`.
    pub fn new(framework: &FrameworkId, executor: &ExecutorId) -> Self {
        Self { framework: framework.clone(), executor: executor.clone() }
    }
}
