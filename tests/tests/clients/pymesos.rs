//! pymesos 0.3.15: scheduler, executor and operators, through a follower and across a change of leader.

use anyhow::{Result, ensure};
use mesarch_testkit::{Cluster, Settings, wait_for};
use tokio::process::Command;

use super::script::{Script, folder, installed};
use crate::support::admin::transfer_leader;

const PHASES: [&str; 7] =
    ["REGISTERED", "RUNNING", "RECONCILED", "MESSAGE", "FINISHED", "KILLED", "ACKNOWLEDGED"];

/// A scenario of pymesos, with these arguments.
async fn start(scenario: &str, arguments: &[&str]) -> Result<Script> {
    let python = installed("pymesos", "0.3.15").await?.join("bin/python");
    Script::start(Command::new(python).arg(folder("pymesos").join(scenario)).args(arguments))
}

async fn start_scheduler(master: &str, more: &[&str]) -> Result<Script> {
    let python = installed("pymesos", "0.3.15").await?.join("bin/python");
    let executor = format!("exec {} {}", python.display(), folder("pymesos").join("executor.py").display());
    start("scheduler.py", &[&[master, executor.as_str()], more].concat()).await
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
    let scenario = start_scheduler(&cluster.masters[follower].address.to_string(), &[]).await?;
    scenario.finish(&PHASES).await?;
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
    let mut scenario = start_scheduler(&address, &["--wait-for-failover"]).await?;
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
    scenario.finish(&PHASES[2..]).await?;
    is_gone(&cluster).await
}

/// Every call of pymesos' drivers for operators, and every event; the agent is taken down for maintenance on the way.
async fn operators_through_a_follower() -> Result<()> {
    let mut cluster = Cluster::start(3, 1, Settings::default()).await?;
    let follower = (cluster.wait_for_leader().await? + 1) % 3;
    let address = cluster.masters[follower].address.to_string();
    let mut scenario = start("operators.py", &[&address, &cluster.agents[0].address.to_string()]).await?;
    for phase in ["WATCHED", "READ", "AGENT", "SHARED", "RESERVED", "REPLACE AGENT"] {
        scenario.expect(phase).await?;
    }
    wait_for("the agent to end for maintenance", async || cluster.agents[0].ended()).await?;
    // Only buries what has ended.
    cluster.agents[0].kill()?;
    cluster.agents[0].start()?;
    scenario.finish(&["MAINTAINED"]).await
}

#[tokio::test]
async fn pymesos_operators_make_every_call_and_see_every_event_through_a_follower() {
    operators_through_a_follower().await.unwrap();
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
