//! What tasks and executors ask for.

use std::collections::BTreeSet;

use mesarch_mesos_v1::convert::resources_from_v1;
use mesarch_proto::mesos::v1;
use mesarch_types::{
    Role,
    resource::{Resources, Scalar, Value},
};

use super::Rule;

/// The kinds that a task may be limited in.
const LIMITED: [&str; 2] = ["cpus", "mem"];
/// What an executor of groups must have; any disk will do.
const LEAST: [(&str, Scalar); 3] = [("cpus", Scalar(10)), ("mem", Scalar(32_000)), ("disk", Scalar(1))];

pub(super) fn validate_task(info: &v1::TaskInfo, role: &Role) -> Rule {
    if info.resources.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    let resources = validate_list("Task", &info.resources, role)?;
    if resources.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    Ok(())
}

pub(super) fn validate_executor(executor: &v1::ExecutorInfo, role: &Role) -> Rule {
    let resources = validate_list("Executor", &executor.resources, role)?;
    match resources.iter().any(|resource| resource.shared) {
        true => Err("Executor resources must not be shared".to_owned()),
        false => Ok(()),
    }
}

fn validate_list(what: &str, list: &[v1::Resource], role: &Role) -> Result<Resources, String> {
    let resources =
        resources_from_v1(list).map_err(|error| format!("{what} uses invalid resources: {error}"))?;
    let marks = list.iter().filter_map(|one| one.allocation_info.as_ref()?.role.as_deref());
    if let Some(other) = marks.into_iter().find(|mark| *mark != role.as_str()) {
        return Err(format!(
            "{what} uses resources allocated to role '{}' but they are offered to '{role}'",
            other.escape_default()
        ));
    }
    validate_volumes(what, list)?;
    unique_persistence(what, &resources)?;
    one_kind_of_revocability(what, &resources)?;
    Ok(resources)
}

/// Volumes of a task must exist already, so they are reserved, lasting and mounted somewhere.
fn validate_volumes(what: &str, list: &[v1::Resource]) -> Rule {
    for resource in list {
        let Some(disk) = &resource.disk else { continue };
        let fail = |reason: &str| Err(format!("{what} uses invalid DiskInfo: {reason}"));
        match (&disk.persistence, &disk.volume, &disk.source) {
            (None, None, None) => return fail("DiskInfo is set but empty"),
            (None, Some(_), _) => return fail("Non-persistent volume not supported"),
            (Some(_), None, _) => return fail("Persistent volume must have 'volume' set"),
            (Some(_), Some(volume), _) if volume.host_path.is_some() => {
                return fail("Persistent volume must not have 'host_path'");
            }
            (Some(_), Some(_), _) if resource.revocable.is_some() => {
                return fail("Persistent volumes cannot be created from revocable resources");
            }
            (Some(persistence), Some(_), _) if !mesarch_types::valid_text_id(&persistence.id) => {
                return fail("Persistence ID is invalid");
            }
            (Some(_), Some(_), _) | (None, None, Some(_)) => {}
        }
    }
    Ok(())
}

fn unique_persistence(what: &str, resources: &Resources) -> Rule {
    let mut seen = BTreeSet::new();
    for (resource, copies) in resources.iter_counted() {
        let Some(id) = resource.disk.as_ref().and_then(|disk| disk.persistence_id.as_deref()) else {
            continue;
        };
        let twice = !seen.insert((resource.reserved_role().cloned(), id)) || (copies > 1 && !resource.shared);
        if twice {
            return Err(format!("{what} uses duplicate persistence ID '{}'", id.escape_default()));
        }
        if resource.reservations.is_empty() {
            return Err(format!("{what}: persistent volumes cannot be created from unreserved resources"));
        }
    }
    Ok(())
}

fn one_kind_of_revocability(what: &str, resources: &Resources) -> Rule {
    let names = |revocable: bool| -> BTreeSet<&str> {
        resources.iter().filter(|one| one.revocable == revocable).map(|one| &*one.name).collect()
    };
    match names(true).intersection(&names(false)).next() {
        Some(name) => {
            Err(format!("{what} uses both revocable and non-revocable '{}'", name.escape_default()))
        }
        None => Ok(()),
    }
}

pub(super) fn validate_limits(info: &v1::TaskInfo, can_limit: bool) -> Rule {
    if info.limits.is_empty() {
        return Ok(());
    }
    if !can_limit {
        return Err("Task resource limits are not supported by the agent".to_owned());
    }
    // The resources were converted before.
    let requested = resources_from_v1(&info.resources).map_err(|error| error.to_string())?.quantities();
    for (name, limit) in &info.limits {
        if !LIMITED.contains(&name.as_str()) {
            return Err(format!("Resource limit '{}' is not supported", name.escape_default()));
        }
        let Some(request) = requested.get_exact(name) else {
            return Err(format!("The task has a resource limit for '{name}' but does not request it"));
        };
        if limit.value == f64::INFINITY {
            continue;
        }
        if Scalar::from_f64(limit.value).is_none_or(|limit| limit < request) {
            return Err(format!("Resource limit of '{name}' is less than its request"));
        }
    }
    Ok(())
}

/// What belongs together: numbers and names are of one part only.
pub(super) fn validate_together(what: &str, parts: &[&[v1::Resource]]) -> Rule {
    let mut sum = Resources::default();
    for part in parts {
        let part = resources_from_v1(part).map_err(|error| error.to_string())?;
        for (mine, theirs) in part.iter().flat_map(|mine| sum.iter().map(move |theirs| (mine, theirs))) {
            if mine.name == theirs.name && overlap(&mine.value, &theirs.value) {
                return Err(format!("{what} use overlapping '{}'", mine.name.escape_default()));
            }
        }
        sum = sum.checked_add(&part).ok_or_else(|| format!("{what} use resources that do not add up"))?;
    }
    unique_persistence(what, &sum)?;
    one_kind_of_revocability(what, &sum)
}

/// What an executor of task groups needs at least.
pub(super) fn validate_least(executor: &v1::ExecutorInfo) -> Rule {
    let resources = resources_from_v1(&executor.resources).map_err(|error| error.to_string())?.quantities();
    for (name, least) in LEAST {
        let enough = resources.get_exact(name).is_some_and(|has| has >= least);
        if !enough {
            return Err(format!("Executor of a task group must have at least {least} of '{name}'"));
        }
    }
    Ok(())
}

fn overlap(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Ranges(one), Value::Ranges(other)) => one.difference(other) != *one,
        (Value::Set(one), Value::Set(other)) => one.iter().any(|name| other.contains_name(name)),
        _ => false,
    }
}
