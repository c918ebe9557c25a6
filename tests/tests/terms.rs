//! A leader that was killed has no leadership to come back to.
//!
//! It sends entries out while its own disk still writes them. If it led on in its old term, it would lack entries that
//! others hold, or that are committed, and give their numbers to new ones.

use anyhow::{Result, ensure};
use mesarch_testkit::{Cluster, Settings};

use crate::support::admin::status;

async fn kill_and_restart() -> Result<()> {
    let mut cluster = Cluster::start(1, 0, Settings::default()).await?;
    let address = cluster.masters[0].address;
    for _ in 0..3 {
        let before = status(address).await?;
        ensure!(before.leading, "the only master leads: {before:?}");
        cluster.masters[0].kill()?;
        cluster.masters[0].start()?;
        cluster.wait_for_leader().await?;
        let after = status(address).await?;
        ensure!(after.term > before.term, "led on in term {} after a restart", before.term);
        ensure!(after.applied > before.applied, "entries are lost: {} of {}", after.applied, before.applied);
    }
    Ok(())
}

#[tokio::test]
async fn a_leader_that_was_killed_leads_again_only_in_a_new_term() {
    kill_and_restart().await.unwrap();
}
