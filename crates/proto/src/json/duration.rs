//! `google.protobuf.Duration` as Mesos writes it: an object like any other message, not a text.

use serde::de::MapAccess;
use serde::ser::SerializeMap;

use super::{Message, kind, read, write};

impl Message for prost_types::Duration {
    const ROOT: &'static str = "duration";
    const FIELDS: &'static [&'static str] = &["seconds", "nanos"];
    const REQUIRED: u64 = 0;

    fn index(name: &str) -> Option<usize> {
        Self::FIELDS.iter().position(|field| *field == name)
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<bool, A::Error> {
        match field {
            0 => read::required::<kind::Int<i64>, _, _>(map, &mut self.seconds),
            1 => read::required::<kind::Int<i32>, _, _>(map, &mut self.nanos),
            _ => read::ignored(map),
        }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        write::value::<kind::Int<i64>, _>(map, "seconds", &self.seconds)?;
        write::value::<kind::Int<i32>, _>(map, "nanos", &self.nanos)
    }
}
