//! Runs the binary with arguments, and looks at processes.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesarch_testkit::cluster::binary;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// How long a short command may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary with these arguments and the cluster of `masters`; knows nothing of the caller's own clusters.
pub(crate) fn mesarch(masters: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.env_remove("MESARCH_MASTER").env_remove("RUST_LOG");
    if !masters.is_empty() {
        command.env("MESARCH_MASTER", masters);
    }
    Ok(command)
}

/// Runs it to its end.
pub(crate) async fn run(masters: &str, arguments: &[&str]) -> Result<Ended> {
    finish(mesarch(masters, arguments)?).await
}

/// Runs a prepared command to its end.
pub(crate) async fn finish(mut command: Command) -> Result<Ended> {
    let output =
        timeout(WITHIN, command.output()).await.with_context(|| format!("{command:?} did not end"))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended { status: status_of(output.status)?, out: text(output.stdout), err: text(output.stderr) })
}

fn status_of(status: ExitStatus) -> Result<i32> {
    status.code().with_context(|| format!("ended by signal {:?}", status.signal()))
}

/// A process whose standard output is read line by line.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        Ok(Self { child, lines })
    }

    /// The next line of standard output.
    pub(crate) async fn line(&mut self) -> Result<String> {
        let line = timeout(WITHIN, self.lines.next_line()).await.context("it says nothing")??;
        line.context("it ended without a word")
    }

    /// Its standard error, once, if it was piped.
    pub(crate) fn errors(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill it")
    }

    /// Sends a signal and waits for the end; the exit status.
    pub(crate) async fn end(mut self, signal: Signal) -> Result<i32> {
        send(self.child.id().context("it has ended")?, signal)?;
        match timeout(WITHIN, self.child.wait()).await {
            Ok(status) => status_of(status?),
            Err(_) => bail!("it did not end within {} s of {signal:?}", WITHIN.as_secs()),
        }
    }
}

/// Sends a signal to a process that the test started.
pub(crate) fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid.cast_signed()).context("no process id")?;
    kill_process(pid, signal).context("cannot signal it")
}

/// Whether a process with this id exists and is not merely waiting to be reaped.
pub(crate) fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in brackets and may hold anything.
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// All files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_below(&entry.path()),
        _ => vec![entry.path()],
    });
    below.collect()
}
