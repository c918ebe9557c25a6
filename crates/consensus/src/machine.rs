//! What consensus replicates.

use std::future::Future;
use std::io::{self, Read, Write};

use bytes::Bytes;
use mesarch_types::{At, Millis, WallMillis};

/// Cluster time and wall time, chosen by the leader when it proposes; part of the entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Cluster time in ms; it measures durations only.
    pub cluster_ms: u64,
    /// ms since 1970, for display only.
    pub wall_ms: u64,
}

/// Where in the log an entry stands and when it was proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryContext {
    /// Log index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// The times that its proposer chose.
    pub stamp: Stamp,
}

impl EntryContext {
    /// Where and when the command at `position` of the entry is applied.
    pub fn at(&self, position: usize) -> At {
        At {
            index: self.index,
            // An entry is packed from some hundred commands at most.
            position: u32::try_from(position).unwrap_or(u32::MAX),
            term: self.term,
            now: Millis(self.stamp.cluster_ms),
            wall: WallMillis(self.stamp.wall_ms),
        }
    }
}

/// The last entry that a snapshot covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// Log index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
}

/// Something that every replica has to agree on does not decode or does not fit: the node stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt: {what}")]
pub struct Corrupt {
    /// What does not fit, for the log.
    pub what: String,
}

impl Corrupt {
    /// Says what does not fit.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// What consensus replicates; implemented by the master over its state and by a small register machine in tests.
pub trait Machine: Send + Sync + 'static {
    /// What the proposer of a command is told.
    type Outcome: Send + 'static;
    /// The state at one moment: an O(1) copy that is encoded off the apply path.
    type Frozen: Send + 'static;

    /// Applies all commands of one committed entry, in order; one outcome per command. An error means corruption: the
    /// node stops and its process exits non-zero.
    fn apply(
        &mut self,
        entry: EntryContext,
        commands: Vec<Bytes>,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, Corrupt>> + Send;

    /// Copies the state in constant time.
    fn freeze(&self) -> Self::Frozen;

    /// Whether the entry just applied is one after which all replicas compare their states. A function of the log alone,
    /// so that all replicas answer alike, and seldom true: a digest costs what a snapshot does.
    fn is_checkpoint(&self) -> bool;

    /// A hash of all that [`encode`](Machine::encode) writes, equal on replicas whose states are; runs on a blocking
    /// thread, which also drops the copy.
    fn digest(frozen: Self::Frozen) -> u128;

    /// Writes a frozen state; runs on a blocking thread, which also drops it.
    fn encode(frozen: Self::Frozen, out: &mut dyn Write) -> io::Result<()>;

    /// Replaces the state by what [`encode`](Machine::encode) wrote; runs on a blocking thread.
    fn restore(&mut self, input: &mut dyn Read, at: LogPosition) -> Result<(), Corrupt>;
}
