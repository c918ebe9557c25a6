//! The write path: one task packs what is queued into entries and keeps a few of them in flight.
//!
//! Packing is what carries 100,000 commands a second over a log that syncs a few thousand times. An entry is sent with
//! the term it was packed for, so that Raft appends it in that term or not at all. If Raft refuses an entry *before*
//! appending it (its lease is not there yet, or leadership is being handed over), the entry is tried again, in order
//! and for a bounded time. After any other answer the entry may have been appended: it is left alone, and its waiters
//! are resolved by what the local machine applies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use mesarch_storage::types::committed_leader;
use mesarch_storage::{Payload, Types};
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::envelope::Envelope;
use crate::leadership::Leadership;
use crate::machine::Machine;
use crate::metrics::ProposeMetrics;
use crate::queue::{Batch, Bounds, Queue};
use crate::start::Clock;
use crate::state_machine::Raft;
use crate::stop::{Stopping, stopped};
use crate::waiters::Waiters;

/// Most commands in one entry.
const ENTRY_COMMANDS_MAX: usize = 256;
/// Of the proposer's queue. Two of the longest commands fit, and room is left.
pub(crate) const QUEUE: Bounds = Bounds {
    commands: 16_384,
    bytes: 64 << 20,
    enough: ENTRY_COMMANDS_MAX,
    patience: Duration::from_millis(50),
};
/// Most bytes in an entry of several commands. A command that is longer alone is an entry of its own.
pub const PACKED_BYTES_MAX: usize = 256 << 10;
/// What an envelope adds to its commands, at most: the head, and some bytes per command.
const ENVELOPE_BYTES_MAX: usize = 64 + 8 * ENTRY_COMMANDS_MAX;
/// Longest command, in bytes. The longest that a client may cause is an ACCEPT of a whole 8 MiB call, whose command holds
/// each byte at most about three times: the TaskInfo, the ExecutorInfo in it once more, and the resources of both as
/// numbers. Not more, because a follower acknowledges heartbeats only behind what it has yet to sync.
pub const COMMAND_BYTES_MAX: usize = 24 << 20;
/// Most bytes in any entry.
pub(crate) const ENTRY_BYTES_MAX: usize = COMMAND_BYTES_MAX + ENVELOPE_BYTES_MAX;
/// Most entries that Raft holds for us at a time.
const ENTRIES_IN_FLIGHT: usize = 8;
/// Between two tries of a refused entry.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// For how long a refused entry is tried again.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// An entry on its way.
struct Flight {
    first: u64,
    count: u64,
    term: u64,
    payload: Payload,
    since: Instant,
    /// Of all its commands.
    _room: Option<OwnedSemaphorePermit>,
}

/// What Raft said about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Landing {
    /// Appended, or perhaps appended: nothing more to do here.
    Placed,
    /// Certainly not appended.
    Refused,
}

/// What the proposer is made of.
pub(crate) struct Parts<M: Machine> {
    pub(crate) raft: Raft<M>,
    pub(crate) queue: Arc<Queue<M::Outcome>>,
    pub(crate) waiters: Arc<Waiters<M::Outcome>>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) clock: Clock,
    pub(crate) stop: Stopping,
}

pub(crate) struct Proposer<M: Machine> {
    parts: Parts<M>,
    flights: FuturesUnordered<BoxFuture<'static, (Flight, Landing)>>,
    /// Refused entries, by first sequence number; nothing new is sent while there are any.
    refused: BTreeMap<u64, Flight>,
    /// The newest entry that may have been appended: an older one must not follow it.
    placed: u64,
    metrics: ProposeMetrics,
}

impl<M: Machine> Proposer<M> {
    pub(crate) fn new(parts: Parts<M>) -> Self {
        Self {
            parts,
            flights: FuturesUnordered::new(),
            refused: BTreeMap::new(),
            placed: 0,
            metrics: ProposeMetrics::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let queue = self.parts.queue.clone();
        loop {
            self.pack().await;
            let may_send = self.may_send();
            let must_retry = self.flights.is_empty() && !self.refused.is_empty();
            tokio::select! {
                () = stopped(&mut self.parts.stop) => return,
                () = queue.ripe(), if may_send => {}
                Some((flight, landing)) = self.flights.next() => self.land(flight, landing),
                () = tokio::time::sleep(RETRY_PAUSE), if must_retry => self.retry().await,
            }
        }
    }

    fn may_send(&self) -> bool {
        self.refused.is_empty() && self.flights.len() < ENTRIES_IN_FLIGHT
    }

    async fn pack(&mut self) {
        while self.may_send() {
            let batch = self.parts.queue.take(fits);
            let Some(term) = batch.commands.first().map(|command| command.term) else {
                break;
            };
            if let Some(flight) = self.pack_one(term, batch) {
                self.launch(flight).await;
            }
        }
        self.metrics.open.set(self.parts.waiters.open() as f64);
    }

    /// Packs commands of one term into an entry. `None` if their term is over.
    fn pack_one(&mut self, term: u64, batch: Batch<M::Outcome>) -> Option<Flight> {
        let count = batch.commands.len() as u64;
        let unpacked = batch.commands.into_iter().map(|queued| (queued.command, queued.reply));
        let (commands, replies): (Vec<_>, Vec<_>) = unpacked.unzip();
        if !self.leads(term) {
            for reply in replies {
                drop(reply.send(Err(crate::Unresolved::NotCommitted)));
            }
            return None;
        }
        let first = self.parts.waiters.register(term, replies)?;
        self.metrics.entry_commands.record(count as f64);
        let (origin, stamp) = (self.parts.waiters.origin(), (self.parts.clock)());
        let payload = Envelope { origin, first, stamp, commands }.encode();
        debug_assert!(payload.0.len() <= ENTRY_BYTES_MAX);
        Some(Flight { first, count, term, payload, since: Instant::now(), _room: batch.room })
    }

    fn leads(&self, term: u64) -> bool {
        let leadership = self.parts.leadership.borrow();
        leadership.is_self && leadership.term == term
    }

    /// Hands an entry to Raft; entries are appended in the order of these calls.
    async fn launch(&mut self, flight: Flight) {
        let (responder, answer) = ProgressResponder::<Types, _>::complete_only();
        let write = self.parts.raft.write(flight.payload.clone());
        let sent = write.with_leader(committed_leader(flight.term)).responder(responder).await;
        let landing = async move {
            let landing = match sent {
                Ok(()) => answer.await.map_or(Landing::Placed, |result| judge(&result)),
                Err(_) => Landing::Placed,
            };
            (flight, landing)
        };
        self.flights.push(Box::pin(landing));
    }

    fn land(&mut self, flight: Flight, landing: Landing) {
        match landing {
            Landing::Placed => {
                self.placed = self.placed.max(flight.first);
                self.metrics.commit_seconds.record(flight.since.elapsed());
            }
            Landing::Refused => drop(self.refused.insert(flight.first, flight)),
        }
    }

    /// Sends refused entries again, in order; nothing is in flight now. One that can no longer keep its place gives up.
    async fn retry(&mut self) {
        for (first, flight) in std::mem::take(&mut self.refused) {
            let keeps_order = first > self.placed;
            if keeps_order && self.leads(flight.term) && flight.since.elapsed() < RETRY_TIME {
                self.launch(flight).await;
            } else {
                self.parts.waiters.refuse(first, flight.count);
            }
        }
    }
}

impl<M: Machine> Drop for Proposer<M> {
    fn drop(&mut self) {
        self.parts.queue.close();
    }
}

/// Whether an entry that holds `packed` commands takes one more, with which it has `bytes` bytes of commands.
fn fits(packed: usize, bytes: usize) -> bool {
    packed == 0 || (packed < ENTRY_COMMANDS_MAX && bytes <= PACKED_BYTES_MAX - ENVELOPE_BYTES_MAX)
}

/// Only two answers prove that nothing was appended; every other error says nothing about whether it will commit.
fn judge(result: &ClientWriteResult<Types>) -> Landing {
    match result {
        Err(ClientWriteError::ForwardToLeader(forward)) => match forward.reason {
            ForwardReason::LeaseExpired | ForwardReason::LeadershipTransfer => Landing::Refused,
            ForwardReason::NotLeader => Landing::Placed,
        },
        _ => Landing::Placed,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::errors::ForwardToLeader;

    use super::*;

    #[test]
    fn trap_7_only_refusals_before_the_append_are_tried_again() {
        let forward = |reason| ForwardToLeader::<Types>::empty().with_reason(reason);
        let cases = [
            (ClientWriteError::ForwardToLeader(forward(ForwardReason::LeaseExpired)), Landing::Refused),
            (ClientWriteError::ForwardToLeader(forward(ForwardReason::LeadershipTransfer)), Landing::Refused),
            (ClientWriteError::ForwardToLeader(forward(ForwardReason::NotLeader)), Landing::Placed),
            (ClientWriteError::LogEntryDiscarded(forward(ForwardReason::LeaseExpired)), Landing::Placed),
        ];
        for (error, expected) in cases {
            assert_eq!(judge(&Err(error.clone())), expected, "{error}");
        }
    }

    #[test]
    fn trap_12_a_full_entry_stays_within_its_limit() {
        let origin = crate::envelope::Origin { node: u64::MAX, epoch: [0xff; 16] };
        let stamp = crate::Stamp { cluster_ms: u64::MAX, wall_ms: u64::MAX };
        let packed = (PACKED_BYTES_MAX - ENVELOPE_BYTES_MAX) / ENTRY_COMMANDS_MAX;
        for (count, length, max) in
            [(1, COMMAND_BYTES_MAX, ENTRY_BYTES_MAX), (ENTRY_COMMANDS_MAX, packed, PACKED_BYTES_MAX)]
        {
            let command = Bytes::from(vec![1; length]);
            let envelope = Envelope { origin, first: u64::MAX, stamp, commands: vec![command; count] };
            assert!(envelope.encode().0.len() <= max);
        }
    }

    #[test]
    fn a_long_command_is_an_entry_of_its_own() {
        let room = PACKED_BYTES_MAX - ENVELOPE_BYTES_MAX;
        for (packed, bytes, expect) in [
            (0, 1, true),
            (0, COMMAND_BYTES_MAX, true),
            (1, room, true),
            (1, room + 1, false),
            (1, COMMAND_BYTES_MAX, false),
            (ENTRY_COMMANDS_MAX - 1, room, true),
            (ENTRY_COMMANDS_MAX, 1, false),
        ] {
            assert_eq!(fits(packed, bytes), expect, "{packed} and {bytes} bytes");
        }
    }
}
