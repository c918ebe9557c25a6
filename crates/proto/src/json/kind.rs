//! One type per proto type: how its values look in JSON.

use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use serde::de::{Error, MapAccess, Unexpected};
use serde::{Serialize, Serializer};

use super::{AsJson, Enum, Message, read_message};

/// How one proto type is read and written. `None` stands for "as if the field were not there".
///
/// Each reading function has a default that refuses, so that a type lists only what it takes.
pub(crate) trait Kind {
    /// As prost holds it.
    type Value;
    /// For error texts: "expected …".
    const EXPECTED: &'static str;

    fn json(value: &Self::Value) -> Option<impl Serialize>;

    fn boolean<E: Error>(value: bool) -> Result<Option<Self::Value>, E> {
        Err(refuse::<Self, E>(Unexpected::Bool(value)))
    }
    fn signed<E: Error>(value: i64) -> Result<Option<Self::Value>, E> {
        Err(refuse::<Self, E>(Unexpected::Signed(value)))
    }
    fn unsigned<E: Error>(value: u64) -> Result<Option<Self::Value>, E> {
        Err(refuse::<Self, E>(Unexpected::Unsigned(value)))
    }
    fn float<E: Error>(value: f64) -> Result<Option<Self::Value>, E> {
        Err(refuse::<Self, E>(Unexpected::Float(value)))
    }
    fn text<E: Error>(value: &str) -> Result<Option<Self::Value>, E> {
        Err(refuse::<Self, E>(Unexpected::Str(value)))
    }
    fn object<'de, A: MapAccess<'de>>(map: A) -> Result<Option<Self::Value>, A::Error> {
        drop(map);
        Err(refuse::<Self, A::Error>(Unexpected::Map))
    }
}

fn refuse<K: Kind + ?Sized, E: Error>(found: Unexpected<'_>) -> E {
    E::invalid_type(found, &K::EXPECTED)
}

pub(crate) struct Bool;

impl Kind for Bool {
    type Value = bool;
    const EXPECTED: &'static str = "a boolean";

    fn json(value: &bool) -> Option<impl Serialize> {
        Some(*value)
    }
    fn boolean<E: Error>(value: bool) -> Result<Option<bool>, E> {
        Ok(Some(value))
    }
    fn text<E: Error>(value: &str) -> Result<Option<bool>, E> {
        value.parse().map(Some).map_err(|_| refuse::<Self, E>(Unexpected::Str(value)))
    }
}

/// An integer of the width of `T`. One that does not fit is refused.
pub(crate) struct Int<T>(PhantomData<T>);

impl<T> Kind for Int<T>
where
    T: Copy + Serialize + FromStr + TryFrom<i64> + TryFrom<u64>,
{
    type Value = T;
    const EXPECTED: &'static str = "an integer of the field's width";

    fn json(value: &T) -> Option<impl Serialize> {
        Some(*value)
    }
    fn signed<E: Error>(value: i64) -> Result<Option<T>, E> {
        T::try_from(value).map(Some).map_err(|_| refuse::<Self, E>(Unexpected::Signed(value)))
    }
    fn unsigned<E: Error>(value: u64) -> Result<Option<T>, E> {
        T::try_from(value).map(Some).map_err(|_| refuse::<Self, E>(Unexpected::Unsigned(value)))
    }
    fn float<E: Error>(value: f64) -> Result<Option<T>, E> {
        // Beyond 2^53 a float no longer says which integer was meant.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
            Self::signed(value as i64)
        } else {
            Err(refuse::<Self, E>(Unexpected::Float(value)))
        }
    }
    fn text<E: Error>(value: &str) -> Result<Option<T>, E> {
        value.parse().map(Some).map_err(|_| refuse::<Self, E>(Unexpected::Str(value)))
    }
}

pub(crate) struct Double;

impl Kind for Double {
    type Value = f64;
    const EXPECTED: &'static str = "a number";

    fn json(value: &f64) -> Option<impl Serialize> {
        Some(JsonDouble(*value))
    }
    fn signed<E: Error>(value: i64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }
    fn unsigned<E: Error>(value: u64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }
    fn float<E: Error>(value: f64) -> Result<Option<f64>, E> {
        Ok(Some(value))
    }
    fn text<E: Error>(value: &str) -> Result<Option<f64>, E> {
        match value {
            "Infinity" => Ok(Some(f64::INFINITY)),
            "-Infinity" => Ok(Some(f64::NEG_INFINITY)),
            _ => match value.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(refuse::<Self, E>(Unexpected::Str(value))),
            },
        }
    }
}

/// A double that JSON cannot hold becomes a text.
struct JsonDouble(f64);

impl Serialize for JsonDouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_finite() => serializer.serialize_f64(value),
            value if value.is_nan() => serializer.serialize_str("NaN"),
            value if value > 0.0 => serializer.serialize_str("Infinity"),
            _ => serializer.serialize_str("-Infinity"),
        }
    }
}

pub(crate) struct Text;

impl Kind for Text {
    type Value = String;
    const EXPECTED: &'static str = "a string";

    fn json(value: &String) -> Option<impl Serialize> {
        Some(value.as_str())
    }
    fn text<E: Error>(value: &str) -> Result<Option<String>, E> {
        Ok(Some(value.to_owned()))
    }
}

/// Bytes. Padding is written, and not insisted upon.
pub(crate) struct Base64;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Kind for Base64 {
    type Value = Bytes;
    const EXPECTED: &'static str = "a base64 string";

    fn json(value: &Bytes) -> Option<impl Serialize> {
        Some(JsonBytes(value.clone()))
    }
    fn text<E: Error>(value: &str) -> Result<Option<Bytes>, E> {
        let bytes =
            LENIENT.decode(value).map_err(|_| E::invalid_value(Unexpected::Str(value), &Self::EXPECTED))?;
        Ok(Some(Bytes::from(bytes)))
    }
}

struct JsonBytes(Bytes);

impl Serialize for JsonBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

/// An enum value by its name; one without a name, or with one that is not known, is no value.
pub(crate) struct Name<T>(PhantomData<T>);

impl<T: Enum> Kind for Name<T> {
    type Value = i32;
    const EXPECTED: &'static str = "the name of an enum value";

    fn json(value: &i32) -> Option<impl Serialize> {
        T::name(*value)
    }
    fn text<E: Error>(value: &str) -> Result<Option<i32>, E> {
        Ok(T::number(value))
    }
}

pub(crate) struct Object<M>(PhantomData<M>);

impl<M: Message> Kind for Object<M> {
    type Value = M;
    const EXPECTED: &'static str = "an object";

    fn json(value: &M) -> Option<impl Serialize> {
        Some(AsJson(value))
    }
    fn object<'de, A: MapAccess<'de>>(map: A) -> Result<Option<M>, A::Error> {
        read_message(map).map(Some)
    }
}
