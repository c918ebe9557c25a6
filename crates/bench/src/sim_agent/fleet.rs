//! Many simulated agents that follow the leader: they watch every master, go to whoever leads in the highest term, and
//! attach with a digest of what they run. Several share their connections, because a process may hold only so many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mesarch_agent::masters::{self, Standing};
use mesarch_client::backoff::Backoff;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tonic::transport::Channel;

use super::{Spec, Tasks, serve};

/// Agents of one crew begin so far apart: a fleet that is built up is no storm.
const BEGIN_APART: Duration = Duration::from_micros(200);

/// The agents; dropped, they end.
pub(crate) struct Fleet {
    size: usize,
    roll: Arc<Roll>,
    /// Ends only with the fleet.
    running: JoinSet<()>,
}

/// Who is attached to the leader of the highest term.
struct Roll {
    muster: watch::Sender<Muster>,
    /// Of all agents and leaders.
    inventories: Arc<AtomicU64>,
}

/// How many agents the leader of `term` has taken so far, and when it took the last.
#[derive(Clone, Copy, Debug)]
struct Muster {
    term: u64,
    attached: usize,
    last: Instant,
}

impl Roll {
    fn new() -> Self {
        let muster = Muster { term: 0, attached: 0, last: Instant::now() };
        Self { muster: watch::Sender::new(muster), inventories: Arc::default() }
    }

    /// An agent that was attached to no leader of this term before.
    fn attached(&self, term: u64) {
        self.muster.send_if_modified(|muster| {
            if term < muster.term {
                return false;
            }
            let before = if term > muster.term { 0 } else { muster.attached };
            *muster = Muster { term, attached: before + 1, last: Instant::now() };
            true
        });
    }
}

/// Who leads, by one master after the other.
type Leaders = Vec<Option<(u64, Channel)>>;

impl Fleet {
    /// A fleet without agents.
    pub(crate) fn new() -> Self {
        Self { size: 0, roll: Arc::new(Roll::new()), running: JoinSet::new() }
    }

    /// Adds agents with these specifications, `per_connection` of which share a connection to each master, and waits
    /// until all of the fleet are attached.
    ///
    /// # Errors
    /// If they are not within `within`.
    pub(crate) async fn add(
        &mut self,
        masters: &[String],
        specs: &[Spec],
        per_connection: usize,
        within: Duration,
    ) -> anyhow::Result<()> {
        self.size += specs.len();
        for crew in specs.chunks(per_connection.max(1)) {
            let leaders = watch_masters(masters, &mut self.running);
            for spec in crew {
                let tasks = Tasks::new(spec.clone(), self.roll.inventories.clone());
                let agent = Follower { tasks, leaders: leaders.clone(), roll: self.roll.clone() };
                self.running.spawn(agent.run());
                tokio::time::sleep(BEGIN_APART).await;
            }
        }
        self.all_attached_above(0, within).await.map(drop)
    }

    /// The highest term in which an agent was attached.
    pub(crate) fn term(&self) -> u64 {
        self.roll.muster.borrow().term
    }

    /// How often a leader asked an agent for everything that it runs, because its digest did not say it.
    pub(crate) fn inventories(&self) -> u64 {
        self.roll.inventories.load(Ordering::Relaxed)
    }

    /// Waits until a leader of a higher term has taken all of them; when it took the last one.
    ///
    /// # Errors
    /// If it has not within `within`; it tells how many there are.
    pub(crate) async fn all_attached_above(&self, term: u64, within: Duration) -> anyhow::Result<Instant> {
        let mut muster = self.roll.muster.subscribe();
        let complete = muster.wait_for(|muster| muster.term > term && muster.attached >= self.size);
        if let Ok(complete) = timeout(within, complete).await {
            return Ok(complete.context("the fleet has ended")?.last);
        }
        let there = Some(*self.roll.muster.borrow()).filter(|muster| muster.term > term);
        let attached = there.map_or(0, |muster| muster.attached);
        bail!("{attached} of {} agents are attached after {} s", self.size, within.as_secs())
    }
}

/// Watches every master, as a real agent does.
fn watch_masters(masters: &[String], running: &mut JoinSet<()>) -> watch::Receiver<Leaders> {
    let leaders = Arc::new(watch::Sender::new(vec![None; masters.len()]));
    let receiver = leaders.subscribe();
    for (index, master) in masters.iter().enumerate() {
        let (sender, mut standing) = watch::channel(Standing::unknown(master));
        running.spawn(masters::follow(master.clone(), sender));
        let leaders = leaders.clone();
        running.spawn(async move {
            while standing.changed().await.is_ok() {
                let leads = standing.borrow_and_update().leads.clone();
                leaders.send_if_modified(|all| {
                    let is_news = term_of(&all[index]) != term_of(&leads);
                    all[index] = leads;
                    is_news
                });
            }
        });
    }
    receiver
}

fn term_of(leads: &Option<(u64, Channel)>) -> Option<u64> {
    leads.as_ref().map(|(term, _)| *term)
}

/// One agent.
struct Follower {
    tasks: Tasks,
    leaders: watch::Receiver<Leaders>,
    roll: Arc<Roll>,
}

impl Follower {
    /// One link after another, always to whoever leads in the highest term.
    async fn run(mut self) {
        let (mut backoff, newest) = (Backoff::new(), AtomicU64::new(0));
        let mut leaders = self.leaders.clone();
        while let Some((term, channel)) = leader_above(&mut self.leaders, None).await {
            let attached = |term| {
                if newest.fetch_max(term, Ordering::Relaxed) < term {
                    self.roll.attached(term);
                }
            };
            tokio::select! {
                _ended = serve(channel, &mut self.tasks, attached) => {}
                _newer = leader_above(&mut leaders, Some(term)) => {}
            }
            if newest.load(Ordering::Relaxed) == term {
                backoff.reset();
            }
            // Whoever leads in a newer term is gone to at once; the same one is not run into again and again.
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                _newer = leader_above(&mut leaders, Some(term)) => {}
            }
        }
    }
}

/// Waits for a master that leads in a higher term than `term`; none if nobody watches any more.
async fn leader_above(leaders: &mut watch::Receiver<Leaders>, term: Option<u64>) -> Option<(u64, Channel)> {
    let best = |all: &Leaders| all.iter().flatten().max_by_key(|(term, _)| *term).cloned();
    let above = |all: &Leaders| best(all).is_some_and(|(newest, _)| term.is_none_or(|term| newest > term));
    let found = leaders.wait_for(above).await.ok()?;
    best(&found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_roll_counts_the_newest_term_only() {
        let roll = Arc::new(Roll::new());
        let fleet = Fleet { size: 2, roll: roll.clone(), running: JoinSet::new() };
        for term in [3, 5, 3] {
            roll.attached(term);
        }
        let short = fleet.all_attached_above(3, Duration::ZERO).await.unwrap_err();
        assert!(short.to_string().starts_with("1 of 2 agents"), "{short}");
        roll.attached(5);
        let last = fleet.all_attached_above(3, Duration::ZERO).await.unwrap();
        assert!(last <= Instant::now() && fleet.term() == 5);
        let none = fleet.all_attached_above(5, Duration::ZERO).await.unwrap_err();
        assert!(none.to_string().starts_with("0 of 2 agents"), "{none}");
    }
}
