//! A framework's time to come back: losing the leader does not use it up, leaving does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mesarch_client::Ended;
use mesarch_client::build::{TaskBuilder, carve, framework, is_terminal};
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_client::v1::{FrameworkId, FrameworkInfo, TaskState};
use mesarch_testkit::{Cluster, DEADLINE, Settings, wait_for};
use tokio::time::timeout;

use crate::support::steady::Steady;

const FAILOVERS: usize = 10;

fn with_failover_timeout(name: &str, seconds: f64) -> FrameworkInfo {
    FrameworkInfo { failover_timeout: Some(seconds), ..framework(name) }
}

async fn connect(cluster: &Cluster, info: FrameworkInfo) -> Result<(Scheduler, FrameworkId)> {
    let scheduler = Scheduler::connect(Options::new(cluster.addresses(), info)).await?;
    let (id, _) = scheduler.subscription().context("just subscribed")?;
    Ok((scheduler, id))
}

async fn next(scheduler: &mut Scheduler) -> Result<Event> {
    Ok(timeout(DEADLINE, scheduler.next()).await.context("no event in time")??)
}

/// Launches a long task and waits until it runs.
async fn launch_sleeper(scheduler: &mut Scheduler) -> Result<()> {
    let calls = scheduler.calls();
    loop {
        match next(scheduler).await? {
            Event::Offers(offers) => {
                let offer = offers.into_iter().next().context("an OFFERS event holds offers")?;
                let resources = carve(&offer.resources, 0.1, 32.0).context("the agent is large enough")?;
                let task =
                    TaskBuilder::command("sleeper", "sleep 600").resources(resources).on(&offer.agent_id);
                calls.launch([offer.id], [task]).await?;
                calls.suppress(&[]).await?;
            }
            Event::Update(status) if status.state() == TaskState::TaskRunning => return Ok(()),
            Event::Update(status) if is_terminal(status.state()) => bail!("the task ended: {status:?}"),
            _ => {}
        }
    }
}

async fn survive_failovers() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let (mut scheduler, id) = connect(&cluster, with_failover_timeout("no-time-at-all", 0.0)).await?;
    launch_sleeper(&mut scheduler).await?;
    for _ in 0..FAILOVERS {
        let dead = cluster.kill_leader().await?;
        loop {
            match next(&mut scheduler).await? {
                Event::Subscribed { framework, .. } => {
                    ensure!(framework == id, "another id: {framework:?}");
                    break;
                }
                Event::Update(status) if is_terminal(status.state()) => {
                    bail!("the task was lost: {status:?}")
                }
                _ => {}
            }
        }
        cluster.masters[dead].start()?;
        cluster.wait_until_joined(dead).await?;
    }
    let tasks = cluster.operator().state().await?["frameworks"][0]["tasks"].clone();
    ensure!(tasks[0]["state"] == "TASK_RUNNING", "{tasks}");
    Ok(())
}

async fn expire_after_leaving() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let (mut leaver, left) = connect(&cluster, with_failover_timeout("leaver", 2.0)).await?;
    launch_sleeper(&mut leaver).await?;
    drop(leaver);
    let expired = async || {
        let state = cluster.operator().state().await.ok()?;
        let has = |list: &str| {
            state[list].as_array().is_some_and(|all| all.iter().any(|f| f["id"] == left.value.as_str()))
        };
        (has("completed_frameworks") && !has("frameworks")).then_some(())
    };
    wait_for("the framework that left to expire", expired).await?;
    wait_for("its task to end", async || (cluster.executor_processes() == 0).then_some(())).await?;
    // A new leader knows that, too.
    cluster.kill_leader().await?;
    cluster.wait_for_leader().await?;
    let mut info = with_failover_timeout("leaver", 2.0);
    info.id = Some(left);
    let mut options = Options::new(cluster.addresses(), info);
    options.connect_max = Duration::from_secs(20);
    let back = match Scheduler::connect(options).await {
        Err(ended) => ended,
        Ok(mut scheduler) => loop {
            if let Err(ended) = timeout(DEADLINE, scheduler.next()).await? {
                break ended;
            }
        },
    };
    ensure!(matches!(&back, Ended::Refused(text) if text.contains("removed")), "{back}");
    Ok(())
}

/// How long frameworks have to come back to a new leader, here.
const REREGISTER: Duration = Duration::from_secs(4);

/// One framework left before the leader died and has the re-registration time from then on; the other one stays.
async fn leave_before_a_failover() -> Result<()> {
    let flag = format!("--framework-reregister-timeout={}secs", REREGISTER.as_secs());
    let settings = Settings { master_flags: vec![flag], ..Settings::default() };
    let mut cluster = Cluster::start(3, 1, settings).await?;
    let stays = Steady::start(cluster.addresses(), "stays", 0.0, cluster.dir()).await?;
    let (leaver, left) = connect(&cluster, with_failover_timeout("leaver", 2.0)).await?;
    drop(leaver);
    wait_for("the leader to see it leave", async || {
        let state = cluster.operator().state().await.ok()?;
        let mut all = state["frameworks"].as_array()?.iter();
        all.any(|framework| framework["id"] == left.value.as_str() && framework["connected"] == false)
            .then_some(())
    })
    .await?;
    let before = Instant::now();
    let dead = cluster.kill_leader().await?;
    let has = async |list: &str, id: &str| {
        let state = cluster.operator().state().await.ok()?;
        state[list].as_array()?.iter().any(|framework| framework["id"] == id).then_some(())
    };
    wait_for("the framework that left to expire", async || has("completed_frameworks", &left.value).await)
        .await?;
    let waited = before.elapsed();
    ensure!(waited >= REREGISTER, "expired after {waited:?}, before its time to come back was over");
    stays.check_runs().await?;
    ensure!(stays.subscriptions() == 2, "one subscription at each leader, not {}", stays.subscriptions());
    ensure!(has("frameworks", &stays.id).await.is_some(), "the framework that came back is gone");
    cluster.masters[dead].start()?;
    cluster.wait_until_joined(dead).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_counts_across_a_failover_and_losing_the_leader_does_not() {
    leave_before_a_failover().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_without_failover_timeout_survives_ten_failovers() {
    survive_failovers().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_that_has_left_expires_and_stays_expired() {
    expire_after_leaving().await.unwrap();
}
