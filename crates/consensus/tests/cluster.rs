//! Three masters in one process: what was acknowledged stays, whoever stops.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use mesarch_consensus::{
    COMMAND_BYTES_MAX, DataDirError, Manner, NodeId, Options, ProposeError, ReadError, Resource, Role,
    StartError, Unresolved,
};
use mesarch_storage::DataDir;
use support::{Cluster, PATIENCE, command, plain, sled, slow_timers, small_log, until};
use tokio::time::{Instant, timeout};

/// How long a leader that stops waits for a node that does not answer.
const TRANSFER_DEADLINE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_agree_on_commands_and_their_order() {
    let mut cluster = Cluster::start(3, plain).await;
    let (leader, term) = cluster.leader().await;
    let handle = cluster.handle(leader).clone();
    let mut tickets = Vec::new();
    for number in 0..2_000 {
        tickets.push(handle.propose(term, command(number)).await.unwrap());
    }
    for (position, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(timeout(PATIENCE, ticket).await.unwrap(), Ok(position));
    }
    cluster.all_settled(&(0..2_000).collect::<Vec<_>>()).await;
    handle.read_barrier().await.unwrap();
    handle.lease_read().await.unwrap();
    assert!(handle.applied_index() > 0);
    let follower = cluster.handle(leader % 3 + 1);
    assert_eq!(follower.read_barrier().await, Err(ReadError::NotLeader { leader: Some(NodeId(leader)) }));
    let refused = follower.propose(term, command(0)).await.unwrap_err();
    assert!(matches!(refused, ProposeError::NotLeader { leader: Some((id, _)) } if id == NodeId(leader)));
    assert!(matches!(handle.propose(term + 1, command(0)).await, Err(ProposeError::NotLeader { .. })));
    let status = handle.status();
    assert_eq!((status.role, status.members.voters.len(), status.replication.len()), (Role::Leader, 3, 2));
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_ends_the_next_one_goes_on_with_everything() {
    let mut cluster = Cluster::start(3, plain).await;
    let mut expected = Vec::new();
    for round in 0..2 {
        for number in 0..20 {
            cluster.commit(round * 100 + number).await;
            expected.push(round * 100 + number);
        }
        let (leader, _) = cluster.leader().await;
        if round == 0 {
            cluster.halt(leader).await;
            cluster.commit(99).await;
            expected.push(99);
            cluster.start_node(leader, None).await.unwrap();
        }
    }
    cluster.all_settled(&expected).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_process_is_gone_is_replaced_before_any_timer() {
    let mut cluster = Cluster::plan(3, slow_timers).await;
    let members = cluster.infos.clone();
    for id in [3, 2, 1] {
        cluster.start_node(id, (id == 1).then(|| members.clone())).await.unwrap();
    }
    cluster.commit(1).await;
    let (leader, _) = cluster.leader().await;
    let others_know = |cluster: &Cluster| {
        let known = cluster.nodes.values().filter(|node| node.handle.leadership().borrow().leader.is_some());
        (known.count() == 3).then_some(())
    };
    until(|| others_know(&cluster)).await;
    // A connection to the leader is made within moments; without it there is no proof.
    tokio::task::yield_now().await;
    cluster.halt(leader).await;
    let started = Instant::now();
    cluster.commit_but(Some(leader), 2).await;
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    cluster.halt_all().await;
}

async fn restarts(tune: fn(&mut Options)) {
    let mut cluster = Cluster::start(3, tune).await;
    let mut expected: Vec<u64> = (0..30).collect();
    for number in &expected {
        cluster.commit(*number).await;
    }
    for stopped in [vec![3], vec![1, 2], vec![1, 2, 3]] {
        for id in &stopped {
            cluster.halt(*id).await;
        }
        for id in &stopped {
            cluster.start_node(*id, None).await.unwrap();
        }
        let number = 1_000 + stopped.len() as u64;
        cluster.commit(number).await;
        expected.push(number);
        cluster.all_settled(&expected).await;
    }
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_one_two_and_all_lose_nothing_on_segments() {
    restarts(plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_one_two_and_all_lose_nothing_on_sled() {
    restarts(sled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lags_behind_the_log_gets_a_snapshot_and_restarts_from_it() {
    let mut cluster = Cluster::start(3, small_log).await;
    cluster.commit(0).await;
    let (leader, _) = cluster.leader().await;
    let lagging = leader % 3 + 1;
    cluster.halt(lagging).await;
    let expected: Vec<u64> = (0..200).collect();
    for number in &expected[1..] {
        cluster.commit(*number).await;
    }
    until(|| cluster.handle(leader).status().purged.filter(|purged| *purged > 100)).await;
    cluster.start_node(lagging, None).await.unwrap();
    cluster.settled(lagging, &expected).await;
    let status = cluster.handle(lagging).status();
    assert!(status.snapshot.is_some_and(|index| index > 100), "{status:?}");
    cluster.halt_all().await;
    for id in [1, 2, 3] {
        cluster.start_node(id, None).await.unwrap();
    }
    cluster.commit(777).await;
    cluster.all_settled(&[expected, vec![777]].concat()).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_isolated_leader_appended_resolves_to_not_committed() {
    let mut cluster = Cluster::start_wired(3, plain).await;
    cluster.commit(1).await;
    let (old, term) = cluster.leader().await;
    cluster.connect(old, false).await;
    let lost = cluster.handle(old).propose(term, command(666)).await.unwrap();
    cluster.commit_but(Some(old), 2).await;
    cluster.connect(old, true).await;
    assert_eq!(timeout(PATIENCE, lost).await.unwrap(), Err(Unresolved::NotCommitted));
    cluster.commit(3).await;
    cluster.all_settled(&[1, 2, 3]).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_arrives_after_the_leader_lost_and_regained_its_quorum() {
    let mut cluster = Cluster::start_wired(3, slow_timers).await;
    cluster.commit(1).await;
    let (leader, term) = cluster.leader().await;
    cluster.connect(leader, false).await;
    let late = cluster.handle(leader).propose(term, command(2)).await.unwrap();
    cluster.connect(leader, true).await;
    assert_eq!(timeout(PATIENCE, late).await.unwrap(), Ok(1));
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_commands_are_unknown_when_the_node_ends() {
    let mut cluster = Cluster::start_wired(3, plain).await;
    cluster.commit(1).await;
    let (leader, term) = cluster.leader().await;
    cluster.connect(leader, false).await;
    let open = cluster.handle(leader).propose(term, command(2)).await.unwrap();
    let handle = cluster.handle(leader).clone();
    cluster.halt(leader).await;
    assert!(timeout(PATIENCE, open).await.unwrap().is_err());
    let refused = handle.propose(term, command(3)).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { .. } | ProposeError::Stopped)));
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_request_and_at_the_end() {
    let mut cluster = Cluster::start(3, slow_timers).await;
    cluster.commit(1).await;
    let (leader, term) = cluster.leader().await;
    let to = leader % 3 + 1;
    cluster.handle(leader).transfer(Some(NodeId(to))).await.unwrap();
    let (next, next_term) = cluster.leader_but(Some(leader)).await;
    assert_eq!(next, to);
    assert!(next_term > term);
    cluster.commit(2).await;
    let node = cluster.nodes.remove(&next).unwrap();
    node.running.stop().await.unwrap();
    cluster.commit(3).await;
    cluster.all_settled(&[1, 2, 3]).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_voter_takes_over_when_the_first_choice_is_gone() {
    for gone in [1, 2] {
        let mut cluster = Cluster::start(3, slow_timers).await;
        cluster.commit(1).await;
        let (leader, _) = cluster.leader().await;
        let gone = (leader - 1 + gone) % 3 + 1;
        cluster.halt(gone).await;
        let node = cluster.nodes.remove(&leader).unwrap();
        let began = Instant::now();
        node.running.stop().await.unwrap();
        assert!(began.elapsed() < TRANSFER_DEADLINE, "it was not waited for a node that is gone");
        // Two of three are away: the last one cannot go on, but the leader did not hold on to it.
        cluster.halt_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_that_stop_together_do_not_wait_for_each_other() {
    let mut cluster = Cluster::start(3, slow_timers).await;
    cluster.commit(1).await;
    let stopping: Vec<_> = std::mem::take(&mut cluster.nodes)
        .into_values()
        .map(|node| tokio::spawn(node.running.stop()))
        .collect();
    let began = Instant::now();
    for stopped in stopping {
        stopped.await.unwrap().unwrap();
    }
    assert!(began.elapsed() < TRANSFER_DEADLINE, "{:?}", began.elapsed());
    for id in 1..=3 {
        cluster.start_node(id, None).await.unwrap();
    }
    cluster.commit(2).await;
    cluster.all_settled(&[1, 2]).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_bootstrapped_once() {
    let mut cluster = Cluster::start(1, plain).await;
    cluster.commit(1).await;
    let before = cluster.handle(1).identity();
    cluster.halt(1).await;
    let again = cluster.start_node(1, Some(cluster.infos.clone())).await.unwrap_err();
    assert!(matches!(again, StartError::DataDir(DataDirError::AlreadyBootstrapped { .. })), "{again}");
    cluster.start_node(1, None).await.unwrap();
    assert_eq!(cluster.handle(1).identity(), before);
    cluster.commit(2).await;
    cluster.all_settled(&[1, 2]).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_that_a_crash_cut_short_is_finished_by_the_next_start() {
    let mut cluster = Cluster::plan(1, plain).await;
    let options = cluster.options(1);
    let dir = DataDir::open(&options.data_dir, options.node_id, options.backend).unwrap();
    let members = cluster.infos.iter().map(|(id, info)| (id.0, info.clone())).collect();
    let drawn = dir.begin_bootstrap(&members).unwrap();
    drop(dir);
    cluster.start_node(1, None).await.unwrap();
    cluster.commit(1).await;
    assert_eq!(cluster.handle(1).identity().0, Some(drawn));
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_takes_nothing_from_this_one() {
    let mut ours = Cluster::start(1, plain).await;
    let mut theirs = Cluster::plan(2, plain).await;
    let alone = theirs.infos.iter().filter(|(id, _)| **id == NodeId(2));
    let alone = alone.map(|(id, info)| (*id, info.clone())).collect();
    theirs.start_node(2, Some(alone)).await.unwrap();
    theirs.commit(20).await;
    ours.commit(10).await;
    let stranger = theirs.infos[&NodeId(2)].clone();
    let refused = ours.handle(1).add_learner(NodeId(2), stranger, 1).await.unwrap_err();
    assert!(refused.to_string().contains("it speaks for cluster"), "{refused}");
    ours.commit(11).await;
    theirs.commit(21).await;
    theirs.all_settled(&[20, 21]).await;
    ours.all_settled(&[10, 11]).await;
    ours.halt_all().await;
    theirs.halt_all().await;
}

const PATIENT: Manner = Manner { from_reserve: false, patient: true };
const RELIEF: Manner = Manner { from_reserve: true, patient: false };

#[tokio::test(flavor = "multi_thread")]
async fn patient_commands_share_an_entry_and_keep_their_order() {
    let mut cluster = Cluster::start(1, plain).await;
    let (leader, term) = cluster.leader().await;
    let handle = cluster.handle(leader).clone();
    let before = handle.applied_index();
    let mut tickets = Vec::new();
    for number in 0..20 {
        tickets.push(handle.propose_in(PATIENT, term, command(number)).await.unwrap());
    }
    tickets.push(handle.propose(term, command(20)).await.unwrap());
    for (position, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(timeout(PATIENCE, ticket).await.unwrap(), Ok(position));
    }
    // A slow machine may need more than one, by whose time is over before the last comes.
    assert!(handle.applied_index() - before < 20, "{} entries", handle.applied_index() - before);
    let alone = handle.propose_in(PATIENT, term, command(21)).await.unwrap();
    assert_eq!(timeout(PATIENCE, alone).await.unwrap(), Ok(21), "patience ends");
    cluster.halt_all().await;
}

fn no_disk(options: &mut Options) {
    options.reserve.disk_bytes = u64::MAX;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_are_refused_before_the_disk_is_full_and_when_they_are_too_big() {
    let mut cluster = Cluster::start(1, no_disk).await;
    let (_, term) = cluster.leader().await;
    let full = cluster.handle(1).propose(term, command(1)).await.unwrap_err();
    assert!(matches!(full, ProposeError::Full(full) if full.what == Resource::Disk));
    let relief = cluster.handle(1).propose_in(RELIEF, term, command(1)).await.unwrap();
    assert_eq!(timeout(PATIENCE, relief).await.unwrap(), Ok(0), "the reserve is for what must go on");
    let big = vec![0; COMMAND_BYTES_MAX + 1].into();
    assert!(matches!(cluster.handle(1).propose(term, big).await, Err(ProposeError::TooLarge { .. })));
    cluster.halt_all().await;
}

fn no_disk_at_the_first(options: &mut Options) {
    if options.node_id == NodeId(1) {
        no_disk(options);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_short_of_disk_hands_the_leadership_on() {
    let mut cluster = Cluster::start(3, no_disk_at_the_first).await;
    // Whoever is elected first, the cluster takes proposals soon.
    cluster.commit(1).await;
    let (leader, _) = cluster.leader_but(Some(1)).await;
    cluster.handle(leader).transfer(Some(NodeId(1))).await.unwrap();
    cluster.commit_but(Some(1), 2).await;
    cluster.halt_all().await;
}
