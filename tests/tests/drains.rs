//! Agents taken out of service: what was asked of one leader is carried out by the next.

use anyhow::{Context, Result, bail, ensure};
use mesarch_client::Ended;
use mesarch_client::build::{TaskBuilder, carve, framework, is_terminal};
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_client::v1::{AgentId, TaskState, TaskStatus, task_status::Reason};
use mesarch_testkit::{Cluster, DEADLINE, RawHttp, Settings, wait_for};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Does not listen to the kind signal, so that its end takes the whole grace.
const STUBBORN: &str = "trap '' TERM; while :; do sleep 0.1; done";

async fn next(scheduler: &mut Scheduler) -> Result<Event> {
    Ok(timeout(DEADLINE, scheduler.next()).await.context("no event in time")??)
}

/// Launches a task that never ends by itself, and says where it runs.
async fn launch(scheduler: &mut Scheduler) -> Result<AgentId> {
    let calls = scheduler.calls();
    loop {
        match next(scheduler).await? {
            Event::Offers(offers) => {
                let offer = offers.into_iter().next().context("an OFFERS event holds offers")?;
                let resources = carve(&offer.resources, 0.1, 32.0).context("the agent is large enough")?;
                let task = TaskBuilder::command("stubborn", STUBBORN).resources(resources);
                calls.launch([offer.id], [task.on(&offer.agent_id)]).await?;
                calls.suppress(&[]).await?;
            }
            Event::Update(status) if status.state() == TaskState::TaskRunning => {
                return status.agent_id.context("an agent's update names it");
            }
            _ => {}
        }
    }
}

async fn until_ended(scheduler: &mut Scheduler) -> Ended {
    loop {
        if let Err(ended) = scheduler.next().await {
            return ended;
        }
    }
}

async fn end_of_task(scheduler: &mut Scheduler) -> Result<TaskStatus> {
    loop {
        if let Event::Update(status) = next(scheduler).await?
            && is_terminal(status.state())
        {
            return Ok(status);
        }
    }
}

/// An operator's call at the leader; its status.
async fn operate(cluster: &Cluster, kind: &str, message: Value) -> Result<u16> {
    let leader = cluster.wait_for_leader().await?;
    let mut call = json!({"type": kind});
    call[kind.to_lowercase()] = message;
    let mut http = RawHttp::connect(&cluster.masters[leader].address.to_string()).await?;
    let headers = ["Content-Type: application/json"];
    let head = http.request("POST", "/api/v1", &headers, call.to_string().as_bytes()).await?;
    Ok(head.status)
}

async fn slave(cluster: &Cluster) -> Option<Value> {
    let slaves = cluster.operator().get_json("/slaves").await.ok()?;
    slaves["slaves"].get(0).cloned()
}

async fn drain_over_a_failover() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let mut scheduler = Scheduler::connect(Options::new(cluster.addresses(), framework("drained"))).await?;
    let agent = launch(&mut scheduler).await?;
    let drain = json!({"agent_id": {"value": agent.value}, "max_grace_period": {"seconds": 2}});
    ensure!(operate(&cluster, "DRAIN_AGENT", drain).await? == 200, "the drain was refused");
    cluster.kill_leader().await?;

    let status = end_of_task(&mut scheduler).await?;
    ensure!(status.state() == TaskState::TaskKilled, "{status:?}");
    ensure!(status.reason() == Reason::AgentDraining, "{status:?}");
    let drained = wait_for("the drain's end at the next leader", async || {
        let slave = slave(&cluster).await?;
        (slave["drain_info"]["state"] == "DRAINED").then_some(())
    });
    tokio::select! {
        drained = drained => drained?,
        // Asking on is what acknowledges the end, without which the agent is not drained.
        ended = until_ended(&mut scheduler) => bail!("the scheduler ended: {ended}"),
    }
    let slave = slave(&cluster).await.context("an agent")?;
    ensure!(slave["deactivated"] == true && slave["active"] == false, "{slave}");
    let reactivate = json!({"agent_id": {"value": agent.value}});
    ensure!(operate(&cluster, "REACTIVATE_AGENT", reactivate).await? == 200, "it is drained");
    scheduler.calls().revive(&[]).await?;
    loop {
        if let Event::Offers(offers) = next(&mut scheduler).await? {
            ensure!(offers[0].agent_id == agent, "another agent's offer");
            return Ok(());
        }
    }
}

async fn end_a_gone_agent() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let mut scheduler = Scheduler::connect(Options::new(cluster.addresses(), framework("gone"))).await?;
    let agent = launch(&mut scheduler).await?;
    let gone = json!({"agent_id": {"value": agent.value}});
    ensure!(operate(&cluster, "MARK_AGENT_GONE", gone.clone()).await? == 200, "refused");
    let status = end_of_task(&mut scheduler).await?;
    ensure!(status.reason() == Reason::AgentRemovedByOperator, "{status:?}");
    wait_for("the agent's process to end", async || cluster.agents[0].ended().map(drop)).await?;
    wait_for("its task's process to end", async || (cluster.executor_processes() == 0).then_some(())).await?;
    ensure!(operate(&cluster, "MARK_AGENT_GONE", gone).await? == 200, "it is gone already");

    // Started again by somebody who does not know: it is sent away, by every leader.
    cluster.kill_leader().await?;
    cluster.wait_for_leader().await?;
    cluster.agents[0].kill()?;
    cluster.agents[0].start()?;
    wait_for("the agent's process to end again", async || cluster.agents[0].ended().map(drop)).await?;
    ensure!(cluster.agents[0].log().contains("declared the agent gone"), "{}", cluster.agents[0].log_tail());
    ensure!(slave(&cluster).await.is_none(), "it is registered");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_asked_at_one_leader_ends_at_the_next() {
    drain_over_a_failover().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gone_agent_ends_with_all_it_runs_and_is_never_taken_again() {
    end_a_gone_agent().await.unwrap();
}
