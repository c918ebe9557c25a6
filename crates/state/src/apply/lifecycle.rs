//! From a task's entry in the table to its place in the history.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{
    AgentId, FrameworkId, Reason, Source, TaskId, TaskState, UpdateUuid, WallMillis, resource::Resources,
};

use crate::{
    change::{Change, Released},
    model::{COMPLETED_TASKS_MAX, Holder, OutboxItem, Report, Task, TaskKey, TaskNews, ledger::Side},
    step::Step,
};

/// Something that the masters themselves conclude about a task.
#[derive(Clone, Debug)]
pub(crate) struct Conclusion {
    pub(crate) state: TaskState,
    pub(crate) reason: Reason,
    pub(crate) message: Arc<str>,
    /// Since when the agent is unreachable, if that is the conclusion.
    pub(crate) unreachable: Option<WallMillis>,
}

impl Conclusion {
    pub(crate) fn new(state: TaskState, reason: Reason, message: &str) -> Self {
        Self { state, reason, message: Arc::from(message), unreachable: None }
    }
}

impl Step<'_> {
    /// Enters a task in the table and the indexes; its resources enter the books silently or with `Change::Taken`.
    pub(crate) fn add_task(&mut self, task: Task, announced: bool) {
        let (key, agent) = (task.key(), task.agent.clone());
        let holder = (task.framework.clone(), task.role.clone());
        let held = held_by(&task);
        self.index_task(&key, &task);
        self.state.tasks.insert(key.clone(), Arc::new(task));
        self.change(Change::TaskAdded(key.0, key.1));
        match held {
            Some(resources) if announced => self.take(Side::Used, &agent, &holder, &resources),
            Some(resources) => self.enter(Side::Used, &agent, &holder, &resources),
            None => {}
        }
    }

    fn index_task(&mut self, key: &TaskKey, task: &Task) {
        if let Some(framework) = self.framework_mut(&key.0) {
            framework.tasks.insert(key.1.clone());
        }
        if let Some(agent) = self.agent_mut(&task.agent) {
            agent.tasks.insert(key.clone());
            agent.unsettled += u32::from(task.is_unsettled());
            task.set_hash().into_iter().for_each(|hash| agent.set_hash.insert(hash));
        }
        if let Some(executor) = task.executor_key().and_then(|executor| self.executor_mut(&executor)) {
            executor.tasks.insert(key.1.clone());
        }
    }

    /// Takes a task out of the table and the indexes, and frees what it held.
    pub(crate) fn remove_task(&mut self, key: &TaskKey) -> Option<Arc<Task>> {
        let task = self.state.tasks.remove(key)?;
        if let Some(framework) = self.framework_mut(&key.0) {
            framework.tasks.remove(&key.1);
        }
        if let Some(agent) = self.agent_mut(&task.agent) {
            agent.tasks.remove(key);
            agent.unsettled -= u32::from(task.is_unsettled());
            task.set_hash().into_iter().for_each(|hash| agent.set_hash.remove(hash));
            let emptied = agent.administration.is_draining() && agent.is_empty();
            self.emptied.extend(emptied.then(|| task.agent.clone()));
        }
        if let Some(executor) = task.executor_key().and_then(|executor| self.executor_mut(&executor)) {
            executor.tasks.remove(&key.1);
        }
        if let Some(resources) = held_by(&task) {
            let holder: Holder = (task.framework.clone(), task.role.clone());
            self.release(Side::Used, &task.agent, &holder, &resources, Released::Freed);
        }
        if !task.reported {
            self.leave_group(&task);
        }
        self.change(Change::TaskRemoved(key.0.clone(), key.1.clone()));
        Some(task)
    }

    /// Takes note of the newest state that the agent knows. A terminal one frees the resources at once and is never
    /// overwritten. Says whether anything changed.
    pub(crate) fn advance_task(&mut self, key: &TaskKey, newest: TaskState) -> bool {
        let Some(task) = self.state.tasks.get(key) else {
            return false;
        };
        if task.state.is_terminal() || task.state == newest || newest == TaskState::Staging {
            return false;
        }
        let held = held_by(task);
        let (agent, holder) = (task.agent.clone(), (task.framework.clone(), task.role.clone()));
        if let Some(task) = self.task_mut(key) {
            task.state = newest;
            task.kill = task.kill.take().filter(|_| !newest.is_terminal());
        }
        self.change(Change::TaskUpdated { framework: key.0.clone(), task: key.1.clone(), state: newest });
        if let Some(resources) = held.filter(|_| newest.is_terminal()) {
            self.release(Side::Used, &agent, &holder, &resources, Released::Freed);
        }
        true
    }

    /// The agent has spoken of this life of the task.
    pub(crate) fn mark_reported(&mut self, key: &TaskKey) {
        let Some(task) = self.task_mut(key).filter(|task| !task.reported) else {
            return;
        };
        task.reported = true;
        let (agent, unsettled) = (task.agent.clone(), task.is_unsettled());
        if let Some(agent) = self.agent_mut(&agent) {
            agent.unsettled += u32::from(unsettled);
        }
        if let Some(task) = self.state.tasks.get(key).cloned() {
            self.leave_group(&task);
        }
    }

    /// The framework acknowledged this update of the task.
    pub(crate) fn mark_acknowledged(&mut self, key: &TaskKey, uuid: UpdateUuid) {
        let Some(task) = self.task_mut(key) else { return };
        let was_unsettled = task.is_unsettled();
        let before = task.set_hash();
        task.acknowledged = Some(uuid);
        let (agent, after) = (task.agent.clone(), task.set_hash());
        if let Some(agent) = self.agent_mut(&agent) {
            agent.unsettled -= u32::from(was_unsettled);
            before.into_iter().for_each(|hash| agent.set_hash.remove(hash));
            after.into_iter().for_each(|hash| agent.set_hash.insert(hash));
        }
    }

    /// Puts an ended task in its framework's bounded history.
    pub(crate) fn remember(&mut self, task: Arc<Task>) {
        let Some(framework) = self.framework_mut(&task.framework) else {
            return;
        };
        if framework.completed.len() >= COMPLETED_TASKS_MAX {
            framework.completed.pop_front();
        }
        framework.completed.push_back(task);
    }

    /// Ends a task on the masters' own account: its framework is told, and it becomes history.
    pub(crate) fn conclude_task(&mut self, key: &TaskKey, conclusion: Conclusion) {
        let Some(task) = self.end_task(key, &conclusion) else {
            return;
        };
        self.tell(&task.framework, &task.spec.id, Some(&task.agent), conclusion);
        self.remember(task);
    }

    /// Takes a task out of the table with a last status of the masters'.
    pub(crate) fn end_task(&mut self, key: &TaskKey, conclusion: &Conclusion) -> Option<Arc<Task>> {
        let state = self.in_words_of(&key.0, conclusion.state);
        self.state.tasks.get(key)?;
        self.change(Change::TaskUpdated { framework: key.0.clone(), task: key.1.clone(), state });
        let mut task = self.remove_task(key)?;
        let at = self.at.wall;
        let ended = Arc::make_mut(&mut task);
        ended.state = state;
        ended.unacknowledged = false;
        ended.kill = None;
        ended.push_report(report(state, conclusion, at));
        Some(task)
    }

    /// Tells a framework what the masters conclude about one of its tasks, in the words that it knows.
    pub(crate) fn tell(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        agent: Option<&AgentId>,
        conclusion: Conclusion,
    ) {
        let news = TaskNews {
            task: task.clone(),
            agent: agent.cloned(),
            state: self.in_words_of(framework, conclusion.state),
            source: Source::Master,
            reason: Some(conclusion.reason),
            message: conclusion.message,
            unreachable: conclusion.unreachable,
            at: self.at.wall,
        };
        self.post(framework, OutboxItem::Update(news));
    }

    /// The state as a framework knows it: the finer words for loss are for those that asked for them.
    pub(crate) fn in_words_of(&self, framework: &FrameworkId, state: TaskState) -> TaskState {
        match self.state.frameworks.get(framework) {
            Some(known) if known.is_partition_aware() => state,
            _ => state.for_partition_unaware(),
        }
    }
}

/// A status that the masters made.
pub(crate) fn report(state: TaskState, conclusion: &Conclusion, at: WallMillis) -> Report {
    Report {
        state,
        source: Source::Master,
        reason: Some(conclusion.reason),
        message: conclusion.message.clone(),
        uuid: None,
        status: Bytes::new(),
        at,
    }
}

/// What a task in the table holds: nothing once it has ended.
fn held_by(task: &Task) -> Option<Resources> {
    (!task.state.is_terminal()).then(|| task.spec.resources.without_allocation())
}
