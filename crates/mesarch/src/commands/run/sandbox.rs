//! Where a task's output is: the agent knows.

use std::time::Duration;

use mesarch_client::operator;
use mesarch_client::v1::{Offer, TaskInfo, TaskStatus};
use serde_json::Value;
use tokio::time::timeout;

/// How long the agent may take to tell: this is a courtesy, and the task may be over sooner.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// The folder of the task's executor: as the agent's own `/state` names it, else where it lies in the agent's work
/// folder.
pub(super) async fn find(task: &TaskInfo, offer: &Offer, status: &TaskStatus) -> String {
    let told = timeout(ASK_WITHIN, ask(offer, &task.task_id.value)).await.ok().flatten();
    told.unwrap_or_else(|| format!("{} in the agent's work folder", below_work_dir(task, offer, status)))
}

async fn ask(offer: &Offer, task: &str) -> Option<String> {
    let address = &offer.url.as_ref()?.address;
    let host = address.ip.as_deref().or(address.hostname.as_deref())?;
    let reply = operator::get(&format!("{host}:{}", address.port), "/state").await.ok()?;
    directory(&serde_json::from_slice(&reply.body).ok()?, task)
}

/// The executor of a command has the task's own id.
fn below_work_dir(task: &TaskInfo, offer: &Offer, status: &TaskStatus) -> String {
    let container = status.container_status.as_ref().and_then(|status| status.container_id.as_ref());
    format!(
        "slaves/{}/frameworks/{}/executors/{}/runs/{}",
        offer.agent_id.value,
        offer.framework_id.value,
        task.task_id.value,
        container.map_or("latest", |container| container.value.as_str())
    )
}

fn directory(state: &Value, task: &str) -> Option<String> {
    let frameworks = state["frameworks"].as_array()?.iter();
    let executors = frameworks.filter_map(|framework| framework["executors"].as_array()).flatten();
    let has_task = |executor: &&Value| {
        let tasks = executor["tasks"].as_array();
        tasks.is_some_and(|tasks| tasks.iter().any(|other| other["id"] == task))
    };
    Some(executors.into_iter().find(has_task)?["directory"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executor_that_has_the_task_is_found() {
        let state = serde_json::json!({"frameworks": [{"executors": [
            {"directory": "/a", "tasks": [{"id": "other"}]},
            {"directory": "/b", "tasks": [{"id": "t"}]},
        ]}]});
        assert_eq!(directory(&state, "t").as_deref(), Some("/b"));
        assert_eq!(directory(&state, "absent"), None);
        assert_eq!(directory(&serde_json::json!({}), "t"), None);
    }
}
