//! All masters are killed at once, under load; what was acknowledged is there when they are back.

use anyhow::{Result, ensure};
use mesarch_testkit::{Cluster, Node, Settings, wait_for};

use crate::support::allocation::{all_tasks, check_allocation};
use crate::support::fleet::Fleet;
use crate::support::steady::Steady;

const ROUNDS: usize = 3;

/// Kills all of them; none acts on another's end, because all stand still first.
fn kill_all(masters: &mut [Node]) -> Result<()> {
    masters.iter().try_for_each(Node::pause)?;
    masters.iter_mut().try_for_each(Node::kill)
}

async fn kill_all_at_once() -> Result<()> {
    let settings = Settings {
        master_flags: vec!["--allocation-interval=200ms".to_owned()],
        agent_flags: vec!["--resources=cpus:4;mem:2048".to_owned()],
        ..Settings::default()
    };
    let mut cluster = Cluster::start(3, 1, settings).await?;
    let steady = Steady::start(cluster.addresses(), "steady", 0.0, cluster.dir()).await?;
    let file = cluster.dir().join("marks");
    let fleet = Fleet::start(cluster.addresses(), &file, "sleep 0.5").await?;
    for _ in 0..ROUNDS {
        fleet.wait_for_more(10).await?;
        kill_all(&mut cluster.masters)?;
        // Nobody is told of an end while nobody leads.
        let live = fleet.live();
        steady.check_runs().await?;
        cluster.masters.iter_mut().try_for_each(Node::start)?;
        let first = wait_for("an answer to /state", async || cluster.operator().state().await.ok()).await?;
        steady.check_known(&first)?;
        check_allocation(&first)?;
        let known = all_tasks(&first);
        let missing: Vec<_> = live.iter().filter(|id| !known.contains(id.as_str())).collect();
        ensure!(missing.is_empty(), "accepted and live, but not in the first /state: {missing:?}");
        fleet.check_all_known().await?;
        cluster.wait_until_ready().await?;
    }
    fleet.wait_for_more(5).await?;
    steady.check_runs().await?;
    fleet.settle().await?;
    fleet.check()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_all_masters_die_at_once() {
    kill_all_at_once().await.unwrap();
}
