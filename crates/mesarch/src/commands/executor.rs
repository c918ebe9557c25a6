//! Hidden subcommands: the processes that the agent starts.
//!
//! They are looked for before clap reads the command line, because what follows belongs to other programs.

use std::ffi::OsString;
use std::process::ExitCode;

use super::command_runtime;
use crate::failure;

/// Runs an executor's process if that is what the command line asks for.
pub(crate) fn if_asked(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    match arguments.next()?.to_str()? {
        "executor-launcher" => Some(mesarch_agent::launcher::main(arguments)),
        "demo-executor" => {
            Some(super::demo::run_executor().unwrap_or_else(|error| failure::report(&error, false)))
        }
        "command-executor" => Some(command_executor().unwrap_or_else(|error| failure::report(&error, false))),
        "default-executor" => Some(default_executor().unwrap_or_else(|error| failure::report(&error, false))),
        _ => None,
    }
}

fn default_executor() -> anyhow::Result<ExitCode> {
    super::service_logs(None)?;
    Ok(command_runtime()?.block_on(mesarch_agent::default_executor::run()))
}

fn command_executor() -> anyhow::Result<ExitCode> {
    super::service_logs(None)?;
    Ok(command_runtime()?.block_on(mesarch_agent::command_executor::run()))
}
