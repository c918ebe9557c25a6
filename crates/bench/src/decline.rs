//! `decline`: frameworks that want nothing, on agents that have everything to give.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use mesarch_client::{
    build,
    scheduler::{Event, Options, Scheduler},
};

use tokio::task::JoinSet;

use crate::{
    cluster::Cluster,
    idle::share_of_a_core,
    report::Report,
    sim_agent::{Finish, SimAgent, Spec},
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

/// Measures the leader's share of a core, the offers that it sent and had declined per second, what one of them cost it,
/// and the log entries per second. The share alone says little on a busy machine, where fewer offers go round.
pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let cluster = Cluster::start(3)?;
    let mut crowd = Crowd::join(&cluster, args.agents, args.frameworks, None).await?;
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let mut figures = Figures::default();
    for _ in 0..args.runs {
        figures.measure(&cluster, &crowd.declined, args.seconds).await?;
        crowd.check()?;
    }
    let mut report = Report::new("decline");
    for (name, value) in [("frameworks", args.frameworks), ("agents", args.agents)] {
        report.condition(name, value);
    }
    report.condition("seconds", args.seconds);
    report.figure("leader_cpu", "%", figures.cpu);
    report.figure("offers_declined_per_s", "1/s", figures.declined);
    report.figure("leader_cpu_us_per_offer", "us", figures.each);
    report.figure("log_entries_per_s", "1/s", figures.log);
    Ok(report)
}

/// Simulated agents with everything to give, and frameworks that want nothing. Dropping it ends them.
pub(crate) struct Crowd {
    agents: Vec<SimAgent>,
    frameworks: JoinSet<anyhow::Result<()>>,
    /// Offers that were declined so far.
    declined: Arc<AtomicU64>,
}

impl Crowd {
    /// Joins the cluster. `refuse`: how long each framework refuses what it declined; the default of five seconds if none.
    pub(crate) async fn join(
        cluster: &Cluster,
        agents: usize,
        frameworks: usize,
        refuse: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let declined = Arc::new(AtomicU64::new(0));
        let (mut hosts, mut clients) = (Vec::new(), JoinSet::new());
        for number in 0..agents {
            let spec =
                Spec { hostname: format!("idle-{number}"), cpus: 4.0, mem_mb: 4096.0, finish: Finish::All };
            hosts.push(SimAgent::start(&cluster.ready.leader, spec).await?);
        }
        for number in 0..frameworks {
            let info = build::framework(&format!("declines {number}"));
            let scheduler = Scheduler::connect(Options::new(cluster.ready.masters.clone(), info)).await?;
            clients.spawn(decline_everything(scheduler, refuse, declined.clone()));
        }
        Ok(Self { agents: hosts, frameworks: clients, declined })
    }
}

impl Crowd {
    /// Fails if a framework or an agent is gone: what is measured from then on is another cluster.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.frameworks.try_join_next() {
            ended?.context("a framework ended")?;
        }
        let gone = self.agents.iter().filter(|agent| agent.is_gone()).count();
        anyhow::ensure!(gone == 0, "{gone} agents lost their link");
        Ok(())
    }
}

#[derive(Default)]
struct Figures {
    cpu: Vec<f64>,
    declined: Vec<f64>,
    each: Vec<f64>,
    log: Vec<f64>,
}

impl Figures {
    /// One value of each, over `seconds`.
    async fn measure(&mut self, cluster: &Cluster, declined: &AtomicU64, seconds: u64) -> anyhow::Result<()> {
        let (index, offers, begin) =
            (applied(cluster).await?, declined.load(Ordering::Relaxed), Instant::now());
        let cpu = share_of_a_core(cluster.leader_pid()?, seconds).await?;
        let offers = (declined.load(Ordering::Relaxed) - offers) as f64 / begin.elapsed().as_secs_f64();
        let entries = (applied(cluster).await? - index) / begin.elapsed().as_secs_f64();
        self.cpu.push(cpu);
        self.declined.push(offers);
        // Percent of a second, in microseconds.
        self.each.push(cpu * 1e4 / offers.max(1.0));
        self.log.push(entries);
        Ok(())
    }
}

async fn decline_everything(
    mut scheduler: Scheduler,
    refuse: Option<Duration>,
    declined: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let calls = scheduler.calls();
    loop {
        if let Event::Offers(offers) = scheduler.next().await? {
            calls.decline_all(&offers, refuse).await?;
            declined.fetch_add(offers.len() as u64, Ordering::Relaxed);
        }
    }
}

/// Log index that the leader has applied.
async fn applied(cluster: &Cluster) -> anyhow::Result<f64> {
    crate::metrics::read(&cluster.ready.leader, "mesarch_raft_applied_index").await
}
