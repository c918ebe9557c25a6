//! GET_TASKS and GET_EXECUTORS.

use mesarch_mesos_v1::{
    convert::{ResourceForm, encode_resource},
    encoder::Encoder,
    writer::{Field, Fields},
};
use mesarch_proto::mesos::v1::{
    Task as Shown, TaskStatus, master::response::get_executors::Executor as ShownExecutor,
};
use mesarch_state::{
    State,
    model::{Framework, Report, Task},
};
use mesarch_types::{Reason, TaskState};
use prost::Message;

use crate::{http::said::TaskSaid, status};

pub(super) fn write(state: &State, out: &mut Fields<'_>) {
    let tasks = state.tasks().map(|task| (task, task.state));
    out.encoded::<Shown, _>(Field("tasks", 2), tasks, |(task, told), out| encode(task, told, out));
    let away = state.frameworks().flat_map(|framework| unreachable(state, framework));
    let field = Field("unreachable_tasks", 5);
    out.encoded::<Shown, _>(field, away, |(task, told), out| encode(task, told, out));
    let gone = state.removed_frameworks().filter_map(|(_, removed)| removed.record.as_deref());
    let ended = state.frameworks().chain(gone).flat_map(|framework| framework.completed.iter());
    let field = Field("completed_tasks", 3);
    out.encoded::<Shown, _>(field, ended, |task, out| encode(task, task.state, out));
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

/// A task as a message.
pub(super) fn shown(task: &Task, told: TaskState) -> Shown {
    let mut bytes = Vec::new();
    encode(task, told, &mut Encoder::new(&mut bytes));
    // What is in it was decoded and encoded before it was recorded.
    Shown::decode(bytes.as_slice()).unwrap_or_default()
}

/// Writes `mesos.v1.Task`, most of it as it was said.
fn encode(task: &Task, told: TaskState, out: &mut Encoder<'_>) {
    let said = TaskSaid::of(&task.spec.info);
    out.bytes(1, said.name);
    out.name(2, task.spec.id.as_str());
    out.name(3, task.framework.as_str());
    out.optional(4, said.executor_id());
    out.name(5, task.agent.as_str());
    out.symbol(6, told as i32);
    for resource in task.spec.resources.iter() {
        encode_resource(7, resource, ResourceForm::New, out);
    }
    for report in &task.statuses {
        encode_status(task, report, out);
    }
    if let Some(report) = task.told_by_agent() {
        out.symbol(9, report.state as i32);
        out.optional(10, report.uuid.as_ref().map(|uuid| &uuid.0[..]));
    }
    out.optional(11, said.labels);
    out.optional(12, said.discovery);
    out.optional(13, said.container);
    out.optional(14, said.user());
    out.optional(15, said.health_check);
    out.optional(16, said.kill_policy);
    said.limits().for_each(|entry| out.bytes(17, entry));
}

/// As [`status`], in its field of the task.
fn encode_status(task: &Task, report: &Report, out: &mut Encoder<'_>) {
    const DATA: u32 = 3;
    match report.uuid {
        Some(_) => out.message(8, |out| out.without(&report.status, DATA)),
        None => out.whole(8, &status(task, report)),
    }
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
    out.encoded::<ShownExecutor, _>(Field("executors", 1), state.executors(), |executor, out| {
        // Our own encoding of what the framework said.
        out.bytes(1, &executor.spec.info);
        out.name(2, executor.key.agent.as_str());
    });
}
