//! Agents that have been away for too long, and their return.

use std::sync::Arc;

use imbl::OrdMap;
use mesarch_types::{AgentId, OperationState, Reason, TaskState, digest::SetHash};

use super::{
    attach::Returned,
    lifecycle::{Conclusion, report},
};
use crate::{
    change::Change,
    command::{ExecutorKey, MarkUnreachable},
    model::{Agent, Attachment, Ledger, OutboxItem, Task, TaskKey, UnreachableAgent},
    outcome::Outcome,
    sharing::Count,
    step::Step,
};

/// Most unreachable agents remembered (as in Mesos' registry); the oldest is forgotten first.
pub(crate) const UNREACHABLE_AGENTS_MAX: usize = 100_000;

impl Step<'_> {
    /// Each is judged on its own: an agent that is unknown or has a newer link is left alone.
    pub(crate) fn mark_unreachable(&mut self, c: MarkUnreachable) -> Outcome {
        for (agent, link) in c.agents {
            if self.state.agents.get(&agent).is_some_and(|known| known.link <= link) {
                self.give_up(&agent);
            }
        }
        Outcome::Done
    }

    pub(super) fn give_up(&mut self, id: &AgentId) {
        self.withdraw_offers_of_agent(id);
        self.forget_inverse_offers_of_agent(id);
        let mut tasks = OrdMap::new();
        for key in self.task_ids_on(id) {
            if let Some(task) = self.give_up_task(&key) {
                tasks.insert(key, task);
            }
        }
        let executors: Vec<ExecutorKey> =
            self.state.executors_on(id).map(|executor| executor.key.clone()).collect();
        for key in executors {
            self.remove_executor(&key);
        }
        self.tell_operations_on(id, OperationState::Unreachable, "Agent is unreachable");
        self.count_agent(id, Count::Out);
        let Some(mut agent) = self.state.agents.remove(id) else {
            return;
        };
        let record = Arc::make_mut(&mut agent);
        record.ledger = Ledger::default();
        record.set_hash = SetHash::default();
        // It needs one anyway.
        record.owes_inventory = false;
        record.unavailability = None;
        let (epoch, since, wall) = (self.epoch(), self.at.now, self.at.wall);
        let away = UnreachableAgent { agent, epoch, since, wall, tasks };
        self.state.unreachable.insert(id.clone(), Arc::new(away));
        self.state.unreachable_by_age.insert((epoch, id.clone()));
        self.change(Change::AgentRemoved(id.clone()));
        self.announce_failure(id);
        self.bound_unreachable();
    }

    /// Takes a task out of the table: one whose end is recorded is told once more and becomes history, another is kept
    /// with its agent as unreachable.
    fn give_up_task(&mut self, key: &TaskKey) -> Option<Arc<Task>> {
        let task = self.state.tasks.get(key)?;
        // A known end is told even if the update that says so was still behind an unacknowledged one.
        let known =
            if task.state.is_terminal() { Some(task.state) } else { task.forwarded().map(|last| last.state) };
        let agent = task.agent.clone();
        if let Some(state) = known.filter(|state| state.is_terminal()) {
            let task = self.remove_task(key)?;
            self.tell(&key.0, &key.1, Some(&agent), removed(state));
            self.remember(task);
            return None;
        }
        let conclusion = Conclusion { unreachable: Some(self.at.wall), ..removed(TaskState::Unreachable) };
        let state = self.in_words_of(&key.0, TaskState::Unreachable);
        self.change(Change::TaskUpdated { framework: key.0.clone(), task: key.1.clone(), state });
        let mut task = self.remove_task(key)?;
        let away = Arc::make_mut(&mut task);
        away.state = TaskState::Unreachable;
        away.unacknowledged = false;
        away.push_report(report(state, &conclusion, self.at.wall));
        if let Some(framework) = self.framework_mut(&key.0) {
            framework.unreachable.insert(key.1.clone(), agent.clone());
        }
        self.tell(&key.0, &key.1, Some(&agent), conclusion);
        Some(task)
    }

    pub(crate) fn announce_failure(&mut self, agent: &AgentId) {
        let active = self.state.frameworks().filter(|known| known.is_active()).map(|known| known.id.clone());
        for framework in active.collect::<Vec<_>>() {
            let item = OutboxItem::Failure { agent: agent.clone(), executor: None, status: None };
            self.post(&framework, item);
        }
    }

    fn bound_unreachable(&mut self) {
        while self.state.unreachable.len() > UNREACHABLE_AGENTS_MAX {
            let Some((_, oldest)) = self.state.unreachable_by_age.get_min().cloned() else {
                return;
            };
            for (_, task) in self.bring_back(&oldest) {
                self.remember(task);
            }
            self.count_agent(&oldest, Count::Out);
            self.forget_operations_on(&oldest);
            if let Some(nonce) = self.state.agents.remove(&oldest).and_then(|agent| agent.nonce) {
                self.state.nonces.remove(&nonce);
            }
        }
    }

    /// Puts an unreachable agent back in the table, as detached, and hands out its tasks.
    pub(crate) fn bring_back(&mut self, id: &AgentId) -> Returned {
        let Some(away) = self.state.unreachable.remove(id) else {
            return Returned::new();
        };
        self.state.unreachable_by_age.remove(&(away.epoch, id.clone()));
        let mut agent = away.agent.clone();
        let unavailability = self.state.unavailability_of(&agent.spec.hostname);
        let (since, at) = (away.epoch, away.since);
        let record = Arc::make_mut(&mut agent);
        record.attachment = Attachment::Detached { since, at };
        record.unavailability = unavailability;
        record.ledger = Ledger::new(&record.total());
        record.set_hash = forgetting_hash(record);
        self.state.agents.insert(id.clone(), agent);
        self.count_agent(id, Count::In);
        for key in away.tasks.keys() {
            if let Some(framework) = self.framework_mut(&key.0) {
                framework.unreachable.remove(&key.1);
            }
        }
        away.tasks.clone()
    }

    /// Takes one task from an unreachable agent's record.
    pub(crate) fn take_unreachable(&mut self, agent: &AgentId, key: &TaskKey) -> Option<Arc<Task>> {
        let away = self.state.unreachable.get_mut(agent).map(Arc::make_mut)?;
        let task = away.tasks.remove(key);
        if let Some(framework) = self.framework_mut(&key.0) {
            framework.unreachable.remove(&key.1);
        }
        task
    }
}

/// The part of the agent's set hash that its owed acknowledgements make.
pub(crate) fn forgetting_hash(agent: &Agent) -> SetHash {
    let mut sum = SetHash::default();
    for ((framework, task, launch), uuid) in &agent.forgetting {
        sum.insert(mesarch_types::digest::task_hash(framework, task, *launch, Some(*uuid)));
    }
    sum
}

fn removed(state: TaskState) -> Conclusion {
    Conclusion::new(state, Reason::AgentRemoved, "Agent is unreachable")
}
