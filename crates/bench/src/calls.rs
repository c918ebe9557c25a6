//! `calls`: scheduler calls per second over HTTP, and what one costs the leader.
//!
//! SUPPRESS is answered once it is in its place in the queue; each connection has a framework of its own and sends the
//! next call when it has the answer. ACCEPT is answered once it is committed; the offers of one framework are taken over
//! several connections, each offer with the same number of tasks.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mesarch_client::{
    build::{self, TaskBuilder},
    scheduler::{Event, Options, Scheduler},
    v1::{FrameworkId, Offer, TaskInfo, offer, scheduler::Call, scheduler::call},
};
use mesarch_proto::json::Json;
use prost::Message;
use tokio::task::JoinSet;

use crate::{
    cluster::{Cluster, cpu_used},
    http1::{Connection, post},
    report::Report,
    sim_agent::{Finish, SimAgent, Spec},
};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Calls in protobuf; JSON otherwise.
    #[arg(long)]
    protobuf: bool,
    /// Connections that send SUPPRESS, one figure each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64])]
    connections: Vec<usize>,
    /// Tasks in one ACCEPT, one figure each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    tasks: Vec<usize>,
    /// Seconds of SUPPRESS in one run.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Simulated agents: as many offers, and so calls, are there for one run of ACCEPT.
    #[arg(long, default_value_t = 200)]
    agents: usize,
    /// Connections over which offers are accepted.
    #[arg(long, default_value_t = 8)]
    accept_connections: usize,
    /// Runs; one value of each rate comes from each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// How long offers of all agents may take to come.
const OFFERS_WAIT: Duration = Duration::from_secs(30);
const TASK_CPUS: f64 = 0.01;
const TASK_MEM_MB: f64 = 1.0;

/// One value of each figure.
struct Run {
    calls_per_s: f64,
    leader_cpu_us: f64,
}

/// Measures SUPPRESS, then ACCEPT.
pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let cluster = Cluster::start(3)?;
    let mut report = Report::new("calls");
    report.condition("encoding", if args.protobuf { "protobuf" } else { "json" });
    report.condition("agents", args.agents);
    report.condition("accept_connections", args.accept_connections);
    report.condition("log", "sled, fdatasync");
    for &connections in &args.connections {
        let labels = [("call", "SUPPRESS"), ("connections", &connections.to_string())];
        let (mut runs, frameworks) =
            (Vec::new(), Suppressors::subscribe(&cluster, &args, connections).await?);
        for _ in 0..args.runs {
            runs.push(frameworks.run(&cluster, Duration::from_secs(args.seconds)).await?);
        }
        tell(&mut report, &labels, &runs);
    }
    let agents = start_agents(&cluster, args.agents).await?;
    for &tasks in &args.tasks {
        let labels = [("call", "ACCEPT"), ("tasks", &tasks.to_string())];
        let mut runs = Vec::new();
        for _ in 0..args.runs {
            runs.push(accept_all(&cluster, &args, tasks).await?);
        }
        tell(&mut report, &labels, &runs);
    }
    drop(agents);
    Ok(report)
}

fn tell(report: &mut Report, labels: &[(&str, &str)], runs: &[Run]) {
    report.labelled("calls_per_s", "1/s", labels, runs.iter().map(|run| run.calls_per_s).collect());
    let cpu = runs.iter().map(|run| run.leader_cpu_us).collect();
    report.labelled("leader_cpu_us_per_call", "us", labels, cpu);
}

async fn start_agents(cluster: &Cluster, count: usize) -> anyhow::Result<Vec<SimAgent>> {
    let mut agents = Vec::new();
    for number in 0..count {
        let spec = Spec {
            hostname: format!("sim-{number}"),
            cpus: 64.0,
            mem_mb: 262_144.0,
            finish: Finish::Named("none of them"),
        };
        agents.push(SimAgent::start(&cluster.ready.leader, spec).await?);
    }
    Ok(agents)
}

/// The request of a call of this framework and stream.
fn request(leader: &str, protobuf: bool, subscription: &(FrameworkId, String), call: Call) -> Vec<u8> {
    let (framework, stream) = subscription;
    let call = Call { framework_id: Some(framework.clone()), ..call };
    let (kind, body) = match protobuf {
        true => ("x-protobuf", call.encode_to_vec()),
        false => {
            let mut body = Vec::new();
            call.write_json(&mut body);
            ("json", body)
        }
    };
    let headers = format!("Content-Type: application/{kind}\r\nMesos-Stream-Id: {stream}\r\n");
    post(leader, "/api/v1/scheduler", &headers, &body)
}

/// Frameworks that have nothing to do but to say that they want nothing, and their requests.
struct Suppressors {
    _schedulers: Vec<Scheduler>,
    requests: Vec<Vec<u8>>,
}

impl Suppressors {
    async fn subscribe(cluster: &Cluster, args: &Args, count: usize) -> anyhow::Result<Self> {
        let (mut schedulers, mut requests) = (Vec::new(), Vec::new());
        for number in 0..count {
            let info = build::framework(&format!("suppresses {number}"));
            let scheduler = Scheduler::connect(Options::new(cluster.ready.masters.clone(), info)).await?;
            let subscription = scheduler.subscription().context("not subscribed")?;
            let call = Call { r#type: Some(call::Type::Suppress as i32), ..Call::default() };
            requests.push(request(&cluster.ready.leader, args.protobuf, &subscription, call));
            schedulers.push(scheduler);
        }
        Ok(Self { _schedulers: schedulers, requests })
    }

    async fn run(&self, cluster: &Cluster, duration: Duration) -> anyhow::Result<Run> {
        let mut connections = Vec::new();
        for request in &self.requests {
            connections.push((Connection::open(&cluster.ready.leader).await?, request.clone()));
        }
        let (cpu, began) = (cpu_used(cluster.leader_pid()?)?, Instant::now());
        let mut senders = JoinSet::new();
        for (mut connection, request) in connections {
            senders.spawn(async move {
                let mut calls = 0_u64;
                while began.elapsed() < duration {
                    let answer = connection.ask(&request).await?;
                    ensure!(answer.status == 202, "SUPPRESS: status {}", answer.status);
                    calls += 1;
                }
                anyhow::Ok(calls)
            });
        }
        let mut calls = 0;
        while let Some(sent) = senders.join_next().await {
            calls += sent??;
        }
        Ok(figures(calls as f64, began.elapsed(), cpu_used(cluster.leader_pid()?)?.saturating_sub(cpu)))
    }
}

fn figures(calls: f64, took: Duration, cpu: Duration) -> Run {
    Run { calls_per_s: calls / took.as_secs_f64(), leader_cpu_us: cpu.as_secs_f64() * 1e6 / calls.max(1.0) }
}

/// A framework takes all offers, one call each, and goes.
async fn accept_all(cluster: &Cluster, args: &Args, tasks: usize) -> anyhow::Result<Run> {
    let mut options = Options::new(cluster.ready.masters.clone(), build::framework("accepts"));
    // Acknowledgements would be calls of their own.
    options.acknowledge = false;
    let mut scheduler = Scheduler::connect(options).await?;
    let offers = offers(&mut scheduler, args.agents).await?;
    let subscription = scheduler.subscription().context("not subscribed")?;
    let leader = &cluster.ready.leader;
    let mut batches = vec![Vec::new(); args.accept_connections];
    for (number, offer) in offers.iter().enumerate() {
        let call = accept(offer, number, tasks);
        batches[number % args.accept_connections].push(request(leader, args.protobuf, &subscription, call));
    }
    let calls = scheduler.calls();
    let reader = tokio::spawn(async move { while scheduler.next().await.is_ok() {} });
    let mut connections = Vec::new();
    for batch in batches {
        connections.push((Connection::open(leader).await?, batch));
    }
    let (cpu, began) = (cpu_used(cluster.leader_pid()?)?, Instant::now());
    let mut senders = JoinSet::new();
    for (mut connection, batch) in connections {
        senders.spawn(async move {
            for request in batch {
                let answer = connection.ask(&request).await?;
                ensure!(answer.status == 202, "ACCEPT: status {}", answer.status);
            }
            anyhow::Ok(())
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    let run =
        figures(offers.len() as f64, began.elapsed(), cpu_used(cluster.leader_pid()?)?.saturating_sub(cpu));
    calls.teardown().await?;
    reader.abort();
    Ok(run)
}

/// One offer of every agent.
async fn offers(scheduler: &mut Scheduler, agents: usize) -> anyhow::Result<Vec<Offer>> {
    let all = async {
        let mut all = Vec::new();
        while all.len() < agents {
            if let Event::Offers(offers) = scheduler.next().await? {
                all.extend(offers);
            }
        }
        anyhow::Ok(all)
    };
    tokio::time::timeout(OFFERS_WAIT, all).await.context("offers of all agents did not come")?
}

fn accept(offer: &Offer, number: usize, tasks: usize) -> Call {
    let task = |index: usize| {
        let task = TaskBuilder::command(&format!("task-{number}-{index}"), "sleep 1000");
        task.cpus(TASK_CPUS).mem_mb(TASK_MEM_MB).on(&offer.agent_id)
    };
    let task_infos: Vec<TaskInfo> = (0..tasks).map(task).collect();
    let launch = offer::Operation {
        r#type: Some(offer::operation::Type::Launch as i32),
        launch: Some(offer::operation::Launch { task_infos }),
        ..offer::Operation::default()
    };
    let accept = call::Accept { offer_ids: vec![offer.id.clone()], operations: vec![launch], filters: None };
    Call { r#type: Some(call::Type::Accept as i32), accept: Some(accept), ..Call::default() }
}
