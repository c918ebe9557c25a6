//! `mesarch snapshot restore`: the first master of a cluster that goes on from a backup.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use mesarch_storage::SnapshotFile;

use crate::commands::begin_anew::{Beginning, Target, begin};
use crate::commands::snapshot::decode;

/// Makes the data directory of the first master of a cluster that goes on from a snapshot
///
/// The cluster keeps its id, so that agents and their tasks come back, and gets a new incarnation, so that nothing of the
/// old one is listened to any more. All old masters must be gone for good: see the runbook.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The snapshot file
    file: PathBuf,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let file = SnapshotFile::read(&arguments.file)?;
    let state = decode(&file).with_context(|| arguments.file.display().to_string())?;
    let last = file.meta().last_log_id.context("the snapshot does not say what it covers")?;
    begin(&arguments.target, &Beginning { state, last })?;
    Ok(ExitCode::SUCCESS)
}
