//! The facts that survive a restart, one at a time, and the nouns that they are made of.

use std::sync::Arc;

use bytes::Bytes;

use mesarch_types::{
    AgentId, ContainerId, ExecutorId, Fence, FrameworkId, LaunchId, Millis, ProviderId, Reason,
    ResourceVersion, Resources, TaskId, TaskState, UpdateUuid, WallMillis,
};

use crate::FrameworkSpec;

/// One life of one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Owner.
    pub framework: FrameworkId,
    /// Which task.
    pub task: TaskId,
    /// Which life of it.
    pub launch: LaunchId,
}

/// An executor, over all its runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorKey {
    /// Owner.
    pub framework: FrameworkId,
    /// Which.
    pub executor: ExecutorId,
}

/// One run of an executor: one process, one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// Owner.
    pub framework: FrameworkId,
    /// Which executor.
    pub executor: ExecutorId,
    /// Names the run.
    pub container: ContainerId,
}

impl Run {
    /// The executor that this is a run of.
    pub fn key(&self) -> ExecutorKey {
        ExecutorKey { framework: self.framework.clone(), executor: self.executor.clone() }
    }
}

/// What an executor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorSpec {
    /// Which; the task's own id for the command executor.
    pub id: ExecutorId,
    /// `mesos.v1.ExecutorInfo`; equal bytes mean the same executor.
    pub info: Bytes,
    /// The built-in command executor: runs one task and is not reported to the masters.
    pub command: bool,
    /// How long it may take to end after SHUTDOWN before it is killed.
    pub shutdown_grace: Millis,
}

/// One status update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Names it in its acknowledgement.
    pub uuid: UpdateUuid,
    /// The state that it reports.
    pub state: TaskState,
    /// When the agent got or made it.
    pub wall: WallMillis,
    /// The rest.
    pub body: Body,
}

/// What an update says beside its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// From the executor: a complete `mesos.v1.TaskStatus`.
    Executor(Bytes),
    /// Made by the agent; the shell renders it.
    Agent {
        /// Why.
        reason: Option<Reason>,
        /// For people.
        message: Arc<str>,
    },
}

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The cluster gave the agent this id: it must come back under it.
    Identity(AgentId),
    /// The highest fence obeyed: a stale leader stays refused after a restart.
    Fence(Fence),
    /// What became of the agent's resources: it holds whether a leader is there or not.
    Resources(ResourceFacts),
    /// A resource provider was given this id, and is described by this `mesos.v1.ResourceProviderInfo`: it must come back
    /// under it.
    Provider(ProviderId, Bytes),
    /// An operator declared a resource provider gone: it is never taken again.
    ProviderGone(ProviderId),
    /// A framework that has something here, as newest told.
    Framework(FrameworkSpec),
    /// The framework is removed: a restart goes on ending its executors.
    FrameworkEnding(FrameworkId),
    /// Nothing of the framework is left.
    FrameworkEnded(FrameworkId),
    /// A run is about to start: after a restart it may or may not be there.
    Executor(Run, ExecutorSpec),
    /// A run is over.
    ExecutorEnded(Run),
    /// A launch was taken.
    Task(TaskRecord),
    /// A task that waited for the end of an earlier run belongs to this one now.
    Bound(TaskKey, ContainerId),
    /// An update was received or made.
    Update(TaskKey, Update),
    /// The oldest unacknowledged update of a task was acknowledged; a terminal one ends the task.
    Acknowledged(TaskKey, UpdateUuid),
    /// A life that is over, and its last acknowledged update (snapshots only).
    Finished(TaskKey, UpdateUuid),
    /// Every launch up to this one is over (snapshots only).
    Watermark(LaunchId),
}

/// See [`Record::Task`]. A fresh launch has state STAGING and nothing acknowledged; snapshots hold later states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Which life.
    pub key: TaskKey,
    /// `mesos.v1.TaskInfo`; empty for a task that was killed before it came.
    pub info: Bytes,
    /// Who runs it.
    pub executor: ExecutorSpec,
    /// Its run; none while it waits for the end of an earlier one, or if it never got one.
    pub container: Option<ContainerId>,
    /// Newest state known.
    pub state: TaskState,
    /// The last acknowledged update.
    pub acknowledged: Option<UpdateUuid>,
    /// Uuids received lately, oldest first.
    pub recent: Vec<UpdateUuid>,
}

/// What operators and frameworks made of what the agent brings, at one place of the masters' log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceFacts {
    /// The place.
    pub version: ResourceVersion,
    /// Of what the agent brings.
    pub taken: Resources,
    /// In its place.
    pub made: Resources,
    /// Volumes that were there before this and are to go: a start after a crash finishes that.
    pub gone: Resources,
}
