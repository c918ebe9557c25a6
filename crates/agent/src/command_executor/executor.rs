//! What the command executor does with what it hears.

use std::{
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use bytes::Bytes;
use mesarch_client::executor::{Ended, Event};
use mesarch_proto::mesos::v1::{
    FrameworkInfo, KillPolicy, TaskInfo, TaskState, TaskStatus, framework_info, task_status::Reason,
};
use rustix::process::Signal;
use tokio::{
    process::Child,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::task;
use crate::launch::{KILL_GRACE_MS, has, kill_grace, millis};

/// What the executor hears of the agent: an event, or why there will be none any more.
pub(crate) type Heard = Result<Event, Ended>;

/// The executor and its task.
pub(super) struct Executor {
    sandbox: PathBuf,
    /// Takes updates, which reach the agent in this order.
    updates: mpsc::Sender<TaskStatus>,
    /// Whether the framework wants to hear TASK_KILLING.
    tells_killing: bool,
    task: Option<Running>,
    /// Uuid of the last update; when the agent has it there is nothing left to do.
    last: Option<Bytes>,
}

struct Running {
    info: TaskInfo,
    child: Child,
    pid: i32,
    kill: Option<Kill>,
    /// When the task has run for as long as it may.
    ends_at: Option<Instant>,
}

struct Kill {
    began: Instant,
    /// When SIGKILL is due; none once it was sent.
    force_at: Option<Instant>,
    /// Not asked for by anybody: the task ran for too long.
    overdue: bool,
}

/// What happens next.
enum Next {
    Heard(Option<Heard>),
    Ended(std::io::Result<ExitStatus>),
    Due,
}

impl Executor {
    pub(super) fn new(sandbox: PathBuf, updates: mpsc::Sender<TaskStatus>) -> Self {
        Self { sandbox, updates, tells_killing: false, task: None, last: None }
    }

    /// Until the last update is acknowledged, or the agent is gone.
    pub(super) async fn run(mut self, mut heard: mpsc::Receiver<Heard>) -> ExitCode {
        loop {
            let due = self.task.as_ref().and_then(Running::due);
            let next = tokio::select! {
                said = heard.recv() => Next::Heard(said),
                ended = ended(&mut self.task) => Next::Ended(ended),
                () = at(due) => Next::Due,
            };
            match next {
                Next::Heard(Some(Ok(event))) => {
                    if self.event(event) {
                        return ExitCode::SUCCESS;
                    }
                }
                Next::Heard(Some(Err(ended))) => return self.give_up(&ended.to_string()),
                Next::Heard(None) => return self.give_up("the connection to the agent ended"),
                Next::Ended(status) => self.task_ended(status),
                Next::Due => self.due(),
            }
        }
    }

    /// True when there is nothing left to do.
    pub(super) fn event(&mut self, event: Event) -> bool {
        match event {
            Event::Subscribed(subscribed) => self.tells_killing = wants_killing(&subscribed.framework),
            Event::Launch(task) => self.launch(*task),
            Event::Kill { policy, .. } => self.kill(policy.as_ref(), false),
            Event::Acknowledged { uuid, .. } => return self.last.as_ref() == Some(&uuid),
            Event::Shutdown => {
                let idle = self.task.is_none() && self.last.is_none();
                self.kill(None, false);
                return idle;
            }
            // Groups are for other executors; messages are for nobody here.
            Event::LaunchGroup(_) | Event::Message(_) | Event::Disconnected { .. } => {}
        }
        false
    }

    fn launch(&mut self, info: TaskInfo) {
        if self.task.is_some() || self.last.is_some() {
            return;
        }
        self.tell(&info, TaskState::TaskStarting, None, None);
        let command = info.command.clone().unwrap_or_default();
        let started = task::start(&command, &self.sandbox);
        let pid = |child: &Child| child.id().and_then(|pid| i32::try_from(pid).ok());
        match started.map(|child| (pid(&child), child)) {
            Ok((Some(pid), child)) => {
                self.tell(&info, TaskState::TaskRunning, None, None);
                let longest = info.max_completion_time.as_ref().and_then(millis);
                let ends_at = longest.map(|longest| Instant::now() + Duration::from_millis(longest.0));
                self.task = Some(Running { info, child, pid, kill: None, ends_at });
            }
            Ok((None, _)) => self.tell_last(&info, TaskState::TaskFailed, None, "The command ended at once"),
            Err(error) => {
                let message = format!("The command cannot be started: {error}");
                self.tell_last(&info, TaskState::TaskFailed, None, &message);
            }
        }
    }

    /// SIGTERM now, SIGKILL after the grace. A second kill may shorten the grace, never lengthen it.
    fn kill(&mut self, policy: Option<&KillPolicy>, overdue: bool) {
        let tells_killing = self.tells_killing;
        let Some(running) = &mut self.task else { return };
        let own = kill_grace(running.info.kill_policy.as_ref());
        let grace = kill_grace(policy).or(own).map_or(KILL_GRACE_MS, |grace| grace.0);
        let grace = Duration::from_millis(grace);
        if let Some(kill) = &mut running.kill {
            kill.force_at = kill.force_at.map(|at| at.min(kill.began + grace));
            return;
        }
        let began = Instant::now();
        running.kill = Some(Kill { began, force_at: Some(began + grace), overdue });
        let (info, pid) = (running.info.clone(), running.pid);
        if tells_killing {
            self.tell(&info, TaskState::TaskKilling, None, None);
        }
        task::signal(pid, Signal::TERM);
    }

    fn due(&mut self) {
        let now = Instant::now();
        let Some(running) = &mut self.task else { return };
        if let Some(kill) = &mut running.kill {
            if kill.force_at.is_some_and(|at| at <= now) {
                kill.force_at = None;
                task::signal(running.pid, Signal::KILL);
            }
        } else if running.ends_at.is_some_and(|at| at <= now) {
            self.kill(None, true);
        }
    }

    fn task_ended(&mut self, status: std::io::Result<ExitStatus>) {
        let Some(running) = self.task.take() else { return };
        let message =
            status.as_ref().map_or_else(|error| error.to_string(), |status| task::describe(*status));
        let good = status.is_ok_and(|status| status.success());
        let (state, reason) = match running.kill {
            Some(Kill { overdue: true, .. }) => {
                (TaskState::TaskFailed, Some(Reason::MaxCompletionTimeReached))
            }
            Some(_) => (TaskState::TaskKilled, None),
            None if good => (TaskState::TaskFinished, None),
            None => (TaskState::TaskFailed, None),
        };
        self.tell_last(&running.info, state, reason, &message);
    }

    /// Nobody will hear of the task again: it must not go on alone.
    fn give_up(&mut self, why: &str) -> ExitCode {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "command-executor: {why}");
        if let Some(running) = self.task.take() {
            task::signal(running.pid, Signal::KILL);
        }
        ExitCode::FAILURE
    }

    fn tell_last(&mut self, info: &TaskInfo, state: TaskState, reason: Option<Reason>, message: &str) {
        let uuid = self.tell(info, state, reason, Some(message));
        self.last = Some(uuid);
    }

    fn tell(
        &mut self,
        info: &TaskInfo,
        state: TaskState,
        reason: Option<Reason>,
        message: Option<&str>,
    ) -> Bytes {
        let uuid = Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        let status = TaskStatus {
            task_id: info.task_id.clone(),
            state: state as i32,
            message: message.map(str::to_owned),
            reason: reason.map(|reason| reason as i32),
            uuid: Some(uuid.clone()),
            ..Default::default()
        };
        // There is room for all that a task can have. When nobody takes them, the line is over, and says so.
        let _ = self.updates.try_send(status);
        uuid
    }
}

impl Running {
    /// When something has to be done by itself.
    fn due(&self) -> Option<Instant> {
        match &self.kill {
            Some(kill) => kill.force_at,
            None => self.ends_at,
        }
    }
}

fn wants_killing(framework: &FrameworkInfo) -> bool {
    has(framework, framework_info::capability::Type::TaskKillingState)
}

async fn ended(task: &mut Option<Running>) -> std::io::Result<ExitStatus> {
    match task {
        Some(running) => running.child.wait().await,
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
