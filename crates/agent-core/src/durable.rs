//! What survives a restart: the fold of the records. Nothing else writes it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use mesarch_types::{
    AgentId, ContainerId, ExecutorId, Fence, FrameworkId, LaunchId, ProviderId, TaskId, TaskState, UpdateUuid,
};

use crate::{
    ExecutorKey, ExecutorSpec, FrameworkSpec, Record, ResourceFacts, Run, TaskKey, TaskRecord, Update,
};

/// Finished lives remembered one by one; when there are more, the oldest are covered by the watermark.
pub const FINISHED_MAX: usize = 4096;

/// Unacknowledged updates kept per task. Beyond, a newer one takes the place of the last: the framework is told the oldest
/// and the newest states.
pub const UPDATES_MAX: usize = 256;

/// Update uuids remembered per task, so that an executor's repeat is recognised.
pub const RECENT_UPDATES_MAX: usize = 64;

/// The durable state of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// Given out by the cluster.
    pub agent: Option<AgentId>,
    /// The highest one obeyed.
    pub fence: Option<Fence>,
    /// What became of the agent's resources, as newest told.
    pub resources: ResourceFacts,
    /// Resource providers that were given an id here, each with its `mesos.v1.ResourceProviderInfo`.
    pub providers: BTreeMap<ProviderId, Bytes>,
    /// The last one that was given up: the masters are to hear of that, even if none is left.
    pub provider_gone: Option<ProviderId>,
    /// Frameworks with something here.
    pub frameworks: BTreeMap<FrameworkId, FrameworkFacts>,
    /// Runs that may have a process.
    pub runs: BTreeMap<ExecutorKey, RunFacts>,
    /// Tasks that are not both terminal and acknowledged.
    pub tasks: BTreeMap<TaskKey, TaskFacts>,
    /// Lives that are over, each with its last acknowledged update; at most [`FINISHED_MAX`].
    pub finished: BTreeMap<LaunchId, (FrameworkId, TaskId, UpdateUuid)>,
    /// Launches up to here that are neither in `tasks` nor in `finished` are over as well.
    pub watermark: LaunchId,
    /// The newest launch that was ever taken; follows from the others.
    pub newest: LaunchId,
}

/// A framework as it was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkFacts {
    /// As told with its newest launch.
    pub spec: FrameworkSpec,
    /// It was removed; its executors are being ended.
    pub ending: bool,
}

/// A run that may have a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// Names the run.
    pub container: ContainerId,
    /// What runs.
    pub spec: ExecutorSpec,
}

/// A task that is not over for its framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFacts {
    /// `mesos.v1.TaskInfo`; empty for a task that was killed before it came.
    pub info: Bytes,
    /// Who runs it.
    pub executor: ExecutorSpec,
    /// Its run, if it has one.
    pub container: Option<ContainerId>,
    /// Newest state known.
    pub state: TaskState,
    /// The last acknowledged update.
    pub acknowledged: Option<UpdateUuid>,
    /// Not yet acknowledged, oldest first, at most [`UPDATES_MAX`]; only the first is sent.
    pub updates: VecDeque<Update>,
    /// Uuids received lately, oldest first; at most [`RECENT_UPDATES_MAX`].
    pub recent: VecDeque<UpdateUuid>,
}

impl Durable {
    /// Folds one record in. Total: a record about something unknown changes nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Identity(agent) => self.agent = Some(agent.clone()),
            Record::Fence(fence) => self.fence = Some(*fence),
            Record::Resources(facts) => self.resources = facts.clone(),
            Record::Provider(id, info) => drop(self.providers.insert(id.clone(), info.clone())),
            Record::ProviderGone(id) => {
                self.providers.remove(id);
                self.provider_gone = Some(id.clone());
            }
            Record::Framework(spec) => self.put_framework(spec),
            Record::FrameworkEnding(id) => {
                if let Some(framework) = self.frameworks.get_mut(id) {
                    framework.ending = true;
                }
            }
            Record::FrameworkEnded(id) => self.end_framework(id),
            Record::Executor(run, spec) => {
                let facts = RunFacts { container: run.container.clone(), spec: spec.clone() };
                self.runs.insert(run.key(), facts);
            }
            Record::ExecutorEnded(run) => self.end_run(run),
            Record::Task(task) => self.put_task(task),
            Record::Bound(key, container) => {
                if let Some(task) = self.tasks.get_mut(key) {
                    task.container = Some(container.clone());
                }
            }
            Record::Update(key, update) => self.push_update(key, update),
            Record::Acknowledged(key, uuid) => self.acknowledge(key, *uuid),
            Record::Finished(key, uuid) => self.finish(key, *uuid),
            Record::Watermark(launch) => {
                self.watermark = self.watermark.max(*launch);
                self.newest = self.newest.max(*launch);
            }
        }
    }

    /// Records whose fold is this state again.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.agent.iter().cloned().map(Record::Identity));
        records.extend(self.fence.map(Record::Fence));
        let told = self.resources != ResourceFacts::default();
        records.extend(told.then(|| Record::Resources(self.resources.clone())));
        records.extend(self.provider_gone.iter().cloned().map(Record::ProviderGone));
        let providers = self.providers.iter();
        records.extend(providers.map(|(id, info)| Record::Provider(id.clone(), info.clone())));
        for (id, framework) in &self.frameworks {
            records.push(Record::Framework(framework.spec.clone()));
            records.extend(framework.ending.then(|| Record::FrameworkEnding(id.clone())));
        }
        for (key, run) in &self.runs {
            records.push(Record::Executor(key.run(&run.container), run.spec.clone()));
        }
        for (key, task) in &self.tasks {
            records.extend(task.snapshot(key));
        }
        for (launch, (framework, task, uuid)) in &self.finished {
            let key = TaskKey { framework: framework.clone(), task: task.clone(), launch: *launch };
            records.push(Record::Finished(key, *uuid));
        }
        records.push(Record::Watermark(self.watermark));
        records
    }

    /// The lives of a task that are not over, oldest first.
    pub fn lives(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
    ) -> impl DoubleEndedIterator<Item = (&TaskKey, &TaskFacts)> + Clone {
        let life = |launch| TaskKey { framework: framework.clone(), task: task.clone(), launch };
        let last = LaunchId { index: u64::MAX, position: u32::MAX };
        self.tasks.range(life(LaunchId::default())..=life(last))
    }

    /// The newest life of a task that is not over.
    pub fn newest_life(&self, framework: &FrameworkId, task: &TaskId) -> Option<TaskKey> {
        self.lives(framework, task).next_back().map(|(key, _)| key.clone())
    }

    /// Tasks of one run, in key order.
    pub fn tasks_of<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = (&'a TaskKey, &'a TaskFacts)> {
        self.tasks_of_framework(&run.framework)
            .filter(move |(_, task)| task.container.as_ref() == Some(&run.container))
    }

    /// Tasks of one framework, in key order.
    pub fn tasks_of_framework<'a>(
        &'a self,
        framework: &'a FrameworkId,
    ) -> impl Iterator<Item = (&'a TaskKey, &'a TaskFacts)> {
        let first =
            TaskKey { framework: framework.clone(), task: TaskId::from(""), launch: LaunchId::default() };
        self.tasks.range(first..).take_while(move |(key, _)| key.framework == *framework)
    }

    /// Runs of one framework, in key order.
    pub fn runs_of_framework<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = Run> + 'a {
        let first = ExecutorKey { framework: framework.clone(), executor: ExecutorId::from("") };
        let of_framework = move |(key, _): &(&ExecutorKey, &RunFacts)| key.framework == *framework;
        self.runs.range(first..).take_while(of_framework).map(|(key, run)| key.run(&run.container))
    }

    fn put_framework(&mut self, spec: &FrameworkSpec) {
        let ending = self.frameworks.get(&spec.id).is_some_and(|known| known.ending);
        self.frameworks.insert(spec.id.clone(), FrameworkFacts { spec: spec.clone(), ending });
    }

    fn put_task(&mut self, task: &TaskRecord) {
        let facts = TaskFacts {
            info: task.info.clone(),
            executor: task.executor.clone(),
            container: task.container.clone(),
            state: task.state,
            acknowledged: task.acknowledged,
            updates: VecDeque::new(),
            recent: task.recent.iter().copied().collect(),
        };
        self.newest = self.newest.max(task.key.launch);
        self.tasks.insert(task.key.clone(), facts);
    }

    fn push_update(&mut self, key: &TaskKey, update: &Update) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        task.state = update.state;
        // Never the head, which has been sent. Nothing comes after a terminal one, so that is never dropped.
        if task.updates.len() >= UPDATES_MAX {
            task.updates.pop_back();
        }
        task.updates.push_back(update.clone());
        if task.recent.contains(&update.uuid) {
            return;
        }
        task.recent.push_back(update.uuid);
        // Never the uuid of an update that is still kept: a snapshot names those in `recent` too.
        while task.recent.len() > RECENT_UPDATES_MAX + task.updates.len() {
            task.recent.pop_front();
        }
    }

    fn acknowledge(&mut self, key: &TaskKey, uuid: UpdateUuid) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let Some(update) = task.updates.pop_front_if(|head| head.uuid == uuid) else {
            return;
        };
        task.acknowledged = Some(uuid);
        if update.state.is_terminal() {
            self.tasks.remove(key);
            self.finish(key, uuid);
            self.prune_framework(&key.framework);
        }
    }

    fn finish(&mut self, key: &TaskKey, uuid: UpdateUuid) {
        self.newest = self.newest.max(key.launch);
        self.finished.insert(key.launch, (key.framework.clone(), key.task.clone(), uuid));
        while self.finished.len() > FINISHED_MAX {
            if let Some((launch, _)) = self.finished.pop_first() {
                self.watermark = self.watermark.max(launch);
            }
        }
    }

    fn end_run(&mut self, run: &Run) {
        let key = run.key();
        if self.runs.get(&key).is_some_and(|known| known.container == run.container) {
            self.runs.remove(&key);
            self.prune_framework(&run.framework);
        }
    }

    fn end_framework(&mut self, id: &FrameworkId) {
        let over: Vec<TaskKey> = self.tasks_of_framework(id).map(|(key, _)| key.clone()).collect();
        for key in over {
            let last = self.tasks.remove(&key).and_then(|task| task.acknowledged);
            self.finish(&key, last.unwrap_or(UpdateUuid([0; 16])));
        }
        self.runs.retain(|key, _| key.framework != *id);
        self.frameworks.remove(id);
    }

    /// A framework with nothing here is not kept (one that is ending is told to the masters first).
    fn prune_framework(&mut self, id: &FrameworkId) {
        let idle = self.runs_of_framework(id).next().is_none()
            && self.tasks_of_framework(id).next().is_none()
            && self.frameworks.get(id).is_some_and(|framework| !framework.ending);
        if idle {
            self.frameworks.remove(id);
        }
    }
}

impl TaskFacts {
    fn snapshot(&self, key: &TaskKey) -> Vec<Record> {
        let task = TaskRecord {
            key: key.clone(),
            info: self.info.clone(),
            executor: self.executor.clone(),
            container: self.container.clone(),
            state: self.state,
            acknowledged: self.acknowledged,
            recent: self.recent.iter().copied().collect(),
        };
        let mut records = vec![Record::Task(task)];
        records.extend(self.updates.iter().map(|update| Record::Update(key.clone(), update.clone())));
        records
    }
}

impl ExecutorKey {
    /// The run of this executor in `container`.
    pub fn run(&self, container: &ContainerId) -> Run {
        Run {
            framework: self.framework.clone(),
            executor: self.executor.clone(),
            container: container.clone(),
        }
    }
}
