//! Required fields of protobuf messages, checked on the bytes.
//!
//! prost decodes a message that lacks required fields without a word, and afterwards a missing string looks like an
//! empty one. So the bytes are walked once, along a table that the build script made, before they are decoded.
//! Messages that have no required field anywhere below are skipped, not walked.
//!
//! A singular message field that occurs twice is judged occurrence by occurrence, though protobuf would merge them:
//! no encoder writes that. An unknown number in a required enum counts as missing, as in Mesos.

/// How deeply messages may be nested; the same as prost's own bound.
pub const DEPTH_MAX: usize = 100;

/// What a message demands; made by the build script.
#[derive(Debug)]
pub struct Table {
    root: &'static str,
    fields: &'static [Field],
}

#[derive(Debug)]
struct Field {
    number: u32,
    name: &'static str,
    required: bool,
    check: Check,
}

#[derive(Debug)]
enum Check {
    Nothing,
    Enum(fn(i32) -> bool),
    Message(&'static Table),
    MapValue(&'static Table),
}

/// A message with a table of its required fields: every message of `mesos.v1`.
pub trait Required {
    /// The table, shared by all values.
    fn table() -> &'static Table;
}

/// Why the bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequiredError {
    /// The field at this path, from the root message on, is not there.
    #[error("{0}: required field is missing")]
    Missing(String),
    /// Not protobuf, or cut off.
    #[error("malformed protobuf message")]
    Malformed,
    /// More than [`DEPTH_MAX`] messages inside each other.
    #[error("protobuf message is nested too deeply")]
    TooDeep,
}

/// Checks that every required field is there, in the whole tree of messages.
///
/// Never panics, allocates only for an error, and takes time linear in the number of bytes. What it accepts may
/// still fail to decode.
pub fn check<T: Required>(bytes: &[u8]) -> Result<(), RequiredError> {
    let table = T::table();
    walk(table, bytes, DEPTH_MAX).map_err(|fault| fault.into_error(table.root))
}

enum Fault {
    /// Names from the innermost to the outermost.
    Missing(Vec<&'static str>),
    Malformed,
    TooDeep,
}

impl Fault {
    fn below(mut self, name: &'static str) -> Self {
        if let Self::Missing(path) = &mut self {
            path.push(name);
        }
        self
    }

    fn into_error(self, root: &'static str) -> RequiredError {
        match self.below(root) {
            Self::Missing(mut path) => {
                path.reverse();
                RequiredError::Missing(path.join("."))
            }
            Self::Malformed => RequiredError::Malformed,
            Self::TooDeep => RequiredError::TooDeep,
        }
    }
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

fn walk(table: &Table, mut bytes: &[u8], depth: usize) -> Result<(), Fault> {
    let mut seen = 0_u64;
    if table.fields.is_empty() {
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
    while !bytes.is_empty() {
        let (number, value) = record(&mut bytes, depth)?;
        if let Some(index) = table.fields.iter().position(|field| field.number == number) {
            let field = &table.fields[index];
            if judge(field, value, depth).map_err(|fault| fault.below(field.name))? {
                seen |= 1 << index;
            }
        }
    }
    let missing =
        table.fields.iter().enumerate().find(|(index, field)| field.required && seen & 1 << index == 0);
    missing.map_or(Ok(()), |(_, field)| Err(Fault::Missing(vec![field.name])))
}

/// Whether the value counts as present.
fn judge(field: &Field, value: Value<'_>, depth: usize) -> Result<bool, Fault> {
    match (&field.check, value) {
        (Check::Enum(is_valid), Value::Varint(number)) => Ok(is_valid(number as i32)),
        (Check::Message(table), Value::Bytes(inner)) => walk(table, inner, depth).map(|()| true),
        (Check::MapValue(table), Value::Bytes(entry)) => walk_entry(table, entry, depth).map(|()| true),
        _ => Ok(true),
    }
}

/// A map entry without a value has the empty message for a value.
fn walk_entry(table: &Table, mut entry: &[u8], depth: usize) -> Result<(), Fault> {
    const VALUE: u32 = 2;
    let mut found: &[u8] = &[];
    while !entry.is_empty() {
        if let (VALUE, Value::Bytes(bytes)) = record(&mut entry, depth)? {
            found = bytes;
        }
    }
    walk(table, found, depth)
}

/// Takes one field off the front.
fn record<'a>(bytes: &mut &'a [u8], depth: usize) -> Result<(u32, Value<'a>), Fault> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).map_err(|_| Fault::Malformed)?;
    let value = match key & 7 {
        0 => Value::Varint(varint(bytes)?),
        1 => take(bytes, 8).map(|_| Value::Fixed)?,
        2 => {
            let length = varint(bytes)?;
            Value::Bytes(take(bytes, usize::try_from(length).map_err(|_| Fault::Malformed)?)?)
        }
        3 => skip_group(bytes, number, depth).map(|()| Value::Fixed)?,
        5 => take(bytes, 4).map(|_| Value::Fixed)?,
        _ => return Err(Fault::Malformed),
    };
    if number == 0 { Err(Fault::Malformed) } else { Ok((number, value)) }
}

/// Groups occur in no message of ours, but an unknown field may be one.
fn skip_group(bytes: &mut &[u8], number: u32, depth: usize) -> Result<(), Fault> {
    let depth = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
    let end = u64::from(number) << 3 | 4;
    loop {
        let mut ahead = *bytes;
        if varint(&mut ahead)? == end {
            *bytes = ahead;
            return Ok(());
        }
        record(bytes, depth)?;
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Fault::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Fault::Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Fault> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Fault::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

include!(concat!(env!("OUT_DIR"), "/mesos_required.rs"));
