//! `read`: what answers from the state cost a reader, and what readers cost the leader.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mesarch_client::{
    build,
    scheduler::{Options, Scheduler},
};
use tokio::task::JoinSet;

use crate::{
    cluster::{Cluster, cpu_used, memory_kb},
    fill::{self, Shape},
    http1::{Answer, Connection, get, post},
    idle::share_of_a_core,
    report::Report,
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shape: Shape,
    /// Reads of each kind, one after the other, on one connection.
    #[arg(long, default_value_t = 20)]
    reads: usize,
    /// Clients that poll `/state` while the leader's commits are timed.
    #[arg(long, default_value_t = 20)]
    pollers: usize,
    /// How often each of them asks, in ms; 0: again as soon as it has its answer.
    #[arg(long, default_value_t = 1000)]
    poll_every_ms: u64,
    /// How long commits are timed without pollers and with them, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Only reads of kinds whose names begin so.
    #[arg(long, default_value = "")]
    only: String,
    /// After filling, wait so many seconds before anything is measured.
    #[arg(long, default_value_t = 3)]
    settle: u64,
}

/// How often the leader is asked to commit something, in ms.
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// What an answer may take; one that takes longer has failed.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How often the leader's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

const JSON: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";
const PROTOBUF: &str = "Content-Type: application/json\r\nAccept: application/x-protobuf\r\n";

/// A kind of read: the names of its figures and its request.
struct Kind {
    ms: &'static str,
    mb: &'static str,
    request: Vec<u8>,
}

fn kinds(leader: &str) -> Vec<Kind> {
    let operator = |call: &str, headers: &str| {
        post(leader, "/api/v1", headers, format!("{{\"type\":\"{call}\"}}").as_bytes())
    };
    let kind = |ms, mb, request| Kind { ms, mb, request };
    vec![
        kind("state_ms", "state_mb", get(leader, "/state", "")),
        kind("state_gzip_ms", "state_gzip_mb", get(leader, "/state", "Accept-Encoding: gzip\r\n")),
        kind("state_summary_ms", "state_summary_mb", get(leader, "/state-summary", "")),
        kind("get_state_json_ms", "get_state_json_mb", operator("GET_STATE", JSON)),
        kind("get_state_protobuf_ms", "get_state_protobuf_mb", operator("GET_STATE", PROTOBUF)),
        kind("get_tasks_ms", "get_tasks_mb", operator("GET_TASKS", JSON)),
    ]
}

/// Measures every kind of read alone, then the leader's commits without and with pollers.
pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let cluster = Cluster::start(3)?;
    let filled = fill::fill(&cluster, args.shape).await?;
    tokio::time::sleep(Duration::from_secs(args.settle)).await;
    let mut report = Report::new("read");
    for (name, value) in [
        ("agents", args.shape.agents),
        ("running", args.shape.running),
        ("completed", args.shape.completed),
        ("frameworks", args.shape.frameworks()),
        ("pollers", args.pollers),
    ] {
        report.condition(name, value);
    }
    report.condition("poll_every_ms", args.poll_every_ms);
    report.condition("filled_in_s", filled.took.as_secs());
    let leader = cluster.leader_pid()?;
    report.figure("leader_memory_mb", "MB", vec![memory_kb(leader)? / 1024.0]);
    for kind in kinds(&cluster.ready.leader).iter().filter(|kind| kind.ms.starts_with(&args.only)) {
        alone(&cluster, kind, args.reads, &mut report).await?;
    }
    with_pollers(&cluster, &args, &mut report).await?;
    Ok(report)
}

async fn ask(connection: &mut Connection, request: &[u8]) -> anyhow::Result<(Answer, Duration)> {
    let began = Instant::now();
    let answer = tokio::time::timeout(ANSWER_WAIT, connection.ask(request)).await;
    let answer = answer.context("no answer in time")??;
    Ok((answer, began.elapsed()))
}

async fn alone(cluster: &Cluster, kind: &Kind, reads: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut connection = Connection::open(&cluster.ready.leader).await?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    let before = cpu_used(cluster.leader_pid()?)?;
    for _ in 0..reads {
        let (answer, took) = ask(&mut connection, &kind.request).await?;
        ensure!(answer.status == 200, "{}: status {}", kind.ms, answer.status);
        times.push(took.as_secs_f64() * 1e3);
        bytes = answer.bytes;
    }
    let cpu = (cpu_used(cluster.leader_pid()?)? - before).as_secs_f64() * 1e3 / reads.max(1) as f64;
    eprintln!("{}: {bytes} bytes", kind.ms);
    report.figure(kind.ms, "ms", times);
    report.figure(kind.mb, "MB", vec![bytes as f64 / 1e6]);
    report.labelled("leader_cpu_ms_per_read", "ms", &[("of", kind.ms)], vec![cpu]);
    Ok(())
}

/// Commits, first with nobody reading, then with all pollers.
async fn with_pollers(cluster: &Cluster, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let probe = Probe::subscribe(cluster).await?;
    let leader = cluster.leader_pid()?;
    // The first commits find everything cold.
    probe.commits(cluster, Duration::from_secs(1)).await?;
    let duration = Duration::from_secs(args.seconds);
    report.figure("commit_alone_ms", "ms", probe.commits(cluster, duration).await?);
    let (polled, stop) = (Arc::new(Polled::default()), Arc::new(AtomicBool::new(false)));
    let mut pollers = JoinSet::new();
    for number in 0..args.pollers {
        let every = Duration::from_millis(args.poll_every_ms);
        let wait = every * u32::try_from(number)? / u32::try_from(args.pollers)?;
        let poller = Poller { every, wait, stop: stop.clone(), polled: polled.clone() };
        pollers.spawn(poller.run(cluster.ready.leader.clone()));
    }
    let (peak, watched) = (Arc::new(AtomicU64::new(0)), stop.clone());
    let watch = tokio::spawn(watch_memory(leader, peak.clone(), watched));
    let (commits, cpu) =
        tokio::join!(probe.commits(cluster, duration), share_of_a_core(leader, args.seconds));
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = pollers.join_next().await {
        if let Err(error) = ended? {
            eprintln!("a poller failed: {error:#}");
            report.failed();
        }
    }
    watch.await??;
    report.figure("commit_with_pollers_ms", "ms", commits?);
    report.figure("leader_cpu_with_pollers", "%", vec![cpu?]);
    report.figure(
        "polls_per_s",
        "1/s",
        vec![polled.count.load(Ordering::Relaxed) as f64 / args.seconds as f64],
    );
    let times = std::mem::take(&mut *polled.times.lock().await);
    report.figure("poll_ms", "ms", times);
    report.figure("leader_memory_peak_mb", "MB", vec![peak.load(Ordering::Relaxed) as f64 / 1024.0]);
    Ok(())
}

/// What all pollers together saw.
#[derive(Default)]
struct Polled {
    count: AtomicU64,
    times: tokio::sync::Mutex<Vec<f64>>,
}

struct Poller {
    every: Duration,
    /// Before the first question, so that they do not all come at once.
    wait: Duration,
    stop: Arc<AtomicBool>,
    polled: Arc<Polled>,
}

impl Poller {
    async fn run(self, leader: String) -> anyhow::Result<()> {
        let mut connection = Connection::open(&leader).await?;
        let request = get(&leader, "/state", "");
        let mut next = tokio::time::Instant::now() + self.wait;
        while !self.stop.load(Ordering::Relaxed) {
            tokio::time::sleep_until(next).await;
            let (answer, took) = ask(&mut connection, &request).await?;
            ensure!(answer.status == 200, "status {}", answer.status);
            self.polled.count.fetch_add(1, Ordering::Relaxed);
            self.polled.times.lock().await.push(took.as_secs_f64() * 1e3);
            next = (next + self.every).max(tokio::time::Instant::now());
        }
        Ok(())
    }
}

async fn watch_memory(leader: u32, peak: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        peak.fetch_max(memory_kb(leader)? as u64, Ordering::Relaxed);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// A framework that asks for the end of an executor that is not there: answered once the call is committed, and without
/// any consequence.
struct Probe {
    _scheduler: Scheduler,
    request: Vec<u8>,
}

impl Probe {
    async fn subscribe(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut options = Options::new(cluster.ready.masters.clone(), build::framework("probe"));
        options.suppressed_roles = options.framework.roles.clone();
        let scheduler = Scheduler::connect(options).await?;
        let (framework, stream) = scheduler.subscription().context("not subscribed")?;
        let leader = &cluster.ready.leader;
        let headers = format!("Content-Type: application/json\r\nMesos-Stream-Id: {stream}\r\n");
        let call = serde_json::json!({
            "framework_id": {"value": framework.value}, "type": "SHUTDOWN",
            "shutdown": {"executor_id": {"value": "none"}, "agent_id": {"value": "none"}},
        });
        let request = post(leader, "/api/v1/scheduler", &headers, call.to_string().as_bytes());
        Ok(Self { _scheduler: scheduler, request })
    }

    /// How long commits took that were asked for every few ms, in ms.
    async fn commits(&self, cluster: &Cluster, duration: Duration) -> anyhow::Result<Vec<f64>> {
        let mut connection = Connection::open(&cluster.ready.leader).await?;
        let (end, mut times) = (Instant::now() + duration, Vec::new());
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while Instant::now() < end {
            ticks.tick().await;
            let (answer, took) = ask(&mut connection, &self.request).await?;
            ensure!(answer.status == 202, "a call of the probe: status {}", answer.status);
            times.push(took.as_secs_f64() * 1e3);
        }
        Ok(times)
    }
}
