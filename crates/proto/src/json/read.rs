//! One function per label: takes the next value of a map into a field, and says whether the field is set now.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};

use super::below;
use super::kind::Kind;
use super::visit::{List, Value};

/// A key that means nothing to us.
pub(crate) fn ignored<'de, A: MapAccess<'de>>(map: &mut A) -> Result<bool, A::Error> {
    map.next_value::<IgnoredAny>().map(|_| false)
}

pub(crate) fn required<'de, K, T, A>(map: &mut A, slot: &mut T) -> Result<bool, A::Error>
where
    K: Kind,
    T: From<K::Value>,
    A: MapAccess<'de>,
{
    let value = map.next_value_seed(Value::<K>::new())?;
    let set = value.is_some();
    if let Some(value) = value {
        *slot = value.into();
    }
    Ok(set)
}

pub(crate) fn optional<'de, K, T, A>(map: &mut A, slot: &mut Option<T>) -> Result<bool, A::Error>
where
    K: Kind,
    T: From<K::Value>,
    A: MapAccess<'de>,
{
    *slot = map.next_value_seed(Value::<K>::new())?.map(T::from);
    Ok(slot.is_some())
}

pub(crate) fn repeated<'de, K, A>(map: &mut A, slot: &mut Vec<K::Value>) -> Result<bool, A::Error>
where
    K: Kind,
    A: MapAccess<'de>,
{
    *slot = map.next_value_seed(List::<K>::new())?;
    Ok(true)
}

/// A map field: a JSON object.
pub(crate) fn keyed<'de, K, A>(map: &mut A, slot: &mut BTreeMap<String, K::Value>) -> Result<bool, A::Error>
where
    K: Kind,
    A: MapAccess<'de>,
{
    *slot = map.next_value_seed(Keyed::<K>(PhantomData))?;
    Ok(true)
}

/// A member of a oneof: `null` leaves the other members alone.
pub(crate) fn member<'de, K, T, A>(
    map: &mut A,
    slot: &mut Option<T>,
    variant: fn(K::Value) -> T,
) -> Result<bool, A::Error>
where
    K: Kind,
    A: MapAccess<'de>,
{
    if let Some(value) = map.next_value_seed(Value::<K>::new())? {
        *slot = Some(variant(value));
    }
    Ok(true)
}

struct Keyed<K>(PhantomData<K>);

impl<'de, K: Kind> DeserializeSeed<'de> for Keyed<K> {
    type Value = BTreeMap<String, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for Keyed<K> {
    type Value = BTreeMap<String, K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Value::<K>::new()).map_err(|error| below(&key, &error))?;
            if let Some(value) = value {
                values.insert(key, value);
            }
        }
        Ok(values)
    }
}
