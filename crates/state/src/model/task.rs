//! Tasks, executors and offers.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mesarch_types::{
    AgentId, Epoch, FrameworkId, LaunchId, OfferId, Reason, Role, Source, TaskId, TaskState, UpdateUuid,
    WallMillis, digest::task_hash, resource::Resources,
};

use super::TaskKey;
use crate::{
    command::{ExecutorKey, ExecutorSpec, TaskSpec},
    machine::State,
};

/// Most statuses kept per task, one per run of equal states; the oldest goes first.
pub const STATUSES_PER_TASK_MAX: usize = 16;

/// A task that its framework launched.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Owner.
    pub framework: FrameworkId,
    /// As described by it.
    pub spec: TaskSpec,
    /// This life of the id.
    pub launch: LaunchId,
    /// Where it runs.
    pub agent: AgentId,
    /// Whose offer it used.
    pub role: Role,
    /// Newest known to its agent, maybe ahead of what the framework has been told. Terminal: its resources are free.
    pub state: TaskState,
    /// The last status of each run of equal states, oldest first, at most [`STATUSES_PER_TASK_MAX`].
    pub statuses: Vec<Arc<Report>>,
    /// Whether the last of `statuses` is an agent's update that the framework has not acknowledged.
    pub unacknowledged: bool,
    /// Whether the agent has ever spoken of this life; if not, it is asked to run it on every attachment.
    pub reported: bool,
    /// The last update that the framework acknowledged: a repeat of it is answered to the agent, never forwarded.
    pub acknowledged: Option<UpdateUuid>,
    /// Whether the agent has not yet confirmed that it stored that acknowledgement.
    pub ack_owed: bool,
    /// The framework wants it to end; the agent is told on every attachment until the task ends.
    pub kill: Option<Kill>,
}

/// Tasks that were launched together, and are sent to their agent together. Remembered until the agent has spoken of each
/// of them that is in the table.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskGroup {
    /// Owner.
    pub framework: FrameworkId,
    /// Of its first task; those of the others follow in place.
    pub launch: LaunchId,
    /// All that it was launched with, in order.
    pub tasks: Vec<TaskId>,
    /// How many of its tasks are in the table and were not yet spoken of; more than none.
    pub unreported: u32,
}

impl TaskGroup {
    /// Its tasks with their launches, in order.
    pub fn launches(&self) -> impl Iterator<Item = (&TaskId, LaunchId)> {
        let first = self.launch;
        let launch = move |place| LaunchId { position: first.position.saturating_add(place), ..first };
        (0..).zip(&self.tasks).map(move |(place, task)| (task, launch(place)))
    }

    /// Whether the task was launched with it.
    fn has(&self, task: &Task) -> bool {
        let place = task.launch.position.checked_sub(self.launch.position);
        let named = place.and_then(|place| self.tasks.get(usize::try_from(place).ok()?));
        let same_command = task.launch.index == self.launch.index && task.framework == self.framework;
        same_command && named == Some(&task.spec.id)
    }
}

impl State {
    /// The group whose first task has this launch, as long as its agent has not spoken of all of it.
    pub fn group(&self, launch: LaunchId) -> Option<&TaskGroup> {
        self.groups.get(&launch).map(|group| &**group)
    }

    /// Its tasks that are in the table, in order.
    pub fn tasks_of_group<'a>(&'a self, group: &'a TaskGroup) -> impl Iterator<Item = &'a Task> {
        let known = |(task, launch): (&TaskId, LaunchId)| {
            self.task(&group.framework, task).filter(|known| known.launch == launch)
        };
        group.launches().filter_map(known)
    }

    /// The group that a task was launched with, as long as its agent has not spoken of all of it.
    pub(crate) fn group_of(&self, task: &Task) -> Option<&TaskGroup> {
        let (_, group) = self.groups.range(..=task.launch).next_back()?;
        Some(&**group).filter(|group| group.has(task))
    }
}

/// A wish that a task ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kill {
    /// Canonical `mesos.v1.KillPolicy`, if one was given with the newest wish.
    pub policy: Option<Bytes>,
}

/// A status of a task: an agent's update, or what the masters themselves concluded.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// At that time.
    pub state: TaskState,
    /// Who made it.
    pub source: Source,
    /// Why, if said.
    pub reason: Option<Reason>,
    /// In words; empty for an agent's update, whose `status` has it.
    pub message: Arc<str>,
    /// Names an agent's update; none for one of the masters'.
    pub uuid: Option<UpdateUuid>,
    /// Canonical `mesos.v1.TaskStatus` of an agent's update; empty for one of the masters'.
    pub status: Bytes,
    /// When it was recorded. For display.
    pub at: WallMillis,
}

impl Task {
    /// What it is stored under.
    pub fn key(&self) -> TaskKey {
        (self.framework.clone(), self.spec.id.clone())
    }

    /// The last status that was recorded for the framework: what reconciliation answers.
    pub fn forwarded(&self) -> Option<&Arc<Report>> {
        self.statuses.last()
    }

    /// The last update that its agent forwarded; what masters concluded never was.
    pub fn told_by_agent(&self) -> Option<&Arc<Report>> {
        self.statuses.iter().rev().find(|report| report.uuid.is_some())
    }

    /// The update that the framework has not acknowledged.
    pub fn pending(&self) -> Option<&Arc<Report>> {
        self.statuses.last().filter(|_| self.unacknowledged)
    }

    /// The executor that runs it, unless it is a built-in command executor.
    pub fn executor_key(&self) -> Option<ExecutorKey> {
        let executor = self.spec.executor.as_ref()?.id.clone();
        Some(ExecutorKey { framework: self.framework.clone(), agent: self.agent.clone(), executor })
    }

    /// Its part in its agent's set hash; none before an update is acknowledged.
    pub fn set_hash(&self) -> Option<u128> {
        self.acknowledged.map(|uuid| task_hash(&self.framework, &self.spec.id, self.launch, Some(uuid)))
    }

    /// Whether the agent has it in unacknowledged updates only, so that it must be listed on attaching.
    pub fn is_unsettled(&self) -> bool {
        self.reported && self.acknowledged.is_none()
    }

    /// Adds a status, in place of one of equal state.
    pub(crate) fn push_report(&mut self, report: Report) {
        if self.statuses.last().is_some_and(|last| last.state == report.state) {
            self.statuses.pop();
        }
        if self.statuses.len() == STATUSES_PER_TASK_MAX {
            self.statuses.remove(0);
        }
        self.statuses.push(Arc::new(report));
    }
}

/// An executor on an agent, charged from its first task on until its end is reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Executor {
    /// Which.
    pub key: ExecutorKey,
    /// As described with its first task.
    pub spec: ExecutorSpec,
    /// Whose offer it used.
    pub role: Role,
    /// The newest launch that counts on it (below level 2 the one that brought it). The end of a run is the executor's
    /// end only if the agent had taken this launch by then: otherwise the launch starts another run.
    pub launch: LaunchId,
    /// The framework wants it to end; the agent is told on every attachment until it does.
    pub shutdown_requested: bool,
    /// Its tasks in the table.
    pub tasks: BTreeSet<TaskId>,
}

/// Resources put before a framework.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Which.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Whose.
    pub agent: AgentId,
    /// What, marked with the role.
    pub resources: Resources,
    /// When.
    pub issued: Epoch,
}
