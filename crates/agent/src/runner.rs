//! The one place that performs what the core decides, in its order.
//!
//! Requests are taken in batches: the core takes a step for each, the records of all of them are written and synced as
//! one batch, and only then are the effects performed, in order. While the disk works the next batch gathers, so the
//! number of syncs grows with the disk's speed and not with the load.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use mesarch_agent_core::{
    self as core, ExecutorEvent, Input, Now, Output, Record, Resume, Run, RunPhase, ToMaster,
};
use mesarch_mesos_v1::ContentType;
use mesarch_proto::{
    link::{FromAgent, from_agent},
    mesos::v1::{
        AgentId, ContainerId, ExecutorInfo, FrameworkId, FrameworkInfo, KillPolicy, TaskGroupInfo, TaskId,
        TaskInfo,
        executor::{Call, Event, call, event},
        executor_info,
    },
};
use mesarch_types::{Millis, ProviderId, ResourceVersion, Resources, WallMillis};
use prost::Message;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use crate::{
    calls::Calls,
    checkpoint::{Checkpoint, CheckpointError},
    containerizer::posix::Posix,
    default_executor,
    history::History,
    http::state::Look,
    metrics,
    providers::{Providers, Publishing},
    requests::{CallRefusal, EventStream, GoneRefusal, Request},
    sandbox::Places,
    streams::Streams,
    tasks::Tasks,
    volumes::{self, VolumeError},
    wire::{self, Speaker},
};

/// Most requests whose records share one sync.
const BATCH_MAX: usize = 256;

/// What the runner is made of.
pub(crate) struct Runner {
    pub(crate) core: core::Agent,
    /// Away only while it is being written.
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) clock: Clock,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) streams: Streams,
    pub(crate) posix: Posix,
    pub(crate) speaker: Speaker,
    pub(crate) history: History,
    pub(crate) calls: Calls,
    pub(crate) facts: Arc<Facts>,
    pub(crate) link: Option<OpenLink>,
    pub(crate) providers: Providers,
    pub(crate) publishing: Publishing,
    /// Given up, and to be told so once that is stored.
    pub(crate) gone: Vec<(ProviderId, oneshot::Sender<Result<(), GoneRefusal>>)>,
    /// The cluster's incarnation when the providers last said what they have.
    pub(crate) incarnation: Option<u64>,
    /// For what comes later.
    pub(crate) requests_again: mpsc::Sender<Request>,
    pub(crate) tasks: Tasks,
    /// Decided and not yet performed.
    pub(crate) decided: Vec<Decided>,
    /// Since when no leader has listened.
    pub(crate) detached: Option<Instant>,
}

/// What the core decided, and for which link or event stream if it is a message: it goes out on no later one.
///
/// A new stream or link begins with what the core says first on it. A message that was decided before and not yet sent
/// belongs to the one that is gone; the core counts it as lost there, and has settled already how to go on.
#[derive(Debug)]
pub(crate) struct Decided {
    output: Output,
    /// The number of the link or stream.
    on: Option<u64>,
}

impl Decided {
    /// Before there is anybody to tell it.
    pub(crate) fn early(output: Output) -> Self {
        Self { output, on: None }
    }
}

/// What is told of the agent as it was started.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) work_dir: PathBuf,
    pub(crate) flags: Map<String, Value>,
    pub(crate) started: WallMillis,
    pub(crate) since: Instant,
    /// Of the agent, from when it has one.
    id: Mutex<Option<mesarch_types::AgentId>>,
}

impl Facts {
    pub(crate) fn new(work_dir: PathBuf, flags: Map<String, Value>, started: WallMillis) -> Self {
        Self { work_dir, flags, started, since: Instant::now(), id: Mutex::default() }
    }

    /// The agent's id, if the cluster has given it one.
    pub(crate) fn id(&self) -> Option<mesarch_types::AgentId> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_id(&self, id: Option<mesarch_types::AgentId>) {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }
}

/// The newest link.
pub(crate) struct OpenLink {
    number: u64,
    /// Who leads, host:port.
    master: Arc<str>,
    sender: mpsc::Sender<FromAgent>,
    _open: oneshot::Sender<()>,
}

/// Milliseconds since the start, and wall time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: Millis(millis(self.0.elapsed())), wall: wall_now() }
    }

    fn at(&self, mono: Millis) -> tokio::time::Instant {
        (self.0 + std::time::Duration::from_millis(mono.0)).into()
    }
}

/// Wall time, for display.
pub(crate) fn wall_now() -> WallMillis {
    WallMillis(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Why the runner ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunnerEnd {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the masters ended this agent: {0}")]
    ShutDown(Arc<str>),
    #[error(transparent)]
    Volumes(#[from] VolumeError),
    #[error("a part of the agent ended unexpectedly")]
    Broken,
}

impl Runner {
    /// Serves requests until something ends it. Cancelling it between two of them loses nothing that was promised.
    pub(crate) async fn run(mut self) -> Result<std::convert::Infallible, RunnerEnd> {
        self.adopt();
        self.facts.set_id(self.core.id().cloned());
        self.flush().await?;
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let wake = self.core.next_wake().map(|wake| self.clock.at(wake));
            let timer = async {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                taken = self.requests.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 {
                        return Err(RunnerEnd::Broken);
                    }
                }
                () = timer => self.step(Input::Timer),
            }
            batch.drain(..).for_each(|request| self.take(request));
            self.flush().await?;
            if let Some(reason) = self.core.ended() {
                return Err(RunnerEnd::ShutDown(reason.clone()));
            }
        }
    }

    /// Finds the runs of an earlier agent again, or finds out that they ended.
    fn adopt(&self) {
        let earlier = self.core.runs().filter(|view| view.phase != RunPhase::Starting);
        earlier.for_each(|view| self.posix.adopt(view.run));
    }

    pub(crate) fn step(&mut self, input: Input) {
        for output in self.core.step(self.clock.now(), input) {
            let on = match &output {
                Output::ToMaster(_) => self.link_number(),
                Output::ToExecutor(run, _) => self.streams.number(run),
                _ => None,
            };
            self.decided.push(Decided { output, on });
        }
    }

    fn link_number(&self) -> Option<u64> {
        self.link.as_ref().map(|link| link.number)
    }

    fn take(&mut self, request: Request) {
        // Whoever asked and is gone before the answer does not need it.
        match request {
            Request::Input(input) => self.step(input),
            Request::LinkOpened { link, master, sender, open } => {
                self.link = Some(OpenLink { number: link, master, sender, _open: open });
                self.step(Input::LinkOpened { link });
            }
            Request::Subscribe { call, content_type, reply } => {
                let _ = reply.send(self.subscribe(*call, content_type));
            }
            Request::Call { call, reply } => {
                let is_message = call.message.is_some();
                let taken = self.call(*call);
                self.calls.count(is_message, taken.is_ok());
                let _ = reply.send(taken);
            }
            Request::Drained { key } => self.history.drained(&key),
            Request::ProviderSubscribe { call, content_type, reply } => {
                let _ = reply.send(self.subscribe_provider(*call, content_type));
            }
            Request::ProviderCall { call, stream, reply } => {
                let _ = reply.send(self.provider_call(*call, &stream));
            }
            Request::ProviderStreamClosed { provider, stream } => self.providers.closed(&provider, stream),
            Request::MarkProviderGone { provider, reply } => self.mark_provider_gone(&provider, reply),
            Request::ProvidersTick => self.providers.tick(),
            Request::PublishDue { uuid } => {
                self.give_up(uuid, "the resource provider did not answer in time")
            }
            Request::LeaderKnowsProviders { link } => self.providers.known_on(link),
            Request::StreamClosed { run, stream } => {
                if self.streams.closed(&run, stream) {
                    self.step(Input::ExecutorStreamClosed { run });
                }
            }
            Request::Heartbeat { run, stream } => {
                if self.streams.is_present(&run, stream) {
                    self.streams.send(&run, &of(event::Type::Heartbeat));
                }
            }
            Request::State { reply } => {
                let _ = reply.send(Box::new(self.look()));
            }
        }
    }

    fn subscribe(&mut self, call: Call, content_type: ContentType) -> Result<EventStream, CallRefusal> {
        let (run, _) = self.run_of(&call)?;
        let subscribe = call.subscribe.unwrap_or_default();
        let now = self.clock.now().wall;
        let pid = self.posix.pid(&run.container);
        let complete =
            |update: call::Update| self.speaker.renderer.complete(update.status, &run, pid, now).ok();
        let resume = Resume {
            tasks: subscribe
                .unacknowledged_tasks
                .iter()
                .map(|task| task.task_id.value.as_str().into())
                .collect(),
            updates: subscribe.unacknowledged_updates.into_iter().filter_map(complete).collect(),
        };
        let stream = self.streams.open(&run, content_type);
        self.step(Input::ExecutorSubscribed { run, resume });
        Ok(stream)
    }

    fn call(&mut self, call: Call) -> Result<(), CallRefusal> {
        let (run, phase) = self.run_of(&call)?;
        if matches!(phase, RunPhase::Starting | RunPhase::Recovering) {
            return Err(CallRefusal::NotSubscribed);
        }
        if let Some(update) = call.update {
            let now = self.clock.now().wall;
            // Judged at the door already: what cannot be completed has no uuid or no known state.
            let pid = self.posix.pid(&run.container);
            if let Ok(update) = self.speaker.renderer.complete(update.status, &run, pid, now) {
                self.step(Input::ExecutorUpdate { run, update });
            }
        } else if let Some(message) = call.message {
            self.step(Input::ExecutorMessage { executor: run.key(), data: message.data });
        }
        Ok(())
    }

    fn run_of(&self, call: &Call) -> Result<(Run, RunPhase), CallRefusal> {
        let framework = mesarch_types::FrameworkId::from(call.framework_id.value.as_str());
        let executor = mesarch_types::ExecutorId::from(call.executor_id.value.as_str());
        if !self.core.durable().frameworks.contains_key(&framework) {
            return Err(CallRefusal::UnknownFramework);
        }
        let view = self.core.run(&framework, &executor).ok_or(CallRefusal::UnknownExecutor)?;
        Ok((view.run, view.phase))
    }

    /// First the disk, then the world.
    async fn flush(&mut self) -> Result<(), RunnerEnd> {
        let decided = std::mem::take(&mut self.decided);
        let stored = |decided: &Decided| match &decided.output {
            Output::Persist(record) => Some(record.clone()),
            _ => None,
        };
        let records: Vec<Record> = decided.iter().filter_map(stored).collect();
        if !records.is_empty() {
            records.iter().for_each(|record| self.history.apply(record));
            self.store(records).await?;
        }
        self.renew_providers();
        self.perform(decided)?;
        self.serve_providers();
        self.tell_of_providers();
        self.measure();
        Ok(())
    }

    /// In a cluster that was restored it is not known what its providers have done since.
    fn renew_providers(&mut self) {
        let now = self.core.durable().fence.map(|fence| fence.incarnation);
        if now != self.incarnation && self.incarnation.is_some() {
            self.providers.renew();
        }
        self.incarnation = now;
    }

    /// A link is not told of providers before it is attached: what is said before that counts for nothing.
    fn tell_of_providers(&mut self) {
        let link = self.link_number().filter(|_| self.core.attached());
        let messages = self.providers.take_for_master(link);
        self.send(messages);
    }

    async fn store(&mut self, records: Vec<Record>) -> Result<(), RunnerEnd> {
        let mut checkpoint = self.checkpoint.take().ok_or(RunnerEnd::Broken)?;
        let compact = checkpoint.wants_compaction().then(|| self.core.snapshot());
        let began = Instant::now();
        let written = tokio::task::spawn_blocking(move || {
            // The snapshot holds these records as well.
            let written = match compact {
                Some(all) => checkpoint.compact(&all),
                None => checkpoint.append(&records),
            };
            written.map(|()| checkpoint)
        });
        self.checkpoint = Some(written.await.map_err(|_| RunnerEnd::Broken)??);
        ::metrics::histogram!(metrics::CHECKPOINT_SECONDS).record(began.elapsed().as_secs_f64());
        if self.speaker.renderer.agent.as_ref() != self.core.id() {
            self.speaker.renderer.agent = self.core.id().cloned();
            self.facts.set_id(self.core.id().cloned());
        }
        Ok(())
    }

    fn perform(&mut self, decided: Vec<Decided>) -> Result<(), RunnerEnd> {
        let mut messages = Vec::new();
        for Decided { output, on } in decided {
            match output {
                Output::Persist(_) => {}
                Output::Volumes { version, made, gone } => self.align_volumes(version, &made, &gone)?,
                Output::StartExecutor(start) => {
                    ::metrics::counter!(metrics::LAUNCHES).increment(1);
                    if let Some(agent) = self.core.id() {
                        self.posix.start(agent.clone(), *start);
                    }
                }
                Output::KillExecutor(run) => self.posix.kill(&run),
                Output::ToExecutor(run, event) => {
                    if on.is_some() && on == self.streams.number(&run) {
                        self.tell_executor(&run, event);
                    }
                }
                Output::ToProvider(order) => self.order(order),
                Output::ToMaster(message) => {
                    if on.is_some() && on == self.link_number() {
                        self.queue(&mut messages, message);
                    }
                }
                Output::CloseLink { link, why } => {
                    tracing::warn!(link, %why, "giving up a link");
                    self.link.take_if(|open| open.number == link);
                }
            }
        }
        self.send(messages);
        Ok(())
    }

    /// What is wiped is out of the way at once; deleting it may take long.
    fn align_volumes(
        &self,
        version: ResourceVersion,
        made: &Resources,
        gone: &Resources,
    ) -> Result<(), VolumeError> {
        for path in volumes::align(&self.facts.work_dir, version, made, gone)? {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "a wiped volume still takes space");
                }
            });
        }
        Ok(())
    }

    /// A task must not start without its volumes: an executor that cannot be given them is ended.
    fn link_volumes(&self, run: &Run, task: &TaskInfo) -> bool {
        let Some(agent) = self.core.id() else { return false };
        let mut sandbox = Places::new(&self.facts.work_dir, agent, run).sandbox;
        if task.executor.as_ref().is_some_and(|own| own.r#type() == executor_info::Type::Default) {
            sandbox = default_executor::folder(&sandbox, &task.task_id.value);
        }
        match volumes::link(&self.facts.work_dir, &sandbox, &task.resources) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(task = %task.task_id.value, %error, "a task's volume cannot be linked into its sandbox");
                false
            }
        }
    }

    fn queue(&self, messages: &mut Vec<from_agent::Kind>, message: ToMaster) {
        if matches!(message, ToMaster::Update { .. }) {
            ::metrics::counter!(metrics::UPDATES_SENT).increment(1);
        }
        let next = self.speaker.message(message);
        let rest = match messages.last_mut() {
            Some(last) => wire::merge(last, next),
            None => Some(next),
        };
        messages.extend(rest);
    }

    /// A leader that does not read fast enough loses the link; everything is told again on the next one.
    fn send(&mut self, messages: Vec<from_agent::Kind>) {
        for kind in messages {
            let Some(link) = &self.link else { return };
            if link.sender.try_send(FromAgent { kind: Some(kind) }).is_err() {
                tracing::warn!(link = link.number, "giving up a link that does not take messages");
                self.link = None;
            }
        }
    }

    fn tell_executor(&mut self, run: &Run, event: ExecutorEvent) {
        match self.event(run, event) {
            Ok(event) => self.deliver(run, event),
            Err(error) => {
                // These bytes were read when they came; the executor would wait for ever for what it cannot be told.
                tracing::error!(executor = %run.executor, %error, "an event cannot be made");
                self.streams.close(run);
            }
        }
    }

    /// Writes an event; a launch with the volumes of all its tasks in place.
    pub(crate) fn write_to_executor(&mut self, run: &Run, event: &Event) {
        match launched(event).iter().all(|task| self.link_volumes(run, task)) {
            true => self.streams.send(run, event),
            false => self.posix.kill(run),
        }
    }

    fn event(&self, run: &Run, event: ExecutorEvent) -> Result<Event, prost::DecodeError> {
        let task_id = |task: mesarch_types::TaskId| TaskId { value: task.to_string() };
        let event = match event {
            ExecutorEvent::Subscribed => {
                let subscribed = Some(self.subscribed(run)?);
                Event { subscribed, ..of(event::Type::Subscribed) }
            }
            ExecutorEvent::Launch(info) => {
                let launch = Some(event::Launch { task: TaskInfo::decode(info)? });
                Event { launch, ..of(event::Type::Launch) }
            }
            ExecutorEvent::LaunchGroup(infos) => {
                let tasks = infos.into_iter().map(TaskInfo::decode).collect::<Result<_, _>>()?;
                let launch_group = Some(event::LaunchGroup { task_group: TaskGroupInfo { tasks } });
                Event { launch_group, ..of(event::Type::LaunchGroup) }
            }
            ExecutorEvent::Kill(task, policy) => {
                let policy = if policy.is_empty() { None } else { Some(KillPolicy::decode(policy)?) };
                let kill = Some(event::Kill { task_id: task_id(task), kill_policy: policy });
                Event { kill, ..of(event::Type::Kill) }
            }
            ExecutorEvent::Acknowledged(task, uuid) => {
                let acknowledged =
                    Some(event::Acknowledged { task_id: task_id(task), uuid: wire::uuid_to(uuid) });
                Event { acknowledged, ..of(event::Type::Acknowledged) }
            }
            ExecutorEvent::Message(data) => {
                Event { message: Some(event::Message { data }), ..of(event::Type::Message) }
            }
            ExecutorEvent::Shutdown => of(event::Type::Shutdown),
        };
        Ok(event)
    }

    fn subscribed(&self, run: &Run) -> Result<event::Subscribed, prost::DecodeError> {
        let durable = self.core.durable();
        let executor = durable.runs.get(&run.key()).map(|facts| facts.spec.info.clone()).unwrap_or_default();
        let framework = durable.frameworks.get(&run.framework).map(|facts| facts.spec.info.clone());
        let framework_id = Some(FrameworkId { value: run.framework.to_string() });
        let mut agent_info = self.speaker.identity.info.clone();
        agent_info.id = self.core.id().map(|id| AgentId { value: id.to_string() });
        Ok(event::Subscribed {
            executor_info: ExecutorInfo {
                framework_id: framework_id.clone(),
                ..ExecutorInfo::decode(executor)?
            },
            framework_info: FrameworkInfo {
                id: framework_id,
                ..FrameworkInfo::decode(framework.unwrap_or_default())?
            },
            agent_info,
            container_id: Some(ContainerId { value: run.container.to_string(), ..Default::default() }),
        })
    }

    fn look(&self) -> Look {
        Look {
            core: self.core.clone(),
            history: self.history.clone(),
            identity: self.speaker.identity.clone(),
            renderer: self.speaker.renderer.clone(),
            facts: Arc::clone(&self.facts),
            pids: self.posix.pids(),
            launch_failures: self.posix.failures(),
            providers: self.providers.shown(),
            operations: self.providers.operations(self.core.id()),
            streams_of_providers: self.providers.streams(),
            calls: self.calls,
            master: self.link.as_ref().map(|link| link.master.clone()),
        }
    }

    fn measure(&mut self) {
        let attached = self.core.attached();
        if attached && let Some(since) = self.detached.take() {
            ::metrics::histogram!(metrics::ATTACH_SECONDS).record(since.elapsed().as_secs_f64());
            tracing::info!(agent = ?self.core.id(), "attached to the leader");
        }
        if !attached {
            self.detached.get_or_insert_with(Instant::now);
        }
        ::metrics::gauge!(metrics::ATTACHED).set(f64::from(u8::from(attached)));
        ::metrics::gauge!(metrics::EXECUTORS).set(self.core.durable().runs.len() as f64);
        ::metrics::gauge!(metrics::TASKS).set(self.core.durable().tasks.len() as f64);
    }
}

/// The tasks that an event hands to its executor.
pub(crate) fn launched(event: &Event) -> &[TaskInfo] {
    let alone = event.launch.as_ref().map(|launch| std::slice::from_ref(&launch.task));
    let group = event.launch_group.as_ref().map(|launch| launch.task_group.tasks.as_slice());
    alone.or(group).unwrap_or_default()
}

fn of(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Default::default() }
}

#[cfg(test)]
#[path = "runner_test.rs"]
mod tests;
