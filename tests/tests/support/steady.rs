//! A framework with one task that shows, without the cluster's help, that it still runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mesarch_client::build::{TaskBuilder, carve, framework, is_terminal};
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_client::v1::{FrameworkInfo, Offer, TaskState};
use mesarch_testkit::{wait_for, wait_for_within};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::allocation::live_tasks;

/// The task writes far more often.
const BEAT_WITHIN: Duration = Duration::from_secs(5);

/// The running framework; leaves, without a word, when dropped.
pub(crate) struct Steady {
    /// Its id.
    pub(crate) id: String,
    task: String,
    beat: PathBuf,
    process: (u32, String),
    newest: watch::Receiver<Option<TaskState>>,
    subscriptions: watch::Receiver<usize>,
    actor: JoinHandle<()>,
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.actor.abort();
    }
}

impl Steady {
    /// Subscribes as `name`, launches the task and waits until it runs. It writes into `folder`.
    pub(crate) async fn start(
        masters: Vec<String>,
        name: &str,
        failover_timeout: f64,
        folder: &Path,
    ) -> Result<Self> {
        let info = FrameworkInfo { failover_timeout: Some(failover_timeout), ..framework(name) };
        let scheduler = Scheduler::connect(Options::new(masters, info)).await?;
        let (id, _) = scheduler.subscription().context("just subscribed")?;
        let (beat, pid) = (folder.join(format!("{name}.beat")), folder.join(format!("{name}.pid")));
        let command = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; while true; do echo >> {1}; sleep 0.05; done",
            pid.display(),
            beat.display()
        );
        let (newest_sender, newest) = watch::channel(None);
        let (subscriptions_sender, subscriptions) = watch::channel(0);
        let task = format!("{name}-task");
        let actor = Actor {
            scheduler,
            task: task.clone(),
            command,
            newest: newest_sender,
            subscriptions: subscriptions_sender,
        };
        let actor = tokio::spawn(actor.act());
        let written = async || std::fs::read_to_string(&pid).ok()?.trim().parse::<u32>().ok();
        let pid = wait_for("the task to write its process id", written).await?;
        let process = (pid, started_at(pid).context("the task has ended at once")?);
        let steady = Self { id: id.value, task, beat, process, newest, subscriptions, actor };
        wait_for("the task to be told as running", async || {
            (*steady.newest.borrow() == Some(TaskState::TaskRunning)).then_some(())
        })
        .await?;
        Ok(steady)
    }

    /// How often it has subscribed.
    pub(crate) fn subscriptions(&self) -> usize {
        *self.subscriptions.borrow()
    }

    /// Whether its process is there.
    pub(crate) fn process_lives(&self) -> bool {
        started_at(self.process.0).as_ref() == Some(&self.process.1)
    }

    /// Fails unless it is the same process, still at work, and nobody has said otherwise.
    pub(crate) async fn check_runs(&self) -> Result<()> {
        ensure!(self.process_lives(), "the process of {} has ended", self.task);
        let before = self.beats();
        wait_for_within(BEAT_WITHIN, "another beat of the task", async || {
            (self.beats() > before).then_some(())
        })
        .await?;
        let newest = *self.newest.borrow();
        ensure!(newest == Some(TaskState::TaskRunning), "{} was told to be {newest:?}", self.task);
        Ok(())
    }

    /// Fails unless `/state` has the task as running.
    pub(crate) fn check_known(&self, state: &Value) -> Result<()> {
        let tasks = live_tasks(state);
        let known = tasks.get(self.task.as_str()).map(|task| &task["state"]);
        ensure!(known.is_some_and(|known| known == "TASK_RUNNING"), "{} is {known:?} in /state", self.task);
        Ok(())
    }

    fn beats(&self) -> u64 {
        std::fs::metadata(&self.beat).map_or(0, |file| file.len())
    }
}

struct Actor {
    scheduler: Scheduler,
    task: String,
    command: String,
    newest: watch::Sender<Option<TaskState>>,
    subscriptions: watch::Sender<usize>,
}

impl Actor {
    /// Until the subscription ends.
    async fn act(mut self) {
        let mut launched = false;
        while let Ok(event) = self.scheduler.next().await {
            match event {
                Event::Subscribed { .. } => self.subscriptions.send_modify(|count| *count += 1),
                Event::Offers(offers) if !launched => launched = self.launch(offers).await.is_ok(),
                Event::Offers(offers) => drop(self.scheduler.calls().decline_all(&offers, None).await),
                Event::Update(status) => {
                    // What has ended stays so; a later "no such task" only says that it was forgotten.
                    self.newest.send_if_modified(|newest| {
                        let news = newest.is_none_or(|state| !is_terminal(state) && state != status.state());
                        if news {
                            *newest = Some(status.state());
                        }
                        news
                    });
                }
                _ => {}
            }
        }
    }

    async fn launch(&self, mut offers: Vec<Offer>) -> Result<()> {
        let calls = self.scheduler.calls();
        let offer = offers.pop().context("an OFFERS event holds offers")?;
        calls.decline_all(&offers, None).await?;
        let resources = carve(&offer.resources, 0.1, 32.0).context("the agent is large enough")?;
        let task = TaskBuilder::command(&self.task, &self.command).resources(resources).on(&offer.agent_id);
        calls.launch([offer.id], [task]).await?;
        Ok(calls.suppress(&[]).await?)
    }
}

/// When a process started, in clock ticks since boot: with its id, its identity. `None` if there is none.
fn started_at(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets and may hold anything.
    let (_, rest) = status.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    (!["Z", "X"].contains(fields.first()?)).then(|| fields.get(19).map(|ticks| (*ticks).to_owned()))?
}
