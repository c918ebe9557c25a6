//! A whole cluster of processes on this machine: started, watched, ended without a trace.
//!
//! `dev` and `demo` use it. The processes are this very binary; they end with their parent.

mod child;
mod home;
mod ports;
mod ready;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use mesarch_client::leftovers;
use mesarch_storage::{Backend, DataDir};
use mesarch_types::NodeId;
use serde::Serialize;

pub(crate) use child::Child;

/// How long processes may take to end when asked, before they are killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Flags of the one master that makes the cluster, for its first start only.
const FIRST_START_ONLY: [&str; 2] = ["--bootstrap", "--initial-masters"];
/// How long all masters and agents may take to be there.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Number of masters, odd numbers make sense; what the folder holds if not given, or 3.
    pub(crate) masters: Option<u16>,
    /// Number of agents; what the folder holds if not given, or 1.
    pub(crate) agents: Option<u16>,
    /// Where everything is kept: absent, empty, or the folder of a cluster that is to be started again.
    pub(crate) dir: PathBuf,
    /// The first port; see [`ports`]. Free ones if not given.
    pub(crate) base_port: Option<u16>,
}

/// A running cluster. Dropping it kills its processes, tasks included; [`Cluster::stop`] ends them in order.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) masters: Vec<Child>,
    pub(crate) agents: Vec<Child>,
    home: home::Home,
    ports: ports::Ports,
}

/// What tools are told about a running cluster.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ready {
    ready: bool,
    masters: Vec<String>,
    agents: Vec<String>,
    pub(crate) leader: String,
    dir: PathBuf,
    pids: BTreeMap<String, u32>,
}

impl Cluster {
    /// Starts all processes and waits until every master names the same leader and every agent is attached to it. On
    /// failure nothing is left.
    pub(crate) async fn start(plan: &Plan) -> Result<(Self, Ready)> {
        let mut cluster = Self::spawn(plan)?;
        match cluster.ready().await {
            Ok(ready) => Ok((cluster, ready)),
            Err(error) => {
                cluster.stop().await;
                Err(error)
            }
        }
    }

    /// Starts all processes: of a new cluster, or of the one that the folder holds.
    pub(crate) fn spawn(plan: &Plan) -> Result<Self> {
        let (home, ports) = home::Home::open(plan)?;
        let mut cluster = Self { masters: Vec::new(), agents: Vec::new(), home, ports };
        for index in 0..cluster.ports.masters.len() {
            cluster.start_master(index)?;
        }
        for address in cluster.ports.agents.clone() {
            cluster.start_agent(address, &[])?;
        }
        Ok(cluster)
    }

    /// Waits until every master names the same leader and every agent is attached to it. Fails when a process ends.
    pub(crate) async fn ready(&mut self) -> Result<Ready> {
        let leader = ready::wait(self, READY_WITHIN).await?;
        Ok(self.describe(leader))
    }

    fn start_master(&mut self, index: usize) -> Result<()> {
        let (node, ports) = (index + 1, self.ports.masters[index]);
        let data_dir = self.dir().join(format!("master-{node}"));
        let mut arguments = vec![
            "master".to_owned(),
            format!("--node-id={node}"),
            format!("--listen={}", ports.client),
            format!("--raft-listen={}", ports.raft),
            format!("--data-dir={}", data_dir.display()),
            "--cluster=dev".to_owned(),
        ];
        if index == 0 && !knows_its_cluster(&data_dir)? {
            let [bootstrap, initial_masters] = FIRST_START_ONLY;
            arguments.push(bootstrap.to_owned());
            arguments.push(format!("{initial_masters}={}", self.ports.initial_masters()));
        }
        let child = Child::start(self.dir(), format!("master-{node}"), ports.client, arguments)?;
        self.masters.push(child);
        Ok(())
    }

    fn start_agent(&mut self, address: SocketAddr, more: &[String]) -> Result<()> {
        let name = format!("agent-{}", self.agents.len() + 1);
        let mut arguments = vec![
            "agent".to_owned(),
            format!("--master={}", self.master_addresses().join(",")),
            format!("--listen={address}"),
            format!("--work-dir={}", self.dir().join(&name).display()),
        ];
        arguments.extend_from_slice(more);
        let child = Child::start(self.dir(), name, address, arguments)?;
        self.agents.push(child);
        Ok(())
    }

    /// Starts one more agent, with these flags, on a free port.
    pub(crate) fn add_agent(&mut self, flags: &[String]) -> Result<()> {
        let address = self.ports.one_more_agent()?;
        self.start_agent(address, flags)
    }

    /// SIGKILL of a master, by its place among the masters; returns when it is gone.
    pub(crate) async fn kill_master(&mut self, index: usize) -> Result<()> {
        self.masters.get_mut(index).context("no such master")?.kill().await
    }

    /// Starts a master again that was killed, on its own data.
    pub(crate) fn restart_master(&mut self, index: usize) -> Result<()> {
        self.masters.get_mut(index).context("no such master")?.restart_without(&FIRST_START_ONLY)
    }

    fn describe(&self, leader: String) -> Ready {
        let everyone = self.masters.iter().chain(&self.agents);
        Ready {
            ready: true,
            masters: addresses(&self.masters),
            agents: addresses(&self.agents),
            leader,
            dir: self.dir().to_path_buf(),
            pids: everyone.map(|child| (child.address.to_string(), child.pid)).collect(),
        }
    }

    /// The folder with all data and logs.
    pub(crate) fn dir(&self) -> &Path {
        &self.home.dir
    }

    /// All masters' client addresses.
    pub(crate) fn master_addresses(&self) -> Vec<String> {
        addresses(&self.masters)
    }

    /// All agents' addresses.
    pub(crate) fn agent_addresses(&self) -> Vec<String> {
        addresses(&self.agents)
    }

    /// Processes that have ended since the last look, with how they ended.
    pub(crate) fn newly_ended(&mut self) -> Vec<String> {
        let everyone = self.masters.iter_mut().chain(&mut self.agents);
        everyone.filter_map(Child::newly_ended).collect()
    }

    /// Ends everything: agents first, so that they do not look for masters that leave; then what their tasks left.
    pub(crate) async fn stop(&mut self) {
        for group in [&mut self.agents, &mut self.masters] {
            group.iter().for_each(Child::ask_to_stop);
            let deadline = tokio::time::Instant::now() + STOP_WITHIN;
            for child in group {
                child.stop(deadline).await;
            }
        }
        leftovers::end_all(self.dir());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.masters.iter_mut().chain(&mut self.agents).for_each(Child::kill_now);
        leftovers::end_all(self.dir());
    }
}

fn addresses(children: &[Child]) -> Vec<String> {
    children.iter().map(|child| child.address.to_string()).collect()
}

/// Whether a master's data directory has a cluster, or has yet to be given one. Makes the directory if it is not there.
fn knows_its_cluster(data_dir: &Path) -> Result<bool> {
    let opened = DataDir::open(data_dir, NodeId(1), Backend::Sled)?;
    Ok(opened.identity().cluster.is_some())
}
