//! The Mesos v1 API as bytes: JSON and protobuf to and from the generated types, RecordIO frames, media types, and
//! the checks that a call must pass before anybody looks at its meaning.
//!
//! **Contract.** [`decode`] and [`encode`] are the only way into and out of the API types, for every API and both
//! encodings: required fields are checked on both, and what is wrong is said with the path of the field. They take
//! time linear in the bytes; the caller bounds those ([`recordio::RECORD_BYTES_MAX`] is the bound for bodies, too).
//!
//! **Must never do.** Input or output, or anything that depends on the state of the cluster. No input may panic.
//!
//! Start with [`media`] and [`codec`], then [`scheduler`], [`operator`] and [`agent`], whose long answers go through
//! [`writer`]; the JSON rules are those of `mesarch_proto::json`.

pub mod agent;
pub mod codec;
pub mod convert;
pub mod duration;
pub mod encoder;
pub mod executor;
pub mod json;
pub mod media;
pub mod operator;
pub mod query;
pub mod recordio;
pub mod required;
pub mod resource_provider;
pub mod scheduler;
pub mod v0;
pub mod writer;

pub use codec::{ApiMessage, DecodeError, decode, encode};
pub use media::ContentType;
pub use query::Query;
