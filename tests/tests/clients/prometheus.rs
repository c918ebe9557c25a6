//! A real Prometheus scrapes masters and agents; what it answers is what `/state` says.

use std::path::Path;

use anyhow::Result;
use mesarch_testkit::{Cluster, Settings};
use tokio::process::Command;

use super::script::{Script, folder, installed};
use crate::support::steady::Steady;

async fn scraped() -> Result<()> {
    let place = installed("prometheus", "any").await?;
    let cluster = Cluster::start(3, 2, Settings::default()).await?;
    let _steady = Steady::start(cluster.addresses(), "scraped", 60.0, cluster.dir()).await?;
    let agents: Vec<_> = cluster.agents.iter().map(|agent| agent.address.to_string()).collect();
    let mut command = Command::new("python3");
    command
        .arg(folder("prometheus").join("scrape.py"))
        .arg(place.join("bin"))
        .arg(cluster.dir())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/mesarch.json"))
        .args([cluster.addresses().join(","), agents.join(",")]);
    Script::start(&mut command)?.finish(&["LINTED", "SCRAPED", "EQUAL", "DASHBOARD"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_scrapes_all_and_agrees_with_the_state() {
    scraped().await.unwrap();
}
