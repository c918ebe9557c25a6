//! One process of the cluster.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

/// Lines of a log that are shown when its process failed.
const TAIL_LINES: usize = 5;

/// A started process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    /// Such as `master-1`; also the name of its log and folder.
    pub(crate) name: String,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    log: PathBuf,
    arguments: Vec<String>,
    process: tokio::process::Child,
    ended: bool,
}

impl Child {
    /// Starts this program with its output in `<dir>/<name>.log`. It is in a process group of its own, so a Ctrl-C in
    /// the terminal does not reach it, and it ends with this process.
    pub(crate) fn start(
        dir: &Path,
        name: String,
        address: SocketAddr,
        arguments: Vec<String>,
    ) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let process = spawn(&arguments, &log)?;
        let pid = pid(&process)?;
        Ok(Self { name, address, pid, log, arguments, process, ended: false })
    }

    /// Starts it again after its end, with the same arguments but for these flags.
    pub(crate) fn restart_without(&mut self, flags: &[&str]) -> Result<()> {
        ensure!(self.ended, "{} has not ended", self.name);
        let name = |argument: &str| argument.split('=').next().map(str::to_owned);
        self.arguments.retain(|argument| !name(argument).is_some_and(|name| flags.contains(&name.as_str())));
        self.process = spawn(&self.arguments, &self.log)?;
        self.pid = pid(&self.process)?;
        self.ended = false;
        Ok(())
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.process.kill().await.with_context(|| format!("cannot kill {}", self.name))?;
        self.ended = true;
        Ok(())
    }

    /// SIGKILL, without waiting for the end.
    pub(crate) fn kill_now(&mut self) {
        if !self.ended {
            // Fails only if it has ended by itself.
            let _ = self.process.start_kill();
        }
    }

    /// How it ended, if it has and this was not told before.
    pub(crate) fn newly_ended(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let status = self.process.try_wait().ok()??;
        self.ended = true;
        Some(format!("{} ({}, pid {}) {}", self.name, self.address, self.pid, describe(status)))
    }

    /// The last lines of its log, on one line.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join(" | ")
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| !self.ended) {
            // It may have ended meanwhile, which is what we want.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for its end; kills it after `deadline`.
    pub(crate) async fn stop(&mut self, deadline: Instant) {
        if timeout_at(deadline, self.process.wait()).await.is_err() {
            tracing::warn!(name = %self.name, pid = self.pid, "did not end when asked; killed");
            // Fails only if it has ended by itself.
            let _ = self.process.kill().await;
        }
        self.ended = true;
    }
}

fn spawn(arguments: &[String], log: &Path) -> Result<tokio::process::Child> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let output = File::options().create(true).append(true).open(log);
    let output = output.with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone().with_context(|| format!("cannot write {}", log.display()))?;
    Command::new(&program)
        .args(arguments)
        .arg(format!("--exit-with-parent={}", std::process::id()))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

fn pid(process: &tokio::process::Child) -> Result<u32> {
    process.id().context("a process that was just started has an id")
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
