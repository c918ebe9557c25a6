//! Replicates commands with Raft: proposals, leadership, reads that are current, membership, snapshots.
//!
//! **What for.** A master hands in commands as opaque bytes and a [`Machine`] that applies them; the crate makes sure
//! that every replica applies the same commands in the same order, and that what was acknowledged is never lost.
//!
//! **Contract.**
//! - A [`Ticket`] says what the *local* machine answered, so an outcome implies that readers here can see it. If it
//!   cannot be known whether a command commits, the ticket waits until it can: an entry of a newer term that is applied
//!   here proves that older ones never will.
//! - A command is proposed in exactly the term that the caller named, at most once, and never proposed again once it
//!   may have been appended.
//! - Commands proposed by one task in order are applied in that order.
//! - A node whose state differs from that of a majority stops, and so does one with corruption or a failed write ([`Running::failed`]); it never limps.
//!
//! **Must never do:** look into a command, run an effect, or resolve an outcome before it is certain.
//!
//! **Start reading** at [`Machine`] and [`Handle`]; then `proposer` (the write path), `state_machine` (the apply path),
//! `network` and `detector` (how a dead leader is noticed in milliseconds), `census` (who may join and leave).

mod census;
mod compaction;
mod compare;
mod control;
mod detector;
mod envelope;
mod handle;
mod leadership;
mod limits;
mod machine;
pub mod metrics;
mod network;
mod options;
mod proposer;
mod queue;
mod running;
mod standing;
mod start;
mod state_machine;
mod status;
mod stop;
mod waiters;

pub use census::{Health, LAG_ENTRIES_MAX, Rule};
pub use control::{MembershipError, ReadError, SnapshotError, TransferError};
pub use envelope::{Envelope, Origin};
pub use handle::{Handle, Manner, ProposeError, Ticket, Unresolved};
pub use leadership::Leadership;
pub use limits::{Full, Resource};
pub use machine::{Corrupt, EntryContext, LogPosition, Machine, Stamp};
pub use mesarch_storage::{Backend, DataDirError, DiskError, NodeInfo, SnapshotFile};
pub use mesarch_types::{ClusterId, NodeId};
pub use options::{Compaction, Options, OptionsError, Reserve, Timing};
pub use proposer::{COMMAND_BYTES_MAX, PACKED_BYTES_MAX};
pub use running::{Running, StopError};
pub use start::{Clock, Consensus, Deps, Disk, Route, StartError};
pub use status::{Members, Replication, Role, Status};
