//! Tests of the whole: real processes on loopback, and clients that nobody here wrote.
//!
//! They run the release binary, which `cargo build --release` makes. One module per promise; `support/` holds what
//! several of them need.

mod accept_twice;
mod all_masters;
mod binary;
mod clients;
mod drains;
mod frameworks;
mod golden;
mod grafana;
mod groups;
mod kills;
mod levels;
mod odd_machines;
mod one_thread;
mod operations;
mod promises;
mod protocol;
mod providers;
mod silent_leader;
mod snapshot;
mod states_differ;
mod support;
mod surface;
mod terms;
mod upgrade;
