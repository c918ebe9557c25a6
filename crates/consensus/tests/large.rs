//! Commands that are longer than a packed entry, up to the longest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use mesarch_consensus::{COMMAND_BYTES_MAX, Options, PACKED_BYTES_MAX, ProposeError, Timing};
use support::{Cluster, PATIENCE, command, long_command, plain, sled, small_log};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// These tests fill the disk's queue: together they would only measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Around the bound of a packed entry, around a replication request, and the longest.
const LENGTHS: [usize; 8] = [
    PACKED_BYTES_MAX - 4096,
    PACKED_BYTES_MAX,
    PACKED_BYTES_MAX + 1,
    1 << 20,
    (1 << 20) + 1,
    9 << 20,
    COMMAND_BYTES_MAX - 1,
    COMMAND_BYTES_MAX,
];

/// Proposes short and long commands in turns, all of them at once; the numbers in their order.
async fn commit_in_turns(cluster: &Cluster, first: u64, lengths: &[usize]) -> Vec<u64> {
    let (leader, term) = cluster.leader().await;
    let handle = cluster.handle(leader).clone();
    let (mut numbers, mut tickets) = (Vec::new(), Vec::new());
    for (number, length) in (first..).step_by(2).zip(lengths) {
        for (number, command) in [(number, command(number)), (number + 1, long_command(number + 1, *length))]
        {
            let ticket = loop {
                match handle.propose(term, command.clone()).await {
                    // The longest ones fill the queue: whoever comes next is told so and tries again.
                    Err(ProposeError::Busy) => {}
                    other => break other.unwrap(),
                }
            };
            tickets.push(ticket);
            numbers.push(number);
        }
    }
    for ticket in tickets {
        timeout(PATIENCE, ticket).await.unwrap().unwrap();
    }
    numbers
}

/// A loaded machine may take a second to sync a long entry on three disks at once; what heartbeats make of that is not
/// the point here.
fn patient(options: &mut Options) {
    let ms = Duration::from_millis;
    options.timing = Timing { heartbeat: ms(500), election_min: ms(4_000), election_max: ms(8_000) };
}

fn patient_sled(options: &mut Options) {
    patient(options);
    sled(options);
}

async fn long_commands_keep_their_order_and_survive(tune: fn(&mut Options)) {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut cluster = Cluster::start(3, tune).await;
    let mut expected = commit_in_turns(&cluster, 0, &LENGTHS).await;
    cluster.all_settled(&expected).await;
    let (leader, _) = cluster.leader().await;
    let behind = leader % 3 + 1;
    cluster.halt(behind).await;
    expected.extend(commit_in_turns(&cluster, 100, &LENGTHS[2..]).await);
    cluster.start_node(behind, None).await.unwrap();
    cluster.settled(behind, &expected).await;
    cluster.halt_all().await;
    for id in [1, 2, 3] {
        cluster.start_node(id, None).await.unwrap();
    }
    cluster.commit(1000).await;
    expected.push(1000);
    cluster.all_settled(&expected).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_commands_keep_their_order_reach_who_was_down_and_survive_a_restart_on_segments() {
    long_commands_keep_their_order_and_survive(patient).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_commands_keep_their_order_reach_who_was_down_and_survive_a_restart_on_sled() {
    long_commands_keep_their_order_and_survive(patient_sled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_above_the_bound_is_refused_by_name_and_others_go_on() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut cluster = Cluster::start(1, plain).await;
    let (leader, term) = cluster.leader().await;
    let long = long_command(1, COMMAND_BYTES_MAX + 1);
    let refused = cluster.handle(leader).propose(term, long).await.unwrap_err();
    let expect = ProposeError::TooLarge { bytes: COMMAND_BYTES_MAX + 1, max: COMMAND_BYTES_MAX };
    assert_eq!(refused, expect);
    cluster.commit(2).await;
    cluster.all_settled(&[2]).await;
    cluster.halt_all().await;
}

/// On these cables the longest entry takes half as long again as the longest election timeout.
const SLOW_BYTES_PER_SECOND: u64 = 8 << 20;

/// Long enough for three logs on one disk to sync the longest entry: a follower acknowledges a heartbeat only when what
/// came before it is on its disk.
fn shared_disk(options: &mut Options) {
    let ms = Duration::from_millis;
    options.timing = Timing { heartbeat: ms(200), election_min: ms(1_000), election_max: ms(2_000) };
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_do_not_starve_behind_a_long_entry() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut cluster = Cluster::start_slow(3, shared_disk, SLOW_BYTES_PER_SECOND).await;
    cluster.commit(0).await;
    let before = cluster.leader().await;
    let expected = [vec![0], commit_in_turns(&cluster, 2, &[COMMAND_BYTES_MAX, COMMAND_BYTES_MAX / 2]).await];
    cluster.all_settled(&expected.concat()).await;
    assert_eq!(cluster.leader().await, before, "nobody stood for election");
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_replaces_long_entries_for_who_was_down_for_long() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut cluster = Cluster::start(3, small_log).await;
    let mut expected = commit_in_turns(&cluster, 0, &[2 << 20]).await;
    let (leader, _) = cluster.leader().await;
    let behind = leader % 3 + 1;
    cluster.halt(behind).await;
    expected.extend(commit_in_turns(&cluster, 100, &[1 << 20; 40]).await);
    cluster.start_node(behind, None).await.unwrap();
    cluster.settled(behind, &expected).await;
    cluster.halt_all().await;
}
