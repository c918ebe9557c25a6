//! Masters and agents of one cluster, as processes.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
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
    /// Variables of single nodes' environment, by the node's name.
    pub node_environment: Vec<(String, (String, String))>,
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
    /// In the order of their node ids, which start at 1, as long as none was replaced.
    pub masters: Vec<Node>,
    /// In any order.
    pub agents: Vec<Node>,
    /// Masters in whose place others run.
    pub replaced: Vec<Node>,
    /// What else is known of each of `masters`.
    seats: Vec<Seat>,
    settings: Settings,
    dir: TempDir,
    program: PathBuf,
    _slot: Slot,
}

/// One master beside its process.
#[derive(Clone, Debug)]
struct Seat {
    /// Its node id.
    number: usize,
    client: SocketAddr,
    /// Where the other masters are served.
    raft: SocketAddr,
    data_dir: PathBuf,
}

impl Seat {
    /// As operators name it: `number=host:raftport/clientport`.
    fn member(&self) -> String {
        format!("{}={}/{}", self.number, self.raft, self.client.port())
    }
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
        let seat = self.next_seat(addresses[0], addresses[1]);
        let settings = Settings { master_flags: flags.to_vec(), ..Settings::default() };
        let kit = Kit { program: &self.program, dir: self.dir.path(), settings: &settings };
        let mut node = kit.master(&seat, None);
        node.start()?;
        self.masters.push(node);
        self.seats.push(seat);
        Ok(self.masters.len() - 1)
    }

    /// Starts a master with the next node id, an empty disk and the usual flags where `index`, which must not run any more,
    /// had its addresses and environment. It belongs to no cluster until it is made a member.
    pub fn replace_master(&mut self, index: usize) -> Result<()> {
        ensure!(self.masters[index].pid().is_none(), "{} still runs", self.masters[index].name);
        let Seat { client, raft, .. } = self.seats[index];
        let seat = self.next_seat(client, raft);
        let kit = Kit { program: &self.program, dir: self.dir.path(), settings: &self.settings };
        let mut node = kit.master(&seat, self.settings.hosts.get(index));
        // It is the machine's, not the master's.
        node.add_environment(self.masters[index].environment().iter().cloned());
        node.start()?;
        self.replaced.push(std::mem::replace(&mut self.masters[index], node));
        self.seats[index] = seat;
        Ok(())
    }

    fn next_seat(&self, client: SocketAddr, raft: SocketAddr) -> Seat {
        let number = 1 + self.seats.iter().map(|seat| seat.number).max().unwrap_or_default();
        let data_dir = self.dir.path().join(master_name(number));
        Seat { number, client, raft, data_dir }
    }

    /// A master as operators name it: `number=host:raftport/clientport`.
    pub fn member(&self, index: usize) -> String {
        self.seats[index].member()
    }

    /// A master's node id.
    pub fn node_id(&self, index: usize) -> usize {
        self.seats[index].number
    }

    /// Where a master keeps its data.
    pub fn data_dir(&self, index: usize) -> PathBuf {
        self.seats[index].data_dir.clone()
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
        let seats: Vec<Seat> = of_masters
            .chunks(2)
            .zip(1..)
            .map(|(pair, number)| {
                let chosen = settings.master_dirs.get(number - 1).cloned();
                let data_dir = chosen.unwrap_or_else(|| dir.path().join(master_name(number)));
                Seat { number, client: pair[0], raft: pair[1], data_dir }
            })
            .collect();
        let members = seats.iter().map(Seat::member).collect::<Vec<_>>().join(",");
        let kit = Kit { program: &program, dir: dir.path(), settings };
        let mut masters: Vec<Node> =
            seats.iter().enumerate().map(|(index, seat)| kit.master(seat, hosts.get(index))).collect();
        if let Some(first) = masters.first_mut() {
            first.add_flag("--bootstrap");
            first.add_flag(&format!("--initial-masters={members}"));
        }
        let clients = addresses_of(&masters).join(",");
        let agents = of_agents.iter().zip(1..).map(|(address, number)| {
            kit.agent(number, *address, &clients, hosts.get(seats.len() + number - 1))
        });
        let (agents, settings) = (agents.collect(), settings.clone());
        Ok(Self { masters, agents, replaced: Vec::new(), seats, settings, dir, program, _slot: slot })
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
        addresses_of(&self.masters)
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
        let (masters, agents) = (self.addresses(), addresses_of(&self.agents));
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
        self.replaced.clear();
        leftovers::end_all(self.dir.path());
    }
}

/// Two for each master, one for each agent.
fn usual_ports(masters: usize, hosts: &[Host]) -> Vec<SocketAddr> {
    let (of_masters, of_agents) = hosts.split_at(masters);
    let masters = of_masters.iter().flat_map(|host| [(host.address, 5050), (host.address, 5052)]);
    masters.chain(of_agents.iter().map(|host| (host.address, 5051))).map(SocketAddr::from).collect()
}

fn addresses_of(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(|node| node.address.to_string()).collect()
}

fn master_name(number: usize) -> String {
    format!("master-{number}")
}

/// What all nodes of a cluster are made from.
struct Kit<'a> {
    program: &'a Path,
    dir: &'a Path,
    settings: &'a Settings,
}

impl Kit<'_> {
    /// A master that is not started, and bootstraps nothing.
    fn master(&self, seat: &Seat, host: Option<&Host>) -> Node {
        let mut arguments = vec![
            "master".to_owned(),
            format!("--node-id={}", seat.number),
            format!("--listen={}", seat.client),
            format!("--raft-listen={}", seat.raft),
            format!("--data-dir={}", seat.data_dir.display()),
            "--cluster=test".to_owned(),
        ];
        arguments.extend(self.settings.master_flags.iter().cloned());
        self.node(master_name(seat.number), seat.client, arguments, host)
    }

    /// An agent that is not started, of the cluster with these masters.
    fn agent(&self, number: usize, address: SocketAddr, masters: &str, host: Option<&Host>) -> Node {
        let name = format!("agent-{number}");
        let mut arguments = vec![
            "agent".to_owned(),
            format!("--master={masters}"),
            format!("--listen={address}"),
            format!("--work-dir={}", self.dir.join(&name).display()),
        ];
        arguments.extend(self.settings.agent_flags.iter().cloned());
        self.node(name, address, arguments, host)
    }

    fn node(
        &self,
        name: String,
        address: SocketAddr,
        mut arguments: Vec<String>,
        host: Option<&Host>,
    ) -> Node {
        let flags = self.settings.node_flags.iter().filter(|(of, _)| *of == name);
        arguments.extend(flags.map(|(_, flag)| flag.clone()));
        arguments.extend(host.map(|_| "--allow-remote".to_owned()));
        let environment = self.settings.node_environment.iter().filter(|(of, _)| *of == name);
        let environment: Vec<_> = environment.map(|(_, variable)| variable.clone()).collect();
        let log = self.dir.join(format!("{name}.log"));
        let mut node = Node::new(name, address, self.program.to_owned(), arguments, log);
        node.add_environment(environment);
        match host {
            Some(host) => node.inside(host.enter.clone()),
            None => node,
        }
    }
}

/// The release binary: it lies beside the running program, or, if that is a test, beside the test's folder.
pub fn binary() -> Result<PathBuf> {
    let running = std::env::current_exe().context("cannot find the running program's own file")?;
    let mut candidates = running.ancestors().skip(1).take(2).map(|folder| folder.join("mesarch"));
    candidates.find(|program| program.is_file()).with_context(|| {
        format!("there is no mesarch binary near {}; first run: cargo build --release", running.display())
    })
}
