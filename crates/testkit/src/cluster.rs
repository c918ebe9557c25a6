//! Masters and agents of one cluster, as processes.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mesarch_client::operator::{self, Operator};
use mesarch_client::{leftovers, readiness};
use tempfile::TempDir;

use crate::node::Node;
use crate::ports;
use crate::slots::{Slot, slot};
use crate::wait::wait_for;

/// What a test may want different.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Further flags of every master.
    pub master_flags: Vec<String>,
    /// Further flags of every agent, such as `--resources=cpus:2;mem:512`.
    pub agent_flags: Vec<String>,
    /// Where each master and then each agent runs; empty: all on loopback.
    pub hosts: Vec<Host>,
    /// What masters and agents run at first, such as an older version; `None`: [`binary`].
    pub program: Option<PathBuf>,
    /// Further flags of single nodes, by name, such as `master-2`.
    pub node_flags: Vec<(String, String)>,
    /// Where each master keeps its data; empty: below the cluster's folder.
    pub master_dirs: Vec<PathBuf>,
}

/// A place with an address of its own.
#[derive(Clone, Debug)]
pub struct Host {
    /// Free of other processes: the usual ports are used.
    pub address: IpAddr,
    /// The command that runs another one there and becomes it, such as `ip netns exec NAME`.
    pub enter: Vec<String>,
}

/// A running cluster. Dropped: all of its processes end, tasks included, and its folder is removed; if the test
/// panics, the logs are shown first.
#[derive(Debug)]
pub struct Cluster {
    /// In the order of their node ids, which start at 1.
    pub masters: Vec<Node>,
    /// In any order.
    pub agents: Vec<Node>,
    /// Where the other masters are served, in the order of `masters`.
    raft: Vec<SocketAddr>,
    master_dirs: Vec<PathBuf>,
    dir: TempDir,
    program: PathBuf,
    _slot: Slot,
}

impl Cluster {
    /// Starts everything and waits until all masters name the same leader and all agents are attached; before, for a
    /// free [`slot`].
    pub async fn start(masters: usize, agents: usize, settings: Settings) -> Result<Self> {
        let mut cluster = Self::prepare(masters, agents, &settings, slot().await)?;
        for node in cluster.masters.iter_mut().chain(&mut cluster.agents) {
            node.start()?;
        }
        cluster.wait_until_complete().await?;
        // The data directories know it now.
        cluster.masters[0].forget_flag("--bootstrap");
        cluster.masters[0].forget_flag("--initial-masters");
        Ok(cluster)
    }

    /// Starts a further master with the next node id, with these flags beside the usual; returns its index. It belongs to no
    /// cluster until it is made a member.
    pub fn add_master(&mut self, flags: &[String]) -> Result<usize> {
        let addresses = ports::free(2)?;
        let index = self.masters.len();
        let pairs = vec![(addresses[0], addresses[1]); index + 1];
        let settings = Settings { master_flags: flags.to_vec(), ..Settings::default() };
        let mut arguments = master_arguments(index, &pairs, self.dir.path(), &settings);
        arguments.retain(|argument| argument != "--bootstrap" && !argument.starts_with("--initial-masters"));
        let name = format!("master-{}", index + 1);
        let log = self.dir.path().join(format!("{name}.log"));
        let mut node = Node::new(name, addresses[0], self.program.clone(), arguments, log);
        node.start()?;
        self.masters.push(node);
        self.raft.push(addresses[1]);
        Ok(index)
    }

    /// A master as operators name it: `number=host:raftport/clientport`.
    pub fn member(&self, index: usize) -> String {
        format!("{}={}/{}", index + 1, self.raft[index], self.masters[index].address.port())
    }

    /// Where a master keeps its data.
    pub fn data_dir(&self, index: usize) -> PathBuf {
        master_dir(index, self.dir.path(), &self.master_dirs)
    }

    fn prepare(masters: usize, agents: usize, settings: &Settings, slot: Slot) -> Result<Self> {
        let program = settings.program.clone().map_or_else(binary, Ok)?;
        let dir =
            tempfile::Builder::new().prefix("mesarch-test-").tempdir().context("cannot make a folder")?;
        let hosts = &settings.hosts;
        let addresses = match hosts.len() {
            0 => ports::free(masters * 2 + agents)?,
            count if count == masters + agents => usual_ports(masters, hosts),
            count => bail!("{count} hosts for {masters} masters and {agents} agents"),
        };
        let (of_masters, of_agents) = addresses.split_at(masters * 2);
        let pairs: Vec<(SocketAddr, SocketAddr)> =
            of_masters.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let node = |place: usize, name: String, address, mut arguments: Vec<String>| {
            let log = dir.path().join(format!("{name}.log"));
            let own = settings.node_flags.iter().filter(|(of, _)| *of == name);
            arguments.extend(own.map(|(_, flag)| flag.clone()));
            let Some(host) = hosts.get(place) else {
                return Node::new(name, address, program.clone(), arguments, log);
            };
            arguments.push("--allow-remote".to_owned());
            Node::new(name, address, program.clone(), arguments, log).inside(host.enter.clone())
        };
        let masters = pairs.iter().enumerate().map(|(index, (client, _))| {
            let arguments = master_arguments(index, &pairs, dir.path(), settings);
            node(index, format!("master-{}", index + 1), *client, arguments)
        });
        let clients = pairs.iter().map(|(client, _)| client.to_string()).collect::<Vec<_>>().join(",");
        let agents = of_agents.iter().enumerate().map(|(index, address)| {
            let name = format!("agent-{}", index + 1);
            let mut arguments = vec![
                "agent".to_owned(),
                format!("--master={clients}"),
                format!("--listen={address}"),
                format!("--work-dir={}", dir.path().join(&name).display()),
            ];
            arguments.extend(settings.agent_flags.iter().cloned());
            node(pairs.len() + index, name, *address, arguments)
        });
        let (masters, agents) = (masters.collect(), agents.collect());
        let raft = pairs.iter().map(|(_, raft)| *raft).collect();
        let master_dirs = settings.master_dirs.clone();
        Ok(Self { masters, agents, raft, master_dirs, dir, program, _slot: slot })
    }

    /// The folder with all data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What its nodes run.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Keeps the folder when the cluster is dropped, for a person to look into.
    pub fn keep_files(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }

    /// All masters' client addresses, dead ones too.
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.masters)
    }

    /// For reads from the leader.
    pub fn operator(&self) -> Operator {
        Operator::new(self.addresses())
    }

    /// Index of the master that leads now, as the masters say. A master that has just died may still be named.
    pub async fn leader(&self) -> Option<usize> {
        let address = self.operator().leader().await.ok()?;
        self.masters.iter().position(|master| master.address.to_string() == address)
    }

    /// Index of the leader, once one answers `/state`.
    pub async fn wait_for_leader(&self) -> Result<usize> {
        wait_for("a leader that serves", async || {
            self.operator().state().await.ok()?;
            self.leader().await
        })
        .await
    }

    /// Waits until every master names the same leader and every agent is attached to it.
    async fn wait_until_complete(&self) -> Result<()> {
        let (masters, agents) = (self.addresses(), addresses(&self.agents));
        wait_for("all masters and agents of a new cluster", async || {
            readiness::look(&masters, &agents).await.ok()
        })
        .await
        .map(drop)
    }

    /// Waits until as many agents are active as there are running nodes.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let expect = self.agents.iter().filter(|agent| agent.pid().is_some()).count();
        wait_for(&format!("a leader and {expect} active agents"), async || {
            let state = self.operator().state().await.ok()?;
            (readiness::active_agents(&state) == expect).then_some(())
        })
        .await
    }

    /// Waits until master `index` answers and knows a leader: it can vote and be lost again.
    pub async fn wait_until_joined(&self, index: usize) -> Result<()> {
        let address = self.masters[index].address.to_string();
        wait_for(&format!("{} to join", self.masters[index].name), async || {
            operator::get(&address, "/redirect").await.ok()?.redirect
        })
        .await
        .map(drop)
    }

    /// SIGKILL to the leader; returns its index.
    pub async fn kill_leader(&mut self) -> Result<usize> {
        let leader = self.wait_for_leader().await?;
        self.masters[leader].kill()?;
        Ok(leader)
    }

    /// Processes of executors and tasks that run on this cluster's agents.
    pub fn executor_processes(&self) -> usize {
        leftovers::with_sandbox_below(self.dir.path()).len()
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "what a person needs after a failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in self.masters.iter().chain(&self.agents) {
                eprintln!("--- {} ({}):\n{}", node.name, node.address, node.log_tail());
            }
        }
        self.agents.clear();
        self.masters.clear();
        leftovers::end_all(self.dir.path());
    }
}

/// Two for each master, one for each agent.
fn usual_ports(masters: usize, hosts: &[Host]) -> Vec<SocketAddr> {
    let (of_masters, of_agents) = hosts.split_at(masters);
    let masters = of_masters.iter().flat_map(|host| [(host.address, 5050), (host.address, 5052)]);
    masters.chain(of_agents.iter().map(|host| (host.address, 5051))).map(SocketAddr::from).collect()
}

fn addresses(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(|node| node.address.to_string()).collect()
}

/// Where a master keeps its data.
fn master_dir(index: usize, dir: &Path, chosen: &[PathBuf]) -> PathBuf {
    chosen.get(index).cloned().unwrap_or_else(|| dir.join(format!("master-{}", index + 1)))
}

fn master_arguments(
    index: usize,
    pairs: &[(SocketAddr, SocketAddr)],
    dir: &Path,
    settings: &Settings,
) -> Vec<String> {
    let (client, raft) = pairs[index];
    let node = index + 1;
    let mut arguments = vec![
        "master".to_owned(),
        format!("--node-id={node}"),
        format!("--listen={client}"),
        format!("--raft-listen={raft}"),
        format!("--data-dir={}", master_dir(index, dir, &settings.master_dirs).display()),
        "--cluster=test".to_owned(),
    ];
    arguments.extend(settings.master_flags.iter().cloned());
    if index == 0 {
        let members = pairs
            .iter()
            .enumerate()
            .map(|(index, (client, raft))| format!("{}={raft}/{}", index + 1, client.port()));
        arguments.push("--bootstrap".to_owned());
        arguments.push(format!("--initial-masters={}", members.collect::<Vec<_>>().join(",")));
    }
    arguments
}

/// The release binary: it lies beside the running program, or, if that is a test, beside the test's folder.
pub fn binary() -> Result<PathBuf> {
    let running = std::env::current_exe().context("cannot find the running program's own file")?;
    let mut candidates = running.ancestors().skip(1).take(2).map(|folder| folder.join("mesarch"));
    candidates.find(|program| program.is_file()).with_context(|| {
        format!("there is no mesarch binary near {}; first run: cargo build --release", running.display())
    })
}
