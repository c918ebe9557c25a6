//! A framework of the SDK that keeps launching short tasks and remembers everything that it was told.
//!
//! Each task appends its id to a file, so the file tells how often each one really ran.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mesarch_client::CallError;
use mesarch_client::build::{TaskBuilder, carve, framework, is_terminal};
use mesarch_client::scheduler::{Calls, Event, Options, Scheduler};
use mesarch_client::v1::task_status::Reason;
use mesarch_client::v1::{Offer, TaskId, TaskState, TaskStatus};
use mesarch_testkit::{DEADLINE, wait_for};
use tokio::task::JoinHandle;

const CPUS: f64 = 0.1;
const MEM_MB: f64 = 16.0;
/// Tasks of one ACCEPT.
const TASKS_PER_OFFER: usize = 5;

/// What is known about one task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Known {
    /// The ACCEPT was answered with 202.
    Accepted,
    /// The answer was lost.
    Unsure,
    /// The last state that was told.
    State(TaskState),
}

/// What the fleet has seen, shared with the test.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) tasks: BTreeMap<String, Known>,
    /// Tasks whose ACCEPT was answered with 202.
    pub(crate) accepted: BTreeSet<String>,
    /// Offers received over all.
    pub(crate) offers: usize,
    /// Answers to RECONCILE since the last one.
    answers: BTreeMap<String, TaskState>,
    /// Every time that the cluster said not to have a task (any more), whatever it said later.
    disowned: Vec<(String, TaskState)>,
    /// Whether offers are still used.
    launching: bool,
    /// Why the fleet is at its end, if it is.
    failure: Option<String>,
}

type Shared = Arc<Mutex<Seen>>;

fn look(shared: &Shared) -> MutexGuard<'_, Seen> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn has_ended(&self, id: &str) -> bool {
        matches!(self.tasks.get(id), Some(Known::State(TaskState::TaskFinished)))
    }
}

/// States that say: the cluster does not have it (any more).
fn is_unknown(state: TaskState) -> bool {
    use TaskState::*;
    matches!(state, TaskUnknown | TaskLost | TaskDropped | TaskGone | TaskGoneByOperator | TaskUnreachable)
}

/// A running fleet; ends when dropped.
pub(crate) struct Fleet {
    seen: Shared,
    pub(crate) calls: Calls,
    file: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fleet {
    /// Subscribes and launches until told otherwise. `file` is made; `command` runs after the task has left its mark.
    pub(crate) async fn start(masters: Vec<String>, file: &Path, command: &str) -> Result<Self> {
        let scheduler = Scheduler::connect(Options::new(masters, framework("fleet"))).await?;
        let calls = scheduler.calls();
        let seen = Arc::new(Mutex::new(Seen { launching: true, ..Seen::default() }));
        let runner = Runner {
            scheduler,
            seen: seen.clone(),
            next: 0,
            command: format!("echo $FLEET_TASK >> {}; {command}", file.display()),
        };
        Ok(Self { seen, calls, file: file.to_owned(), task: tokio::spawn(runner.run()) })
    }

    /// No more tasks.
    pub(crate) fn stop_launching(&self) {
        look(&self.seen).launching = false;
    }

    pub(crate) fn accepted(&self) -> usize {
        look(&self.seen).accepted.len()
    }

    /// Waits until a leader has accepted this many more tasks: the fleet works.
    pub(crate) async fn wait_for_more(&self, more: usize) -> Result<()> {
        let before = self.accepted();
        wait_for(&format!("{more} more accepted tasks"), async || {
            let enough = self.accepted() >= before + more;
            (enough || look(&self.seen).failure.is_some()).then_some(())
        })
        .await?;
        self.check_acts()
    }

    /// Waits for so many more offers.
    pub(crate) async fn wait_for_offers(&self, more: usize) -> Result<()> {
        let before = look(&self.seen).offers;
        wait_for("offers to the fleet", async || (look(&self.seen).offers >= before + more).then_some(()))
            .await
    }

    fn check_acts(&self) -> Result<()> {
        match &look(&self.seen).failure {
            Some(failure) => bail!("the fleet came to an end: {failure}"),
            None => Ok(()),
        }
    }

    /// Asks by name for every task that was accepted and has not ended; fails if the leader does not know one.
    pub(crate) async fn check_all_known(&self) -> Result<()> {
        let asked: Vec<String> = {
            let mut seen = look(&self.seen);
            seen.answers.clear();
            let live = seen.accepted.iter().filter(|id| !seen.has_ended(id));
            live.cloned().collect()
        };
        let questions = asked.iter().map(|id| (TaskId { value: id.clone() }, None));
        self.calls.reconcile(questions).await.context("cannot reconcile")?;
        wait_for("an answer about every accepted task", async || {
            let seen = look(&self.seen);
            asked.iter().all(|id| seen.answers.contains_key(id) || seen.has_ended(id)).then_some(())
        })
        .await?;
        let seen = look(&self.seen);
        let is_unknown = |id: &String| seen.answers.get(id).is_some_and(|state| is_unknown(*state));
        let unknown: Vec<_> = asked.iter().filter(|id| is_unknown(id) && !seen.has_ended(id)).collect();
        ensure!(
            unknown.is_empty(),
            "accepted, but now {:?}",
            unknown.iter().map(|id| (id, seen.answers.get(*id))).collect::<Vec<_>>()
        );
        Ok(())
    }

    /// Accepted tasks that have not ended, as far as is known here.
    pub(crate) fn live(&self) -> Vec<String> {
        let seen = look(&self.seen);
        seen.accepted.iter().filter(|id| !seen.has_ended(id)).cloned().collect()
    }

    /// Waits until every task has ended or is known never to have been; asks for those that nothing was heard of.
    pub(crate) async fn settle(&self) -> Result<()> {
        self.stop_launching();
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let open = self.open();
            if open.is_empty() {
                return Ok(());
            }
            ensure!(tokio::time::Instant::now() < deadline, "never settled: {:?}", self.describe(&open));
            let questions = open.iter().map(|id| (TaskId { value: id.clone() }, None));
            self.calls.reconcile(questions).await.context("cannot reconcile")?;
            // The answers come as events; asking again too soon only repeats them.
            let settled = async || self.open().is_empty().then_some(());
            let _ = mesarch_testkit::wait_for_within(Duration::from_secs(1), "answers", settled).await;
        }
    }

    fn open(&self) -> Vec<String> {
        let seen = look(&self.seen);
        let open = seen.tasks.iter().filter(|(id, known)| match known {
            Known::State(TaskState::TaskUnknown | TaskState::TaskGone) => seen.accepted.contains(*id),
            Known::State(state) => !is_terminal(*state),
            Known::Accepted | Known::Unsure => true,
        });
        open.map(|(id, _)| id.clone()).collect()
    }

    fn describe(&self, ids: &[String]) -> Vec<(String, Known)> {
        let seen = look(&self.seen);
        ids.iter().map(|id| (id.clone(), seen.tasks[id].clone())).collect()
    }

    /// What every fleet must have seen once it has settled: each accepted task ran exactly once, finished and
    /// was never disowned, every other one ran at most once.
    pub(crate) fn check(&self) -> Result<()> {
        let marks = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        for id in marks.lines() {
            *runs.entry(id).or_default() += 1;
        }
        let twice: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
        ensure!(twice.is_empty(), "ran more than once: {twice:?}");
        let seen = look(&self.seen);
        for (id, known) in &seen.tasks {
            let finished = *known == Known::State(TaskState::TaskFinished);
            let ran = runs.contains_key(id.as_str());
            ensure!(finished || !seen.accepted.contains(id), "accepted but not finished: {id} is {known:?}");
            ensure!(ran == finished, "{id} ran: {ran}, but is {known:?}");
        }
        let disowned: Vec<_> = seen.disowned.iter().filter(|(id, _)| seen.accepted.contains(id)).collect();
        ensure!(disowned.is_empty(), "accepted, but at some time {disowned:?}");
        Ok(())
    }
}

struct Runner {
    scheduler: Scheduler,
    seen: Shared,
    next: usize,
    command: String,
}

impl Runner {
    async fn run(mut self) {
        let Err(error) = self.act().await;
        look(&self.seen).failure = Some(format!("{error:#}"));
    }

    async fn act(&mut self) -> Result<Infallible> {
        loop {
            match self.scheduler.next().await? {
                Event::Offers(offers) => {
                    for offer in offers {
                        self.use_offer(offer).await?;
                    }
                }
                Event::Update(status) => self.take_update(&status),
                _ => {}
            }
        }
    }

    async fn use_offer(&mut self, offer: Offer) -> Result<()> {
        let calls = self.scheduler.calls();
        let launching = {
            let mut seen = look(&self.seen);
            seen.offers += 1;
            seen.launching
        };
        let mut free = offer.resources.clone();
        let mut tasks = Vec::new();
        while launching && tasks.len() < TASKS_PER_OFFER {
            let Some(resources) = carve(&free, CPUS, MEM_MB) else {
                break;
            };
            subtract(&mut free);
            let id = format!("task-{}", self.next);
            self.next += 1;
            let task =
                TaskBuilder::command(&id, &self.command).variable("FLEET_TASK", &id).resources(resources);
            tasks.push(task.on(&offer.agent_id));
        }
        if tasks.is_empty() {
            return Ok(calls.decline([offer.id], Some(Duration::from_millis(100))).await?);
        }
        let ids: Vec<String> = tasks.iter().map(|task| task.task_id.value.clone()).collect();
        let known = match calls.launch([offer.id], tasks).await {
            Ok(()) => Known::Accepted,
            Err(CallError::OutcomeUnknown { .. }) => Known::Unsure,
            Err(error) => return Err(error.into()),
        };
        let mut seen = look(&self.seen);
        for id in ids {
            if known == Known::Accepted {
                seen.accepted.insert(id.clone());
            }
            // An update may have been faster than the answer.
            seen.tasks.entry(id).or_insert(known.clone());
        }
        Ok(())
    }

    fn take_update(&self, status: &TaskStatus) {
        let mut seen = look(&self.seen);
        let id = status.task_id.value.clone();
        if status.uuid.is_none() && status.reason() == Reason::Reconciliation {
            seen.answers.insert(id.clone(), status.state());
        }
        let known = seen.tasks.get(&id);
        // Once finished is finished: a later "no such task" only says that it was forgotten.
        if known == Some(&Known::State(TaskState::TaskFinished)) {
            return;
        }
        if is_unknown(status.state()) {
            seen.disowned.push((id.clone(), status.state()));
        }
        seen.tasks.insert(id, Known::State(status.state()));
    }
}

/// Takes one task's share from what is left of an offer.
fn subtract(free: &mut [mesarch_client::v1::Resource]) {
    for (name, amount) in [("cpus", CPUS), ("mem", MEM_MB)] {
        let scalar = free.iter_mut().find(|resource| resource.name == name).and_then(|it| it.scalar.as_mut());
        if let Some(scalar) = scalar {
            scalar.value -= amount;
        }
    }
}
