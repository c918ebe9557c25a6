//! Times. *Cluster time* is what decisions read; *wall time* is for display and maintenance windows only.

use crate::{Epoch, LaunchId};

/// Milliseconds: a duration, or cluster time since the cluster began. Cluster time only measures durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// Longer than any cluster lives.
    pub const FOREVER: Self = Self(u64::MAX);

    /// So many whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// `self + other`, at most [`Millis::FOREVER`].
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, at least zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z by the clock of whoever was leader. For display and maintenance windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMillis(pub u64);

/// Names what an agent's resources were made into at one place of the log. Grows with each change, and over restores of
/// the cluster from a copy, which begin a higher incarnation; the default says that nothing was ever made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceVersion {
    /// The cluster's incarnation at the change.
    pub incarnation: u64,
    /// The command that made it.
    pub epoch: Epoch,
}

/// Where and when a command is applied. The leader chose the times; they are part of the log entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// Log index of the entry.
    pub index: u64,
    /// Position of the command in the entry.
    pub position: u32,
    /// Raft term of the entry.
    pub term: u64,
    /// Cluster time.
    pub now: Millis,
    /// Wall time.
    pub wall: WallMillis,
}

/// Most tasks that one command may launch (design bound); spaces launch ids of one entry apart.
pub const LAUNCHES_PER_COMMAND_MAX: u32 = 1000;

/// Most commands in one entry (the proposer packs at most 256); spaces the epochs of one entry apart.
pub const COMMANDS_PER_ENTRY_MAX: u32 = 4096;

impl At {
    /// What begins by this command, named uniquely: two commands of one entry never begin the same epoch. Grows with
    /// the log.
    pub fn epoch(&self) -> Epoch {
        debug_assert!(self.position < COMMANDS_PER_ENTRY_MAX);
        Epoch(self.index * u64::from(COMMANDS_PER_ENTRY_MAX) + u64::from(self.position))
    }

    /// The launch id of the `task`-th task (below [`LAUNCHES_PER_COMMAND_MAX`]) of this command.
    pub fn launch(&self, task: u32) -> LaunchId {
        debug_assert!(task < LAUNCHES_PER_COMMAND_MAX);
        LaunchId { index: self.index, position: self.position * LAUNCHES_PER_COMMAND_MAX + task }
    }
}
