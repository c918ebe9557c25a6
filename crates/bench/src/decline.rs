//! `decline`: frameworks that want nothing, on agents that have everything to give.

use std::time::Duration;

use mesarch_client::{
    build,
    scheduler::{Event, Options, Scheduler},
};

use crate::{
    cluster::Cluster,
    idle::share_of_a_core,
    report::Report,
    sim_agent::{SimAgent, Spec},
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Frameworks; each declines every offer with the default filter of five seconds.
    #[arg(long, default_value_t = 1000)]
    frameworks: usize,
    /// Simulated agents with free resources.
    #[arg(long, default_value_t = 1000)]
    agents: usize,
    /// Seconds that count, after as many that do not.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Values per figure.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Measures the leader's share of a core, the offers and the log entries per second.
pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let cluster = Cluster::start(3)?;
    let mut agents = Vec::new();
    for number in 0..args.agents {
        let spec = Spec { hostname: format!("idle-{number}"), cpus: 4.0, mem_mb: 4096.0, finish: true };
        agents.push(SimAgent::start(&cluster.ready.leader, spec).await?);
    }
    let mut frameworks = tokio::task::JoinSet::new();
    for number in 0..args.frameworks {
        let info = build::framework(&format!("declines {number}"));
        let scheduler = Scheduler::connect(Options::new(cluster.ready.masters.clone(), info)).await?;
        frameworks.spawn(decline_everything(scheduler));
    }
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let (mut cpu, mut log) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        let before = applied(&cluster).await?;
        cpu.push(share_of_a_core(cluster.leader_pid()?, args.seconds).await?);
        log.push((applied(&cluster).await? - before) / args.seconds as f64);
    }
    let mut report = Report::new("decline");
    for (name, value) in [("frameworks", args.frameworks), ("agents", args.agents)] {
        report.condition(name, value);
    }
    report.condition("seconds", args.seconds);
    report.figure("leader_cpu", "%", cpu);
    report.figure("log_entries_per_s", "1/s", log);
    Ok(report)
}

async fn decline_everything(mut scheduler: Scheduler) -> anyhow::Result<()> {
    let calls = scheduler.calls();
    loop {
        if let Event::Offers(offers) = scheduler.next().await? {
            calls.decline_all(&offers, None).await?;
        }
    }
}

/// Log index that the leader has applied.
async fn applied(cluster: &Cluster) -> anyhow::Result<f64> {
    crate::metrics::read(&cluster.ready.leader, "mesarch_raft_applied_index").await
}
