//! GET_TASKS and GET_EXECUTORS.

use mesarch_mesos_v1::{
    convert::{ResourceForm, resources_to_v1},
    writer::{Field, Fields},
};
use mesarch_proto::mesos::v1::{
    self, ExecutorInfo, Task as Shown, TaskInfo, TaskStatus,
    master::response::get_executors::Executor as ShownExecutor,
};
use mesarch_state::{
    State,
    model::{Executor, Framework, Report, Task},
};
use mesarch_types::{Reason, TaskState};
use prost::Message;

use crate::{events, status};

pub(super) fn write(state: &State, out: &mut Fields<'_>) {
    out.list(Field("tasks", 2), state.tasks().map(|task| shown(task, task.state)));
    let away = state.frameworks().flat_map(|framework| unreachable(state, framework));
    out.list(Field("unreachable_tasks", 5), away.map(|(task, told)| shown(task, told)));
    let gone = state.removed_frameworks().filter_map(|(_, removed)| removed.record.as_deref());
    let ended = state.frameworks().chain(gone).flat_map(|framework| framework.completed.iter());
    out.list(Field("completed_tasks", 3), ended.map(|task| shown(task, task.state)));
}

/// Tasks on agents that are away, in the words that their framework knows.
fn unreachable<'a>(
    state: &'a State,
    framework: &'a Framework,
) -> impl Iterator<Item = (&'a Task, TaskState)> {
    let told = match framework.is_partition_aware() {
        true => TaskState::Unreachable,
        false => TaskState::Unreachable.for_partition_unaware(),
    };
    let keys = framework.unreachable.keys().map(|task| (framework.id.clone(), task.clone()));
    keys.filter_map(move |key| Some((state.unreachable_task(&key)?, told)))
}

fn shown(task: &Task, told: TaskState) -> Shown {
    // Our own encoding of what the framework said.
    let info = TaskInfo::decode(task.spec.info.clone()).unwrap_or_default();
    let executor_command = info.executor.as_ref().and_then(|executor| executor.command.as_ref());
    let user = info.command.as_ref().or(executor_command).and_then(|command| command.user.clone());
    let forwarded = task.forwarded();
    Shown {
        name: info.name,
        task_id: v1::TaskId { value: task.spec.id.to_string() },
        framework_id: events::framework_id(&task.framework),
        // A command task has none: its executor is the agent's own.
        executor_id: task.spec.executor.as_ref().map(|executor| events::executor_id(&executor.id)),
        agent_id: events::agent_id(&task.agent),
        state: told as i32,
        resources: resources_to_v1(&task.spec.resources, ResourceForm::New),
        statuses: task.statuses.iter().map(|report| status(task, report)).collect(),
        status_update_state: forwarded.map(|report| report.state as i32),
        status_update_uuid: forwarded
            .and_then(|report| report.uuid.as_ref())
            .map(|uuid| bytes::Bytes::copy_from_slice(&uuid.0)),
        labels: info.labels,
        discovery: info.discovery,
        container: info.container,
        health_check: info.health_check,
        kill_policy: info.kill_policy,
        user,
        limits: info.limits,
    }
}

/// An agent's update without the executor's own data, which is for the framework alone; or what the masters concluded.
fn status(task: &Task, report: &Report) -> TaskStatus {
    if let Some(told) = status::of_report(report) {
        return TaskStatus { data: None, ..told };
    }
    let reason = report.reason.unwrap_or(Reason::Reconciliation);
    let concluded =
        status::of_master(&task.spec.id, Some(&task.agent), report.state, reason, &report.message, report.at);
    TaskStatus {
        source: Some(report.source as i32),
        reason: report.reason.map(|reason| reason as i32),
        ..concluded
    }
}

pub(super) fn write_executors(state: &State, out: &mut Fields<'_>) {
    out.list(Field("executors", 1), state.executors().map(executor));
}

fn executor(executor: &Executor) -> ShownExecutor {
    ShownExecutor {
        executor_info: ExecutorInfo::decode(executor.spec.info.clone()).unwrap_or_default(),
        agent_id: events::agent_id(&executor.key.agent),
    }
}
