//! A client's scenario as a process: it prints a line for each phase that has passed, and ends with DONE.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// One set-up at a time: several tests share an environment, and downloads share the wire.
static SETTING_UP: Mutex<()> = Mutex::const_new(());

/// The folder with a client's scenarios and its `setup.sh`.
pub(crate) fn folder(client: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(client)
}

/// The folder with the client itself, installed once below `target/` by its `setup.sh`. `version` is part of its name.
pub(crate) async fn installed(client: &str, version: &str) -> Result<PathBuf> {
    let _alone = SETTING_UP.lock().await;
    let test = std::env::current_exe()?;
    let target = test.ancestors().nth(3).context("tests lie below target/release")?;
    std::fs::create_dir_all(target.join("clients"))?;
    let place = target.join("clients").join(format!("{client}-{version}"));
    let setup = Command::new("bash").arg(folder(client).join("setup.sh")).arg(&place).status().await?;
    ensure!(setup.success(), "{client} could not be installed; see above");
    Ok(place)
}

/// A running scenario; ended when dropped.
pub(crate) struct Script {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts a command whose standard output is the phases.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = process.stdout.take().context("standard output is piped")?;
        Ok(Self { process, lines: BufReader::new(output).lines() })
    }

    /// Waits for the next phase, which must begin with this.
    pub(crate) async fn expect(&mut self, phase: &str) -> Result<()> {
        let line = timeout(2 * DEADLINE, self.lines.next_line()).await.context("the client hangs")??;
        let said = line.as_deref().is_some_and(|line| line.starts_with(phase));
        ensure!(said, "the client said {line:?} instead of {phase}");
        Ok(())
    }

    /// Waits for these phases in turn, for DONE and for a good end.
    pub(crate) async fn finish(mut self, phases: &[&str]) -> Result<()> {
        for phase in phases {
            self.expect(phase).await?;
        }
        self.expect("DONE").await?;
        let status = timeout(DEADLINE, self.process.wait()).await.context("the client does not end")??;
        ensure!(status.success(), "the client ended with {status}");
        Ok(())
    }
}
