//! A master that was away for longer than the leader's log reaches back gets a snapshot over the network, and has then
//! the state that the others have, byte for byte.

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Cluster, Node, Settings, wait_for};
use serde_json::{Value, json};

use crate::support::admin::{make_leader, metric, set_weight, status, weights};
use crate::support::steady::Steady;

const SNAPSHOT_ENTRIES: u64 = 20;
/// Committed while one master is away: several snapshots' worth.
const MISSED: u64 = 5 * SNAPSHOT_ENTRIES;
const AGREED: &str = "mesarch_state_digest_checks_total{result=\"agreed\"}";
const DIFFERED: &str = "mesarch_state_digest_checks_total{result=\"differed\"}";

/// Commits `numbers` one after another, each in an entry of its own.
async fn commit(cluster: &Cluster, numbers: std::ops::Range<u64>) -> Result<()> {
    let leader = cluster.masters[cluster.wait_for_leader().await?].address;
    for number in numbers {
        set_weight(leader, &format!("role-{}", number % 7), number).await?;
    }
    Ok(())
}

/// Commits until a master has found that its state is a majority's.
async fn wait_until_it_agrees(cluster: &Cluster, who: usize) -> Result<()> {
    let address = cluster.masters[who].address;
    let before = metric(address, AGREED).await?;
    wait_for(&format!("{} to compare its state", cluster.masters[who].name), async || {
        commit(cluster, 1..2).await.ok()?;
        (metric(address, AGREED).await.ok()? > before).then_some(())
    })
    .await?;
    for master in &cluster.masters {
        ensure!(metric(master.address, DIFFERED).await? == 0.0, "{} differs", master.name);
    }
    Ok(())
}

/// What a leader tells of the cluster's agents, frameworks, tasks and weights, without what each leader counts anew.
async fn told_by(cluster: &Cluster, who: usize) -> Result<Value> {
    make_leader(cluster, who).await?;
    let state = cluster.operator().state().await?;
    let agents = state["slaves"].as_array().context("agents")?.iter();
    let agents = agents.map(|agent| [&agent["id"], &agent["resources"], &agent["used_resources"]]);
    let frameworks = state["frameworks"].as_array().context("frameworks")?.iter();
    let frameworks =
        frameworks.map(|known| [&known["id"], &known["name"], &known["used_resources"], &known["tasks"]]);
    let (agents, frameworks): (Vec<_>, Vec<_>) = (agents.collect(), frameworks.collect());
    let weights = weights(cluster.masters[who].address).await?;
    Ok(json!({ "agents": agents, "frameworks": frameworks, "weights": weights }))
}

async fn check_all_tell_the_same(cluster: &mut Cluster, steady: &Steady, first: usize) -> Result<()> {
    wait_until_it_agrees(cluster, first).await?;
    let expect = told_by(cluster, first).await?;
    ensure!(expect["frameworks"].as_array().is_some_and(|known| known.len() == 1), "{expect}");
    for who in 0..cluster.masters.len() {
        let told = told_by(cluster, who).await?;
        ensure!(told == expect, "{} tells {told}, and not {expect}", cluster.masters[who].name);
        cluster.wait_until_ready().await?;
        steady.check_known(&cluster.operator().state().await?)?;
    }
    steady.check_runs().await
}

async fn catch_up_by_snapshot() -> Result<()> {
    let flags =
        [format!("--snapshot-entries={SNAPSHOT_ENTRIES}"), "--state-digest-interval=100ms".to_owned()];
    let settings = Settings { master_flags: flags.into(), ..Settings::default() };
    let mut cluster = Cluster::start(3, 1, settings).await?;
    let steady = Steady::start(cluster.addresses(), "steady", 60.0, cluster.dir()).await?;
    let leader = cluster.wait_for_leader().await?;
    let away = (leader + 1) % 3;
    let had = status(cluster.masters[away].address).await?;
    cluster.masters[away].terminate().await?;
    commit(&cluster, 1..MISSED).await?;
    let address = cluster.masters[leader].address;
    wait_for("the leader to purge what the other lacks", async || {
        let now = status(address).await.ok()?;
        (now.purged > had.applied + SNAPSHOT_ENTRIES).then_some(())
    })
    .await?;
    cluster.masters[away].start()?;
    cluster.wait_until_joined(away).await?;
    let address = cluster.masters[away].address;
    // The entries that it lacks are nowhere any more: this can only be a snapshot of another's.
    wait_for("the snapshot", async || {
        (status(address).await.ok()?.snapshot > had.applied + SNAPSHOT_ENTRIES).then_some(())
    })
    .await?;
    check_all_tell_the_same(&mut cluster, &steady, away).await?;
    for master in &mut cluster.masters {
        master.terminate().await?;
    }
    cluster.masters.iter_mut().try_for_each(Node::start)?;
    cluster.wait_until_ready().await?;
    check_all_tell_the_same(&mut cluster, &steady, away).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_began_again_from_a_snapshot_tells_what_the_others_tell() {
    catch_up_by_snapshot().await.unwrap();
}
