//! `mesarch run`: one command as one task of a framework of its own.

mod outcome;
mod sandbox;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesarch_client::build::{TaskBuilder, allocation_role, carve, framework, is_terminal, total};
use mesarch_client::scheduler::{Calls, Event, Options, Scheduler};
use mesarch_client::v1::{FrameworkInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus, task_status};
use mesarch_client::{CallError, masters};
use mesarch_types::Role;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until};

use crate::commands::{asked_to_stop, command_logs, command_runtime, tell};
use crate::duration::Span;
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch run -- echo hello
  mesarch run --cpus 2 --mem 512 --name build -- make -j2
  mesarch run -- sh -c 'exit 3'; echo $?         prints 3

Exits as the command does: its own status, 128+n if signal n ended it, 125 if Mesarch failed or the usage was wrong.
Ctrl-C ends the task. Its output is in the files stdout and stderr of its sandbox on the agent; where that is, is the
first thing told.";

/// If this process dies without a farewell, its task is ended after this long.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long offers that are too small, or no longer needed, are refused.
const REFUSE: Duration = Duration::from_secs(1);
/// How long TEARDOWN may take at the end; the failover timeout does the same, later.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// How long a leader may be away while we wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to look for a leader before saying so.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Runs a command on the cluster and waits for its end
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The masters' addresses, separated by commas
    #[arg(long, value_name = "ADDRESSES")]
    master: Option<String>,
    /// Cores
    #[arg(long, default_value_t = 0.1, value_name = "CORES", allow_negative_numbers = true)]
    cpus: f64,
    /// Memory in MB
    #[arg(long, default_value_t = 32.0, value_name = "MB", allow_negative_numbers = true)]
    mem: f64,
    /// The task's name [default: the command's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The role whose share of the cluster is used
    #[arg(long, default_value = "*", value_name = "ROLE")]
    role: String,
    /// A variable of the command's environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give up if the task has not been launched by then [default: never]
    #[arg(long, value_name = "TIME")]
    launch_timeout: Option<Span>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(launch_and_wait(arguments))
}

async fn launch_and_wait(arguments: Arguments) -> Result<ExitCode> {
    let task = task(&arguments)?;
    let masters = masters::resolve(arguments.master.as_deref()).map_err(|error| usage(error.to_string()))?;
    let began = Instant::now();
    let deadline = arguments.launch_timeout.map(|span| began + span.0);
    let mut options = Options::new(masters, framework_info(&arguments));
    options.connect_max = arguments.launch_timeout.map_or(PATIENCE, |span| span.0.min(PATIENCE));
    let scheduler = connect(options).await?;
    let calls = scheduler.calls();
    let mut run = Run {
        scheduler,
        task,
        arguments: &arguments,
        deadline,
        launched: None,
        unsure: false,
        told_sandbox: false,
        interrupted: None,
    };
    let status = run.until_ended().await;
    // Only a framework whose stream is open may leave: the scheduler lives until here.
    // Best effort: without it the failover timeout removes the framework.
    let _ = tokio::time::timeout(FAREWELL_MAX, calls.teardown()).await;
    status.map(ExitCode::from)
}

/// Subscribes; says so if that takes longer than somebody who waits for it would expect.
async fn connect(options: Options) -> Result<Scheduler> {
    let (masters, patience) = (options.masters.join(", "), options.connect_max);
    let subscribed = Scheduler::connect(options);
    tokio::pin!(subscribed);
    tokio::select! {
        scheduler = &mut subscribed => return Ok(scheduler?),
        () = sleep(TELL_AFTER) => {}
    }
    tell(&format!("no master leads yet among {masters}; trying for {}", Span(patience)));
    Ok(subscribed.await?)
}

fn framework_info(arguments: &Arguments) -> FrameworkInfo {
    FrameworkInfo {
        roles: vec![arguments.role.clone()],
        failover_timeout: Some(FAILOVER_TIMEOUT.as_secs_f64()),
        ..framework("mesarch-run")
    }
}

/// The task, complete but for its agent and the exact resources.
fn task(arguments: &Arguments) -> Result<TaskBuilder> {
    for (flag, amount) in [("--cpus", arguments.cpus), ("--mem", arguments.mem)] {
        if !(0.001..1e9).contains(&amount) {
            return Err(usage(format!("{flag} must be at least 0.001")));
        }
    }
    Role::parse(&arguments.role).map_err(|error| usage(format!("--role: {error}")))?;
    let Some(program) = arguments.command.first() else {
        return Err(usage("name a command after --"));
    };
    let id = format!("run-{}", std::process::id());
    let mut task = TaskBuilder::program(&id, program, &arguments.command);
    task = task.name(arguments.name.as_deref().unwrap_or(program));
    for variable in &arguments.env {
        let (name, value) =
            variable.split_once('=').ok_or_else(|| usage(format!("--env {variable:?} is not NAME=VALUE")))?;
        task = task.variable(name, value);
    }
    Ok(task)
}

struct Run<'a> {
    scheduler: Scheduler,
    task: TaskBuilder,
    arguments: &'a Arguments,
    /// When it is too late to be launched.
    deadline: Option<Instant>,
    launched: Option<(TaskInfo, Offer)>,
    /// The answer to the launch was lost: the task may not exist.
    unsure: bool,
    told_sandbox: bool,
    interrupted: Option<Signal>,
}

impl Run<'_> {
    /// Until the task has ended; the status to exit with.
    async fn until_ended(&mut self) -> Result<u8> {
        let deadline = self.deadline;
        let stop = asked_to_stop();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                event = self.scheduler.next() => {
                    if let Some(status) = self.handle(event?).await? {
                        return Ok(status);
                    }
                }
                signal = &mut stop, if self.interrupted.is_none() => {
                    if let Some(status) = self.interrupt(signal?).await? {
                        return Ok(status);
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() && self.launched.is_none() => {
                    bail!("no agent offered {} cpus and {} MB in time", self.arguments.cpus, self.arguments.mem);
                }
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<Option<u8>> {
        match event {
            Event::Offers(offers) => self.take_offers(offers).await.map(|()| None),
            Event::Update(status) => Ok(self.take_update(&status).await),
            Event::Disconnected { reason } => {
                tell(&format!("the leader is away ({reason}); looking for one"));
                Ok(None)
            }
            Event::Subscribed { .. } => self.ask_again().await.map(|()| None),
            _ => Ok(None),
        }
    }

    /// Launches on the first offer that is large enough; the others go back.
    async fn take_offers(&mut self, offers: Vec<Offer>) -> Result<()> {
        let calls = self.scheduler.calls();
        for offer in offers {
            let resources = carve(&offer.resources, self.arguments.cpus, self.arguments.mem);
            match resources.filter(|_| self.launched.is_none() && self.interrupted.is_none()) {
                Some(resources) => {
                    let task = self.task.clone().resources(resources).on(&offer.agent_id);
                    self.launch(&calls, task, offer).await?;
                }
                None => {
                    tracing::info!(cpus = total(&offer.resources, "cpus"), host = %offer.hostname, "declined");
                    calls.decline([offer.id], Some(REFUSE)).await?;
                }
            }
        }
        Ok(())
    }

    async fn launch(&mut self, calls: &Calls, task: TaskInfo, offer: Offer) -> Result<()> {
        let role = task.resources.first().and_then(allocation_role).unwrap_or("*").to_owned();
        tracing::info!(%role, host = %offer.hostname, "launching");
        let launched = calls.launch([offer.id.clone()], [task.clone()]).await;
        self.launched = Some((task, offer));
        match launched {
            Ok(()) => calls.suppress(&[]).await.context("cannot stop the offers"),
            Err(CallError::OutcomeUnknown { cause }) => {
                tracing::info!(%cause, "it is not known whether the task was launched");
                self.unsure = true;
                self.ask_again().await
            }
            Err(error) => Err(error).context("the launch failed"),
        }
    }

    /// Whether `status` says that an unsure launch never happened: then the next offer is taken.
    fn was_never_launched(&mut self, status: &TaskStatus) -> bool {
        let answered = status.reason() == task_status::Reason::Reconciliation;
        let absent =
            matches!(status.state(), TaskState::TaskGone | TaskState::TaskUnknown | TaskState::TaskLost);
        let never = self.unsure && answered && absent;
        if never {
            self.launched = None;
        }
        self.unsure = false;
        never
    }

    /// Asks for the task's state, which is how a launch with an unknown outcome is settled.
    async fn ask_again(&self) -> Result<()> {
        let Some((task, _)) = &self.launched else {
            return Ok(());
        };
        let question = (task.task_id.clone(), Some(task.agent_id.clone()));
        self.scheduler.calls().reconcile([question]).await.context("cannot ask for the task's state")
    }

    async fn take_update(&mut self, status: &TaskStatus) -> Option<u8> {
        if self.was_never_launched(status) {
            return None;
        }
        let (task, offer) = self.launched.as_ref().filter(|(task, _)| task.task_id == status.task_id)?;
        if !self.told_sandbox
            && let Some(sandbox) = sandbox::find(task, offer, status).await
        {
            self.told_sandbox = true;
            tell(&format!("sandbox on {}: {sandbox}", offer.hostname));
        }
        tell(&outcome::describe(&task.task_id, status, &offer.hostname));
        is_terminal(status.state()).then(|| outcome::exit_status(status, self.interrupted))
    }

    /// Ctrl-C: ends the task, or this command if there is none yet.
    async fn interrupt(&mut self, signal: Signal) -> Result<Option<u8>> {
        self.interrupted = Some(signal);
        let Some((task, _)) = &self.launched else {
            return Ok(Some(outcome::status_of_signal(signal)));
        };
        let id: TaskId = task.task_id.clone();
        tell("ending the task");
        self.scheduler.calls().kill(&id, Some(&task.agent_id), None).await.context("cannot end the task")?;
        Ok(None)
    }
}
