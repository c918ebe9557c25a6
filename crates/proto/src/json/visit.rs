//! Hands what serde finds in a text to a [`Kind`]: as one value or as a list.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::at;
use super::kind::Kind;

/// Reads one value of a kind.
pub(crate) struct Value<K>(PhantomData<K>);

impl<K> Value<K> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, K: Kind> DeserializeSeed<'de> for Value<K> {
    type Value = Option<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for Value<K> {
    type Value = Option<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::EXPECTED)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        K::boolean(value)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        K::signed(value)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        K::unsigned(value)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        K::float(value)
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        K::text(value)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        K::object(map)
    }
}

/// Reads a list of a kind; a single value is a list of one, `null` an empty list.
pub(crate) struct List<K>(PhantomData<K>);

impl<K> List<K> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

fn list_of<T>(value: Option<T>) -> Vec<T> {
    value.into_iter().collect()
}

impl<'de, K: Kind> DeserializeSeed<'de> for List<K> {
    type Value = Vec<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for List<K> {
    type Value = Vec<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::EXPECTED)?;
        f.write_str(" or a list of such")
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        K::boolean(value).map(list_of)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        K::signed(value).map(list_of)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        K::unsigned(value).map(list_of)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        K::float(value).map(list_of)
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        K::text(value).map(list_of)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        K::object(map).map(list_of)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        for index in 0_usize.. {
            match seq.next_element_seed(Value::<K>::new()) {
                Ok(Some(value)) => values.extend(value),
                Ok(None) => break,
                Err(error) => return Err(at(format_args!("[{index}]"), &error)),
            }
        }
        Ok(values)
    }
}
