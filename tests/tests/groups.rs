//! Groups of tasks: launched, delivered and ended together, whoever leads.

use anyhow::{Context, Result, ensure};
use mesarch_client::build::{TaskBuilder, allocation_role, framework, is_terminal, scalar};
use mesarch_client::scheduler::{Event, Options, Scheduler};
use mesarch_client::v1::{CommandInfo, ExecutorId, ExecutorInfo, Offer, Resource, TaskState, TaskStatus};
use mesarch_testkit::{Cluster, DEADLINE, Settings};
use tokio::time::timeout;

const RESOURCES: &str = "--resources=cpus:4;mem:2048;disk:1024";

async fn next(scheduler: &mut Scheduler) -> Result<Event> {
    Ok(timeout(DEADLINE, scheduler.next()).await.context("no event in time")??)
}

/// The group's executor: the agent's own.
fn default_executor() -> ExecutorInfo {
    ExecutorInfo {
        executor_id: ExecutorId { value: "e".to_owned() },
        r#type: Some(mesarch_client::v1::executor_info::Type::Default as i32),
        ..ExecutorInfo::default()
    }
}

/// A framework's own program that takes groups.
fn custom_executor() -> Result<ExecutorInfo> {
    let command = CommandInfo {
        shell: Some(false),
        value: Some(mesarch_testkit::cluster::binary()?.display().to_string()),
        arguments: ["mesarch", "default-executor"].map(str::to_owned).to_vec(),
        ..CommandInfo::default()
    };
    let kind = Some(mesarch_client::v1::executor_info::Type::Custom as i32);
    Ok(ExecutorInfo { r#type: kind, command: Some(command), ..default_executor() })
}

/// So much of an offer, in its role.
fn of(offer: &Offer, amounts: &[(&str, f64)]) -> Vec<Resource> {
    let role = offer.resources.first().and_then(allocation_role).map(str::to_owned);
    let allocation = mesarch_client::v1::resource::AllocationInfo { role };
    let one = |(name, amount): &(&str, f64)| Resource {
        allocation_info: Some(allocation.clone()),
        ..scalar(name, *amount)
    };
    amounts.iter().map(one).collect()
}

/// Launches two tasks together on the first offer.
async fn launch(scheduler: &mut Scheduler, executor: ExecutorInfo, commands: [&str; 2]) -> Result<()> {
    let calls = scheduler.calls();
    loop {
        let Event::Offers(offers) = next(scheduler).await? else { continue };
        let offer = offers.into_iter().next().context("an OFFERS event holds offers")?;
        let task = |(id, command): (&str, &str)| {
            let amounts = of(&offer, &[("cpus", 0.1), ("mem", 32.0)]);
            TaskBuilder::command(id, command).resources(amounts).on(&offer.agent_id)
        };
        let tasks: Vec<_> = ["a", "b"].into_iter().zip(commands).map(task).collect();
        let resources = of(&offer, &[("cpus", 0.1), ("mem", 32.0), ("disk", 16.0)]);
        calls.launch_group([offer.id.clone()], ExecutorInfo { resources, ..executor }, tasks).await?;
        calls.suppress(&[]).await?;
        return Ok(());
    }
}

/// The last statuses of both tasks, once both are in a state that `wanted` names.
async fn both(scheduler: &mut Scheduler, wanted: impl Fn(TaskState) -> bool) -> Result<[TaskStatus; 2]> {
    let mut last = [None, None];
    while last.iter().any(|known: &Option<TaskStatus>| !known.as_ref().is_some_and(|s| wanted(s.state()))) {
        if let Event::Update(status) = next(scheduler).await? {
            let place = usize::from(status.task_id.value == "b");
            last[place] = Some(status);
        }
    }
    Ok(last.map(Option::unwrap_or_default))
}

async fn start() -> Result<(Cluster, Scheduler)> {
    let settings = Settings { agent_flags: vec![RESOURCES.to_owned()], ..Settings::default() };
    let cluster = Cluster::start(3, 1, settings).await?;
    let scheduler = Scheduler::connect(Options::new(cluster.addresses(), framework("groups"))).await?;
    Ok((cluster, scheduler))
}

/// Both tasks run on while the leader dies, and are told to end by a file.
async fn outlives_its_leader(executor: ExecutorInfo) -> Result<()> {
    let (mut cluster, mut scheduler) = start().await?;
    let go = cluster.dir().join("go");
    let command = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    launch(&mut scheduler, executor, [&command, &command]).await?;
    both(&mut scheduler, |state| state == TaskState::TaskRunning).await?;
    cluster.kill_leader().await?;
    cluster.wait_for_leader().await?;
    std::fs::write(&go, "")?;
    let ended = both(&mut scheduler, is_terminal).await?;
    for status in ended {
        ensure!(status.state() == TaskState::TaskFinished, "{status:?}");
        ensure!(status.executor_id.as_ref().is_some_and(|id| id.value == "e"), "{status:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_a_custom_executor_outlives_the_leader() {
    outlives_its_leader(custom_executor().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_the_default_executor_outlives_the_leader() {
    outlives_its_leader(default_executor()).await.unwrap();
}

async fn fails_together() -> Result<()> {
    let (_cluster, mut scheduler) = start().await?;
    launch(&mut scheduler, default_executor(), ["sleep 0.2; exit 7", "exec sleep 1000"]).await?;
    let [failed, killed] = both(&mut scheduler, is_terminal).await?;
    ensure!(failed.state() == TaskState::TaskFailed, "{failed:?}");
    ensure!(failed.message.as_deref() == Some("Command exited with status 7"), "{failed:?}");
    ensure!(killed.state() == TaskState::TaskKilled, "{killed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_fails_ends_its_group() {
    fails_together().await.unwrap();
}
