//! Status updates: recorded, acknowledged.
//!
//! Per task one update is under way at a time: it is recorded here, sent to the framework until that acknowledges it,
//! and the acknowledgement is sent to the agent until that confirms it.

use std::sync::Arc;

use mesarch_types::{AgentId, digest::task_hash};

use crate::{
    change::Change,
    command::{AcknowledgeUpdates, Acknowledgement, RecordUpdates, StatusUpdate},
    effect::Effect,
    model::{Report, Task, TaskKey},
    outcome::{AckRefusal, Outcome, UpdateRefusal},
    step::Step,
};

impl Step<'_> {
    pub(crate) fn record_updates(&mut self, c: RecordUpdates) -> Outcome {
        let known = self.state.agents.contains_key(&c.agent);
        let results = c.updates.into_iter().map(|update| match known {
            true => self.record_update(&c.agent, update),
            // It will come back with an inventory.
            false => Err(UpdateRefusal::AgentUnknown),
        });
        Outcome::Recorded(results.collect())
    }

    fn record_update(&mut self, agent: &AgentId, update: StatusUpdate) -> Result<(), UpdateRefusal> {
        let update = self.as_drained(agent, update);
        let key = (update.framework.clone(), update.task.clone());
        if self.state.removed.contains_key(&key.0) {
            self.acknowledge_to(agent, &update);
            return Err(UpdateRefusal::FrameworkRemoved);
        }
        let task = self.state.tasks.get(&key);
        let Some(task) = task.filter(|task| (&task.agent, task.launch) == (agent, update.launch)) else {
            return Err(self.dismiss_update(agent, &update));
        };
        let acknowledged = task.acknowledged == Some(update.uuid);
        let pending = task.pending().and_then(|pending| pending.uuid);
        let repeated = pending == Some(update.uuid);
        if pending.is_some() && !repeated && !acknowledged {
            return Err(UpdateRefusal::OutOfOrder);
        }
        self.mark_reported(&key);
        let advanced = self.advance_task(&key, update.latest);
        if acknowledged {
            self.acknowledge_to(agent, &update);
            return Err(UpdateRefusal::Acknowledged);
        }
        if !repeated {
            self.store_update(&key, &update, advanced);
        }
        if self.is_connected(&key.0) {
            self.effect(Effect::SendUpdate { framework: key.0, task: key.1, uuid: update.uuid });
        }
        if repeated { Err(UpdateRefusal::Pending) } else { Ok(()) }
    }

    fn store_update(&mut self, key: &TaskKey, update: &StatusUpdate, announced: bool) {
        let at = self.at.wall;
        let Some(task) = self.task_mut(key) else { return };
        task.push_report(Report {
            state: update.state,
            source: update.source,
            reason: update.reason,
            message: Arc::from(""),
            uuid: Some(update.uuid),
            status: update.status.clone(),
            at,
        });
        task.unacknowledged = true;
        // The agent sends the next update only after it stored the acknowledgement of the one before.
        task.ack_owed = false;
        let state = task.state;
        if !announced {
            self.change(Change::TaskUpdated { framework: key.0.clone(), task: key.1.clone(), state });
        }
    }

    /// An update of a task, or of a life of it, that is not in the table: nobody waits for it, so the agent may forget
    /// it; if that life still runs, it must end. Both may be lost, for the agent repeats its update.
    fn dismiss_update(&mut self, agent: &AgentId, update: &StatusUpdate) -> UpdateRefusal {
        self.acknowledge_to(agent, update);
        let entry = (update.framework.clone(), update.task.clone(), update.launch);
        let known = self.state.agents.get(agent);
        if known.is_some_and(|known| known.forgetting.get(&entry) == Some(&update.uuid)) {
            return UpdateRefusal::Acknowledged;
        }
        if !update.latest.is_terminal() && self.is_attached(agent) {
            self.effect(Effect::KillTask {
                agent: agent.clone(),
                framework: update.framework.clone(),
                task: update.task.clone(),
                launch: update.launch,
            });
        }
        UpdateRefusal::UnknownTask
    }

    fn acknowledge_to(&mut self, agent: &AgentId, update: &StatusUpdate) {
        if self.is_attached(agent) {
            self.effect(Effect::SendAcknowledgement {
                agent: agent.clone(),
                framework: update.framework.clone(),
                task: update.task.clone(),
                launch: update.launch,
                uuid: update.uuid,
            });
        }
    }

    pub(crate) fn acknowledge_updates(&mut self, c: AcknowledgeUpdates) -> Outcome {
        Outcome::Acknowledged(c.items.iter().map(|item| self.acknowledge_update(item)).collect())
    }

    fn acknowledge_update(&mut self, item: &Acknowledgement) -> Result<(), AckRefusal> {
        let key = (item.framework.clone(), item.task.clone());
        let task = self.state.tasks.get(&key).filter(|task| task.agent == item.agent);
        let task = task.ok_or(AckRefusal::UnknownTask)?;
        let pending = task.pending().filter(|pending| pending.uuid == Some(item.uuid));
        let ended = pending.ok_or(AckRefusal::NotPending)?.state.is_terminal();
        let launch = task.launch;
        self.mark_acknowledged(&key, item.uuid);
        if let Some(task) = self.task_mut(&key) {
            task.unacknowledged = false;
            task.ack_owed = true;
        }
        if ended && let Some(task) = self.remove_task(&key) {
            self.keep_acknowledgement(&task);
            self.remember(task);
        }
        if self.is_attached(&item.agent) {
            let (framework, task) = key;
            self.effect(Effect::SendAcknowledgement {
                agent: item.agent.clone(),
                framework,
                task,
                launch,
                uuid: item.uuid,
            });
        }
        Ok(())
    }

    /// The task is history, but its agent does not know yet: the acknowledgement stays owed, and the task stays in the
    /// set hash, until the agent says that it forgot.
    fn keep_acknowledgement(&mut self, task: &Task) {
        let Some(uuid) = task.acknowledged else { return };
        let Some(agent) = self.agent_mut(&task.agent) else {
            return;
        };
        let entry = (task.framework.clone(), task.spec.id.clone(), task.launch);
        agent.forgetting.insert(entry, uuid);
        agent.set_hash.insert(task_hash(&task.framework, &task.spec.id, task.launch, Some(uuid)));
    }
}
