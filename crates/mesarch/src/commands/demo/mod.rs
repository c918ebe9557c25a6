//! `mesarch demo`: the worked example that this kind of system is known by, on real processes, then a killed leader.
//!
//! The story is in `story.rs`, step by step. It checks all that it says; `PASS` means that every check held.

mod actor;
mod executor;
mod leaders;
mod narrator;
mod story;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::commands::{asked_to_stop, command_logs, command_runtime, print};

const ABOUT: &str = "\
Starts a fresh cluster of three masters on this machine, and two agents. Two frameworks share the first agent's
resources by offers; then the leading master is killed with SIGKILL, and the demo shows what that costs. It takes about
ten seconds, needs no network but loopback, and leaves nothing behind but, if it fails, its logs. Exit status 0 and
PASS: everything it says was checked and held.";

const EXAMPLES: &str = "\
Examples:
  mesarch demo                play it; exit status 0 if every check held, 1 if one did not
  mesarch demo > story.txt    the story, for somebody else to read";

/// Plays the worked example with a killed leader, and checks every step
#[derive(clap::Args)]
#[command(long_about = ABOUT, after_help = EXAMPLES)]
pub(crate) struct Arguments {}

/// Plays the demo.
pub(crate) fn run(_: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(play())
}

async fn play() -> Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("mesarch-demo-").tempdir();
    let folder = folder.context("cannot make a temporary folder")?;
    let outcome = tokio::select! {
        outcome = story::play(folder.path()) => outcome,
        signal = asked_to_stop() => return signal.map(|_| ExitCode::FAILURE),
    };
    match outcome {
        Ok(()) => print("\nPASS\n").map(|()| ExitCode::SUCCESS),
        Err(why) => {
            let kept = folder.keep();
            print(&format!(
                "\nFAIL: {why:#}\nThe logs and data of the cluster are kept in {}.\n",
                kept.display()
            ))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The executor of the demo's first framework.
pub(crate) fn run_executor() -> Result<ExitCode> {
    command_logs(None)?;
    command_runtime()?.block_on(executor::run()).map(|()| ExitCode::SUCCESS)
}
