//! Waits for a leader and its agents.

use std::time::Duration;

use anyhow::{Result, bail};
use mesarch_client::operator::Operator;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Cluster;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The leader's address, once it serves and as many agents are attached as there are. Fails when a process ends.
pub(super) async fn wait(cluster: &mut Cluster, within: Duration) -> Result<String> {
    let operator = Operator::new(cluster.master_addresses());
    let deadline = Instant::now() + within;
    loop {
        let missing = match operator.state().await {
            Ok(state) => match (leader_of(&operator).await, active_agents(&state)) {
                (Some(leader), attached) if attached >= cluster.agents.len() => return Ok(leader),
                (_, attached) => format!("{attached} of {} agents are attached", cluster.agents.len()),
            },
            Err(error) => error.to_string(),
        };
        fail_if_ended(cluster)?;
        if Instant::now() >= deadline {
            bail!("not ready after {} s: {missing}", within.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn leader_of(operator: &Operator) -> Option<String> {
    operator.leader().await.ok()
}

/// Agents that the leader counts as active, in a `/state`.
pub(crate) fn active_agents(state: &Value) -> usize {
    let agents = state.get("slaves").and_then(Value::as_array);
    agents.map_or(0, |agents| agents.iter().filter(|agent| agent["active"] == true).count())
}

fn fail_if_ended(cluster: &mut Cluster) -> Result<()> {
    for child in cluster.masters.iter_mut().chain(&mut cluster.agents) {
        if let Some(how) = child.newly_ended() {
            bail!("{how}; its log ends with: {}", child.log_tail());
        }
    }
    Ok(())
}
