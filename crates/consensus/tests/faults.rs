//! A writer writes while nodes stop, start, lose their cables and hand over. Nothing acknowledged is lost, nothing is
//! applied twice, what was said never to commit does not, and all nodes agree.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesarch_consensus::{Handle, Options, Unresolved};
use support::{Cluster, PATIENCE, command, sled, small_log};
use tokio::time::{sleep, timeout};

type Handles = Arc<Mutex<BTreeMap<u64, Handle<usize>>>>;

/// What the writer was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<u64>,
    never: Vec<u64>,
    unknown: Vec<u64>,
}

/// Proposes 1, 2, 3, … one after another, at whoever leads.
async fn write(handles: Handles, stop: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let leading = handles.lock().unwrap().values().find_map(|handle| {
            let leadership = handle.leadership().borrow().clone();
            leadership.is_self.then(|| (handle.clone(), leadership.term))
        });
        let Some((handle, term)) = leading else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        let Ok(ticket) = handle.propose(term, command(number + 1)).await else {
            continue;
        };
        number += 1;
        match timeout(PATIENCE, ticket).await.expect("a command is resolved once the cluster is whole") {
            Ok(_) => told.acknowledged.push(number),
            Err(Unresolved::NotCommitted) => told.never.push(number),
            Err(Unresolved::Unknown) => told.unknown.push(number),
        }
    }
    told
}

/// A small generator of choices: the same seed makes the same faults.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn one_fault(cluster: &mut Cluster, handles: &Handles, choices: &mut Choices) {
    let node = 1 + choices.below(3);
    let pause = Duration::from_millis(50 + choices.below(700));
    match choices.below(4) {
        0 | 1 => {
            handles.lock().unwrap().remove(&node);
            cluster.halt(node).await;
            sleep(pause).await;
            cluster.start_node(node, None).await.unwrap();
            handles.lock().unwrap().insert(node, cluster.handle(node).clone());
        }
        2 => {
            cluster.connect(node, false).await;
            sleep(pause).await;
            cluster.connect(node, true).await;
        }
        _ => drop(cluster.handle(node).transfer(None).await),
    }
    sleep(Duration::from_millis(choices.below(300))).await;
}

fn check(told: &Told, history: &[u64]) {
    assert!(history.is_sorted_by(|left, right| left < right), "applied twice or out of order");
    let lost: Vec<_> =
        told.acknowledged.iter().filter(|number| history.binary_search(number).is_err()).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let risen: Vec<_> = told.never.iter().filter(|number| history.binary_search(number).is_ok()).collect();
    assert!(risen.is_empty(), "said never to commit, and applied: {risen:?}");
}

async fn faults(seed: u64, rounds: usize, tune: fn(&mut Options)) {
    let mut cluster = Cluster::start_wired(3, tune).await;
    let handles: Handles = Arc::default();
    for (id, node) in &cluster.nodes {
        handles.lock().unwrap().insert(*id, node.handle.clone());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(handles.clone(), stop.clone()));
    let mut choices = Choices(seed);
    for _ in 0..rounds {
        one_fault(&mut cluster, &handles, &mut choices).await;
    }
    stop.store(true, Ordering::SeqCst);
    let told = writer.await.unwrap();
    assert!(told.acknowledged.len() > 10, "the writer got nowhere: {}", told.acknowledged.len());
    cluster.commit(u64::MAX).await;
    let (leader, _) = cluster.leader().await;
    let history = cluster.nodes[&leader].history.lock().unwrap().clone();
    cluster.all_settled(&history).await;
    check(&told, &history);
    cluster.halt_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_on_segments_with_a_small_log() {
    faults(1, 12, small_log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_on_sled() {
    faults(2, 12, sled).await;
}
