//! The executor without an agent: what it tells, in order.

use std::time::Duration;

use bytes::Bytes;
use mesarch_client::executor::{Ended, Event, Subscribed};
use mesarch_proto::mesos::v1::{
    CommandInfo, DurationInfo, FrameworkInfo, KillPolicy, TaskId, TaskInfo, TaskState, TaskStatus,
    framework_info::{Capability, capability},
};
use tokio::{sync::mpsc, time::timeout};

use super::executor::{Executor, Heard};

const DEADLINE: Duration = Duration::from_secs(20);

struct Script {
    events: mpsc::Sender<Heard>,
    updates: mpsc::Receiver<TaskStatus>,
    running: tokio::task::JoinHandle<std::process::ExitCode>,
    sandbox: tempfile::TempDir,
}

/// Says, in a task's command, that the lines before it are done: [`Script::ready`] waits for it.
const READY: &str = "echo > ready";

impl Script {
    async fn launch(task: TaskInfo) -> Self {
        let sandbox = tempfile::tempdir().unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, sandbox.path().join("ready"), kind, mode, 0).unwrap();
        let ((events, heard), (told, updates)) = (mpsc::channel(8), mpsc::channel(super::UPDATES_MAX));
        let running = tokio::spawn(Executor::new(sandbox.path().to_owned(), told).run(heard));
        let mut script = Self { events, updates, running, sandbox };
        let killing = Capability { r#type: Some(capability::Type::TaskKillingState as i32) };
        let framework = FrameworkInfo { capabilities: vec![killing], ..Default::default() };
        let (executor, agent, container) = Default::default();
        let subscribed = Subscribed { executor, framework, agent, container };
        script.hear(Event::Subscribed(Box::new(subscribed))).await;
        script.hear(Event::Launch(Box::new(task))).await;
        script
    }

    async fn hear(&mut self, event: Event) {
        self.events.send(Ok(event)).await.unwrap();
    }

    /// Until the task's command has said [`READY`]: TASK_RUNNING tells that a shell began, not that it has set its traps.
    async fn ready(&self) {
        let said = tokio::fs::read(self.sandbox.path().join("ready"));
        assert_eq!(timeout(DEADLINE, said).await.expect("in time").unwrap(), b"\n");
    }

    async fn kill(&mut self, grace_ms: Option<i64>) {
        let policy = |ms| KillPolicy { grace_period: Some(DurationInfo { nanoseconds: ms * 1_000_000 }) };
        self.hear(Event::Kill { task: TaskId::default(), policy: grace_ms.map(policy) }).await;
    }

    /// The next update.
    async fn told(&mut self) -> TaskStatus {
        timeout(DEADLINE, self.updates.recv()).await.expect("in time").expect("an update")
    }

    async fn states(&mut self, expect: &[TaskState]) -> TaskStatus {
        let mut last = TaskStatus::default();
        for state in expect {
            last = self.told().await;
            assert_eq!(last.state, *state as i32, "{last:?}");
        }
        last
    }

    async fn finish(mut self, uuid: Option<Bytes>) {
        self.hear(Event::Acknowledged { task: TaskId::default(), uuid: uuid.unwrap() }).await;
        timeout(DEADLINE, self.running).await.expect("ends").unwrap();
    }
}

fn task(line: &str) -> TaskInfo {
    let command = CommandInfo { value: Some(line.to_owned()), ..Default::default() };
    TaskInfo { task_id: TaskId { value: "t".into() }, command: Some(command), ..Default::default() }
}

use TaskState::*;

#[tokio::test]
async fn a_command_that_ends_well_is_finished() {
    let mut script = Script::launch(task("true")).await;
    let last = script.states(&[TaskStarting, TaskRunning, TaskFinished]).await;
    script.finish(last.uuid).await;
}

#[tokio::test]
async fn a_command_that_ends_badly_is_failed_with_its_status() {
    let mut script = Script::launch(task("exit 3")).await;
    let last = script.states(&[TaskStarting, TaskRunning, TaskFailed]).await;
    assert_eq!(last.message.as_deref(), Some("Command exited with status 3"));
    script.finish(last.uuid).await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_failed() {
    let command = CommandInfo { shell: Some(false), value: Some("/no/such".into()), ..Default::default() };
    let mut script = Script::launch(TaskInfo { command: Some(command), ..task("") }).await;
    let last = script.states(&[TaskStarting, TaskFailed]).await;
    script.finish(last.uuid).await;
}

#[tokio::test]
async fn a_killed_command_is_killed_even_if_it_ends_well() {
    let line = format!("trap 'exit 0' TERM; {READY}; while :; do sleep 0.05; done");
    let mut script = Script::launch(task(&line)).await;
    script.states(&[TaskStarting, TaskRunning]).await;
    script.ready().await;
    script.kill(None).await;
    let last = script.states(&[TaskKilling, TaskKilled]).await;
    script.finish(last.uuid).await;
}

#[tokio::test]
async fn a_command_that_does_not_listen_is_killed_after_the_grace_which_a_second_kill_can_shorten() {
    let line = format!("trap '' TERM; {READY}; while :; do sleep 0.05; done");
    let mut script = Script::launch(task(&line)).await;
    script.states(&[TaskStarting, TaskRunning]).await;
    script.ready().await;
    script.kill(Some(3_600_000)).await;
    script.kill(Some(100)).await;
    let last = script.states(&[TaskKilling, TaskKilled]).await;
    assert_eq!(last.message.as_deref(), Some("Command terminated with signal Killed"));
    script.finish(last.uuid).await;
}

#[tokio::test]
async fn a_command_that_runs_for_too_long_fails() {
    let max_completion_time = Some(DurationInfo { nanoseconds: 100_000_000 });
    let mut script = Script::launch(TaskInfo { max_completion_time, ..task("exec sleep 1000") }).await;
    let last = script.states(&[TaskStarting, TaskRunning, TaskKilling, TaskFailed]).await;
    assert_eq!(last.reason(), mesarch_proto::mesos::v1::task_status::Reason::MaxCompletionTimeReached);
    script.finish(last.uuid).await;
}

#[tokio::test]
async fn without_its_agent_nothing_goes_on() {
    let mut script = Script::launch(task("exec sleep 1000")).await;
    script.states(&[TaskStarting, TaskRunning]).await;
    script.events.send(Err(Ended::AgentLost("gone".into()))).await.unwrap();
    timeout(DEADLINE, script.running).await.expect("ends").unwrap();
}
