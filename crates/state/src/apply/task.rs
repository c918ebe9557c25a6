//! Wishes that something ends, and executors that did.

use crate::{
    command::{ExecutorExited, ExecutorKey, RequestKill},
    effect::Effect,
    machine::LEVEL_TRUE_LIVES,
    model::{Kill, OutboxItem},
    outcome::{Outcome, Refusal},
    step::Step,
};

impl Step<'_> {
    /// The wish is kept until the task ends. An unknown task is the edge's to answer, as a reconciliation.
    pub(crate) fn request_kill(&mut self, c: RequestKill) -> Result<Outcome, Refusal> {
        self.state.known_framework(&c.framework)?;
        let key = (c.framework, c.task);
        let task = self.state.tasks.get(&key).ok_or(Refusal::UnknownTask)?;
        let elsewhere = c.agent.is_some_and(|agent| agent != task.agent);
        if elsewhere || task.state.is_terminal() {
            return Ok(Outcome::Done);
        }
        let (agent, launch) = (task.agent.clone(), task.launch);
        let policy = self.within_drain(&key, c.policy);
        if let Some(task) = self.task_mut(&key) {
            task.kill = Some(Kill { policy });
        }
        if self.is_attached(&agent) {
            self.effect(Effect::KillTask { agent, framework: key.0, task: key.1, launch });
        }
        Ok(Outcome::Done)
    }

    /// The wish is kept until the executor's end is reported.
    pub(crate) fn request_shutdown(&mut self, key: ExecutorKey) -> Result<Outcome, Refusal> {
        self.state.known_framework(&key.framework)?;
        self.executor_mut(&key).ok_or(Refusal::UnknownExecutor)?.shutdown_requested = true;
        if self.is_attached(&key.agent) {
            self.effect(Effect::ShutdownExecutor(key));
        }
        Ok(Outcome::Done)
    }

    /// Its resources are free and its framework hears of it; the ends of its tasks are the agent's to report.
    ///
    /// A launch that the agent had not taken by then makes it the end of a former run: whoever counts on the executor
    /// starts it anew, and goes on to be charged for it. Its framework hears of the tasks that died with that run.
    pub(crate) fn executor_exited(&mut self, c: ExecutorExited) -> Result<Outcome, Refusal> {
        let executor = self.state.executors.get(&c.executor).ok_or(Refusal::UnknownExecutor)?;
        let named = c.newest.filter(|_| self.state.meta.level >= LEVEL_TRUE_LIVES);
        if named.is_some_and(|newest| newest < executor.launch) {
            return Err(Refusal::StaleExit);
        }
        self.remove_executor(&c.executor);
        self.announce_exit(c.executor, c.status);
        Ok(Outcome::Done)
    }

    pub(crate) fn announce_exit(&mut self, key: ExecutorKey, status: i32) {
        let item =
            OutboxItem::Failure { agent: key.agent, executor: Some(key.executor), status: Some(status) };
        self.post(&key.framework, item);
    }
}
