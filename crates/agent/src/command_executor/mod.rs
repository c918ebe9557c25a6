//! The built-in executor: a process of its own that runs one task's command and outlives the agent.
//!
//! It speaks the v1 executor API to the agent like any other executor. The task's process is its child, in a process
//! group of its own; the executor's session holds both. Every update is kept until the agent has acknowledged it, and
//! is told again after a reconnection, in order.

mod connection;
mod ending;
mod environment;
mod executor;
mod task;

#[cfg(test)]
mod executor_test;

use std::{io::Write as _, process::ExitCode};

use tokio::sync::mpsc;

pub use self::ending::{Ending, NotAnEnding};
use self::{connection::Connection, environment::Environment, executor::Executor};
use crate::launcher;

/// Most events that wait between the connection and the executor.
const EVENTS_MAX: usize = 64;

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
    let (connection, line) = Connection::start(&environment, sender);
    let status = Executor::new(environment, connection).run(events).await;
    line.end().await;
    status
}

fn prepare() -> Result<Environment, Box<dyn std::error::Error>> {
    let environment = Environment::read()?;
    launcher::enter_session()?;
    Ok(environment)
}
