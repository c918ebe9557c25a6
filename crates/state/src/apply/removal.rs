//! The end of a framework.

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, OrdSet};
use mesarch_types::{AgentId, FrameworkId, Millis, Reason, TaskState};

use super::lifecycle::{Conclusion, report};
use crate::{
    change::Change,
    command::{ExecutorKey, ExpireFailover, Teardown},
    effect::Effect,
    model::{Connection, Framework, RemovedFramework},
    outcome::{Outcome, Refusal},
    step::Step,
};

/// Most ids of removed frameworks remembered; the oldest is forgotten first.
pub(crate) const REMOVED_FRAMEWORKS_MAX: usize = 100_000;
/// Most removed frameworks remembered with their tasks (as in Mesos).
pub(crate) const REMOVED_RECORDS_MAX: usize = 50;
/// How long the id of a removed framework is remembered, by cluster time.
pub(crate) const REMOVED_AGE_MAX: Millis = Millis::from_secs(28 * 24 * 3600);

impl Step<'_> {
    pub(crate) fn teardown(&mut self, c: &Teardown) -> Result<Outcome, Refusal> {
        self.state.known_framework(&c.framework)?;
        self.remove_framework(&c.framework);
        Ok(Outcome::Done)
    }

    /// A framework that is only expected since the term began may also be given up, under its subscription's epoch.
    pub(crate) fn expire_failover(&mut self, c: &ExpireFailover) -> Result<Outcome, Refusal> {
        let ended = match self.state.known_framework(&c.framework)?.connection {
            Connection::Disconnected { epoch, .. } | Connection::Expected { epoch, .. } => {
                epoch == c.disconnected
            }
            Connection::Connected { .. } => false,
        };
        if !ended {
            return Err(Refusal::Resubscribed);
        }
        self.remove_framework(&c.framework);
        Ok(Outcome::Done)
    }

    fn remove_framework(&mut self, id: &FrameworkId) {
        self.close_stream(id);
        self.withdraw_offers_of_framework(id);
        self.forget_inverse_answers_of_framework(id);
        self.state.filters.clear(id, None);
        self.state.sharing.framework_priorities.remove(id);
        let mut agents = self.end_tasks_of(id);
        agents.extend(self.end_executors_of(id));
        self.forget_unreachable_tasks_of(id);
        self.forget_operations_of(id);
        for agent in agents {
            self.order_shutdown(&agent, id);
        }
        let Some(framework) = self.state.frameworks.remove(id) else {
            return;
        };
        self.remember_removed(framework);
        self.change(Change::FrameworkRemoved(id.clone()));
    }

    fn close_stream(&mut self, id: &FrameworkId) {
        let connection = self.state.frameworks.get(id).map(|known| known.connection.clone());
        if let Some(Connection::Connected { stream, epoch }) = connection {
            self.effect(Effect::CloseStream { framework: id.clone(), stream, epoch, error: None });
        }
    }

    /// Its tasks become history as killed; nobody is told. Returns where they were.
    fn end_tasks_of(&mut self, id: &FrameworkId) -> BTreeSet<AgentId> {
        let mut agents = BTreeSet::new();
        for task in self.task_ids_of(id) {
            let key = (id.clone(), task);
            let finished = self.state.tasks.get(&key).is_some_and(|task| task.state.is_terminal());
            let ended = match finished {
                true => self.remove_task(&key),
                false => self.end_task(&key, &killed()),
            };
            if let Some(task) = ended {
                agents.insert(task.agent.clone());
                self.remember(task);
            }
        }
        agents
    }

    fn end_executors_of(&mut self, id: &FrameworkId) -> BTreeSet<AgentId> {
        let keys: Vec<ExecutorKey> =
            self.state.executors_of(id).map(|executor| executor.key.clone()).collect();
        for key in &keys {
            self.remove_executor(key);
        }
        keys.into_iter().map(|key| key.agent).collect()
    }

    fn forget_unreachable_tasks_of(&mut self, id: &FrameworkId) {
        let Some(framework) = self.state.frameworks.get(id) else {
            return;
        };
        let wall = self.at.wall;
        for (task, agent) in framework.unreachable.clone() {
            let Some(away) = self.state.unreachable.get_mut(&agent).map(Arc::make_mut) else {
                continue;
            };
            Arc::make_mut(&mut away.agent).pending_shutdowns.insert(id.clone());
            if let Some(mut task) = away.tasks.remove(&(id.clone(), task)) {
                let ended = Arc::make_mut(&mut task);
                ended.state = TaskState::Killed;
                ended.push_report(report(TaskState::Killed, &killed(), wall));
                self.remember(task);
            }
        }
        if let Some(framework) = self.framework_mut(id) {
            framework.unreachable = OrdMap::new();
        }
    }

    /// The agent is told to end all of the framework until it says that it did.
    pub(crate) fn order_shutdown(&mut self, agent: &AgentId, framework: &FrameworkId) {
        let Some(known) = self.agent_mut(agent) else {
            return;
        };
        known.pending_shutdowns.insert(framework.clone());
        if known.is_attached() {
            self.effect(Effect::ShutdownFramework { agent: agent.clone(), framework: framework.clone() });
        }
    }

    fn remember_removed(&mut self, mut framework: Arc<Framework>) {
        let (epoch, at, wall) = (self.epoch(), self.at.now, self.at.wall);
        let id = framework.id.clone();
        let record = Arc::make_mut(&mut framework);
        record.outbox = OrdMap::new();
        record.outbox_minor = OrdSet::new();
        // Only offers ask for them.
        Arc::make_mut(&mut record.spec).rules = Arc::default();
        record.connection = Connection::Disconnected { epoch, at };
        let removed = RemovedFramework { epoch, at, wall, record: Some(framework) };
        self.state.removed.insert(id.clone(), Arc::new(removed));
        self.state.removed_by_age.insert((epoch, id));
        self.bound_removed(at);
    }

    fn bound_removed(&mut self, now: Millis) {
        let older = self.state.removed_by_age.iter().rev().nth(REMOVED_RECORDS_MAX).map(|(_, id)| id.clone());
        if let Some(removed) = older.and_then(|id| self.state.removed.get_mut(&id)) {
            Arc::make_mut(removed).record = None;
        }
        while let Some((epoch, id)) = self.state.removed_by_age.get_min().cloned() {
            let too_old = self.state.removed.get(&id).is_none_or(|old| {
                old.at.saturating_add(REMOVED_AGE_MAX) < now
                    || self.state.removed.len() > REMOVED_FRAMEWORKS_MAX
            });
            if !too_old {
                return;
            }
            self.state.removed.remove(&id);
            self.state.removed_by_age.remove(&(epoch, id));
        }
    }
}

fn killed() -> Conclusion {
    Conclusion::new(TaskState::Killed, Reason::FrameworkRemoved, "Framework has been removed")
}
