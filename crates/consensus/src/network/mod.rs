//! How masters talk: gRPC on the Raft port.
//!
//! Every call has a deadline and every connection keepalive, so a partition never hangs a call or a stream. A large
//! entry starves neither heartbeats nor votes: Raft asks for a client of its own for each of them, so they are not
//! queued behind the entry but share the wire with it, connection by connection. Messages are typed
//! (`proto/mesarch/raft.proto`); who may talk at all is decided by the header in their metadata ([`gate`]).

pub(crate) mod client;
mod connection;
pub(crate) mod convert;
pub(crate) mod gate;
pub(crate) mod heard;
pub(crate) mod server;
mod stream;

use std::time::Duration;

use mesarch_storage::log::REPLICATION_BYTES;

use crate::proposer::ENTRY_BYTES_MAX;

/// Between two keepalive pings.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// A connection whose ping is not answered for so long is closed.
const KEEPALIVE_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_millis(200);
/// Longest wait for the answer to an append in a stream, beside what its bytes and those before it take at
/// [`APPEND_RATE`]; a slow disk answers within it.
const APPEND_DEADLINE: Duration = Duration::from_secs(3);
/// Bytes of entries that every link between masters and every disk takes in a second. A link that carries less still
/// replicates small entries, but breaks over a large one: what waits in the sockets' buffers also delays the answers to
/// keepalive pings.
const APPEND_RATE: u64 = 4 << 20;
/// Longest wait for the next part of a snapshot, and for the verdict on one per [`SNAPSHOT_RATE`].
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of a snapshot that a second of the deadline is given for.
const SNAPSHOT_RATE: u64 = 1 << 20;
/// Bytes of one part of a snapshot.
const SNAPSHOT_PART_BYTES: usize = 1 << 20;
/// What the heads of all entries of a request take, and more.
const HEADS_BYTES: usize = 1 << 20;
/// Longest message. A replication request carries entries up to [`REPLICATION_BYTES`], or a single longer one.
const MESSAGE_BYTES_MAX: usize = ENTRY_BYTES_MAX + REPLICATION_BYTES as usize + HEADS_BYTES;
/// Flow control: how much may be on its way on one connection.
const WINDOW_BYTES: u32 = 8 << 20;
