//! One pair of functions for every message of the API, in either encoding.

use bytes::Bytes;
use mesarch_proto::json::Json;
use mesarch_proto::required::Required;

use crate::media::ContentType;
use crate::{json, required};

/// A message of `mesos.v1` that can be a body or a record.
pub trait ApiMessage: prost::Message + Default + Json + Required {}

impl<T: prost::Message + Default + Json + Required> ApiMessage for T {}

/// Why bytes are not the message they should be. The text is for the client: it speaks of its request only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or not the JSON of this message. Starts with the path of the field if there is one.
    #[error("{0}")]
    Json(String),
    /// A required field is missing in a protobuf message, or its bytes are broken.
    #[error(transparent)]
    Required(#[from] required::RequiredError),
    /// Not the protobuf encoding of this message.
    #[error("{0}")]
    Protobuf(String),
}

/// Reads one message. The caller has bounded the number of bytes.
pub fn decode<T: ApiMessage>(content_type: ContentType, bytes: &[u8]) -> Result<T, DecodeError> {
    match content_type {
        ContentType::Json => json::decode(bytes),
        ContentType::Protobuf => {
            required::check::<T>(bytes)?;
            T::decode(bytes).map_err(|error| DecodeError::Protobuf(error.to_string()))
        }
    }
}

/// Writes one message; JSON is a single line of ASCII.
pub fn encode<T: ApiMessage>(content_type: ContentType, message: &T) -> Bytes {
    match content_type {
        ContentType::Json => json::encode(message),
        ContentType::Protobuf => {
            let mut bytes = message.encode_to_vec();
            required::complete::<T>(&mut bytes, 0);
            bytes.into()
        }
    }
}

/// Appends what [`encode`] gives.
pub fn append<T: ApiMessage>(content_type: ContentType, message: &T, out: &mut Vec<u8>) {
    match content_type {
        ContentType::Json => message.write_json(out),
        ContentType::Protobuf => {
            let start = out.len();
            message.encode(out).expect("a Vec takes everything");
            required::complete::<T>(out, start);
        }
    }
}

#[cfg(test)]
#[path = "codec_test.rs"]
mod tests;
