//! The same ACCEPT twice, with and without the death of the leader in between, launches once and loses nothing.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use mesarch_client::build::{TaskBuilder, carve, framework, is_terminal};
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_client::v1::task_status::Reason;
use mesarch_client::v1::{Offer, TaskId, TaskInfo, TaskState};
use mesarch_testkit::{Cluster, DEADLINE, Settings};
use tokio::time::timeout;

use crate::one_thread::{accept, framework_info, subscribe};
use crate::support::curl::call;

async fn next(scheduler: &mut Scheduler) -> Result<Event> {
    Ok(timeout(DEADLINE, scheduler.next()).await.context("no event in time")??)
}

async fn first_offer(scheduler: &mut Scheduler) -> Result<Offer> {
    loop {
        if let Event::Offers(offers) = next(scheduler).await? {
            return offers.into_iter().next().context("an OFFERS event holds offers");
        }
    }
}

/// A command that leaves its mark and ends once the gate is there.
fn marked_and_gated(marks: &Path, gate: &Path) -> String {
    format!("echo ran >> {}; while ! test -e {}; do sleep 0.05; done", marks.display(), gate.display())
}

/// States of the task until it has ended.
async fn follow(scheduler: &mut Scheduler) -> Result<Vec<TaskState>> {
    let mut states = Vec::new();
    loop {
        if let Event::Update(status) = next(scheduler).await? {
            states.push(status.state());
            if is_terminal(status.state()) {
                return Ok(states);
            }
        }
    }
}

/// Asks about the task; what is told until the answer, and the answer itself.
async fn reconcile(scheduler: &mut Scheduler) -> Result<Vec<TaskState>> {
    scheduler.calls().reconcile([(TaskId { value: "t".to_owned() }, None)]).await?;
    let mut states = Vec::new();
    loop {
        if let Event::Update(status) = next(scheduler).await? {
            states.push(status.state());
            if status.reason() == Reason::Reconciliation && status.uuid.is_none() {
                return Ok(states);
            }
        }
    }
}

async fn accept_twice(kill_between: bool) -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let (marks, gate) = (cluster.dir().join("marks"), cluster.dir().join("gate"));
    let options = Options::new(cluster.addresses(), framework("twice"));
    let mut scheduler = Scheduler::connect(options).await?;
    let calls = scheduler.calls();
    let offer = first_offer(&mut scheduler).await?;
    let resources = carve(&offer.resources, 0.1, 32.0).context("the agent is large enough")?;
    let command = marked_and_gated(&marks, &gate);
    let task: TaskInfo = TaskBuilder::command("t", &command).resources(resources).on(&offer.agent_id);
    calls.launch([offer.id.clone()], [task.clone()]).await?;
    if kill_between {
        cluster.kill_leader().await?;
        cluster.wait_for_leader().await?;
        while !matches!(next(&mut scheduler).await?, Event::Subscribed { .. }) {}
    }
    calls.launch([offer.id], [task]).await?;
    // The answer comes after whatever the second ACCEPT has caused to be told.
    let meanwhile = reconcile(&mut scheduler).await?;
    ensure!(!meanwhile.iter().any(|state| is_terminal(*state)), "live, but told to be {meanwhile:?}");
    std::fs::write(&gate, "")?;
    let states = follow(&mut scheduler).await?;
    ensure!(states.last() == Some(&TaskState::TaskFinished), "{states:?}");
    let ran = std::fs::read_to_string(&marks)?.lines().count();
    ensure!(ran == 1, "the task ran {ran} times");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_accept_twice_launches_once() {
    accept_twice(false).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_accept_at_the_next_leader_launches_once() {
    accept_twice(true).await.unwrap();
}

/// By curl: a client that knows nothing of resuming, whose old offers are void at the next leader.
async fn accept_twice_by_curl() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let (marks, gate) = (cluster.dir().join("marks"), cluster.dir().join("gate"));
    let leader = cluster.wait_for_leader().await?;
    let master = cluster.masters[leader].address.to_string();
    let (mut stream, framework) = subscribe(&master, &framework_info()).await?;
    let offers = stream.next_of("OFFERS").await?;
    let command = marked_and_gated(&marks, &gate);
    let call_twice = accept(&framework, &offers["offers"]["offers"][0], "t", &command);
    for _ in 0..2 {
        let answer = call(&master, &stream.stream_id, &call_twice).await?;
        ensure!(answer == (202, String::new()), "ACCEPT was answered with {answer:?}");
    }
    cluster.masters[leader].kill()?;
    let next = cluster.wait_for_leader().await?;
    let master = cluster.masters[next].address.to_string();
    let mut info = framework_info();
    info["id"] = framework.clone();
    let (mut stream, _) = subscribe(&master, &info).await?;
    let answer = call(&master, &stream.stream_id, &call_twice).await?;
    ensure!(answer == (202, String::new()), "ACCEPT was answered with {answer:?}");
    std::fs::write(&gate, "")?;
    let states = crate::one_thread::follow(&mut stream, &master, &framework, "t").await?;
    ensure!(states.last().is_some_and(|last| last == "TASK_FINISHED"), "{states:?}");
    let ran = std::fs::read_to_string(&marks)?.lines().count();
    ensure!(ran == 1, "the task ran {ran} times");
    Ok(())
}

#[tokio::test]
async fn the_same_accept_of_void_offers_neither_launches_nor_loses() {
    accept_twice_by_curl().await.unwrap();
}
