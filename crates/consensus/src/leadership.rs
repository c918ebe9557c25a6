//! Who leads, and who belongs to the cluster: a small watch over what Raft reports.

use mesarch_storage::types::StoredMembership;
use mesarch_storage::{Fatal, NodeInfo, Types};
use mesarch_types::NodeId;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::sync::watch;

use crate::metrics::{IS_LEADER, LEADER_CHANGES, TERM};
use crate::status::Members;
use crate::stop::{Stopping, stopped};

/// Who leads which term.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The newest term that this node knows.
    pub term: u64,
    /// The leader of that term, once a quorum elected one and this node knows it and its address. A node that has
    /// just joined hears of its leader before it has the membership that says where that is.
    pub leader: Option<(NodeId, NodeInfo)>,
    /// Whether this node is the established leader of that term.
    pub is_self: bool,
}

/// A watch on everything that Raft reports.
pub(crate) type RaftWatch = WatchReceiverOf<Types, RaftMetrics<Types>>;

/// Follows Raft until it ends. A failed Raft is fatal to the node.
pub(crate) async fn follow(
    mut raft: RaftWatch,
    (leadership, members): (watch::Sender<Leadership>, watch::Sender<Members>),
    mut stop: Stopping,
    fatal: Fatal,
) {
    loop {
        let (now, belong, failed) = {
            let metrics = raft.borrow_watched();
            (judge(&metrics), Members::of(&metrics), metrics.running_state.clone().err())
        };
        members.send_if_modified(|known| {
            let news = *known != belong;
            *known = belong;
            news
        });
        let stopping = *stop.borrow();
        if let Some(failed) = failed {
            publish(&leadership, Leadership { leader: None, is_self: false, ..now });
            if !stopping {
                fatal.report(format_args!("Raft ended: {failed}"));
            }
            return;
        }
        publish(&leadership, now);
        tokio::select! {
            changed = raft.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = stopped(&mut stop), if !stopping => {}
        }
    }
}

fn judge(metrics: &RaftMetrics<Types>) -> Leadership {
    let leader =
        metrics.current_leader.and_then(|id| Some((NodeId(id), info(&metrics.membership_config, id)?)));
    let is_self = metrics.state.is_leader() && metrics.current_leader == Some(metrics.id);
    Leadership { term: metrics.current_term, leader, is_self }
}

fn info(members: &StoredMembership, id: u64) -> Option<NodeInfo> {
    members.get_node(&id).cloned()
}

fn publish(leadership: &watch::Sender<Leadership>, now: Leadership) {
    leadership.send_if_modified(|current| {
        if *current == now {
            return false;
        }
        if current.leader != now.leader && now.leader.is_some() {
            metrics::counter!(LEADER_CHANGES).increment(1);
            tracing::info!(term = now.term, leader = ?now.leader, is_self = now.is_self, "the leader changed");
        }
        metrics::gauge!(TERM).set(now.term as f64);
        metrics::gauge!(IS_LEADER).set(f64::from(u8::from(now.is_self)));
        *current = now;
        true
    });
}
