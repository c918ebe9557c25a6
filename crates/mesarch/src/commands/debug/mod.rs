//! `mesarch debug`: what a stopped master has on disk, for reviews of incidents.

mod log;
mod readable;
mod replay;
mod time;

pub(super) use replay::Past;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use mesarch_storage::{StoppedDir, StoppedDirError};
use tempfile::TempDir;

use crate::commands::command_logs;
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch debug log --data-dir /var/lib/mesarch --from 1200     what was decided, entry by entry
  mesarch debug log --data-dir DIR -o json | jq -c 'select(.command == \"AcceptOffers\")'
  mesarch debug replay --data-dir DIR --to 1233 tasks           the tasks just before entry 1234
  mesarch debug replay --data-dir DIR --to 1233 explain --framework ID
  mesarch debug replay --data-dir DIR --to 1200 digest          equal on all masters, or one of them is damaged

Stop one master (the others go on), or name a copy of the data directory of one that was stopped. Nothing in the directory
is changed.";

/// Looks back: the log of a stopped master, and the state as it was
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Log(log::Arguments),
    Replay(replay::Arguments),
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    match arguments.what {
        What::Log(arguments) => log::run(&arguments),
        What::Replay(arguments) => replay::run(&arguments),
    }
}

/// The data directory that `--data-dir` names.
pub(super) fn open(path: &Path) -> Result<StoppedDir> {
    StoppedDir::open(path).map_err(|error| match error {
        StoppedDirError::Foreign { .. } => {
            let below = path.join("master-1");
            let hint = if below.join("identity").exists() {
                format!("; it holds several masters', such as {}", below.display())
            } else {
                String::new()
            };
            usage(format!("--data-dir: {error}{hint}"))
        }
        other => anyhow::Error::from(other).context("--data-dir"),
    })
}

/// Where a log is copied to that cannot be read in place.
fn scratch() -> Result<TempDir> {
    let made = tempfile::Builder::new().prefix("mesarch-debug-").tempdir();
    made.context("cannot make a temporary folder for a copy of the log; $TMPDIR says where")
}
