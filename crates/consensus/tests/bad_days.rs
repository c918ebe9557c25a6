//! Disks that fail, lie or are full, and cables that are worse than they look: what a cluster promises then.
//!
//! The page of these promises is `ops/bad-days.md`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mesarch_consensus::{NodeId, Options, Reserve, StartError};
use support::disk::Fault;
use support::{Cluster, PATIENCE, command, long_command, plain, sled, slow_timers, small_log, until};
use tokio::time::timeout;

fn set(cluster: &Cluster, node: u64, fault: Fault) {
    *cluster.faults[&node].lock().unwrap() = fault;
}

/// The files of a kind below a node's data directory, the newest last.
fn files(cluster: &Cluster, node: u64, folder: &str) -> Vec<PathBuf> {
    let folder = cluster.options(node).data_dir.join(folder);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}

fn flip(file: &Path, byte: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[byte] ^= 1;
    fs::write(file, bytes).unwrap();
}

async fn slow_disks(tune: fn(&mut Options), slow: &[u64]) {
    let mut cluster = Cluster::start(3, tune).await;
    cluster.commit(0).await;
    let (leader, term) = cluster.leader().await;
    for node in slow {
        set(&cluster, 1 + (leader + node) % 3, Fault::Slow(Duration::from_millis(100)));
    }
    let numbers: Vec<u64> = (0..15).collect();
    for number in &numbers[1..] {
        cluster.commit(*number).await;
    }
    cluster.all_settled(&numbers).await;
    assert_eq!(cluster.leader().await, (leader, term), "nobody was taken for dead");
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_take_100_ms_for_each_sync_cost_time_and_no_leader() {
    // Of a follower, of the leader, of all.
    for slow in [&[0][..], &[2], &[0, 1, 2]] {
        slow_disks(plain, slow).await;
    }
    slow_disks(sled, &[0, 1, 2]).await;
}

async fn broken_disk(kind: ErrorKind, word: &str) {
    let mut cluster = Cluster::start(3, plain).await;
    cluster.commit(1).await;
    let (leader, term) = cluster.leader().await;
    set(&cluster, leader, Fault::Broken(kind));
    let unknown = cluster.handle(leader).propose(term, command(2)).await.unwrap();
    let why = cluster.failed(leader).await;
    assert!(why.contains(word), "{why}");
    let _either = timeout(PATIENCE, unknown).await.expect("its outcome is told, or that it is unknown");
    cluster.commit(3).await;
    set(&cluster, leader, Fault::None);
    cluster.start_node(leader, None).await.unwrap();
    cluster.commit(4).await;
    let (next, _) = cluster.leader().await;
    let history = cluster.nodes[&next].history.lock().unwrap().clone();
    assert!(history == [1, 3, 4] || history == [1, 2, 3, 4], "{history:?}");
    cluster.all_settled(&history).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_fails_stops_and_the_others_go_on_with_all_that_was_acknowledged() {
    broken_disk(ErrorKind::StorageFull, "no space left").await;
    broken_disk(ErrorKind::ReadOnlyFilesystem, "read-only").await;
}

/// A small file system over a folder, for as long as it lives. Only root may mount one.
struct Small(PathBuf);

impl Small {
    fn mount(folder: &Path, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "mesarch-test"]).arg(folder).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    }

    fn over(folder: &Path) -> Option<Self> {
        Self::mount(folder, "size=2m").then(|| Self(folder.to_path_buf()))
    }

    fn grow(&self) {
        assert!(Self::mount(&self.0, "remount,size=64m"), "what root mounted root may change");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have files open in it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn no_reserve(options: &mut Options) {
    options.reserve = Reserve { disk_bytes: 0, memory_bytes: 0, descriptors: 0 };
}

fn no_reserve_on_sled(options: &mut Options) {
    no_reserve(options);
    sled(options);
}

#[expect(clippy::print_stderr, reason = "a check that cannot run here says so")]
async fn full_disk(tune: fn(&mut Options)) {
    let mut cluster = Cluster::plan(3, tune).await;
    let folder = cluster.options(3).data_dir;
    let Some(small) = Small::over(&folder) else {
        eprintln!("NOT CHECKED: a disk that fills up; only root may mount a small file system");
        return;
    };
    cluster.boot().await;
    let mut expected = Vec::new();
    let full = cluster.handle(3).fatal().clone();
    for number in 0..200 {
        let (leader, term) = cluster.leader_but(Some(3)).await;
        let long = long_command(number, 100 << 10);
        let Ok(ticket) = cluster.handle(leader).propose(term, long).await else { continue };
        if timeout(PATIENCE, ticket).await.expect("two of three have room").is_ok() {
            expected.push(number);
        }
        if full.reason().is_some() {
            break;
        }
    }
    let why = cluster.failed(3).await;
    assert!(why.contains("no space left"), "{why}");
    cluster.commit(1000).await;
    small.grow();
    cluster.start_node(3, None).await.unwrap();
    cluster.all_settled(&[expected, vec![1000]].concat()).await;
    cluster.halt_all().await;
    drop(cluster);
    drop(small);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_fills_up_stops_and_catches_up_once_there_is_room_on_segments() {
    full_disk(no_reserve).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_fills_up_stops_and_catches_up_once_there_is_room_on_sled() {
    full_disk(no_reserve_on_sled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_write_is_cut_and_the_node_goes_on() {
    let mut cluster = Cluster::start(3, plain).await;
    cluster.commit(1).await;
    cluster.all_settled(&[1]).await;
    for node in 1..=3 {
        cluster.halt(node).await;
        let newest = files(&cluster, node, "log").pop().unwrap();
        let whole = fs::read(&newest).unwrap();
        // The head and a part of a frame that was being written.
        let torn = &whole[whole.len().saturating_sub(whole.len() / 2)..];
        let mut file = fs::OpenOptions::new().append(true).open(&newest).unwrap();
        file.write_all(&torn[..torn.len().min(7)]).unwrap();
        drop(file);
        cluster.start_node(node, None).await.unwrap();
        cluster.commit(1 + node).await;
    }
    cluster.all_settled(&[1, 2, 3, 4]).await;
    cluster.halt_all().await;
}

/// A node that must not start, and says which file it is and what to do.
async fn refused(cluster: &mut Cluster, node: u64) {
    let refused = cluster.start_node(node, None).await.unwrap_err();
    let text = refused.to_string();
    let place = cluster.options(node).data_dir.display().to_string();
    assert!(matches!(refused, StartError::Corrupt { .. }), "{refused:?}");
    assert!(text.contains(&place) && text.contains("new id and an empty directory"), "{text}");
}

async fn flipped_in_the_log(tune: fn(&mut Options)) {
    let mut cluster = Cluster::start(3, tune).await;
    let numbers: Vec<u64> = (0..20).collect();
    for number in &numbers {
        cluster.commit(*number).await;
    }
    cluster.all_settled(&numbers).await;
    cluster.halt(2).await;
    let (log, middle) = files(&cluster, 2, "log")
        .into_iter()
        .filter_map(|file| {
            let bytes = fs::read(&file).unwrap();
            // The tenth command, as it lies in the log.
            let at = bytes.windows(8).position(|window| window == 10_u64.to_le_bytes())?;
            Some((file, at))
        })
        .next()
        .expect("the command is somewhere");
    flip(&log, middle);
    refused(&mut cluster, 2).await;
    cluster.commit(100).await;
    cluster.all_settled(&[numbers, vec![100]].concat()).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_in_a_segment_stops_that_node_and_no_other() {
    flipped_in_the_log(plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_flipped_in_the_snapshot_stops_that_node_and_no_other() {
    let mut cluster = Cluster::start(3, small_log).await;
    let numbers: Vec<u64> = (0..100).collect();
    for number in &numbers {
        cluster.commit(*number).await;
    }
    until(|| cluster.handle(2).status().purged.filter(|purged| *purged > 20)).await;
    cluster.all_settled(&numbers).await;
    cluster.halt(2).await;
    for snapshot in files(&cluster, 2, "snapshots") {
        let middle = fs::metadata(&snapshot).unwrap().len() / 2;
        flip(&snapshot, middle as usize);
    }
    refused(&mut cluster, 2).await;
    cluster.commit(1000).await;
    cluster.all_settled(&[numbers, vec![1000]].concat()).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_another_clusters_directory_takes_nothing_from_this_one_and_gives_it_nothing() {
    let mut theirs = Cluster::plan(3, plain).await;
    let alone = [(NodeId(3), theirs.infos[&NodeId(3)].clone())].into();
    theirs.start_node(3, Some(alone)).await.unwrap();
    theirs.commit(20).await;
    theirs.halt(3).await;
    let mut ours = Cluster::start(3, plain).await;
    ours.commit(1).await;
    ours.all_settled(&[1]).await;
    ours.halt(3).await;
    let (from, to) = (theirs.options(3).data_dir, ours.options(3).data_dir);
    fs::remove_dir_all(&to).unwrap();
    let copied = Command::new("cp").arg("-r").args([&from, &to]).status().unwrap();
    assert!(copied.success());
    ours.start_node(3, None).await.unwrap();
    for number in 2..10 {
        ours.commit_but(Some(3), number).await;
    }
    for node in [1, 2] {
        ours.settled(node, &(1..10).collect::<Vec<_>>()).await;
    }
    ours.settled(3, &[20]).await;
    ours.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_answers_no_read_and_follows_when_it_is_back() {
    let mut cluster = Cluster::start_wired(3, plain).await;
    cluster.commit(1).await;
    let (old, _) = cluster.leader().await;
    cluster.connect(old, false).await;
    cluster.commit_but(Some(old), 2).await;
    assert!(cluster.handle(old).read_barrier().await.is_err(), "it answers no read that may be stale");
    assert!(cluster.handle(old).lease_read().await.is_err(), "nor by a lease, which has ended");
    assert_eq!(cluster.handle(old).fatal().reason(), None, "it runs on");
    cluster.connect(old, true).await;
    cluster.commit(3).await;
    cluster.all_settled(&[1, 2, 3]).await;
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_refuse_for_a_living_leader_cost_an_election_and_nothing_else() {
    // Only the detector explains a quick election: to it, a refused connection is a process that is gone.
    let mut cluster = Cluster::start_wired(3, slow_timers).await;
    cluster.commit(1).await;
    let (old, term) = cluster.leader().await;
    cluster.refuse(old).await;
    let (next, next_term) = cluster.leader_but(Some(old)).await;
    assert!(next != old && next_term > term);
    cluster.commit_but(Some(old), 2).await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != old).collect();
    for node in others {
        cluster.settled(node, &[1, 2]).await;
    }
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lost_packet_in_a_hundred_costs_time_and_no_leader() {
    let mut cluster = Cluster::start_lossy(3, plain).await;
    cluster.commit(0).await;
    let (leader, term) = cluster.leader().await;
    let numbers: Vec<u64> = (0..200).collect();
    for number in &numbers[1..] {
        cluster.commit(*number).await;
    }
    cluster.all_settled(&numbers).await;
    assert_eq!(cluster.leader().await, (leader, term), "nobody was taken for dead");
    cluster.halt_all().await;
}
