//! Statuses of tasks and operations as frameworks are told them.

use bytes::Bytes;
use mesarch_mesos_v1::convert::{ResourceForm, resources_to_v1};
use mesarch_proto::mesos::v1;
use mesarch_state::model::{Operation, OperationNews, Report, Task, TaskNews};
use mesarch_types::{
    AgentId, OperationId, OperationState, Reason, Source, TaskId, TaskState, UpdateUuid, WallMillis,
};
use prost::Message;

/// What reconciliation says of a task that is known.
const LATEST: &str = "Reconciliation: Latest task state";

/// ms since 1970 as Mesos' double seconds.
pub(crate) fn seconds(at: WallMillis) -> f64 {
    at.0 as f64 / 1000.0
}

/// A status of the masters': no uuid, so nobody acknowledges it.
pub(crate) fn of_master(
    task: &TaskId,
    agent: Option<&AgentId>,
    state: TaskState,
    reason: Reason,
    message: &str,
    at: WallMillis,
) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: v1::TaskId { value: task.to_string() },
        state: state as i32,
        message: (!message.is_empty()).then(|| message.to_owned()),
        source: Some(Source::Master as i32),
        reason: Some(reason as i32),
        agent_id: agent.map(crate::events::agent_id),
        timestamp: Some(seconds(at)),
        ..Default::default()
    }
}

/// An item of a framework's outbox.
pub(crate) fn of_news(news: &TaskNews) -> v1::TaskStatus {
    let reason = news.reason.unwrap_or(Reason::Reconciliation);
    let mut status = of_master(&news.task, news.agent.as_ref(), news.state, reason, &news.message, news.at);
    status.source = Some(news.source as i32);
    status.reason = news.reason.map(|reason| reason as i32);
    status.unreachable_time = news.unreachable.map(time);
    status
}

pub(crate) fn time(at: WallMillis) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: i64::try_from(at.0).unwrap_or(i64::MAX).saturating_mul(1_000_000) }
}

/// An agent's update, as it came; none for a report of the masters' own.
pub(crate) fn of_report(report: &Report) -> Option<v1::TaskStatus> {
    report.uuid?;
    // It was decoded and encoded again before it was recorded.
    v1::TaskStatus::decode(report.status.clone()).ok()
}

/// What reconciliation answers for a task that is known: its last forwarded state, with what belongs to it.
pub(crate) fn of_known(task: &Task, partition_aware: bool, at: WallMillis) -> v1::TaskStatus {
    let last = task.forwarded();
    let state = last.map_or(task.state, |report| report.state);
    let told = if partition_aware { state } else { state.for_partition_unaware() };
    let known = last.and_then(|report| of_report(report)).unwrap_or_default();
    v1::TaskStatus {
        healthy: known.healthy,
        check_status: known.check_status,
        container_status: known.container_status,
        executor_id: task.spec.executor.as_ref().map(|executor| crate::events::executor_id(&executor.id)),
        ..of_master(&task.spec.id, Some(&task.agent), told, Reason::Reconciliation, LATEST, at)
    }
}

/// A state of an operation as the masters tell it: no uuid, so nobody acknowledges it.
pub(crate) fn of_operation(
    operation: &OperationId,
    agent: Option<&AgentId>,
    state: OperationState,
    message: &str,
) -> v1::OperationStatus {
    v1::OperationStatus {
        operation_id: Some(v1::OperationId { value: operation.to_string() }),
        state: state as i32,
        message: (!message.is_empty()).then(|| message.to_owned()),
        agent_id: agent.map(crate::events::agent_id),
        ..Default::default()
    }
}

/// An item of a framework's outbox.
pub(crate) fn of_operation_news(news: &OperationNews) -> v1::OperationStatus {
    of_operation(&news.operation, news.agent.as_ref(), news.state, &news.message)
}

/// What is known of an operation; its end has a uuid, and the framework acknowledges that.
pub(crate) fn of_known_operation(operation: &Operation, form: ResourceForm) -> v1::OperationStatus {
    let on = operation.on_provider.as_deref();
    let message = on.map_or("", |on| &on.message);
    let provider = on.map(|on| v1::ResourceProviderId { value: on.provider.to_string() });
    let status = v1::OperationStatus {
        resource_provider_id: provider,
        operation_id: operation.is_told().then(|| v1::OperationId { value: operation.id.to_string() }),
        ..of_operation(&operation.id, Some(&operation.agent), operation.state(), message)
    };
    match operation.finished {
        true => v1::OperationStatus {
            converted_resources: resources_to_v1(&operation.made, form),
            uuid: Some(uuid(operation.uuid)),
            ..status
        },
        false => status,
    }
}

pub(crate) fn uuid(uuid: UpdateUuid) -> v1::Uuid {
    v1::Uuid { value: Bytes::copy_from_slice(&uuid.0) }
}
