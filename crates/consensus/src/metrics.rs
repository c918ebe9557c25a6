//! Names of the metrics that this crate writes, and the handles to them.

use metrics::{Counter, Gauge, Histogram};

/// Gauge: the current term.
pub const TERM: &str = "mesarch_raft_term";
/// Gauge: 1 on the established leader, 0 elsewhere.
pub const IS_LEADER: &str = "mesarch_raft_is_leader";
/// Counter: how often a leader was seen to change.
pub const LEADER_CHANGES: &str = "mesarch_raft_leader_changes_total";
/// Gauge: index of the last applied entry.
pub const APPLIED_INDEX: &str = "mesarch_raft_applied_index";
/// Counter: commands applied.
pub const COMMANDS_APPLIED: &str = "mesarch_raft_commands_applied_total";
/// Histogram: commands packed into one entry.
pub const ENTRY_COMMANDS: &str = "mesarch_raft_entry_commands";
/// Histogram: seconds from packing an entry until Raft answered for it.
pub const COMMIT_SECONDS: &str = "mesarch_raft_commit_seconds";
/// Gauge: commands whose outcome is open.
pub const COMMANDS_OPEN: &str = "mesarch_raft_commands_open";
/// Counter: elections started because the leader's process was proven dead.
pub const CRASH_ELECTIONS: &str = "mesarch_raft_crash_elections_total";
/// Counter: requests of another cluster, incarnation, node or disk that were refused.
pub const REFUSED_PEERS: &str = "mesarch_raft_refused_peers_total";
/// Gauge: 1 while proposals are refused because a resource runs out.
pub const FULL: &str = "mesarch_raft_full";

/// Handles of the apply path.
pub(crate) struct ApplyMetrics {
    pub(crate) index: Gauge,
    pub(crate) commands: Counter,
}

impl ApplyMetrics {
    pub(crate) fn new() -> Self {
        Self { index: metrics::gauge!(APPLIED_INDEX), commands: metrics::counter!(COMMANDS_APPLIED) }
    }
}

/// Handles of the proposer.
pub(crate) struct ProposeMetrics {
    pub(crate) entry_commands: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) open: Gauge,
}

impl ProposeMetrics {
    pub(crate) fn new() -> Self {
        Self {
            entry_commands: metrics::histogram!(ENTRY_COMMANDS),
            commit_seconds: metrics::histogram!(COMMIT_SECONDS),
            open: metrics::gauge!(COMMANDS_OPEN),
        }
    }
}
