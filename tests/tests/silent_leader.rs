//! A leader that stands still without a word: its process lives, its connections stay open, and nothing comes.

use std::time::Duration;

use anyhow::{Result, ensure};
use mesarch_testkit::{Cluster, Settings, wait_for_within};

use crate::support::steady::Steady;

/// Far below the time after which missing heartbeats alone would end a scheduler's stream (45 s).
const MOVED_WITHIN: Duration = Duration::from_secs(20);

async fn pause_the_leader() -> Result<()> {
    let cluster = Cluster::start(3, 1, Settings::default()).await?;
    let steady = Steady::start(cluster.addresses(), "steady", 0.0, cluster.dir()).await?;
    let silent = cluster.wait_for_leader().await?;
    cluster.masters[silent].pause()?;
    let moved = async || (steady.subscriptions() == 2).then_some(());
    wait_for_within(MOVED_WITHIN, "the framework at the next leader", moved).await?;
    steady.check_runs().await?;
    cluster.masters[silent].resume()?;
    // What it said and heard in its own time counts for nothing now.
    cluster.wait_until_joined(silent).await?;
    let leader = cluster.wait_for_leader().await?;
    ensure!(leader != silent, "the leader of an old term leads on");
    steady.check_known(&cluster.operator().state().await?)?;
    steady.check_runs().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frameworks_and_tasks_go_on_when_the_leader_falls_silent() {
    pause_the_leader().await.unwrap();
}
