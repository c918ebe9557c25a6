//! The cluster under measurement: `mesarch dev` as a child process, real masters on real disks.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What `mesarch dev` says when it is ready.
#[derive(Deserialize)]
pub(crate) struct Ready {
    pub(crate) masters: Vec<String>,
    pub(crate) leader: String,
    pub(crate) pids: BTreeMap<String, u32>,
}

/// A fresh cluster; dropping it ends its processes and removes its files.
pub(crate) struct Cluster {
    child: Child,
    pub(crate) ready: Ready,
}

impl Cluster {
    /// Starts masters without agents, in a temporary folder.
    pub(crate) fn start(masters: u32) -> anyhow::Result<Self> {
        let binary = binary()?;
        let mut child = Command::new(&binary)
            .args(["dev", "--agents", "0", "--masters", &masters.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let Some(first) = lines.next() else {
            let _ = child.kill();
            bail!("`mesarch dev` ended before it was ready");
        };
        let ready = serde_json::from_str(&first?).context("`mesarch dev` did not say that it is ready")?;
        // Events go on; somebody has to read them.
        std::thread::spawn(move || lines.for_each(drop));
        let cluster = Self { child, ready };
        cluster.signal(Signal::STOP)?;
        Ok(cluster)
    }

    /// To `mesarch dev`, which watches the masters. It is paused while they are measured: it reads the leader's whole
    /// state every second, which would count as the leader's own cost.
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("not a process id")?;
        kill_process(pid, signal).context("cannot signal `mesarch dev`")
    }

    /// Process id of the master that led when the cluster was ready.
    pub(crate) fn leader_pid(&self) -> anyhow::Result<u32> {
        self.pid(&self.ready.leader)
    }

    /// Addresses of the masters that did not lead when the cluster was ready.
    pub(crate) fn followers(&self) -> impl Iterator<Item = &String> {
        self.ready.masters.iter().filter(|master| **master != self.ready.leader)
    }

    /// Process id of the master at this client address.
    pub(crate) fn pid(&self, master: &str) -> anyhow::Result<u32> {
        self.ready.pids.get(master).copied().with_context(|| format!("no process id for master {master}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // One that is gone already needs neither.
        let _ = self.signal(Signal::INT);
        let _ = self.signal(Signal::CONT);
        let _ = self.child.wait();
    }
}

/// Ends one process at once.
pub(crate) fn kill_hard(pid: u32) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("not a process id")?;
    kill_process(pid, Signal::KILL).context("cannot kill the process")
}

/// CPU time that a process has used so far, user and system.
pub(crate) fn cpu_used(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // After the name in parentheses: field 3 is the state, fields 14 and 15 are the times in clock ticks.
    let (_, fields) = stat.rsplit_once(')').context("unreadable process status")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields
        .get(11..13)
        .context("short process status")?
        .iter()
        .map(|f| f.parse::<u64>().unwrap_or(0))
        .sum();
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Memory that a process has in RAM, in KB.
pub(crate) fn memory_kb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("no amount")?.parse()?)
}

fn binary() -> anyhow::Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("mesarch");
    if !binary.exists() {
        bail!("{} is missing; build it with `cargo build --release --bin mesarch`", binary.display());
    }
    Ok(binary)
}
