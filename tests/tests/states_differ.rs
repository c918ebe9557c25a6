//! A master whose state is damaged, in a way that no checksum can show, is found out and stops; the others go on.

use anyhow::{Context, Result, ensure};
use mesarch_state::command::SetWeights;
use mesarch_state::{Command, snapshot};
use mesarch_storage::SnapshotStore;
use mesarch_testkit::{Cluster, Settings, wait_for};
use mesarch_types::{At, Role, Weight};

use crate::support::admin::{set_weight, status};

/// Puts a weight that nobody set into the newest snapshot of a data directory, which is as sound as before otherwise.
fn damage(data_dir: &std::path::Path) -> Result<()> {
    let store = SnapshotStore::open(&data_dir.join("snapshots"))?;
    let newest = store.newest().context("there is a snapshot")?;
    let mut state = snapshot::decode(&mut newest.state()?)?;
    let weights = vec![(Role::from("nobody"), Weight::from_thousandths(7)?)];
    let last = newest.meta().last_log_id.context("it covers entries")?;
    let at = At { index: last.index, position: 0, term: state.term(), now: state.now(), wall: state.wall() };
    state.apply(at, Command::SetWeights(SetWeights { weights }));
    store.write(newest.meta(), |out| snapshot::encode(&state, out))?;
    Ok(())
}

async fn stop_the_damaged() -> Result<()> {
    let flags = ["--snapshot-entries=10".to_owned(), "--state-digest-interval=100ms".to_owned()];
    let settings = Settings { master_flags: flags.into(), ..Settings::default() };
    let mut cluster = Cluster::start(3, 0, settings).await?;
    let leader = cluster.wait_for_leader().await?;
    let wrong = (leader + 1) % 3;
    let address = cluster.masters[leader].address;
    for number in 1..40 {
        set_weight(address, "eng", number).await?;
    }
    let has_snapshot =
        async || (status(cluster.masters[wrong].address).await.ok()?.snapshot > 0).then_some(());
    wait_for("a snapshot", has_snapshot).await?;
    cluster.masters[wrong].terminate().await?;
    damage(&cluster.dir().join(&cluster.masters[wrong].name))?;
    // It may be found out as soon as it has joined.
    cluster.masters[wrong].start()?;
    let mut number = 100;
    let ended = wait_for("the damaged master to stop", async || {
        number += 1;
        if let Some(leader) = cluster.leader().await {
            drop(set_weight(cluster.masters[leader].address, "eng", number).await);
        }
        cluster.masters[wrong].ended()
    })
    .await?;
    ensure!(ended.code() == Some(1), "it ends with {ended}");
    let log = cluster.masters[wrong].log();
    ensure!(log.contains("on a majority of the masters: this one is damaged"), "{log}");
    let leader = wait_for("another leader", async || {
        let leader = cluster.wait_for_leader().await.ok()?;
        (leader != wrong).then_some(leader)
    })
    .await?;
    set_weight(cluster.masters[leader].address, "eng", 1).await?;
    for (index, master) in cluster.masters.iter_mut().enumerate() {
        ensure!(index == wrong || master.ended().is_none(), "{} stopped as well", master.name);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_with_a_damaged_state_stops_and_says_so_and_the_others_go_on() {
    stop_the_damaged().await.unwrap();
}
