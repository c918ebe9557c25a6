//! One process of a cluster.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_for_within;

/// How long a process may take to end by itself after SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Lines of a log that are shown after a failed test.
const TAIL_LINES: usize = 60;

/// A master or an agent: its command line, and its process while it runs. Ended by SIGKILL when dropped.
#[derive(Debug)]
pub struct Node {
    /// Such as `master-1`.
    pub name: String,
    /// Where it serves clients, `host:port`.
    pub address: SocketAddr,
    /// Empty, or a command that becomes the one it is given.
    enter: Vec<String>,
    environment: Vec<(String, String)>,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// A node that is not started yet. `log` is appended to at every start.
    pub fn new(
        name: String,
        address: SocketAddr,
        program: PathBuf,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> Self {
        Self {
            name,
            address,
            enter: Vec::new(),
            environment: Vec::new(),
            program,
            arguments,
            log,
            child: None,
        }
    }

    /// The same, started by a command that becomes the one it is given, elsewhere.
    pub fn inside(mut self, enter: Vec<String>) -> Self {
        self.enter = enter;
        self
    }

    /// Sets variables of its environment for the next starts.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.environment.extend(variables);
    }

    /// Starts the process. It ends with the thread that called this, so call it from the test itself.
    pub fn start(&mut self) -> Result<()> {
        anyhow::ensure!(self.child.is_none(), "{} already runs", self.name);
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let (output, errors) = (open()?, open()?);
        let mut words = self.enter.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let first = words.next().unwrap_or(self.program.as_os_str());
        let child = Command::new(first)
            .args(words)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg(format!("--exit-with-parent={}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Removes a flag, given as it was, for the next starts: `--bootstrap` is for the first one only.
    pub fn forget_flag(&mut self, starts_with: &str) {
        self.arguments.retain(|argument| !argument.starts_with(starts_with));
    }

    /// Runs another program at the next starts, such as a newer version.
    pub fn run_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Adds a flag for the next starts.
    pub fn add_flag(&mut self, flag: &str) {
        self.arguments.push(flag.to_owned());
    }

    /// The variables that were set.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL; returns when the process is gone. No effect if it does not run.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().with_context(|| format!("cannot kill {}", self.name))?;
            child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        }
        Ok(())
    }

    /// SIGTERM; returns how it ended.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let what = format!("{} to end after SIGTERM", self.name);
        let status = wait_for_within(STOP_WITHIN, &what, async || self.ended()).await?;
        self.child = None;
        Ok(status)
    }

    /// How it ended, if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// SIGSTOP: connections stay, nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("{} does not run", self.name))?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// What it has logged, over all of its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for people.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that fails must not hang on its processes; what cannot be killed is already gone.
        let _ = self.kill();
    }
}
