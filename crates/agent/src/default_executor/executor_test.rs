//! The executor without an agent: what it tells of each task, in order.

use std::time::Duration;

use mesarch_client::{
    executor::{Ended, Event, Subscribed},
    v1::{
        CommandInfo, ContainerId, DurationInfo, KillPolicy, TaskId, TaskInfo, TaskState, TaskState::*,
        TaskStatus,
    },
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    executor::{Executor, Setting},
    member::folder,
};
use crate::command_executor::Heard;

const DEADLINE: Duration = Duration::from_secs(20);

struct Script {
    events: mpsc::Sender<Heard>,
    updates: mpsc::Receiver<TaskStatus>,
    running: tokio::task::JoinHandle<std::process::ExitCode>,
    sandbox: tempfile::TempDir,
}

impl Script {
    async fn new() -> Self {
        let sandbox = tempfile::tempdir().unwrap();
        let ((events, heard), (told, updates)) = (mpsc::channel(8), mpsc::channel(2));
        let setting = Setting { sandbox: sandbox.path().to_owned(), shutdown_grace: Duration::from_secs(3) };
        let running = tokio::spawn(Executor::new(setting, told).run(heard));
        let script = Self { events, updates, running, sandbox };
        let container = Some(ContainerId { value: "run".into(), parent: None });
        let (executor, framework, agent) = Default::default();
        let subscribed = Subscribed { executor, framework, agent, container };
        script.hear(Event::Subscribed(Box::new(subscribed))).await;
        script
    }

    async fn launch(tasks: &[(&str, &str)]) -> Self {
        let script = Self::new().await;
        let tasks = tasks.iter().map(|(id, line)| task(id, line)).collect();
        script.hear(Event::LaunchGroup(tasks)).await;
        script
    }

    async fn hear(&self, event: Event) {
        self.events.send(Ok(event)).await.unwrap();
    }

    /// The states of a task from here on, until all of them are told; everything is acknowledged on the way.
    async fn states(&mut self, expect: &[(&str, TaskState)]) -> Vec<TaskStatus> {
        let (mut left, mut told) = (expect.to_vec(), Vec::new());
        while !left.is_empty() {
            let status = timeout(DEADLINE, self.updates.recv()).await.expect("in time").expect("an update");
            let place = left.iter().position(|(task, _)| *task == status.task_id.value);
            let place = place.unwrap_or_else(|| panic!("{status:?} when {left:?} is expected"));
            assert_eq!(status.state, left.remove(place).1 as i32, "{status:?}");
            let uuid = status.uuid.clone().unwrap();
            self.hear(Event::Acknowledged { task: status.task_id.clone(), uuid }).await;
            told.push(status);
        }
        told
    }

    async fn ends(self) {
        timeout(DEADLINE, self.running).await.expect("ends").unwrap();
    }
}

fn task(id: &str, line: &str) -> TaskInfo {
    let command = CommandInfo { value: Some(line.to_owned()), ..Default::default() };
    TaskInfo { task_id: TaskId { value: id.into() }, command: Some(command), ..Default::default() }
}

#[tokio::test]
async fn every_task_has_its_own_process_folder_and_container() {
    let line = "echo $MESOS_SANDBOX; pwd > here";
    let mut script = Script::launch(&[("a", line), ("b", line)]).await;
    let begun = [("a", TaskStarting), ("b", TaskStarting), ("a", TaskRunning), ("b", TaskRunning)];
    let first = script.states(&begun[..2]).await;
    script.states(&[("a", TaskRunning), ("b", TaskRunning), ("a", TaskFinished), ("b", TaskFinished)]).await;
    let nested = |status: &TaskStatus| status.container_status.clone().unwrap().container_id.unwrap();
    let [a, b] = [&first[0], &first[1]].map(nested);
    assert_ne!(a.value, b.value);
    assert_eq!(a.parent.unwrap().value, "run");
    for id in ["a", "b"] {
        let folder = folder(script.sandbox.path(), id);
        let printed = std::fs::read_to_string(folder.join("stdout")).unwrap();
        assert_eq!(printed.trim(), folder.to_str().unwrap());
        assert!(folder.join("here").exists() && folder.join("stderr").exists());
    }
    script.ends().await;
}

#[tokio::test]
async fn a_task_that_ends_well_leaves_the_others_running() {
    let mut script = Script::launch(&[("a", "true"), ("b", "exec sleep 1000")]).await;
    script.states(&[("a", TaskStarting), ("b", TaskStarting), ("a", TaskRunning), ("b", TaskRunning)]).await;
    script.states(&[("a", TaskFinished)]).await;
    script.hear(Event::Kill { task: TaskId { value: "b".into() }, policy: None }).await;
    script.states(&[("b", TaskKilled)]).await;
    script.ends().await;
}

#[tokio::test]
async fn a_task_that_fails_takes_its_group_with_it_and_no_other() {
    let mut script = Script::launch(&[("a", "read x; exit 3"), ("b", "exec sleep 1000")]).await;
    // Standard input is empty: `read` ends at once, after RUNNING at the earliest.
    let other = vec![task("c", "exec sleep 1000")];
    script.hear(Event::LaunchGroup(other)).await;
    let told = script
        .states(&[
            ("a", TaskStarting),
            ("b", TaskStarting),
            ("a", TaskRunning),
            ("b", TaskRunning),
            ("c", TaskStarting),
            ("c", TaskRunning),
            ("a", TaskFailed),
            ("b", TaskKilled),
        ])
        .await;
    let failed = told.iter().find(|status| status.state == TaskFailed as i32).unwrap();
    assert_eq!(failed.message.as_deref(), Some("Command exited with status 3"));
    script.hear(Event::Shutdown).await;
    script.states(&[("c", TaskKilled)]).await;
    script.ends().await;
}

#[tokio::test]
async fn a_task_that_cannot_be_started_keeps_the_rest_from_starting() {
    let script = Script::new().await;
    let mut script = script;
    let command = CommandInfo { shell: Some(false), value: Some("/no/such".into()), ..Default::default() };
    let bad = TaskInfo { command: Some(command), ..task("bad", "") };
    script.hear(Event::LaunchGroup(vec![task("a", "exec sleep 1000"), bad, task("z", "true")])).await;
    script
        .states(&[
            ("a", TaskStarting),
            ("bad", TaskStarting),
            ("z", TaskStarting),
            ("a", TaskRunning),
            ("bad", TaskFailed),
            ("z", TaskKilled),
            ("a", TaskKilled),
        ])
        .await;
    script.ends().await;
}

#[tokio::test]
async fn a_deaf_task_is_killed_after_its_grace_which_a_second_kill_can_shorten() {
    let line = "trap '' TERM; echo > ready; while :; do sleep 0.05; done";
    let mut script = Script::launch(&[("a", line)]).await;
    script.states(&[("a", TaskStarting), ("a", TaskRunning)]).await;
    let ready = folder(script.sandbox.path(), "a").join("ready");
    timeout(DEADLINE, async {
        while !ready.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the trap is set");
    for ms in [3_600_000, 100] {
        let policy = KillPolicy { grace_period: Some(DurationInfo { nanoseconds: ms * 1_000_000 }) };
        script.hear(Event::Kill { task: TaskId { value: "a".into() }, policy: Some(policy) }).await;
    }
    let told = script.states(&[("a", TaskKilled)]).await;
    assert_eq!(told[0].message.as_deref(), Some("Command terminated with signal Killed"));
    script.ends().await;
}

#[tokio::test]
async fn without_its_agent_nothing_goes_on() {
    let mut script = Script::launch(&[("a", "exec sleep 1000")]).await;
    script.states(&[("a", TaskStarting), ("a", TaskRunning)]).await;
    script.events.send(Err(Ended::AgentLost("gone".into()))).await.unwrap();
    script.ends().await;
}
