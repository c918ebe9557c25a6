//! What ran here and is over, for people: bounded, in memory, and of no consequence.
//!
//! The core forgets a task once its end is acknowledged. This is a second fold of the same records, which remembers
//! the last ones. A restart begins with what the checkpoint still holds.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use mesarch_agent_core::{Body, ExecutorKey, ExecutorSpec, FrameworkSpec, Record, Run, TaskKey, Update};
use mesarch_proto::mesos::v1::TaskStatus;
use mesarch_types::{ContainerId, FrameworkId, Reason, TaskId, TaskState};
use prost::Message;

/// Most ended runs of executors remembered; the oldest go first.
pub(crate) const RUNS_MAX: usize = 1_000;
/// Most completed tasks remembered.
pub(crate) const TASKS_MAX: usize = 1_000;
/// Most bytes of their descriptions and statuses.
const TASKS_BYTES_MAX: usize = 16 << 20;
/// Statuses remembered per task, the newest ones; of several in the same state the last.
const STATUSES_MAX: usize = 8;

/// A task as it was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// `mesos.v1.TaskInfo`
    pub(crate) info: Bytes,
    pub(crate) executor: mesarch_types::ExecutorId,
    pub(crate) container: Option<ContainerId>,
    pub(crate) state: TaskState,
    /// Oldest first.
    pub(crate) statuses: VecDeque<Update>,
    /// Its agent is drained: that is why it ends, as the masters tell its framework too.
    drained: bool,
}

/// A run with its descriptions.
#[derive(Clone, Debug)]
pub(crate) struct PastRun {
    pub(crate) run: Run,
    pub(crate) spec: ExecutorSpec,
    pub(crate) framework: Arc<FrameworkSpec>,
}

/// The fold.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    frameworks: BTreeMap<FrameworkId, Arc<FrameworkSpec>>,
    runs: BTreeMap<ExecutorKey, PastRun>,
    live: BTreeMap<TaskKey, Told>,
    ended: VecDeque<PastRun>,
    completed: VecDeque<(TaskKey, Told)>,
    completed_bytes: usize,
    counts: Counts,
}

/// What happened since the agent was started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Tasks that ended, by how.
    pub(crate) tasks: BTreeMap<TaskState, u64>,
    /// Runs of executors that ended.
    pub(crate) runs: u64,
    /// Updates that were taken, from executors or of the agent's own.
    pub(crate) updates: u64,
}

impl History {
    /// Of what an earlier agent stored.
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut history = Self::default();
        records.iter().for_each(|record| history.apply(record));
        Self { counts: Counts::default(), ..history }
    }

    /// Folds one record in.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Framework(spec) => {
                self.frameworks.insert(spec.id.clone(), Arc::new(spec.clone()));
            }
            Record::FrameworkEnded(id) => self.end_framework(id),
            Record::Executor(run, spec) => self.begin_run(run, spec),
            Record::ExecutorEnded(run) => {
                self.counts.runs += 1;
                if let Some(over) = self.runs.remove(&run.key()) {
                    self.push_ended(over);
                }
                self.prune(&run.framework);
            }
            Record::Task(task) => {
                let told = Told {
                    info: task.info.clone(),
                    executor: task.executor.id.clone(),
                    container: task.container.clone(),
                    state: task.state,
                    statuses: VecDeque::new(),
                    drained: false,
                };
                self.live.insert(task.key.clone(), told);
            }
            Record::Bound(key, container) => {
                if let Some(task) = self.live.get_mut(key) {
                    task.container = Some(container.clone());
                }
            }
            Record::Update(key, update) => {
                self.counts.updates += 1;
                if let Some(task) = self.live.get_mut(key) {
                    if update.state.is_terminal() && !task.state.is_terminal() {
                        *self.counts.tasks.entry(update.state).or_default() += 1;
                    }
                    task.take(update);
                }
            }
            Record::Acknowledged(key, uuid) => {
                let last = |task: &Told| task.statuses.back().is_some_and(|last| last.uuid == *uuid);
                if self.live.get(key).is_some_and(|task| task.state.is_terminal() && last(task)) {
                    self.complete(key);
                    self.prune(&key.framework);
                }
            }
            Record::Identity(_)
            | Record::Fence(_)
            | Record::Resources(_)
            | Record::Provider(..)
            | Record::ProviderGone(_)
            | Record::FrameworkEnding(_)
            | Record::Finished(..)
            | Record::Watermark(_) => {}
        }
    }

    /// A task is to end because the agent is drained.
    pub(crate) fn drained(&mut self, key: &TaskKey) {
        if let Some(task) = self.live.get_mut(key) {
            task.drained = true;
        }
    }

    /// Tasks that are not both over and acknowledged, of one framework, in key order.
    pub(crate) fn live_of<'a>(
        &'a self,
        framework: &'a FrameworkId,
    ) -> impl Iterator<Item = (&'a TaskKey, &'a Told)> {
        self.live.range(first_of(framework)..).take_while(move |(key, _)| key.framework == *framework)
    }

    /// The same of all frameworks.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&TaskKey, &Told)> {
        self.live.iter()
    }

    /// What happened since the agent was started.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Completed tasks, oldest first.
    pub(crate) fn completed(&self) -> impl Iterator<Item = &(TaskKey, Told)> {
        self.completed.iter()
    }

    /// Ended runs, oldest first.
    pub(crate) fn ended(&self) -> impl Iterator<Item = &PastRun> {
        self.ended.iter()
    }

    fn begin_run(&mut self, run: &Run, spec: &ExecutorSpec) {
        // Its framework's record comes first; without one nothing could be told of it.
        if let Some(framework) = self.frameworks.get(&run.framework).cloned() {
            self.runs.insert(run.key(), PastRun { run: run.clone(), spec: spec.clone(), framework });
        }
    }

    /// What still ran was ended with its framework, and nobody told of it.
    fn end_framework(&mut self, id: &FrameworkId) {
        let tasks: Vec<TaskKey> = self.live_of(id).map(|(key, _)| key.clone()).collect();
        for key in &tasks {
            if let Some(task) = self.live.get_mut(key).filter(|task| !task.state.is_terminal()) {
                task.state = TaskState::Killed;
                *self.counts.tasks.entry(TaskState::Killed).or_default() += 1;
            }
            self.complete(key);
        }
        let runs: Vec<ExecutorKey> = self.runs.keys().filter(|key| key.framework == *id).cloned().collect();
        for over in runs.iter().filter_map(|key| self.runs.remove(key)).collect::<Vec<_>>() {
            self.push_ended(over);
        }
        self.frameworks.remove(id);
    }

    fn push_ended(&mut self, over: PastRun) {
        self.ended.push_back(over);
        if self.ended.len() > RUNS_MAX {
            self.ended.pop_front();
        }
    }

    fn complete(&mut self, key: &TaskKey) {
        let Some(task) = self.live.remove(key) else { return };
        self.completed_bytes += task.bytes();
        self.completed.push_back((key.clone(), task));
        while self.completed.len() > TASKS_MAX || self.completed_bytes > TASKS_BYTES_MAX {
            let Some((_, oldest)) = self.completed.pop_front() else { return };
            self.completed_bytes -= oldest.bytes();
        }
    }

    /// A framework with nothing here is told again before its next launch.
    fn prune(&mut self, id: &FrameworkId) {
        let executor = ExecutorKey { framework: id.clone(), executor: mesarch_types::ExecutorId::from("") };
        let runs = self.runs.range(executor..).next().is_some_and(|(key, _)| key.framework == *id);
        if !runs && self.live_of(id).next().is_none() {
            self.frameworks.remove(id);
        }
    }
}

impl Told {
    fn take(&mut self, update: &Update) {
        self.state = update.state;
        self.statuses.pop_back_if(|last| last.state == update.state);
        let is_drained = self.drained && matches!(update.state, TaskState::Killing | TaskState::Killed);
        self.statuses.push_back(if is_drained { of_drain(update) } else { update.clone() });
        if self.statuses.len() > STATUSES_MAX {
            self.statuses.pop_front();
        }
    }

    fn bytes(&self) -> usize {
        let body = |update: &Update| match &update.body {
            Body::Executor(status) => status.len(),
            Body::Agent { message, .. } => message.len(),
        };
        self.info.len() + self.statuses.iter().map(body).sum::<usize>()
    }
}

/// The same update with the reason that its executor cannot know.
fn of_drain(update: &Update) -> Update {
    let reason = Reason::AgentDraining;
    let body = match &update.body {
        Body::Agent { message, .. } => Body::Agent { reason: Some(reason), message: message.clone() },
        Body::Executor(status) => Body::Executor(match TaskStatus::decode(status.clone()) {
            Ok(known) => TaskStatus { reason: Some(reason as i32), ..known }.encode_to_vec().into(),
            Err(_) => status.clone(),
        }),
    };
    Update { body, ..update.clone() }
}

fn first_of(framework: &FrameworkId) -> TaskKey {
    TaskKey { framework: framework.clone(), task: TaskId::from(""), launch: Default::default() }
}

#[cfg(test)]
#[path = "history_test.rs"]
mod tests;
