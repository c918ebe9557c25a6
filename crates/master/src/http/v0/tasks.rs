//! `/tasks`, and tasks wherever they are shown.

use bytes::Bytes;
use mesarch_proto::{json::Json, mesos::v1};
use mesarch_state::{
    State,
    model::{Report, Task},
};
use mesarch_types::TaskState;
use prost::Message;
use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};

use super::{
    Query,
    each::Each,
    model::{Raw, raw, unreachable_tasks},
    numbers::{Amounts, seconds},
};

/// Tasks in one answer, unless the query says otherwise.
const LIMIT: usize = 100;

/// A task as it is shown: in the state of the table, or in another one, if the table says more than its framework knows.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) task: &'a Task,
    pub(super) state: TaskState,
}

impl<'a> Told<'a> {
    /// In the state of the table.
    pub(super) fn of(task: &'a Task) -> Self {
        Self { task, state: task.state }
    }
}

/// What is shown of `mesos.v1.TaskInfo`, by the numbers of its fields. A text or a message in it is shared with the whole,
/// as its bytes: most tasks have few of them, and of the rest nothing is worth a copy.
#[derive(Clone, PartialEq, Message)]
struct TaskSaid {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(message, optional, tag = "5")]
    executor: Option<ExecutorSaid>,
    #[prost(message, optional, tag = "7")]
    command: Option<CommandSaid>,
    #[prost(bytes = "bytes", optional, tag = "8")]
    health_check: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "9")]
    container: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "10")]
    labels: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "11")]
    discovery: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "15")]
    limits: Vec<Bytes>,
}

/// The same of `mesos.v1.ExecutorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ExecutorSaid {
    #[prost(message, optional, tag = "7")]
    command: Option<CommandSaid>,
}

/// The same of `mesos.v1.CommandInfo`.
#[derive(Clone, PartialEq, Message)]
struct CommandSaid {
    #[prost(bytes = "bytes", optional, tag = "5")]
    user: Option<Bytes>,
}

/// The same of `mesos.v1.TaskStatus`.
#[derive(Clone, PartialEq, Message)]
struct StatusSaid {
    #[prost(double, optional, tag = "6")]
    timestamp: Option<f64>,
    #[prost(bool, optional, tag = "8")]
    healthy: Option<bool>,
    #[prost(bytes = "bytes", optional, tag = "12")]
    labels: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "13")]
    container_status: Option<Bytes>,
}

/// A text of ours is UTF-8.
fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A message as JSON, from its bytes.
fn decoded<M: Message + Default + Json>(bytes: &Bytes) -> Option<Raw> {
    raw(&M::decode(bytes.clone()).ok()?)
}

fn labels(bytes: &Bytes) -> Vec<Raw> {
    let labels = v1::Labels::decode(bytes.clone()).unwrap_or_default();
    labels.labels.iter().filter_map(raw).collect()
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let task = self.task;
        // Our own encoding of what the framework said.
        let said = TaskSaid::decode(task.spec.info.clone()).unwrap_or_default();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", task.spec.id.as_str())?;
        map.serialize_entry("name", text(&said.name))?;
        map.serialize_entry("framework_id", task.framework.as_str())?;
        // A command task has none: its executor is the agent's own.
        let executor = task.spec.executor.as_ref().map_or("", |executor| executor.id.as_str());
        map.serialize_entry("executor_id", executor)?;
        map.serialize_entry("slave_id", task.agent.as_str())?;
        map.serialize_entry("state", self.state.name())?;
        map.serialize_entry("resources", &Amounts::of([&task.spec.resources]))?;
        if !said.limits.is_empty() {
            map.serialize_entry("limits", &limits(&task.spec.info))?;
        }
        map.serialize_entry("role", task.role.as_str())?;
        map.serialize_entry("statuses", &Each(|| task.statuses.iter().map(|report| Status(report))))?;
        said.options(&mut map)?;
        map.end()
    }
}

impl TaskSaid {
    /// What most tasks do not have.
    fn options<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let executor_command = self.executor.as_ref().and_then(|executor| executor.command.as_ref());
        let command = self.command.as_ref().or(executor_command);
        if let Some(user) = command.and_then(|command| command.user.as_ref()) {
            map.serialize_entry("user", text(user))?;
        }
        if let Some(bytes) = &self.labels {
            map.serialize_entry("labels", &labels(bytes))?;
        }
        let messages = [
            ("discovery", self.discovery.as_ref().and_then(decoded::<v1::DiscoveryInfo>)),
            ("container", self.container.as_ref().and_then(decoded::<v1::ContainerInfo>)),
            ("health_check", self.health_check.as_ref().and_then(decoded::<v1::HealthCheck>)),
        ];
        for (name, message) in messages {
            if let Some(message) = message {
                map.serialize_entry(name, &message)?;
            }
        }
        Ok(())
    }
}

/// A status as it is shown.
struct Status<'a>(&'a Report);

impl Serialize for Status<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let said = said(self.0);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("state", self.0.state.name())?;
        map.serialize_entry("timestamp", &said.timestamp.unwrap_or_else(|| seconds(self.0.at)))?;
        if let Some(bytes) = &said.labels {
            map.serialize_entry("labels", &labels(bytes))?;
        }
        if let Some(bytes) = said.container_status {
            let container = v1::ContainerStatus::decode(bytes).unwrap_or_default();
            map.serialize_entry("container_status", &ContainerView::of(&container))?;
        }
        if let Some(healthy) = said.healthy {
            map.serialize_entry("healthy", &healthy)?;
        }
        map.end()
    }
}

/// An agent's update, as it came; empty for a report of the masters' own.
fn said(report: &Report) -> StatusSaid {
    let status = report.uuid.and_then(|_| StatusSaid::decode(report.status.clone()).ok());
    status.unwrap_or_default()
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

impl ContainerView {
    fn of(container: &v1::ContainerStatus) -> Self {
        Self {
            container_id: container.container_id.as_ref().and_then(raw),
            network_infos: container.network_infos.iter().filter_map(raw).collect(),
            cgroup_info: container.cgroup_info.as_ref().and_then(raw),
        }
    }
}

fn limits(info: &Bytes) -> serde_json::Map<String, serde_json::Value> {
    let info = v1::TaskInfo::decode(info.clone()).unwrap_or_default();
    let value = |limit: f64| match limit.is_finite() {
        true => limit.into(),
        false => "Infinity".into(),
    };
    info.limits.iter().map(|(name, limit)| (name.clone(), value(limit.value))).collect()
}

#[derive(Serialize)]
pub(super) struct TasksView<'a> {
    tasks: Vec<Told<'a>>,
}

/// Live, unreachable and completed tasks of all frameworks, the newest first.
pub(super) fn list<'a>(state: &'a State, query: &Query) -> TasksView<'a> {
    let number =
        |name: &str, default: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (limit, offset) = (number("limit", LIMIT), number("offset", 0));
    let all = state.frameworks().flat_map(|framework| {
        let live = state.tasks_of(&framework.id).map(Told::of);
        let completed = framework.completed.iter().map(|task| Told::of(task));
        live.chain(unreachable_tasks(state, framework)).chain(completed)
    });
    let mut tasks: Vec<(f64, Told<'a>)> = all
        .chain(removed(state))
        .filter(|told| query.get("framework_id").is_none_or(|only| told.task.framework.as_str() == only))
        .filter(|told| query.get("task_id").is_none_or(|only| told.task.spec.id.as_str() == only))
        .map(|told| (began(told.task), told))
        .collect();
    tasks.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    if query.get("order") != Some("asc") {
        tasks.reverse();
    }
    TasksView { tasks: tasks.into_iter().map(|(_, told)| told).skip(offset).take(limit).collect() }
}

/// When its first status was made.
fn began(task: &Task) -> f64 {
    let first = task.statuses.first();
    first.map_or(0.0, |report| said(report).timestamp.unwrap_or_else(|| seconds(report.at)))
}

fn removed(state: &State) -> impl Iterator<Item = Told<'_>> {
    let records = state.removed_frameworks().filter_map(|(_, removed)| removed.record.as_deref());
    records.flat_map(|framework| framework.completed.iter().map(|task| Told::of(task)))
}
