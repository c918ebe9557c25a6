//! Descriptions as clients and agents send them, to the typed fields that decisions read beside the canonical message.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use mesarch_mesos_v1::{
    ContentType,
    convert::{InvalidResource, attributes_from_v1, resources_from_v1},
};
use mesarch_proto::mesos::v1;
use mesarch_state::command::{AgentSpec, ExecutorSpec, FrameworkSpec, OfferRules, TaskSpec};
use mesarch_types::{
    AgentCapabilities, AgentCapability, FrameworkCapabilities, FrameworkCapability, FrameworkId, Millis,
    Role, resource::Resources,
};
use prost::Message;

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSpec {
    #[error("{what} does not decode: {reason}")]
    Undecodable { what: &'static str, reason: String },
    #[error("{0}")]
    Resources(#[from] InvalidResource),
    #[error("the agent's port {0} is not a port")]
    Port(i32),
}

/// Decodes a message that an agent sent as bytes, required fields checked.
pub(crate) fn decode<M: mesarch_mesos_v1::ApiMessage>(
    bytes: &[u8],
    what: &'static str,
) -> Result<M, InvalidSpec> {
    mesarch_mesos_v1::decode(ContentType::Protobuf, bytes)
        .map_err(|error| InvalidSpec::Undecodable { what, reason: error.to_string() })
}

/// `info` (which holds no id) with its framework's id: a field that follows is merged by every decoder.
pub(crate) fn framework_info_with_id(info: &Bytes, id: &FrameworkId) -> Bytes {
    const ID: u32 = 3;
    let mut out = Vec::with_capacity(info.len() + id.as_str().len() + 8);
    out.extend_from_slice(info);
    prost::encoding::message::encode(ID, &crate::events::framework_id(id), &mut out);
    out.into()
}

/// What every agent of our link can do, listed or not.
fn base_capabilities() -> AgentCapabilities {
    AgentCapabilities::NONE
        .with(AgentCapability::MultiRole)
        .with(AgentCapability::HierarchicalRole)
        .with(AgentCapability::ReservationRefinement)
}

/// An agent's description of itself.
pub(crate) fn agent_spec(info: &[u8], version: &str, capabilities: &[i32]) -> Result<AgentSpec, InvalidSpec> {
    let info = v1::AgentInfo { id: None, ..decode(info, "agent info")? };
    let port = info.port.unwrap_or(v1::AgentInfo::default().port());
    let listed = AgentCapabilities::from_numbers(capabilities.iter().copied());
    Ok(AgentSpec {
        hostname: info.hostname.as_str().into(),
        port: u16::try_from(port).map_err(|_| InvalidSpec::Port(port))?,
        total: resources_from_v1(&info.resources)?.without_allocation(),
        attributes: attributes_from_v1(&info.attributes).into(),
        capabilities: base_capabilities().iter().chain(listed.iter()).collect(),
        version: version.into(),
        info: info.encode_to_vec().into(),
    })
}

/// A framework's description of itself, already validated.
pub(crate) fn framework_spec(info: v1::FrameworkInfo, rules: OfferRules) -> FrameworkSpec {
    let numbers = info.capabilities.iter().filter_map(|capability| capability.r#type);
    let capabilities = FrameworkCapabilities::from_numbers(numbers);
    let roles: BTreeSet<Role> = match capabilities.has(FrameworkCapability::MultiRole) {
        true => info.roles.iter().map(|role| Role::from(role.as_str())).collect(),
        false => BTreeSet::from([Role::from(info.role())]),
    };
    FrameworkSpec {
        name: info.name.as_str().into(),
        user: info.user.as_str().into(),
        principal: info.principal.as_deref().map(Arc::from),
        roles,
        capabilities,
        checkpoint: info.checkpoint(),
        failover_timeout: millis(info.failover_timeout()),
        rules: Arc::new(rules),
        info: v1::FrameworkInfo { id: None, ..info }.encode_to_vec().into(),
    }
}

/// Double seconds as whole ms; negative ones are none.
pub(crate) fn millis(seconds: f64) -> Millis {
    // The cast saturates, and turns NaN into zero.
    Millis((seconds * 1000.0).max(0.0).round() as u64)
}

/// A task's description, in the form in which it is stored and sent to its agent: every resource is marked with the
/// role, the executor with its framework.
pub(crate) fn task_spec(
    mut info: v1::TaskInfo,
    framework: &FrameworkId,
    role: &Role,
) -> Result<TaskSpec, InvalidSpec> {
    mark(&mut info.resources, role);
    fill_health_check(info.health_check.as_mut());
    let executor = match info.executor.take() {
        Some(executor) => {
            let marked = marked_executor(executor, framework, role);
            let spec = ExecutorSpec {
                id: marked.executor_id.value.as_str().into(),
                resources: marked_resources(&marked.resources, role)?,
                info: marked.encode_to_vec().into(),
            };
            info.executor = Some(marked);
            Some(spec)
        }
        None => None,
    };
    Ok(TaskSpec {
        id: info.task_id.value.as_str().into(),
        resources: marked_resources(&info.resources, role)?,
        executor,
        info: info.encode_to_vec().into(),
    })
}

/// An executor's description, as in [`task_spec`].
pub(crate) fn executor_spec(
    info: v1::ExecutorInfo,
    framework: &FrameworkId,
    role: &Role,
) -> Result<ExecutorSpec, InvalidSpec> {
    let marked = marked_executor(info, framework, role);
    Ok(ExecutorSpec {
        id: marked.executor_id.value.as_str().into(),
        resources: marked_resources(&marked.resources, role)?,
        info: marked.encode_to_vec().into(),
    })
}

fn marked_executor(mut info: v1::ExecutorInfo, framework: &FrameworkId, role: &Role) -> v1::ExecutorInfo {
    mark(&mut info.resources, role);
    info.framework_id = Some(crate::events::framework_id(framework));
    info
}

fn marked_resources(list: &[v1::Resource], role: &Role) -> Result<Resources, InvalidSpec> {
    Ok(resources_from_v1(list)?.allocated_to(role))
}

fn mark(resources: &mut [v1::Resource], role: &Role) {
    for resource in resources {
        resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some(role.to_string()) });
    }
}

/// Old clients say what to check, but not of which type it is.
fn fill_health_check(check: Option<&mut v1::HealthCheck>) {
    use v1::health_check::Type;
    let Some(check) = check.filter(|check| check.r#type.is_none()) else {
        return;
    };
    check.r#type = match (&check.command, &check.http) {
        (Some(_), None) => Some(Type::Command as i32),
        (None, Some(_)) => Some(Type::Http as i32),
        _ => None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_appended_id_is_part_of_the_message() {
        let info = v1::FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
        let with_id = framework_info_with_id(&info.encode_to_vec().into(), &"f-1".into());
        let decoded: v1::FrameworkInfo = decode(&with_id, "framework info").expect("decodes");
        assert_eq!(decoded.id.map(|id| id.value).as_deref(), Some("f-1"));
        assert_eq!((decoded.user.as_str(), decoded.name.as_str()), ("u", "n"));
    }

    #[test]
    fn old_and_new_frameworks_have_their_roles() {
        let old = v1::FrameworkInfo { role: Some("a".into()), ..Default::default() };
        assert_eq!(framework_spec(old, OfferRules::default()).roles, [Role::from("a")].into());
        let none = framework_spec(v1::FrameworkInfo::default(), OfferRules::default());
        assert_eq!(none.roles, [Role::any()].into());
        let multi = v1::framework_info::Capability { r#type: Some(6) };
        let new = v1::FrameworkInfo {
            roles: vec!["a".into(), "b".into()],
            capabilities: vec![multi],
            ..Default::default()
        };
        assert_eq!(
            framework_spec(new, OfferRules::default()).roles,
            [Role::from("a"), Role::from("b")].into()
        );
    }

    #[test]
    fn seconds_become_whole_milliseconds() {
        for (seconds, expect) in
            [(0.0, 0), (1.5, 1500), (-3.0, 0), (f64::NAN, 0), (1e30, u64::MAX), (0.0004, 0)]
        {
            assert_eq!(millis(seconds), Millis(expect), "{seconds}");
        }
    }

    #[test]
    fn an_agent_of_this_link_can_at_least_do_roles() {
        let info = v1::AgentInfo { hostname: "h".into(), ..Default::default() };
        let spec = agent_spec(&info.encode_to_vec(), "1", &[8]).expect("good");
        assert!(spec.capabilities.has(AgentCapability::MultiRole));
        assert!(spec.capabilities.has(AgentCapability::TaskResourceLimits));
        assert_eq!(spec.port, 5051);
        let wrong = v1::AgentInfo { port: Some(70_000), ..info };
        assert_eq!(agent_spec(&wrong.encode_to_vec(), "1", &[]), Err(InvalidSpec::Port(70_000)));
    }

    #[test]
    fn a_task_is_marked_with_role_and_framework() {
        let cpus = v1::Resource {
            name: "cpus".into(),
            scalar: Some(v1::value::Scalar { value: 1.0 }),
            ..Default::default()
        };
        let executor = v1::ExecutorInfo { resources: vec![cpus.clone()], ..Default::default() };
        let check = v1::HealthCheck { command: Some(Default::default()), ..Default::default() };
        let info = v1::TaskInfo {
            resources: vec![cpus],
            executor: Some(executor),
            health_check: Some(check),
            ..Default::default()
        };
        let spec = task_spec(info, &"f".into(), &"eng".into()).expect("good");
        assert!(spec.resources.iter().all(|one| one.allocated_to == Some("eng".into())));
        let stored: v1::TaskInfo = v1::TaskInfo::decode(spec.info).expect("decodes");
        let stored_executor = stored.executor.expect("kept");
        assert_eq!(stored_executor.framework_id.as_ref().map(|id| id.value.as_str()), Some("f"));
        assert_eq!(spec.executor.expect("kept").info, stored_executor.encode_to_vec());
        assert_eq!(stored.health_check.and_then(|check| check.r#type), Some(1));
    }
}
