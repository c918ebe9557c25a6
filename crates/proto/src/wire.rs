//! Protobuf as it lies in memory: the records of a message, one after the other, borrowed and without an allocation.

/// What a record holds. Groups occur in no message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, a boolean or the number of an enum's value.
    Varint(u64),
    /// The bits of a double.
    Fixed64(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// What has a length.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => None,
        }
    }
}

/// Not protobuf, cut off, or with a group in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf message")]
pub struct Malformed;

/// The records of a message, in the order in which they stand. Ends before one that is malformed.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    /// Those of this message.
    pub fn of(message: &'a [u8]) -> Self {
        Self(message)
    }
}

impl<'a> Iterator for Records<'a> {
    /// The number of the field, and what it holds.
    type Item = (u32, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        record(&mut self.0).ok()
    }
}

/// Takes one record off the front.
///
/// # Errors
/// [`Malformed`], also if nothing is left.
#[inline]
pub fn record<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Value<'a>), Malformed> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
    let value = match key & 7 {
        0 => Value::Varint(varint(bytes)?),
        1 => Value::Fixed64(u64::from_le_bytes(fixed(bytes)?)),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| Malformed)?;
            let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
            *bytes = rest;
            Value::Bytes(taken)
        }
        5 => Value::Fixed32(u32::from_le_bytes(fixed(bytes)?)),
        _ => return Err(Malformed),
    };
    if number == 0 { Err(Malformed) } else { Ok((number, value)) }
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[inline]
fn fixed<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::mesos::v1::{TaskStatus, TimeInfo};

    #[test]
    fn records_are_what_was_encoded() {
        let status = TaskStatus { timestamp: Some(1.5), healthy: Some(true), ..TaskStatus::default() };
        let bytes = status.encode_to_vec();
        let records: Vec<_> = Records::of(&bytes).collect();
        let expect = [
            (1, Value::Bytes(&[10, 0])),
            (2, Value::Varint(6)),
            (6, Value::Fixed64(1.5_f64.to_bits())),
            (8, Value::Varint(1)),
        ];
        assert_eq!(records, expect);
        let time = TimeInfo { nanoseconds: -1 }.encode_to_vec();
        assert_eq!(Records::of(&time).collect::<Vec<_>>(), [(1, Value::Varint(u64::MAX))]);
    }

    #[test]
    fn what_is_malformed_ends_the_records() {
        for bytes in [&[][..], &[10], &[10, 2, 0], &[9, 0], &[0, 0], &[11], &[0x80; 11], &[8]] {
            let mut rest = bytes;
            assert_eq!(record(&mut rest), Err(Malformed), "{bytes:?}");
            assert_eq!(Records::of(bytes).count(), 0, "{bytes:?}");
        }
    }
}
