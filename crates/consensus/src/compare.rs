//! Compares this node's state with the others': see [`mesarch_state::comparison`] for who stops and why that is right.
//!
//! The apply path hands over an O(1) copy of the state after a checkpoint. One task takes its digest on a blocking
//! thread, one at a time, and exchanges digests with the other members; what they send by themselves comes in through the
//! service. A node that differs from a majority is stopped, and its data directory says so to its next start, which
//! [`refuse_damage`] allows only from a state before the damage.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use mesarch_state::comparison::{Checkpoint, Comparison, Verdict, Voters};
use mesarch_storage::{Damage, DataDir, Fatal, NodeInfo, SnapshotStore};
use mesarch_types::NodeId;
use tokio::sync::mpsc;

use crate::control::Control;
use crate::machine::Machine;
use crate::metrics::{self, DigestMetrics};
use crate::network::client::Dialer;
use crate::start::StartError;
use crate::stop::{Stopping, stopped};

/// States that wait for their digest beside the one that is worked on. A checkpoint that finds no place is skipped.
pub(crate) const QUEUE_STATES: usize = 1;
/// Between two questions about checkpoints on which there is no verdict yet.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The state after a checkpoint.
pub(crate) struct Taken<F> {
    pub(crate) index: u64,
    pub(crate) frozen: F,
    pub(crate) voters: Voters,
}

/// The digests of this node and of the others, shared by those who bring them.
#[derive(Clone)]
pub(crate) struct Digests(Arc<Shared>);

struct Shared {
    me: NodeId,
    known: Mutex<Comparison>,
    /// Index of the newest checkpoint on which a majority agreed with this node; 0: none yet.
    agreed: AtomicU64,
    /// Where a damage is kept for the next start.
    dir: Arc<DataDir>,
    /// Whether this process has kept one: until it ends it may come to more such verdicts.
    damaged: AtomicBool,
    fatal: Fatal,
    metrics: DigestMetrics,
}

impl Digests {
    pub(crate) fn new(dir: Arc<DataDir>, fatal: Fatal) -> Self {
        let me = dir.identity().node;
        let (known, agreed) = (Mutex::new(Comparison::new(me)), AtomicU64::new(0));
        let (damaged, metrics) = (AtomicBool::new(false), DigestMetrics::new());
        Self(Arc::new(Shared { me, known, agreed, dir, damaged, fatal, metrics }))
    }

    /// Takes in what another node told; what this one has to tell.
    pub(crate) fn exchange(&self, from: NodeId, theirs: &[Checkpoint]) -> Vec<Checkpoint> {
        let verdicts = self.known().told(from, theirs);
        self.settle(verdicts);
        self.checkpoints()
    }

    fn computed(&self, checkpoint: Checkpoint, voters: Voters) {
        let verdicts = self.known().computed(checkpoint, voters);
        self.settle(verdicts);
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        self.known().checkpoints()
    }

    fn is_open(&self) -> bool {
        self.known().is_open()
    }

    fn settle(&self, verdicts: Vec<(u64, Verdict)>) {
        for (index, verdict) in verdicts {
            self.0.metrics.count(metrics::verdict(verdict));
            match verdict {
                Verdict::Agrees => {
                    tracing::debug!(index, "a majority has the same state");
                    self.agrees(index);
                }
                Verdict::Undecided => tracing::info!(index, "too few masters told the digest of their state"),
                Verdict::Split => {
                    tracing::error!(index, "the masters have different states, and no majority the same");
                }
                Verdict::OtherDiffers { node, theirs } => tracing::error!(
                    index, %node, digest = format_args!("{theirs:032x}"),
                    "a master has another state than the majority, to which this one belongs; it has to stop itself"
                ),
                Verdict::Differs { ours, theirs } => self.damaged(index, ours, theirs),
            }
        }
    }

    /// What an earlier process found out is over with the first agreement.
    fn agrees(&self, index: u64) {
        if self.0.agreed.fetch_max(index, Ordering::Relaxed) > 0 {
            return;
        }
        match self.0.dir.damage() {
            Ok(None) => {}
            Ok(Some(_)) => {
                if let Err(error) = self.0.dir.clear_damage() {
                    tracing::error!(%error, "cannot forget an earlier damage");
                }
            }
            Err(error) => tracing::error!(%error, "cannot read what an earlier process found out"),
        }
    }

    /// The process ends by the report, so what the next one must know is on disk before; the wait for the disk holds up
    /// nobody who still matters.
    fn damaged(&self, differs: u64, ours: u128, theirs: u128) {
        if self.0.damaged.swap(true, Ordering::Relaxed) {
            return;
        }
        let agreed = Some(self.0.agreed.load(Ordering::Relaxed)).filter(|agreed| *agreed > 0);
        let again = self.0.dir.damage().is_ok_and(|earlier| earlier.is_some());
        if let Err(error) = self.0.dir.record_damage(&Damage { agreed, differs, again }) {
            tracing::error!(%error, "cannot keep for the next start that this master is damaged");
        }
        self.0.fatal.report(format_args!(
            "the state after log entry {differs} has digest {ours:032x} here and {theirs:032x} on a majority of the \
             masters: this one is damaged"
        ));
    }

    fn known(&self) -> MutexGuard<'_, Comparison> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses to start from a snapshot that may hold the damage for which an earlier process ended. If none does, the log
/// is replayed from before it, which heals what was in memory only; if it does not, the second end is the last. Blocks.
pub(crate) fn refuse_damage(dir: &DataDir, snapshots: &SnapshotStore) -> Result<(), StartError> {
    let Some(damage) = dir.damage()? else { return Ok(()) };
    let newest = snapshots.newest();
    let covered = newest.and_then(|newest| newest.meta().last_log_id).map_or(0, |covered| covered.index);
    if damage.again || damage.may_be_in(covered) {
        let (path, differs) = (dir.path().to_path_buf(), damage.differs);
        return Err(StartError::Damaged { path, differs, covered });
    }
    tracing::warn!(
        ?damage,
        covered,
        "ended because its state differed; begins before the damage and replays the log"
    );
    Ok(())
}

/// Where the apply path leaves the states after checkpoints.
pub(crate) struct Checkpoints<F> {
    me: NodeId,
    queue: mpsc::Sender<Taken<F>>,
    metrics: DigestMetrics,
}

impl<F> Checkpoints<F> {
    pub(crate) fn new(me: NodeId) -> (Self, mpsc::Receiver<Taken<F>>) {
        let (queue, taken) = mpsc::channel(QUEUE_STATES);
        (Self { me, queue, metrics: DigestMetrics::new() }, taken)
    }

    /// Hands the state over unless the digest of an earlier one takes too long, or there is nobody to compare with.
    pub(crate) fn take(&self, index: u64, voters: Voters, freeze: impl FnOnce() -> F) {
        if voters.iter().flatten().all(|node| *node == self.me) {
            return;
        }
        match self.queue.try_reserve() {
            Ok(place) => place.send(Taken { index, frozen: freeze(), voters }),
            Err(_) => self.metrics.count(metrics::SKIPPED),
        }
    }
}

/// Takes digests and exchanges them until `stop`.
pub(crate) async fn compare<M: Machine>(
    mut taken: mpsc::Receiver<Taken<M::Frozen>>,
    digests: Digests,
    control: Arc<dyn Control>,
    dialer: Dialer,
    mut stop: Stopping,
) {
    let mut ticks = tokio::time::interval(ASK_AGAIN);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let next = tokio::select! {
            () = stopped(&mut stop) => return,
            next = taken.recv() => match next {
                Some(next) => Some(next),
                None => return,
            },
            _ = ticks.tick(), if digests.is_open() => None,
        };
        if let Some(next) = next {
            digest::<M>(next, &digests).await;
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = exchange(&digests, &*control, &dialer) => {}
        }
    }
}

/// On a blocking thread, which also drops the copy: by then it may be the last that holds much of the old state.
async fn digest<M: Machine>(taken: Taken<M::Frozen>, digests: &Digests) {
    let Taken { index, frozen, voters } = taken;
    let timer = digests.0.metrics.seconds.clone();
    let computed = tokio::task::spawn_blocking(move || {
        let started = std::time::Instant::now();
        let digest = M::digest(frozen);
        timer.record(started.elapsed());
        digest
    });
    match computed.await {
        Ok(digest) => digests.computed(Checkpoint { index, digest }, voters),
        Err(error) => {
            digests.0.fatal.report(format_args!("the digest of the state cannot be taken: {error}"))
        }
    }
}

/// Tells all other members, at the same time, and takes in what they answer. Who does not answer is asked again.
async fn exchange(digests: &Digests, control: &dyn Control, dialer: &Dialer) {
    let (ours, members) = (digests.checkpoints(), control.members());
    let others = members.all().filter(|(node, _)| **node != digests.0.me);
    let asked = others.map(|(node, info)| ask(*node, info, dialer, &ours, digests));
    join_all(asked.collect::<Vec<_>>()).await;
}

async fn ask(node: NodeId, info: &NodeInfo, dialer: &Dialer, ours: &[Checkpoint], digests: &Digests) {
    match dialer.peer(node, info).compare_digests(ours).await {
        Ok(theirs) => drop(digests.exchange(node, &theirs)),
        Err(error) => tracing::debug!(%node, %error, "a master did not tell its digests"),
    }
}

#[cfg(test)]
#[path = "compare_test.rs"]
mod tests;
