//! Tasks through the command executor.

use bytes::Bytes;
use mesarch_proto::{
    link::from_agent,
    mesos::v1::{DurationInfo, Environment, KillPolicy, TaskState::*, environment, task_status::Source},
};
use prost::Message;

use crate::{
    master::{AGENT, Master, key, status},
    process::{Process, executor_of, lines, session, shell, until},
};

#[tokio::test]
async fn a_task_runs_and_finishes() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    let from_agent::Kind::Register(register) = master.attach().await else { panic!("registers first") };
    assert_eq!(register.nonce.len(), 16);
    master.run(&shell("t", "echo out; echo err >&2; pwd"), 1).await;
    let last = master.goes_through(&[TaskStarting, TaskRunning, TaskFinished]).await;
    assert_eq!(last.agent_id.unwrap().value, AGENT);
    assert_eq!(last.executor_id.unwrap().value, "t");
    assert_eq!(last.source, Some(Source::Executor as i32));
    let container = last.container_status.unwrap();
    assert_eq!(container.network_infos[0].ip_addresses[0].ip_address.as_deref(), Some("127.0.0.1"));
    let runs = dir.path().join(format!("slaves/{AGENT}/frameworks/cluster-1-0001/executors/t/runs"));
    let sandbox = runs.join(container.container_id.unwrap().value);
    let stdout = std::fs::read_to_string(runs.join("latest/stdout")).unwrap();
    assert_eq!(stdout, format!("out\n{}\n", sandbox.display()));
    assert_eq!(std::fs::read_to_string(sandbox.join("stderr")).unwrap(), "err\n");
    drop(agent);
}

#[tokio::test]
async fn a_task_that_fails_says_with_which_status() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "exit 3"), 1).await;
    let last = master.goes_through(&[TaskStarting, TaskRunning, TaskFailed]).await;
    assert_eq!(last.message.as_deref(), Some("Command exited with status 3"));
}

#[tokio::test]
async fn a_task_that_does_not_listen_is_killed_after_the_grace_with_all_it_started() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let alive = dir.path().join("alive");
    // The child does not listen either, and its parent does not wait for it to the end.
    let child =
        format!("sh -c 'trap \"\" TERM; while :; do echo x >> {}; sleep 0.02; done'", alive.display());
    master.run(&shell("t", &format!("trap '' TERM; {child} & wait; while :; do sleep 0.05; done")), 1).await;
    let running = master.goes_through(&[TaskStarting, TaskRunning]).await;
    let executor = executor_of(dir.path(), &running);
    until(|| (lines(&alive) > 0).then_some(())).await;
    let policy = KillPolicy { grace_period: Some(DurationInfo { nanoseconds: 100_000_000 }) };
    master.kill("t", 1, policy.encode_to_vec().into()).await;
    let last = master.goes_through(&[TaskKilled]).await;
    assert_eq!(last.message.as_deref(), Some("Command terminated with signal Killed"));
    // The executor itself may still be on its way out.
    let rest: Vec<_> = session(executor).into_iter().filter(|pid| *pid != executor).collect();
    assert_eq!(rest, [], "nothing of the task is left");
}

#[tokio::test]
async fn a_launch_that_comes_twice_runs_once() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let ran = dir.path().join("ran");
    let task = shell("t", &format!("echo x >> {}", ran.display()));
    master.run(&task, 5).await;
    master.run(&task, 5).await;
    master.goes_through(&[TaskStarting, TaskRunning, TaskFinished]).await;
    master.run(&task, 5).await;
    let from_agent::Kind::Forgot(forgot) = master.next().await else { panic!("says that it is over") };
    assert_eq!(forgot.updates[0].key, Some(key("t", 5)));
    assert_eq!(lines(&ran), 1);
}

#[tokio::test]
async fn a_late_launch_of_an_earlier_life_does_not_run() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let ran = dir.path().join("ran");
    let task = shell("t", &format!("echo x >> {}; exec sleep 1000", ran.display()));
    master.run(&task, 20).await;
    master.goes_through(&[TaskStarting, TaskRunning]).await;
    master.run(&task, 10).await;
    master.kill("t", 10, Bytes::new()).await;
    master.kill("t", 20, Bytes::new()).await;
    let last = master.update().await;
    assert_eq!((status(&last).state(), last.key.clone()), (TaskKilled, Some(key("t", 20))));
    until(|| (lines(&ran) > 0).then_some(())).await;
    assert_eq!(lines(&ran), 1);
}

#[tokio::test]
async fn a_task_id_can_be_used_again() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    for launch in 1..=3 {
        master.run(&shell("t", "true"), launch).await;
        master.goes_through(&[TaskStarting, TaskRunning, TaskFinished]).await;
    }
}

#[tokio::test]
async fn an_update_is_repeated_until_it_is_acknowledged() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start_with(dir.path(), &[&master], |it| it.update_repeat_ms = 20).await;
    master.attach().await;
    master.run(&shell("t", "true"), 1).await;
    let first = master.update().await;
    let mut latest = first.clone();
    for _ in 0..3 {
        latest = master.update().await;
        assert_eq!(latest.status, first.status);
    }
    let ended = async {
        while latest.latest != TaskFinished as i32 {
            latest = master.update().await;
        }
    };
    tokio::time::timeout(crate::master::DEADLINE, ended)
        .await
        .expect("the newest state travels with the oldest update");
    master.acknowledge(&first).await;
    let next = loop {
        let update = master.update().await;
        if update.status != first.status {
            break update;
        }
    };
    assert_eq!(status(&next).state(), TaskRunning);
}

#[tokio::test]
async fn what_is_not_implemented_fails_in_words() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let _agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let health_check = Some(Default::default());
    let task = mesarch_proto::mesos::v1::TaskInfo { health_check, ..shell("t", "true") };
    master.run(&task, 1).await;
    let last = master.goes_through(&[TaskFailed]).await;
    assert!(last.message.unwrap().starts_with("not implemented: health checks"));
    let variable = environment::Variable {
        name: "S".into(),
        r#type: Some(environment::variable::Type::Secret as i32),
        ..Default::default()
    };
    let mut task = shell("u", "true");
    task.command.as_mut().unwrap().environment = Some(Environment { variables: vec![variable] });
    master.run(&task, 2).await;
    let last = master.goes_through(&[TaskFailed]).await;
    assert!(last.message.unwrap().starts_with("not implemented: environment variables of type SECRET"));
}
