//! An agent in a runtime of its own, so that it can die at any moment and leave everything behind as a dead process does.

use std::{net::SocketAddr, path::Path, time::Duration};

use mesarch_agent::{Agent, Options, RunError, StartError};
use mesarch_proto::mesos::v1::{AgentId, CommandInfo, TaskId, TaskInfo, TaskStatus};
use rustix::process::{Pid, Signal, getsid, kill_process};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle, time::Instant};

use crate::master::{AGENT, DEADLINE, Master};

pub(crate) struct Process {
    runtime: Option<Runtime>,
    pub(crate) address: SocketAddr,
    options: Options,
    /// Dropped to ask it to stop.
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<(), RunError>>>,
    /// Another agent goes on with the executors.
    succeeded: bool,
}

impl Process {
    pub(crate) async fn start(work_dir: &Path, masters: &[&Master]) -> Self {
        Self::start_with(work_dir, masters, |_| {}).await
    }

    pub(crate) async fn start_with(work_dir: &Path, masters: &[&Master], change: fn(&mut Options)) -> Self {
        let mut options = Options {
            masters: masters.iter().map(|master| master.address.to_string()).collect(),
            listen: "127.0.0.1:0".parse().unwrap(),
            work_dir: work_dir.to_owned(),
            executor_program: Some(env!("CARGO_BIN_EXE_mesarch-test-executor").into()),
            executor_reregistration_timeout_ms: 15_000,
            ..Options::default()
        };
        change(&mut options);
        Self::launch(options).await
    }

    async fn launch(mut options: Options) -> Self {
        let agent = until(|| started(&options)).await;
        options.listen = agent.address();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let until_asked = async { drop(stopped.await) };
        let running = runtime.spawn(agent.run(until_asked));
        let (stop, running) = (Some(stop), Some(running));
        Self { runtime: Some(runtime), address: options.listen, options, stop, running, succeeded: false }
    }

    /// Asks it to stop; afterwards nothing of it runs.
    pub(crate) async fn stop(&mut self) {
        self.stop = None;
        self.end().await.expect("runs until it is asked to stop");
        let metrics = self.runtime.as_ref().expect("it was not killed").metrics();
        until(|| (metrics.num_alive_tasks() == 0).then_some(())).await;
    }

    /// Waits until it has ended; why, if it was not asked to.
    pub(crate) async fn end(&mut self) -> Result<(), RunError> {
        let running = self.running.take().expect("it runs");
        tokio::time::timeout(DEADLINE, running).await.expect("it ends").expect("it ends without a panic")
    }

    /// Dies at once, and a new agent starts in its place.
    pub(crate) async fn restart(mut self) -> Self {
        self.die();
        self.succeeded = true;
        Self::launch(self.options.clone()).await
    }

    /// Dies at once; afterwards nothing of it runs and executors are alone.
    pub(crate) fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime may not be waited for within another one.
            std::thread::spawn(move || runtime.shutdown_timeout(DEADLINE)).join().expect("it ends");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.die();
        if !self.succeeded {
            end_executors(&self.options.work_dir);
        }
    }
}

/// Executors outlive their agent; they must not outlive the test.
fn end_executors(work_dir: &Path) {
    let notes = std::fs::read_dir(work_dir.join("meta/runs")).into_iter().flatten().flatten();
    let notes = notes.filter_map(|note| std::fs::read_to_string(note.path()).ok());
    notes.filter_map(|note| leader_in(&note)).for_each(kill_session);
}

/// The process that a note is about.
fn leader_in(note: &str) -> Option<Pid> {
    Pid::from_raw(note.split(' ').next()?.parse().ok()?)
}

/// The process of the executor that a status came from.
pub(crate) fn executor_of(work_dir: &Path, status: &TaskStatus) -> Pid {
    let container = status.container_status.as_ref().and_then(|it| it.container_id.as_ref()).unwrap();
    let note = std::fs::read_to_string(work_dir.join("meta/runs").join(&container.value)).unwrap();
    leader_in(&note).expect("a process id")
}

/// The processes of an executor's session that have not ended, itself included.
pub(crate) fn session(leader: Pid) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let stat = |pid: &Pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let lives = |pid: &Pid| stat(pid).rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"));
    pids.filter(|pid| getsid(Some(*pid)).is_ok_and(|session| session == leader) && lives(pid)).collect()
}

/// SIGKILL for all of an executor's session.
pub(crate) fn kill_session(leader: Pid) {
    for pid in session(leader) {
        // What has ended meanwhile is what was wanted.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// None while the agent before it still holds the folder or the port.
fn started(options: &Options) -> Option<Agent> {
    match Agent::new(options.clone()) {
        Ok(agent) => Some(agent),
        Err(StartError::WorkDir(_) | StartError::Listen { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Waits for a condition.
pub(crate) async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "the condition never held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn shell(task: &str, line: &str) -> TaskInfo {
    TaskInfo {
        name: task.into(),
        task_id: TaskId { value: task.into() },
        agent_id: AgentId { value: AGENT.into() },
        command: Some(CommandInfo { value: Some(line.into()), ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
