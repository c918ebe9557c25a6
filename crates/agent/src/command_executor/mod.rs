//! The built-in executor: a process of its own that runs one task's command and outlives the agent.
//!
//! It speaks the v1 executor API to the agent like any other executor, through the SDK. The task's process is its child, in a process
//! group of its own; the executor's session holds both. Every update is kept until the agent has acknowledged it, and
//! is told again after a reconnection, in order.

mod ending;
mod executor;
pub(crate) mod task;

#[cfg(test)]
mod executor_test;

use std::{io::Write as _, process::ExitCode, time::Duration};

use mesarch_client::{
    ContentType,
    executor::{Environment, Executor as Subscription},
    v1::TaskStatus,
};
use tokio::sync::mpsc;

pub use self::ending::{Ending, NotAnEnding};
use self::executor::Executor;
pub(crate) use self::executor::Heard;
use crate::{launcher, tasks::Tasks};

/// Most events that wait between the subscription and the executor.
pub(crate) const EVENTS_MAX: usize = 64;
/// Most updates that wait between the two; a task has four at most.
const UPDATES_MAX: usize = 8;
/// Longest pause between two tries to subscribe: an agent that restarts waits for little more than this by default.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Runs until the task has ended and the agent knows, or the agent is gone for good. Called by the hidden subcommand
/// `command-executor`; everything it needs is in its environment.
pub async fn run() -> ExitCode {
    let environment = match prepare() {
        Ok(environment) => environment,
        Err(error) => {
            // Standard error is a file in the sandbox. Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "command-executor: {error}");
            return ExitCode::from(2);
        }
    };
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let (updates, told) = mpsc::channel(UPDATES_MAX);
    let executor = Executor::new(environment.sandbox.clone().unwrap_or_default(), updates);
    let tasks = Tasks::default();
    tasks.spawn("line to the agent", exchange(environment, sender, told));
    let status = executor.run(events).await;
    tasks.end().await;
    status
}

/// What the agent says, and a session of its own.
pub(crate) fn prepare() -> Result<Environment, Box<dyn std::error::Error>> {
    let mut environment = Environment::from_process()?;
    if environment.sandbox.is_none() {
        return Err("the variable MESOS_SANDBOX is not set; this subcommand is started by an agent".into());
    }
    environment.backoff_max = environment.backoff_max.min(BACKOFF_MAX);
    launcher::enter_session()?;
    Ok(environment)
}

/// Carries events and updates between the agent and the executor, until the agent is gone for good.
pub(crate) async fn exchange(
    environment: Environment,
    heard: mpsc::Sender<Heard>,
    mut told: mpsc::Receiver<TaskStatus>,
) {
    let mut subscription = Subscription::start(environment, ContentType::Protobuf);
    let calls = subscription.calls();
    loop {
        let event = tokio::select! {
            event = subscription.next() => event,
            Some(status) = told.recv() => {
                // Fails only when the subscription is over, which the next event tells.
                let _ = calls.update(status).await;
                continue;
            }
        };
        let over = event.is_err();
        // The executor has ended by itself if nobody hears this.
        if heard.send(event).await.is_err() || over {
            return;
        }
    }
}
