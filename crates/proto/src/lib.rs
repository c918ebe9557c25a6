//! The wire vocabulary: types generated from the top-level `proto/` folder, and the JSON form of the Mesos ones.
//!
//! **What for.** `mesos::v1` holds every message of the Mesos v1 API (scheduler, executor, operators, resource
//! providers); `raft`, `log`, `link`, … hold our own packages `mesarch.*`, with gRPC clients and servers.
//!
//! **Contract.** Field numbers, names, labels and defaults of `mesos.v1` are those of Mesos 1.11; a test compares
//! them. Reading JSON is as lenient, and writing it as exact, as `json` says. Maps are ordered, so equal messages
//! have equal bytes.
//!
//! **Must never do.** Judge what a message *means*: whether a role exists or a uuid has sixteen bytes is decided
//! in the layers above. No input, however broken, may panic or recurse without bound.
//!
//! Start with `proto/mesos/v1/scheduler/scheduler.proto`, then [`json`] and [`required`].

pub use generated::*;

pub mod json;
pub mod required;
pub mod wire;

/// All compiled `.proto` files as an encoded `google.protobuf.FileDescriptorSet`, without comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What the build script wrote: modules nested as the proto packages are.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));

    include!(concat!(env!("OUT_DIR"), "/exports.rs"));
}
