//! `mesarch dev`: a whole cluster on this machine, for trying things out and for tools.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use mesarch_client::masters::{DEV_FILE, runtime_dir};
use mesarch_client::operator::Operator;
use mesarch_client::readiness::active_agents;
use serde_json::Value;
use tokio::time::interval;

use crate::cluster::{Cluster, Plan, Ready};
use crate::commands::{asked_to_stop, command_logs, command_runtime, print, tell};
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch dev                       three masters and an agent
  mesarch dev --masters 5 --agents 3
  mesarch dev --dir ~/mesarch       kept in this folder; the same command again goes on with the same cluster
  mesarch run -- echo hello         in another terminal: finds the cluster by itself
  kill -9 PID                       of the leader (see `pids`): the cluster goes on

The first line on standard output is JSON, once the cluster is ready; events follow on standard error.
Ctrl-C or SIGTERM ends all of it, tasks included, with status 0, and removes its data (a folder given with --dir is
kept).";

/// How often the cluster is looked at for events.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks between two counts of the agents, which cost more.
const LOOKS_PER_COUNT: u32 = 10;

/// Starts a cluster of masters and agents on this machine, until Ctrl-C
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How many masters; an odd number survives as many losses as the next even one [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    masters: Option<u16>,
    /// How many agents [default: 1]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u16).range(0..=500))]
    agents: Option<u16>,
    /// Where data and logs are kept: new, empty, or of an earlier `dev`, which is started again with the masters, agents
    /// and ports that it had [default: a temporary folder]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// First port: master i gets P+10i and P+10i+2, agent j P+1000+j [default: free ports]
    #[arg(long, value_name = "P")]
    base_port: Option<u16>,
}

/// Until Ctrl-C.
pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> Result<ExitCode> {
    let (dir, _temporary) = match &arguments.dir {
        Some(dir) => (std::path::absolute(dir).map_err(|error| usage(format!("--dir: {error}")))?, None),
        None => {
            let made = tempfile::Builder::new().prefix("mesarch-dev-").tempdir();
            let made = made.context("cannot make a temporary folder")?;
            (made.path().to_path_buf(), Some(made))
        }
    };
    let (masters, agents) = (arguments.masters, arguments.agents);
    let plan = Plan { masters, agents, dir, base_port: arguments.base_port };
    let stop = asked_to_stop();
    tokio::pin!(stop);
    let mut cluster = Cluster::spawn(&plan)?;
    let outcome = tokio::select! {
        signal = &mut stop => signal.map(drop),
        ended = run_until_failure(&mut cluster) => ended,
    };
    tell("stopping the cluster");
    cluster.stop().await;
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Tells when the cluster is ready, and then what happens, for ever.
async fn run_until_failure(cluster: &mut Cluster) -> Result<()> {
    let ready = cluster.ready().await?;
    let _listed = Listed::new(&runtime_dir(), &ready)?;
    print(&format!("{}\n", serde_json::to_string(&ready)?))?;
    watch(cluster, &ready).await
}

/// Tells what happens, for ever.
async fn watch(cluster: &mut Cluster, ready: &Ready) -> Result<()> {
    let operator = Operator::new(cluster.master_addresses());
    let mut leader = Some(ready.leader.clone());
    let mut attached = cluster.agents.len();
    let mut looks = interval(LOOK_EVERY);
    for number in 1_u32.. {
        looks.tick().await;
        cluster.newly_ended().iter().for_each(|how| tell(how));
        let now = operator.leader().await.ok();
        if now != leader {
            tell(&now.as_ref().map_or("there is no leader".to_owned(), |now| format!("{now} leads")));
            leader = now;
        }
        if number % LOOKS_PER_COUNT == 0
            && let Ok(state) = operator.state().await
        {
            let count = active_agents(&state);
            if count != attached {
                tell(&format!("{count} agents are attached"));
                attached = count;
            }
        }
    }
    Ok(())
}

/// The entry by which tools find this cluster; gone when dropped.
struct Listed {
    dir: PathBuf,
}

impl Listed {
    fn new(runtime: &Path, ready: &Ready) -> Result<Self> {
        let dir = runtime.join(std::process::id().to_string());
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let listed = Self { dir };
        let file = listed.dir.join(DEV_FILE);
        let content: Value = serde_json::to_value(ready)?;
        std::fs::write(&file, format!("{content}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(listed)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        // What cannot be removed does no harm: an entry counts only while its masters answer. The folder above goes
        // with the last entry, and stays while others are in it.
        let _ = std::fs::remove_dir_all(&self.dir);
        let _ = self.dir.parent().map(std::fs::remove_dir);
    }
}
