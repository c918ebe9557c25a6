//! pymesos 0.3.15, scheduler and executor, through a follower and across a change of leader.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::{Cluster, DEADLINE, Settings, wait_for};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::support::admin::transfer_leader;

const PHASES: [&str; 7] =
    ["REGISTERED", "RUNNING", "RECONCILED", "MESSAGE", "FINISHED", "KILLED", "ACKNOWLEDGED"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/pymesos")
}

/// The Python with pymesos, installed once below `target/`.
async fn python() -> Result<PathBuf> {
    static READY: OnceCell<PathBuf> = OnceCell::const_new();
    let ready = READY.get_or_try_init(async || {
        let test = std::env::current_exe()?;
        let target = test.ancestors().nth(3).context("tests lie below target/release")?;
        let venv = target.join("clients/pymesos-0.3.15");
        std::fs::create_dir_all(target.join("clients"))?;
        let setup = Command::new("bash").arg(folder().join("setup.sh")).arg(&venv).status().await?;
        ensure!(setup.success(), "pymesos could not be installed; see above");
        Ok(venv.join("bin/python"))
    });
    ready.await.cloned()
}

struct Scenario {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Scenario {
    async fn start(master: &str, more: &[&str]) -> Result<Self> {
        let python = python().await?;
        let executor = format!("exec {} {}", python.display(), folder().join("executor.py").display());
        let mut process = Command::new(&python)
            .arg(folder().join("scheduler.py"))
            .args([master, &executor])
            .args(more)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("standard output is piped")?;
        Ok(Self { process, lines: BufReader::new(output).lines() })
    }

    async fn expect(&mut self, phase: &str) -> Result<()> {
        let line = timeout(2 * DEADLINE, self.lines.next_line()).await.context("pymesos hangs")??;
        ensure!(line.as_deref() == Some(phase), "pymesos said {line:?} instead of {phase}");
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        self.expect("DONE").await?;
        let status = timeout(DEADLINE, self.process.wait()).await.context("pymesos does not end")??;
        ensure!(status.success(), "pymesos ended with {status}");
        Ok(())
    }
}

/// Torn down: the framework is completed and its executor gone.
async fn is_gone(cluster: &Cluster) -> Result<()> {
    wait_for("the framework to be torn down and its executor to end", async || {
        let state = cluster.operator().state().await.ok()?;
        let open = state["frameworks"].as_array()?.len();
        (open == 0 && cluster.executor_processes() == 0).then_some(())
    })
    .await
}

async fn through_a_follower() -> Result<()> {
    let cluster = Cluster::start(3, 1, Settings::default()).await?;
    let follower = (cluster.wait_for_leader().await? + 1) % 3;
    let mut scenario = Scenario::start(&cluster.masters[follower].address.to_string(), &[]).await?;
    for phase in PHASES {
        scenario.expect(phase).await?;
    }
    scenario.finish().await?;
    is_gone(&cluster).await
}

/// How the leader changes. pymesos knows one address: it must be answered there, by a follower, to find the leader.
#[derive(Clone, Copy)]
enum Change {
    /// The leader hands over and stays.
    Transfer,
    /// The leader is asked to stop, and comes back.
    Restart,
}

async fn across_a_change_of_leader(change: Change) -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let leader = cluster.wait_for_leader().await?;
    let address = cluster.masters[leader].address.to_string();
    let mut scenario = Scenario::start(&address, &["--wait-for-failover"]).await?;
    for phase in &PHASES[..2] {
        scenario.expect(phase).await?;
    }
    match change {
        Change::Transfer => drop(transfer_leader(&cluster).await?),
        Change::Restart => {
            let status = cluster.masters[leader].terminate().await?;
            ensure!(status.success(), "a master that is asked to stop ends well, not with {status}");
            cluster.masters[leader].start()?;
        }
    }
    scenario.expect("RETURNED").await?;
    scenario.expect("REPEATED").await?;
    for phase in &PHASES[2..] {
        scenario.expect(phase).await?;
    }
    scenario.finish().await?;
    is_gone(&cluster).await
}

#[tokio::test]
async fn pymesos_runs_kills_reconciles_and_tears_down_through_a_follower() {
    through_a_follower().await.unwrap();
}

#[tokio::test]
async fn pymesos_goes_on_under_its_id_after_the_leader_has_handed_over() {
    across_a_change_of_leader(Change::Transfer).await.unwrap();
}

#[tokio::test]
async fn pymesos_goes_on_under_its_id_after_the_leader_was_restarted() {
    across_a_change_of_leader(Change::Restart).await.unwrap();
}
