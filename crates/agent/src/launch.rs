//! A launch as it comes from the leader: who runs it, and what this agent cannot do.

use std::sync::Arc;

use mesarch_agent_core::{ExecutorSpec, FrameworkSpec, RunTask, RunTaskGroup};
use mesarch_mesos_v1::convert::resources_from_v1;
use mesarch_proto::{
    link,
    mesos::v1::{
        self, CommandInfo, ContainerInfo, DurationInfo, ExecutorInfo, FrameworkInfo, KillPolicy, TaskInfo,
        container_info, environment, executor_info, framework_info, linux_info, value,
    },
};
use mesarch_types::{Millis, ReservationKind, Resource, Resources};
use prost::Message;

use crate::{
    volumes,
    wire::{WireError, key_from},
};

/// Grace between SIGTERM and SIGKILL when nobody says otherwise, in milliseconds.
pub(crate) const KILL_GRACE_MS: u64 = 3_000;
/// The command executor needs this much longer than its task to end.
const COMMAND_EXECUTOR_EXTRA_MS: u64 = 2_000;
/// As Mesos counts its own.
const COMMAND_EXECUTOR_CPUS: f64 = 0.1;
const COMMAND_EXECUTOR_MEM_MB: f64 = 32.0;
const NANOS_PER_MS: i64 = 1_000_000;

/// How launches are judged.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) shutdown_grace: Millis,
    /// The path of the program that has the built-in executor, for people.
    pub(crate) program: String,
}

impl Rules {
    /// Reads the messages that the core carries as bytes.
    pub(crate) fn prepare(&self, launch: link::RunTask) -> Result<RunTask, WireError> {
        let key = key_from(launch.key)?;
        let task = TaskInfo::decode(launch.info.clone()).map_err(|_| WireError("info"))?;
        let framework =
            FrameworkInfo::decode(launch.framework_info.clone()).map_err(|_| WireError("framework_info"))?;
        let executor = match &task.executor {
            Some(own) => self.own(own),
            None => command_executor(&task, &key.framework, &self.program),
        };
        Ok(RunTask {
            converted: converted(&task)?,
            framework: FrameworkSpec {
                id: key.framework.clone(),
                checkpoint: framework.checkpoint(),
                partition_aware: has(&framework, framework_info::capability::Type::PartitionAware),
                info: launch.framework_info,
            },
            refused: refusal(&task).map(Arc::from),
            key,
            info: launch.info,
            executor,
        })
    }

    /// Each task of a group is judged as if it were alone.
    pub(crate) fn prepare_group(&self, group: link::RunTaskGroup) -> Result<RunTaskGroup, WireError> {
        let tasks = group.tasks.into_iter().map(|launch| self.prepare(launch));
        let size = usize::try_from(group.size).map_err(|_| WireError("size"))?;
        Ok(RunTaskGroup { tasks: tasks.collect::<Result<_, _>>()?, size })
    }

    fn own(&self, info: &ExecutorInfo) -> ExecutorSpec {
        let grace = info.shutdown_grace_period.as_ref().and_then(millis);
        ExecutorSpec {
            id: info.executor_id.value.as_str().into(),
            info: info.encode_to_vec().into(),
            command: false,
            shutdown_grace: grace.unwrap_or(self.shutdown_grace),
        }
    }
}

/// A duration that is not negative.
pub(crate) fn millis(duration: &DurationInfo) -> Option<Millis> {
    u64::try_from(duration.nanoseconds / NANOS_PER_MS).ok().map(Millis)
}

/// The grace that a policy asks for, if it does.
pub(crate) fn kill_grace(policy: Option<&KillPolicy>) -> Option<Millis> {
    policy.and_then(|policy| policy.grace_period.as_ref()).and_then(millis)
}

/// Whether a framework declared a capability.
pub(crate) fn has(framework: &FrameworkInfo, wanted: framework_info::capability::Type) -> bool {
    framework.capabilities.iter().any(|capability| capability.r#type == Some(wanted as i32))
}

/// The built-in executor of a task with a command, told as Mesos tells its own; its files are the executor's to fetch.
fn command_executor(task: &TaskInfo, framework: &mesarch_types::FrameworkId, program: &str) -> ExecutorSpec {
    let own = task.command.clone().unwrap_or_default();
    let grace = kill_grace(task.kill_policy.as_ref()).map_or(KILL_GRACE_MS, |grace| grace.0);
    let shown = own.value.clone().unwrap_or_default();
    let id = &task.task_id.value;
    let command = CommandInfo {
        uris: own.uris,
        shell: Some(false),
        value: Some(program.to_owned()),
        arguments: ["mesarch", "command-executor"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let info = ExecutorInfo {
        executor_id: mesarch_proto::mesos::v1::ExecutorId { value: id.clone() },
        framework_id: Some(mesarch_proto::mesos::v1::FrameworkId { value: framework.to_string() }),
        name: Some(format!("Command Executor (Task: {id}) (Command: {shown})")),
        source: Some(id.clone()),
        labels: task.labels.clone(),
        resources: own_use(task),
        command: Some(command),
        ..Default::default()
    };
    ExecutorSpec {
        id: id.as_str().into(),
        info: info.encode_to_vec().into(),
        command: true,
        shutdown_grace: Millis(grace.saturating_add(COMMAND_EXECUTOR_EXTRA_MS)),
    }
}

/// What the built-in executor counts for beside its task, in the task's role. Nothing is taken off an offer for it.
fn own_use(task: &TaskInfo) -> Vec<v1::Resource> {
    let allocation = task.resources.iter().find_map(|resource| resource.allocation_info.clone());
    let scalar = |(name, value): (&str, f64)| v1::Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value }),
        allocation_info: allocation.clone(),
        ..Default::default()
    };
    [("cpus", COMMAND_EXECUTOR_CPUS), ("mem", COMMAND_EXECUTOR_MEM_MB)].map(scalar).to_vec()
}

/// What of the task's and its executor's resources is there only because of an operation.
fn converted(task: &TaskInfo) -> Result<Resources, WireError> {
    let own = task.executor.as_ref().map(|executor| executor.resources.as_slice()).unwrap_or_default();
    let read = |list| resources_from_v1(list).map_err(|_| WireError("resources"));
    let all = read(&task.resources)?.saturating_add(&read(own)?).without_allocation();
    let dynamic = |resource: &Resource| {
        resource.reservations.last().is_some_and(|innermost| innermost.kind == ReservationKind::Dynamic)
    };
    // What a resource provider brings it is asked for.
    let own = |resource: &Resource| resource.provider.is_none();
    Ok(all.filter(|resource| own(resource) && (resource.is_persistent() || dynamic(resource))))
}

/// What the task asks for that is not there. A task must not run without something that its framework relies on.
fn refusal(task: &TaskInfo) -> Option<String> {
    let executor = task.executor.as_ref();
    let containers = [task.container.as_ref(), executor.and_then(|executor| executor.container.as_ref())];
    if let Some(what) = containers.into_iter().flatten().find_map(of_container) {
        return Some(format!("not implemented: {what}"));
    }
    let own = executor.map(|executor| executor.resources.as_slice()).unwrap_or_default();
    if own.iter().any(|resource| resource.provider_id.is_some()) {
        return Some("not implemented: executors on what a resource provider brings".to_owned());
    }
    if let Some(what) = [&task.resources[..], own].into_iter().find_map(volumes::refusal) {
        return Some(what);
    }
    let commands = [task.command.as_ref(), executor.and_then(|executor| executor.command.as_ref())];
    if commands.into_iter().flatten().any(has_secret) {
        return Some("not implemented: environment variables of type SECRET".to_owned());
    }
    if executor.is_none() && (task.health_check.is_some() || task.check.is_some()) {
        return Some("not implemented: health checks and checks by the command executor".to_owned());
    }
    let default = executor.is_some_and(|executor| executor.r#type() == executor_info::Type::Default);
    if default && (task.health_check.is_some() || task.check.is_some()) {
        return Some("not implemented: health checks and checks by the default executor".to_owned());
    }
    let command =
        executor.filter(|_| !default).map_or(task.command.as_ref(), |executor| executor.command.as_ref());
    let Some(command) = command else {
        return Some("neither the task nor its executor has a command".to_owned());
    };
    crate::fetcher::refusal(&command.uris)
}

/// What a container asks for beyond a plain process.
fn of_container(container: &ContainerInfo) -> Option<&'static str> {
    let mesos = container.r#type == container_info::Type::Mesos as i32;
    let image = container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some());
    let linux = container.linux_info.clone().unwrap_or_default();
    let capabilities = [&linux.capability_info, &linux.bounding_capabilities, &linux.effective_capabilities];
    let ipc = linux.ipc_mode() == linux_info::IpcMode::Private || linux.shm_size.is_some();
    let asked = [
        (!mesos || image, "containers with images"),
        (!container.volumes.is_empty(), "volumes of containers"),
        (!container.network_infos.is_empty(), "networks of containers"),
        (container.hostname.is_some(), "hostnames of containers"),
        (capabilities.into_iter().any(Option::is_some), "linux_info: capabilities"),
        (linux.seccomp.is_some(), "linux_info: seccomp"),
        (ipc, "linux_info: IPC namespaces and shared memory of their own"),
        (container.rlimit_info.is_some(), "rlimit_info"),
        (container.tty_info.is_some(), "tty_info"),
    ];
    asked.into_iter().find_map(|(asked, what)| asked.then_some(what))
}

/// Its value would have to come from a secret store, or be kept from the logs.
fn has_secret(command: &CommandInfo) -> bool {
    let variables = command.environment.iter().flat_map(|environment| &environment.variables);
    let is_secret = |variable: &environment::Variable| {
        variable.secret.is_some() || variable.r#type() == environment::variable::Type::Secret
    };
    variables.into_iter().any(is_secret)
}

#[cfg(test)]
#[path = "launch_test.rs"]
mod tests;
