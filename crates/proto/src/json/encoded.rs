//! JSON straight from a message's protobuf bytes, without building the message: one walk that finds where its fields
//! stand, one that writes them in the order of the `.proto` file.
//!
//! It knows the form that prost writes: each field once, or, if it is repeated, all of it in one run. Whatever does not
//! look so is [`Foreign`], and is decoded first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::text;
use crate::required::DEPTH_MAX;
use crate::wire::{Malformed, Value, record};

/// Most fields of a message; the build script sees to it.
const FIELDS_MAX: usize = 64;

/// How a message looks in both encodings; made by the build script, in the order of the `.proto` file.
#[derive(Debug)]
pub(crate) struct Shape(pub(crate) &'static [Field]);

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// With quotes and colon.
    pub(crate) key: &'static str,
    pub(crate) label: Label,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Label {
    /// Written with the default of its type if it is not there.
    Required,
    Optional,
    /// Written so if it is not there.
    Default(&'static str),
    /// One of a oneof.
    Member,
    Repeated,
    /// Repeated, and written if it is empty.
    Always,
    Map,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    I32,
    I64,
    U32,
    U64,
    Double,
    Text,
    Bytes,
    /// By the name of a number.
    Name(fn(i32) -> Option<&'static str>),
    Object(&'static Shape),
    /// With the one foreign field of agents: see `write::agent_info_with_checkpoint`.
    WithCheckpoint(&'static Shape),
}

/// Not as prost writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign;

impl From<Malformed> for Foreign {
    fn from(Malformed: Malformed) -> Self {
        Self
    }
}

impl Label {
    fn is_run(&self) -> bool {
        matches!(self, Self::Repeated | Self::Always | Self::Map)
    }

    /// If it is not there.
    fn may_be_left_out(&self) -> bool {
        matches!(self, Self::Optional | Self::Member | Self::Repeated | Self::Map)
    }
}

impl Kind {
    /// The default of its type.
    fn zero(&self) -> Value<'static> {
        match self {
            Self::Bool | Self::I32 | Self::I64 | Self::U32 | Self::U64 | Self::Name(_) => Value::Varint(0),
            Self::Double => Value::Fixed64(0),
            Self::Text | Self::Bytes | Self::Object(_) | Self::WithCheckpoint(_) => Value::Bytes(&[]),
        }
    }
}

/// Appends a message. What is appended before an error is worth nothing.
pub(crate) fn message(shape: &Shape, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Foreign> {
    object(shape, bytes, "", out, DEPTH_MAX)
}

fn object(shape: &Shape, bytes: &[u8], tail: &str, out: &mut Vec<u8>, depth: usize) -> Result<(), Foreign> {
    let depth = depth.checked_sub(1).ok_or(Foreign)?;
    let places = places(shape, bytes)?;
    out.push(b'{');
    let start = out.len();
    for (field, place) in shape.0.iter().zip(places) {
        // One more than where it begins, so that nothing is none.
        let run = place.checked_sub(1).map_or(&[][..], |from| &bytes[from as usize..]);
        if run.is_empty() && field.label.may_be_left_out() {
            continue;
        }
        let before = out.len();
        separate(out, start);
        out.extend_from_slice(field.key.as_bytes());
        if !labelled(field, run, out, depth)? {
            out.truncate(before);
        }
    }
    if !tail.is_empty() {
        separate(out, start);
        out.extend_from_slice(tail.as_bytes());
    }
    out.push(b'}');
    Ok(())
}

/// A comma, unless it would be the first thing behind `start`.
fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

/// Where each field begins, plus one; zero for those that are not there.
fn places(shape: &Shape, bytes: &[u8]) -> Result<[u32; FIELDS_MAX], Foreign> {
    let (mut places, mut rest, mut last) = ([0; FIELDS_MAX], bytes, None);
    let mut has_member = false;
    while !rest.is_empty() {
        let from = bytes.len() - rest.len();
        let (number, _) = record(&mut rest)?;
        // Mostly the same one again or the next one.
        let after = last.unwrap_or(0);
        let mut fields = (after..shape.0.len()).chain(0..after);
        // One that is not known was not written by this version: prost would drop it, and it may hold anything.
        let found = fields.find(|index| shape.0[*index].number == number).ok_or(Foreign)?;
        // Of several the last one counts.
        if matches!(shape.0[found].label, Label::Member) && std::mem::replace(&mut has_member, true) {
            return Err(Foreign);
        }
        match (places[found], last == Some(found) && shape.0[found].label.is_run()) {
            (0, _) => places[found] = u32::try_from(from).map_err(|_| Foreign)? + 1,
            (_, true) => {}
            (_, false) => return Err(Foreign),
        }
        last = Some(found);
    }
    Ok(places)
}

/// What belongs behind the key; false if the field is to be left out.
fn labelled(field: &Field, run: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<bool, Foreign> {
    match (&field.label, run.is_empty()) {
        (Label::Required, true) => value(&field.kind, field.kind.zero(), out, depth),
        (Label::Default(text), true) => {
            out.extend_from_slice(text.as_bytes());
            Ok(true)
        }
        (Label::Repeated | Label::Always, _) => {
            each(field.number, run, b"[]", out, |found, out| value(&field.kind, found, out, depth))
        }
        (Label::Optional | Label::Member, true) => Ok(false),
        (Label::Required | Label::Optional | Label::Member | Label::Default(_), false) => {
            let (_, found) = record(&mut &*run)?;
            value(&field.kind, found, out, depth)
        }
        (Label::Map, _) => {
            let mut last = None;
            each(field.number, run, b"{}", out, |found, out| {
                let (key, inner) = entry(&field.kind, found)?;
                // Of equal keys the last one counts, and prost writes them in order.
                if last.replace(key) >= Some(key) {
                    return Err(Foreign);
                }
                text::ascii(out, key);
                out.push(b':');
                value(&field.kind, inner, out, depth)
            })
        }
    }
}

/// All values of a run, in these brackets.
fn each<'a>(
    number: u32,
    mut run: &'a [u8],
    brackets: &[u8; 2],
    out: &mut Vec<u8>,
    mut write: impl FnMut(Value<'a>, &mut Vec<u8>) -> Result<bool, Foreign>,
) -> Result<bool, Foreign> {
    out.push(brackets[0]);
    let start = out.len();
    while !run.is_empty() {
        let (found, one) = record(&mut run)?;
        if found != number {
            break;
        }
        let before = out.len();
        separate(out, start);
        if !write(one, out)? {
            out.truncate(before);
        }
    }
    out.push(brackets[1]);
    Ok(true)
}

/// Key and value of an entry of a map: prost leaves out what equals its default, the key as well.
fn entry<'a>(kind: &Kind, found: Value<'a>) -> Result<(&'a str, Value<'a>), Foreign> {
    const KEY: u32 = 1;
    const VALUE: u32 = 2;
    let (mut key, mut value) = (&[][..], kind.zero());
    let mut rest = found.bytes().ok_or(Foreign)?;
    while !rest.is_empty() {
        match record(&mut rest)? {
            (KEY, one) => key = one.bytes().ok_or(Foreign)?,
            (VALUE, one) => value = one,
            _ => return Err(Foreign),
        }
    }
    Ok((std::str::from_utf8(key).map_err(|_| Foreign)?, value))
}

/// False if it has no form in JSON.
fn value(kind: &Kind, found: Value<'_>, out: &mut Vec<u8>, depth: usize) -> Result<bool, Foreign> {
    match (kind, found) {
        (Kind::Bool, Value::Varint(number)) => {
            out.extend_from_slice(if number == 0 { b"false" } else { b"true" });
        }
        (Kind::I32, Value::Varint(number)) => text::integer(out, number as i32),
        (Kind::I64, Value::Varint(number)) => text::integer(out, number.cast_signed()),
        (Kind::U32, Value::Varint(number)) => text::integer(out, number as u32),
        (Kind::U64, Value::Varint(number)) => text::integer(out, number),
        (Kind::Double, Value::Fixed64(bits)) => double(f64::from_bits(bits), out),
        (Kind::Text, Value::Bytes(bytes)) => {
            text::ascii(out, std::str::from_utf8(bytes).map_err(|_| Foreign)?);
        }
        (Kind::Bytes, Value::Bytes(bytes)) => text::ascii(out, &STANDARD.encode(bytes)),
        (Kind::Name(name), Value::Varint(number)) => match name(number as i32) {
            Some(name) => text::ascii(out, name),
            None => return Ok(false),
        },
        (Kind::Object(shape), Value::Bytes(bytes)) => object(shape, bytes, "", out, depth)?,
        (Kind::WithCheckpoint(shape), Value::Bytes(bytes)) => {
            object(shape, bytes, r#""checkpoint":true"#, out, depth)?;
        }
        _ => return Err(Foreign),
    }
    Ok(true)
}

/// One that JSON does not have is a text.
fn double(number: f64, out: &mut Vec<u8>) {
    match number {
        number if number.is_finite() => text::double(out, number),
        number if number.is_nan() => text::ascii(out, "NaN"),
        number if number > 0.0 => text::ascii(out, "Infinity"),
        _ => text::ascii(out, "-Infinity"),
    }
}
