//! Whether a TaskInfo may be launched, as far as that shows from itself, its offer's agent and its framework.
//!
//! The order of the rules is Mesos', and the first that is broken is told. What depends on other tasks (duplicate ids,
//! what is left of the offers, another executor of the same id) is judged by `apply`.

mod check;
mod container;
pub(crate) mod group;
mod resources;

#[cfg(test)]
mod group_test;
#[cfg(test)]
mod table_test;

use std::{collections::BTreeMap, sync::Arc};

use mesarch_proto::mesos::v1::{self, executor_info};
use mesarch_state::command::{Judged, Launch};
use mesarch_types::{AgentCapability, AgentId, ExecutorId, FrameworkId, Role, TaskId, valid_text_id};
use prost::Message;

use crate::specs;

/// Largest TaskInfo, in bytes of protobuf.
pub(crate) const TASK_BYTES_MAX: usize = 1024 * 1024;

/// What a task is judged against.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Who launches.
    pub(crate) framework: FrameworkId,
    /// The role of the offers.
    pub(crate) role: Role,
    /// The offers' agent, and whether it can limit tasks; none if the offers are not outstanding, and then `apply`
    /// refuses them.
    pub(crate) agent: Option<(AgentId, bool)>,
    /// Of the executors for which groups are launched and that have tasks there: whether these share its cgroups.
    pub(crate) shares_cgroups: BTreeMap<ExecutorId, bool>,
}

const EXECUTOR_SHARES: &str = "The 'share_cgroups' of an executor's container must not be true";

#[cfg(test)]
impl Context {
    /// Of a framework whose offers nobody knows.
    pub(crate) fn of(framework: &str, role: &str) -> Self {
        Self { framework: framework.into(), role: role.into(), agent: None, shares_cgroups: BTreeMap::new() }
    }
}

/// The broken rule, for the framework.
type Rule = Result<(), String>;

/// Judges one task; what goes into the log either way.
pub(crate) fn judge(info: v1::TaskInfo, context: &Context) -> Launch {
    if let Err(message) = validate(&info, context) {
        return invalid(&info, message);
    }
    described(info, context)
}

/// A task that is in order, in the form in which it is stored.
fn described(info: v1::TaskInfo, context: &Context) -> Launch {
    let (agent, id) = (named_agent(&info), TaskId::from(info.task_id.value.as_str()));
    let task = match specs::task_spec(info, &context.framework, &context.role) {
        Ok(spec) => Judged::Valid(spec),
        Err(error) => Judged::Invalid { task: id, message: Arc::from(error.to_string()) },
    };
    Launch { agent, group: None, task }
}

/// A task that must not be launched, and why.
pub(crate) fn invalid(info: &v1::TaskInfo, message: String) -> Launch {
    let task = TaskId::from(info.task_id.value.as_str());
    Launch {
        agent: named_agent(info),
        group: None,
        task: Judged::Invalid { task, message: Arc::from(message) },
    }
}

/// Where the framework wants the task to run; every update that refuses it names that agent.
fn named_agent(info: &v1::TaskInfo) -> Option<AgentId> {
    let id = info.agent_id.value.as_str();
    (!id.is_empty()).then(|| AgentId::from(id))
}

/// Whether an agent can limit what tasks use beyond their requests.
pub(crate) fn can_limit(agent: &mesarch_state::model::Agent) -> bool {
    agent.spec.capabilities.has(AgentCapability::TaskResourceLimits)
}

/// The rules of any task, launched alone or in a group.
fn validate_description(info: &v1::TaskInfo, context: &Context) -> Rule {
    validate_id("Task", &info.task_id.value)?;
    if info.encoded_len() > TASK_BYTES_MAX {
        return Err(format!("Task is larger than {TASK_BYTES_MAX} bytes"));
    }
    validate_agent(info, context)?;
    validate_kill_policy(info.kill_policy.as_ref())?;
    if info.max_completion_time.is_some_and(|time| time.nanoseconds < 0) {
        return Err("Task's 'max_completion_time' must be non-negative".to_owned());
    }
    check::validate_check(info.check.as_ref())?;
    check::validate_health_check(info.health_check.as_ref())?;
    resources::validate_task(info, &context.role)?;
    container::validate_command(info.command.as_ref())?;
    container::validate_container(info.container.as_ref())?;
    resources::validate_limits(info, context.agent.as_ref().is_none_or(|(_, can_limit)| *can_limit))
}

fn validate(info: &v1::TaskInfo, context: &Context) -> Rule {
    validate_description(info, context)?;
    if info.command.is_some() == info.executor.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned()
        );
    }
    if let Some(executor) = &info.executor {
        validate_executor(executor, context)?;
        resources::validate_together("Task and its executor", &[&info.resources, &executor.resources])?;
    }
    match shares_cgroups(info.container.as_ref()) {
        Some(false) => Err("Only tasks of a task group may set 'share_cgroups' to false".to_owned()),
        Some(true) | None => Ok(()),
    }
}

fn validate_id(what: &str, id: &str) -> Rule {
    match valid_text_id(id) {
        true => Ok(()),
        false => Err(format!(
            "{what} ID '{}' is invalid: it must be 1 to 255 bytes, without '/', '\\' and control characters, and not '.' or '..'",
            id.escape_default()
        )),
    }
}

fn validate_agent(info: &v1::TaskInfo, context: &Context) -> Rule {
    match &context.agent {
        Some((agent, _)) if agent.as_str() != info.agent_id.value => Err(format!(
            "Task uses invalid agent {} while agent {agent} is expected",
            info.agent_id.value.escape_default()
        )),
        Some(_) | None => Ok(()),
    }
}

fn validate_kill_policy(policy: Option<&v1::KillPolicy>) -> Rule {
    match policy.and_then(|policy| policy.grace_period.as_ref()) {
        Some(grace) if grace.nanoseconds < 0 => {
            Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

fn validate_executor(executor: &v1::ExecutorInfo, context: &Context) -> Rule {
    use executor_info::Type;
    match executor.r#type.map(Type::try_from) {
        None | Some(Ok(Type::Custom)) => {}
        Some(Ok(Type::Default)) => return Err("'ExecutorInfo.type' must be CUSTOM for a LAUNCH".to_owned()),
        Some(Ok(Type::Unknown) | Err(_)) => return Err("Unknown executor type".to_owned()),
    }
    validate_executor_description(executor, context)?;
    match shares_cgroups(executor.container.as_ref()) {
        Some(true) => Err(EXECUTOR_SHARES.to_owned()),
        Some(false) | None => Ok(()),
    }
}

/// The rules of any executor; its type is known.
fn validate_executor_description(executor: &v1::ExecutorInfo, context: &Context) -> Rule {
    let default = executor.r#type() == executor_info::Type::Default;
    match (default, executor.command.is_some()) {
        (true, true) => return Err("'ExecutorInfo.command' must not be set for DEFAULT executor".to_owned()),
        (false, false) => return Err("'ExecutorInfo.command' must be set for CUSTOM executor".to_owned()),
        _ => {}
    }
    validate_id("Executor", &executor.executor_id.value)?;
    if executor.shutdown_grace_period.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned());
    }
    container::validate_command(executor.command.as_ref())?;
    container::validate_container(executor.container.as_ref())?;
    match &executor.framework_id {
        Some(id) if id.value != context.framework.as_str() => Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {})",
            id.value.escape_default(),
            context.framework
        )),
        Some(_) | None => resources::validate_executor(executor, &context.role),
    }
}

fn shares_cgroups(container: Option<&v1::ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}
