//! One task, as tools read it.

use mesarch_agent_core::{Body, TaskKey, Update};
use mesarch_proto::mesos::v1::{Resource, TaskInfo, TaskStatus};
use prost::Message;
use serde_json::{Map, Value, json};

use super::{amounts::amounts, copy, json_of, resources, task_info};
use crate::{
    history::Told,
    status::{Renderer, seconds},
};

/// A task that its executor has, or had.
pub(super) fn view(key: &TaskKey, told: &Told, renderer: &Renderer) -> Value {
    let info = task_info(told);
    let message = json_of(&info);
    let mut view = common(key, &info, renderer);
    view["framework_id"] = json!(key.framework.as_str());
    // A command task has none: its executor is the agent's own.
    view["executor_id"] =
        json!(info.executor.as_ref().map_or("", |executor| executor.executor_id.value.as_str()));
    view["state"] = json!(told.state.name());
    view["statuses"] = told.statuses.iter().map(status).collect();
    if !info.limits.is_empty() {
        view["limits"] = limits(&info);
    }
    let executor_command = info.executor.as_ref().and_then(|executor| executor.command.as_ref());
    if let Some(user) = info.command.as_ref().or(executor_command).and_then(|command| command.user.as_ref()) {
        view["user"] = json!(user);
    }
    if let Some(labels) = message.pointer("/labels/labels") {
        view["labels"] = labels.clone();
    }
    copy(&message, &["discovery", "container", "health_check"], &mut view);
    view
}

/// A task that waits for its executor.
pub(super) fn queued(key: &TaskKey, told: &Told, renderer: &Renderer) -> Value {
    let info = task_info(told);
    let message = json_of(&info);
    let mut view = common(key, &info, renderer);
    if let Some(executor) = &info.executor {
        view["executor_id"] = json!(executor.executor_id.value);
    }
    if let Some(command) = message.get("command") {
        view["command"] = show_command(command);
    }
    copy(&message, &["discovery"], &mut view);
    view
}

fn common(key: &TaskKey, info: &TaskInfo, renderer: &Renderer) -> Value {
    json!({
        "id": key.task.as_str(),
        "name": info.name,
        "slave_id": renderer.agent.as_ref().map(|id| id.as_str()).unwrap_or_default(),
        "resources": amounts(&resources(&info.resources)),
        "role": role_of(&info.resources),
    })
}

/// The role that the resources were given to.
pub(super) fn role_of(list: &[Resource]) -> String {
    let allocation = list.iter().find_map(|resource| resource.allocation_info.as_ref());
    allocation.and_then(|info| info.role.clone()).unwrap_or_else(|| "*".to_owned())
}

fn limits(info: &TaskInfo) -> Value {
    let value = |limit: f64| if limit.is_finite() { json!(limit) } else { json!("Infinity") };
    let limits = info.limits.iter().map(|(name, limit)| (name.clone(), value(limit.value)));
    Value::Object(limits.collect::<Map<_, _>>())
}

fn show_command(command: &Value) -> Value {
    let uris = command.get("uris").and_then(Value::as_array).into_iter().flatten();
    let uri = |uri: &Value| json!({ "value": uri["value"], "executable": uri["executable"] == true });
    let mut shown = json!({
        "argv": command.get("arguments").cloned().unwrap_or_else(|| json!([])),
        "uris": uris.map(uri).collect::<Vec<_>>(),
    });
    copy(command, &["shell", "value", "environment"], &mut shown);
    shown
}

fn status(update: &Update) -> Value {
    let told = match &update.body {
        Body::Executor(status) => TaskStatus::decode(status.clone()).unwrap_or_default(),
        Body::Agent { .. } => TaskStatus::default(),
    };
    let message = json_of(&told);
    let mut view = json!({
        "state": update.state.name(),
        "timestamp": told.timestamp.unwrap_or_else(|| seconds(update.wall)),
    });
    if let Some(labels) = message.pointer("/labels/labels") {
        view["labels"] = labels.clone();
    }
    if let Some(container) = message.get("container_status") {
        let mut shown = json!({});
        copy(container, &["container_id", "network_infos", "cgroup_info"], &mut shown);
        view["container_status"] = shown;
    }
    copy(&message, &["healthy"], &mut view);
    view
}
