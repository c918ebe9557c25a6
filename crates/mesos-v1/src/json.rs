//! Messages as JSON text. The mapping itself is described in `mesarch_proto::json`.

use bytes::Bytes;
use mesarch_proto::json::Json;

use crate::codec::DecodeError;

/// Reads one message; nothing may follow it.
pub fn decode<T: Json>(text: &[u8]) -> Result<T, DecodeError> {
    T::from_json(text).map_err(|error| DecodeError::Json(describe(T::ROOT, &error.to_string())))
}

/// `.kill.task_id: …` → `call.kill.task_id: …`; a text without a path gets the root alone.
fn describe(root: &str, error: &str) -> String {
    let separator = if error.starts_with('.') { "" } else { ": " };
    format!("{root}{separator}{error}")
}

/// Writes one message.
pub fn encode<T: Json>(message: &T) -> Bytes {
    to_json_line(message).into()
}

/// Writes one message as a single line without line end. All of it is ASCII (`\uXXXX` for the rest), so that clients
/// which count characters instead of bytes find the same length.
pub fn to_json_line<T: Json>(message: &T) -> Vec<u8> {
    /// Holds most events and all small answers without growing.
    const USUAL_BYTES: usize = 512;
    let mut line = Vec::with_capacity(USUAL_BYTES);
    message.write_json(&mut line);
    line
}
