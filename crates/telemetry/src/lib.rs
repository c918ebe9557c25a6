//! Logs and metrics of every process, set up in one place.
//!
//! **What for.** [`logs::init`] sends `tracing` events to standard error as text; [`metrics::install`] makes the
//! process-wide metrics recorder and hands out the [`Exporter`] that renders `/metrics`.
//!
//! **Contract.** Both are called once, by the binary, before anything else starts. Libraries only use the macros of
//! `tracing` and `metrics`: without an installed recorder or subscriber these cost next to nothing. Histogram buckets
//! are explicit, so every histogram of a cluster can be added up over its nodes.
//!
//! **Must never do.** Open a socket, write to standard output (results go there) or fail a running service: what
//! cannot be rendered is left out.
//!
//! Start with [`names`], the list of what an operator can watch.

pub mod host;
pub mod logs;
pub mod metrics;
pub mod names;

pub use crate::host::Host;
pub use crate::metrics::{Exporter, install};
