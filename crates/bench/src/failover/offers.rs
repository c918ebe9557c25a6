//! A framework of the SDK that wants every offer of the idle agent again at once, and tells when it read the last one.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mesarch_client::{
    build,
    scheduler::{Calls, Event, Options, Scheduler},
    v1::Offer,
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// Host name of the agent whose resources nobody takes.
pub(super) const IDLE: &str = "idle";
/// What is left of other agents is not wanted while the bench lasts.
const NOT_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// The framework; dropped, it ends.
pub(super) struct Watcher {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// What it has read so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Streams that have ended.
    ended: u64,
    /// The first offer of the idle agent on the present stream.
    offer: Option<Instant>,
}

impl Watcher {
    /// Subscribes, and waits for the first offer.
    pub(super) async fn start(masters: &[String]) -> anyhow::Result<Self> {
        let info = build::framework("bench watcher");
        let scheduler = Scheduler::connect(Options::new(masters.to_vec(), info)).await?;
        let (sender, seen) = watch::channel(Seen::default());
        let watcher = Self { seen, task: tokio::spawn(watch_offers(scheduler, sender)) };
        watcher.offer_on(0, super::DEADLINE).await?;
        Ok(watcher)
    }

    /// How many of its streams have ended.
    pub(super) fn streams_ended(&self) -> u64 {
        self.seen.borrow().ended
    }

    /// When the first offer on a stream was read that began after `ended` streams had ended.
    ///
    /// # Errors
    /// If none came within `within`, or the framework has ended.
    pub(super) async fn offer_after(&self, ended: u64, within: Duration) -> anyhow::Result<Instant> {
        self.offer_on(ended + 1, within).await
    }

    async fn offer_on(&self, stream: u64, within: Duration) -> anyhow::Result<Instant> {
        let mut seen = self.seen.clone();
        let offered = seen.wait_for(|seen| seen.ended >= stream && seen.offer.is_some());
        match timeout(within, offered).await {
            Ok(seen) => seen.context("the watching framework has ended")?.offer.context("no offer"),
            Err(_) => bail!("no offer came within {} s", within.as_secs()),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch_offers(mut scheduler: Scheduler, seen: watch::Sender<Seen>) -> anyhow::Result<()> {
    let calls = scheduler.calls();
    loop {
        match scheduler.next().await? {
            Event::Disconnected { .. } => seen.send_modify(|seen| {
                *seen = Seen { ended: seen.ended + 1, offer: None };
            }),
            Event::Offers(offers) => {
                let now = Instant::now();
                if offers.iter().any(is_idle) {
                    seen.send_modify(|seen| _ = seen.offer.get_or_insert(now));
                }
                // A call may wait for the next leader; events are read on.
                tokio::spawn(give_back(calls.clone(), offers));
            }
            _ => {}
        }
    }
}

fn is_idle(offer: &Offer) -> bool {
    offer.hostname == IDLE
}

/// The idle agent's resources are to be offered again at once, the others' not at all.
async fn give_back(calls: Calls, offers: Vec<Offer>) {
    let (idle, others): (Vec<Offer>, Vec<Offer>) = offers.into_iter().partition(is_idle);
    for (offers, refuse) in [(idle, Duration::ZERO), (others, NOT_AGAIN)] {
        if !offers.is_empty() {
            // What fails with its leader is offered again by the next one.
            let _ = calls.decline_all(&offers, Some(refuse)).await;
        }
    }
}
