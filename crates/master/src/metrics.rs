//! What an operator can watch of a master beside its log: who leads, who is connected, what is refused.

use mesarch_proto::mesos::v1::scheduler::call::Type;

/// Gauge, 0 or 1: this master leads and has begun its term.
pub const LEADING: &str = "mesarch_master_leading";
/// Counter: terms that this master began as leader.
pub const TERMS_BEGUN: &str = "mesarch_master_terms_begun_total";
/// Histogram, seconds: from being elected to serving as leader.
pub const TAKEOVER: &str = "mesarch_master_takeover_seconds";
/// Gauge: schedulers with an open event stream here.
pub const STREAMS: &str = "mesarch_scheduler_streams";
/// Counter: event streams closed because they were not read in time.
pub const STREAM_OVERFLOWS: &str = "mesarch_scheduler_stream_overflows_total";
/// Counter, by `type`: scheduler calls that passed the checks of their form.
pub const CALLS: &str = "mesarch_scheduler_calls_total";
/// Counter: proposals of the leader itself that fit into no log entry.
pub const TOO_LARGE: &str = "mesarch_leader_proposals_too_large_total";
/// Counter: calls that found no place in the proposer's queue in time (503).
pub const BUSY: &str = "mesarch_scheduler_calls_busy_total";
/// Gauge: agents with an open link here.
pub const LINKS: &str = "mesarch_agent_links";
/// Counter: links closed because messages were not read in time.
pub const LINK_OVERFLOWS: &str = "mesarch_agent_link_overflows_total";
/// Counter, by `how`: agents that attached.
pub const ATTACHES: &str = "mesarch_agent_attach_total";
/// Gauge, at the leader: frameworks, counted by role, that want offers, hold nothing and were given nothing for ten
/// allocation intervals. Under the policy `priority` these are those that starve.
pub const STARVING: &str = "mesarch_allocator_starving";
/// Histogram, seconds, at the leader: from the beginning of a plan with offers until its last offer is committed and
/// applied, or refused. One plan at a time.
pub const PLAN_SECONDS: &str = "mesarch_allocator_plan_seconds";
/// Histogram, at the leader: offers of a plan that had any.
pub const PLAN_OFFERS: &str = "mesarch_allocator_plan_offers";

/// Gauge: the feature level that the cluster is on, as far as this master has applied the log.
pub const FEATURE_LEVEL: &str = "mesarch_feature_level";

/// Gauge: operators who follow the state here.
pub const SUBSCRIBERS: &str = "mesarch_operator_streams";
/// Counter, by `why`: streams of operators that this master ended.
pub const SUBSCRIBERS_ENDED: &str = "mesarch_operator_streams_ended_total";

pub(crate) fn subscribers_open(count: usize) {
    metrics::gauge!(SUBSCRIBERS).set(count as f64);
}

pub(crate) fn subscriber_ended(why: &'static str) {
    metrics::counter!(SUBSCRIBERS_ENDED, "why" => why).increment(1);
}

pub(crate) fn feature_level(level: u32) {
    metrics::gauge!(FEATURE_LEVEL).set(f64::from(level));
}

pub(crate) fn starving(clients: u32) {
    metrics::gauge!(STARVING).set(f64::from(clients));
}

pub(crate) fn plan_landed(offers: usize, took: std::time::Duration) {
    metrics::histogram!(PLAN_SECONDS).record(took.as_secs_f64());
    metrics::histogram!(PLAN_OFFERS).record(offers as f64);
}

pub(crate) fn leading(yes: bool) {
    starving(0);
    metrics::gauge!(LEADING).set(if yes { 1.0 } else { 0.0 });
}

pub(crate) fn term_begun(took: std::time::Duration) {
    metrics::counter!(TERMS_BEGUN).increment(1);
    metrics::histogram!(TAKEOVER).record(took.as_secs_f64());
}

pub(crate) fn streams_open(count: usize) {
    metrics::gauge!(STREAMS).set(count as f64);
}

pub(crate) fn stream_overflowed() {
    metrics::counter!(STREAM_OVERFLOWS).increment(1);
}

pub(crate) fn called(kind: Type) {
    metrics::counter!(CALLS, "type" => kind.as_str_name()).increment(1);
}

pub(crate) fn too_large() {
    metrics::counter!(TOO_LARGE).increment(1);
}

pub(crate) fn busy() {
    metrics::counter!(BUSY).increment(1);
}

pub(crate) fn links_open(count: usize) {
    metrics::gauge!(LINKS).set(count as f64);
}

pub(crate) fn link_overflowed() {
    metrics::counter!(LINK_OVERFLOWS).increment(1);
}

pub(crate) fn attached(how: &'static str) {
    metrics::counter!(ATTACHES, "how" => how).increment(1);
}
