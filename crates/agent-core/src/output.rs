//! What an agent does. Outputs are performed in order, each only when the records before it are on disk.

use bytes::Bytes;
use mesarch_types::{
    FrameworkId, LaunchId, ProviderId, ResourceVersion, Resources, TaskId, TaskState, UpdateUuid,
};

use crate::{ExecutorKey, ExecutorSpec, Hello, Inventory, ProviderOperation, Record, Run, TaskKey, Update};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the checkpoint and sync before anything after this is performed.
    Persist(Record),
    /// Bring the volumes on disk in line with what is stored. Done again after every start; what is there already stays as it
    /// is, and so does its content.
    Volumes {
        /// What is stored. What goes with it goes once: by the next start its place may hold something new.
        version: ResourceVersion,
        /// Volumes that are to be there, among other resources.
        made: Resources,
        /// Volumes that are to go with all that they hold.
        gone: Resources,
    },
    /// Make a sandbox and start a process.
    StartExecutor(Box<StartExecutor>),
    /// Write to the executor's event stream, if it has one.
    ToExecutor(Run, ExecutorEvent),
    /// SIGKILL the whole session of the run; its end is reported as [`Input::ExecutorExited`](crate::Input).
    KillExecutor(Run),
    /// Hand to the resource provider that it is for.
    ToProvider(ToProvider),
    /// Send on the newest link.
    ToMaster(ToMaster),
    /// Give up a link.
    CloseLink {
        /// Which.
        link: u64,
        /// Why, for the log.
        why: LinkRefusal,
    },
}

/// What a start needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartExecutor {
    /// The new run.
    pub run: Run,
    /// What to start.
    pub executor: ExecutorSpec,
    /// `mesos.v1.FrameworkInfo`, with id.
    pub framework_info: Bytes,
    /// Whether the executor is meant to outlive the agent.
    pub checkpoint: bool,
}

/// An event for an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutorEvent {
    /// First event of a stream.
    Subscribed,
    /// Run a task: `mesos.v1.TaskInfo`.
    Launch(Bytes),
    /// End a task; `mesos.v1.KillPolicy`, empty if none.
    Kill(TaskId, Bytes),
    /// The update is durable here; the executor may forget it.
    Acknowledged(TaskId, UpdateUuid),
    /// Bytes from the scheduler.
    Message(Bytes),
    /// End all tasks and exit.
    Shutdown,
}

/// What the leader wants a resource provider to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToProvider {
    /// To be carried out, once however often this comes.
    Apply(Box<ProviderOperation>),
    /// The end of an operation is known to the masters.
    Acknowledged {
        /// Who told.
        provider: ProviderId,
        /// Which operation.
        operation: UpdateUuid,
        /// Which status of it.
        status: UpdateUuid,
    },
}

/// A message to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMaster {
    /// First message of a link: Register if the agent has no id yet, else Attach.
    Hello(Box<Hello>),
    /// Answer to an inventory request.
    Inventory(Inventory),
    /// What became of the resources is stored here, and the volumes are as that says.
    ResourcesStored(ResourceVersion),
    /// The oldest unacknowledged update of a task.
    Update {
        /// Which life.
        key: TaskKey,
        /// The update.
        update: Update,
        /// Newest state known.
        latest: TaskState,
        /// The run that the task belongs to, for the container status.
        run: Option<Run>,
    },
    /// An acknowledgement is stored here.
    Forgot {
        /// Which life.
        key: TaskKey,
        /// Which update.
        uuid: UpdateUuid,
    },
    /// Nothing of the framework is left here.
    ForgotFramework(FrameworkId),
    /// A framework's own executor has ended, or its launches came to nothing: no run of it is there or awaited. Told
    /// until it is noted.
    ExecutorExited {
        /// Which.
        executor: ExecutorKey,
        /// The newest launch, of any framework, that was taken by then: later ones start another run.
        newest: LaunchId,
        /// Raw wait status; −1 if unknown.
        status: i32,
    },
    /// Bytes to a scheduler.
    Message {
        /// From whom.
        executor: ExecutorKey,
        /// Opaque.
        data: Bytes,
    },
}

/// Why a link is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefusal {
    /// A newer leader has been obeyed before.
    #[error("the leader's fence is lower than the highest one obeyed")]
    StaleLeader,
    /// The masters belong to another cluster than the one that gave the agent its id.
    #[error("the masters belong to another cluster")]
    OtherCluster,
    /// The leader calls the agent by another id than its own.
    #[error("the leader gave another agent id than the stored one")]
    OtherAgent,
}
