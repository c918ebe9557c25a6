//! How masters talk: gRPC on the Raft port.
//!
//! Every call has a deadline and every connection keepalive, so a partition never hangs a call or a stream. Messages
//! are typed (`proto/mesarch/raft.proto`); who may talk at all is decided by the header in their metadata ([`gate`]).

pub(crate) mod client;
mod connection;
pub(crate) mod convert;
pub(crate) mod gate;
pub(crate) mod server;
mod stream;

use std::time::Duration;

/// Between two keepalive pings.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// A connection whose ping is not answered for so long is closed.
const KEEPALIVE_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_millis(200);
/// Longest wait for the answer to an append in a stream; a slow disk answers within it.
const APPEND_DEADLINE: Duration = Duration::from_secs(3);
/// Longest wait for the next part of a snapshot, and for the verdict on one per [`SNAPSHOT_RATE`].
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(15);
/// Bytes of a snapshot that a second of the deadline is given for.
const SNAPSHOT_RATE: u64 = 1 << 20;
/// Bytes of one part of a snapshot.
const SNAPSHOT_PART_BYTES: usize = 1 << 20;
/// Longest message. A replication request carries 1 MiB of entries and an entry at most 256 KiB.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Flow control: how much may be on its way on one connection.
const WINDOW_BYTES: u32 = 8 << 20;
