//! `launch` and `lifecycle`: one framework launches tasks on simulated agents as fast as it can.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mesarch_client::{
    build::{self, TaskBuilder},
    scheduler::{Event, Options, Scheduler},
    v1::{Offer, TaskState},
};

use crate::{
    cluster::{Cluster, cpu_used},
    report::Report,
    sim_agent::{SimAgent, Spec},
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Tasks per run.
    #[arg(long, default_value_t = 1000)]
    tasks: usize,
    /// Simulated agents.
    #[arg(long, default_value_t = 1)]
    agents: usize,
    /// Most tasks in one ACCEPT (1,000 is the masters' limit).
    #[arg(long, default_value_t = 1000)]
    per_accept: usize,
    /// Runs; one value of each rate comes from each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Masters, each with its own sled log and fsync.
    #[arg(long, default_value_t = 3)]
    masters: u32,
}

/// A run that takes longer has failed.
const RUN_DEADLINE: Duration = Duration::from_secs(60);
/// Of each task; small, so that one agent holds thousands.
const TASK_CPUS: f64 = 0.001;
const TASK_MEM_MB: f64 = 1.0;

/// Figures of one run.
struct Run {
    launches_per_s: f64,
    lifecycles_per_s: f64,
    leader_cpu_us: f64,
    follower_cpu_us: f64,
    accept_to_running_ms: Vec<f64>,
}

/// Measures, and reports launches/s, life-cycles/s and the time from ACCEPT to RUNNING.
pub(crate) async fn run(bench: &'static str, args: Args) -> anyhow::Result<Report> {
    let cluster = Cluster::start(args.masters)?;
    let mut agents = Vec::new();
    for number in 0..args.agents {
        let spec = Spec { hostname: format!("sim-{number}"), cpus: 64.0, mem_mb: 1_048_576.0, finish: true };
        agents.push(SimAgent::start(&cluster.ready.leader, spec).await?);
    }
    let mut report = Report::new(bench);
    for (name, value) in [("masters", args.masters as usize), ("agents", args.agents), ("tasks", args.tasks)]
    {
        report.condition(name, value);
    }
    report.condition("per_accept", args.per_accept);
    report.condition("log", "sled, fdatasync");
    let mut runs = Vec::new();
    for number in 0..args.runs {
        match tokio::time::timeout(RUN_DEADLINE, one_run(&cluster, &args, number)).await {
            Ok(run) => runs.push(run?),
            Err(_) => report.failed(),
        }
    }
    report.figure("launches_per_s", "1/s", runs.iter().map(|run| run.launches_per_s).collect());
    report.figure("lifecycles_per_s", "1/s", runs.iter().map(|run| run.lifecycles_per_s).collect());
    report.figure("leader_cpu_us_per_task", "us", runs.iter().map(|run| run.leader_cpu_us).collect());
    report.figure("follower_cpu_us_per_task", "us", runs.iter().map(|run| run.follower_cpu_us).collect());
    report.figure(
        "accept_to_running_ms",
        "ms",
        runs.into_iter().flat_map(|run| run.accept_to_running_ms).collect(),
    );
    Ok(report)
}

/// Progress of one framework through its tasks.
struct Launcher<'a> {
    args: &'a Args,
    run: usize,
    launched: usize,
    accepted_at: HashMap<String, Instant>,
    latencies: Vec<f64>,
    finished: usize,
}

async fn one_run(cluster: &Cluster, args: &Args, number: usize) -> anyhow::Result<Run> {
    let info = build::framework(&format!("bench launch {number}"));
    let mut scheduler = Scheduler::connect(Options::new(cluster.ready.masters.clone(), info)).await?;
    let calls = scheduler.calls();
    let (leader, follower) = (cluster.leader_pid()?, cluster.followers().next().cloned());
    let follower = follower.map(|address| cluster.pid(&address)).transpose()?;
    let cpu_before = (cpu_used(leader)?, follower.map(cpu_used).transpose()?.unwrap_or_default());
    let mut launcher = Launcher {
        args,
        run: number,
        launched: 0,
        accepted_at: HashMap::new(),
        latencies: Vec::new(),
        finished: 0,
    };
    let (mut began, mut all_running) = (None, None);
    while launcher.finished < args.tasks {
        match scheduler.next().await? {
            Event::Offers(offers) => {
                for offer in offers {
                    began.get_or_insert_with(Instant::now);
                    launcher.take(&calls, offer).await?;
                }
            }
            Event::Update(status) => launcher.update(status.task_id.value.clone(), status.state())?,
            _ => {}
        }
        if launcher.latencies.len() == args.tasks {
            all_running.get_or_insert_with(Instant::now);
        }
    }
    let began = began.context("no offer came")?;
    let per_s = |until: Instant| args.tasks as f64 / until.duration_since(began).as_secs_f64();
    let (launches_per_s, lifecycles_per_s) =
        (per_s(all_running.context("not all ran")?), per_s(Instant::now()));
    let cpu_after = (cpu_used(leader)?, follower.map(cpu_used).transpose()?.unwrap_or_default());
    calls.teardown().await?;
    let per_task = |used: Duration| used.as_secs_f64() * 1e6 / args.tasks as f64;
    Ok(Run {
        launches_per_s,
        lifecycles_per_s,
        leader_cpu_us: per_task(cpu_after.0 - cpu_before.0),
        follower_cpu_us: per_task(cpu_after.1 - cpu_before.1),
        accept_to_running_ms: launcher.latencies,
    })
}

impl Launcher<'_> {
    /// Fills an offer with as many tasks as may go into one ACCEPT.
    async fn take(&mut self, calls: &mesarch_client::scheduler::Calls, offer: Offer) -> anyhow::Result<()> {
        let room = (build::total(&offer.resources, "cpus") / TASK_CPUS) as usize;
        let count = room.min(self.args.per_accept).min(self.args.tasks - self.launched);
        if count == 0 {
            calls.decline([offer.id], None).await?;
            return Ok(());
        }
        let now = Instant::now();
        let tasks = (self.launched..self.launched + count).map(|number| {
            let id = format!("run{}-{number}", self.run);
            self.accepted_at.insert(id.clone(), now);
            TaskBuilder::command(&id, "true").cpus(TASK_CPUS).mem_mb(TASK_MEM_MB).on(&offer.agent_id)
        });
        let tasks: Vec<_> = tasks.collect();
        self.launched += count;
        calls.launch([offer.id], tasks).await?;
        Ok(())
    }

    fn update(&mut self, task: String, state: TaskState) -> anyhow::Result<()> {
        match state {
            TaskState::TaskRunning => {
                if let Some(accepted) = self.accepted_at.remove(&task) {
                    self.latencies.push(accepted.elapsed().as_secs_f64() * 1e3);
                }
            }
            TaskState::TaskFinished => self.finished += 1,
            other => bail!("task {task} became {}", other.as_str_name()),
        }
        Ok(())
    }
}
