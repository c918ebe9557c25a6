//! Executors as plain processes, each in its own session.
//!
//! Whatever was started, or may have been started by an agent before this one, ends in exactly one report to the runner:
//! `LaunchFailed` or `ExecutorExited`. The report comes when nothing of the session is left.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mesarch_agent_core::{Input, Run, StartExecutor};
use mesarch_proto::mesos::v1::{ExecutorInfo, executor_info};
use mesarch_types::{AgentId, ContainerId};
use prost::Message;
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
};

use super::process::{Fate, ProcessId, end_session};
use crate::{
    environment::{self, Common, RUN_FILE},
    fetcher,
    requests::Request,
    sandbox::{Places, run_file},
    tasks::Tasks,
    volumes,
};

/// Wait status of a process that was not our child.
const UNKNOWN_STATUS: i32 = -1;

/// Starts, watches and kills. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Posix(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    work_dir: PathBuf,
    /// Has the subcommands `command-executor`, `default-executor` and `executor-launcher`.
    program: PathBuf,
    common: Common,
    requests: mpsc::Sender<Request>,
    tasks: Tasks,
    /// One entry per run that has not been reported.
    runs: Mutex<BTreeMap<ContainerId, Watched>>,
    /// Runs that could not be started since the agent was.
    failures: AtomicU64,
}

/// A run that is started, runs, or is being ended.
#[derive(Debug)]
struct Watched {
    /// True once it is to be killed.
    killed: watch::Sender<bool>,
    /// Of its first process, from when there is one.
    pid: Option<i32>,
}

/// Why a run did not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the description of the executor cannot be read")]
    Info(#[from] prost::DecodeError),
    #[error("the sandbox cannot be made: {0}")]
    Sandbox(#[source] std::io::Error),
    #[error("a persistent volume cannot be linked into the sandbox: {0}")]
    Volumes(#[source] std::io::Error),
    #[error(transparent)]
    Fetch(#[from] fetcher::FetchError),
    #[error("the process cannot be started: {0}")]
    Spawn(#[source] std::io::Error),
    #[error("killed while it was being started")]
    Killed,
    #[error("the agent is shutting down")]
    Aborted(#[from] tokio::task::JoinError),
}

impl Posix {
    pub(crate) fn new(
        work_dir: PathBuf,
        program: PathBuf,
        common: Common,
        requests: mpsc::Sender<Request>,
        tasks: Tasks,
    ) -> Self {
        let (runs, failures) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { work_dir, program, common, requests, tasks, runs, failures }))
    }

    /// Starts a run in the background.
    pub(crate) fn start(&self, agent: AgentId, start: StartExecutor) {
        let (inner, killed) = (self.0.clone(), self.0.enlist(&start.run));
        self.0.tasks.spawn("executor", inner.run(agent, start, killed));
    }

    /// Watches a run that an earlier agent started, if it did.
    pub(crate) fn adopt(&self, run: Run) {
        let (inner, killed) = (self.0.clone(), self.0.enlist(&run));
        self.0.tasks.spawn("adopted executor", inner.watch_foreign(run, killed));
    }

    /// Kills a run; its end is reported by whoever watches it.
    pub(crate) fn kill(&self, run: &Run) {
        if let Some(watched) = self.0.runs().get(&run.container) {
            watched.killed.send_replace(true);
        }
    }

    /// The first process of a run, as long as it is there.
    pub(crate) fn pid(&self, container: &ContainerId) -> Option<i32> {
        self.0.runs().get(container)?.pid
    }

    /// The same of all runs.
    pub(crate) fn pids(&self) -> BTreeMap<ContainerId, i32> {
        let runs = self.0.runs();
        runs.iter().filter_map(|(container, watched)| Some((container.clone(), watched.pid?))).collect()
    }

    /// How many runs could not be started since the agent was.
    pub(crate) fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn runs(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContainerId, Watched>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enlist(&self, run: &Run) -> watch::Receiver<bool> {
        let (killed, receiver) = watch::channel(false);
        self.runs().insert(run.container.clone(), Watched { killed, pid: None });
        receiver
    }

    fn note_pid(&self, run: &Run, pid: i32) {
        if let Some(watched) = self.runs().get_mut(&run.container) {
            watched.pid = Some(pid);
        }
    }

    async fn run(self: Arc<Self>, agent: AgentId, start: StartExecutor, mut killed: watch::Receiver<bool>) {
        let run = start.run.clone();
        let started = tokio::select! {
            started = self.clone().spawn(agent, start) => started,
            () = kill_wanted(&mut killed) => Err(StartError::Killed),
        };
        let input = match started {
            Ok(child) => {
                if let Some(pid) = pid_of(&child) {
                    self.note_pid(&run, pid);
                }
                let status = watch_child(child, &mut killed).await;
                Input::ExecutorExited { run: run.clone(), status }
            }
            Err(error) => {
                tracing::warn!(executor = %run.executor, %error, "an executor was not started");
                metrics::counter!(crate::metrics::LAUNCH_FAILURES).increment(1);
                self.failures.fetch_add(1, Ordering::Relaxed);
                Input::LaunchFailed { run: run.clone(), message: error.to_string().into() }
            }
        };
        self.report(&run, input).await;
    }

    /// The process is made in the last step, without waiting: whoever gives up earlier leaves none behind.
    async fn spawn(self: Arc<Self>, agent: AgentId, start: StartExecutor) -> Result<Child, StartError> {
        let prepared = tokio::task::spawn_blocking(move || self.prepare(&agent, &start)).await??;
        prepared.into_child()
    }

    /// Sandbox, files, environment. Blocking.
    fn prepare(&self, agent: &AgentId, start: &StartExecutor) -> Result<Prepared, StartError> {
        let info = ExecutorInfo::decode(start.executor.info.clone())?;
        let places = Places::new(&self.work_dir, agent, &start.run);
        places.create().map_err(StartError::Sandbox)?;
        volumes::link(&self.work_dir, &places.sandbox, &info.resources).map_err(StartError::Volumes)?;
        let uris = info.command.as_ref().map(|own| own.uris.as_slice()).unwrap_or_default();
        fetcher::fetch(uris, &places.sandbox)?;
        let mut variables = environment::variables(&self.common, agent, start, &info, &places.sandbox);
        variables.insert(RUN_FILE.to_owned(), places.run_file.clone().into());
        let (stdout, stderr) = places.outputs().map_err(StartError::Sandbox)?;
        let mut command = Command::new(&self.program);
        command.args(arguments(start.executor.command, &info)).env_clear().envs(variables);
        command.current_dir(&places.sandbox).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        Ok(Prepared(command))
    }

    async fn watch_foreign(self: Arc<Self>, run: Run, mut killed: watch::Receiver<bool>) {
        if let Some(process) = ProcessId::noted(&run_file(&self.work_dir, &run)) {
            let fate = process.fate_at_last().await;
            if fate == Fate::Runs {
                self.note_pid(&run, process.pid);
                tokio::select! {
                    ended = process.ended() => if let Err(error) = ended {
                        // Without a way to see its end the process is not left alone: its task could not be told from
                        // a lost one.
                        tracing::error!(executor = %run.executor, %error, "an executor cannot be watched; it is killed");
                    },
                    () = kill_wanted(&mut killed) => {}
                }
            }
            // An executor that has ended may have left its task behind.
            if fate != Fate::Replaced {
                end_session(process.pid).await;
            }
        }
        self.report(&run, Input::ExecutorExited { run: run.clone(), status: UNKNOWN_STATUS }).await;
    }

    /// The end of a run: its note goes, and the runner hears of it.
    async fn report(&self, run: &Run, input: Input) {
        self.runs().remove(&run.container);
        let note = run_file(&self.work_dir, run);
        if let Err(error) = fs::remove_file(&note)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %note.display(), %error, "the note of an ended run stays behind");
        }
        // The runner is gone when this fails: the next agent finds the run dead.
        let _ = self.requests.send(Request::Input(input)).await;
    }
}

/// A process that only has to be made.
struct Prepared(Command);

impl Prepared {
    fn into_child(mut self) -> Result<Child, StartError> {
        self.0.spawn().map_err(StartError::Spawn)
    }
}

/// What follows our program's name: a built-in executor, or the launcher and the framework's own command.
fn arguments(command: bool, info: &ExecutorInfo) -> Vec<OsString> {
    if command {
        return vec!["command-executor".into()];
    }
    if info.r#type() == executor_info::Type::Default {
        return vec!["default-executor".into()];
    }
    let own = info.command.clone().unwrap_or_default();
    let value = own.value.clone().unwrap_or_default();
    let mut arguments = vec!["executor-launcher".into()];
    if own.shell() {
        arguments.extend(["sh", "/bin/sh", "-c", &value].map(OsString::from));
        return arguments;
    }
    let name = own.arguments.first().unwrap_or(&value);
    arguments.extend([name, &value].map(OsString::from));
    arguments.extend(own.arguments.iter().skip(1).map(OsString::from));
    arguments
}

fn pid_of(child: &Child) -> Option<i32> {
    child.id().and_then(|pid| i32::try_from(pid).ok())
}

async fn kill_wanted(killed: &mut watch::Receiver<bool>) {
    if killed.wait_for(|killed| *killed).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits for the end of the process, which may have to be brought about, and then ends what it left behind.
async fn watch_child(mut child: Child, killed: &mut watch::Receiver<bool>) -> i32 {
    let pid = pid_of(&child);
    let status = tokio::select! {
        status = child.wait() => status,
        () = kill_wanted(killed) => {
            // Before it has made its session the process is alone and is killed as such.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    if let Some(pid) = pid {
        end_session(pid).await;
    }
    status.map_or(UNKNOWN_STATUS, ExitStatusExt::into_raw)
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::CommandInfo;

    use super::*;

    #[test]
    fn commands_become_arguments() {
        let check = |command, own: CommandInfo, expect: &[&str]| {
            let info = ExecutorInfo { command: Some(own), ..Default::default() };
            assert_eq!(arguments(command, &info), expect.iter().map(OsString::from).collect::<Vec<_>>());
        };
        let line = CommandInfo { value: Some("a | b".into()), ..Default::default() };
        check(true, line.clone(), &["command-executor"]);
        check(false, line, &["executor-launcher", "sh", "/bin/sh", "-c", "a | b"]);
        let default = ExecutorInfo { r#type: Some(1), ..Default::default() };
        assert_eq!(arguments(false, &default), ["default-executor"]);
        let arguments = ["name", "-x"].map(str::to_owned).to_vec();
        let argv =
            CommandInfo { shell: Some(false), value: Some("/bin/p".into()), arguments, ..Default::default() };
        check(false, argv, &["executor-launcher", "name", "/bin/p", "-x"]);
        let bare = CommandInfo { shell: Some(false), value: Some("/bin/p".into()), ..Default::default() };
        check(false, bare, &["executor-launcher", "/bin/p", "/bin/p"]);
    }
}
