//! A framework of the demo: it keeps all that it is told, acknowledges every update once, and otherwise does what the
//! story wants.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use mesarch_client::{
    scheduler::{Calls, Event, Options, Scheduler},
    v1::{FrameworkInfo, Offer, OfferId, TaskState, TaskStatus},
};
use tokio::{sync::Notify, task::JoinHandle};

/// How long the story waits for anything.
const DEADLINE: Duration = Duration::from_secs(10);

/// What a framework was told, each with the time of its arrival.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) offers: Vec<(Instant, Offer)>,
    pub(super) rescinded: Vec<OfferId>,
    pub(super) updates: Vec<(Instant, TaskStatus)>,
    /// Whether the former stream went on, for each subscription.
    pub(super) subscribed: Vec<bool>,
    acknowledged: BTreeSet<Bytes>,
}

impl Told {
    /// Updates of a task that want an acknowledgement, repeats included.
    pub(super) fn updates_of<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a TaskStatus> {
        let told = self.updates.iter().map(|(_, status)| status);
        told.filter(move |status| status.task_id.value == task && status.uuid.is_some())
    }

    /// The states of a task in the order told, repeats of one uuid left out.
    pub(super) fn states(&self, task: &str) -> Vec<TaskState> {
        let mut seen = BTreeSet::new();
        self.updates_of(task)
            .filter(|status| seen.insert(status.uuid.clone()))
            .map(TaskStatus::state)
            .collect()
    }
}

/// A subscribed framework.
pub(super) struct Actor {
    /// What people call it.
    pub(super) name: &'static str,
    pub(super) calls: Calls,
    told: Arc<(Mutex<Told>, Notify)>,
    listening: JoinHandle<()>,
}

impl Actor {
    /// Subscribes at whoever leads among `masters`.
    pub(super) async fn subscribe(
        name: &'static str,
        masters: Vec<String>,
        info: FrameworkInfo,
    ) -> anyhow::Result<Self> {
        let options = Options { acknowledge: false, ..Options::new(masters, info) };
        let scheduler =
            Scheduler::connect(options).await.with_context(|| format!("{name} cannot subscribe"))?;
        let told = Arc::new((Mutex::default(), Notify::new()));
        let calls = scheduler.calls();
        let listening = tokio::spawn(listen(scheduler, Arc::clone(&told)));
        Ok(Self { name, calls, told, listening })
    }

    /// Reads what was told so far.
    pub(super) fn look<T>(&self, read: impl FnOnce(&Told) -> T) -> T {
        read(&self.told.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until what was told shows something.
    pub(super) async fn wait<T>(
        &self,
        what: &str,
        mut read: impl FnMut(&Told) -> Option<T>,
    ) -> anyhow::Result<T> {
        let looking = async {
            loop {
                let news = self.told.1.notified();
                if let Some(found) = self.look(&mut read) {
                    return found;
                }
                news.await;
            }
        };
        match tokio::time::timeout(DEADLINE, looking).await {
            Ok(found) => Ok(found),
            Err(_) => bail!("{}: {what} did not come within {DEADLINE:?}", self.name),
        }
    }

    /// Waits for an offer that arrives after `since`; gives it with the time of its arrival.
    pub(super) async fn offer_since(&self, since: Instant) -> anyhow::Result<(Instant, Offer)> {
        let fresh = |told: &Told| told.offers.iter().find(|(at, _)| *at > since).cloned();
        self.wait("an offer", fresh).await
    }

    /// Waits until a task has been in this state.
    pub(super) async fn state(&self, task: &str, state: TaskState) -> anyhow::Result<()> {
        let what = format!("{} of {task}", state.as_str_name());
        self.wait(&what, |told| told.states(task).contains(&state).then_some(())).await
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(mut scheduler: Scheduler, told: Arc<(Mutex<Told>, Notify)>) {
    let calls = scheduler.calls();
    while let Ok(event) = scheduler.next().await {
        let due = note(&mut told.0.lock().unwrap_or_else(PoisonError::into_inner), event);
        told.1.notify_waiters();
        if let Some(status) = due {
            // A lost acknowledgement is repaired by the agent, which repeats the update.
            let _ = calls.acknowledge(&status).await;
        }
    }
}

/// Keeps an event; gives back an update that is to be acknowledged now, for the first time.
fn note(told: &mut Told, event: Event) -> Option<TaskStatus> {
    let now = Instant::now();
    match event {
        Event::Subscribed { resumed, .. } => told.subscribed.push(resumed),
        Event::Offers(offers) => told.offers.extend(offers.into_iter().map(|offer| (now, offer))),
        Event::Rescind(offer) => told.rescinded.push(offer),
        Event::Update(status) => {
            told.updates.push((now, status.clone()));
            let uuid = status.uuid.clone()?;
            return told.acknowledged.insert(uuid).then_some(status);
        }
        _ => {}
    }
    None
}
