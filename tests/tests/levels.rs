//! A cluster of older masters goes on to the newer feature level by itself, once the last of them is a newer one.
//!
//! Masters that claim to know the first level only stand for older ones.

use anyhow::{Result, ensure};
use mesarch_testkit::{Cluster, Settings, wait_for};

use crate::support::admin::{make_leader, set_weight, status};

const OLD: &str = "--feature-level-max=1";
const NEW_LEVEL: u32 = 5;

async fn levels(cluster: &Cluster) -> Option<Vec<u32>> {
    let mut levels = Vec::new();
    for master in &cluster.masters {
        levels.push(status(master.address).await.ok()?.level);
    }
    Some(levels)
}

async fn wait_for_levels(cluster: &Cluster, expect: u32) -> Result<()> {
    wait_for(&format!("feature level {expect} everywhere"), async || {
        levels(cluster).await?.into_iter().all(|level| level == expect).then_some(())
    })
    .await
}

async fn restart(cluster: &mut Cluster, who: usize) -> Result<()> {
    cluster.masters[who].terminate().await?;
    cluster.masters[who].start()?;
    cluster.wait_until_joined(who).await
}

async fn rolling_upgrade() -> Result<()> {
    let settings = Settings { master_flags: vec![OLD.to_owned()], ..Settings::default() };
    let mut cluster = Cluster::start(3, 0, settings).await?;
    wait_for_levels(&cluster, 1).await?;
    for who in 0..3 {
        ensure!(
            levels(&cluster).await.is_none_or(|levels| levels.iter().all(|level| *level == 1)),
            "too early"
        );
        cluster.masters[who].forget_flag(OLD);
        restart(&mut cluster, who).await?;
        // Whoever leads asks the others: here one that knows more and hears from all.
        make_leader(&cluster, who).await?;
        set_weight(cluster.masters[who].address, "eng", 1000 + who as u64).await?;
    }
    wait_for_levels(&cluster, NEW_LEVEL).await?;
    cluster.kill_leader().await?;
    for master in &mut cluster.masters {
        master.kill()?;
        // They know it all the same, and the cluster is on it: what they claim is of no effect any more.
        master.add_flag(OLD);
        master.start()?;
    }
    cluster.wait_for_leader().await?;
    wait_for_levels(&cluster, NEW_LEVEL).await?;
    let rose = |log: &str| log.matches("the feature level rises").count();
    let rises: usize = cluster.masters.iter().map(|master| rose(&master.log())).sum();
    ensure!(rises == 1, "it rose {rises} times");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feature_level_rises_once_with_the_last_master_and_stays_through_failovers() {
    rolling_upgrade().await.unwrap();
}
