//! Resources.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_proto::mesos::v1::{self, resource::reservation_info, value};
use mesarch_types::{
    Role,
    resource::{
        Disk, DiskSource, Ranges, Reservation, ReservationKind, Resource, Resources, Scalar, Set, Value,
    },
};
use prost::Message;

use super::resource_check::{InvalidResource, Written, check};
use crate::encoder::Encoder;

/// How reservations are written for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceForm {
    /// `reservations` only: for clients with RESERVATION_REFINEMENT.
    New,
    /// `role` and `reservation` only: for other clients. What is reserved more than once cannot be written so and is
    /// left out.
    Old,
    /// Both where both can say it, otherwise the new form: for endpoints that tools read.
    Both,
}

/// Our form of resources that a client sent; the error is the first rule that one of them breaks.
pub fn resources_from_v1(list: &[v1::Resource]) -> Result<Resources, InvalidResource> {
    let mut seen = Written::Neutral;
    let mut out = Vec::with_capacity(list.len());
    for resource in list {
        let written = check(resource)?;
        if written != Written::Neutral {
            if seen != Written::Neutral && seen != written {
                return Err(InvalidResource::MixedFormats);
            }
            seen = written;
        }
        out.push(from_v1(resource)?);
    }
    Ok(Resources::new(out)?)
}

/// The v1 form, in canonical order.
pub fn resources_to_v1(resources: &Resources, form: ResourceForm) -> Vec<v1::Resource> {
    resources.iter().filter_map(|resource| resource_to_v1(resource, form)).collect()
}

fn from_v1(resource: &v1::Resource) -> Result<Resource, InvalidResource> {
    let mut out = Resource::new(resource.name.as_str(), value_from_v1(resource)?);
    out.reservations = reservations_from_v1(resource).into();
    out.disk = resource.disk.as_ref().map(|disk| Arc::new(disk_from_v1(disk)));
    out.revocable = resource.revocable.is_some();
    out.shared = resource.shared.is_some();
    out.provider = resource.provider_id.as_ref().map(|id| id.value.as_str().into());
    out.allocated_to =
        resource.allocation_info.as_ref().and_then(|info| info.role.as_deref()).map(Role::from);
    Ok(out)
}

fn value_from_v1(resource: &v1::Resource) -> Result<Value, InvalidResource> {
    let name = || resource.name.clone();
    if let Some(scalar) = &resource.scalar {
        return scalar_from_v1(resource, scalar.value).map(Value::Scalar);
    }
    if let Some(ranges) = &resource.ranges {
        let pairs = ranges.range.iter().map(|range| (range.begin, range.end));
        return Ranges::new(pairs).map(Value::Ranges).ok_or_else(|| InvalidResource::Ranges { name: name() });
    }
    let set = resource.set.as_ref().ok_or_else(|| InvalidResource::Value { name: name() })?;
    Ok(Value::Set(set.item.iter().map(String::as_str).collect::<Set>()))
}

fn scalar_from_v1(resource: &v1::Resource, amount: f64) -> Result<Scalar, InvalidResource> {
    let name = || resource.name.clone();
    let scalar = Scalar::from_f64(amount)
        .filter(|scalar| *scalar >= Scalar::ZERO && amount >= 0.0 && (!scalar.is_zero() || amount == 0.0))
        .ok_or_else(|| InvalidResource::Scalar { name: name() })?;
    if resource.name == "gpus" && scalar.thousandths() % 1000 != 0 {
        return Err(InvalidResource::Fraction { name: name() });
    }
    Ok(scalar)
}

fn reservations_from_v1(resource: &v1::Resource) -> Vec<Reservation> {
    if !resource.reservations.is_empty() {
        return resource.reservations.iter().map(reservation_from_v1).collect();
    }
    let Some(role) = resource.role.as_deref().filter(|role| *role != "*") else {
        return Vec::new();
    };
    let role = Role::from(role);
    let one = match &resource.reservation {
        Some(old) => Reservation { kind: ReservationKind::Dynamic, role, ..reservation_from_v1(old) },
        None => Reservation { kind: ReservationKind::Static, role, principal: None, labels: Bytes::new() },
    };
    vec![one]
}

fn reservation_from_v1(info: &v1::resource::ReservationInfo) -> Reservation {
    let is_static = info.r#type == Some(reservation_info::Type::Static as i32);
    Reservation {
        kind: if is_static { ReservationKind::Static } else { ReservationKind::Dynamic },
        role: info.role.as_deref().map_or_else(Role::any, Role::from),
        principal: info.principal.as_deref().map(Into::into),
        labels: info.labels.as_ref().map_or_else(Bytes::new, |labels| labels.encode_to_vec().into()),
    }
}

fn disk_from_v1(info: &v1::resource::DiskInfo) -> Disk {
    use v1::resource::disk_info::source::Type;
    let source = info.source.as_ref().and_then(|source| Type::try_from(source.r#type).ok());
    Disk {
        info: info.encode_to_vec().into(),
        persistence_id: info.persistence.as_ref().map(|persistence| persistence.id.as_str().into()),
        source: match source {
            None | Some(Type::Unknown) => DiskSource::Root,
            Some(Type::Path) => DiskSource::Path,
            Some(Type::Mount) => DiskSource::Mount,
            Some(Type::Block) => DiskSource::Block,
            Some(Type::Raw) => DiskSource::Raw,
        },
        source_id: info.source.as_ref().and_then(|source| source.id.as_deref()).map(Into::into),
    }
}

/// The v1 form of one resource; `None` if `form` cannot express it.
pub fn resource_to_v1(resource: &Resource, form: ResourceForm) -> Option<v1::Resource> {
    let mut out = v1::Resource {
        name: resource.name.to_string(),
        provider_id: resource.provider.as_ref().map(|id| v1::ResourceProviderId { value: id.to_string() }),
        allocation_info: resource
            .allocated_to
            .as_ref()
            .map(|role| v1::resource::AllocationInfo { role: Some(role.to_string()) }),
        // Our own encoding, so it decodes; a snapshot that was damaged is caught by its checksum.
        disk: resource.disk.as_ref().and_then(|disk| v1::resource::DiskInfo::decode(disk.info.clone()).ok()),
        revocable: resource.revocable.then(Default::default),
        shared: resource.shared.then(Default::default),
        ..Default::default()
    };
    value_to_v1(&resource.value, &mut out);
    write_reservations(&resource.reservations, form, &mut out).then_some(out)
}

/// Writes what [`resource_to_v1`] makes of it, if anything, into the field of this number. An amount of what belongs to
/// nobody in particular, which most are, needs no message.
pub fn encode_resource(number: u32, resource: &Resource, form: ResourceForm, out: &mut Encoder<'_>) {
    let is_plain = resource.reservations.is_empty()
        && resource.disk.is_none()
        && resource.provider.is_none()
        && !(resource.revocable || resource.shared);
    match &resource.value {
        Value::Scalar(amount) if is_plain => out.message(number, |out| {
            out.bytes(1, resource.name.as_bytes());
            out.symbol(2, value::Type::Scalar as i32);
            out.message(3, |scalar| scalar.double(1, amount.to_f64()));
            if form != ResourceForm::New {
                out.bytes(6, b"*");
            }
            if let Some(role) = &resource.allocated_to {
                out.name(11, role.as_str());
            }
        }),
        _ => {
            if let Some(message) = resource_to_v1(resource, form) {
                out.whole(number, &message);
            }
        }
    }
}

fn value_to_v1(value: &Value, out: &mut v1::Resource) {
    match value {
        Value::Scalar(amount) => {
            out.r#type = value::Type::Scalar as i32;
            out.scalar = Some(value::Scalar { value: amount.to_f64() });
        }
        Value::Ranges(ranges) => {
            out.r#type = value::Type::Ranges as i32;
            out.ranges = Some(ranges_to_v1(ranges));
        }
        Value::Set(set) => {
            out.r#type = value::Type::Set as i32;
            out.set = Some(value::Set { item: set.iter().map(|item| item.to_string()).collect() });
        }
    }
}

pub(super) fn ranges_to_v1(ranges: &Ranges) -> value::Ranges {
    let range = ranges.iter().map(|range| value::Range { begin: range.begin, end: range.end });
    value::Ranges { range: range.collect() }
}

/// Whether the form can say it.
fn write_reservations(reservations: &[Reservation], form: ResourceForm, out: &mut v1::Resource) -> bool {
    match (form, reservations) {
        (ResourceForm::Old, [_, _, ..]) => return false,
        (ResourceForm::Old | ResourceForm::Both, [] | [_]) => write_old(reservations.first(), out),
        (ResourceForm::New | ResourceForm::Both, _) => {}
    }
    if form != ResourceForm::Old {
        out.reservations = reservations.iter().map(reservation_to_v1).collect();
    }
    true
}

fn write_old(reservation: Option<&Reservation>, out: &mut v1::Resource) {
    out.role = Some(reservation.map_or("*", |one| one.role.as_str()).to_owned());
    out.reservation = reservation.filter(|one| one.kind == ReservationKind::Dynamic).map(|one| {
        let new = reservation_to_v1(one);
        v1::resource::ReservationInfo { r#type: None, role: None, ..new }
    });
}

fn reservation_to_v1(reservation: &Reservation) -> v1::resource::ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => reservation_info::Type::Static,
        ReservationKind::Dynamic => reservation_info::Type::Dynamic,
    };
    let labels = (!reservation.labels.is_empty()).then(|| v1::Labels::decode(reservation.labels.clone()));
    v1::resource::ReservationInfo {
        r#type: Some(kind as i32),
        role: Some(reservation.role.to_string()),
        principal: reservation.principal.as_ref().map(|principal| principal.to_string()),
        labels: labels.and_then(Result::ok),
    }
}
