//! Who may join and leave: how the members do, as the leader sees it, and the rules that keep a quorum.
//!
//! Raft itself carries out whatever change of members has a majority today, even one after which nobody has a majority.
//! So each change is judged here first, by who answers now; a refusal names the rule that stands against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesarch_storage::NodeInfo;
use mesarch_types::NodeId;
use tokio::time::Instant;

use crate::control::Control;
use crate::metrics::{self, MEMBER_HEALTHY, MEMBER_LAG, MEMBER_SILENT, MEMBERS};
use crate::options::Timing;
use crate::status::{Members, Role, Status};
use crate::stop::{Stopping, stopped};

/// A member that lags by more entries than this is not healthy.
pub const LAG_ENTRIES_MAX: u64 = 1_000;
/// Least silence after which a member is not healthy; four heartbeats if that is longer.
const SILENCE_MIN: Duration = Duration::from_secs(2);
/// Between two looks at the members.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A change of members that its leader did not finish is finished by the next one after so long.
const UNFINISHED_MAX: Duration = Duration::from_secs(5);

/// Why a change of members is refused, before anything is done. Each text names its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// It is about a node that does not belong to the cluster.
    #[error("rule \"member\": node {0} is not a member")]
    NotAMember(NodeId),
    /// Two nodes would have the same address.
    #[error("rule \"address\": {address} is the address of node {node}")]
    AddressTaken {
        /// The address.
        address: String,
        /// Whose it is.
        node: NodeId,
    },
    /// A node's address would change.
    #[error("rule \"address\": node {0} is a member under another address; a member keeps its addresses")]
    OtherAddress(NodeId),
    /// The new node does not answer, or not as the one that it is to be.
    #[error("rule \"answers\": node {node} does not answer at {address}: {why}")]
    DoesNotAnswer {
        /// The node.
        node: NodeId,
        /// Its Raft address.
        address: String,
        /// What was heard instead.
        why: String,
    },
    /// The new node would stop at the first entry that it does not understand.
    #[error("rule \"level\": node {node} knows feature levels up to {known}, and the cluster is on {level}")]
    TooOld {
        /// The node.
        node: NodeId,
        /// The highest level that it knows.
        known: u32,
        /// The level of the cluster.
        level: u32,
    },
    /// It did not answer lately: as a voter it would only raise what a majority is.
    #[error(
        "rule \"healthy\": node {0} has not answered lately; a voter that is away costs the cluster a failure"
    )]
    Silent(NodeId),
    /// It does not have the log yet.
    #[error("rule \"caught up\": node {node} lags by {lag} entries, at most {LAG_ENTRIES_MAX} are allowed")]
    Lags {
        /// The node.
        node: NodeId,
        /// How many entries it lacks.
        lag: u64,
    },
    /// Nobody would be left.
    #[error("rule \"last voter\": node {0} is the only voter; promote another one first")]
    LastVoter(NodeId),
    /// Those who would be left could not commit anything.
    #[error(
        "rule \"quorum\": without node {node}, {healthy} of {voters} voters would be healthy, and {needed} are needed; \
         bring others back first"
    )]
    Quorum {
        /// Who was to be removed.
        node: NodeId,
        /// Healthy voters that would be left.
        healthy: usize,
        /// Voters that would be left.
        voters: usize,
        /// A majority of them.
        needed: usize,
    },
}

/// How a member does, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// It answered lately and lags by [`LAG_ENTRIES_MAX`] entries at most.
    pub healthy: bool,
    /// ms for which that was so, or not so, under this leader.
    pub for_ms: u64,
    /// ms since it answered last; none: never under this leader. 0 of the leader itself.
    pub silent_ms: Option<u64>,
    /// Entries of the leader's log that it is not known to have; none: nothing is known.
    pub lag: Option<u64>,
}

/// Remembers since when members are healthy. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Census {
    known: Arc<Mutex<Known>>,
    silence_max_ms: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// Under whom nothing else counts.
    term: u64,
    since: BTreeMap<NodeId, (bool, Instant)>,
}

impl Census {
    pub(crate) fn new(timing: Timing) -> Self {
        let silence_max = SILENCE_MIN.max(timing.heartbeat * 4);
        Self { known: Arc::default(), silence_max_ms: silence_max.as_millis() as u64 }
    }

    /// How all members do now; empty unless `status` is a leader's.
    pub(crate) fn look(&self, status: &Status) -> BTreeMap<NodeId, Health> {
        self.look_at(status, Instant::now())
    }

    fn look_at(&self, status: &Status, now: Instant) -> BTreeMap<NodeId, Health> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if status.role != Role::Leader || known.term != status.term {
            *known = Known { term: status.term, ..Known::default() };
        }
        if status.role != Role::Leader {
            return BTreeMap::new();
        }
        known.since.retain(|node, _| status.members.contains(*node));
        let members = status.members.all().map(|(node, _)| {
            let (silent_ms, lag) = vitals(status, *node);
            let heard = silent_ms.is_some_and(|silent_ms| silent_ms <= self.silence_max_ms);
            let healthy = heard && lag.is_some_and(|lag| lag <= LAG_ENTRIES_MAX);
            let since = known.since.entry(*node).or_insert((healthy, now));
            if since.0 != healthy {
                *since = (healthy, now);
            }
            let for_ms = now.saturating_duration_since(since.1).as_millis() as u64;
            (*node, Health { healthy, for_ms, silent_ms, lag })
        });
        members.collect()
    }
}

/// Silence in ms and lag in entries.
fn vitals(status: &Status, node: NodeId) -> (Option<u64>, Option<u64>) {
    if node == status.node {
        return (Some(0), Some(0));
    }
    let replication = status.replication.get(&node);
    let last = status.last_log.unwrap_or(0);
    let lag = replication.map(|it| last.saturating_sub(it.matched.unwrap_or(0)));
    (replication.and_then(|it| it.silent_ms), lag)
}

/// Whether `node` may become a member at these addresses; whether it is one already.
pub(crate) fn may_add(members: &Members, node: NodeId, info: &NodeInfo) -> Result<bool, Rule> {
    for (other, known) in members.all() {
        if *other == node {
            return if known == info { Ok(true) } else { Err(Rule::OtherAddress(node)) };
        }
        for (address, taken) in [(&info.raft, &known.raft), (&info.client, &known.client)] {
            if address == taken {
                return Err(Rule::AddressTaken { address: address.clone(), node: *other });
            }
        }
    }
    Ok(false)
}

/// Whether `node` may vote.
pub(crate) fn may_promote(
    members: &Members,
    health: &BTreeMap<NodeId, Health>,
    node: NodeId,
) -> Result<(), Rule> {
    if members.voters.contains_key(&node) {
        return Ok(());
    }
    let known = health.get(&node).ok_or(Rule::NotAMember(node))?;
    match known.lag {
        Some(lag) if lag > LAG_ENTRIES_MAX => Err(Rule::Lags { node, lag }),
        _ if known.healthy => Ok(()),
        _ => Err(Rule::Silent(node)),
    }
}

/// Whether the cluster can do without `node`. A learner can always go.
pub(crate) fn may_remove(
    members: &Members,
    health: &BTreeMap<NodeId, Health>,
    node: NodeId,
) -> Result<(), Rule> {
    if members.learners.contains_key(&node) {
        return Ok(());
    }
    if !members.voters.contains_key(&node) {
        return Err(Rule::NotAMember(node));
    }
    let left: BTreeSet<NodeId> = members.voters.keys().copied().filter(|voter| *voter != node).collect();
    if left.is_empty() {
        return Err(Rule::LastVoter(node));
    }
    let healthy = left.iter().filter(|voter| health.get(voter).is_some_and(|it| it.healthy)).count();
    let (voters, needed) = (left.len(), left.len() / 2 + 1);
    if healthy < needed { Err(Rule::Quorum { node, healthy, voters, needed }) } else { Ok(()) }
}

/// Keeps the gauges up to date until `stop`, and finishes what an earlier leader left half done.
pub(crate) async fn watch_members(control: Arc<dyn Control>, census: Census, mut stop: Stopping) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let (mut shown, mut joint_since) = (BTreeSet::new(), None);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        let status = control.status();
        show(&status, &census.look(&status), &mut shown);
        joint_since = match joint_since {
            _ if status.role != Role::Leader || !control.is_joint() => None,
            since => since.or_else(|| Some(Instant::now())),
        };
        if joint_since.is_some_and(|since| since.elapsed() >= UNFINISHED_MAX) {
            joint_since = None;
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = control.finish_change() => {}
            }
        }
    }
}

/// A member of whom nothing is known here is shown as not a number: on masters that do not lead, and once it is removed.
fn show(status: &Status, health: &BTreeMap<NodeId, Health>, shown: &mut BTreeSet<NodeId>) {
    let (voters, learners) = (status.members.voters.len(), status.members.learners.len());
    ::metrics::gauge!(MEMBERS, "role" => "voter").set(voters as f64);
    ::metrics::gauge!(MEMBERS, "role" => "learner").set(learners as f64);
    for gone in shown.iter().filter(|node| !health.contains_key(node)) {
        metrics::member(*gone, MEMBER_HEALTHY, f64::NAN);
        metrics::member(*gone, MEMBER_LAG, f64::NAN);
        metrics::member(*gone, MEMBER_SILENT, f64::NAN);
    }
    for (node, health) in health {
        metrics::member(*node, MEMBER_HEALTHY, f64::from(u8::from(health.healthy)));
        metrics::member(*node, MEMBER_LAG, health.lag.map_or(f64::NAN, |lag| lag as f64));
        metrics::member(*node, MEMBER_SILENT, health.silent_ms.map_or(f64::NAN, |ms| ms as f64 / 1e3));
    }
    *shown = health.keys().copied().collect();
}

#[cfg(test)]
#[path = "census_test.rs"]
mod tests;
