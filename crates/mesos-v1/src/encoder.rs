//! Protobuf field by field, for messages whose parts are at hand in their encoded form: nothing is decoded to be encoded
//! again.
//!
//! Who writes keeps prost's order, by number, so that the bytes are those that prost gives for the same message.

use mesarch_proto::wire::{Records, Value};
use prost::encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint};

/// The fields of one message, appended to a buffer.
#[derive(Debug)]
pub struct Encoder<'a>(&'a mut Vec<u8>);

impl<'a> Encoder<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// A text, bytes, or a message in its encoded form.
    pub fn bytes(&mut self, number: u32, bytes: &[u8]) {
        encode_key(number, WireType::LengthDelimited, self.0);
        encode_varint(bytes.len() as u64, self.0);
        self.0.extend_from_slice(bytes);
    }

    /// Bytes that may not be there.
    pub fn optional(&mut self, number: u32, bytes: Option<&[u8]>) {
        if let Some(bytes) = bytes {
            self.bytes(number, bytes);
        }
    }

    /// The number of an enum's value.
    pub fn symbol(&mut self, number: u32, symbol: i32) {
        encoding::int32::encode(number, &symbol, self.0);
    }

    /// A double.
    pub fn double(&mut self, number: u32, value: f64) {
        encoding::double::encode(number, &value, self.0);
    }

    /// A whole message.
    pub fn whole(&mut self, number: u32, message: &impl prost::Message) {
        encoding::message::encode(number, message, self.0);
    }

    /// A message that is written field by field.
    pub fn message(&mut self, number: u32, fields: impl FnOnce(&mut Encoder<'_>)) {
        encode_key(number, WireType::LengthDelimited, self.0);
        with_length(self.0, |out| fields(&mut Encoder(out)));
    }

    /// A message that only has one field, a text.
    pub fn name(&mut self, number: u32, text: &str) {
        self.message(number, |named| named.bytes(1, text.as_bytes()));
    }

    /// The records of an encoded message, but for those of one number.
    pub fn without(&mut self, encoded: &[u8], left_out: u32) {
        if Records::of(encoded).all(|(number, _)| number != left_out) {
            return self.0.extend_from_slice(encoded);
        }
        for (number, value) in Records::of(encoded).filter(|(number, _)| *number != left_out) {
            match value {
                Value::Varint(varint) => {
                    encode_key(number, WireType::Varint, self.0);
                    encode_varint(varint, self.0);
                }
                Value::Fixed64(bits) => encoding::fixed64::encode(number, &bits, self.0),
                Value::Fixed32(bits) => encoding::fixed32::encode(number, &bits, self.0),
                Value::Bytes(bytes) => self.bytes(number, bytes),
            }
        }
    }
}

/// Appends what `write` does, behind its length, which is known only then: there is place for a short one, and for a longer
/// one the rest is moved.
pub(crate) fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let place = out.len();
    out.push(0);
    write(out);
    let bytes = (out.len() - place - 1) as u64;
    if let Ok(short @ ..=0x7f) = u8::try_from(bytes) {
        out[place] = short;
        return;
    }
    let mut length = Vec::with_capacity(encoded_len_varint(bytes));
    encode_varint(bytes, &mut length);
    out.splice(place..=place, length);
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::{AgentId, TaskId, TaskState, TaskStatus};
    use prost::Message;

    use super::*;

    fn status(id: &str) -> TaskStatus {
        TaskStatus {
            task_id: TaskId { value: id.into() },
            state: TaskState::TaskFailed as i32,
            data: None,
            agent_id: Some(AgentId { value: "a".into() }),
            timestamp: Some(0.25),
            uuid: Some(vec![1; 16].into()),
            ..TaskStatus::default()
        }
    }

    #[test]
    fn fields_in_order_are_the_message() {
        for id in ["", "short", &"long".repeat(50), &"longer".repeat(5000)] {
            let status = status(id);
            let mut out = vec![7];
            let mut encoder = Encoder::new(&mut out);
            encoder.name(1, id);
            encoder.symbol(2, status.state);
            encoder.whole(5, status.agent_id.as_ref().unwrap());
            encoder.double(6, 0.25);
            encoder.optional(7, None);
            encoder.optional(11, status.uuid.as_deref());
            assert_eq!(out[0], 7);
            assert_eq!(out[1..], status.encode_to_vec(), "{} bytes", id.len());
        }
    }

    #[test]
    fn one_field_can_be_left_out_of_encoded_bytes() {
        let status = status("task");
        let with = TaskStatus { data: Some(vec![9; 200].into()), ..status.clone() };
        for message in [&status, &with] {
            let mut out = Vec::new();
            Encoder::new(&mut out).without(&message.encode_to_vec(), 3);
            assert_eq!(out, status.encode_to_vec());
        }
    }
}
