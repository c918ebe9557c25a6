//! A cluster goes on from a backup, or from what one master has left, by the commands of the runbook; tasks run on.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Cluster, Node, Settings, wait_for};
use serde_json::Value;

use super::command::run;
use super::members::{commands, follow};
use crate::support::admin::{set_weight, status, weights};
use crate::support::steady::Steady;

/// Runs all commands of a section of the runbook.
async fn by_the_runbook(masters: &str, section: &str, names: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for command in commands(section)? {
        let ended = follow(masters, &command, names).await?;
        ensure!(ended.status == 0, "{command}: {ended:?}");
        out.push(ended.out);
    }
    Ok(out)
}

async fn kill_all(cluster: &mut Cluster) -> Result<()> {
    cluster.masters.iter().try_for_each(Node::pause)?;
    cluster.masters.iter_mut().try_for_each(Node::kill)
}

/// Starts a master on another data directory and under another number, at the addresses of the one at `index`.
fn start_as(cluster: &mut Cluster, index: usize, node: u64, dir: &Path) -> Result<()> {
    let master = &mut cluster.masters[index];
    master.forget_flag("--node-id");
    master.forget_flag("--data-dir");
    master.add_flag(&format!("--node-id={node}"));
    master.add_flag(&format!("--data-dir={}", dir.display()));
    master.start()
}

/// The addresses of a member under another number.
fn renumbered(cluster: &Cluster, index: usize, node: u64) -> Result<String> {
    let member = cluster.member(index);
    let (_, addresses) = member.split_once('=').context("number=addresses")?;
    Ok(format!("{node}={addresses}"))
}

async fn set(cluster: &Cluster, role: &str) -> Result<()> {
    let leader = cluster.wait_for_leader().await?;
    set_weight(cluster.masters[leader].address, role, 2_000).await
}

async fn restore() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let masters = cluster.addresses().join(",");
    let known = Steady::start(cluster.addresses(), "known", 0.0, cluster.dir()).await?;
    set(&cluster, "before").await?;
    let (file, dir) = (cluster.dir().join("backup"), cluster.dir().join("restored"));
    let names = [("FILE", file.display().to_string())];
    let names: Vec<(&str, &str)> = names.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let told = by_the_runbook(&masters, "Back up", &names).await?;
    let facts: Value = serde_json::from_str(told.last().context("it inspects the backup")?)?;
    ensure!(facts["checksum"] == "good" && facts["tasks"] == 1, "{facts}");
    let over = follow(&masters, "snapshot save FILE", &names).await?;
    ensure!(over.status == 2 && over.err.contains("is there already"), "{over:?}");
    let follower = (cluster.wait_for_leader().await? + 1) % 3;
    let stale = cluster.dir().join("stale").display().to_string();
    let asked = cluster.masters[follower].address.to_string();
    let saved = run(&asked, &["snapshot", "save", &stale, "--stale"]).await?;
    ensure!(saved.status == 0 && saved.out.contains(&format!("from master {}", follower + 1)), "{saved:?}");
    set(&cluster, "after").await?;

    kill_all(&mut cluster).await?;
    let (member, place) = (renumbered(&cluster, 0, 4)?, dir.display().to_string());
    let backup = file.display().to_string();
    let names = [("NEW=HOST:5052/5050", member.as_str()), ("FILE", &backup), ("DIR", &place)];
    by_the_runbook("", "Restore a backup", &names).await?;
    let again =
        follow("", "snapshot restore FILE --data-dir DIR --member NEW=HOST:5052/5050", &names).await?;
    ensure!(again.status == 2 && again.err.contains("not empty"), "{again:?}");
    start_as(&mut cluster, 0, 4, &dir)?;
    cluster.wait_until_ready().await?;
    known.check_runs().await?;
    wait_for("the task to be known", async || {
        known.check_known(&cluster.operator().state().await.ok()?).ok()
    })
    .await?;
    let address = cluster.masters[0].address;
    let left = weights(address).await?;
    ensure!(left.contains_key("before") && !left.contains_key("after"), "{left:?}");
    ensure!(status(address).await?.incarnation > 1, "it is another incarnation");

    // One of the old masters finds nobody who listens to it.
    cluster.masters[1].start()?;
    grow(&mut cluster, &address.to_string(), 5).await?;
    known.check_runs().await?;
    ensure!(weights(address).await?.contains_key("before"), "the cluster goes on");
    Ok(())
}

/// Adds a master and lets it vote: it is sent the state that the cluster began from.
async fn grow(cluster: &mut Cluster, masters: &str, number: u64) -> Result<()> {
    let new = cluster.add_master(&[])?;
    let dir = cluster.dir().join("grown");
    cluster.masters[new].kill()?;
    let member = renumbered(cluster, new, number)?;
    start_as(cluster, new, number, &dir)?;
    let number = number.to_string();
    for command in [&["members", "add", &member], &["members", "promote", &number]] {
        let ended = run(masters, command).await?;
        ensure!(ended.status == 0, "{command:?}: {ended:?}");
    }
    Ok(())
}

async fn recover() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let steady = Steady::start(cluster.addresses(), "steady", 0.0, cluster.dir()).await?;
    set(&cluster, "kept").await?;
    let leader = cluster.wait_for_leader().await?;
    let goal = status(cluster.masters[leader].address).await?.applied;
    wait_for("the last master to have it all", async || {
        (status(cluster.masters[2].address).await.ok()?.applied >= goal).then_some(())
    })
    .await?;
    kill_all(&mut cluster).await?;
    let (old, new) = (cluster.data_dir(2).display().to_string(), cluster.dir().join("recovered"));
    let (member, place) = (renumbered(&cluster, 2, 7)?, new.display().to_string());
    let names = [("OLD_DIR", old.as_str()), ("NEW=HOST:5052/5050", &member), ("DIR", &place)];
    let bare =
        follow("", "recover --from OLD_DIR --data-dir DIR --member NEW=HOST:5052/5050", &names).await?;
    ensure!(bare.status == 2 && bare.err.contains("--i-accept-losing") && !new.exists(), "{bare:?}");
    let told = by_the_runbook("", "When a majority of the masters is lost for good", &names).await?;
    ensure!(told[0].contains("1 agents, 1 frameworks, 1 tasks"), "{told:?}");
    start_as(&mut cluster, 2, 7, &new)?;
    cluster.wait_until_ready().await?;
    steady.check_runs().await?;
    wait_for("the task to be known", async || {
        steady.check_known(&cluster.operator().state().await.ok()?).ok()
    })
    .await?;
    let address = cluster.masters[2].address;
    ensure!(weights(address).await?.contains_key("kept"), "what it had is there");
    grow(&mut cluster, &address.to_string(), 8).await?;
    set(&cluster, "new").await?;
    steady.check_runs().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_from_a_backup_and_tasks_run_on() {
    restore().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_a_quorum_goes_on_from_one_master_that_is_left() {
    recover().await.unwrap();
}
