//! Clusters of real processes for tests: started, killed, paused, restarted, and gone in the end.
//!
//! **What for.** [`Cluster`] runs the release binary as masters and agents on loopback; [`Node`] is one of these
//! processes, to be ended by SIGKILL, paused or restarted; [`wait_for`] is the only way to wait; [`RawHttp`] speaks
//! bytes, for tests of the protocol itself.
//!
//! **Contract.** Everything that was started ends with the [`Cluster`], also when the test panics; then the logs are
//! shown. At most [`CLUSTERS_MAX`] live at once in one process. Nothing leaves the machine.
//!
//! **Must never do.** Sleep instead of waiting for a condition, or end a process that it did not start.
//!
//! Start reading at [`cluster`].

pub mod cluster;
pub mod node;
pub mod odd_machine;
mod ports;
pub mod raw_http;
mod slots;
mod wait;

pub use cluster::{Cluster, Host, Settings};
pub use node::Node;
pub use odd_machine::OddMachine;
pub use raw_http::RawHttp;
pub use slots::{CLUSTERS_MAX, Slot, slot};
pub use wait::{DEADLINE, wait_for, wait_for_within};
