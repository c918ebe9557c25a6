//! A master's disk is slow, or its wall clock jumps by hours: nobody else notices.

use anyhow::{Result, ensure};
use mesarch_testkit::{Cluster, OddMachine, Settings, wait_for};

use crate::support::admin::{make_leader, set_weight, status, weights};
use crate::support::steady::Steady;

/// Longer for each sync of the slow disk.
const SYNC_MS: i64 = 100;
/// Changes that are decided while a disk is slow.
const CHANGES: u64 = 20;
const HOUR_S: i64 = 3_600;

/// A cluster of three whose last master runs on an odd machine, and who leads.
async fn with_odd_master(leads: bool) -> Result<(Cluster, OddMachine, usize)> {
    const ODD: usize = 2;
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let machine = OddMachine::build(cluster.dir())?;
    make_leader(&cluster, 0).await?;
    cluster.masters[ODD].terminate().await?;
    cluster.masters[ODD].add_environment(machine.environment());
    cluster.masters[ODD].start()?;
    cluster.wait_until_joined(ODD).await?;
    let leader = if leads { ODD } else { 0 };
    make_leader(&cluster, leader).await?;
    Ok((cluster, machine, leader))
}

async fn slow_disk(leads: bool) -> Result<()> {
    let (cluster, machine, leader) = with_odd_master(leads).await?;
    let address = cluster.masters[leader].address;
    let steady = Steady::start(cluster.addresses(), "steady", 0.0, cluster.dir()).await?;
    let term = status(address).await?.term;
    machine.set(SYNC_MS, 0)?;
    for number in 1..=CHANGES {
        set_weight(address, "changing", number * 1_000).await?;
    }
    ensure!(status(address).await?.term == term, "the leader has changed");
    ensure!(weights(address).await?["changing"] == CHANGES * 1_000, "the last change holds");
    let applied = status(address).await?.applied;
    for master in &cluster.masters {
        wait_for(&format!("all of it at {}", master.name), async || {
            (status(master.address).await.ok()?.applied >= applied).then_some(())
        })
        .await?;
    }
    // A follower may hear of all changes before the first of them is on its disk.
    wait_for("a slow sync", async || machine.felt().ok().filter(|felt| *felt > 0)).await?;
    steady.check_runs().await?;
    ensure!(steady.subscriptions() == 1, "the framework noticed");
    Ok(())
}

async fn clock_jumps() -> Result<()> {
    let (mut cluster, machine, leader) = with_odd_master(true).await?;
    let address = cluster.masters[leader].address;
    let steady = Steady::start(cluster.addresses(), "steady", 0.0, cluster.dir()).await?;
    // It may be away for half an hour.
    let away = Steady::start(cluster.addresses(), "away", HOUR_S as f64 / 2.0, cluster.dir()).await?;
    let away_id = away.id.clone();
    drop(away);
    let term = status(address).await?.term;
    for ahead_s in [HOUR_S, -HOUR_S, 0, 2 * HOUR_S] {
        machine.set(0, ahead_s)?;
        set_weight(address, "changing", 2_000).await?;
        steady.check_runs().await?;
    }
    ensure!(machine.felt()? > 0, "nobody looked at the clock");
    ensure!(status(address).await?.term == term, "the leader has changed");
    ensure!(steady.subscriptions() == 1, "the framework noticed");
    // The next leader's clock is right, and so behind.
    cluster.kill_leader().await?;
    cluster.wait_until_ready().await?;
    steady.check_runs().await?;
    let state = cluster.operator().state().await?;
    steady.check_known(&state)?;
    let list = |name: &str| state[name].as_array().cloned().unwrap_or_default();
    ensure!(list("slaves").iter().all(|agent| agent["active"] == true), "an agent was given up: {state}");
    ensure!(list("frameworks").iter().any(|it| it["id"] == away_id.as_str()), "one has expired: {state}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_slow_delays_nobody() {
    slow_disk(false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_slow_leads_on() {
    slow_disk(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_by_hours_ends_nothing() {
    clock_jumps().await.unwrap();
}
