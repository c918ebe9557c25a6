//! A whole cluster of processes on this machine: started, watched, ended without a trace.
//!
//! `dev` and `demo` use it. The processes are this very binary; they end with their parent.

mod child;
mod leftovers;
mod ports;
mod ready;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

pub(crate) use child::Child;
pub(crate) use ready::active_agents;

/// How long processes may take to end when asked, before they are killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Flags of the one master that makes the cluster, for its first start only.
const FIRST_START_ONLY: [&str; 2] = ["--bootstrap", "--initial-masters"];
/// How long a leader and all agents may take to be there.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Number of masters; odd numbers make sense.
    pub(crate) masters: u16,
    /// Number of agents.
    pub(crate) agents: u16,
    /// Where everything is kept; must be empty or absent.
    pub(crate) dir: PathBuf,
    /// The first port; see [`ports`]. Free ones if not given.
    pub(crate) base_port: Option<u16>,
}

/// A running cluster. Dropping it kills its processes; [`Cluster::stop`] ends them in order.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) dir: PathBuf,
    pub(crate) masters: Vec<Child>,
    pub(crate) agents: Vec<Child>,
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
    /// Starts all processes and waits until a leader serves and every agent is attached. On failure nothing is left.
    pub(crate) async fn start(plan: Plan) -> Result<(Self, Ready)> {
        make_dir(&plan.dir)?;
        let ports = ports::choose(plan.masters, plan.agents, plan.base_port)?;
        let mut cluster = Self { dir: plan.dir, masters: Vec::new(), agents: Vec::new(), ports };
        match cluster.start_all().await {
            Ok(leader) => {
                let ready = cluster.describe(leader);
                Ok((cluster, ready))
            }
            Err(error) => {
                cluster.stop().await;
                Err(error)
            }
        }
    }

    async fn start_all(&mut self) -> Result<String> {
        let ports = self.ports.clone();
        let members = ports.initial_masters();
        for (index, master) in ports.masters.iter().enumerate() {
            let node = index + 1;
            let mut arguments = vec![
                "master".to_owned(),
                format!("--node-id={node}"),
                format!("--listen={}", master.client),
                format!("--raft-listen={}", master.raft),
                format!("--data-dir={}", self.dir.join(format!("master-{node}")).display()),
                "--cluster=dev".to_owned(),
            ];
            if node == 1 {
                let [bootstrap, initial_masters] = FIRST_START_ONLY;
                arguments.push(bootstrap.to_owned());
                arguments.push(format!("{initial_masters}={members}"));
            }
            self.masters.push(Child::start(&self.dir, format!("master-{node}"), master.client, arguments)?);
        }
        for address in &ports.agents {
            self.start_agent(*address, &[])?;
        }
        ready::wait(self, READY_WITHIN).await
    }

    fn start_agent(&mut self, address: SocketAddr, more: &[String]) -> Result<()> {
        let name = format!("agent-{}", self.agents.len() + 1);
        let mut arguments = vec![
            "agent".to_owned(),
            format!("--master={}", self.master_addresses().join(",")),
            format!("--listen={address}"),
            format!("--work-dir={}", self.dir.join(&name).display()),
        ];
        arguments.extend_from_slice(more);
        self.agents.push(Child::start(&self.dir, name, address, arguments)?);
        Ok(())
    }

    /// Starts one more agent, with these resources (Mesos' resource text), on a free port.
    pub(crate) fn add_agent(&mut self, resources: &str) -> Result<()> {
        let address = self.ports.one_more_agent()?;
        self.start_agent(address, &[format!("--resources={resources}")])
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
        let addresses = |children: &[Child]| children.iter().map(|child| child.address.to_string()).collect();
        let everyone = self.masters.iter().chain(&self.agents);
        Ready {
            ready: true,
            masters: addresses(&self.masters),
            agents: addresses(&self.agents),
            leader,
            dir: self.dir.clone(),
            pids: everyone.map(|child| (child.address.to_string(), child.pid)).collect(),
        }
    }

    /// All masters' client addresses.
    pub(crate) fn master_addresses(&self) -> Vec<String> {
        self.masters.iter().map(|master| master.address.to_string()).collect()
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
        leftovers::end_all(&self.dir);
    }
}

fn make_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let mut entries =
        std::fs::read_dir(dir).with_context(|| format!("cannot read the folder {}", dir.display()))?;
    if entries.next().is_some() {
        bail!("{} is not empty; name a new folder", dir.display());
    }
    Ok(())
}
