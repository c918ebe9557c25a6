//! The replicated machine as consensus sees it: decodes commands, applies them to the state, publishes the result and
//! tells this node's leader, if it is one, what changed.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use mesarch_consensus::{Corrupt, EntryContext, LogPosition, Machine};
use mesarch_faults::{Fault, on};
use mesarch_state::{
    Change, Command, Effect, FEATURE_LEVEL_MAX, Outcome, State, comparison::is_checkpoint, snapshot,
};
use mesarch_types::Millis;
use tokio::sync::{mpsc, watch};

use crate::{metrics, moments::Moments};

/// Most applied entries that wait for the leader task; beyond, `apply` waits for it.
pub(crate) const FEED_ENTRIES_MAX: usize = 1024;

/// A state and where in the log it stands. Readers keep a copy for as long as they like.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// The state after that entry.
    pub(crate) state: State,
    /// Log index of the last entry applied.
    pub(crate) index: u64,
}

/// What the proposer of a command is told: the outcome, and the log index of its entry.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Where it was applied.
    pub(crate) index: u64,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

/// One applied entry, for the leader.
#[derive(Debug)]
pub(crate) struct AppliedEntry {
    /// Log index.
    pub(crate) index: u64,
    /// The state after it.
    pub(crate) published: Arc<Published>,
    /// Of all its commands, in order.
    pub(crate) changes: Vec<Change>,
    /// Of all its commands, in order.
    pub(crate) effects: Vec<Effect>,
}

/// Where entries of one term go while this node leads in it.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Entries of other terms are not sent.
    pub(crate) term: u64,
    /// Bounded by [`FEED_ENTRIES_MAX`].
    pub(crate) entries: mpsc::Sender<AppliedEntry>,
}

/// The machine's outlets, shared with the rest of the master.
#[derive(Clone, Debug)]
pub(crate) struct Outlets {
    /// The newest state.
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// Set by the leader task for its term.
    pub(crate) feed: Arc<ArcSwapOption<Feed>>,
    /// Every step, for whoever follows.
    pub(crate) moments: Moments,
}

impl Outlets {
    /// The newest state.
    pub(crate) fn newest(&self) -> Arc<Published> {
        self.published.borrow().clone()
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Replica {
    state: State,
    publish: watch::Sender<Arc<Published>>,
    feed: Arc<ArcSwapOption<Feed>>,
    moments: Moments,
    /// States are compared once in so much cluster time.
    compare_every: Millis,
    /// Whether the newest entry is one after which they are.
    checkpoint: bool,
}

impl Replica {
    /// An empty replica and its outlets. `compare_every`: the same on all masters, or nothing is compared.
    pub(crate) fn new(compare_every: Millis) -> (Self, Outlets) {
        let state = State::new();
        let first = Arc::new(Published { state: state.clone(), index: 0 });
        let (publish, published) = watch::channel(first);
        let feed = Arc::new(ArcSwapOption::empty());
        let moments = Moments::default();
        let outlets = Outlets { published, feed: feed.clone(), moments: moments.clone() };
        (Self { state, publish, feed, moments, compare_every, checkpoint: false }, outlets)
    }

    fn publish(&self, index: u64) -> Arc<Published> {
        if self.publish.borrow().state.level() != self.state.level() {
            metrics::feature_level(self.state.level());
        }
        let published = Arc::new(Published { state: self.state.clone(), index });
        self.publish.send_replace(published.clone());
        published
    }

    /// Hands the entry to this node's leader. A leader that has ended its term takes nothing any more.
    async fn feed(&self, term: u64, entry: AppliedEntry) {
        let Some(feed) = self.feed.load_full().filter(|feed| feed.term == term) else {
            return;
        };
        if feed.entries.send(entry).await.is_err() {
            tracing::debug!(term, "the leader task of this term has ended");
        }
    }
}

impl Machine for Replica {
    type Outcome = Answer;
    type Frozen = State;

    async fn apply(&mut self, entry: EntryContext, commands: Vec<Bytes>) -> Result<Vec<Answer>, Corrupt> {
        let (index, before) = (entry.index, self.state.now());
        let earlier = self.publish.borrow().clone();
        let (mut answers, mut changes, mut effects) =
            (Vec::with_capacity(commands.len()), Vec::new(), Vec::new());
        for (position, bytes) in commands.iter().enumerate() {
            let command = Command::decode(bytes).map_err(|error| {
                Corrupt::new(format!("command {position} of log entry {index} does not decode: {error}"))
            })?;
            let mut at = entry.at(position);
            // Broken: nothing but the log goes into the state.
            if on(Fault::ReplicaDiffers) {
                at.wall.0 += u64::from(std::process::id());
            }
            let applied = self.state.apply(at, command);
            if self.state.level() > FEATURE_LEVEL_MAX {
                let level = self.state.level();
                return Err(Corrupt::new(format!(
                    "log entry {index} leads to feature level {level}, and this version knows {FEATURE_LEVEL_MAX}"
                )));
            }
            answers.push(Answer { index, outcome: applied.outcome });
            changes.extend(applied.changes);
            effects.extend(applied.effects);
        }
        self.checkpoint = is_checkpoint(before, self.state.now(), self.compare_every);
        let published = self.publish(index);
        self.moments.applied(&earlier, &published, &changes);
        self.feed(entry.term, AppliedEntry { index, published, changes, effects }).await;
        Ok(answers)
    }

    fn freeze(&self) -> State {
        self.state.clone()
    }

    fn is_checkpoint(&self) -> bool {
        self.checkpoint
    }

    fn digest(frozen: State) -> u128 {
        frozen.digest()
    }

    fn encode(frozen: State, out: &mut dyn Write) -> io::Result<()> {
        snapshot::encode(&frozen, out)
    }

    fn restore(&mut self, input: &mut dyn Read, at: LogPosition) -> Result<(), Corrupt> {
        self.state = snapshot::decode(input).map_err(|error| {
            Corrupt::new(format!("the snapshot at log index {} does not decode: {error}", at.index))
        })?;
        self.publish(at.index);
        self.moments.replaced();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mesarch_consensus::Stamp;
    use mesarch_state::command::{BeginTerm, SetLevel};
    use mesarch_types::ClusterId;

    use super::*;

    async fn apply(
        replica: &mut Replica,
        index: u64,
        cluster_ms: u64,
        command: Command,
    ) -> Result<(), Corrupt> {
        let context = EntryContext { index, term: 1, stamp: Stamp { cluster_ms, wall_ms: 0 } };
        replica.apply(context, vec![command.encode()]).await.map(drop)
    }

    fn begin(level: u32) -> Command {
        Command::BeginTerm(BeginTerm { cluster: ClusterId([1; 16]), incarnation: 1, level, policy: None })
    }

    #[tokio::test]
    async fn a_level_that_this_version_does_not_know_stops_the_node_and_says_both() {
        let (mut replica, outlets) = Replica::new(Millis(100));
        apply(&mut replica, 1, 1, begin(1)).await.unwrap();
        let rise = |level| Command::SetLevel(SetLevel { level });
        apply(&mut replica, 2, 2, rise(FEATURE_LEVEL_MAX)).await.unwrap();
        assert_eq!(outlets.newest().state.level(), FEATURE_LEVEL_MAX);
        let above = FEATURE_LEVEL_MAX + 1;
        let stopped = apply(&mut replica, 3, 3, rise(above)).await.unwrap_err().to_string();
        let expect =
            format!("log entry 3 leads to feature level {above}, and this version knows {FEATURE_LEVEL_MAX}");
        assert!(stopped.contains(&expect), "{stopped}");
    }

    #[tokio::test]
    async fn states_are_compared_after_the_same_entries_whether_replayed_or_restored() {
        let entries = [(1, 5), (2, 90), (3, 120), (4, 130), (5, 450), (6, 450), (7, 500)];
        let (mut replica, _outlets) = Replica::new(Millis(100));
        let mut other = None;
        let mut compared = Vec::new();
        for (index, cluster_ms) in entries {
            apply(&mut replica, index, cluster_ms, begin(1)).await.unwrap();
            if let Some(other) = &mut other {
                apply(other, index, cluster_ms, begin(1)).await.unwrap();
                assert_eq!(replica.is_checkpoint(), other.is_checkpoint(), "entry {index}");
            }
            if index == 3 {
                let mut bytes = Vec::new();
                Replica::encode(replica.freeze(), &mut bytes).unwrap();
                let mut restored = Replica::new(Millis(100)).0;
                restored.restore(&mut bytes.as_slice(), LogPosition { index, term: 1 }).unwrap();
                other = Some(restored);
            }
            compared.extend(replica.is_checkpoint().then_some(index));
        }
        assert_eq!(compared, [3, 5, 7]);
        let other = other.unwrap();
        assert_eq!(Replica::digest(replica.freeze()), Replica::digest(other.freeze()));
    }
}
