//! What a master keeps on disk: the Raft log, the vote, snapshots and the node's identity.
//!
//! **Contract.** What was acknowledged survives a crash of the process and of the host:
//! - [`Log`] acknowledges an append or a vote only after `fdatasync`, and never reorders the two;
//! - [`SnapshotStore`] shows a snapshot only once all of it is on disk under its final name, with its checksum;
//! - [`DataDir`] belongs to one node of one cluster and to one process at a time, and remembers a [`Damage`] and a [`Removal`].
//!
//! Every file carries a magic number, a format version and a checksum. A failed write is fatal to the node: it is
//! reported to Raft and through [`Fatal`], so that the process ends with an error instead of limping on.
//!
//! **Must never do:** interpret a command, talk to a peer, acknowledge before a sync, or repair what looks corrupt
//! (only the torn tail of an unacknowledged write is cut).
//!
//! [`seed`] makes the directory of a cluster that begins from a state that was saved.
//! [`StoppedDir`] reads all of it for people, while no master runs, and changes nothing.
//!
//! **Start reading** at [`types`] for the vocabulary, then [`log`] and its thread, then [`backend`].

pub mod backend;
pub mod codec;
pub mod data_dir;
pub mod disk;
pub mod fatal;
pub mod log;
pub mod metrics;
pub mod seed;
pub mod segment_log;
pub mod sled_log;
pub mod snapshot;
pub mod stopped;
pub mod types;

mod damage;
mod identity;
mod log_thread;
mod removal;

pub use backend::{Backend, LogBackend};
pub use damage::Damage;
pub use data_dir::{DataDir, DataDirError};
pub use disk::DiskError;
pub use fatal::Fatal;
pub use identity::{DiskId, Identity};
pub use log::Log;
pub use removal::Removal;
pub use segment_log::SegmentLog;
pub use sled_log::SledLog;
pub use snapshot::{SnapshotFile, SnapshotStore};
pub use stopped::{StoppedDir, StoppedDirError, StoredLog};
pub use types::{NodeInfo, Payload, Types};
