//! Which resources a client may send.

use mesarch_proto::mesos::v1::{self, resource::reservation_info, value};
use mesarch_types::{Role, resource::ResourceError, role::InvalidRole};

/// Why a resource that a client sent is not one. The text names the resource and is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum InvalidResource {
    #[error("a resource has no name")]
    NoName,
    #[error("resource '{name}': its type must be SCALAR, RANGES or SET, with exactly that value")]
    Value { name: String },
    #[error(
        "resource '{name}': a scalar must not be negative, infinite, or too small to count (below 0.001)"
    )]
    Scalar { name: String },
    #[error("resource '{name}' must be a whole number")]
    Fraction { name: String },
    #[error("resource '{name}': ranges must have begin <= end and must not overlap")]
    Ranges { name: String },
    #[error("resource '{name}': a set must not have duplicates")]
    Set { name: String },
    #[error("resource '{name}': {reason}")]
    Disk { name: String, reason: &'static str },
    #[error("resource '{name}': {reason}")]
    Reservation { name: String, reason: &'static str },
    #[error("resource '{name}': {source}")]
    Role { name: String, source: InvalidRole },
    #[error("resources mix the old reservation format (role, reservation) with the new one (reservations)")]
    MixedFormats,
    #[error("{0}")]
    Sum(#[from] ResourceError),
}

/// How reservations are written in one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing is reserved.
    Neutral,
    Old,
    New,
}

/// Checks one resource by itself and says in which form it is written.
pub(super) fn check(resource: &v1::Resource) -> Result<Written, InvalidResource> {
    if resource.name.is_empty() {
        return Err(InvalidResource::NoName);
    }
    check_value(resource)?;
    check_disk(resource)?;
    check_reservations(resource)
}

fn check_value(resource: &v1::Resource) -> Result<(), InvalidResource> {
    let name = || resource.name.clone();
    let present = [resource.scalar.is_some(), resource.ranges.is_some(), resource.set.is_some()];
    let wanted = match value::Type::try_from(resource.r#type) {
        Ok(value::Type::Scalar) => [true, false, false],
        Ok(value::Type::Ranges) => [false, true, false],
        Ok(value::Type::Set) => [false, false, true],
        Ok(value::Type::Text) | Err(_) => return Err(InvalidResource::Value { name: name() }),
    };
    if present != wanted {
        return Err(InvalidResource::Value { name: name() });
    }
    if let Some(set) = &resource.set {
        let mut items: Vec<&String> = set.item.iter().collect();
        items.sort();
        if items.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(InvalidResource::Set { name: name() });
        }
    }
    match &resource.ranges {
        Some(ranges) if !ranges_are_apart(&ranges.range) => Err(InvalidResource::Ranges { name: name() }),
        _ => Ok(()),
    }
}

fn ranges_are_apart(ranges: &[value::Range]) -> bool {
    let mut sorted: Vec<(u64, u64)> = ranges.iter().map(|range| (range.begin, range.end)).collect();
    sorted.sort_unstable();
    sorted.iter().all(|(begin, end)| begin <= end) && sorted.windows(2).all(|pair| pair[0].1 < pair[1].0)
}

fn check_disk(resource: &v1::Resource) -> Result<(), InvalidResource> {
    use v1::resource::disk_info::source::Type;
    let fail = |reason| Err(InvalidResource::Disk { name: resource.name.clone(), reason });
    let Some(disk) = &resource.disk else {
        return match resource.shared {
            Some(_) => fail("only a persistent volume can be shared"),
            None => Ok(()),
        };
    };
    if resource.name != "disk" {
        return fail("only 'disk' may carry disk information");
    }
    if resource.shared.is_some() && disk.persistence.is_none() {
        return fail("only a persistent volume can be shared");
    }
    let Some(source) = &disk.source else { return Ok(()) };
    match Type::try_from(source.r#type) {
        Ok(Type::Raw | Type::Block) if source.mount.is_some() || source.path.is_some() => {
            fail("a RAW or BLOCK disk source has neither mount nor path")
        }
        Ok(Type::Unknown) | Err(_) => fail("the disk source's type is unknown"),
        Ok(_) => Ok(()),
    }
}

fn check_reservations(resource: &v1::Resource) -> Result<Written, InvalidResource> {
    let old_role = resource.role.as_deref().unwrap_or("*");
    parse_role(resource, old_role)?;
    match resource.reservations.as_slice() {
        [] => check_old(resource, old_role),
        new => {
            check_new(resource, new)?;
            check_both(resource, old_role, new)?;
            Ok(Written::New)
        }
    }
}

fn parse_role(resource: &v1::Resource, role: &str) -> Result<Role, InvalidResource> {
    Role::parse(role).map_err(|source| InvalidResource::Role { name: resource.name.clone(), source })
}

fn check_old(resource: &v1::Resource, role: &str) -> Result<Written, InvalidResource> {
    let fail = |reason| Err(InvalidResource::Reservation { name: resource.name.clone(), reason });
    match &resource.reservation {
        Some(old) if old.r#type.is_some() || old.role.is_some() => {
            fail("'reservation' must not say type or role; 'reservations' may")
        }
        Some(_) if role == "*" => fail("role \"*\" cannot be dynamically reserved"),
        None if role == "*" => Ok(Written::Neutral),
        _ => Ok(Written::Old),
    }
}

fn check_new(
    resource: &v1::Resource,
    reservations: &[v1::resource::ReservationInfo],
) -> Result<(), InvalidResource> {
    let fail = |reason| Err(InvalidResource::Reservation { name: resource.name.clone(), reason });
    let mut outer: Option<Role> = None;
    for reservation in reservations {
        let kind = reservation.r#type.and_then(|number| reservation_info::Type::try_from(number).ok());
        let dynamic = match kind {
            Some(reservation_info::Type::Static) => false,
            Some(reservation_info::Type::Dynamic) => true,
            Some(reservation_info::Type::Unknown) | None => return fail("a reservation needs a type"),
        };
        let Some(role) = &reservation.role else {
            return fail("a reservation needs a role");
        };
        let role = parse_role(resource, role)?;
        if role.is_any() {
            return fail("role \"*\" cannot be reserved");
        }
        if let Some(outer) = &outer {
            if !dynamic {
                return fail("a refined reservation must be DYNAMIC");
            }
            if !outer.is_ancestor_of(&role) {
                return fail("a refined reservation's role must be below the one that it refines");
            }
        }
        outer = Some(role);
    }
    Ok(())
}

/// Old fields may stand beside a single new reservation if they say the same.
fn check_both(
    resource: &v1::Resource,
    old_role: &str,
    reservations: &[v1::resource::ReservationInfo],
) -> Result<(), InvalidResource> {
    let has_old = old_role != "*" || resource.reservation.is_some();
    let agrees = |new: &v1::resource::ReservationInfo| {
        let dynamic = new.r#type == Some(reservation_info::Type::Dynamic as i32);
        new.role.as_deref() == Some(old_role)
            && match &resource.reservation {
                Some(old) => dynamic && old.principal == new.principal && old.labels == new.labels,
                None => !dynamic,
            }
    };
    match reservations {
        _ if !has_old => Ok(()),
        [one] if agrees(one) => Ok(()),
        _ => Err(InvalidResource::Reservation {
            name: resource.name.clone(),
            reason: "the old fields (role, reservation) contradict 'reservations'",
        }),
    }
}
