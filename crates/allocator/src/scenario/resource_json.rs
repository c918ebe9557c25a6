//! Resources in the v1 API's JSON, beside the flag text.
//!
//! What a disk is made of is kept as the canonical bytes of its message, as everywhere in the cluster, so that a volume that
//! is written twice is the same volume.

use std::sync::Arc;

use mesarch_types::{
    Disk, DiskSource, Ranges, Reservation, ReservationKind, Resource, Resources, Role, Scalar, Set, Value,
    parse_resources,
};
use serde_json::{Map, Value as Json};

type Object = Map<String, Json>;

/// A flag text, a resource object, or a list of both.
pub(super) fn resources_from_json(value: &Json) -> Result<Resources, String> {
    match value {
        Json::String(text) => parse_resources(text, &Role::any()).map_err(|error| with_causes(&error)),
        Json::Object(object) => {
            Resources::new([resource_from_json(object)?]).map_err(|error| with_causes(&error))
        }
        Json::Array(list) => list.iter().try_fold(Resources::default(), |sum, part| {
            let part = resources_from_json(part)?;
            sum.checked_add(&part).ok_or_else(|| format!("{sum} and {part} do not add up"))
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => {
            Err("expected a text, a resource object or a list of them".to_owned())
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_causes(source)),
        None => error.to_string(),
    }
}

fn resource_from_json(object: &Object) -> Result<Resource, String> {
    only(
        object,
        &[
            "name",
            "type",
            "scalar",
            "ranges",
            "set",
            "role",
            "reservation",
            "reservations",
            "disk",
            "revocable",
            "shared",
            "provider_id",
        ],
    )?;
    let name = text(object, "name")?.ok_or("a resource has no name")?;
    let disk = child(object, "disk")?.map(disk_from_json).transpose()?;
    let provider = child(object, "provider_id")?.map(|id| text(id, "value")).transpose()?.flatten();
    Ok(Resource {
        reservations: reservations_from_json(object)?.into(),
        disk: disk.map(Arc::new),
        revocable: child(object, "revocable")?.is_some(),
        shared: child(object, "shared")?.is_some(),
        provider: provider.map(Into::into),
        ..Resource::new(name, value_from_json(object)?)
    })
}

fn value_from_json(object: &Object) -> Result<Value, String> {
    match text(object, "type")? {
        Some("SCALAR") => {
            let scalar = child(object, "scalar")?.ok_or("a SCALAR resource has no scalar")?;
            let value = scalar.get("value").and_then(Json::as_f64).and_then(Scalar::from_f64);
            value.map(Value::Scalar).ok_or_else(|| "scalar.value must be a number".to_owned())
        }
        Some("RANGES") => {
            let ranges = child(object, "ranges")?.ok_or("a RANGES resource has no ranges")?;
            let pairs: Option<Vec<(u64, u64)>> = list(ranges, "range")?
                .iter()
                .map(|range| Some((range.get("begin")?.as_u64()?, range.get("end")?.as_u64()?)))
                .collect();
            let ranges = pairs.and_then(Ranges::new);
            ranges.map(Value::Ranges).ok_or_else(|| "ranges.range must hold begin <= end".to_owned())
        }
        Some("SET") => {
            let set = child(object, "set")?.ok_or("a SET resource has no set")?;
            let names: Option<Set> = list(set, "item")?.iter().map(Json::as_str).collect();
            names.map(Value::Set).ok_or_else(|| "set.item must hold texts".to_owned())
        }
        _ => Err("type must be SCALAR, RANGES or SET".to_owned()),
    }
}

fn reservations_from_json(object: &Object) -> Result<Vec<Reservation>, String> {
    let stack = list(object, "reservations")?;
    let reservations: Result<Vec<Reservation>, String> = stack
        .iter()
        .map(|one| reservation_from_json(one.as_object().ok_or("reservations must hold objects")?))
        .collect();
    let reservations = reservations?;
    let refines = |pair: &[Reservation]| {
        pair[1].kind == ReservationKind::Dynamic && pair[0].role.is_ancestor_of(&pair[1].role)
    };
    if !reservations.windows(2).all(refines) {
        return Err("each reservation must refine the one before it by a descendant role".to_owned());
    }
    let old_role = text(object, "role")?.filter(|role| *role != "*");
    match (old_role, child(object, "reservation")?) {
        (None, None) => Ok(reservations),
        (Some(role), _) if !reservations.is_empty() => {
            Err(format!("role {role:?} stands beside reservations"))
        }
        (None, Some(_)) => Err("reservation without role".to_owned()),
        (Some(role), old) => {
            let kind = if old.is_some() { ReservationKind::Dynamic } else { ReservationKind::Static };
            let empty = Object::new();
            let old = old.unwrap_or(&empty);
            Ok(vec![Reservation {
                kind,
                role: role_from(role)?,
                principal: principal(old)?,
                labels: labels(old)?,
            }])
        }
    }
}

fn reservation_from_json(object: &Object) -> Result<Reservation, String> {
    only(object, &["type", "role", "principal", "labels"])?;
    let kind = match text(object, "type")? {
        Some("STATIC") => ReservationKind::Static,
        Some("DYNAMIC") => ReservationKind::Dynamic,
        _ => return Err("the type of a reservation must be STATIC or DYNAMIC".to_owned()),
    };
    let role = role_from(text(object, "role")?.ok_or("a reservation has no role")?)?;
    Ok(Reservation { kind, role, principal: principal(object)?, labels: labels(object)? })
}

fn role_from(text: &str) -> Result<Role, String> {
    Role::parse(text).map_err(|error| error.to_string())
}

fn principal(object: &Object) -> Result<Option<Arc<str>>, String> {
    Ok(text(object, "principal")?.map(Into::into))
}

fn disk_from_json(object: &Object) -> Result<Disk, String> {
    only(object, &["persistence", "volume", "source"])?;
    let persistence = child(object, "persistence")?;
    let source = child(object, "source")?;
    let mut info = Message::default();
    if let Some(persistence) = persistence {
        only(persistence, &["id", "principal"])?;
        info.message(
            1,
            Message::default().text(1, text(persistence, "id")?).text(2, text(persistence, "principal")?),
        );
    }
    if let Some(volume) = child(object, "volume")? {
        info.message(2, &volume_message(volume)?);
    }
    let mut disk = Disk::default();
    if let Some(source) = source {
        disk.source = source_kind(source)?;
        disk.source_id = text(source, "id")?.map(Into::into);
        info.message(3, &source_message(source, disk.source)?);
    }
    disk.persistence_id = persistence.map(|one| text(one, "id")).transpose()?.flatten().map(Into::into);
    if persistence.is_some() && disk.persistence_id.is_none() {
        return Err("disk.persistence has no id".to_owned());
    }
    disk.info = info.0.into();
    Ok(disk)
}

fn volume_message(volume: &Object) -> Result<Message, String> {
    only(volume, &["container_path", "host_path", "mode"])?;
    let mode = match text(volume, "mode")? {
        Some("RW") => 1,
        Some("RO") => 2,
        _ => return Err("the mode of a volume must be RW or RO".to_owned()),
    };
    let mut message = Message::default();
    message.text(1, text(volume, "container_path")?).text(2, text(volume, "host_path")?).number(3, mode);
    Ok(message)
}

fn source_kind(source: &Object) -> Result<DiskSource, String> {
    match text(source, "type")? {
        Some("PATH") => Ok(DiskSource::Path),
        Some("MOUNT") => Ok(DiskSource::Mount),
        Some("BLOCK") => Ok(DiskSource::Block),
        Some("RAW") => Ok(DiskSource::Raw),
        _ => Err("the type of a disk's source must be PATH, MOUNT, BLOCK or RAW".to_owned()),
    }
}

fn source_message(source: &Object, kind: DiskSource) -> Result<Message, String> {
    only(source, &["type", "path", "mount", "id", "profile", "vendor"])?;
    let number = match kind {
        DiskSource::Root => 0,
        DiskSource::Path => 1,
        DiskSource::Mount => 2,
        DiskSource::Block => 3,
        DiskSource::Raw => 4,
    };
    let mut message = Message::default();
    message.number(1, number);
    for (field, name) in [(2, "path"), (3, "mount")] {
        if let Some(place) = child(source, name)? {
            only(place, &["root"])?;
            message.message(field, Message::default().text(1, text(place, "root")?));
        }
    }
    message.text(4, text(source, "id")?).text(6, text(source, "profile")?).text(7, text(source, "vendor")?);
    Ok(message)
}

fn labels(object: &Object) -> Result<bytes::Bytes, String> {
    let Some(labels) = child(object, "labels")? else {
        return Ok(bytes::Bytes::new());
    };
    let mut message = Message::default();
    for label in list(labels, "labels")? {
        let label = label.as_object().ok_or("labels must hold objects")?;
        message.message(1, Message::default().text(1, text(label, "key")?).text(2, text(label, "value")?));
    }
    Ok(message.0.into())
}

/// The canonical bytes of a message, field by field in the order of their numbers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, number: u64) -> &mut Self {
        self.varint(field << 3);
        self.varint(number);
        self
    }

    fn text(&mut self, field: u64, text: Option<&str>) -> &mut Self {
        text.into_iter().for_each(|text| self.bytes(field, text.as_bytes()));
        self
    }

    fn message(&mut self, field: u64, message: &Message) -> &mut Self {
        self.bytes(field, &message.0);
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

fn only(object: &Object, names: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(format!("there is no field {key:?} in a resource at this place")),
        None => Ok(()),
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Result<Option<&'a str>, String> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a text")),
    }
}

fn child<'a>(object: &'a Object, name: &str) -> Result<Option<&'a Object>, String> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(child)) => Ok(Some(child)),
        Some(_) => Err(format!("{name} must be an object")),
    }
}

fn list<'a>(object: &'a Object, name: &str) -> Result<&'a [Json], String> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(list)) => Ok(list),
        Some(_) => Err(format!("{name} must be a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Resources, String> {
        resources_from_json(&serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn objects_and_texts_say_the_same() {
        let table = [
            (r#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}}"#, "cpus:1.5"),
            (
                r#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}, "reservations": [
                    {"type": "STATIC", "role": "a"}, {"type": "DYNAMIC", "role": "a/b", "principal": "p"}]}"#,
                "cpus(a)(a/b,p):1",
            ),
            (r#"{"name": "mem", "type": "SCALAR", "scalar": {"value": 1}, "role": "a"}"#, "mem(a):1"),
            (
                r#"{"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 9}]}, "revocable": {}}"#,
                "ports{REV}:[1-9]",
            ),
            (r#"["cpus:1", {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}}]"#, "cpus:2"),
        ];
        for (json, text) in table {
            assert_eq!(read(json).expect(json), parse_resources(text, &Role::any()).expect(text));
        }
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for json in [
            "7",
            r#"{"name": "cpus"}"#,
            r#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": -1}}"#,
            r#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}, "role": "a//b"}"#,
            r#"{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}, "colour": "red"}"#,
            r#"{"name": "p", "type": "RANGES", "ranges": {"range": [{"begin": 2, "end": 1}]}}"#,
            r#"["cpus:1", "cpus:[1-2]"]"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_disk_is_its_canonical_bytes() {
        let json = r#"{"name": "disk", "type": "SCALAR", "scalar": {"value": 5}, "disk": {
            "persistence": {"id": "v"}, "volume": {"container_path": "d", "mode": "RW"}, "source": {"type": "MOUNT"}}}"#;
        let resources = read(json).expect("good");
        let disk = resources.iter().next().and_then(|one| one.disk.clone()).expect("a disk");
        assert_eq!(&disk.info[..], b"\x0a\x03\x0a\x01v\x12\x05\x0a\x01d\x18\x01\x1a\x02\x08\x02");
        assert_eq!((disk.source, disk.persistence_id.as_deref()), (DiskSource::Mount, Some("v")));
    }
}
