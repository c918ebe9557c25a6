//! `idle`: what a leader costs while nothing happens, with all masters up and with one follower dead.

use std::time::Duration;

use crate::{
    cluster::{Cluster, cpu_used, kill_hard},
    report::Report,
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds of each of the two phases.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Fresh clusters, one after the other.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Measures the leader's share of one core.
pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let (mut healthy, mut degraded) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        let cluster = Cluster::start(3)?;
        let leader = cluster.leader_pid()?;
        healthy.push(share_of_a_core(leader, args.seconds).await?);
        if let Some(follower) = cluster.followers().next() {
            kill_hard(cluster.pid(follower)?)?;
        }
        degraded.push(share_of_a_core(leader, args.seconds).await?);
    }
    let mut report = Report::new("idle");
    report.condition("masters", 3);
    report.condition("seconds", args.seconds);
    report.figure("leader_cpu_all_up", "%", healthy);
    report.figure("leader_cpu_follower_dead", "%", degraded);
    Ok(report)
}

/// How much of one core the process uses over so many seconds, in percent.
pub(crate) async fn share_of_a_core(pid: u32, seconds: u64) -> anyhow::Result<f64> {
    let (before, began) = (cpu_used(pid)?, std::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok((cpu_used(pid)? - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}
