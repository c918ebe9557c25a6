use std::collections::BTreeMap;

use mesarch_storage::types::{log_id, vote};
use mesarch_storage::{Backend, DataDir};
use mesarch_types::NodeId;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::super::APPEND_RATE;
use super::*;

const SHORT: Duration = Duration::from_millis(300);

fn gate() -> (tempfile::TempDir, Gate) {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), NodeId(1), Backend::Segments).unwrap();
    dir.begin_bootstrap(&BTreeMap::from([(1, NodeInfo::default())])).unwrap();
    (folder, Gate::new(Arc::new(dir)))
}

fn append() -> AppendEntriesRequest<Types> {
    AppendEntriesRequest { vote: vote(1, 1, true), prev_log_id: None, entries: vec![], leader_commit: None }
}

fn option() -> RPCOption {
    RPCOption::new(SHORT)
}

#[tokio::test]
async fn trap_1_a_refused_connection_costs_a_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (_folder, gate) = gate();
    let mut peer = Peer::new(2, &address, gate, SHORT);
    let started = Instant::now();
    for _ in 0..3 {
        assert!(peer.stream_append(stream::pending(), option()).await.is_err());
    }
    assert!(started.elapsed() >= 3 * FAILED_STREAM_PAUSE);
}

#[tokio::test]
async fn trap_8_a_peer_that_accepts_and_never_answers_hangs_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_folder, gate) = gate();
    let mut peer = Peer::new(2, &address, gate, SHORT);
    let calls = async {
        assert!(peer.append_entries(append(), option()).await.is_err());
        assert!(peer.vote(VoteRequest::new(vote(2, 1, false), None), option()).await.is_err());
        assert!(peer.pre_vote(VoteRequest::new(vote(2, 1, false), None), option()).await.is_err());
        let transfer = TransferLeaderRequest::new(vote(1, 1, true), 2, Some(log_id(1, 1)));
        assert!(peer.transfer_leader(transfer, option()).await.is_err());
        assert!(peer.stream_append(stream::pending(), option()).await.is_err());
    };
    timeout(Duration::from_secs(10), calls).await.expect("every call has a deadline");
}

#[tokio::test]
async fn trap_8_an_append_without_an_answer_is_overdue_and_an_idle_stream_is_not() {
    let unanswered = Unanswered::new(SHORT);
    assert!(timeout(3 * SHORT, unanswered.overdue()).await.is_err(), "idle");
    unanswered.sent(0);
    unanswered.answered();
    assert!(timeout(3 * SHORT, unanswered.overdue()).await.is_err(), "answered");
    unanswered.sent(0);
    assert!(timeout(3 * SHORT, unanswered.overdue()).await.is_ok(), "stuck");
}

#[tokio::test]
async fn a_large_append_and_those_behind_it_have_the_time_that_their_bytes_take() {
    let unanswered = Unanswered::new(SHORT);
    let takes_short = APPEND_RATE * SHORT.as_millis() as u64 / 1000;
    unanswered.sent(2 * takes_short);
    unanswered.sent(takes_short);
    assert!(timeout(2 * SHORT, unanswered.overdue()).await.is_err(), "it is still on its way");
    unanswered.answered();
    assert!(timeout(SHORT, unanswered.overdue()).await.is_err(), "the next one had to wait for it");
    assert!(timeout(3 * SHORT, unanswered.overdue()).await.is_ok(), "stuck");
}

#[tokio::test]
async fn a_wrong_address_is_unreachable_and_not_a_panic() {
    let (_folder, gate) = gate();
    let mut peer = Peer::new(2, "not an address", gate, SHORT);
    assert!(matches!(peer.append_entries(append(), option()).await, Err(RPCError::Unreachable(_))));
}
