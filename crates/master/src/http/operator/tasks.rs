//! GET_TASKS and GET_EXECUTORS.

use mesarch_mesos_v1::{
    convert::{Course, ResourceForm, resources_to_v1, task_to_v1},
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

pub(super) fn shown(task: &Task, told: TaskState) -> Shown {
    // Our own encoding of what the framework said.
    let info = TaskInfo::decode(task.spec.info.clone()).unwrap_or_default();
    let uuid = |report: &Report| report.uuid.map(|uuid| bytes::Bytes::copy_from_slice(&uuid.0));
    // What masters concluded was never forwarded from an agent.
    let forwarded = task.statuses.iter().rev().find(|report| report.uuid.is_some());
    let course = Course {
        framework: task.framework.to_string(),
        agent: task.agent.to_string(),
        state: v1_state(told),
        resources: resources_to_v1(&task.spec.resources, ResourceForm::New),
        statuses: task.statuses.iter().map(|report| status(task, report)).collect(),
        forwarded: forwarded.map(|report| (v1_state(report.state), uuid(report))),
    };
    task_to_v1(task.spec.id.as_str(), info, course)
}

/// The same number in the API.
fn v1_state(state: TaskState) -> v1::TaskState {
    v1::TaskState::try_from(state as i32).unwrap_or_default()
}

/// An agent's update without the executor's own data, which is for the framework alone; or what the masters concluded.
pub(super) fn status(task: &Task, report: &Report) -> TaskStatus {
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
