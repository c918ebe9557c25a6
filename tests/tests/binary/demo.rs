//! `mesarch demo`: it checks all that it tells, so that it is true is one test.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::slot;

use super::command::{files_below, mesarch};
use super::dev::processes_below;

/// The demo takes about ten seconds on an idle machine.
const WITHIN: Duration = Duration::from_secs(120);

async fn plays() -> Result<()> {
    let _slot = slot().await;
    let place = tempfile::Builder::new().prefix("mesarch-test-demo-").tempdir()?;
    let mut command = mesarch("", &["demo"])?;
    command.env("TMPDIR", place.path()).env("XDG_RUNTIME_DIR", place.path());
    let output = tokio::time::timeout(WITHIN, command.output()).await.context("it did not end")??;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(0), "{}: {told}", output.status);
    ensure!(told.lines().last() == Some("PASS"), "{told}");
    let left = processes_below(place.path());
    ensure!(left.is_empty(), "still run: {left:?}");
    let files = files_below(place.path());
    ensure!(files.is_empty(), "left behind: {files:?}");
    Ok(())
}

#[tokio::test]
async fn the_demo_passes_and_leaves_nothing() {
    plays().await.unwrap();
}
