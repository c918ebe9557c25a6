//! The JSON form of Mesos' protobuf messages.
//!
//! **Writing.** Field names as in the `.proto` files; enums by value name; bytes as standard base64; 64-bit integers
//! as numbers; doubles as the shortest decimal that reads back equal, with a fraction (`15.0`). Unset optional fields
//! and empty lists are left out, except that a field with an explicit proto default is written with it (unless
//! deprecated), and that the lists in answers to operator reads are always there. An enum number without a name is
//! left out, as Mesos does. JSON has no NaN and no infinity: they are written as the texts `"NaN"`, `"Infinity"`
//! and `"-Infinity"`; of these the infinities are read back.
//!
//! **Reading.** Unknown keys are ignored. `null` is "unset", for messages, scalars, lists and inside lists. The last of
//! repeated keys counts. Numbers and booleans may be texts; doubles may be integers; whole floating-point numbers
//! may stand for integers. An enum name that is not known leaves an optional field unset. A single value for a
//! repeated field is a list of one; a list for a singular field is an error. A missing required field is an error.
//! Errors start with the path of the field: `.subscribe.framework_info.user: required field is missing`.
//!
//! The build script writes one [`Message`] per message; this module holds everything that does not differ between
//! them. `kind` has one type per proto type, `visit` hands it what serde finds, `read` and `write` have one function per
//! label. `encoded` writes the same from protobuf bytes. Nothing is found by
//! reflection, and the code for each message is compiled once, in this crate, behind [`Json`].

mod ascii;
mod duration;
mod encoded;
pub(crate) mod kind;
pub(crate) mod read;
pub mod text;
mod visit;
pub(crate) mod write;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Deserializer, Serialize};

pub use ascii::AsciiFormatter;

/// A message that can be turned from and into JSON text.
pub trait Json: Sized {
    /// How errors name the message: `call`, `framework_info`.
    const ROOT: &'static str;

    /// Reads exactly one message from JSON text, at most 128 levels deep.
    ///
    /// The error text starts with `.` and the path of a field, or describes what is wrong with the text as a whole.
    fn from_json(text: &[u8]) -> Result<Self, serde_json::Error>;

    /// Appends the message to `out`: one line, ASCII only (other characters as `\uXXXX`).
    fn write_json(&self, out: &mut Vec<u8>);

    /// Appends the message of these protobuf bytes as [`write_json`](Self::write_json) does. The message is built only if
    /// the bytes are not as prost writes them.
    ///
    /// # Errors
    /// They are no such message; then nothing is appended.
    fn write_json_of(encoded: &[u8], out: &mut Vec<u8>) -> Result<(), prost::DecodeError>;
}

/// A message that is known to `encoded`.
trait Shaped {
    fn shape() -> &'static encoded::Shape;
}

/// What the build script says about a message.
pub(crate) trait Message: Default {
    /// See [`Json::ROOT`].
    const ROOT: &'static str;
    /// Names, in the order of the `.proto` file. At most 64.
    const FIELDS: &'static [&'static str];
    /// Bit n is set if field n is required.
    const REQUIRED: u64;

    /// Position of a field in `FIELDS`.
    fn index(name: &str) -> Option<usize>;

    /// Takes the value of one field from the map; says whether the field is set now.
    fn read<'de, A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<bool, A::Error>;

    /// Writes all fields that are to be written.
    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

/// An enum whose values have names.
pub(crate) trait Enum {
    /// Number of the value with this name.
    fn number(name: &str) -> Option<i32>;
    /// Name of the value with this number.
    fn name(number: i32) -> Option<&'static str>;
}

/// Reads a whole message from the map of its fields.
pub(crate) fn read_message<'de, M: Message, A: MapAccess<'de>>(mut map: A) -> Result<M, A::Error> {
    let mut message = M::default();
    let mut seen = 0_u64;
    while let Some(key) = map.next_key_seed(Key::<M>(PhantomData))? {
        let Some(field) = key else {
            read::ignored(&mut map)?;
            continue;
        };
        let set = message.read(field, &mut map).map_err(|error| below(M::FIELDS[field], &error))?;
        seen = if set { seen | 1 << field } else { seen & !(1 << field) };
    }
    let missing = M::REQUIRED & !seen;
    match M::FIELDS.get(missing.trailing_zeros() as usize) {
        Some(name) if missing != 0 => {
            Err(A::Error::custom(format_args!(".{name}: required field is missing")))
        }
        _ => Ok(message),
    }
}

/// Puts a field's name in front of an error's path.
pub(crate) fn below<E: serde::de::Error>(name: &str, error: &E) -> E {
    at(format_args!(".{name}"), error)
}

/// Puts a step in front of an error's path. Texts of serde start with a letter, so paths are told by their first byte.
pub(crate) fn at<E: serde::de::Error>(step: fmt::Arguments<'_>, error: &E) -> E {
    let text = error.to_string();
    let separator = if text.starts_with(['.', '[']) { "" } else { ": " };
    E::custom(format_args!("{step}{separator}{text}"))
}

/// Reads a key as the position of the field, without keeping the text.
struct Key<M>(PhantomData<M>);

impl<'de, M: Message> DeserializeSeed<'de> for Key<M> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<M: Message> Visitor<'_> for Key<M> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(M::index(name))
    }
}

/// Borrows a message as something that serde can write.
pub(crate) struct AsJson<'a, M>(pub(crate) &'a M);

impl<M: Message> Serialize for AsJson<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.write(&mut map)?;
        map.end()
    }
}

/// A message on its own, not in a field: `null` is nothing.
fn deserialize<'de, M: Message, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
    let value = visit::Value::<kind::Object<M>>::new().deserialize(deserializer)?;
    value.ok_or_else(|| D::Error::custom("invalid type: null, expected an object"))
}

fn from_json<M>(text: &[u8]) -> Result<M, serde_json::Error>
where
    M: for<'de> Deserialize<'de>,
{
    serde_json::from_slice(text)
}

fn write_json<M: Message>(message: &M, out: &mut Vec<u8>) {
    let mut serializer = serde_json::Serializer::with_formatter(out, AsciiFormatter);
    AsJson(message).serialize(&mut serializer).expect("a Vec takes everything, and keys are texts");
}

fn write_json_of<M>(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), prost::DecodeError>
where
    M: Message + Shaped + prost::Message,
{
    let before = out.len();
    if encoded::message(M::shape(), bytes, out).is_err() {
        out.truncate(before);
        write_json(&<M as prost::Message>::decode(bytes)?, out);
    }
    Ok(())
}

macro_rules! json_enum {
    ($name:path) => {
        impl Enum for $name {
            fn number(name: &str) -> Option<i32> {
                <$name>::from_str_name(name).map(|value| value as i32)
            }
            fn name(number: i32) -> Option<&'static str> {
                <$name>::try_from(number).ok().map(|value| value.as_str_name())
            }
        }
    };
}

macro_rules! json_message {
    ($name:path) => {
        impl Json for $name {
            const ROOT: &'static str = <$name as Message>::ROOT;
            fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
                from_json(text)
            }
            fn write_json(&self, out: &mut Vec<u8>) {
                write_json(self, out);
            }
            fn write_json_of(encoded: &[u8], out: &mut Vec<u8>) -> Result<(), prost::DecodeError> {
                write_json_of::<Self>(encoded, out)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                AsJson(self).serialize(serializer)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize(deserializer)
            }
        }
    };
}

/// What the build script wrote. Messages without fields do not use all parameters.
#[allow(unused_variables, clippy::all)]
mod messages {
    use super::*;

    include!(concat!(env!("OUT_DIR"), "/mesos_json.rs"));
}

/// The same.
#[allow(clippy::all)]
mod shapes {
    use super::encoded::{Field, Kind, Label, Shape};
    use super::{Enum, Shaped};

    include!(concat!(env!("OUT_DIR"), "/mesos_shapes.rs"));
}

#[cfg(test)]
#[path = "json_test.rs"]
mod tests;
