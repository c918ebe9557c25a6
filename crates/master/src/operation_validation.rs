//! Whether an operation of ACCEPT may be carried out, as far as that shows from itself, the offers' role and its framework.
//!
//! What depends on the resources that are there (whether they are offered, whether a volume of the id exists) is judged by
//! `apply`.

use std::sync::Arc;

use mesarch_mesos_v1::convert::resources_from_v1;
use mesarch_proto::mesos::v1::{
    self,
    offer::{self, operation::Type},
    resource::disk_info::source::Type as SourceType,
    volume::Mode,
};
use mesarch_state::command::Operation;
use mesarch_types::{
    Conversion, Disk, DiskSource, FrameworkCapabilities, FrameworkCapability, OperationId, Resource,
    Resources, Role, Scalar, UpdateUuid, valid_text_id,
};
use prost::Message;

/// Who asks, for what it was offered.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    /// The role of the offers.
    pub(crate) role: Role,
    /// The framework's; it must be that of what the framework reserves.
    pub(crate) principal: Option<Arc<str>>,
    /// What the framework can deal with.
    pub(crate) capabilities: FrameworkCapabilities,
}

/// Judges one operation; what goes into the log either way. It comes before the launch at `before`.
pub(crate) fn judge(operation: &offer::Operation, before: usize, claims: &Claims) -> Operation {
    let id = operation.id.as_ref().map(|id| id.value.as_str());
    Operation {
        before: u32::try_from(before).unwrap_or(u32::MAX),
        // Nobody could be told by another.
        id: id.filter(|id| valid_text_id(id)).map(OperationId::from),
        uuid: UpdateUuid(uuid::Uuid::new_v4().into_bytes()),
        info: operation.encode_to_vec().into(),
        judged: convert(operation, claims).map_err(Arc::from),
    }
}

fn convert(operation: &offer::Operation, claims: &Claims) -> Result<Conversion, String> {
    if operation.id.as_ref().is_some_and(|id| !valid_text_id(&id.value)) {
        return Err("'Operation.id' is invalid".to_owned());
    }
    let kind = operation.r#type.and_then(|number| Type::try_from(number).ok()).unwrap_or(Type::Unknown);
    let missing = || format!("Expecting the field of {} to be present", kind.as_str_name());
    let conversion = match kind {
        Type::Reserve => reserve(operation.reserve.as_ref().ok_or_else(missing)?, claims)?,
        Type::Unreserve => {
            let unreserve = operation.unreserve.as_ref().ok_or_else(missing)?;
            Conversion::Unreserve(offered(&unreserve.resources, claims)?)
        }
        Type::Create => create(operation.create.as_ref().ok_or_else(missing)?, claims)?,
        Type::Destroy => {
            let destroy = operation.destroy.as_ref().ok_or_else(missing)?;
            Conversion::Destroy(offered(&destroy.volumes, claims)?)
        }
        Type::GrowVolume => {
            let grow = operation.grow_volume.as_ref().ok_or_else(missing)?;
            let (volume, addition) = (single(&grow.volume, claims)?, single(&grow.addition, claims)?);
            Conversion::Grow { volume, addition }
        }
        Type::ShrinkVolume => {
            let shrink = operation.shrink_volume.as_ref().ok_or_else(missing)?;
            let subtract = Scalar::from_f64(shrink.subtract.value).ok_or("'subtract' is out of range")?;
            Conversion::Shrink { volume: single(&shrink.volume, claims)?, subtract }
        }
        Type::CreateDisk => create_disk(operation.create_disk.as_ref().ok_or_else(missing)?, claims)?,
        Type::DestroyDisk => destroy_disk(operation.destroy_disk.as_ref().ok_or_else(missing)?, claims)?,
        Type::Unknown | Type::Launch | Type::LaunchGroup => {
            return Err(format!("{} is no operation on resources", kind.as_str_name()));
        }
    };
    conversion.provider().map_err(|error| error.to_string())?;
    Ok(conversion)
}

/// Resources that may be offered in the role; without marks.
fn offered(list: &[v1::Resource], claims: &Claims) -> Result<Resources, String> {
    let resources = resources_from_v1(list).map_err(|error| format!("Invalid resources: {error}"))?;
    let role = &claims.role;
    for resource in resources.iter() {
        if resource.allocated_to.as_ref().is_some_and(|mark| mark != role) {
            return Err(format!("{resource} is not allocated to role '{role}' as the offers are"));
        }
        if resource.shared {
            return Err("not implemented: shared volumes".to_owned());
        }
    }
    Ok(resources.without_allocation())
}

fn single(resource: &v1::Resource, claims: &Claims) -> Result<Resource, String> {
    let resources = offered(std::slice::from_ref(resource), claims)?;
    resources.iter().next().cloned().ok_or_else(|| "an empty resource".to_owned())
}

fn reserve(reserve: &offer::operation::Reserve, claims: &Claims) -> Result<Conversion, String> {
    if !reserve.source.is_empty() {
        return Err("'source' is for operators: a framework unreserves and reserves".to_owned());
    }
    let resources = offered(&reserve.resources, claims)?;
    for resource in resources.iter() {
        if resource.reserved_role() != Some(&claims.role) {
            return Err(format!("{resource} must be reserved for the role '{}' of the offers", claims.role));
        }
        let refines = claims.capabilities.has(FrameworkCapability::ReservationRefinement);
        if resource.reservations.len() > 1 && !refines {
            return Err("a framework without RESERVATION_REFINEMENT cannot refine reservations".to_owned());
        }
        let by = resource.reservations.last().and_then(|reservation| reservation.principal.as_deref());
        check_principal("ReservationInfo", by, claims)?;
    }
    Ok(Conversion::Reserve(resources))
}

fn create(create: &offer::operation::Create, claims: &Claims) -> Result<Conversion, String> {
    for volume in &create.volumes {
        let disk = volume.disk.as_ref();
        let persistence = disk.and_then(|disk| disk.persistence.as_ref());
        let mounted = disk.and_then(|disk| disk.volume.as_ref());
        let (Some(persistence), Some(mounted)) = (persistence, mounted) else {
            return Err("Expecting 'persistence' and 'volume' of each volume's DiskInfo".to_owned());
        };
        if !valid_text_id(&persistence.id) {
            return Err("Invalid persistence ID".to_owned());
        }
        if mounted.host_path.is_some() || mounted.mode != Mode::Rw as i32 {
            return Err("A persistent volume must be RW and without 'host_path'".to_owned());
        }
        check_principal("DiskInfo.Persistence", persistence.principal.as_deref(), claims)?;
    }
    Ok(Conversion::Create(offered(&create.volumes, claims)?))
}

/// A RAW disk becomes a MOUNT or BLOCK disk, by a profile that is the disk's or is given here.
fn create_disk(create: &offer::operation::CreateDisk, claims: &Claims) -> Result<Conversion, String> {
    let source = single(&create.source, claims)?;
    if source.disk.as_ref().is_none_or(|disk| disk.source != DiskSource::Raw) {
        return Err("'source' is not a RAW disk resource".to_owned());
    }
    if source.provider.is_none() {
        return Err("'source' is not managed by a resource provider".to_owned());
    }
    if !matches!(create.target_type(), SourceType::Mount | SourceType::Block) {
        return Err("'target_type' is neither MOUNT nor BLOCK".to_owned());
    }
    let own = create.source.disk.as_ref().and_then(|disk| disk.source.as_ref()?.profile.as_ref());
    if own.is_some() == create.target_profile.is_some() {
        return Err("Exactly one of the profile of 'source' and 'target_profile' must be set".to_owned());
    }
    Ok(Conversion::ChangeDisk(source))
}

/// A disk that its provider can name becomes RAW again, or gives up what it is RAW of.
fn destroy_disk(destroy: &offer::operation::DestroyDisk, claims: &Claims) -> Result<Conversion, String> {
    let source = single(&destroy.source, claims)?;
    if source.provider.is_none() {
        return Err("'source' is not managed by a resource provider".to_owned());
    }
    if source.is_persistent() {
        return Err("A disk resource that is a persistent volume must be destroyed as one first".to_owned());
    }
    let made = |disk: &Arc<Disk>| {
        matches!(disk.source, DiskSource::Mount | DiskSource::Block | DiskSource::Raw)
            && disk.source_id.is_some()
    };
    match source.disk.as_ref().is_some_and(made) {
        true => Ok(Conversion::ChangeDisk(source)),
        false => Err("'source' is neither a MOUNT, BLOCK nor RAW disk with an id".to_owned()),
    }
}

fn check_principal(what: &str, by: Option<&str>, claims: &Claims) -> Result<(), String> {
    match claims.principal.as_deref() {
        Some(own) if by != Some(own) => {
            Err(format!("The principal of {what} must be that of the framework, '{own}'"))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use mesarch_mesos_v1::json;

    use super::*;

    fn claims() -> Claims {
        let capabilities = FrameworkCapabilities::NONE;
        Claims { role: "ra".into(), principal: Some("pp".into()), capabilities }
    }

    fn check(text: &str, expect: Result<&str, &str>) {
        let text = text
            .replace("DISK", r#""name":"disk","type":"SCALAR","scalar":{"value":64}"#)
            .replace("BY", r#""reservations":[{"type":"DYNAMIC","role":"ra","principal":"pp"}]"#)
            .replace("MOUNTED", r#""volume":{"container_path":"data","mode":"RW"}"#);
        let operation: offer::Operation = json::decode(text.as_bytes()).expect("well-formed");
        let judged = judge(&operation, 3, &claims());
        assert_eq!(judged.before, 3);
        match (judged.judged, expect) {
            (Ok(conversion), Ok(made)) => {
                assert_eq!(conversion.sides().expect("judged").1.to_string(), made);
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error} instead of {part}"),
            (judged, expect) => panic!("{judged:?} instead of {expect:?} for {text}"),
        }
    }

    #[test]
    fn every_rule_has_its_refusal() {
        let reserved = "disk(ra,pp):64";
        check(r#"{"type":"RESERVE","reserve":{"resources":[{DISK,BY}]}}"#, Ok(reserved));
        check(r#"{"type":"UNRESERVE","unreserve":{"resources":[{DISK,BY}]}}"#, Ok("disk:64"));
        check(r#"{"type":"RESERVE"}"#, Err("RESERVE to be present"));
        check(r#"{"type":"RESERVE","reserve":{"resources":[]}}"#, Err("names no resources"));
        check(r#"{"type":"RESERVE","reserve":{"resources":[{DISK}]}}"#, Err("must be reserved"));
        check(
            r#"{"type":"RESERVE","reserve":{"resources":[{DISK,BY,"allocation_info":{"role":"rb"}}]}}"#,
            Err("not allocated to role 'ra'"),
        );
        check(
            r#"{"type":"RESERVE","reserve":{"resources":[{DISK,"reservations":[{"type":"DYNAMIC","role":"ra"}]}]}}"#,
            Err("principal of ReservationInfo"),
        );
        check(r#"{"type":"RESERVE","reserve":{"source":[{DISK}],"resources":[{DISK,BY}]}}"#, Err("'source'"));
        check(r#"{"type":"RESERVE","id":{"value":"a/b"},"reserve":{"resources":[{DISK,BY}]}}"#, Err("id"));
    }

    #[test]
    fn volumes_are_created_as_they_are_to_be_mounted() {
        let volume = |disk: &str| {
            format!(r#"{{"type":"CREATE","create":{{"volumes":[{{DISK,BY,"disk":{{{disk}}}}}]}}}}"#)
        };
        let persistence = r#""persistence":{"id":"v1","principal":"pp"}"#;
        check(&volume(&format!("{persistence},MOUNTED")), Ok("disk(ra,pp)[v1]:64"));
        check(&volume(persistence), Err("'persistence' and 'volume'"));
        check(&volume(r#""persistence":{"id":"v1"},MOUNTED"#), Err("principal of DiskInfo"));
        check(&volume(r#""persistence":{"id":"..","principal":"pp"},MOUNTED"#), Err("persistence ID"));
        let read_only = r#""volume":{"container_path":"data","mode":"RO"}"#;
        check(&volume(&format!("{persistence},{read_only}")), Err("must be RW"));
        let grow = format!(
            r#"{{"type":"GROW_VOLUME","grow_volume":{{"volume":{{DISK,BY,"disk":{{{persistence},MOUNTED}}}},"addition":{{DISK,BY}}}}}}"#
        );
        check(&grow, Ok("disk(ra,pp)[v1]:128"));
        let shrink = format!(
            r#"{{"type":"SHRINK_VOLUME","shrink_volume":{{"volume":{{DISK,BY,"disk":{{{persistence},MOUNTED}}}},"subtract":{{"value":14}}}}}}"#
        );
        check(&shrink, Ok("disk(ra,pp):14;disk(ra,pp)[v1]:50"));
    }
}
