//! The runs of executors: started, subscribed, ended.

use bytes::Bytes;
use mesarch_types::{Millis, Reason, TaskState};

use crate::{
    Agent, ExecutorEvent, ExecutorKey, ExecutorSpec, Output, Record, Resume, Run, RunPhase, StartExecutor,
    TaskKey, ToMaster,
    agent::{Out, RunState, Stage},
    timers::Timer,
};

/// The wait status of a run that never was.
pub(crate) const UNKNOWN_STATUS: i32 = -1;

const NOT_REGISTERED: (Reason, &str) =
    (Reason::ExecutorRegistrationTimeout, "The executor did not subscribe in time");
const NOT_BACK: (Reason, &str) =
    (Reason::ExecutorReregistrationTimeout, "The executor did not come back after the agent's restart");
const TERMINATED: (Reason, &str) = (Reason::ExecutorTerminated, "Executor terminated");

impl Agent {
    /// Starts a run whose tasks are in the table.
    pub(crate) fn start_run(&mut self, out: &mut Out, run: Run, spec: ExecutorSpec) {
        self.commit(out, Record::Executor(run.clone(), spec.clone()));
        let key = run.key();
        self.exited.remove(&key);
        self.put_run(&run, RunPhase::Starting);
        self.set_deadline(&key, Some(out.now.mono.saturating_add(self.config.registration_timeout)));
        let framework = self.durable.frameworks.get(&run.framework);
        let (framework_info, checkpoint) =
            framework.map(|facts| (facts.spec.info.clone(), facts.spec.checkpoint)).unwrap_or_default();
        let start = StartExecutor { run, executor: spec, framework_info, checkpoint };
        out.outputs.push(Output::StartExecutor(Box::new(start)));
    }

    pub(crate) fn put_run(&mut self, run: &Run, phase: RunPhase) {
        let container = run.container.clone();
        let state = RunState { container, phase, deadline: None, why: None, used: false };
        self.runs.insert(run.key(), state);
    }

    pub(crate) fn set_deadline(&mut self, key: &ExecutorKey, deadline: Option<Millis>) {
        let Some(state) = self.runs.get_mut(key) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut state.deadline, deadline) {
            self.timers.cancel(old, Timer::Run(key.clone()));
        }
        if let Some(at) = deadline {
            self.timers.set(at, Timer::Run(key.clone()));
        }
    }

    /// The run's state, if it is the present run of its executor.
    pub(crate) fn present(&mut self, run: &Run) -> Option<&mut RunState> {
        self.runs.get_mut(&run.key()).filter(|state| state.container == run.container)
    }

    pub(crate) fn subscribed(&mut self, out: &mut Out, run: &Run, resume: Resume) {
        let Some(state) = self.present(run) else { return };
        if state.phase == RunPhase::Ending {
            return out.executor(run, ExecutorEvent::Shutdown);
        }
        state.phase = RunPhase::Subscribed;
        self.set_deadline(&run.key(), None);
        out.executor(run, ExecutorEvent::Subscribed);
        for update in resume.updates {
            self.executor_update(out, run, update);
        }
        self.drop_lost_launches(out, run, &resume.tasks);
        if !self.end_if_unused(out, Some(run.clone())) {
            self.catch_up(out, run);
        }
    }

    /// A LAUNCH that was sent but never reached the executor is not sent again: an executor that does not list what
    /// it got must not run a task twice.
    fn drop_lost_launches(&mut self, out: &mut Out, run: &Run, listed: &[mesarch_types::TaskId]) {
        let lost = |(key, task): &(&TaskKey, &crate::TaskFacts)| {
            let sent = self.deliveries.get(*key).is_some_and(|delivery| delivery.stage == Stage::Sent);
            sent && task.state == TaskState::Staging && !listed.contains(&key.task)
        };
        let lost: Vec<TaskKey> =
            self.durable.tasks_of(run).filter(lost).map(|(key, _)| key.clone()).collect();
        for key in lost {
            let state = self.told(&key.framework, TaskState::Dropped);
            let message = "The launch was lost between the agent and the executor";
            self.report(out, &key, state, Some(Reason::AgentRestarted), message);
        }
    }

    /// Delivers what waited for the stream: queued tasks, and kills that may have been lost.
    fn catch_up(&mut self, out: &mut Out, run: &Run) {
        let open = |(_, task): &(&TaskKey, &crate::TaskFacts)| !task.state.is_terminal();
        let keys: Vec<TaskKey> =
            self.durable.tasks_of(run).filter(open).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(delivery) = self.deliveries.get(&key) else {
                continue;
            };
            match (delivery.stage, &delivery.kill) {
                (Stage::Queued, _) => self.deliver_if_subscribed(out, run, &key),
                (Stage::Sent, Some(policy)) => {
                    out.executor(run, ExecutorEvent::Kill(key.task.clone(), policy.clone()));
                }
                _ => {}
            }
        }
    }

    pub(crate) fn stream_closed(&mut self, run: &Run) {
        if let Some(state) = self.present(run)
            && state.phase == RunPhase::Subscribed
        {
            state.phase = RunPhase::Disconnected;
        }
    }

    /// Ends a run that has no task and never had one (its only tasks were killed while it started), or the command
    /// executor once its only task is over.
    pub(crate) fn end_if_unused(&mut self, out: &mut Out, run: Option<Run>) -> bool {
        let Some(run) = run else { return false };
        let idle = self.durable.tasks_of(&run).all(|(_, task)| task.state.is_terminal());
        let command = self.durable.runs.get(&run.key()).is_some_and(|facts| facts.spec.command);
        let unused = self.present(&run).is_some_and(|state| !state.used || command);
        if idle && unused {
            self.end_run(out, &run);
        }
        idle && unused
    }

    /// Ends the present run of an executor if all its tasks are over: another one waits for its place.
    pub(crate) fn end_if_idle(&mut self, out: &mut Out, executor: &ExecutorKey) {
        let Some(state) = self.runs.get(executor) else {
            return;
        };
        let run = executor.run(&state.container);
        let idle = self.durable.tasks_of(&run).all(|(_, task)| task.state.is_terminal());
        if idle {
            self.end_run(out, &run);
        }
    }

    pub(crate) fn shutdown_executor(&mut self, out: &mut Out, executor: &ExecutorKey) {
        match self.runs.get(executor) {
            Some(state) => {
                let run = executor.run(&state.container);
                self.end_run(out, &run);
            }
            None => self.tell_exit(out, executor.clone(), UNKNOWN_STATUS),
        }
    }

    /// SHUTDOWN and a grace period, or SIGKILL at once if nobody listens.
    pub(crate) fn end_run(&mut self, out: &mut Out, run: &Run) {
        let key = run.key();
        let grace = self.durable.runs.get(&key).map_or(Millis::ZERO, |facts| facts.spec.shutdown_grace);
        let Some(state) = self.present(run) else { return };
        if state.phase == RunPhase::Ending {
            return;
        }
        let listens = state.phase == RunPhase::Subscribed;
        state.phase = RunPhase::Ending;
        if listens {
            out.executor(run, ExecutorEvent::Shutdown);
            self.set_deadline(&key, Some(out.now.mono.saturating_add(grace)));
        } else {
            self.set_deadline(&key, None);
            out.outputs.push(Output::KillExecutor(run.clone()));
        }
    }

    pub(crate) fn run_due(&mut self, out: &mut Out, key: &ExecutorKey, at: Millis) {
        let Some(state) = self.runs.get_mut(key) else {
            return;
        };
        if state.deadline != Some(at) {
            return;
        }
        state.deadline = None;
        match state.phase {
            RunPhase::Starting => state.why = Some(NOT_REGISTERED),
            RunPhase::Recovering => state.why = Some(NOT_BACK),
            RunPhase::Subscribed | RunPhase::Disconnected | RunPhase::Ending => {}
        }
        state.phase = RunPhase::Ending;
        out.outputs.push(Output::KillExecutor(key.run(&state.container)));
    }

    /// The command executor has told the end of its only task: it may linger for a while, not for ever.
    pub(crate) fn limit_linger(&mut self, out: &Out, run: &Run) {
        let key = run.key();
        let command = self.durable.runs.get(&key).is_some_and(|facts| facts.spec.command);
        let lingers = self.present(run).is_some_and(|state| state.phase != RunPhase::Ending);
        if command && lingers {
            self.set_deadline(&key, Some(out.now.mono.saturating_add(self.config.linger_max)));
        }
    }

    pub(crate) fn launch_failed(&mut self, out: &mut Out, run: &Run, message: &str) {
        self.run_over(out, run, UNKNOWN_STATUS, (Reason::ContainerLaunchFailed, message));
    }

    pub(crate) fn executor_exited(&mut self, out: &mut Out, run: &Run, status: i32) {
        let Some(why) = self.present(run).map(|state| state.why) else {
            return;
        };
        match why {
            Some(why) => self.run_over(out, run, status, why),
            None => {
                let message = describe(status);
                self.run_over(out, run, status, (TERMINATED.0, &message));
            }
        }
    }

    fn run_over(&mut self, out: &mut Out, run: &Run, status: i32, (reason, message): (Reason, &str)) {
        if self.present(run).is_none() {
            return;
        }
        let key = run.key();
        self.set_deadline(&key, None);
        self.runs.remove(&key);
        if !self.ending(&run.framework) {
            self.end_tasks_of(out, run, reason, message);
        }
        let command = self.durable.runs.get(&key).is_some_and(|facts| facts.spec.command);
        self.commit(out, Record::ExecutorEnded(run.clone()));
        if self.ending(&run.framework) {
            return self.end_framework_if_empty(out, &run.framework);
        }
        self.start_waiting(out, &key);
        if !command {
            self.tell_exit_unless_run(out, key, status);
        }
    }

    /// The masters count on the executor as long as a run of it is there; tasks that wait for one wait for the end of
    /// the present one.
    pub(crate) fn tell_exit_unless_run(&mut self, out: &mut Out, executor: ExecutorKey, status: i32) {
        let own = |facts: &crate::RunFacts| !facts.spec.command;
        if !self.durable.runs.get(&executor).is_some_and(own) {
            self.tell_exit(out, executor, status);
        }
    }

    fn end_tasks_of(&mut self, out: &mut Out, run: &Run, reason: Reason, message: &str) {
        let open = |(_, task): &(&TaskKey, &crate::TaskFacts)| !task.state.is_terminal();
        let keys: Vec<TaskKey> =
            self.durable.tasks_of(run).filter(open).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let killed = self.deliveries.get(&key).is_some_and(|delivery| delivery.kill.is_some());
            let state = match reason {
                Reason::ExecutorReregistrationTimeout | Reason::AgentRestarted => {
                    self.told(&key.framework, TaskState::Gone)
                }
                _ if killed => TaskState::Killed,
                _ => TaskState::Failed,
            };
            self.report(out, &key, state, Some(reason), message);
        }
    }

    /// Starts the next run for tasks that waited for the end of the last one.
    pub(crate) fn start_waiting(&mut self, out: &mut Out, executor: &ExecutorKey) {
        if self.ending(&executor.framework) {
            return;
        }
        let waits = |(key, task): &(&TaskKey, &crate::TaskFacts)| {
            let waiting = self.deliveries.get(*key).is_some_and(|delivery| delivery.stage == Stage::Waiting);
            waiting && task.executor.id == executor.executor && !task.state.is_terminal()
        };
        let tasks = self.durable.tasks_of_framework(&executor.framework).filter(waits);
        let mut waiting: Vec<(TaskKey, ExecutorSpec)> =
            tasks.map(|(key, task)| (key.clone(), task.executor.clone())).collect();
        waiting.sort_by_key(|(key, _)| key.launch);
        let Some((first, spec)) = waiting.first().cloned() else {
            return;
        };
        let container = crate::derive::container(executor, first.launch);
        let joins =
            |(key, other): &(TaskKey, ExecutorSpec)| *key == first || (!spec.command && *other == spec);
        for (key, _) in waiting.into_iter().filter(joins) {
            self.commit(out, Record::Bound(key.clone(), container.clone()));
            if let Some(delivery) = self.deliveries.get_mut(&key) {
                delivery.stage = Stage::Queued;
            }
        }
        self.start_run(out, executor.run(&container), spec);
    }

    pub(crate) fn message_to_executor(&mut self, out: &mut Out, executor: &ExecutorKey, data: Bytes) {
        if let Some(state) = self.runs.get(executor)
            && state.phase == RunPhase::Subscribed
        {
            out.executor(&executor.run(&state.container), ExecutorEvent::Message(data));
        }
    }

    pub(crate) fn message_to_scheduler(&mut self, out: &mut Out, executor: ExecutorKey, data: Bytes) {
        if self.attached() {
            out.master(ToMaster::Message { executor, data });
        }
    }
}

/// A raw wait status in words.
fn describe(status: i32) -> String {
    let signal = status & 0x7f;
    match (status, signal) {
        (..0, _) => TERMINATED.1.to_owned(),
        (_, 0) => format!("{} (exited with status {})", TERMINATED.1, (status >> 8) & 0xff),
        _ => format!("{} (ended by signal {signal})", TERMINATED.1),
    }
}
