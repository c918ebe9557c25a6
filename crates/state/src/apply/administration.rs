//! Operators take agents out of service: for a while, with all that runs there, or for ever.
//!
//! A drain needs nothing of an agent but that it ends tasks: each of its tasks carries the wish to be ended, with a grace
//! that is bounded by the operator's, and new ones cannot come, for the agent is not offered. So a new leader goes on with
//! it by the same open work as with any other kill, and an agent that was away meanwhile is told when it is back.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_proto::mesos::v1::{DurationInfo, KillPolicy, TaskStatus};
use mesarch_types::{AgentId, FrameworkId, OperationState, Reason, TaskState};
use prost::Message;

use super::lifecycle::{Conclusion, report};
use crate::{
    change::Change,
    command::{DeactivateAgent, DrainAgent, ExecutorKey, MarkAgentGone, ReactivateAgent, StatusUpdate},
    effect::Effect,
    machine::LEVEL_ADMIN,
    model::{Administration, Agent, Drain, DrainState, GoneAgent, Kill, TaskKey},
    outcome::{Denial, Outcome, Refusal},
    sharing::Count,
    step::Step,
};

/// Most gone agents remembered (as in Mesos' registry); the oldest is forgotten first, and its id could be used again.
pub(crate) const GONE_AGENTS_MAX: usize = 100_000;

/// What frameworks are told of all that was on an agent that is gone.
const GONE: &str = "Agent has been marked gone";

/// A `TaskInfo` of which nothing but the kill policy is read.
#[derive(Clone, PartialEq, Message)]
struct OnlyKillPolicy {
    #[prost(message, optional, tag = "12")]
    kill_policy: Option<KillPolicy>,
}

impl Step<'_> {
    /// Carries an operator's command out, if the cluster's level has it.
    pub(crate) fn administrate(
        &mut self,
        command: impl FnOnce(&mut Self) -> Result<Outcome, Denial>,
    ) -> Result<Outcome, Refusal> {
        if self.state.meta.level < LEVEL_ADMIN {
            return Err(Refusal::LevelTooLow);
        }
        Ok(command(self).unwrap_or_else(Outcome::Denied))
    }

    /// From now on, and whenever the agent is back, all that runs on it is told to end.
    pub(crate) fn drain_agent(&mut self, c: &DrainAgent) -> Result<Outcome, Denial> {
        let known = self.any_agent(&c.agent)?;
        if self.state.maintenance.machine_of(&known.spec.hostname).is_some() {
            return Err(Denial::Scheduled(c.agent.clone()));
        }
        let drain = Drain {
            max_grace_ns: c.max_grace_ns,
            mark_gone: c.mark_gone,
            state: DrainState::Draining,
            since: self.at.wall,
        };
        let rescinded = self.administer(&c.agent, Administration { deactivated: true, drain: Some(drain) });
        self.kill_all(&c.agent, |_| true);
        self.emptied.push(c.agent.clone());
        Ok(Outcome::Changed { rescinded })
    }

    pub(crate) fn deactivate_agent(&mut self, c: &DeactivateAgent) -> Result<Outcome, Denial> {
        let known = self.any_agent(&c.agent)?;
        let now = Administration { deactivated: true, ..known.administration };
        let rescinded = self.administer(&c.agent, now);
        Ok(Outcome::Changed { rescinded })
    }

    /// Not while a drain is under way: its tasks were told to end already.
    pub(crate) fn reactivate_agent(&mut self, c: &ReactivateAgent) -> Result<Outcome, Denial> {
        let known = self.any_agent(&c.agent)?;
        if !known.administration.deactivated {
            return Err(Denial::NotDeactivated(c.agent.clone()));
        }
        if known.administration.is_draining() {
            return Err(Denial::Draining(c.agent.clone()));
        }
        let rescinded = self.administer(&c.agent, Administration::default());
        Ok(Outcome::Changed { rescinded })
    }

    pub(crate) fn mark_agent_gone(&mut self, c: &MarkAgentGone) -> Result<Outcome, Denial> {
        if self.state.gone.contains_key(&c.agent) {
            return Ok(Outcome::Done);
        }
        self.any_agent(&c.agent)?;
        self.mark_gone(&c.agent);
        Ok(Outcome::Done)
    }

    /// An agent of the table, or one that was given up.
    fn any_agent(&self, id: &AgentId) -> Result<&Agent, Denial> {
        let away = || self.state.unreachable.get(id).map(|away| &*away.agent);
        let known = self.state.agents.get(id).map(|agent| &**agent).or_else(away);
        known.ok_or_else(|| Denial::UnknownAgent(id.clone()))
    }

    /// Stores what operators decided; plans that are under way know an older version of the agent. How many offers were
    /// withdrawn.
    fn administer(&mut self, id: &AgentId, now: Administration) -> u32 {
        if let Some(away) = self.state.unreachable.get_mut(id) {
            Arc::make_mut(&mut Arc::make_mut(away).agent).administration = now;
            return 0;
        }
        let Some(known) = self.state.agents.get(id) else {
            return 0;
        };
        if known.administration == now {
            return 0;
        }
        let offers = known.offers.len();
        if now.deactivated {
            self.withdraw_offers_of_agent(id);
            self.withdraw_inverse_offers_of_agent(id);
        }
        let version = self.epoch();
        if let Some(agent) = self.agent_mut(id) {
            agent.administration = now;
            agent.version = version;
        }
        self.change(Change::Agent(id.clone()));
        if now.deactivated { u32::try_from(offers).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Wishes the end of the agent's tasks that `wanted` accepts, within the grace of its drain.
    pub(crate) fn kill_all(&mut self, id: &AgentId, wanted: impl Fn(Option<&Kill>) -> bool) {
        let Some(drain) = self.state.agents.get(id).and_then(|agent| agent.administration.drain) else {
            return;
        };
        let is_attached = self.is_attached(id);
        for key in self.task_ids_on(id) {
            let Some(task) = self.task_mut(&key).filter(|task| !task.state.is_terminal()) else {
                continue;
            };
            if !wanted(task.kill.as_ref()) {
                continue;
            }
            let asked = task.kill.as_ref().and_then(|kill| kill.policy.clone());
            task.kill = Some(Kill { policy: bounded_policy(asked, &task.spec.info, drain.max_grace_ns) });
            let launch = task.launch;
            if is_attached {
                let (framework, task) = key;
                self.effect(Effect::KillTask { agent: id.clone(), framework, task, launch });
            }
        }
    }

    /// The grace of a framework's own kill does not outlast that of the drain of the task's agent.
    pub(crate) fn within_drain(&self, key: &TaskKey, asked: Option<Bytes>) -> Option<Bytes> {
        let task = self.state.tasks.get(key);
        let agent = task.and_then(|task| self.state.agents.get(&task.agent));
        match (task, agent.and_then(|agent| agent.administration.drain)) {
            (Some(task), Some(drain)) => bounded_policy(asked, &task.spec.info, drain.max_grace_ns),
            _ => asked,
        }
    }

    /// What an agent that is drained says about the end of a task, with the reason that only the masters know.
    pub(crate) fn as_drained(&self, agent: &AgentId, mut update: StatusUpdate) -> StatusUpdate {
        let Some(drain) = self.state.agents.get(agent).and_then(|known| known.administration.drain) else {
            return update;
        };
        if update.latest == TaskState::Killed {
            update.latest = self.end_of_drained(&update.framework, drain);
        }
        if !matches!(update.state, TaskState::Killing | TaskState::Killed) {
            return update;
        }
        if update.state == TaskState::Killed {
            update.state = self.end_of_drained(&update.framework, drain);
        }
        update.reason = Some(Reason::AgentDraining);
        if let Ok(mut status) = TaskStatus::decode(update.status.clone()) {
            status.state = update.state as i32;
            status.reason = Some(Reason::AgentDraining as i32);
            update.status = status.encode_to_vec().into();
        }
        update
    }

    fn end_of_drained(&self, framework: &FrameworkId, drain: Drain) -> TaskState {
        let aware = self.state.frameworks.get(framework).is_some_and(|known| known.is_partition_aware());
        if drain.mark_gone && aware { TaskState::GoneByOperator } else { TaskState::Killed }
    }

    /// Once a command is applied: agents that are drained and have nothing left are done. Not at once, since the command
    /// that took the last task away may go on with the agent.
    pub(crate) fn settle_drains(&mut self) {
        for id in std::mem::take(&mut self.emptied) {
            let Some(agent) = self.state.agents.get(&id) else {
                continue;
            };
            if !agent.administration.is_draining() || !agent.is_empty() {
                continue;
            }
            match agent.administration.drain {
                Some(drain) if drain.mark_gone => self.mark_gone(&id),
                _ => self.end_drain(&id),
            }
        }
    }

    fn end_drain(&mut self, id: &AgentId) {
        if let Some(drain) = self.agent_mut(id).and_then(|agent| agent.administration.drain.as_mut()) {
            drain.state = DrainState::Drained;
        }
        self.change(Change::Agent(id.clone()));
    }

    /// The agent is no more, and so is all that ran there.
    fn mark_gone(&mut self, id: &AgentId) {
        let was_present = self.state.agents.contains_key(id);
        // An unreachable agent's frameworks were told of its loss, and its tasks come with it.
        for (key, task) in self.bring_back(id) {
            let mut task = task;
            let conclusion = self.gone_by_operator(&key.0);
            let state = self.in_words_of(&key.0, conclusion.state);
            let ended = Arc::make_mut(&mut task);
            ended.state = state;
            ended.push_report(report(state, &conclusion, self.at.wall));
            self.change(Change::TaskUpdated { framework: key.0.clone(), task: key.1.clone(), state });
            self.tell(&key.0, &key.1, Some(id), conclusion);
            self.remember(task);
        }
        for key in self.task_ids_on(id) {
            let conclusion = self.gone_by_operator(&key.0);
            self.end_with_agent(&key, conclusion);
        }
        self.take_out(id);
        let (epoch, wall) = (self.epoch(), self.at.wall);
        self.state.gone.insert(id.clone(), GoneAgent { epoch, wall });
        self.state.gone_by_age.insert((epoch, id.clone()));
        if was_present {
            self.change(Change::AgentRemoved(id.clone()));
            self.announce_failure(id);
        }
        self.bound_gone();
    }

    /// An agent of a machine that goes down. Without its tasks, it counts as one that is unreachable until the machine is
    /// up: what its resources were made into is still so.
    pub(crate) fn remove_agent(&mut self, id: &AgentId) {
        for key in self.task_ids_on(id) {
            let lost = Conclusion::new(TaskState::Lost, Reason::AgentRemoved, "Agent's machine is down");
            self.end_with_agent(&key, lost);
        }
        self.give_up(id);
        // It is told to end, and nothing else.
        self.effects.retain(|effect| effect.agent() != Some(id));
    }

    fn gone_by_operator(&self, framework: &FrameworkId) -> Conclusion {
        let aware = self.state.frameworks.get(framework).is_some_and(|known| known.is_partition_aware());
        let reason = if aware { Reason::AgentRemovedByOperator } else { Reason::AgentRemoved };
        Conclusion::new(TaskState::GoneByOperator, reason, GONE)
    }

    /// Ends a task of an agent that is removed. A known end is told once more instead of `conclusion`, even if the update
    /// that says so was still behind an unacknowledged one.
    fn end_with_agent(&mut self, key: &TaskKey, conclusion: Conclusion) {
        let Some(task) = self.state.tasks.get(key) else { return };
        if !task.state.is_terminal() {
            return self.conclude_task(key, conclusion);
        }
        let known = Conclusion { state: task.state, ..conclusion };
        if let Some(task) = self.remove_task(key) {
            self.tell(&key.0, &key.1, Some(&task.agent), known);
            self.remember(task);
        }
    }

    /// Takes an agent without tasks out of the table, with its offers, executors and nonce; frameworks hear what becomes of
    /// operations that had not ended.
    fn take_out(&mut self, id: &AgentId) {
        self.tell_operations_on(id, OperationState::GoneByOperator, GONE);
        self.forget_operations_on(id);
        self.withdraw_offers_of_agent(id);
        self.forget_inverse_offers_of_agent(id);
        let executors: Vec<ExecutorKey> =
            self.state.executors_on(id).map(|executor| executor.key.clone()).collect();
        for key in executors {
            self.remove_executor(&key);
        }
        // It is told to end, and nothing else.
        self.effects.retain(|effect| effect.agent() != Some(id));
        self.count_agent(id, Count::Out);
        if let Some(nonce) = self.state.agents.remove(id).and_then(|agent| agent.nonce) {
            self.state.nonces.remove(&nonce);
        }
    }

    fn bound_gone(&mut self) {
        while self.state.gone.len() > GONE_AGENTS_MAX {
            let Some((epoch, oldest)) = self.state.gone_by_age.get_min().cloned() else {
                return;
            };
            self.state.gone.remove(&oldest);
            self.state.gone_by_age.remove(&(epoch, oldest));
        }
    }
}

/// The policy by which a task is ended: the one that was asked for, else its own, but with no more grace than `max_ns`.
/// None leaves the task its own.
fn bounded_policy(asked: Option<Bytes>, task: &Bytes, max_ns: Option<u64>) -> Option<Bytes> {
    let Some(max) = max_ns else { return asked };
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    // Our own encodings; what is none of them says nothing.
    let policy = match &asked {
        Some(asked) => KillPolicy::decode(asked.clone()).ok(),
        None => OnlyKillPolicy::decode(task.clone()).ok().and_then(|info| info.kill_policy),
    };
    let own = policy.and_then(|policy| policy.grace_period).map(|grace| grace.nanoseconds);
    let nanoseconds = own.map_or(max, |own| own.min(max));
    let policy = KillPolicy { grace_period: Some(DurationInfo { nanoseconds }) };
    Some(policy.encode_to_vec().into())
}
