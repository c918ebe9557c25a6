//! The executor of the demo's first framework: a real program on the SDK, started by the agent.
//!
//! Each task is a process of its own that sleeps. A task's data is the path of a *cue* folder, through which the story
//! tells the executor what to do while no master can: a file `<task>.report` makes it report progress, `<task>.finish`
//! ends the task.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use mesarch_client::{
    ContentType,
    executor::{Calls, Environment, Event, Executor, status},
    v1::{TaskId, TaskInfo, TaskState, TaskStatus},
};
use tokio::process::{Child, Command};

/// How often the cue folder is looked at.
const CUES_EVERY: Duration = Duration::from_millis(5);
/// Longer than any demo.
const SLEEP_SECONDS: &str = "3600";

/// The message of a progress report, which the story looks for.
pub(super) const PROGRESS: &str = "half of the work is done";

struct Task {
    id: TaskId,
    cues: PathBuf,
    process: Child,
    reported: bool,
}

/// Runs until the agent says SHUTDOWN or is lost.
pub(super) async fn run() -> anyhow::Result<()> {
    let mut executor = Executor::start(Environment::from_process()?, ContentType::Protobuf);
    let calls = executor.calls();
    let mut tasks = HashMap::new();
    let mut cues = tokio::time::interval(CUES_EVERY);
    loop {
        tokio::select! {
            event = executor.next() => match event? {
                Event::Launch(info) => {
                    let task = launch(&calls, *info).await?;
                    tasks.insert(task.id.value.clone(), task);
                }
                Event::Kill { task, .. } => {
                    if let Some(task) = tasks.remove(&task.value) {
                        end(&calls, task, TaskState::TaskKilled).await?;
                    }
                }
                Event::Shutdown => return Ok(()),
                _ => {}
            },
            _ = cues.tick() => follow_cues(&calls, &mut tasks).await?,
        }
    }
}

async fn launch(calls: &Calls, info: TaskInfo) -> anyhow::Result<Task> {
    let cues = info.data.as_deref().context("a task without data")?;
    let cues = Path::new(std::str::from_utf8(cues)?).to_owned();
    let process = Command::new("sleep").arg(SLEEP_SECONDS).stdin(Stdio::null()).kill_on_drop(true).spawn()?;
    let pid = process.id().context("the task's process ended at once")?;
    let running =
        TaskStatus { message: Some(pid.to_string()), ..status(&info.task_id, TaskState::TaskRunning) };
    calls.update(running).await?;
    Ok(Task { id: info.task_id, cues, process, reported: false })
}

async fn end(calls: &Calls, mut task: Task, state: TaskState) -> anyhow::Result<()> {
    task.process.kill().await?;
    calls.update(status(&task.id, state)).await?;
    Ok(())
}

async fn follow_cues(calls: &Calls, tasks: &mut HashMap<String, Task>) -> anyhow::Result<()> {
    let cue = |task: &Task, name: &str| task.cues.join(format!("{}.{name}", task.id.value)).exists();
    for task in tasks.values_mut().filter(|task| !task.reported) {
        if cue(task, "report") {
            task.reported = true;
            let progress =
                TaskStatus { message: Some(PROGRESS.to_owned()), ..status(&task.id, TaskState::TaskRunning) };
            calls.update(progress).await?;
        }
    }
    let finished: Vec<String> =
        tasks.iter().filter(|(_, task)| cue(task, "finish")).map(|(id, _)| id.clone()).collect();
    for id in finished {
        if let Some(task) = tasks.remove(&id) {
            end(calls, task, TaskState::TaskFinished).await?;
        }
    }
    Ok(())
}
