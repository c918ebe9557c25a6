//! The port of a master or an agent: HTTP/1.1, HTTP/2 and gRPC on one socket.
//!
//! **What for.** Everything that a connection or a request has to pass before a handler sees it, once for both services:
//! places for connections with a reserve ([`Limits`]), patience with slow and idle peers ([`Patience`]), bounds of heads
//! and bodies ([`Bodies`]), request ids ([`id`]), deadlines of gRPC calls ([`grpc`]), and an end in order.
//!
//! **Contract.**
//! - Nothing that a peer sends or does not send holds a descriptor or memory without bound; every refusal names its bound.
//! - A request's id is in its answer and in every log line that is written while it is worked on.
//! - Once told to stop, [`serve`] ends within [`Limits::drain_wait`]: requests that are in are answered before, unless they
//!   take longer.
//!
//! **Must never do.** Know what a request means: that is the handler's ([`Port`]).
//!
//! Start with [`serve`].

mod body;
pub mod grpc;
pub mod id;
mod limits;
mod metrics;
mod options;
mod patience;
mod raw;
mod server;
#[cfg(test)]
mod server_test;

pub use body::{Bodies, BodyError, BodyLimits, Whole};
pub use limits::{Limits, connection_places};
pub use metrics::{BODY_BYTES, CONNECTIONS, CONNECTIONS_REFUSED, REQUESTS_REFUSED};
pub use options::{InvalidPort, PortOptions};
pub use patience::{Busy, Patience};
pub use raw::Raw;
pub use server::{Audience, Port, refusal, serve};
