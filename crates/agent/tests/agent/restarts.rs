//! The agent dies and comes back.

use mesarch_proto::{
    link::{from_agent, to_agent},
    mesos::v1::TaskState::*,
};

use rustix::process::{Signal, kill_process};

use crate::{
    master::{AGENT, Master},
    process::{Process, executor_of, kill_session, lines, session, shell, until},
};

/// The task writes when it starts, and ends when it is told to.
fn patient(dir: &std::path::Path) -> String {
    let (ran, end) = (dir.join("ran"), dir.join("end"));
    format!("echo x >> {}; while [ ! -e {} ]; do sleep 0.02; done", ran.display(), end.display())
}

#[tokio::test]
async fn a_running_task_survives_the_agent_and_is_heard_of_again() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", &patient(dir.path())), 1).await;
    master.goes_through(&[TaskStarting, TaskRunning]).await;
    until(|| (lines(&dir.path().join("ran")) == 1).then_some(())).await;
    let _agent = agent.restart().await;
    let from_agent::Kind::Attach(attach) = master.attach().await else { panic!("it is known by now") };
    assert_eq!(attach.agent, AGENT);
    assert!(attach.inventory_wanted);
    master.send(to_agent::Kind::InventoryRequest(Default::default())).await;
    let from_agent::Kind::Inventory(inventory) = master.next().await else { panic!("was asked for") };
    assert_eq!((inventory.tasks.len(), inventory.tasks[0].state), (1, TaskRunning as i32));
    std::fs::write(dir.path().join("end"), "").unwrap();
    master.goes_through(&[TaskFinished]).await;
    assert_eq!(lines(&dir.path().join("ran")), 1);
}

#[tokio::test]
async fn an_agent_that_is_asked_to_stop_ends_all_of_itself_and_no_task() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let mut agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "exec sleep 1000"), 1).await;
    let running = master.goes_through(&[TaskStarting, TaskRunning]).await;
    let executor = executor_of(dir.path(), &running);
    agent.stop().await;
    assert!(session(executor).contains(&executor), "the executor lives on");
}

#[tokio::test]
async fn what_ended_while_the_agent_was_away_is_told_when_it_is_back() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", &patient(dir.path())), 1).await;
    master.goes_through(&[TaskStarting, TaskRunning]).await;
    std::fs::write(dir.path().join("end"), "").unwrap();
    let _agent = agent.restart().await;
    master.attach().await;
    master.goes_through(&[TaskFinished]).await;
}

#[tokio::test]
async fn a_task_can_be_killed_by_the_agent_s_successor() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "exec sleep 1000"), 1).await;
    master.goes_through(&[TaskStarting, TaskRunning]).await;
    let _agent = agent.restart().await;
    master.attach().await;
    master.kill("t", 1, Default::default()).await;
    master.goes_through(&[TaskKilled]).await;
}

/// Killed from outside, between two agents: the second one finds no process.
#[tokio::test]
async fn an_executor_that_died_with_the_agent_is_found_out() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "exec sleep 1000"), 1).await;
    let running = master.goes_through(&[TaskStarting, TaskRunning]).await;
    kill_session(executor_of(dir.path(), &running));
    let _agent = agent.restart().await;
    master.attach().await;
    // Whether the first agent still saw the end or the second found it out: the task has failed.
    let last = master.goes_through(&[TaskFailed]).await;
    assert!(last.message.unwrap().starts_with("Executor terminated"));
}

/// Only the executor: its task has no reason to end by itself, and must not outlive its own TASK_FAILED.
#[tokio::test]
async fn a_task_whose_executor_died_with_the_agent_has_ended_when_it_is_told_so() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let mut agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "exec sleep 1000"), 1).await;
    let executor = executor_of(dir.path(), &master.goes_through(&[TaskStarting, TaskRunning]).await);
    agent.die();
    kill_process(executor, Signal::KILL).unwrap();
    until(|| (!session(executor).contains(&executor)).then_some(())).await;
    assert_eq!(session(executor).len(), 1, "the task is left");
    let _agent = agent.restart().await;
    master.attach().await;
    master.goes_through(&[TaskFailed]).await;
    assert_eq!(session(executor), []);
}

#[tokio::test]
async fn the_finished_are_remembered_over_a_restart() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let ran = dir.path().join("ran");
    let task = shell("t", &format!("echo x >> {}", ran.display()));
    master.run(&task, 5).await;
    master.goes_through(&[TaskStarting, TaskRunning, TaskFinished]).await;
    let _agent = agent.restart().await;
    master.attach().await;
    master.run(&task, 5).await;
    assert!(matches!(master.next().await, from_agent::Kind::Forgot(_)));
    assert_eq!(lines(&ran), 1);
}
