//! Waits for a cluster to be complete.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesarch_client::readiness;
use tokio::time::{Instant, sleep};

use super::Cluster;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The leader's address, once all masters name it and every agent is attached to it. Fails when a process ends.
pub(super) async fn wait(cluster: &mut Cluster, within: Duration) -> Result<String> {
    let (masters, agents) = (cluster.master_addresses(), cluster.agent_addresses());
    let deadline = Instant::now() + within;
    loop {
        let missing = match readiness::look(&masters, &agents).await {
            Ok(leader) => return Ok(leader),
            Err(missing) => missing,
        };
        fail_if_ended(cluster)?;
        if Instant::now() >= deadline {
            return Err(missing).with_context(|| format!("not ready after {} s", within.as_secs()));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn fail_if_ended(cluster: &mut Cluster) -> Result<()> {
    for child in cluster.masters.iter_mut().chain(&mut cluster.agents) {
        if let Some(how) = child.newly_ended() {
            bail!("{how}; its log ends with: {}", child.log_tail());
        }
    }
    Ok(())
}
