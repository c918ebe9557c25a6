//! Where a task's output is: the agent knows.

use std::time::Duration;

use mesarch_client::operator;
use mesarch_client::v1::{Offer, TaskInfo, TaskStatus};
use serde_json::Value;
use tokio::time::timeout;

/// How long the agent may take to tell: this is a courtesy, and the task may be over sooner.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// The folder of the task's executor, absolute, as the agent itself names it; without its answer, where it lies in the
/// agent's work folder. None if the task got no sandbox.
pub(super) async fn find(task: &TaskInfo, offer: &Offer, status: &TaskStatus) -> Option<String> {
    let container = status.container_status.as_ref()?.container_id.as_ref()?.value.as_str();
    let told = timeout(ASK_WITHIN, ask(offer, container)).await.ok().flatten();
    Some(
        told.unwrap_or_else(|| {
            format!("{} in the agent's work folder", below_work_dir(task, offer, container))
        }),
    )
}

async fn ask(offer: &Offer, container: &str) -> Option<String> {
    let address = &offer.url.as_ref()?.address;
    let host = address.ip.as_deref().or(address.hostname.as_deref())?;
    let reply = operator::get(&format!("{host}:{}", address.port), "/state").await.ok()?;
    directory(&serde_json::from_slice(&reply.body).ok()?, container)
}

/// The executor of a command has the task's own id.
fn below_work_dir(task: &TaskInfo, offer: &Offer, container: &str) -> String {
    format!(
        "slaves/{}/frameworks/{}/executors/{}/runs/{container}",
        offer.agent_id.value, offer.framework_id.value, task.task_id.value,
    )
}

/// Of the executor in `container`, which may have ended, and its framework with it.
fn directory(state: &Value, container: &str) -> Option<String> {
    let lists = |value: &Value, keys: [&str; 2]| -> Vec<Value> {
        keys.iter().filter_map(|key| value[*key].as_array()).flatten().cloned().collect()
    };
    let frameworks = lists(state, ["frameworks", "completed_frameworks"]);
    let mut executors =
        frameworks.iter().flat_map(|framework| lists(framework, ["executors", "completed_executors"]));
    let wanted = executors.find(|executor| executor["container"] == container)?;
    Some(wanted["directory"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executor_is_found_while_it_runs_and_after() {
        let state = serde_json::json!({
            "frameworks": [{"executors": [{"directory": "/a", "container": "1"}, {"directory": "/b", "container": "2"}]}],
            "completed_frameworks": [{"completed_executors": [{"directory": "/c", "container": "3"}]}],
        });
        for (container, expect) in [("2", Some("/b")), ("3", Some("/c")), ("4", None)] {
            assert_eq!(directory(&state, container).as_deref(), expect);
        }
        assert_eq!(directory(&serde_json::json!({}), "1"), None);
    }
}
