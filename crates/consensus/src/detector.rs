//! Notices within milliseconds that the leader's process is gone.
//!
//! A follower keeps an idle TCP connection to the leader. When it breaks, the follower connects again; *only a refused
//! connection* proves that nobody listens any more: a living master keeps its listener open until its Raft has ended.
//! Then the follower stands for election the way a leadership transfer does: voters do not wait for the dead leader's
//! lease, while the log and term rules hold as always, so Raft's safety does not depend on the proof. Followers start
//! 25 ms apart, so that they do not split the vote. A dead host or a partition gives no proof; timers decide then.

use std::io;
use std::time::Duration;

use mesarch_storage::Types;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::leadership::{Leadership, RaftWatch};
use crate::limits::Full;
use crate::machine::Machine;
use crate::metrics::CRASH_ELECTIONS;
use crate::start::Route;
use crate::state_machine::Raft;
use crate::stop::{Stopping, stopped};

/// Head start of the first follower.
const FIRST_WAIT: Duration = Duration::from_millis(1);
/// Head start of each follower over the next.
const RANK_WAIT: Duration = Duration::from_millis(25);
/// How long the first follower waits for the outcome of an election before it stands again; the others longer.
const SPLIT_WAIT: Duration = Duration::from_millis(60);
/// How often it stands again before it leaves the matter to the timers.
const SPLIT_RETRIES: u32 = 4;
/// Between two tries to reach or to replace a leader.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two connections that end at once, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_millis(500);

/// How a connection to the leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Nobody listens there: the process is gone.
    Gone,
    /// Anything else says nothing.
    None,
}

/// Watches leader after leader until `stop`. A node that is `full` leaves a dead leader's place to the others, and to the
/// timers if they are full as well.
pub(crate) async fn detect<M: Machine>(
    raft: Raft<M>,
    mut leadership: watch::Receiver<Leadership>,
    route: Route,
    full: watch::Receiver<Option<Full>>,
    mut stop: Stopping,
) {
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = watch_one(&raft, &route, &mut leadership, &full) => {}
        }
    }
}

/// Watches the present leader until it changes or is proven dead.
async fn watch_one<M: Machine>(
    raft: &Raft<M>,
    route: &Route,
    leadership: &mut watch::Receiver<Leadership>,
    full: &watch::Receiver<Option<Full>>,
) {
    let now = leadership.borrow_and_update().clone();
    let address = now.leader.as_ref().filter(|_| !now.is_self).map(|(_, info)| route(info));
    let Some(address) = address else {
        if leadership.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        return;
    };
    let changed = async { drop(leadership.wait_for(|later| *later != now).await) };
    let proof = tokio::select! {
        () = changed => return,
        proof = watch_connection(&address) => proof,
    };
    let may_stand = full.borrow().is_none();
    if proof == Proof::Gone && may_stand {
        replace(raft, &now, leadership.clone()).await;
    }
    sleep(PAUSE).await;
}

/// Holds a connection to `address`, and the next one when it ends, until none is to be had; what that proves.
///
/// The sockets of a process that is killed close one after the other, and its listener may be the last: a new connection
/// then ends at once, and the one after it is refused. Whatever else accepts and hangs up is asked more and more seldom.
async fn watch_connection(address: &str) -> Proof {
    let mut pause = Duration::ZERO;
    loop {
        match connect(address).await {
            Ok(mut stream) => hold(&mut stream).await,
            Err(error) => return proof_of(&error),
        }
        sleep(pause).await;
        pause = PAUSE.min(FIRST_PAUSE.max(2 * pause));
    }
}

/// Reads and ignores until the connection ends. The other side may speak first (HTTP/2 settings).
async fn hold(stream: &mut TcpStream) {
    let mut ignored = [0; 256];
    while matches!(stream.read(&mut ignored).await, Ok(count) if count > 0) {}
}

/// Whether it is proven that nobody listens at `address` any more.
pub(crate) async fn is_gone(address: &str) -> bool {
    connect(address).await.is_err_and(|error| proof_of(&error) == Proof::Gone)
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn proof_of(error: &io::Error) -> Proof {
    if error.kind() == io::ErrorKind::ConnectionRefused { Proof::Gone } else { Proof::None }
}

/// Stands for election in place of the dead leader, unless somebody was faster, until somebody leads.
async fn replace<M: Machine>(raft: &Raft<M>, dead: &Leadership, mut leadership: watch::Receiver<Leadership>) {
    let watch: RaftWatch = raft.metrics();
    let Some(rank) = rank(&watch.borrow_watched()) else {
        return;
    };
    sleep(FIRST_WAIT + RANK_WAIT * rank).await;
    let (vote, term, leader, me) = {
        let now = watch.borrow_watched();
        (now.vote, now.current_term, now.current_leader, now.id)
    };
    if term == dead.term && leader == dead.leader.as_ref().map(|(id, _)| id.0) {
        tracing::info!(term, ?leader, "the leader's process is gone: standing for election");
        metrics::counter!(CRASH_ELECTIONS).increment(1);
        let request = TransferLeaderRequest::new(vote, me, None);
        if let Err(error) = raft.handle_transfer_leader(request).await {
            tracing::warn!(%error, "Raft ended while standing for election");
            return;
        }
    }
    // Two that stood at once split the vote. Nobody's lease is in the way now, so there is no need for long timers.
    for _ in 0..SPLIT_RETRIES {
        let led = leadership.wait_for(|now| now.leader.is_some() && now != dead);
        if timeout(SPLIT_WAIT * (1 + rank), led).await.is_ok() || raft.trigger().elect(true).await.is_err() {
            return;
        }
    }
}

/// Position among the voters that are left; `None` if this node does not vote.
fn rank(metrics: &RaftMetrics<Types>) -> Option<u32> {
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    if !voters.contains(&metrics.id) {
        return None;
    }
    let ahead = voters.iter().filter(|id| **id < metrics.id && Some(**id) != metrics.current_leader);
    Some(ahead.count() as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use mesarch_storage::NodeInfo;
    use mesarch_storage::types::{Membership, StoredMembership};
    use tokio::net::TcpListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn only_a_refused_connection_is_a_proof() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let watching = tokio::spawn({
            let address = address.clone();
            async move { watch_connection(&address).await }
        });
        // As long as the listener lives, the end of a connection proves nothing and the next one is held.
        let next = async || timeout(DEADLINE, listener.accept()).await.expect("it connects again").unwrap();
        for _ in 0..3 {
            drop(next().await);
        }
        let (stream, _) = next().await;
        assert!(!watching.is_finished());
        drop(listener);
        drop(stream);
        assert_eq!(watching.await.unwrap(), Proof::Gone);
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::ConnectionReset, io::ErrorKind::HostUnreachable]
        {
            assert_eq!(proof_of(&kind.into()), Proof::None);
        }
    }

    #[test]
    fn voters_other_than_the_leader_stand_one_after_another_and_learners_never() {
        let nodes: BTreeMap<u64, NodeInfo> = (1..=4).map(|id| (id, NodeInfo::default())).collect();
        let members = Membership::new(vec![BTreeSet::from([1, 2, 3])], nodes).unwrap();
        let rank_of = |me, leader| {
            let mut metrics = RaftMetrics::<Types>::new_initial(me);
            metrics.membership_config = Arc::new(StoredMembership::new(None, members.clone()));
            metrics.current_leader = Some(leader);
            rank(&metrics)
        };
        assert_eq!(
            [rank_of(1, 2), rank_of(3, 2), rank_of(2, 1), rank_of(4, 2)],
            [Some(0), Some(1), Some(0), None]
        );
    }
}
