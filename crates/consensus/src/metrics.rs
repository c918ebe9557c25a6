//! Names of the metrics that this crate writes, and the handles to them.

use mesarch_state::comparison::Verdict;
use mesarch_types::NodeId;
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

/// Gauge: members of the cluster, by `role` (`voter`, `learner`), as this master knows them.
pub const MEMBERS: &str = "mesarch_raft_members";
/// Gauge: 1 if the member `node` is healthy, 0 if not, by the leader; NaN on masters that do not lead, as the next two.
pub const MEMBER_HEALTHY: &str = "mesarch_raft_member_healthy";
/// Gauge: entries of the leader's log that the member `node` is not known to have.
pub const MEMBER_LAG: &str = "mesarch_raft_member_lag_entries";
/// Gauge: seconds since the member `node` answered the leader.
pub const MEMBER_SILENT: &str = "mesarch_raft_member_silent_seconds";

/// Counter: states after checkpoints that were compared with the other masters', by `result`: `agreed`, `differed`
/// (this master stops), `split` (no majority has the same), `undecided` (too few told), `skipped` (the digest of the one
/// before took too long). Beside the verdict on the own state, `other_differed` counts each master that was seen to differ
/// from a majority to which this one belongs.
pub const DIGEST_CHECKS: &str = "mesarch_state_digest_checks_total";
/// Histogram: seconds that the digest of a state took, on a thread of its own.
pub const DIGEST_SECONDS: &str = "mesarch_state_digest_seconds";

/// A checkpoint of which no digest was taken.
pub(crate) const SKIPPED: &str = "skipped";

/// How a verdict is counted.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Agrees => "agreed",
        Verdict::Differs { .. } => "differed",
        Verdict::Split => "split",
        Verdict::Undecided => "undecided",
        Verdict::OtherDiffers { .. } => "other_differed",
    }
}

/// Sets a gauge of one member. There are as many as nodes, which are few.
pub(crate) fn member(node: NodeId, name: &'static str, value: f64) {
    metrics::gauge!(name, "node" => node.to_string()).set(value);
}

/// Handles of the comparison of states.
pub(crate) struct DigestMetrics {
    pub(crate) seconds: Histogram,
}

impl DigestMetrics {
    pub(crate) fn new() -> Self {
        for result in ["agreed", "differed", "split", "undecided", "other_differed", SKIPPED] {
            // Shown from the start, so that an alert on it can tell zero from absent.
            metrics::counter!(DIGEST_CHECKS, "result" => result).increment(0);
        }
        Self { seconds: metrics::histogram!(DIGEST_SECONDS) }
    }

    /// Once in a while: no handle is kept.
    pub(crate) fn count(&self, result: &'static str) {
        metrics::counter!(DIGEST_CHECKS, "result" => result).increment(1);
    }
}

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
