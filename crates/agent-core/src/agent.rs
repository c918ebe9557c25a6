//! The machine: what it remembers, and which file answers which input.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use mesarch_types::{
    AgentId, ContainerId, ExecutorId, Fence, FrameworkId, LaunchId, Millis, Reason, TaskState,
};

use crate::{
    Durable, ExecutorEvent, ExecutorKey, Input, LinkRefusal, MasterMessage, Now, Output, Record, Run,
    TaskKey, ToMaster, ToProvider,
    timers::{Timer, Timers},
};

/// Periods, all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// From the start of an executor to its first SUBSCRIBE.
    pub registration_timeout: Millis,
    /// From the agent's restart to an executor's next SUBSCRIBE.
    pub reregistration_timeout: Millis,
    /// First interval after which an update is repeated; it doubles.
    pub repeat_first: Millis,
    /// Longest interval after which an update is repeated.
    pub repeat_max: Millis,
    /// How long the command executor may live on after its task has ended.
    pub linger_max: Millis,
    /// What was told to a leader so shortly before its link broke may be lost, and is told again.
    pub in_flight_window: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            registration_timeout: Millis::from_secs(60),
            reregistration_timeout: Millis::from_secs(2),
            repeat_first: Millis::from_secs(10),
            repeat_max: Millis::from_secs(600),
            linger_max: Millis::from_secs(60),
            in_flight_window: Millis::from_secs(2),
        }
    }
}

/// One agent.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) durable: Durable,
    pub(crate) link: Option<LinkState>,
    pub(crate) deliveries: BTreeMap<TaskKey, Delivery>,
    pub(crate) runs: BTreeMap<ExecutorKey, RunState>,
    pub(crate) timers: Timers,
    /// Forgotten lately: the masters may not know it yet. Oldest first.
    pub(crate) forgotten: VecDeque<(Millis, TaskKey, mesarch_types::UpdateUuid)>,
    /// Executors that ended, until the masters have noted it; at most [`EXITS_MAX`](crate::attach::EXITS_MAX).
    pub(crate) exited: BTreeMap<ExecutorKey, Exit>,
    /// Not attached since the start, or more ends than are kept: the masters may have missed an executor's end.
    pub(crate) owes_inventory: bool,
    /// Why the masters told it to end, if they did.
    pub(crate) ended: Option<Arc<str>>,
}

/// The end of an executor of which no run is there or awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// The newest launch taken by then.
    pub(crate) newest: LaunchId,
    /// Raw wait status; −1 if unknown.
    pub(crate) status: i32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkState {
    pub(crate) number: u64,
    pub(crate) attached: bool,
}

/// How far a task and its head update have come; lost at a restart.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) stage: Stage,
    /// A kill was asked for, with this policy; told again to an executor that subscribes again.
    pub(crate) kill: Option<Bytes>,
    /// When the head update is repeated, and the interval that led there.
    pub(crate) repeat: Option<(Millis, Millis)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its executor's earlier run must end first.
    Waiting,
    /// Its run has not subscribed yet.
    Queued,
    /// LAUNCH was sent, or may have been before a restart.
    Sent,
}

/// Where a run is; lost at a restart.
#[derive(Clone, Debug)]
pub(crate) struct RunState {
    pub(crate) container: ContainerId,
    pub(crate) phase: RunPhase,
    /// End of the present phase, when it is killed.
    pub(crate) deadline: Option<Millis>,
    /// Why it was killed, for the tasks that die with it.
    pub(crate) why: Option<(Reason, &'static str)>,
    /// Whether it was ever given a task.
    pub(crate) used: bool,
}

/// Where a run of an executor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunPhase {
    /// Being started; never subscribed.
    Starting,
    /// From before the agent's restart; not subscribed again yet.
    Recovering,
    /// Has an event stream.
    Subscribed,
    /// Lost its event stream; the process may live.
    Disconnected,
    /// Told to end, or being killed.
    Ending,
}

/// What the executor API needs to know of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// The run.
    pub run: Run,
    /// Where it is.
    pub phase: RunPhase,
}

/// The outputs of one step, in order.
pub(crate) struct Out {
    pub(crate) now: Now,
    pub(crate) outputs: Vec<Output>,
}

impl Out {
    pub(crate) fn master(&mut self, message: ToMaster) {
        self.outputs.push(Output::ToMaster(message));
    }

    pub(crate) fn executor(&mut self, run: &Run, event: ExecutorEvent) {
        self.outputs.push(Output::ToExecutor(run.clone(), event));
    }
}

impl Agent {
    /// An agent with nothing: the first start in an empty work directory.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            durable: Durable::default(),
            link: None,
            deliveries: BTreeMap::new(),
            runs: BTreeMap::new(),
            timers: Timers::default(),
            forgotten: VecDeque::new(),
            exited: BTreeMap::new(),
            owes_inventory: false,
            ended: None,
        }
    }

    /// Takes one input; the outputs are to be performed in order (see the crate's contract).
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut out = Out { now, outputs: Vec::new() };
        match input {
            Input::LinkOpened { link } => self.link_opened(&mut out, link),
            Input::LinkClosed { link } => self.link_closed(&mut out, link),
            Input::Master { link, fence, message } => self.master(&mut out, link, fence, message),
            Input::LaunchFailed { run, message } => self.launch_failed(&mut out, &run, &message),
            Input::ExecutorSubscribed { run, resume } => self.subscribed(&mut out, &run, resume),
            Input::ExecutorStreamClosed { run } => self.stream_closed(&run),
            Input::ExecutorUpdate { run, update } => self.executor_update(&mut out, &run, update),
            Input::ExecutorMessage { executor, data } => self.message_to_scheduler(&mut out, executor, data),
            Input::ExecutorExited { run, status } => self.executor_exited(&mut out, &run, status),
            Input::ProviderAdmitted { id, info } => self.commit(&mut out, Record::Provider(id, info)),
            Input::ProviderGone(id) => self.commit(&mut out, Record::ProviderGone(id)),
            Input::Timer => self.fire(&mut out),
        }
        out.outputs
    }

    /// When [`Input::Timer`] is due next.
    pub fn next_wake(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// What survives a restart.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Records whose fold is the durable state: what a compacted checkpoint holds.
    pub fn snapshot(&self) -> Vec<Record> {
        self.durable.snapshot()
    }

    /// The id that the cluster gave to this agent.
    pub fn id(&self) -> Option<&AgentId> {
        self.durable.agent.as_ref()
    }

    /// Whether a leader listens.
    pub fn attached(&self) -> bool {
        self.link.is_some_and(|link| link.attached)
    }

    /// The present run of an executor.
    pub fn run(&self, framework: &FrameworkId, executor: &ExecutorId) -> Option<RunView> {
        let key = ExecutorKey::new(framework, executor);
        let state = self.runs.get(&key)?;
        Some(RunView { run: key.run(&state.container), phase: state.phase })
    }

    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = RunView> + '_ {
        self.runs.iter().map(|(key, state)| RunView { run: key.run(&state.container), phase: state.phase })
    }

    /// Why the masters ended this agent, once they did and nothing runs any more.
    pub fn ended(&self) -> Option<&Arc<str>> {
        self.ended.as_ref().filter(|_| self.runs.is_empty())
    }

    fn shut_down(&mut self, out: &mut Out, reason: Arc<str>) {
        self.ended = Some(reason);
        let frameworks: Vec<FrameworkId> = self.durable.frameworks.keys().cloned().collect();
        frameworks.iter().for_each(|framework| self.shutdown_framework(out, framework));
    }

    /// Changes the durable state by one record, and has it stored.
    pub(crate) fn commit(&mut self, out: &mut Out, record: Record) {
        self.durable.apply(&record);
        out.outputs.push(Output::Persist(record));
    }

    fn master(&mut self, out: &mut Out, link: u64, fence: Fence, message: MasterMessage) {
        if self.link.is_none_or(|newest| newest.number != link) {
            return;
        }
        if let Err(why) = self.obey(out, fence) {
            out.outputs.push(Output::CloseLink { link, why });
            return;
        }
        match message {
            MasterMessage::Attached(agent) => self.attach(out, agent),
            MasterMessage::InventoryRequest => out.master(ToMaster::Inventory(self.inventory())),
            MasterMessage::Resources(facts) => self.store_resources(out, facts),
            MasterMessage::ApplyOperation(operation) => {
                out.outputs.push(Output::ToProvider(ToProvider::Apply(operation)));
            }
            MasterMessage::OperationAcknowledged { provider, operation, status } => {
                let told = ToProvider::Acknowledged { provider, operation, status };
                out.outputs.push(Output::ToProvider(told));
            }
            MasterMessage::RunTask(launch) => self.run_task(out, *launch),
            MasterMessage::KillTask { key, policy } => self.kill_task(out, &key, policy),
            MasterMessage::Acknowledged { key, uuid } => self.acknowledged(out, &key, uuid),
            MasterMessage::ShutdownExecutor(executor) => self.shutdown_executor(out, &executor),
            MasterMessage::ShutdownFramework(framework) => self.shutdown_framework(out, &framework),
            MasterMessage::Shutdown(reason) => self.shut_down(out, reason),
            MasterMessage::Message { executor, data } => self.message_to_executor(out, &executor, data),
            MasterMessage::ExecutorExitNoted { executor, newest } => self.exit_noted(&executor, newest),
        }
    }

    /// Stores a higher fence, refuses a lower or foreign one.
    fn obey(&mut self, out: &mut Out, fence: Fence) -> Result<(), LinkRefusal> {
        match &self.durable.fence {
            Some(highest) if highest.cluster != fence.cluster => return Err(LinkRefusal::OtherCluster),
            Some(highest) if !fence.admits_after(highest) => return Err(LinkRefusal::StaleLeader),
            Some(highest) if *highest == fence => return Ok(()),
            _ => {}
        }
        self.commit(out, Record::Fence(fence));
        Ok(())
    }

    fn fire(&mut self, out: &mut Out) {
        while let Some((at, timer)) = self.timers.pop_due(out.now.mono) {
            match timer {
                Timer::Repeat(key) => self.repeat_due(out, &key, at),
                Timer::Run(key) => self.run_due(out, &key, at),
            }
        }
    }

    /// The state that says `state` to a framework which may not know the newer words.
    pub(crate) fn told(&self, framework: &FrameworkId, state: TaskState) -> TaskState {
        let aware = self.durable.frameworks.get(framework).is_some_and(|facts| facts.spec.partition_aware);
        if aware { state } else { state.for_partition_unaware() }
    }

    pub(crate) fn ending(&self, framework: &FrameworkId) -> bool {
        self.durable.frameworks.get(framework).is_some_and(|facts| facts.ending)
    }
}
