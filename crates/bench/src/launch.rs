//! `launch` and `lifecycle`: one framework launches tasks on simulated agents as fast as it can.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::bail;
use mesarch_client::{
    build::{self, TaskBuilder},
    scheduler::{Calls, Event, Options, Scheduler},
    v1::{Offer, TaskState},
};

use crate::{
    cluster::{Cluster, cpu_used},
    report::Report,
    sim_agent::{Finish, SimAgent, Spec},
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

/// A run that takes longer has failed, and counts as one that took as long as this.
const RUN_DEADLINE: Duration = Duration::from_secs(60);
/// How long a failed run's framework may take to be torn down.
const TEARDOWN_WAIT: Duration = Duration::from_secs(10);
/// Of each task; small, so that one agent holds thousands.
const TASK_CPUS: f64 = 0.001;
const TASK_MEM_MB: f64 = 1.0;

/// Figures of one run. Where it failed, what did not come counts as if it had come at the deadline.
struct Run {
    failed: bool,
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
        let spec =
            Spec { hostname: format!("sim-{number}"), cpus: 64.0, mem_mb: 1_048_576.0, finish: Finish::All };
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
        let run = one_run(&cluster, &args, number).await?;
        if run.failed {
            report.failed();
        }
        runs.push(run);
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
    /// When the first offer came.
    began: Option<Instant>,
    /// When the last task ran.
    all_running: Option<Instant>,
    accepted_at: HashMap<String, Instant>,
    latencies: Vec<f64>,
    finished: usize,
}

/// CPU time of the leader and of one follower.
struct CpuUsed(Duration, Duration);

impl CpuUsed {
    fn now(cluster: &Cluster) -> anyhow::Result<Self> {
        let follower = cluster.followers().next().map(|address| cluster.pid(address)).transpose()?;
        let follower = follower.map(cpu_used).transpose()?.unwrap_or_default();
        Ok(Self(cpu_used(cluster.leader_pid()?)?, follower))
    }
}

async fn one_run(cluster: &Cluster, args: &Args, number: usize) -> anyhow::Result<Run> {
    let info = build::framework(&format!("bench launch {number}"));
    let mut scheduler = Scheduler::connect(Options::new(cluster.ready.masters.clone(), info)).await?;
    let calls = scheduler.calls();
    let before = CpuUsed::now(cluster)?;
    let mut launcher = Launcher {
        args,
        run: number,
        launched: 0,
        began: None,
        all_running: None,
        accepted_at: HashMap::new(),
        latencies: Vec::new(),
        finished: 0,
    };
    let worked = tokio::time::timeout(RUN_DEADLINE, launcher.work(&mut scheduler, &calls)).await;
    let failure = match worked {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(_) => Some(format!("it took more than {} s", RUN_DEADLINE.as_secs())),
    };
    let run = launcher.figures(failure.is_some(), &before, &CpuUsed::now(cluster)?);
    match failure {
        None => calls.teardown().await?,
        Some(failure) => {
            eprintln!("run {number} failed: {failure}");
            // Its tasks would be in the way of the next run.
            if !matches!(tokio::time::timeout(TEARDOWN_WAIT, calls.teardown()).await, Ok(Ok(()))) {
                eprintln!("the framework of run {number} could not be torn down");
            }
        }
    }
    Ok(run)
}

impl Launcher<'_> {
    /// Until every task has finished.
    async fn work(&mut self, scheduler: &mut Scheduler, calls: &Calls) -> anyhow::Result<()> {
        while self.finished < self.args.tasks {
            match scheduler.next().await? {
                Event::Offers(offers) => {
                    for offer in offers {
                        self.began.get_or_insert_with(Instant::now);
                        self.take(calls, offer).await?;
                    }
                }
                Event::Update(status) => self.update(status.task_id.value.clone(), status.state())?,
                _ => {}
            }
            if self.latencies.len() == self.args.tasks {
                self.all_running.get_or_insert_with(Instant::now);
            }
        }
        Ok(())
    }

    fn figures(mut self, failed: bool, before: &CpuUsed, after: &CpuUsed) -> Run {
        let tasks = self.args.tasks as f64;
        let took = |until: Option<Instant>| match (self.began, until) {
            (Some(began), Some(until)) => until.duration_since(began),
            _ => RUN_DEADLINE,
        };
        let finished = (!failed).then(Instant::now);
        let per_s = |took: Duration| tasks / took.as_secs_f64();
        let per_task = |used: Duration| used.as_secs_f64() * 1e6 / tasks;
        let (launches_per_s, lifecycles_per_s) = (per_s(took(self.all_running)), per_s(took(finished)));
        self.latencies.resize(self.args.tasks, RUN_DEADLINE.as_secs_f64() * 1e3);
        Run {
            failed,
            launches_per_s,
            lifecycles_per_s,
            leader_cpu_us: per_task(after.0.saturating_sub(before.0)),
            follower_cpu_us: per_task(after.1.saturating_sub(before.1)),
            accept_to_running_ms: self.latencies,
        }
    }

    /// Fills an offer with as many tasks as may go into one ACCEPT.
    async fn take(&mut self, calls: &Calls, offer: Offer) -> anyhow::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn launcher(args: &Args, latencies: Vec<f64>) -> Launcher<'_> {
        Launcher {
            args,
            run: 0,
            launched: 0,
            began: None,
            all_running: None,
            accepted_at: HashMap::new(),
            latencies,
            finished: 0,
        }
    }

    #[test]
    fn what_did_not_come_counts_as_the_deadline() {
        let args = Args { tasks: 3, agents: 1, per_accept: 1, runs: 1, masters: 1 };
        let (before, after) =
            (CpuUsed(Duration::ZERO, Duration::ZERO), CpuUsed(Duration::from_micros(6), Duration::ZERO));
        let run = launcher(&args, vec![1.0]).figures(true, &before, &after);
        assert!(run.failed);
        assert_eq!(run.accept_to_running_ms, [1.0, 60_000.0, 60_000.0]);
        assert_eq!((run.launches_per_s, run.lifecycles_per_s), (0.05, 0.05));
        assert_eq!((run.leader_cpu_us, run.follower_cpu_us), (2.0, 0.0));
    }
}
