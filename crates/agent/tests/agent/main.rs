//! A whole agent, with real processes, real HTTP and a real link, against a master that does as it is told.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

/// Requests that went wrong on their way.
#[path = "../../../edge/tests/bytes/mod.rs"]
mod bytes;
mod edge;
mod executor_api;
mod grpc;
mod leaders;
mod master;
mod operator_api;
mod process;
mod restarts;
mod tasks;
