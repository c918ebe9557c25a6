//! The check for required fields in protobuf bytes; the tables come with the generated code.

pub use mesarch_proto::required::{DEPTH_MAX, Required, RequiredError, check, complete};
