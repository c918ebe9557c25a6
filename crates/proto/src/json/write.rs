//! One function per label: writes a field if it is to be written.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::Message;
use super::kind::Kind;
use crate::mesos::v1::AgentInfo;

pub(crate) fn value<K: Kind, M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: &K::Value,
) -> Result<(), M::Error> {
    match K::json(value) {
        Some(json) => map.serialize_entry(name, &json),
        None => Ok(()),
    }
}

pub(crate) fn optional<K, T, M>(map: &mut M, name: &'static str, slot: &Option<T>) -> Result<(), M::Error>
where
    K: Kind,
    T: Borrow<K::Value>,
    M: SerializeMap,
{
    slot.as_ref().map_or(Ok(()), |it| value::<K, M>(map, name, it.borrow()))
}

/// A list that is left out when empty.
pub(crate) fn repeated<K: Kind, M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    values: &[K::Value],
) -> Result<(), M::Error> {
    if values.is_empty() { Ok(()) } else { list::<K, M>(map, name, values) }
}

/// A list that is always there.
pub(crate) fn list<K: Kind, M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    values: &[K::Value],
) -> Result<(), M::Error> {
    map.serialize_entry(name, &List::<K>(values))
}

pub(crate) fn keyed<K: Kind, M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    values: &BTreeMap<String, K::Value>,
) -> Result<(), M::Error> {
    if values.is_empty() { Ok(()) } else { map.serialize_entry(name, &Keyed::<K>(values, PhantomData)) }
}

/// `AgentInfo` with the one v0 field that Mesos lets through in answers about agents. Agents always checkpoint.
pub(crate) fn agent_info_with_checkpoint<M: SerializeMap>(
    map: &mut M,
    info: &AgentInfo,
) -> Result<(), M::Error> {
    map.serialize_entry("agent_info", &WithCheckpoint(info))
}

struct WithCheckpoint<'a>(&'a AgentInfo);

impl Serialize for WithCheckpoint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.write(&mut map)?;
        map.serialize_entry("checkpoint", &true)?;
        map.end()
    }
}

struct List<'a, K: Kind>(&'a [K::Value]);

impl<K: Kind> Serialize for List<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for json in self.0.iter().filter_map(K::json) {
            seq.serialize_element(&json)?;
        }
        seq.end()
    }
}

struct Keyed<'a, K: Kind>(&'a BTreeMap<String, K::Value>, PhantomData<K>);

impl<K: Kind> Serialize for Keyed<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0 {
            if let Some(json) = K::json(value) {
                map.serialize_entry(key, &json)?;
            }
        }
        map.end()
    }
}
