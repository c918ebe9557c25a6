//! A removed master finds out that it was removed, and stops.
//!
//! Whoever is removed is made a learner first and usually learns that from the log, so that it stands for no election any
//! more. That it does not belong to the cluster at all is decided by an entry that it is not sent. So a node that hears no
//! leader asks the members that it knows. Who answers tells only what is committed. If that is newer than an entry by which
//! the asking node was a member, it was removed since, and nothing else can have happened; a node that still catches up and
//! has not come to the entry that added it must not take an old decision for its end.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use mesarch_storage::{DataDir, Fatal, Removal};
use mesarch_types::NodeId;
use tokio::sync::watch;

use crate::control::Control;
use crate::leadership::Leadership;
use crate::network::client::Dialer;
use crate::network::heard::Heard;
use crate::stop::{Stopping, stopped};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A node that heard no leader for so long asks.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What a member says of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it is a member.
    pub(crate) member: bool,
    /// Log index of the committed entry that says so; 0: none is known.
    pub(crate) decided: u64,
}

impl Standing {
    /// Whether it says that a node is removed that was a member as of entry `known`.
    fn removes(self, known: u64) -> bool {
        !self.member && self.decided > known
    }
}

/// What the watch works with.
pub(crate) struct Watch {
    pub(crate) control: Arc<dyn Control>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) heard: Heard,
    pub(crate) dialer: Dialer,
    pub(crate) dir: Arc<DataDir>,
    pub(crate) fatal: Fatal,
    /// The newest entry by which this node was a member, since the process began.
    pub(crate) member_at: Option<u64>,
}

impl Watch {
    /// Until `stop`, or until this node was removed.
    pub(crate) async fn run(mut self, mut stop: Stopping) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                _ = ticks.tick() => {}
            }
            self.note_membership();
            let Some(known) = self.member_at.filter(|_| self.is_alone()) else {
                continue;
            };
            let removed = tokio::select! {
                () = stopped(&mut stop) => return,
                removed = self.removed(known) => removed,
            };
            if let Some(decided) = removed {
                return self.leave(decided).await;
            }
        }
    }

    /// Whoever was a member once stays it until a later entry says otherwise.
    fn note_membership(&mut self) {
        if self.control.members().contains(self.dir.identity().node) {
            self.member_at = Some(self.control.members_decided());
        }
    }

    fn is_alone(&self) -> bool {
        !self.leadership.borrow().is_self
            && self.heard.staleness().is_none_or(|silence| silence > SILENCE_MAX)
    }

    /// The entry that removed this node, a member as of entry `known`, if one of the members knows it.
    async fn removed(&self, known: u64) -> Option<u64> {
        let (me, members) = (self.dir.identity().node, self.control.members());
        let others = members.all().filter(|(node, _)| **node != me);
        let asked = others.map(async |(node, info)| {
            let answer = self.dialer.peer(*node, info).standing().await;
            answer
                .inspect_err(
                    |error| tracing::debug!(%node, %error, "a master did not tell who belongs to it"),
                )
                .ok()
        });
        let told = join_all(asked.collect::<Vec<_>>()).await;
        told.into_iter().flatten().find(|standing| standing.removes(known)).map(|standing| standing.decided)
    }

    async fn leave(&self, decided: u64) {
        let dir = self.dir.clone();
        let kept = tokio::task::spawn_blocking(move || dir.record_removal(Removal { decided })).await;
        if !matches!(kept, Ok(Ok(()))) {
            tracing::error!(?kept, "cannot keep for the next start that this master was removed");
        }
        self.fatal.report(format_args!(
            "log entry {decided} removed this master from the cluster: it does not belong to it any more"
        ));
    }
}

/// Who is asked about `node` when its own knowledge of the members is as of entry `decided`, of which all up to `applied`
/// are committed.
pub(crate) fn standing_of(
    node: NodeId,
    is_member: impl Fn(NodeId) -> bool,
    decided: u64,
    applied: u64,
) -> Standing {
    // What may still be undone is not told.
    if decided > applied {
        return Standing { member: true, decided: 0 };
    }
    Standing { member: is_member(node), decided }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_removed_by_a_committed_decision_that_is_newer_than_its_own_knowledge() {
        let member = |node: NodeId| node == NodeId(1);
        // Decided, applied at the one asked; known at node 2.
        for (decided, applied, known, expect) in [
            (10, 20, 5, true),
            (10, 10, 9, true),
            (10, 9, 5, false),
            (10, 20, 10, false),
            (10, 20, 15, false),
            (0, 0, 0, false),
        ] {
            let found = standing_of(NodeId(2), member, decided, applied).removes(known);
            assert_eq!(found, expect, "{decided} {applied} {known}");
        }
        assert!(!standing_of(NodeId(1), member, 10, 20).removes(5), "a member is not removed");
    }
}
