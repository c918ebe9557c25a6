//! Status updates: stored before they are told, one outstanding per task, repeated until acknowledged.

use mesarch_types::{Millis, Reason, TaskState, UpdateUuid};

use crate::{
    Agent, Body, ExecutorEvent, ExecutorKey, ExecutorUpdate, Record, Run, TaskFacts, TaskKey, ToMaster,
    Update, agent::Out, timers::Timer,
};

impl Agent {
    /// From an executor. Whatever becomes of it, the executor is told that it may forget it.
    pub(crate) fn executor_update(&mut self, out: &mut Out, run: &Run, update: ExecutorUpdate) {
        if self.present(run).is_none() {
            return;
        }
        let (task, uuid) = (update.task.clone(), update.uuid);
        if let Some(key) = self.wanted(run, &update) {
            let ends = update.state.is_terminal();
            let body = Body::Executor(update.status);
            self.record(out, &key, Update { uuid, state: update.state, wall: out.now.wall, body });
            if ends {
                self.limit_linger(out, run);
            }
        }
        out.executor(run, ExecutorEvent::Acknowledged(task, uuid));
    }

    /// The life that the update is about, if it says something new: not for a task of another run, not twice, not
    /// after the end, and not for a framework that is gone. One run may have had several lives of a task, one after the
    /// other: an earlier one that ended may still wait for its acknowledgement.
    fn wanted(&self, run: &Run, update: &ExecutorUpdate) -> Option<TaskKey> {
        let own = |(_, task): &(&TaskKey, &TaskFacts)| task.container.as_ref() == Some(&run.container);
        let mut own = self.durable.lives(&run.framework, &update.task).filter(own);
        if own.clone().any(|(_, task)| task.recent.contains(&update.uuid)) || self.ending(&run.framework) {
            return None;
        }
        own.find(|(_, task)| !task.state.is_terminal()).map(|(key, _)| key.clone())
    }

    /// The agent itself reports a state.
    pub(crate) fn report(
        &mut self,
        out: &mut Out,
        key: &TaskKey,
        state: TaskState,
        reason: Option<Reason>,
        message: &str,
    ) {
        let uuid = crate::derive::update_uuid(key, state);
        let body = Body::Agent { reason, message: message.into() };
        self.record(out, key, Update { uuid, state, wall: out.now.wall, body });
    }

    fn record(&mut self, out: &mut Out, key: &TaskKey, update: Update) {
        self.commit(out, Record::Update(key.clone(), update));
        let first = self.durable.tasks.get(key).is_some_and(|task| task.updates.len() == 1);
        if first {
            self.send_head(out, key, self.config.repeat_first);
        }
    }

    /// Sends the oldest unacknowledged update, if a leader listens; it is repeated after `interval`.
    pub(crate) fn send_head(&mut self, out: &mut Out, key: &TaskKey, interval: Millis) {
        if !self.attached() || self.ending(&key.framework) {
            return;
        }
        let Some(task) = self.durable.tasks.get(key) else {
            return;
        };
        let Some(update) = task.updates.front().cloned() else {
            return;
        };
        let executor = ExecutorKey::new(&key.framework, &task.executor.id);
        let run = task.container.as_ref().map(|container| executor.run(container));
        out.master(ToMaster::Update { key: key.clone(), update, latest: task.state, run });
        self.set_repeat(key, Some((out.now.mono.saturating_add(interval), interval)));
    }

    pub(crate) fn set_repeat(&mut self, key: &TaskKey, repeat: Option<(Millis, Millis)>) {
        let Some(delivery) = self.deliveries.get_mut(key) else {
            return;
        };
        if let Some((old, _)) = std::mem::replace(&mut delivery.repeat, repeat) {
            self.timers.cancel(old, Timer::Repeat(key.clone()));
        }
        if let Some((at, _)) = repeat {
            self.timers.set(at, Timer::Repeat(key.clone()));
        }
    }

    pub(crate) fn repeat_due(&mut self, out: &mut Out, key: &TaskKey, at: Millis) {
        let Some(delivery) = self.deliveries.get_mut(key) else {
            return;
        };
        let Some((_, interval)) = delivery.repeat.take_if(|(due, _)| *due == at) else {
            return;
        };
        let longer = Millis(interval.0.saturating_mul(2)).min(self.config.repeat_max);
        self.send_head(out, key, longer);
    }

    /// The framework's acknowledgement of the head is committed: store that, then tell it, then go on.
    pub(crate) fn acknowledged(&mut self, out: &mut Out, key: &TaskKey, uuid: UpdateUuid) {
        let Some(task) = self.durable.tasks.get(key) else {
            return out.master(ToMaster::Forgot { key: key.clone(), uuid });
        };
        if task.updates.front().is_none_or(|head| head.uuid != uuid) {
            // A repeat of the last one is answered again; anything else is about nothing that was sent.
            if task.acknowledged == Some(uuid) {
                out.master(ToMaster::Forgot { key: key.clone(), uuid });
            }
            return;
        }
        self.set_repeat(key, None);
        self.commit(out, Record::Acknowledged(key.clone(), uuid));
        if self.durable.tasks.contains_key(key) {
            out.master(ToMaster::Forgot { key: key.clone(), uuid });
            return self.send_head(out, key, self.config.repeat_first);
        }
        self.deliveries.remove(key);
        self.remember_forgotten(out.now.mono, key.clone(), uuid);
        out.master(ToMaster::Forgot { key: key.clone(), uuid });
    }
}
