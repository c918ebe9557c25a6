//! The built-in executor of task groups: a process of its own whose children are the tasks, each in a folder of its own.
//!
//! As the command executor it speaks the v1 executor API through the SDK and outlives the agent. The tasks of a group begin
//! together; when one of them ends other than well, the others of its group are killed. It ends when nothing runs any more
//! and the agent has every update. Tasks are plain processes in the executor's session: what the session leaves behind is
//! ended with the executor.

mod executor;
mod member;

#[cfg(test)]
mod executor_test;

use std::{io::Write as _, process::ExitCode};

use tokio::sync::mpsc;

use self::executor::{Executor, Setting};
pub(crate) use self::member::folder;
use crate::{
    command_executor::{EVENTS_MAX, exchange, prepare},
    tasks::Tasks,
};

/// Most updates that are handed to the subscription ahead; further ones wait in the executor.
const UPDATES_MAX: usize = 64;

/// Runs until nothing runs and the agent knows, or the agent is gone for good. Called by the hidden subcommand
/// `default-executor`; everything it needs is in its environment.
pub async fn run() -> ExitCode {
    let environment = match prepare() {
        Ok(environment) => environment,
        Err(error) => {
            // Standard error is a file in the sandbox. Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stderr(), "default-executor: {error}");
            return ExitCode::from(2);
        }
    };
    let (sender, events) = mpsc::channel(EVENTS_MAX);
    let (updates, told) = mpsc::channel(UPDATES_MAX);
    let setting = Setting {
        sandbox: environment.sandbox.clone().unwrap_or_default(),
        shutdown_grace: environment.shutdown_grace,
    };
    let executor = Executor::new(setting, updates);
    let tasks = Tasks::default();
    tasks.spawn("line to the agent", exchange(environment, sender, told));
    let status = executor.run(events).await;
    tasks.end().await;
    status
}
