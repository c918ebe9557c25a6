//! What an operator can watch of a master beside its log: who leads, who is connected, what is refused.

use std::sync::atomic::{AtomicU64, Ordering};

use mesarch_proto::mesos::v1::scheduler::call::Type;
use mesarch_state::{
    State,
    model::{DrainState, MachineMode},
};

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

/// Gauge: agents that are being drained.
pub const AGENTS_DRAINING: &str = "mesarch_agents_draining";
/// Gauge: agents that are drained and not yet reactivated.
pub const AGENTS_DRAINED: &str = "mesarch_agents_drained";
/// Gauge: agents whose resources are not offered because an operator said so, by a drain or without.
pub const AGENTS_DEACTIVATED: &str = "mesarch_agents_deactivated";
/// Gauge, by `mode`, `draining` or `down`: machines in the maintenance schedule.
pub const MACHINES: &str = "mesarch_maintenance_machines";

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

/// The same numbers as in [`CALLS`], for those who ask for them by Mesos' names.
static CALLED: [AtomicU64; CALL_TYPES] = [const { AtomicU64::new(0) }; CALL_TYPES];
/// Types of calls are numbered from 0 up to below this.
const CALL_TYPES: usize = 32;

pub(crate) fn called(kind: Type) {
    metrics::counter!(CALLS, "type" => kind.as_str_name()).increment(1);
    if let Some(called) = CALLED.get(kind as usize) {
        called.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls of this type that passed the checks of their form, since this process started.
pub(crate) fn calls_of(kind: Type) -> u64 {
    CALLED.get(kind as usize).map_or(0, |called| called.load(Ordering::Relaxed))
}

/// What operators have planned, as this master has applied it.
pub(crate) fn administration(state: &State) {
    let (mut draining, mut drained, mut deactivated) = (0_u32, 0_u32, 0_u32);
    for agent in state.agents() {
        match agent.administration.drain.map(|drain| drain.state) {
            Some(DrainState::Draining) => draining += 1,
            Some(DrainState::Drained) => drained += 1,
            None => {}
        }
        deactivated += u32::from(agent.administration.deactivated);
    }
    metrics::gauge!(AGENTS_DRAINING).set(f64::from(draining));
    metrics::gauge!(AGENTS_DRAINED).set(f64::from(drained));
    metrics::gauge!(AGENTS_DEACTIVATED).set(f64::from(deactivated));
    for (mode, label) in [(MachineMode::Draining, "draining"), (MachineMode::Down, "down")] {
        let machines = state.machines().filter(|(_, machine)| machine.mode == mode).count();
        metrics::gauge!(MACHINES, "mode" => label).set(machines as f64);
    }
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
