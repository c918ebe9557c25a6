//! `/tasks`, and tasks wherever they are shown.

use mesarch_proto::mesos::v1;
use mesarch_state::{
    State,
    model::{Report, Task},
};
use mesarch_types::TaskState;
use prost::Message;
use serde::Serialize;

use super::{
    Query,
    model::{Raw, raw, unreachable_tasks},
    numbers::{Amounts, seconds},
};

/// Tasks in one answer, unless the query says otherwise.
const LIMIT: usize = 100;

#[derive(Serialize)]
pub(super) struct TaskView<'a> {
    id: &'a str,
    name: String,
    framework_id: &'a str,
    executor_id: String,
    slave_id: &'a str,
    state: &'static str,
    resources: Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<serde_json::Map<String, serde_json::Value>>,
    role: &'a str,
    statuses: Vec<StatusView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Raw>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<Raw>,
}

#[derive(Serialize)]
struct StatusView {
    state: &'static str,
    timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Raw>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_status: Option<ContainerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
}

#[derive(Serialize)]
struct ContainerView {
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<Raw>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    network_infos: Vec<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_info: Option<Raw>,
}

/// A task, in the state `told` if the table says more than its framework knows.
pub(super) fn view(task: &Task, told: Option<TaskState>) -> TaskView<'_> {
    let info = v1::TaskInfo::decode(task.spec.info.clone()).unwrap_or_default();
    let executor_command = info.executor.as_ref().and_then(|executor| executor.command.as_ref());
    let user = info.command.as_ref().or(executor_command).and_then(|command| command.user.clone());
    TaskView {
        id: task.spec.id.as_str(),
        framework_id: task.framework.as_str(),
        // A command task has none: its executor is the agent's own.
        executor_id: task.spec.executor.as_ref().map(|executor| executor.id.to_string()).unwrap_or_default(),
        slave_id: task.agent.as_str(),
        state: told.unwrap_or(task.state).name(),
        resources: Amounts::of([&task.spec.resources]),
        limits: limits(&info),
        role: task.role.as_str(),
        statuses: task.statuses.iter().map(|report| status(report)).collect(),
        user,
        labels: info.labels.map(|labels| labels.labels.iter().filter_map(raw).collect()),
        discovery: info.discovery.as_ref().and_then(raw),
        container: info.container.as_ref().and_then(raw),
        health_check: info.health_check.as_ref().and_then(raw),
        name: info.name,
    }
}

fn limits(info: &v1::TaskInfo) -> Option<serde_json::Map<String, serde_json::Value>> {
    let value = |limit: f64| match limit.is_finite() {
        true => limit.into(),
        false => "Infinity".into(),
    };
    let limits = info.limits.iter().map(|(name, limit)| (name.clone(), value(limit.value)));
    (!info.limits.is_empty()).then(|| limits.collect())
}

fn status(report: &Report) -> StatusView {
    let status = crate::status::of_report(report).unwrap_or_default();
    StatusView {
        state: report.state.name(),
        timestamp: status.timestamp.unwrap_or_else(|| seconds(report.at)),
        labels: status.labels.map(|labels| labels.labels.iter().filter_map(raw).collect()),
        container_status: status.container_status.map(|container| ContainerView {
            container_id: container.container_id.as_ref().and_then(raw),
            network_infos: container.network_infos.iter().filter_map(raw).collect(),
            cgroup_info: container.cgroup_info.as_ref().and_then(raw),
        }),
        healthy: status.healthy,
    }
}

#[derive(Serialize)]
pub(super) struct TasksView<'a> {
    tasks: Vec<TaskView<'a>>,
}

/// Live, unreachable and completed tasks of all frameworks, the newest first.
pub(super) fn list<'a>(state: &'a State, query: &Query) -> TasksView<'a> {
    let number =
        |name: &str, default: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (limit, offset) = (number("limit", LIMIT), number("offset", 0));
    let mut tasks: Vec<TaskView<'a>> = state
        .frameworks()
        .flat_map(|framework| {
            let live = state.tasks_of(&framework.id).map(|task| view(task, None));
            let completed = framework.completed.iter().map(|task| view(task, None));
            live.chain(unreachable_tasks(state, framework)).chain(completed)
        })
        .chain(removed(state))
        .filter(|task| query.get("framework_id").is_none_or(|only| task.framework_id == only))
        .filter(|task| query.get("task_id").is_none_or(|only| task.id == only))
        .collect();
    let began = |task: &TaskView<'_>| task.statuses.first().map_or(0.0, |status| status.timestamp);
    tasks.sort_by(|one, other| began(one).total_cmp(&began(other)));
    if query.get("order") != Some("asc") {
        tasks.reverse();
    }
    TasksView { tasks: tasks.into_iter().skip(offset).take(limit).collect() }
}

fn removed(state: &State) -> impl Iterator<Item = TaskView<'_>> {
    let records = state.removed_frameworks().filter_map(|(_, removed)| removed.record.as_deref());
    records.flat_map(|framework| framework.completed.iter().map(|task| view(task, None)))
}
