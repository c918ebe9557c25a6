//! A framework that launches short tasks, settles unknown outcomes by doing them again, and takes everything down.
//!
//! It handles one event after the other and acknowledges an update when it handles it. So while an ACCEPT is open, no
//! task can have ended *and* been acknowledged: a repeated ACCEPT always meets the task that the first one made.
//!
//! Under [`Manner::FailOver`] its process dies, in the middle of whatever it does, and another one takes over: that
//! knows what was written down (what it wished for, what is there, what has ended), not what was said on a stream since.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use mesarch_client::{
    CallError,
    build::{self, TaskBuilder, is_terminal},
    scheduler::{Calls, Event as Heard, Options, Scheduler},
    v1::{Offer, TaskId, TaskInfo, TaskState, TaskStatus},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{JoinHandle, yield_now},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::history::{Event, Kind, Recorder, Told};

/// Cores and memory of a task.
const TASK_SIZE: (f64, f64) = (0.01, 8.0);
/// Tasks that are wanted or run at the same time, so that a small machine is busy and not buried.
const OPEN_MAX: usize = 12;
/// Tasks of one ACCEPT.
const TASKS_PER_ACCEPT_MAX: usize = 4;
/// How often new tasks are wished for.
const WISH_EVERY: Duration = Duration::from_millis(150);
/// How long a scheduler lives before another one takes over, in ms.
const LIFE_MS: std::ops::Range<u64> = 500..3000;
/// About as long as an ACCEPT takes.
const ACCEPT_TAKES_US: u64 = 1500;
/// How long nobody is there after the end of one, in ms, if its successor did not come first.
const GONE_MS: std::ops::Range<u64> = 0..1500;
/// How long the cluster waits for a successor, in seconds: for ever, as runs go.
const FAILOVER_TIMEOUT_S: f64 = 3600.0;
/// How often an offer is kept until the next tick: only then another one of the same resources would be seen beside it.
const KEPT: f64 = 0.2;
/// How long an offer that is not needed is refused.
const REFUSE: Duration = Duration::from_millis(100);

/// What is special about what the frameworks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing.
    Launch,
    /// They ask for the state of everything that has not ended, all the time.
    Reconcile,
    /// They pass over every other update until it comes again.
    Updates,
    /// They die, and others take over.
    FailOver,
}

/// What the run asks of a framework.
pub(crate) enum Order {
    /// Ask for the state of everything that has not ended.
    Reconcile,
}

/// A running framework.
pub(crate) struct Framework {
    pub(crate) orders: mpsc::Sender<Order>,
    /// How many tasks are wished for, or accepted and not ended.
    pub(crate) open: watch::Receiver<usize>,
    /// Tells it to wish for no more tasks.
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

impl Framework {
    /// Subscribes and begins to launch.
    pub(crate) async fn start(
        (number, manner): (u32, Manner),
        masters: Vec<String>,
        seed: u64,
        marks: PathBuf,
        recorder: &Recorder,
        begun: Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let mut info = build::framework(&format!("launch-{number}"));
        info.failover_timeout = Some(FAILOVER_TIMEOUT_S);
        let mut options = Options::new(masters, info);
        options.acknowledge = false;
        let scheduler = Scheduler::connect(options.clone()).await?;
        let (framework, _) = scheduler.subscription().context("the leader was lost at once")?;
        options.framework.id = Some(framework);
        let (orders, queue) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let (open_sender, open) = watch::channel(0);
        let actor = Actor {
            number,
            manner,
            options,
            calls: scheduler.calls(),
            marks,
            random: StdRng::seed_from_u64(seed ^ u64::from(number)),
            recorder: recorder.of_process(number),
            begun,
            wishes: VecDeque::new(),
            commands: BTreeMap::new(),
            seen: BTreeSet::new(),
            ended: BTreeSet::new(),
            passed_over: BTreeSet::new(),
            kept: Vec::new(),
            open_call: None,
        };
        let task = tokio::spawn(actor.act(scheduler, queue, stopped, open_sender));
        Ok(Self { orders, open, stop, task })
    }
}

struct Actor {
    number: u32,
    manner: Manner,
    /// How a successor subscribes.
    options: Options,
    calls: Calls,
    marks: PathBuf,
    random: StdRng,
    recorder: Recorder,
    /// Told whenever an ACCEPT is about to be sent.
    begun: Arc<Notify>,
    /// Tasks to launch, in order.
    wishes: VecDeque<String>,
    /// Every task that was ever wished for.
    commands: BTreeMap<String, String>,
    /// Tasks that the cluster has: never to be launched again.
    seen: BTreeSet<String>,
    ended: BTreeSet<String>,
    /// Updates that came once and were not heeded.
    passed_over: BTreeSet<String>,
    /// Offers that are answered at the next tick.
    kept: Vec<Offer>,
    /// What was begun, and is not known to have ended.
    open_call: Option<Event>,
}

impl Actor {
    async fn act(
        mut self,
        mut scheduler: Scheduler,
        mut orders: mpsc::Receiver<Order>,
        stopped: watch::Receiver<bool>,
        open: watch::Sender<usize>,
    ) -> anyhow::Result<()> {
        while self.manner == Manner::FailOver && !*stopped.borrow() {
            let over = self.life();
            tokio::select! {
                ended = self.live(&mut scheduler, &mut orders, &stopped, &open) => return ended,
                () = over => {}
            }
            scheduler = self.fail_over(scheduler).await?;
            self.reconcile().await?;
        }
        self.live(&mut scheduler, &mut orders, &stopped, &open).await
    }

    /// Comes when a scheduler is to die, half of the time just after an ACCEPT was sent.
    fn life(&mut self) -> impl Future<Output = ()> + use<> {
        let life = Duration::from_millis(self.random.random_range(LIFE_MS));
        let at_accept = self.random.random_bool(0.5).then(|| self.begun.clone());
        let then = Duration::from_micros(self.random.random_range(0..ACCEPT_TAKES_US));
        async move {
            sleep(life).await;
            if let Some(begun) = at_accept {
                begun.notified().await;
                // A timer of the runtime is not as fine as that.
                let at = Instant::now() + then;
                while Instant::now() < at {
                    yield_now().await;
                }
            }
        }
    }

    /// The end of one process and the begin of another one, which may come first.
    async fn fail_over(&mut self, scheduler: Scheduler) -> anyhow::Result<Scheduler> {
        self.die();
        let successor = if self.random.random_bool(0.5) {
            let successor = Scheduler::connect(self.options.clone()).await?;
            drop(scheduler);
            successor
        } else {
            drop(scheduler);
            sleep(Duration::from_millis(self.random.random_range(GONE_MS))).await;
            Scheduler::connect(self.options.clone()).await?
        };
        self.calls = successor.calls();
        Ok(successor)
    }

    /// What was open stays so; what was only said, and not heard, is forgotten.
    fn die(&mut self) {
        if let Some(open) = self.open_call.take() {
            self.recorder.record(Kind::Unknown, open.clone());
            if let Event::Accept { tasks } = open {
                self.wishes.extend(tasks);
            }
        }
        self.kept.clear();
        self.recorder.record(Kind::Info, Event::FrameworkEnds);
    }

    /// Until it is told to end.
    async fn live(
        &mut self,
        scheduler: &mut Scheduler,
        orders: &mut mpsc::Receiver<Order>,
        stopped: &watch::Receiver<bool>,
        open: &watch::Sender<usize>,
    ) -> anyhow::Result<()> {
        let mut ticks = interval(WISH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Instant::now();
        loop {
            tokio::select! {
                heard = scheduler.next() => self.hear(heard?).await?,
                order = orders.recv() => match order {
                    Some(Order::Reconcile) => self.reconcile().await?,
                    None => return Ok(self.calls.teardown().await?),
                },
                _ = ticks.tick() => {
                    for offer in std::mem::take(&mut self.kept) {
                        self.answer(&offer).await?;
                    }
                    if !*stopped.borrow() {
                        self.wish();
                    }
                    // Offers that were declined come back by themselves; this only makes it quick.
                    if !self.wishes.is_empty() && asked.elapsed() > Duration::from_secs(1) {
                        asked = Instant::now();
                        self.calls.revive(&[]).await?;
                    }
                    if self.manner == Manner::Reconcile {
                        self.reconcile().await?;
                    }
                }
            }
            open.send_replace(self.open());
        }
    }

    fn open(&self) -> usize {
        self.commands.len() - self.ended.len()
    }

    fn wish(&mut self) {
        if self.open() >= OPEN_MAX {
            return;
        }
        let task = format!("task-{}-{}", self.number, self.commands.len());
        let (marks, millis) = (self.marks.display(), self.random.random_range(0..1500));
        let command = format!(
            "echo start {task} >> {marks}; sleep {}.{:03}; echo end {task} >> {marks}",
            millis / 1000,
            millis % 1000
        );
        self.commands.insert(task.clone(), command);
        self.wishes.push_back(task);
    }

    async fn hear(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Offers(offers) => {
                for offer in offers {
                    match self.random.random_bool(KEPT) {
                        true => self.kept.push(offer),
                        false => self.answer(&offer).await?,
                    }
                }
                Ok(())
            }
            Heard::Update(status) => self.update(&status).await,
            Heard::Subscribed { .. }
            | Heard::Disconnected { .. }
            | Heard::InverseOffers(_)
            | Heard::Rescind(_)
            | Heard::RescindInverseOffer(_)
            | Heard::UpdateOperation(_)
            | Heard::Message { .. }
            | Heard::Failure { .. } => Ok(()),
        }
    }

    async fn answer(&mut self, offer: &Offer) -> anyhow::Result<()> {
        let tasks = self.fill(offer);
        if tasks.is_empty() {
            return Ok(self.calls.decline([offer.id.clone()], Some(REFUSE)).await?);
        }
        let names: Vec<String> = tasks.iter().map(|task| task.task_id.value.clone()).collect();
        self.begin(Event::Accept { tasks: names.clone() });
        self.begun.notify_waiters();
        let kind = match self.calls.launch([offer.id.clone()], tasks).await {
            Ok(()) => Kind::Ok,
            Err(CallError::OutcomeUnknown { .. }) => Kind::Unknown,
            Err(CallError::Refused { .. } | CallError::Unavailable { .. } | CallError::Full { .. }) => {
                Kind::Fail
            }
            Err(error @ CallError::Ended(_)) => return Err(error.into()),
        };
        self.close(kind);
        if kind != Kind::Ok {
            self.wishes.extend(names);
        }
        Ok(())
    }

    fn begin(&mut self, call: Event) {
        self.recorder.record(Kind::Invoke, call.clone());
        self.open_call = Some(call);
    }

    fn close(&mut self, kind: Kind) {
        if let Some(call) = self.open_call.take() {
            self.recorder.record(kind, call);
        }
    }

    fn fill(&mut self, offer: &Offer) -> Vec<TaskInfo> {
        let room = |kind, each: f64| (build::total(&offer.resources, kind) / each) as usize;
        let room = room("cpus", TASK_SIZE.0).min(room("mem", TASK_SIZE.1)).min(TASKS_PER_ACCEPT_MAX);
        self.wishes.retain(|task| !self.seen.contains(task));
        let names: Vec<String> = self.wishes.drain(..room.min(self.wishes.len())).collect();
        let task = |name: &String| {
            let command = self.commands.get(name).map_or("false", String::as_str);
            TaskBuilder::command(name, command).cpus(TASK_SIZE.0).mem_mb(TASK_SIZE.1).on(&offer.agent_id)
        };
        names.iter().map(task).collect()
    }

    async fn update(&mut self, status: &TaskStatus) -> anyhow::Result<()> {
        let told = Told::of(status);
        self.recorder.record(Kind::Info, Event::Told(told.clone()));
        // Whoever takes over was not told that an ACCEPT did nothing: it asks, and nobody knows of the task.
        let is_not_there = told.is_refusal() || told.is_answer() && told.state == TaskState::TaskUnknown;
        if is_not_there && !self.seen.contains(&told.task) && !self.wishes.contains(&told.task) {
            self.wishes.push_back(told.task.clone());
        }
        let there =
            told.uuid.is_some() || matches!(told.state, TaskState::TaskStaging | TaskState::TaskRunning);
        if there {
            self.seen.insert(told.task.clone());
        }
        let Some(uuid) = told.uuid else { return Ok(()) };
        if self.passes_over(&uuid) {
            return Ok(());
        }
        if is_terminal(told.state) {
            self.ended.insert(told.task.clone());
        }
        self.begin(Event::Acknowledge { task: told.task, uuid });
        let kind = match self.calls.acknowledge(status).await {
            Ok(()) => Kind::Ok,
            Err(CallError::OutcomeUnknown { .. }) => Kind::Unknown,
            Err(CallError::Refused { .. } | CallError::Unavailable { .. } | CallError::Full { .. }) => {
                Kind::Fail
            }
            Err(error @ CallError::Ended(_)) => return Err(error.into()),
        };
        self.close(kind);
        Ok(())
    }

    fn passes_over(&mut self, uuid: &str) -> bool {
        self.manner == Manner::Updates
            && self.random.random_bool(0.5)
            && self.passed_over.insert(uuid.to_owned())
    }

    async fn reconcile(&mut self) -> anyhow::Result<()> {
        let open =
            self.commands.keys().filter(|task| !self.ended.contains(*task) && !self.wishes.contains(task));
        let tasks: Vec<String> = open.cloned().collect();
        if tasks.is_empty() {
            return Ok(());
        }
        self.begin(Event::Reconcile { tasks: tasks.clone() });
        let asked = tasks.into_iter().map(|task| (TaskId { value: task }, None));
        let kind = if self.calls.reconcile(asked).await.is_ok() { Kind::Ok } else { Kind::Unknown };
        self.close(kind);
        Ok(())
    }
}
