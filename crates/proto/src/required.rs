//! Required fields of protobuf messages, checked on the bytes.
//!
//! prost decodes a message that lacks required fields without a word, and afterwards a missing string looks like an
//! empty one. So the bytes are walked once, along a table that the build script made, before they are decoded.
//! Messages that have no required field anywhere below are skipped, not walked.
//!
//! The other way round, prost leaves out what is in a map and equals the default of its type, required fields and all:
//! [`complete`] puts it back, so that readers who insist on required fields take what we write.
//!
//! A singular message field that occurs twice is judged occurrence by occurrence, though protobuf would merge them:
//! no encoder writes that. An unknown number in a required enum counts as missing, as in Mesos.

/// How deeply messages may be nested; the same as prost's own bound.
pub const DEPTH_MAX: usize = 100;

/// What a message demands; made by the build script.
#[derive(Debug)]
pub struct Table {
    root: &'static str,
    /// Whether there are maps below whose values have required fields.
    leads_to_maps: bool,
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
    /// With the bytes of the empty value.
    MapValue(&'static Table, fn() -> Vec<u8>),
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
        (Check::MapValue(table, _), Value::Bytes(entry)) => walk_entry(table, entry, depth).map(|()| true),
        _ => Ok(true),
    }
}

/// A map entry without a value has the empty message for a value.
fn walk_entry(table: &Table, entry: &[u8], depth: usize) -> Result<(), Fault> {
    walk(table, entry_value(entry, depth)?.unwrap_or_default(), depth)
}

/// The number of the value in an entry of a map.
const VALUE: u32 = 2;

fn entry_value(mut entry: &[u8], depth: usize) -> Result<Option<&[u8]>, Fault> {
    let mut found = None;
    while !entry.is_empty() {
        if let (VALUE, Value::Bytes(bytes)) = record(&mut entry, depth)? {
            found = Some(bytes);
        }
    }
    Ok(found)
}

/// Puts into what prost wrote of a message, `out` from `start` on, the values of maps that it left out because they equal
/// the default of their type. Costs nothing for messages that cannot hold such a map.
pub fn complete<T: Required>(out: &mut Vec<u8>, start: usize) {
    // Bytes of prost's own are in order.
    if let Ok(Some(completed)) = complete_message(T::table(), &out[start..], DEPTH_MAX) {
        out.truncate(start);
        out.extend_from_slice(&completed);
    }
}

/// None if nothing is missing.
fn complete_message(table: &Table, bytes: &[u8], depth: usize) -> Result<Option<Vec<u8>>, Fault> {
    if !table.leads_to_maps {
        return Ok(None);
    }
    let depth = depth.checked_sub(1).ok_or(Fault::TooDeep)?;
    // Empty as long as all is as it was.
    let (mut out, mut copied, mut rest) = (Vec::new(), 0, bytes);
    while !rest.is_empty() {
        let from = bytes.len() - rest.len();
        let (number, value) = record(&mut rest, depth)?;
        let field = table.fields.iter().find(|field| field.number == number);
        let (Some(field), Value::Bytes(inner)) = (field, value) else { continue };
        if let Some(inner) = complete_field(field, inner, depth)? {
            out.extend_from_slice(&bytes[copied..from]);
            put(&mut out, number, &inner);
            copied = bytes.len() - rest.len();
        }
    }
    if copied == 0 {
        return Ok(None);
    }
    out.extend_from_slice(&bytes[copied..]);
    Ok(Some(out))
}

fn complete_field(field: &Field, inner: &[u8], depth: usize) -> Result<Option<Vec<u8>>, Fault> {
    let (table, empty) = match field.check {
        Check::Message(table) => return complete_message(table, inner, depth),
        Check::MapValue(table, empty) => (table, empty),
        Check::Nothing | Check::Enum(_) => return Ok(None),
    };
    // prost writes the key first, and a value once if at all.
    let (key, value) = match entry_value(inner, depth)? {
        Some(value) => (&inner[..value_at(inner, depth)?], complete_message(table, value, depth)?),
        None => (inner, Some(empty()).filter(|empty| !empty.is_empty())),
    };
    Ok(value.map(|value| {
        let mut entry = key.to_vec();
        put(&mut entry, VALUE, &value);
        entry
    }))
}

/// Where the value of an entry begins.
fn value_at(entry: &[u8], depth: usize) -> Result<usize, Fault> {
    let mut rest = entry;
    loop {
        let at = entry.len() - rest.len();
        if rest.is_empty() || record(&mut rest, depth)?.0 == VALUE {
            return Ok(at);
        }
    }
}

/// A field with a length.
fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
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
