//! The story, one function a step.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use mesarch_client::{
    build::{self, TaskBuilder, total},
    operator::{self, Operator},
    v1::{CommandInfo, ExecutorId, ExecutorInfo, FrameworkInfo, Offer, TaskInfo, TaskState, executor_info},
};
use serde_json::Value;

use super::{
    actor::Actor,
    executor::PROGRESS,
    leaders::{Leader, Leaders},
    narrator::Narrator,
};
use crate::cluster::{Cluster, Plan};

/// The worked example's agent and tasks.
const AGENT_1: &str = "cpus:4;mem:4096";
/// Joins later, so that framework 1 has something to hold when the leader is killed.
const AGENT_2: &str = "cpus:2;mem:2048";
const TASK_1: (&str, f64, f64) = ("task-1", 2.0, 1024.0);
const TASK_2: (&str, f64, f64) = ("task-2", 1.0, 2048.0);
/// Framework 1 does not want the rest again.
const NEVER: Duration = Duration::from_secs(3600);
/// Framework 2's first refusal.
const LATER: Duration = Duration::from_millis(500);
/// An agent repeats an update so often until it is acknowledged.
const REPEAT: Duration = Duration::from_millis(100);
/// How long an acknowledgement may be on its way, and as long again no repeat may come: several would have, if anybody
/// held the update as unacknowledged.
const SETTLED: Duration = Duration::from_millis(500);
/// The longest wait for something that is looked at again and again.
const DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Plays everything in a fresh cluster below `folder`.
pub(super) async fn play(folder: &Path) -> Result<()> {
    let mut tell = Narrator::new();
    tell.step("Three masters start; each writes its Raft log to disk, and they elect a leader.");
    let plan = Plan { masters: Some(3), agents: Some(0), dir: folder.join("cluster"), base_port: None };
    let (mut cluster, ready) = Cluster::start(&plan).await?;
    let outcome = with_cluster(&mut tell, &mut cluster, &ready.leader, folder).await;
    cluster.stop().await;
    outcome
}

async fn with_cluster(tell: &mut Narrator, cluster: &mut Cluster, leader: &str, folder: &Path) -> Result<()> {
    let mut leaders = Leaders::watch(&cluster.master_addresses());
    let first = leaders.after(0).await?;
    tell.say(format_args!("the masters are {}; {leader} leads", cluster.master_addresses().join(", ")));
    tell.check("the leader has committed the beginning of its term", first.address == leader)?;

    agent_reports(tell, cluster).await?;
    let one = framework_1(tell, cluster, folder).await?;
    let two = framework_2(tell, cluster).await?;
    both_hold_an_offer(tell, cluster, &one, &two).await?;
    let before = Before::look(cluster, &one, &two).await?;
    let failover = failover(tell, cluster, &mut leaders, first.term, folder).await?;
    frameworks_resume(tell, &one, &two, &before, &failover).await?;
    nothing_was_lost(tell, &one, &before, &failover).await?;
    old_offer_still_works(tell, &one, &before).await?;
    killed_master_rejoins(tell, cluster, &failover).await?;
    end(tell, one, two, folder).await
}

async fn agent_reports(tell: &mut Narrator, cluster: &mut Cluster) -> Result<()> {
    tell.step("Agent 1 reports 4 CPUs and 4 GB of memory to the leader.");
    cluster.add_agent(&flags(AGENT_1))?;
    let agent = agents_attached(cluster, 1).await?.remove(0);
    let (cpus, mem) = (&agent["resources"]["cpus"], &agent["resources"]["mem"]);
    tell.check("the leader knows an agent with 4 CPUs and 4096 MB", *cpus == 4.0 && *mem == 4096.0)
}

async fn framework_1(tell: &mut Narrator, cluster: &Cluster, folder: &Path) -> Result<Actor> {
    tell.step("Framework 1 subscribes. The allocation policy offers it all of agent 1.");
    let since = Instant::now();
    let one = Actor::subscribe("framework 1", cluster.master_addresses(), info("framework 1")).await?;
    let (at, offer) = one.offer_since(since).await?;
    tell.took("from SUBSCRIBE to the offer", at - since);
    tell.check("the offer is <4 CPUs, 4 GB>", holds(&offer, 4.0, 4096.0))?;

    tell.step("It answers with two tasks, <2 CPUs, 1 GB> and <1 CPU, 2 GB>, for an executor of its own.");
    let tasks = [TASK_1, TASK_2].map(|task| custom_task(&offer, task, folder));
    let since = Instant::now();
    one.calls.accept([offer.id.clone()], [launch(tasks)], Some(NEVER)).await?;
    tell.took("until the ACCEPT was committed on a quorum", since.elapsed());
    for (task, _, _) in [TASK_1, TASK_2] {
        one.state(task, TaskState::TaskRunning).await?;
    }
    tell.took("until both tasks ran, through an executor process that had to start first", since.elapsed());
    for (task, _, _) in [TASK_1, TASK_2] {
        let pid = process_of(&one, task)?;
        tell.check(format_args!("{task} runs as process {pid}"), alive(pid))?;
    }
    Ok(one)
}

async fn framework_2(tell: &mut Narrator, cluster: &Cluster) -> Result<Actor> {
    tell.step(
        "Framework 2 subscribes. It is offered what remains, and rejects it: its data is not ready yet.",
    );
    let since = Instant::now();
    let two = Actor::subscribe("framework 2", cluster.master_addresses(), info("framework 2")).await?;
    let (_, offer) = two.offer_since(since).await?;
    tell.check("the offer is <1 CPU, 1 GB>", holds(&offer, 1.0, 1024.0))?;
    let rejected = Instant::now();
    two.calls.decline([offer.id], Some(LATER)).await?;

    tell.step("Its data is ready now: when the same resources are offered again, it takes them.");
    let (at, offer) = two.offer_since(rejected).await?;
    tell.took("from the rejection to the next offer; it had asked for 500 ms of peace", at - rejected);
    tell.check(
        "the filter was kept, and the offer is <1 CPU, 1 GB>",
        at - rejected >= LATER && holds(&offer, 1.0, 1024.0),
    )?;
    let task =
        TaskBuilder::command("short", "sleep 0.3").resources(offer.resources.clone()).on(&offer.agent_id);
    let accepted = Instant::now();
    two.calls.launch([offer.id], [task]).await?;
    two.state("short", TaskState::TaskRunning).await?;
    tell.took("from ACCEPT to RUNNING of a real process", accepted.elapsed());

    tell.step("The task finishes, and its resources are offered again at once.");
    two.state("short", TaskState::TaskFinished).await?;
    let finished = two.look(|told| told.updates.last().map(|(at, _)| *at)).context("an update was told")?;
    let (at, offer) = two.offer_since(accepted).await?;
    tell.took(
        "from the end of the task, as told to the framework, to the offer",
        at.saturating_duration_since(finished),
    );
    tell.check("the offer is <1 CPU, 1 GB>; framework 2 keeps it for now", holds(&offer, 1.0, 1024.0))?;
    two.calls.suppress(&[]).await?;
    Ok(two)
}

async fn both_hold_an_offer(
    tell: &mut Narrator,
    cluster: &mut Cluster,
    one: &Actor,
    two: &Actor,
) -> Result<()> {
    tell.step("Agent 2 joins with 2 CPUs and 2 GB. Framework 2 wants no more offers, so framework 1 gets it, and waits.");
    let since = Instant::now();
    cluster.add_agent(&flags(AGENT_2))?;
    let (_, offer) = one.offer_since(since).await?;
    tell.check("the offer is <2 CPUs, 2 GB>", holds(&offer, 2.0, 2048.0))?;
    let taken_back = one.look(|told| told.rescinded.len()) + two.look(|told| told.rescinded.len());
    tell.check("each framework holds an offer that it has not answered", taken_back == 0)
}

/// What must be the same after the failover.
struct Before {
    offers: [Offer; 2],
    processes: [u32; 2],
    tasks: Vec<(String, String)>,
}

impl Before {
    async fn look(cluster: &Cluster, one: &Actor, two: &Actor) -> Result<Self> {
        agents_attached(cluster, 2).await?;
        let held = |actor: &Actor| actor.look(|told| told.offers.last().map(|(_, offer)| offer.clone()));
        let state = Operator::new(cluster.master_addresses()).state().await?;
        Ok(Self {
            offers: [
                held(one).context("framework 1 holds none")?,
                held(two).context("framework 2 holds none")?,
            ],
            processes: [process_of(one, TASK_1.0)?, process_of(one, TASK_2.0)?],
            tasks: live_tasks(&state),
        })
    }
}

/// The killed master, the next leader, and what that one knew at first sight.
struct Failover {
    killed: usize,
    at: Instant,
    next: Leader,
    state: Value,
    attached: Duration,
}

async fn failover(
    tell: &mut Narrator,
    cluster: &mut Cluster,
    leaders: &mut Leaders,
    term: u64,
    folder: &Path,
) -> Result<Failover> {
    tell.step("The leading master is killed with SIGKILL. Meanwhile task-1 reports progress to its executor's agent.");
    let leader = leaders.after(term - 1).await?.address;
    let killed =
        cluster.master_addresses().iter().position(|address| *address == leader).context("one of ours")?;
    let wall = wall_seconds()?;
    let at = Instant::now();
    cluster.kill_master(killed).await?;
    std::fs::write(folder.join(format!("{}.report", TASK_1.0)), "")?;
    let next = leaders.after(term).await?;
    tell.took("until the next leader had committed its first entry", next.at - at);
    let state = read_state(&next.address).await?;
    let attached = reattached(&next.address, 2, wall, at).await?;
    tell.took("until both agents were attached to it", attached);
    tell.say(format_args!("{} leads now, in term {}", next.address, next.term));
    Ok(Failover { killed, at, next, state, attached })
}

async fn frameworks_resume(
    tell: &mut Narrator,
    one: &Actor,
    two: &Actor,
    before: &Before,
    failover: &Failover,
) -> Result<()> {
    tell.step(
        "The frameworks follow by themselves, and resume their streams with the offers that they held.",
    );
    for (actor, held) in [one, two].into_iter().zip(&before.offers) {
        let (at, offer) = actor.offer_since(failover.at).await?;
        tell.took(format_args!("until {} held its offer again", actor.name), at - failover.at);
        tell.check("it is the very offer from before the failover", offer.id == held.id)?;
        tell.check("its stream was resumed", actor.look(|told| told.subscribed.last() == Some(&true)))?;
    }
    Ok(())
}

async fn nothing_was_lost(
    tell: &mut Narrator,
    one: &Actor,
    before: &Before,
    failover: &Failover,
) -> Result<()> {
    tell.step("Nothing was lost, and nothing was disturbed.");
    tell.check("the new leader knew every task at once", live_tasks(&failover.state) == before.tasks)?;
    tell.check("both agents came back", failover.attached < DEADLINE)?;
    for (task, pid) in [TASK_1.0, TASK_2.0].into_iter().zip(before.processes) {
        tell.check(format_args!("{task} still runs as process {pid}"), alive(pid))?;
    }
    one.wait("the progress report", |told| progress_reports(told.updates_of(TASK_1.0)).first().cloned())
        .await?;
    let told = one.look(|told| (told.states(TASK_1.0), progress_reports(told.updates_of(TASK_1.0))));
    let running = told.0.iter().filter(|state| **state == TaskState::TaskRunning).count();
    tell.check("the progress report arrived, after RUNNING and in order", running == 2 && told.0.len() == 2)?;
    let uuids: std::collections::BTreeSet<_> = told.1.iter().collect();
    tell.check("it has one uuid, and was acknowledged once", uuids.len() == 1)?;
    let arrived = one.look(|told| {
        let mut reports = told.updates.iter().filter(|(_, status)| is_report(status));
        reports.next().map(|(at, _)| *at)
    });
    let settled = arrived.context("it arrived")? + SETTLED;
    tokio::time::sleep_until((settled + SETTLED).into()).await;
    let repeats = one.look(|told| {
        told.updates.iter().filter(|(at, status)| *at > settled && status.uuid.is_some()).count()
    });
    tell.check("once acknowledged, no update was told again", repeats == 0)
}

async fn old_offer_still_works(tell: &mut Narrator, one: &Actor, before: &Before) -> Result<()> {
    tell.step("Framework 1 accepts its offer from before the failover at the new leader.");
    let offer = &before.offers[0];
    let task = TaskBuilder::command("after", "true").cpus(1.0).mem_mb(128.0).on(&offer.agent_id);
    let since = Instant::now();
    one.calls.launch([offer.id.clone()], [task]).await?;
    one.state("after", TaskState::TaskFinished).await?;
    tell.took("until its task had run and finished", since.elapsed());
    let expected = [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished];
    tell.check("it was told STARTING, RUNNING, FINISHED", one.look(|told| told.states("after")) == expected)
}

async fn killed_master_rejoins(
    tell: &mut Narrator,
    cluster: &mut Cluster,
    failover: &Failover,
) -> Result<()> {
    tell.step("The killed master is started again, and follows the new leader.");
    let since = Instant::now();
    cluster.restart_master(failover.killed)?;
    let address = cluster.master_addresses()[failover.killed].clone();
    let led_by = until("the killed master knows the leader", || async {
        operator::get(&address, "/redirect").await.ok().and_then(|reply| reply.redirect)
    })
    .await?;
    tell.took("until it had recovered its log and knew the leader", since.elapsed());
    tell.check(format_args!("it follows {led_by}"), led_by == failover.next.address)
}

async fn end(tell: &mut Narrator, one: Actor, two: Actor, folder: &Path) -> Result<()> {
    tell.step("Both tasks end, the frameworks tear themselves down, and the cluster stops.");
    for (task, _, _) in [TASK_1, TASK_2] {
        std::fs::write(folder.join(format!("{task}.finish")), "")?;
        one.state(task, TaskState::TaskFinished).await?;
    }
    let states = one.look(|told| told.states(TASK_1.0));
    tell.check(
        "task-1 was told FINISHED last",
        states.last() == Some(&TaskState::TaskFinished) && states.len() == 3,
    )?;
    one.calls.teardown().await?;
    two.calls.teardown().await?;
    Ok(())
}

/// Of an agent with these resources.
fn flags(resources: &str) -> [String; 2] {
    [format!("--resources={resources}"), format!("--update-repeat={}ms", REPEAT.as_millis())]
}

fn info(name: &str) -> FrameworkInfo {
    FrameworkInfo { failover_timeout: Some(60.0), ..build::framework(name) }
}

fn holds(offer: &Offer, cpus: f64, mem_mb: f64) -> bool {
    total(&offer.resources, "cpus") == cpus && total(&offer.resources, "mem") == mem_mb
}

/// A task for the demo's own executor, which uses nothing itself, as in the worked example.
fn custom_task(offer: &Offer, (id, cpus, mem_mb): (&str, f64, f64), cues: &Path) -> TaskInfo {
    let program = std::env::current_exe().unwrap_or_else(|_| "mesarch".into());
    let executor = ExecutorInfo {
        r#type: Some(executor_info::Type::Custom as i32),
        executor_id: ExecutorId { value: "demo".to_owned() },
        name: Some("demo executor".to_owned()),
        command: Some(CommandInfo {
            shell: Some(false),
            value: Some(program.display().to_string()),
            arguments: vec!["mesarch".to_owned(), "demo-executor".to_owned()],
            ..CommandInfo::default()
        }),
        ..ExecutorInfo::default()
    };
    let mut task = TaskBuilder::executor(id, executor).cpus(cpus).mem_mb(mem_mb).on(&offer.agent_id);
    task.data = Some(Bytes::from(cues.display().to_string()));
    task
}

fn launch(tasks: impl Into<Vec<TaskInfo>>) -> mesarch_client::v1::offer::Operation {
    use mesarch_client::v1::offer::{Operation, operation};
    let launch = operation::Launch { task_infos: tasks.into() };
    Operation { r#type: Some(operation::Type::Launch as i32), launch: Some(launch), ..Operation::default() }
}

/// The process that the executor started for a task, as its first RUNNING update says.
fn process_of(actor: &Actor, task: &str) -> Result<u32> {
    let message = actor.look(|told| {
        let mut running = told.updates_of(task).filter(|status| status.state() == TaskState::TaskRunning);
        running.next().and_then(|status| status.message.clone())
    });
    message.context("no RUNNING update")?.parse().context("the executor did not tell the process id")
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains("(sleep)") && !stat.contains("(sleep) Z")
}

fn is_report(status: &mesarch_client::v1::TaskStatus) -> bool {
    status.message.as_deref() == Some(PROGRESS)
}

/// The uuids of a task's progress reports, repeats included.
fn progress_reports<'a>(updates: impl Iterator<Item = &'a mesarch_client::v1::TaskStatus>) -> Vec<Bytes> {
    updates.filter(|status| is_report(status)).filter_map(|status| status.uuid.clone()).collect()
}

/// Ids and states of all live tasks in a `/state` answer, sorted.
fn live_tasks(state: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let frameworks = state["frameworks"].as_array().into_iter().flatten();
    let tasks = frameworks.flat_map(|framework| framework["tasks"].as_array().into_iter().flatten());
    let mut tasks: Vec<_> = tasks.map(|task| (text(&task["id"]), text(&task["state"]))).collect();
    tasks.sort();
    tasks
}

async fn agents_attached(cluster: &Cluster, count: usize) -> Result<Vec<Value>> {
    let operator = Operator::new(cluster.master_addresses());
    until("the agents are attached", || async {
        let state = operator.state().await.ok()?;
        let active = state["slaves"].as_array()?.iter().filter(|agent| agent["active"] == true);
        let active: Vec<Value> = active.cloned().collect();
        (active.len() == count).then_some(active)
    })
    .await
}

/// How long after `since` the leader knew so many agents that had attached to it after `wall`.
async fn reattached(leader: &str, count: usize, wall: f64, since: Instant) -> Result<Duration> {
    until("the agents are attached again", || async {
        let state = read_state(leader).await.ok()?;
        let back = state["slaves"].as_array()?.iter().filter(|agent| {
            agent["active"] == true && agent["reregistered_time"].as_f64().is_some_and(|time| time >= wall)
        });
        (back.count() == count).then(|| since.elapsed())
    })
    .await
}

async fn read_state(master: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&operator::get(master, "/state").await?.body)?)
}

async fn until<T, F, Answer>(what: &str, mut ask: F) -> Result<T>
where
    F: FnMut() -> Answer,
    Answer: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.with_context(|| format!("{what}: not within {DEADLINE:?}"))
}

fn wall_seconds() -> Result<f64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64())
}
