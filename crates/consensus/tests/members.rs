//! Members come and go, and the cluster keeps its quorum and what was acknowledged.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesarch_consensus::{MembershipError, NodeId, NodeInfo, Rule, StartError};
use support::{Cluster, PATIENCE, plain, until};
use tokio::time::timeout;

/// The level that these nodes know.
const LEVEL: u32 = 1;

/// Starts node `id` and makes it a learner; what the leader says.
async fn add(cluster: &mut Cluster, id: u64) -> Result<(), MembershipError> {
    cluster.add(id).await;
    cluster.start_node(id, None).await.unwrap();
    let (leader, _) = cluster.leader().await;
    cluster.handle(leader).add_learner(NodeId(id), cluster.infos[&NodeId(id)].clone(), LEVEL).await
}

/// Waits until node `id` ends by itself; why it does.
async fn ended(cluster: &mut Cluster, id: u64) -> String {
    let node = cluster.nodes.remove(&id).unwrap();
    let why = timeout(PATIENCE, node.running.failed()).await.expect("it ends by itself");
    node.running.halt().await.unwrap();
    why.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_by_learners_and_shrinks_and_who_is_removed_stops_for_good() {
    let mut cluster = Cluster::start(1, plain).await;
    cluster.commit(1).await;
    for id in [2, 3] {
        add(&mut cluster, id).await.unwrap();
        cluster.settled(id, &[1]).await;
        cluster.handle(1).promote(NodeId(id)).await.unwrap();
    }
    assert_eq!(cluster.handle(1).membership().voters.len(), 3);
    assert_eq!(cluster.handle(3).identity(), cluster.handle(1).identity());
    let health = cluster.handle(1).health();
    assert!(health.len() == 3 && health.values().all(|health| health.healthy), "{health:?}");
    assert!(cluster.handle(2).health().is_empty(), "only the leader knows");
    cluster.handle(1).remove(NodeId(3)).await.unwrap();
    let why = ended(&mut cluster, 3).await;
    assert!(why.contains("removed this master from the cluster"), "{why}");
    let again = cluster.start_node(3, None).await.unwrap_err();
    assert!(matches!(again, StartError::Removed { .. }), "{again}");
    cluster.commit(2).await;
    cluster.all_settled(&[1, 2]).await;
    let members = cluster.handle(1).memberships().borrow().clone();
    assert_eq!((members.voters.len(), members.learners.len()), (2, 0));
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_down_when_it_was_removed_is_told_at_its_next_start() {
    let mut cluster = Cluster::start(3, plain).await;
    cluster.commit(1).await;
    let (leader, term) = cluster.leader().await;
    let away = leader % 3 + 1;
    cluster.halt(away).await;
    cluster.handle(leader).remove(NodeId(away)).await.unwrap();
    cluster.start_node(away, None).await.unwrap();
    let why = ended(&mut cluster, away).await;
    assert!(why.contains("removed this master"), "{why}");
    assert_eq!(cluster.leader().await, (leader, term), "it disturbed nobody");
    cluster.commit(2).await;
    cluster.all_settled(&[1, 2]).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_would_cost_the_quorum_is_refused_by_its_rule() {
    let mut cluster = Cluster::start(3, plain).await;
    cluster.commit(1).await;
    let (leader, _) = cluster.leader().await;
    let (away, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.halt(away).await;
    let handle = cluster.handle(leader).clone();
    until(|| handle.health().get(&NodeId(away)).is_some_and(|health| !health.healthy).then_some(())).await;
    let quorum = Rule::Quorum { node: NodeId(other), healthy: 1, voters: 2, needed: 2 };
    assert_eq!(handle.remove(NodeId(other)).await, Err(quorum.into()));
    let nobody = NodeInfo { raft: "127.0.0.1:9".into(), client: "127.0.0.1:8".into() };
    let unheard = handle.add_learner(NodeId(9), nobody, LEVEL).await.unwrap_err();
    assert!(matches!(&unheard, MembershipError::Rule(Rule::DoesNotAnswer { .. })), "{unheard}");
    cluster.add(4).await;
    cluster.start_node(4, None).await.unwrap();
    let info = cluster.infos[&NodeId(4)].clone();
    let old = handle.add_learner(NodeId(4), info.clone(), LEVEL + 1).await;
    assert_eq!(old, Err(Rule::TooOld { node: NodeId(4), known: LEVEL, level: LEVEL + 1 }.into()));
    handle.add_learner(NodeId(4), info, LEVEL).await.unwrap();
    cluster.settled(4, &[1]).await;
    cluster.halt(4).await;
    until(|| handle.health().get(&NodeId(4)).is_some_and(|health| !health.healthy).then_some(())).await;
    assert_eq!(handle.promote(NodeId(4)).await, Err(Rule::Silent(NodeId(4)).into()));
    let follower = cluster.handle(other).remove(NodeId(4)).await;
    assert_eq!(follower, Err(MembershipError::NotLeader { leader: Some(NodeId(leader)) }));
    // Who is dead, and who is a learner, may go.
    handle.remove(NodeId(4)).await.unwrap();
    handle.remove(NodeId(away)).await.unwrap();
    cluster.commit(2).await;
    cluster.all_settled(&[1, 2]).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_to_go_hands_over_first() {
    let mut cluster = Cluster::start(3, plain).await;
    cluster.commit(1).await;
    let (leader, _) = cluster.leader().await;
    let moved = cluster.handle(leader).remove(NodeId(leader)).await.unwrap_err();
    assert!(
        matches!(moved, MembershipError::NotLeader { leader: Some(next) } if next.0 != leader),
        "{moved}"
    );
    let (next, _) = cluster.leader_but(Some(leader)).await;
    assert_eq!(cluster.handle(next).membership().voters.len(), 3, "nothing else was done yet");
    cluster.handle(next).remove(NodeId(leader)).await.unwrap();
    let why = ended(&mut cluster, leader).await;
    assert!(why.contains("removed this master"), "{why}");
    cluster.commit(2).await;
    cluster.all_settled(&[1, 2]).await;
    let (last, _) = cluster.leader().await;
    let other = *cluster.nodes.keys().find(|id| **id != last).unwrap();
    cluster.handle(last).remove(NodeId(other)).await.unwrap();
    let only = cluster.handle(last).remove(NodeId(last)).await;
    assert_eq!(only, Err(Rule::LastVoter(NodeId(last)).into()));
    cluster.commit(3).await;
    drop(ended(&mut cluster, other).await);
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_bootstraps_by_mistake_one_at_most_becomes_a_cluster() {
    let mut cluster = Cluster::plan(3, plain).await;
    let members = cluster.infos.clone();
    cluster.start_node(3, None).await.unwrap();
    for id in [1, 2] {
        cluster.start_node(id, Some(members.clone())).await.unwrap();
    }
    cluster.commit(1).await;
    let of_the_first = cluster.handle(3).identity() == cluster.handle(1).identity();
    let (ours, theirs) = if of_the_first { (1, 2) } else { (2, 1) };
    assert_ne!(cluster.handle(ours).identity(), cluster.handle(theirs).identity());
    for id in [ours, 3] {
        cluster.settled(id, &[1]).await;
    }
    let other = cluster.handle(theirs);
    assert!(other.leadership().borrow().leader.is_none() && other.health().is_empty(), "it has no majority");
    cluster.settled(theirs, &[]).await;
    cluster.halt_all().await;
}
