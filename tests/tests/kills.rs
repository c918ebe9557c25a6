//! The leader is killed twenty times in a row while tasks are launched.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use mesarch_client::build::framework;
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_testkit::{Cluster, Settings, wait_for};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::allocation::check_allocation;
use crate::support::fleet::Fleet;

const KILLS: usize = 20;
const CPUS: f64 = 4.0;

/// A framework that declines everything; tells how many offers it got.
async fn bystander(masters: Vec<String>) -> Result<(watch::Receiver<usize>, JoinHandle<()>)> {
    let mut scheduler = Scheduler::connect(Options::new(masters, framework("bystander"))).await?;
    let (sender, offers) = watch::channel(0);
    let task = tokio::spawn(async move {
        while let Ok(event) = scheduler.next().await {
            if let Event::Offers(offers) = event {
                sender.send_modify(|count| *count += offers.len());
                // An offer that a failover has made void may be declined in vain.
                drop(scheduler.calls().decline_all(&offers, Some(Duration::from_millis(200))).await);
            }
        }
    });
    Ok((offers, task))
}

async fn kill_the_leader_again_and_again() -> Result<()> {
    let settings =
        Settings { agent_flags: vec![format!("--resources=cpus:{CPUS};mem:2048")], ..Settings::default() };
    let mut cluster = Cluster::start(3, 1, settings).await?;
    let file = cluster.dir().join("marks");
    let fleet = Arc::new(Fleet::start(cluster.addresses(), &file, "sleep 0.1").await?);
    let (mut offers, bystander) = bystander(cluster.addresses()).await?;
    for round in 0..KILLS {
        // Another place among the launches in each round.
        fleet.wait_for_more(1 + round % 5).await?;
        let dead = cluster.kill_leader().await?;
        let state =
            wait_for("a state from the next leader", async || cluster.operator().state().await.ok()).await?;
        check_allocation(&state)?;
        fleet.check_all_known().await?;
        offers.mark_unchanged();
        cluster.masters[dead].start()?;
        wait_for("an offer to everyone", async || offers.has_changed().ok()?.then_some(())).await?;
        fleet.wait_for_offers(1).await?;
        cluster.wait_until_joined(dead).await?;
        check_allocation(&cluster.operator().state().await?)?;
    }
    cluster.wait_until_ready().await?;
    fleet.settle().await?;
    check_allocation(&cluster.operator().state().await?)?;
    bystander.abort();
    fleet.check()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_dead_leaders_lose_and_double_nothing() {
    kill_the_leader_again_and_again().await.unwrap();
}
