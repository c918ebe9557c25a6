//! Fills a cluster through its public API: simulated agents, frameworks, tasks that run and tasks that have finished.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mesarch_client::{
    build::{self, TaskBuilder},
    scheduler::{Calls, Event, Options, Scheduler},
    v1::{Offer, TaskInfo, TaskState, task_status::Reason},
};
use tokio::task::JoinSet;

use crate::{
    cluster::Cluster,
    sim_agent::{Finish, SimAgent, Spec, connect},
};

/// Tasks that end are called so.
const DONE: &str = "done-";
/// Simulated agents on one connection; real ones have one each, but descriptors are few.
const AGENTS_PER_CONNECTION: usize = 10;
/// How many agents more are told of.
const TOLD_EVERY: usize = 500;
/// How often the filling is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Agents that register at a time.
const AGENTS_AT_ONCE: usize = 64;
/// Completed tasks that the masters remember of a framework.
const COMPLETED_PER_FRAMEWORK: usize = 1000;
/// Of one agent; a task takes a thousandth of a cpu and a MB.
const AGENT_CPUS: f64 = 64.0;
const AGENT_MEM_MB: f64 = 262_144.0;
const TASK_CPUS: f64 = 0.001;
const TASK_MEM_MB: f64 = 1.0;
/// Without any progress for so long it has failed.
const STALL: Duration = Duration::from_secs(60);

/// How much is to be there.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Shape {
    /// Simulated agents.
    #[arg(long, default_value_t = 1000)]
    pub(crate) agents: usize,
    /// Tasks that run.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) running: usize,
    /// Tasks that have finished and are remembered.
    #[arg(long, default_value_t = 0)]
    pub(crate) completed: usize,
    /// Frameworks that share them; at least one for every 1,000 finished tasks, which is what is remembered of one.
    #[arg(long, default_value_t = 10)]
    pub(crate) frameworks: usize,
}

impl Shape {
    /// How many frameworks there are in fact.
    pub(crate) fn frameworks(&self) -> usize {
        self.frameworks.max(self.completed.div_ceil(COMPLETED_PER_FRAMEWORK)).max(1)
    }

    /// What the framework of this number has of `total`: sums over all of them are exact.
    fn share(&self, total: usize, number: usize) -> usize {
        let all = self.frameworks();
        total / all + usize::from(number < total % all)
    }
}

/// What is there, until it is dropped.
pub(crate) struct Filled {
    _agents: Vec<SimAgent>,
    _frameworks: JoinSet<anyhow::Result<()>>,
    /// How long filling took.
    pub(crate) took: Duration,
}

/// How far it is.
#[derive(Debug, Default)]
struct Progress {
    running: AtomicUsize,
    finished: AtomicUsize,
}

impl Progress {
    fn sum(&self) -> (usize, usize) {
        (self.running.load(Ordering::Relaxed), self.finished.load(Ordering::Relaxed))
    }
}

/// Fills the cluster, and tells on standard error how far it is.
///
/// # Errors
/// If nothing comes any nearer for [`STALL`], or a framework's subscription ends.
pub(crate) async fn fill(cluster: &Cluster, shape: Shape) -> anyhow::Result<Filled> {
    let began = Instant::now();
    let agents = start_agents(cluster, shape.agents).await?;
    let frameworks = tokio::select! {
        frameworks = launch(&cluster.ready.masters, shape) => frameworks?,
        lost = lost_links(&agents) => bail!("{lost} of {} simulated agents have lost their link", agents.len()),
    };
    Ok(Filled { _agents: agents, _frameworks: frameworks, took: began.elapsed() })
}

/// Frameworks that launch what the shape says on agents that are there. Those that are returned stay subscribed; one that
/// ends has an error.
///
/// # Errors
/// As [`fill`].
pub(crate) async fn launch(masters: &[String], shape: Shape) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let progress = Arc::new(Progress::default());
    let mut frameworks = JoinSet::new();
    for number in 0..shape.frameworks() {
        let info = build::framework(&format!("bench {number}"));
        let scheduler = Scheduler::connect(Options::new(masters.to_vec(), info)).await?;
        let share = Share {
            running: shape.share(shape.running, number),
            done: shape.share(shape.completed, number),
            per_offer: (shape.running + shape.completed).div_ceil(shape.agents.max(1)).clamp(1, 1000),
            next: 0,
        };
        frameworks.spawn(share.keep(scheduler, progress.clone()));
    }
    wait(shape, &progress, &mut frameworks).await?;
    Ok(frameworks)
}

/// The agent of this number.
pub(crate) fn host(number: usize) -> Spec {
    Spec {
        hostname: format!("sim-{number}"),
        cpus: AGENT_CPUS,
        mem_mb: AGENT_MEM_MB,
        finish: Finish::Named(DONE),
    }
}

/// How many agents have lost their link, once any has: what they were given will never run.
async fn lost_links(agents: &[SimAgent]) -> usize {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let lost = agents.iter().filter(|agent| agent.is_gone()).count();
        if lost > 0 {
            return lost;
        }
    }
}

async fn start_agents(cluster: &Cluster, count: usize) -> anyhow::Result<Vec<SimAgent>> {
    let (mut agents, mut starting) = (Vec::with_capacity(count), JoinSet::new());
    let mut channel = connect(&cluster.ready.leader).await?;
    for number in 0..count {
        if number % AGENTS_PER_CONNECTION == AGENTS_PER_CONNECTION - 1 {
            channel = connect(&cluster.ready.leader).await?;
        }
        if number % TOLD_EVERY == TOLD_EVERY - 1 {
            eprintln!("{} of {count} agents", agents.len());
        }
        while starting.len() >= AGENTS_AT_ONCE {
            agents.push(starting.join_next().await.context("none starts")???);
        }
        starting.spawn(SimAgent::start_on(channel.clone(), host(number)));
    }
    while let Some(agent) = starting.join_next().await {
        agents.push(agent??);
    }
    Ok(agents)
}

/// Until all tasks are as they should be.
async fn wait(
    shape: Shape,
    progress: &Progress,
    frameworks: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let (mut last, mut since) = ((0, 0), Instant::now());
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(ended) = frameworks.join_next() => {
                ended??;
                bail!("a framework ended");
            }
        }
        let now = progress.sum();
        eprintln!("{} of {} tasks run, {} of {} have finished", now.0, shape.running, now.1, shape.completed);
        if now == (shape.running, shape.completed) {
            return Ok(());
        }
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > STALL {
            bail!("nothing was launched or finished for {} s", STALL.as_secs());
        }
    }
}

/// What one framework has still to launch.
#[derive(Debug)]
struct Share {
    running: usize,
    done: usize,
    per_offer: usize,
    next: usize,
}

impl Share {
    /// Launches all of it, and stays subscribed.
    async fn keep(mut self, mut scheduler: Scheduler, progress: Arc<Progress>) -> anyhow::Result<()> {
        let calls = scheduler.calls();
        loop {
            match scheduler.next().await? {
                Event::Offers(offers) => {
                    for offer in offers {
                        self.take(&calls, offer).await?;
                    }
                    if self.running + self.done == 0 {
                        calls.suppress(&[]).await?;
                    }
                }
                Event::Update(status) => match status.state() {
                    TaskState::TaskRunning if !status.task_id.value.starts_with(DONE) => {
                        progress.running.fetch_add(1, Ordering::Relaxed);
                    }
                    TaskState::TaskRunning => {}
                    TaskState::TaskFinished => {
                        progress.finished.fetch_add(1, Ordering::Relaxed);
                    }
                    // Its offer had been taken back meanwhile: the next one has room for another task.
                    TaskState::TaskDropped if status.reason() == Reason::InvalidOffers => {
                        match status.task_id.value.starts_with(DONE) {
                            true => self.done += 1,
                            false => self.running += 1,
                        }
                        calls.revive(&[]).await?;
                    }
                    other => {
                        let (task, why) = (&status.task_id.value, status.message());
                        bail!("task {task} became {}: {why}", other.as_str_name())
                    }
                },
                _ => {}
            }
        }
    }

    async fn take(&mut self, calls: &Calls, offer: Offer) -> anyhow::Result<()> {
        let most = self.per_offer.min(room(&offer));
        let tasks: Vec<TaskInfo> = (0..most).map_while(|_| self.task(&offer)).collect();
        match tasks.is_empty() {
            true => calls.decline([offer.id], None).await?,
            false => calls.launch([offer.id], tasks).await?,
        }
        Ok(())
    }

    /// The next one, of both kinds in turn.
    fn task(&mut self, offer: &Offer) -> Option<TaskInfo> {
        let (prefix, left) = match (self.running, self.done) {
            (0, 0) => return None,
            (running, done) if running >= done => ("task-", &mut self.running),
            _ => (DONE, &mut self.done),
        };
        *left -= 1;
        self.next += 1;
        let id = format!("{prefix}{}", self.next);
        let task = TaskBuilder::command(&id, "sleep 1000").cpus(TASK_CPUS).mem_mb(TASK_MEM_MB);
        Some(task.on(&offer.agent_id))
    }
}

/// How many tasks fit into an offer: what ended tasks give back may be offered while the rest of their agent is elsewhere.
fn room(offer: &Offer) -> usize {
    let amount = |name: &str| -> f64 {
        let all = offer.resources.iter().filter(|resource| resource.name == name);
        all.filter_map(|resource| resource.scalar).map(|scalar| scalar.value).sum()
    };
    // Amounts are whole thousandths, which doubles hit almost.
    let fitting = (amount("cpus") / TASK_CPUS).min(amount("mem") / TASK_MEM_MB) + 0.5;
    fitting as usize
}

#[cfg(test)]
mod tests {
    use mesarch_client::v1::{Resource, value::Scalar};

    use super::*;

    #[test]
    fn no_more_tasks_are_launched_than_an_offer_holds() {
        let scalar = |name: &str, value: f64| Resource {
            name: name.to_owned(),
            scalar: Some(Scalar { value }),
            ..Resource::default()
        };
        for (cpus, mem, expect) in [(64.0, 5000.0, 5000), (0.01, 10.0, 10), (0.007, 10.0, 7), (0.0, 10.0, 0)]
        {
            let offer =
                Offer { resources: vec![scalar("cpus", cpus), scalar("mem", mem)], ..Offer::default() };
            assert_eq!(room(&offer), expect, "{cpus} {mem}");
        }
    }

    #[test]
    fn shares_add_up_and_no_framework_has_more_than_is_remembered() {
        for (running, completed, frameworks) in [(10_000, 0, 10), (7, 2001, 1), (0, 1000, 3)] {
            let shape = Shape { agents: 1, running, completed, frameworks };
            let all = shape.frameworks();
            let sum = |total| (0..all).map(|number| shape.share(total, number)).sum::<usize>();
            assert_eq!((sum(running), sum(completed)), (running, completed));
            assert!((0..all).all(|number| shape.share(completed, number) <= COMPLETED_PER_FRAMEWORK));
        }
    }
}
