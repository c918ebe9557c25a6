//! Agents leave for a moment, and confirm what they forgot.

use mesarch_types::{
    AgentId, FrameworkId, LaunchId, Reason, TaskId, TaskState, UpdateUuid, digest::task_hash,
};

use super::lifecycle::Conclusion;
use crate::{
    change::Change,
    command::{AgentForgot, DetachAgent, ExecutorKey},
    machine::LEVEL_TRUE_LIVES,
    model::{Attachment, Task, TaskKey},
    outcome::{Outcome, Refusal},
    step::Step,
};

/// What becomes of something on an agent whose link ended.
enum Fate {
    /// It runs on and is found again.
    Stays,
    /// Its framework does not checkpoint.
    Lost,
    /// It was never sent: no leader of this term had a link to send it on.
    Dropped,
}

impl Step<'_> {
    /// The agent's offers are withdrawn, and what cannot outlive its link ends.
    pub(crate) fn detach_agent(&mut self, c: &DetachAgent) -> Result<Outcome, Refusal> {
        let known = self.state.agents.get(&c.agent).ok_or(Refusal::UnknownAgent)?;
        if known.link != c.link {
            return Err(Refusal::StaleLink);
        }
        if !known.is_present() {
            return Ok(Outcome::Done);
        }
        let expected = known.attachment == Attachment::Expected;
        self.withdraw_offers_of_agent(&c.agent);
        self.withdraw_inverse_offers_of_agent(&c.agent);
        let tasks_ended = self.end_tasks_of_detached(&c.agent, expected);
        let executors_ended = self.end_executors_of_detached(&c.agent, expected);
        let owes = (tasks_ended || executors_ended) && self.state.meta.level >= LEVEL_TRUE_LIVES;
        let (since, at) = (self.epoch(), self.at.now);
        if let Some(agent) = self.agent_mut(&c.agent) {
            agent.owes_inventory |= owes;
            agent.attachment = Attachment::Detached { since, at };
            agent.version = since;
        }
        self.change(Change::Agent(c.agent.clone()));
        Ok(Outcome::Done)
    }

    /// Whether any ended.
    fn end_tasks_of_detached(&mut self, agent: &AgentId, expected: bool) -> bool {
        let mut any = false;
        for key in self.task_ids_on(agent) {
            let state = match self.fate_of_task(&key, expected) {
                Fate::Stays => continue,
                Fate::Lost => TaskState::Lost,
                Fate::Dropped => TaskState::Dropped,
            };
            self.conclude_task(&key, disconnected(state));
            any = true;
        }
        any
    }

    fn fate_of_task(&self, key: &TaskKey, expected: bool) -> Fate {
        match self.state.tasks.get(key) {
            Some(task) if task.state.is_terminal() => Fate::Stays,
            Some(task) if expected && !task.reported && self.is_of_this_term(task.launch) => Fate::Dropped,
            Some(_) if !self.is_checkpointing(key) => Fate::Lost,
            _ => Fate::Stays,
        }
    }

    fn is_of_this_term(&self, launch: LaunchId) -> bool {
        launch.index >= self.state.meta.term_index
    }

    /// Whether any ended.
    fn end_executors_of_detached(&mut self, agent: &AgentId, expected: bool) -> bool {
        let ended = self.state.executors_on(agent).filter(|executor| {
            let never_sent = expected && executor.tasks.is_empty() && self.is_of_this_term(executor.launch);
            let checkpointing =
                self.state.frameworks.get(&executor.key.framework).is_some_and(|owner| owner.spec.checkpoint);
            never_sent || !checkpointing
        });
        let ended: Vec<ExecutorKey> = ended.map(|executor| executor.key.clone()).collect();
        for key in &ended {
            self.remove_executor(key);
        }
        !ended.is_empty()
    }

    /// What the agent confirmed is owed to it no more.
    pub(crate) fn agent_forgot(&mut self, c: AgentForgot) -> Result<Outcome, Refusal> {
        self.state.agents.get(&c.agent).ok_or(Refusal::UnknownAgent)?;
        for (framework, task, launch, uuid) in c.acknowledged {
            self.forgot_update(&c.agent, (framework, task), launch, uuid);
        }
        for framework in &c.frameworks {
            self.forgot_framework(&c.agent, framework);
        }
        Ok(Outcome::Done)
    }

    fn forgot_update(&mut self, agent: &AgentId, key: TaskKey, launch: LaunchId, uuid: UpdateUuid) {
        // Looked at before anything is changed, which costs a copy: agents repeat themselves.
        let is_owed = |task: &Task| {
            task.ack_owed && (&task.agent, task.launch, task.acknowledged) == (agent, launch, Some(uuid))
        };
        if self.state.tasks.get(&key).is_some_and(|task| is_owed(task))
            && let Some(task) = self.task_mut(&key)
        {
            task.ack_owed = false;
        }
        self.forget(agent, (key.0, key.1, launch), Some(uuid));
    }

    fn forgot_framework(&mut self, agent: &AgentId, framework: &FrameworkId) {
        let Some(known) = self.agent_mut(agent) else {
            return;
        };
        known.pending_shutdowns.remove(framework);
        let first = (framework.clone(), TaskId::from(""), LaunchId::default());
        let entries = known.forgetting.range(first..).map(|(key, _)| key.clone());
        let entries: Vec<_> = entries.take_while(|key| key.0 == *framework).collect();
        for key in entries {
            self.forget(agent, key, None);
        }
    }

    /// Drops an entry of the agent's owed acknowledgements, if it is for `uuid` (or any, if none is given).
    fn forget(&mut self, agent: &AgentId, key: crate::model::ForgettingKey, uuid: Option<UpdateUuid>) {
        let known = self.state.agents.get(agent);
        let owed = known.and_then(|known| known.forgetting.get(&key).copied());
        let owed = owed.filter(|owed| uuid.is_none_or(|uuid| uuid == *owed));
        if let Some(owed) = owed
            && let Some(known) = self.agent_mut(agent)
        {
            known.forgetting.remove(&key);
            known.set_hash.remove(task_hash(&key.0, &key.1, key.2, Some(owed)));
        }
    }
}

fn disconnected(state: TaskState) -> Conclusion {
    let message = match state {
        TaskState::Dropped => "Agent disconnected before the task was sent to it",
        _ => "Agent disconnected",
    };
    Conclusion::new(state, Reason::AgentDisconnected, message)
}
