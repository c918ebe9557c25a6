//! A node whose state differs from the others' is stopped, whichever it is; nodes that agree never are. What members
//! know of feature levels is asked of all of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use mesarch_consensus::{NodeId, Options};
use support::{CHECKPOINT_EVERY, Cluster, PATIENCE, plain, small_log, until};
use tokio::time::timeout;

/// Changes what a node has applied, as a bit that flips in memory would.
fn damage(cluster: &Cluster, node: u64, number: u64) {
    cluster.nodes[&node].history.lock().unwrap()[0] = number;
}

/// Commits numbers up to the next checkpoint but one, so that there is one for every node.
async fn commit_a_checkpoint(cluster: &Cluster, not: Option<u64>, first: u64) -> Vec<u64> {
    let numbers: Vec<u64> = (first..first + 2 * CHECKPOINT_EVERY as u64).collect();
    for number in &numbers {
        cluster.commit_but(not, *number).await;
    }
    numbers
}

/// Ends a node that has to end, and says why it had to.
async fn must_stop(cluster: &mut Cluster, id: u64) -> String {
    let node = cluster.nodes.remove(&id).unwrap();
    let why = timeout(PATIENCE, node.running.failed()).await.expect("it stops").to_string();
    node.running.halt().await.unwrap();
    why
}

async fn damaged(leads: bool) {
    let mut cluster = Cluster::start(3, plain).await;
    cluster.commit(1).await;
    cluster.all_settled(&[1]).await;
    let (leader, _) = cluster.leader().await;
    let wrong = if leads { leader } else { leader % 3 + 1 };
    damage(&cluster, wrong, 666);
    commit_a_checkpoint(&cluster, None, 100).await;
    let why = must_stop(&mut cluster, wrong).await;
    assert!(why.contains("on a majority of the masters"), "{why}");
    // The others go on, and what it has on disk is sound: it comes back.
    let (_, expected) = (cluster.commit(7).await, [vec![1], (100..100 + 20).collect(), vec![7]].concat());
    cluster.start_node(wrong, None).await.unwrap();
    cluster.all_settled(&expected).await;
    cluster.commit(8).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_state_differs_stops_and_the_others_go_on() {
    damaged(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_state_differs_is_the_one_that_stops() {
    damaged(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_could_tell_nobody_is_stopped_once_it_can() {
    let mut cluster = Cluster::start_wired(3, plain).await;
    cluster.commit(1).await;
    cluster.all_settled(&[1]).await;
    let (leader, _) = cluster.leader().await;
    let wrong = leader % 3 + 1;
    damage(&cluster, wrong, 666);
    cluster.connect(wrong, false).await;
    commit_a_checkpoint(&cluster, Some(wrong), 100).await;
    assert!(cluster.handle(wrong).fatal().reason().is_none(), "it knows nothing yet");
    cluster.connect(wrong, true).await;
    must_stop(&mut cluster, wrong).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_began_from_a_snapshot_agrees_and_is_compared() {
    let mut cluster = Cluster::start(3, small_log).await;
    cluster.commit(0).await;
    let (leader, _) = cluster.leader().await;
    let lagging = leader % 3 + 1;
    cluster.halt(lagging).await;
    let numbers: Vec<u64> = (0..200).collect();
    for number in &numbers[1..] {
        cluster.commit(*number).await;
    }
    until(|| cluster.handle(leader).status().purged.filter(|purged| *purged > 100)).await;
    cluster.start_node(lagging, None).await.unwrap();
    cluster.settled(lagging, &numbers).await;
    commit_a_checkpoint(&cluster, None, 1_000).await;
    damage(&cluster, lagging, 666);
    commit_a_checkpoint(&cluster, None, 2_000).await;
    must_stop(&mut cluster, lagging).await;
    cluster.halt_all().await;
}

fn level_by_id(options: &mut Options) {
    options.feature_level = options.node_id.0 as u32;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_tells_the_level_that_it_knows_and_one_that_is_away_tells_none() {
    let mut cluster = Cluster::start(3, level_by_id).await;
    cluster.commit(1).await;
    let known = cluster.handle(2).known_levels().await;
    assert_eq!(known, (1..=3).map(|id| (NodeId(id), Some(id as u32))).collect());
    cluster.halt(3).await;
    let known = cluster.handle(2).known_levels().await;
    assert_eq!(known, [(NodeId(1), Some(1)), (NodeId(2), Some(2)), (NodeId(3), None)].into());
    cluster.halt_all().await;
}
