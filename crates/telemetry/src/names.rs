//! Names of the metrics that tools and dashboards rely on, with their help texts.
//!
//! A crate keeps the names that only it writes beside its code; here is what more than one crate or a person outside
//! depends on. Renaming one breaks somebody's alerts.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Whether a metric only rises, moves both ways, or is a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// The present value.
    Gauge,
    /// A distribution in explicit buckets.
    Histogram,
}

/// One metric: its name and what `/metrics` says about it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Full name, as scraped.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What its value counts.
    pub unit: Unit,
    /// One sentence for operators.
    pub help: &'static str,
}

/// Gauge, always 1: labels `version` and `role` (`master` or `agent`) tell what runs.
pub const BUILD_INFO: &str = "mesarch_build_info";
/// Gauge: wall-clock seconds since the epoch at which the process started.
pub const START_SECONDS: &str = "mesarch_process_start_time_seconds";

/// What dashboards and alerts may rely on, with help texts. The names beyond the first two belong to the crates that
/// write them; a test against a live cluster compares.
pub const METRICS: &[Metric] = &[
    metric(BUILD_INFO, Kind::Gauge, Unit::Count, "What runs here, in its labels; always 1."),
    metric(
        START_SECONDS,
        Kind::Gauge,
        Unit::Seconds,
        "When this process started, in seconds since the epoch.",
    ),
    metric(
        "mesarch_raft_term",
        Kind::Gauge,
        Unit::Count,
        "The term that this master knows; rises with every election.",
    ),
    metric("mesarch_raft_is_leader", Kind::Gauge, Unit::Count, "1 on the master that leads."),
    metric(
        "mesarch_raft_leader_changes_total",
        Kind::Counter,
        Unit::Count,
        "Changes of leader that this master has seen.",
    ),
    metric(
        "mesarch_raft_applied_index",
        Kind::Gauge,
        Unit::Count,
        "The newest log entry that this master has applied.",
    ),
    metric(
        "mesarch_raft_commands_applied_total",
        Kind::Counter,
        Unit::Count,
        "Commands applied; an entry holds many.",
    ),
    metric(
        "mesarch_raft_commit_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "From a command's proposal to its outcome, on the leader.",
    ),
    metric(
        "mesarch_raft_crash_elections_total",
        Kind::Counter,
        Unit::Count,
        "Elections begun because the leader's process was found dead.",
    ),
    metric(
        "mesarch_raft_full",
        Kind::Gauge,
        Unit::Count,
        "1 while commands are refused because memory, descriptors or disk run out.",
    ),
    metric(
        "mesarch_raft_log_sync_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "Time that one sync of the log took.",
    ),
    metric(
        "mesarch_feature_level",
        Kind::Gauge,
        Unit::Count,
        "The feature level that the cluster is on; rises once all masters know a higher one.",
    ),
    metric(
        "mesarch_state_digest_checks_total",
        Kind::Counter,
        Unit::Count,
        "Comparisons of this master's state with the others', by result; `differed` and `split` mean damage.",
    ),
    metric("mesarch_raft_log_bytes", Kind::Gauge, Unit::Bytes, "What the log holds."),
    metric(
        "mesarch_master_leading",
        Kind::Gauge,
        Unit::Count,
        "1 while this master leads and has begun its term.",
    ),
    metric(
        "mesarch_master_takeover_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "From a won election to a leader that serves.",
    ),
    metric("mesarch_scheduler_streams", Kind::Gauge, Unit::Count, "Open event streams to frameworks."),
    metric("mesarch_scheduler_calls_total", Kind::Counter, Unit::Count, "Calls of frameworks, by type."),
    metric(
        "mesarch_scheduler_calls_busy_total",
        Kind::Counter,
        Unit::Count,
        "Calls refused because the queue was full.",
    ),
    metric("mesarch_operator_streams", Kind::Gauge, Unit::Count, "Operators who follow the state here."),
    metric(
        "mesarch_operator_streams_ended_total",
        Kind::Counter,
        Unit::Count,
        "Streams of operators that this master ended, by why.",
    ),
    metric("mesarch_agents_draining", Kind::Gauge, Unit::Count, "Agents that are being drained."),
    metric("mesarch_agents_drained", Kind::Gauge, Unit::Count, "Agents that are drained."),
    metric(
        "mesarch_agents_deactivated",
        Kind::Gauge,
        Unit::Count,
        "Agents whose resources are not offered because an operator said so.",
    ),
    metric(
        "mesarch_maintenance_machines",
        Kind::Gauge,
        Unit::Count,
        "Machines in the maintenance schedule, by mode: draining or down.",
    ),
    metric("mesarch_agent_links", Kind::Gauge, Unit::Count, "Agents linked to this leader."),
    metric(
        "mesarch_agent_attach_total",
        Kind::Counter,
        Unit::Count,
        "Agents attached to this leader, by how much they had to tell.",
    ),
    metric("mesarch_agent_attached", Kind::Gauge, Unit::Count, "1 while this agent is attached to a leader."),
    metric(
        "mesarch_agent_attach_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "From a lost link to the next attachment.",
    ),
    metric("mesarch_agent_tasks", Kind::Gauge, Unit::Count, "Tasks that this agent knows."),
    metric("mesarch_agent_executors", Kind::Gauge, Unit::Count, "Executors that run on this agent."),
    metric("mesarch_agent_launches_total", Kind::Counter, Unit::Count, "Executors started by this agent."),
    metric(
        "mesarch_agent_checkpoint_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "Time that making one step durable took.",
    ),
];

/// What tells more when something is amiss. Some are not there until what they count has happened once.
pub const FURTHER: &[Metric] = &[
    metric(
        "mesarch_raft_commands_open",
        Kind::Gauge,
        Unit::Count,
        "Proposed commands whose outcome is not known yet.",
    ),
    metric(
        "mesarch_raft_entry_commands",
        Kind::Histogram,
        Unit::Count,
        "Commands packed into one log entry.",
    ),
    metric(
        "mesarch_raft_log_appended_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        "Bytes of entries appended to the log.",
    ),
    metric("mesarch_raft_log_entries", Kind::Gauge, Unit::Count, "Entries that the log holds."),
    metric(
        "mesarch_raft_log_sync_entries",
        Kind::Histogram,
        Unit::Count,
        "Entries made durable by one sync.",
    ),
    metric(
        "mesarch_raft_members",
        Kind::Gauge,
        Unit::Count,
        "Members of the cluster as this master knows them, by role.",
    ),
    metric(
        "mesarch_raft_member_healthy",
        Kind::Gauge,
        Unit::Count,
        "1 if a member answers the leader and has nearly all of the log; NaN on masters that do not lead.",
    ),
    metric(
        "mesarch_raft_member_lag_entries",
        Kind::Gauge,
        Unit::Count,
        "Entries of the leader's log that a member is not known to have; NaN on masters that do not lead.",
    ),
    metric(
        "mesarch_raft_member_silent_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "Since a member answered the leader; NaN on masters that do not lead.",
    ),
    metric(
        "mesarch_raft_refused_peers_total",
        Kind::Counter,
        Unit::Count,
        "Requests of another cluster, incarnation, node or disk that were refused.",
    ),
    metric("mesarch_raft_snapshot_bytes", Kind::Gauge, Unit::Bytes, "Size of the newest snapshot file."),
    metric(
        "mesarch_raft_snapshot_write_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "Time that writing one snapshot file took.",
    ),
    metric(
        "mesarch_state_digest_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "Time that the digest of a state took, on a thread of its own.",
    ),
    metric(
        "mesarch_master_terms_begun_total",
        Kind::Counter,
        Unit::Count,
        "Terms that this master began as leader.",
    ),
    metric(
        "mesarch_leader_proposals_too_large_total",
        Kind::Counter,
        Unit::Count,
        "Proposals of the leader itself that fit into no log entry.",
    ),
    metric(
        "mesarch_scheduler_stream_overflows_total",
        Kind::Counter,
        Unit::Count,
        "Event streams closed because they were not read in time.",
    ),
    metric(
        "mesarch_agent_link_overflows_total",
        Kind::Counter,
        Unit::Count,
        "Links to agents closed because messages were not read in time.",
    ),
    metric(
        "mesarch_allocator_plan_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "From the beginning of a plan with offers until its last offer is committed and applied, at the leader.",
    ),
    metric("mesarch_allocator_plan_offers", Kind::Histogram, Unit::Count, "Offers of a plan that had any."),
    metric(
        "mesarch_allocator_starving",
        Kind::Gauge,
        Unit::Count,
        "Frameworks by role that want offers, hold nothing and were given nothing for ten allocation intervals.",
    ),
    metric(
        "mesarch_agent_launch_failures_total",
        Kind::Counter,
        Unit::Count,
        "Runs of executors that could not be started.",
    ),
    metric("mesarch_agent_links_total", Kind::Counter, Unit::Count, "Links opened to a leader."),
    metric(
        "mesarch_agent_updates_sent_total",
        Kind::Counter,
        Unit::Count,
        "Status updates sent to the leader, repeats included.",
    ),
    metric(
        "mesarch_agent_checkpoint_written_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        "Bytes written to the checkpoint.",
    ),
];

const fn metric(name: &'static str, kind: Kind, unit: Unit, help: &'static str) -> Metric {
    Metric { name, kind, unit, help }
}

/// Gives the installed recorder the help text of every metric in [`METRICS`] and [`FURTHER`].
pub fn describe() {
    for metric in METRICS.iter().chain(FURTHER) {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

/// Records what runs: `role` is `master` or `agent`, `version` our own version.
pub fn record_start(role: &'static str, version: &'static str) {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!(BUILD_INFO, "role" => role, "version" => version).set(1.0);
    metrics::gauge!(START_SECONDS).set(since_epoch.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ours_unique_and_end_in_their_unit() {
        let mut names: Vec<_> = METRICS.iter().chain(FURTHER).map(|metric| metric.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        for metric in METRICS.iter().chain(FURTHER) {
            assert!(metric.name.starts_with("mesarch_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert_eq!(metric.unit == Unit::Seconds, metric.name.ends_with("_seconds"), "{}", metric.name);
        }
    }
}
