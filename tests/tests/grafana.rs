//! The dashboard shows only metrics that exist.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use mesarch_client::operator;
use mesarch_testkit::{Cluster, Settings};
use serde_json::Value;

use crate::support::fleet::Fleet;

/// Every metric that a query of the dashboard names.
fn named(dashboard: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let panels = dashboard["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    for expression in targets.filter_map(|target| target["expr"].as_str()) {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        names.extend(words.filter(|word| word.starts_with("mesarch_")).map(str::to_owned));
    }
    names
}

fn rendered(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

async fn dashboard_is_true() -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/mesarch.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(&file)?).context("the dashboard is JSON")?;
    let named = named(&dashboard);
    ensure!(named.len() > 10, "the dashboard shows next to nothing: {named:?}");
    let cluster = Cluster::start(3, 1, Settings::default()).await?;
    let fleet = Fleet::start(cluster.addresses(), &cluster.dir().join("marks"), "true").await?;
    fleet.wait_for_more(5).await?;
    fleet.settle().await?;
    let mut there = BTreeSet::new();
    for node in cluster.masters.iter().chain(&cluster.agents) {
        let reply = operator::get(&node.address.to_string(), "/metrics").await?;
        ensure!(reply.status == 200, "{} answers /metrics with {}", node.name, reply.status);
        there.extend(rendered(std::str::from_utf8(&reply.body)?));
    }
    let missing: Vec<_> = named.difference(&there).collect();
    ensure!(missing.is_empty(), "named by the dashboard, but rendered nowhere: {missing:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_dashboard_is_rendered_by_a_live_cluster() {
    dashboard_is_true().await.unwrap();
}
