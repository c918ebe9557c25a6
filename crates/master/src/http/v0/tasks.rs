//! `/tasks`, and tasks wherever they are shown.

use std::io;

use mesarch_proto::{json::text, mesos::v1};
use mesarch_state::{
    State,
    model::{Report, Task},
};
use mesarch_types::{TaskState, resource::Value};
use prost::Message;
use serde::Serialize;

use super::{
    Query,
    frameworks::unreachable_tasks,
    numbers::Amounts,
    out::{self, Out, key},
};
use crate::http::said::{self, StatusSaid, TaskSaid};

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

    /// Writes it straight from the state. An error is never its own.
    pub(super) fn write(self, out: &mut Out<'_>) -> io::Result<()> {
        self.append(out.text())
    }

    fn append(self, out: &mut Vec<u8>) -> io::Result<()> {
        let task = self.task;
        let said = TaskSaid::of(&task.spec.info);
        out.push(b'{');
        out::text(out, "id", task.spec.id.as_str());
        out::text(out, "name", said::text(said.name));
        out::text(out, "framework_id", task.framework.as_str());
        // A command task has none: its executor is the agent's own.
        let executor = task.spec.executor.as_ref().map_or("", |executor| executor.id.as_str());
        out::text(out, "executor_id", executor);
        out::text(out, "slave_id", task.agent.as_str());
        out::text(out, "state", self.state.name());
        key(out, "resources");
        resources(task, out)?;
        if said.has_limits {
            key(out, "limits");
            serde_json::to_writer(&mut *out, &limits(&task.spec.info))?;
        }
        out::text(out, "role", task.role.as_str());
        key(out, "statuses");
        out.push(b'[');
        for report in &task.statuses {
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            status(report, out);
        }
        out.push(b']');
        options(&said, out);
        out.push(b'}');
        Ok(())
    }
}

/// What it holds.
fn resources(task: &Task, out: &mut Vec<u8>) -> io::Result<()> {
    let mut usual = [0_i64; Amounts::ALWAYS.len()];
    for resource in task.spec.resources.iter() {
        let place = Amounts::ALWAYS.iter().position(|name| **name == *resource.name);
        match (place, &resource.value) {
            (Some(place), Value::Scalar(amount)) if !resource.revocable => {
                usual[place] = usual[place].saturating_add(amount.thousandths());
            }
            _ => return Ok(serde_json::to_writer(out, &Amounts::of([&task.spec.resources]))?),
        }
    }
    out.push(b'{');
    for (name, amount) in Amounts::ALWAYS.iter().zip(usual) {
        key(out, name);
        text::thousandths(out, amount);
    }
    out.push(b'}');
    Ok(())
}

/// What most tasks do not have.
fn options(said: &TaskSaid<'_>, out: &mut Vec<u8>) {
    if let Some(user) = said.user() {
        out::text(out, "user", said::text(user));
    }
    if let Some(labels) = said.labels {
        out::messages::<v1::Label>(out, "labels", said::each(labels, 1));
    }
    if let Some(discovery) = said.discovery {
        out::message::<v1::DiscoveryInfo>(out, "discovery", discovery);
    }
    if let Some(container) = said.container {
        out::message::<v1::ContainerInfo>(out, "container", container);
    }
    if let Some(health_check) = said.health_check {
        out::message::<v1::HealthCheck>(out, "health_check", health_check);
    }
}

fn status(report: &Report, out: &mut Vec<u8>) {
    let said = StatusSaid::of(report);
    out.push(b'{');
    out::text(out, "state", report.state.name());
    key(out, "timestamp");
    text::double(out, said.made(report));
    if let Some(labels) = said.labels {
        out::messages::<v1::Label>(out, "labels", said::each(labels, 1));
    }
    if let Some(container) = said.container {
        key(out, "container_status");
        container_status(container, out);
    }
    if let Some(healthy) = said.healthy {
        key(out, "healthy");
        out.extend_from_slice(if healthy { b"true" } else { b"false" });
    }
    out.push(b'}');
}

fn container_status(container: &[u8], out: &mut Vec<u8>) {
    const NETWORKS: u32 = 1;
    out.push(b'{');
    if let Some(id) = said::inner(container, 4) {
        out::message::<v1::ContainerId>(out, "container_id", id);
    }
    if said::inner(container, NETWORKS).is_some() {
        out::messages::<v1::NetworkInfo>(out, "network_infos", said::each(container, NETWORKS));
    }
    if let Some(cgroup) = said::inner(container, 2) {
        out::message::<v1::CgroupInfo>(out, "cgroup_info", cgroup);
    }
    out.push(b'}');
}

fn limits(info: &bytes::Bytes) -> serde_json::Map<String, serde_json::Value> {
    let info = v1::TaskInfo::decode(info.clone()).unwrap_or_default();
    let value = |limit: f64| match limit.is_finite() {
        true => limit.into(),
        false => "Infinity".into(),
    };
    info.limits.iter().map(|(name, limit)| (name.clone(), value(limit.value))).collect()
}

/// Live, unreachable and completed tasks of all frameworks, the newest first.
pub(super) fn list(state: &State, query: &Query, out: &mut Out<'_>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Empty {}
    let number =
        |name: &str, default: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (limit, offset) = (number("limit", LIMIT), number("offset", 0));
    let all = state.frameworks().flat_map(|framework| {
        let live = state.tasks_of(&framework.id).map(Told::of);
        let completed = framework.completed.iter().map(|task| Told::of(task));
        live.chain(unreachable_tasks(state, framework)).chain(completed)
    });
    let mut tasks: Vec<(f64, Told<'_>)> = all
        .chain(removed(state))
        .filter(|told| query.get("framework_id").is_none_or(|only| told.task.framework.as_str() == only))
        .filter(|told| query.get("task_id").is_none_or(|only| told.task.spec.id.as_str() == only))
        .map(|told| (began(told.task), told))
        .collect();
    tasks.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    if query.get("order") != Some("asc") {
        tasks.reverse();
    }
    let shown = tasks.into_iter().skip(offset).take(limit);
    let lists = |out: &mut Out<'_>| out.list("tasks", shown, |(_, told), out| told.write(out));
    out.object(&Empty {}, lists, &Empty {})
}

/// When its first status was made.
fn began(task: &Task) -> f64 {
    let first = task.statuses.first();
    first.map_or(0.0, |report| StatusSaid::of(report).made(report))
}

fn removed(state: &State) -> impl Iterator<Item = Told<'_>> {
    let records = state.removed_frameworks().filter_map(|(_, removed)| removed.record.as_deref());
    records.flat_map(|framework| framework.completed.iter().map(|task| Told::of(task)))
}
