//! LAUNCH_GROUP: all tasks of a group are in order, or each is told what is wrong with one of them.

use std::sync::Arc;

use mesarch_proto::mesos::v1::{self, container_info, executor_info, health_check, offer};
use mesarch_state::{
    State,
    command::{ExecutorKey, Judged, Launch},
};
use mesarch_types::ExecutorId;
use prost::Message;

use super::{
    Context, EXECUTOR_SHARES, Rule, described, invalid, resources, shares_cgroups, validate_description,
    validate_executor_description,
};

/// Most bytes of a group's TaskInfos, each with the executor: they reach agent and executor in one message.
const GROUP_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Judges one group whose first task has the place `first` among the launches.
pub(crate) fn judge(operation: offer::Operation, first: usize, context: &Context) -> Vec<Launch> {
    let offer::operation::LaunchGroup { executor, task_group } = operation.launch_group.unwrap_or_default();
    let mut tasks = task_group.tasks;
    for task in &mut tasks {
        task.executor.get_or_insert_with(|| executor.clone());
    }
    let judged = match operation.id {
        Some(_) => Err("Operation feedback ('id') is not allowed on LAUNCH_GROUP".to_owned()),
        None => validate(&tasks, &executor, context),
    };
    let launches: Vec<Launch> = match judged {
        Ok(()) => tasks.into_iter().map(|task| described(task, context)).collect(),
        Err(message) => tasks.iter().map(|task| invalid(task, message.clone())).collect(),
    };
    // More tasks than places are refused before.
    let group = u32::try_from(first).ok();
    all_or_none(launches).into_iter().map(|launch| Launch { group, ..launch }).collect()
}

/// What could not be read of one is wrong with all.
fn all_or_none(mut launches: Vec<Launch>) -> Vec<Launch> {
    let broken = launches.iter().find_map(|launch| match &launch.task {
        Judged::Invalid { message, .. } => Some(Arc::clone(message)),
        Judged::Valid(_) => None,
    });
    if let Some(message) = broken {
        for launch in &mut launches {
            launch.task = Judged::Invalid { task: launch.task_id().clone(), message: Arc::clone(&message) };
        }
    }
    launches
}

/// Whether the tasks that an executor has share its cgroups; none if it has no task.
pub(crate) fn shares_of_executor(state: &State, key: &ExecutorKey) -> Option<bool> {
    let first = state.executor(key)?.tasks.first()?;
    let info = v1::TaskInfo::decode(state.task(&key.framework, first)?.spec.info.clone()).ok()?;
    Some(shares(&info))
}

fn shares(info: &v1::TaskInfo) -> bool {
    shares_cgroups(info.container.as_ref()).unwrap_or(true)
}

fn validate(tasks: &[v1::TaskInfo], executor: &v1::ExecutorInfo, context: &Context) -> Rule {
    if context.agent.as_ref().is_some_and(|(_, is_new)| !is_new) {
        return Err("The agent is of a version that takes no task groups".to_owned());
    }
    if tasks.iter().map(Message::encoded_len).sum::<usize>() > GROUP_BYTES_MAX {
        return Err(format!("Task group is larger than {GROUP_BYTES_MAX} bytes"));
    }
    for task in tasks {
        let rule = validate_description(task, context).and_then(|()| validate_member(task));
        rule.map_err(|message| {
            format!("Task '{}' is invalid: {message}", task.task_id.value.escape_default())
        })?;
    }
    validate_executor(executor, context)?;
    if tasks.iter().any(|task| task.executor.as_ref() != Some(executor)) {
        return Err("The 'ExecutorInfo' of a task of the group differs from the group's".to_owned());
    }
    let parts: Vec<&[v1::Resource]> =
        tasks.iter().map(|task| task.resources.as_slice()).chain([executor.resources.as_slice()]).collect();
    resources::validate_together("Tasks of the group and their executor", &parts)?;
    validate_sharing(tasks, executor, context)
}

/// What holds of a task only because it is one of a group.
fn validate_member(task: &v1::TaskInfo) -> Rule {
    let container = task.container.as_ref();
    if is_docker(container) {
        return Err("Docker ContainerInfo is not supported on the task of a group".to_owned());
    }
    let own_network = container.is_some_and(|container| !container.network_infos.is_empty());
    let check = task.health_check.as_ref().map(|check| (check.r#type(), check.http.is_some()));
    let from_outside = matches!(
        check,
        Some((health_check::Type::Http | health_check::Type::Tcp, _) | (health_check::Type::Unknown, true))
    );
    if own_network && from_outside {
        return Err(
            "HTTP and TCP health checks are not supported for a task with a network of its own".to_owned()
        );
    }
    match task.limits.is_empty() || !shares(task) {
        true => Ok(()),
        false => Err("Resource limits need 'share_cgroups' to be false for a task of a group".to_owned()),
    }
}

fn validate_executor(executor: &v1::ExecutorInfo, context: &Context) -> Rule {
    use executor_info::Type;
    match executor.r#type.map(Type::try_from) {
        Some(Ok(Type::Default)) => validate_default(executor)?,
        Some(Ok(Type::Custom)) => {}
        None => return Err("'ExecutorInfo.type' must be set for a task group".to_owned()),
        Some(Ok(Type::Unknown) | Err(_)) => return Err("Unknown executor type".to_owned()),
    }
    validate_executor_description(executor, context)?;
    if is_docker(executor.container.as_ref()) {
        return Err("Docker ContainerInfo is not supported on the executor of a task group".to_owned());
    }
    if shares_cgroups(executor.container.as_ref()) == Some(true) {
        return Err(EXECUTOR_SHARES.to_owned());
    }
    resources::validate_least(executor)
}

fn validate_default(executor: &v1::ExecutorInfo) -> Rule {
    let Some(container) = &executor.container else { return Ok(()) };
    let image = container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some());
    match container.r#type == container_info::Type::Mesos as i32 && !image {
        true => Ok(()),
        false => {
            Err("The container of a DEFAULT executor must be of type MESOS and without an image".to_owned())
        }
    }
}

/// All tasks of an executor share its cgroups, or none does.
fn validate_sharing(tasks: &[v1::TaskInfo], executor: &v1::ExecutorInfo, context: &Context) -> Rule {
    let id = ExecutorId::from(executor.executor_id.value.as_str());
    let known = context.shares_cgroups.get(&id).copied();
    let Some(all) = known.or_else(|| tasks.first().map(shares)) else { return Ok(()) };
    match tasks.iter().all(|task| shares(task) == all) {
        true => Ok(()),
        false => Err("All tasks of an executor must have the same 'share_cgroups'".to_owned()),
    }
}

fn is_docker(container: Option<&v1::ContainerInfo>) -> bool {
    container.is_some_and(|container| container.r#type == container_info::Type::Docker as i32)
}
