//! One task of a group: its folder, its process, and how that is killed.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use mesarch_client::v1::{ContainerId, KillPolicy, TaskInfo, TaskState, TaskStatus, task_status::Reason};
use mesarch_proto::mesos::v1::ContainerStatus;
use rustix::process::Signal;
use tokio::{process::Child, time::Instant};

use crate::{
    command_executor::task::{command, describe},
    containerizer::process::{Scope, signal_tree},
    fetcher,
    launch::{KILL_GRACE_MS, kill_grace, millis},
};

/// The folder of a task's sandbox below its executor's; tools know it under this name.
pub(crate) fn folder(sandbox: &Path, task: &str) -> PathBuf {
    sandbox.join("tasks").join(task)
}

/// A task that was launched and has not ended.
pub(super) struct Member {
    pub(super) info: TaskInfo,
    /// Which launch of the executor brought it.
    pub(super) group: u64,
    /// Names its sandbox, within the executor's container.
    pub(super) container: ContainerId,
    pid: i32,
    kill: Option<Kill>,
    /// When it has run for as long as it may.
    ends_at: Option<Instant>,
}

struct Kill {
    began: Instant,
    /// When SIGKILL is due; none once it was sent.
    force_at: Option<Instant>,
    /// Not asked for by anybody: the task ran for too long.
    overdue: bool,
}

/// Why a task did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("the sandbox cannot be made: {0}")]
    Sandbox(#[source] io::Error),
    #[error(transparent)]
    Fetch(#[from] fetcher::FetchError),
    #[error("the command cannot be started: {0}")]
    Spawn(#[source] io::Error),
}

impl Member {
    /// Makes the folder, fetches what the command needs and starts it.
    pub(super) async fn start(
        info: TaskInfo,
        group: u64,
        container: ContainerId,
        sandbox: &Path,
    ) -> Result<(Self, Child), (TaskInfo, StartError)> {
        match started(&info, sandbox).await {
            Ok((child, pid)) => {
                let longest = info.max_completion_time.as_ref().and_then(millis);
                let ends_at = longest.map(|longest| Instant::now() + Duration::from_millis(longest.0));
                Ok((Self { info, group, container, pid, kill: None, ends_at }, child))
            }
            Err(error) => Err((info, error)),
        }
    }

    /// When something has to be done by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.kill {
            Some(kill) => kill.force_at,
            None => self.ends_at,
        }
    }

    /// Whether the time of its longest life has come.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.kill.is_none() && self.ends_at.is_some_and(|at| at <= now)
    }

    /// SIGTERM now, SIGKILL after the grace: as asked for, or as the task says, or three seconds. A second kill may shorten
    /// the grace, never lengthen it. Says whether it is the first.
    pub(super) fn kill(&mut self, policy: Option<&KillPolicy>, overdue: bool) -> bool {
        let own = kill_grace(self.info.kill_policy.as_ref());
        let grace = kill_grace(policy).or(own).map_or(KILL_GRACE_MS, |grace| grace.0);
        let grace = Duration::from_millis(grace);
        if let Some(kill) = &mut self.kill {
            kill.force_at = kill.force_at.map(|at| at.min(kill.began + grace));
            return false;
        }
        let began = Instant::now();
        self.kill = Some(Kill { began, force_at: Some(began + grace), overdue });
        self.signal(Signal::TERM);
        true
    }

    /// SIGKILL, if its grace is over.
    pub(super) fn force(&mut self, now: Instant) {
        let due = self.kill.as_mut().and_then(|kill| kill.force_at.take_if(|at| *at <= now));
        if due.is_some() {
            self.signal(Signal::KILL);
        }
    }

    /// To everything that it started and that did not leave its process group. Blocking.
    pub(super) fn signal(&self, signal: Signal) {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        signal_tree(self.pid, Scope::Group(self.pid), own, signal);
    }

    /// The last update, from how the process ended.
    pub(super) fn ended(&self, status: io::Result<ExitStatus>) -> TaskStatus {
        let message = status.as_ref().map_or_else(|error| error.to_string(), |status| describe(*status));
        let good = status.is_ok_and(|status| status.success());
        let (state, reason) = match &self.kill {
            Some(kill) if kill.overdue => (TaskState::TaskFailed, Some(Reason::MaxCompletionTimeReached)),
            Some(_) => (TaskState::TaskKilled, None),
            None if good => (TaskState::TaskFinished, None),
            None => (TaskState::TaskFailed, None),
        };
        self.status(state, reason, Some(message))
    }

    /// An update.
    pub(super) fn status(
        &self,
        state: TaskState,
        reason: Option<Reason>,
        message: Option<String>,
    ) -> TaskStatus {
        let mut status = status(&self.info, &self.container, state, message);
        status.reason = reason.map(|reason| reason as i32);
        if let Some(container) = status.container_status.as_mut() {
            container.executor_pid = u32::try_from(self.pid).ok();
        }
        status
    }
}

/// An update of a task that has no process.
pub(super) fn status(
    info: &TaskInfo,
    container: &ContainerId,
    state: TaskState,
    message: Option<String>,
) -> TaskStatus {
    let container = ContainerStatus { container_id: Some(container.clone()), ..Default::default() };
    TaskStatus {
        task_id: info.task_id.clone(),
        state: state as i32,
        message,
        uuid: Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes())),
        container_status: Some(container),
        ..Default::default()
    }
}

async fn started(info: &TaskInfo, sandbox: &Path) -> Result<(Child, i32), StartError> {
    let own = info.command.clone().unwrap_or_default();
    let folder = folder(sandbox, &info.task_id.value);
    let (place, uris) = (folder.clone(), own.uris.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&place).map_err(StartError::Sandbox)?;
        Ok::<_, StartError>(fetcher::fetch(&uris, &place)?)
    });
    prepared.await.map_err(|error| StartError::Sandbox(io::Error::other(error)))??;
    let output = |name| std::fs::File::options().create(true).append(true).open(folder.join(name));
    let mut process = command(&own, &folder);
    process.stdin(Stdio::null());
    process.stdout(output("stdout").map_err(StartError::Sandbox)?);
    process.stderr(output("stderr").map_err(StartError::Sandbox)?);
    let child = process.spawn().map_err(StartError::Spawn)?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| StartError::Spawn(io::Error::other("it ended at once")))?;
    Ok((child, pid))
}
