//! Launching and killing tasks.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_faults::{Fault, on};
use mesarch_types::{ContainerId, FrameworkId, LaunchId, Reason, TaskState, UpdateUuid};

use crate::{
    Agent, ExecutorEvent, ExecutorKey, ExecutorSpec, Record, Run, RunPhase, RunTask, TaskKey, TaskRecord,
    ToMaster,
    agent::{Delivery, Out, Stage},
    executor::UNKNOWN_STATUS,
};

/// What the agent knows of a launch before it looks at the message.
pub(crate) enum Standing {
    /// Never heard of.
    New,
    /// In the table already.
    Known,
    /// A newer life of the task is in the table.
    Outlived,
    /// It is over, and this was its last acknowledged update.
    Finished(UpdateUuid),
    /// So old that it is over, or was never sent while it could be run.
    TooOld,
}

/// Why a launch is taken only to be reported as over.
pub(crate) struct Objection {
    pub(crate) state: TaskState,
    pub(crate) reason: Reason,
    pub(crate) message: Arc<str>,
}

impl Objection {
    pub(crate) fn new(state: TaskState, reason: Reason, message: &str) -> Self {
        Self { state, reason, message: message.into() }
    }
}

impl Agent {
    pub(crate) fn run_task(&mut self, out: &mut Out, launch: RunTask) {
        // An agent without an id was sent nothing that it could run.
        if self.durable.agent.is_none() || self.ending(&launch.key.framework) {
            return;
        }
        match self.standing(&launch.key) {
            // Broken: one launch id is started at most once.
            Standing::Known if on(Fault::DuplicateLaunch) => self.admit(out, vec![launch], None),
            Standing::New => match self.objection(out, std::slice::from_ref(&launch)) {
                Some(objection) => self.object(out, launch, &objection),
                None => self.admit(out, vec![launch], None),
            },
            known => self.heard_before(out, launch, &known),
        }
    }

    /// A launch that is not to be started.
    pub(crate) fn heard_before(&mut self, out: &mut Out, launch: RunTask, standing: &Standing) {
        match standing {
            Standing::New | Standing::Known | Standing::Outlived => {}
            Standing::Finished(uuid) => self.forgot(out, &launch.key, *uuid),
            Standing::TooOld => self.object(
                out,
                launch,
                &Objection::new(
                    TaskState::Dropped,
                    Reason::Reconciliation,
                    "The launch is older than finished ones",
                ),
            ),
        }
    }

    pub(crate) fn standing(&self, key: &TaskKey) -> Standing {
        if self.durable.tasks.contains_key(key) {
            return Standing::Known;
        }
        if let Some((framework, task, uuid)) = self.durable.finished.get(&key.launch)
            && (framework, task) == (&key.framework, &key.task)
        {
            return Standing::Finished(*uuid);
        }
        let newest = self.durable.newest_life(&key.framework, &key.task);
        if newest.is_some_and(|newest| newest.launch > key.launch) {
            return Standing::Outlived;
        }
        if key.launch <= self.durable.watermark { Standing::TooOld } else { Standing::New }
    }

    /// Why new launches for one executor cannot be started, if so: what is wrong with one is wrong with all.
    pub(crate) fn objection(&mut self, out: &mut Out, launches: &[RunTask]) -> Option<Objection> {
        if let Some(message) = launches.iter().find_map(|launch| launch.refused.clone()) {
            let (state, reason) = (TaskState::Failed, Reason::ContainerLaunchFailed);
            return Some(Objection { state, reason, message });
        }
        if !launches.iter().all(|launch| self.has_converted(&launch.converted)) {
            let message = "The task uses reserved resources or volumes that the agent does not have";
            return Some(Objection::new(TaskState::Dropped, Reason::ResourcesUnknown, message));
        }
        let older: Vec<TaskKey> = launches.iter().filter_map(|launch| self.live_life(&launch.key)).collect();
        if !older.is_empty() {
            older.iter().for_each(|older| self.kill_task(out, older, Bytes::new()));
            let message = "An earlier task with this id still runs on the agent; it is being killed";
            return Some(Objection::new(TaskState::Dropped, Reason::TaskInvalid, message));
        }
        let clashes = |launch: &RunTask| {
            let executor = ExecutorKey::new(&launch.key.framework, &launch.executor.id);
            self.clashes(&executor, &launch.executor)
        };
        let message = "Another executor with this id runs on the agent";
        let clash = Objection::new(TaskState::Error, Reason::TaskInvalid, message);
        launches.iter().any(clashes).then_some(clash)
    }

    /// An earlier life that is not over for its executor.
    fn live_life(&self, key: &TaskKey) -> Option<TaskKey> {
        let mut lives = self.durable.lives(&key.framework, &key.task);
        lives.find(|(_, task)| !task.state.is_terminal()).map(|(older, _)| older.clone())
    }

    /// Whether another executor runs under the same id (two command executors follow one another instead).
    fn clashes(&self, executor: &ExecutorKey, wanted: &ExecutorSpec) -> bool {
        let differs = |present: &ExecutorSpec| present != wanted && !(present.command && wanted.command);
        self.usable(executor) && self.durable.runs.get(executor).is_some_and(|run| differs(&run.spec))
    }

    /// Whether the present run of an executor takes tasks.
    fn usable(&self, executor: &ExecutorKey) -> bool {
        self.runs.get(executor).is_some_and(|run| run.phase != RunPhase::Ending)
    }

    /// Takes one task, or the tasks of a group, into the table and brings them as far as they get now.
    pub(crate) fn admit(&mut self, out: &mut Out, launches: Vec<RunTask>, group: Option<LaunchId>) {
        let Some(first) = launches.first() else { return };
        self.learn_framework(out, first);
        let (key, spec) = (first.key.clone(), first.executor.clone());
        let executor = ExecutorKey::new(&key.framework, &spec.id);
        let present = self.runs.get(&executor).map(|run| run.container.clone());
        let joins = present.clone().filter(|_| !spec.command && self.usable(&executor));
        let starts = present.is_none();
        let container = if starts { Some(crate::derive::container(&executor, key.launch)) } else { joins };
        let stage = if container.is_some() { Stage::Queued } else { Stage::Waiting };
        for launch in launches {
            self.deliveries.insert(launch.key.clone(), Delivery { stage, kill: None, repeat: None });
            self.put_task(out, &launch.key, launch.info, launch.executor, (container.clone(), group));
        }
        match container {
            Some(container) if starts => self.start_run(out, executor.run(&container), spec),
            Some(container) => self.deliver_if_subscribed(out, &executor.run(&container), &key),
            None => self.end_if_idle(out, &executor),
        }
    }

    fn learn_framework(&mut self, out: &mut Out, launch: &RunTask) {
        let known = self.durable.frameworks.get(&launch.framework.id);
        if known.is_none_or(|known| known.spec != launch.framework) {
            self.commit(out, Record::Framework(launch.framework.clone()));
        }
    }

    fn put_task(
        &mut self,
        out: &mut Out,
        key: &TaskKey,
        info: Bytes,
        executor: ExecutorSpec,
        (container, group): (Option<ContainerId>, Option<LaunchId>),
    ) {
        let record = TaskRecord {
            key: key.clone(),
            info,
            executor,
            container,
            state: TaskState::Staging,
            acknowledged: None,
            recent: Vec::new(),
            group,
        };
        self.commit(out, Record::Task(record));
    }

    /// Takes the launch only to report that it will never run, nor its executor if nothing else keeps that.
    pub(crate) fn object(&mut self, out: &mut Out, launch: RunTask, objection: &Objection) {
        self.learn_framework(out, &launch);
        let state = self.told(&launch.key.framework, objection.state);
        let executor = ExecutorKey::new(&launch.key.framework, &launch.executor.id);
        let command = launch.executor.command;
        self.put_task(out, &launch.key, launch.info, launch.executor, (None, None));
        self.deliveries
            .insert(launch.key.clone(), Delivery { stage: Stage::Waiting, kill: None, repeat: None });
        self.report(out, &launch.key, state, Some(objection.reason), &objection.message);
        if !command {
            self.tell_exit_unless_run(out, executor, UNKNOWN_STATUS);
        }
    }

    pub(crate) fn deliver_if_subscribed(&mut self, out: &mut Out, run: &Run, key: &TaskKey) {
        let Some(state) = self.runs.get_mut(&run.key()) else {
            return;
        };
        if state.phase != RunPhase::Subscribed {
            return;
        }
        state.used = true;
        let Some(task) = self.durable.tasks.get(key) else {
            return;
        };
        let (first, grouped, keys) = (task.info.clone(), task.group.is_some(), self.durable.together(key));
        for key in &keys {
            if let Some(delivery) = self.deliveries.get_mut(key) {
                delivery.stage = Stage::Sent;
            }
        }
        let infos = keys.iter().filter_map(|key| Some(self.durable.tasks.get(key)?.info.clone()));
        out.executor(
            run,
            match grouped {
                true => ExecutorEvent::LaunchGroup(infos.collect()),
                false => ExecutorEvent::Launch(first),
            },
        );
    }

    pub(crate) fn kill_task(&mut self, out: &mut Out, key: &TaskKey, policy: Bytes) {
        let Some(task) = self.durable.tasks.get(key) else {
            return self.kill_unknown(out, key);
        };
        if task.state.is_terminal() {
            return;
        }
        let run = task
            .container
            .as_ref()
            .map(|container| ExecutorKey::new(&key.framework, &task.executor.id).run(container));
        let Some(delivery) = self.deliveries.get_mut(key) else {
            return;
        };
        if delivery.stage != Stage::Sent {
            // What was to run together does not run at all.
            let reason = Some(Reason::TaskKilledDuringLaunch);
            let mut together = self.durable.together(key);
            together.retain(|key| self.durable.tasks.get(key).is_some_and(|task| !task.state.is_terminal()));
            for key in together {
                self.report(out, &key, TaskState::Killed, reason, "Killed before delivery to the executor");
            }
            self.end_if_unused(out, run);
            return;
        }
        delivery.kill = Some(policy.clone());
        if let Some(run) = run.filter(|run| self.has_stream(run)) {
            out.executor(&run, ExecutorEvent::Kill(key.task.clone(), policy));
        }
    }

    pub(crate) fn has_stream(&self, run: &Run) -> bool {
        self.runs.get(&run.key()).is_some_and(|state| state.phase == RunPhase::Subscribed)
    }

    /// The launch has not come, or came to an agent that lost it: remember it as killed, so that it never runs.
    fn kill_unknown(&mut self, out: &mut Out, key: &TaskKey) {
        if self.ending(&key.framework) {
            return;
        }
        match self.standing(key) {
            Standing::New | Standing::TooOld => {}
            Standing::Finished(uuid) => return self.forgot(out, key, uuid),
            Standing::Known | Standing::Outlived => return,
        }
        self.put_task(out, key, Bytes::new(), ExecutorSpec::none(&key.task), (None, None));
        self.deliveries.insert(key.clone(), Delivery { stage: Stage::Waiting, kill: None, repeat: None });
        let reason = Some(Reason::TaskKilledDuringLaunch);
        self.report(out, key, TaskState::Killed, reason, "Killed before it reached the agent");
    }

    pub(crate) fn forgot(&mut self, out: &mut Out, key: &TaskKey, uuid: UpdateUuid) {
        if uuid != UpdateUuid([0; 16]) {
            out.master(ToMaster::Forgot { key: key.clone(), uuid });
        }
    }

    pub(crate) fn shutdown_framework(&mut self, out: &mut Out, framework: &FrameworkId) {
        if !self.durable.frameworks.contains_key(framework) && self.nothing_of(framework) {
            return out.master(ToMaster::ForgotFramework(framework.clone()));
        }
        if !self.ending(framework) {
            self.commit(out, Record::FrameworkEnding(framework.clone()));
        }
        let runs: Vec<Run> = self.durable.runs_of_framework(framework).collect();
        for run in &runs {
            self.end_run(out, run);
        }
        self.end_framework_if_empty(out, framework);
    }

    fn nothing_of(&self, framework: &FrameworkId) -> bool {
        self.durable.tasks_of_framework(framework).next().is_none()
    }

    pub(crate) fn end_framework_if_empty(&mut self, out: &mut Out, framework: &FrameworkId) {
        let ending = self.ending(framework) || !self.durable.frameworks.contains_key(framework);
        if !ending || self.durable.runs_of_framework(framework).next().is_some() {
            return;
        }
        self.commit(out, Record::FrameworkEnded(framework.clone()));
        self.deliveries.retain(|key, _| key.framework != *framework);
        out.master(ToMaster::ForgotFramework(framework.clone()));
    }
}

impl ExecutorSpec {
    /// In place of an executor for a task that never gets one.
    fn none(task: &mesarch_types::TaskId) -> Self {
        Self {
            id: mesarch_types::ExecutorId::from(task.as_str()),
            info: Bytes::new(),
            command: true,
            shutdown_grace: mesarch_types::Millis::ZERO,
        }
    }
}
