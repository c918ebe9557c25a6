//! What the default executor does with what it hears.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use bytes::Bytes;
use mesarch_client::{
    executor::{Event, Subscribed},
    v1::{ContainerId, DurationInfo, KillPolicy, TaskInfo, TaskState, TaskStatus},
};
use mesarch_proto::mesos::v1::framework_info::capability::Type as Capability;
use rustix::process::Signal;
use tokio::{
    process::Child,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::member::{Member, status};
use crate::{command_executor::Heard, launch::has};

/// What an executor that is told to end keeps for itself of the grace that it is given.
const OWN_GRACE: Duration = Duration::from_secs(2);

/// Where it runs, and how long it may take to end.
pub(super) struct Setting {
    pub(super) sandbox: PathBuf,
    pub(super) shutdown_grace: Duration,
}

/// A task's process has ended.
type Ended = (String, std::io::Result<ExitStatus>);

/// The executor and the tasks of its groups.
pub(super) struct Executor {
    setting: Setting,
    /// Takes updates, which reach the agent in this order.
    updates: mpsc::Sender<TaskStatus>,
    /// Not yet handed over; at most four for each task that was launched.
    waiting: VecDeque<TaskStatus>,
    /// Of the updates that the agent has not acknowledged.
    unacknowledged: BTreeSet<Bytes>,
    /// Whether the framework wants to hear TASK_KILLING.
    tells_killing: bool,
    /// That of this run.
    container: Option<ContainerId>,
    running: BTreeMap<String, Member>,
    processes: JoinSet<Ended>,
    groups: u64,
    /// Told to end: nothing is started any more.
    ending: bool,
}

/// What happens next.
enum Next {
    Heard(Option<Heard>),
    Ended(Option<Result<Ended, tokio::task::JoinError>>),
    Room,
    Due,
}

impl Executor {
    pub(super) fn new(setting: Setting, updates: mpsc::Sender<TaskStatus>) -> Self {
        Self {
            setting,
            updates,
            waiting: VecDeque::new(),
            unacknowledged: BTreeSet::new(),
            tells_killing: false,
            container: None,
            running: BTreeMap::new(),
            processes: JoinSet::new(),
            groups: 0,
            ending: false,
        }
    }

    /// Until nothing runs and every update is acknowledged, or the agent is gone.
    pub(super) async fn run(mut self, mut heard: mpsc::Receiver<Heard>) -> ExitCode {
        loop {
            let due = self.running.values().filter_map(Member::due).min();
            let next = tokio::select! {
                said = heard.recv() => Next::Heard(said),
                ended = self.processes.join_next(), if !self.processes.is_empty() => Next::Ended(ended),
                room = self.updates.reserve(), if !self.waiting.is_empty() => {
                    // When nobody takes them the line is over, and says so.
                    if let (Ok(room), Some(status)) = (room, self.waiting.pop_front()) {
                        room.send(status);
                    }
                    Next::Room
                }
                () = at(due) => Next::Due,
            };
            match next {
                Next::Heard(Some(Ok(event))) => self.event(event).await,
                Next::Heard(Some(Err(ended))) => return self.give_up(&ended.to_string()),
                Next::Heard(None) => return self.give_up("the connection to the agent ended"),
                Next::Ended(Some(Ok((task, status)))) => self.task_ended(&task, status),
                Next::Ended(_) | Next::Room => {}
                Next::Due => self.due(),
            }
            if self.is_over() {
                return ExitCode::SUCCESS;
            }
        }
    }

    /// One that was never given a task waits for it, until it is told to end.
    fn is_over(&self) -> bool {
        let used = self.groups > 0 || self.ending;
        used && self.running.is_empty() && self.waiting.is_empty() && self.unacknowledged.is_empty()
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Subscribed(subscribed) => self.subscribed(*subscribed),
            Event::LaunchGroup(tasks) => self.launch(tasks).await,
            Event::Launch(task) => {
                self.groups += 1;
                let message = "The default executor runs groups of tasks only".to_owned();
                let container = self.nested();
                self.tell(status(&task, &container, TaskState::TaskFailed, Some(message)));
            }
            Event::Kill { task, policy } => self.kill(&task.value, policy.as_ref(), false),
            Event::Acknowledged { uuid, .. } => drop(self.unacknowledged.remove(&uuid)),
            Event::Shutdown => self.shut_down(),
            // The SDK subscribes again, and repeats what was not acknowledged. Messages are for nobody here.
            Event::Message(_) | Event::Disconnected { .. } => {}
        }
    }

    fn subscribed(&mut self, subscribed: Subscribed) {
        self.tells_killing = has(&subscribed.framework, Capability::TaskKillingState);
        self.container = subscribed.container;
    }

    /// A name for the sandbox of a task, within the executor's container.
    fn nested(&self) -> ContainerId {
        let parent = self.container.clone().map(Box::new);
        ContainerId { value: uuid::Uuid::new_v4().to_string(), parent }
    }

    /// All of a group are told STARTING before any is started. What follows a task that cannot be started does not start.
    async fn launch(&mut self, tasks: Vec<TaskInfo>) {
        self.groups += 1;
        let group = self.groups;
        let named: Vec<_> = tasks.into_iter().map(|task| (task, self.nested())).collect();
        for (task, container) in &named {
            self.tell(status(task, container, TaskState::TaskStarting, None));
        }
        let mut obstacle = self.ending.then_some("The executor was told to end");
        for (task, container) in named {
            if let Some(why) = obstacle {
                self.tell(status(&task, &container, TaskState::TaskKilled, Some(why.to_owned())));
                continue;
            }
            match Member::start(task, group, container.clone(), &self.setting.sandbox).await {
                Ok((member, child)) => self.started(member, child),
                Err((task, error)) => {
                    self.tell(status(&task, &container, TaskState::TaskFailed, Some(error.to_string())));
                    obstacle = Some("Another task of its group could not be started");
                }
            }
        }
        if obstacle.is_some() {
            self.kill_group(group);
        }
    }

    fn started(&mut self, member: Member, mut child: Child) {
        let task = member.info.task_id.value.clone();
        self.tell(member.status(TaskState::TaskRunning, None, None));
        self.running.insert(task.clone(), member);
        self.processes.spawn(async move { (task, child.wait().await) });
    }

    fn kill(&mut self, task: &str, policy: Option<&KillPolicy>, overdue: bool) {
        let Some(member) = self.running.get_mut(task) else { return };
        if member.kill(policy, overdue) && self.tells_killing {
            let status = member.status(TaskState::TaskKilling, None, None);
            self.tell(status);
        }
    }

    /// Each as its own kill policy says.
    fn kill_group(&mut self, group: u64) {
        let of_group = |(task, member): (&String, &Member)| (member.group == group).then(|| task.clone());
        let tasks: Vec<String> = self.running.iter().filter_map(of_group).collect();
        tasks.iter().for_each(|task| self.kill(task, None, false));
    }

    /// What it left behind in its process group ends with it, and unless it ended well, so does its group.
    fn task_ended(&mut self, task: &str, ended: std::io::Result<ExitStatus>) {
        let Some(member) = self.running.remove(task) else { return };
        member.signal(Signal::KILL);
        let status = member.ended(ended);
        let well = status.state == TaskState::TaskFinished as i32;
        self.tell(status);
        if !well {
            self.kill_group(member.group);
        }
    }

    fn due(&mut self) {
        let now = Instant::now();
        self.running.values_mut().for_each(|member| member.force(now));
        let overdue = |(task, member): (&String, &Member)| member.is_overdue(now).then(|| task.clone());
        let tasks: Vec<String> = self.running.iter().filter_map(overdue).collect();
        tasks.iter().for_each(|task| self.kill(task, None, true));
    }

    fn shut_down(&mut self) {
        self.ending = true;
        let grace = self.setting.shutdown_grace.saturating_sub(OWN_GRACE);
        let nanoseconds = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
        let policy = KillPolicy { grace_period: Some(DurationInfo { nanoseconds }) };
        let tasks: Vec<String> = self.running.keys().cloned().collect();
        tasks.iter().for_each(|task| self.kill(task, Some(&policy), false));
    }

    /// Nobody will hear of the tasks again: they must not go on alone.
    fn give_up(&mut self, why: &str) -> ExitCode {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "default-executor: {why}");
        self.running.values().for_each(|member| member.signal(Signal::KILL));
        ExitCode::FAILURE
    }

    fn tell(&mut self, status: TaskStatus) {
        self.unacknowledged.extend(status.uuid.clone());
        self.waiting.push_back(status);
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
