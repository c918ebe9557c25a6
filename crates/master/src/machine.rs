//! The replicated machine as consensus sees it: decodes commands, applies them to the state, publishes the result and
//! tells this node's leader, if it is one, what changed.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use mesarch_consensus::{Corrupt, EntryContext, LogPosition, Machine};
use mesarch_state::{Change, Command, Effect, FEATURE_LEVEL_MAX, Outcome, State, snapshot};
use mesarch_types::{At, Millis, WallMillis};
use tokio::sync::{mpsc, watch};

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
}

impl Replica {
    /// An empty replica and its outlets.
    pub(crate) fn new() -> (Self, Outlets) {
        let state = State::new();
        let first = Arc::new(Published { state: state.clone(), index: 0 });
        let (publish, published) = watch::channel(first);
        let feed = Arc::new(ArcSwapOption::empty());
        let outlets = Outlets { published, feed: feed.clone() };
        (Self { state, publish, feed }, outlets)
    }

    fn publish(&self, index: u64) -> Arc<Published> {
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
        let index = entry.index;
        let (mut answers, mut changes, mut effects) =
            (Vec::with_capacity(commands.len()), Vec::new(), Vec::new());
        for (position, bytes) in commands.iter().enumerate() {
            let command = Command::decode(bytes).map_err(|error| {
                Corrupt::new(format!("command {position} of log entry {index} does not decode: {error}"))
            })?;
            let applied = self.state.apply(at(&entry, position), command);
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
        let published = self.publish(index);
        self.feed(entry.term, AppliedEntry { index, published, changes, effects }).await;
        Ok(answers)
    }

    fn freeze(&self) -> State {
        self.state.clone()
    }

    fn encode(frozen: State, out: &mut dyn Write) -> io::Result<()> {
        snapshot::encode(&frozen, out)
    }

    fn restore(&mut self, input: &mut dyn Read, at: LogPosition) -> Result<(), Corrupt> {
        self.state = snapshot::decode(input).map_err(|error| {
            Corrupt::new(format!("the snapshot at log index {} does not decode: {error}", at.index))
        })?;
        self.publish(at.index);
        Ok(())
    }
}

fn at(entry: &EntryContext, position: usize) -> At {
    At {
        index: entry.index,
        // An entry is packed from some hundred commands at most.
        position: u32::try_from(position).unwrap_or(u32::MAX),
        term: entry.term,
        now: Millis(entry.stamp.cluster_ms),
        wall: WallMillis(entry.stamp.wall_ms),
    }
}
