//! Masters on ports of the kernel's choice, with their data in a folder that goes with the test.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, time::Duration};

use mesarch_master::{Deps, Master, MasterAddress, Options, Running};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::Instant};

use crate::client;

/// How long anything may take before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `probe` gives something.
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `future`, or the test fails.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub(crate) struct Cluster {
    nodes: Vec<Option<Running>>,
    options: Vec<Options>,
    _data: TempDir,
}

impl Cluster {
    /// Starts masters; node `i` has the id `i + 1`.
    pub(crate) async fn start(masters: usize) -> Self {
        Self::start_with(masters, |_| {}).await
    }

    pub(crate) async fn start_with(masters: usize, change: impl Fn(&mut Options)) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut listeners = Vec::new();
        for _ in 0..masters {
            let bind = || TcpListener::bind(("127.0.0.1", 0));
            listeners.push((bind().await.expect("a port"), bind().await.expect("a port")));
        }
        let address = |listener: &TcpListener| listener.local_addr().expect("bound");
        let members: BTreeMap<u64, MasterAddress> = (1..)
            .zip(&listeners)
            .map(|(node, (client, raft))| {
                (node, MasterAddress { client: address(client).to_string(), raft: address(raft).to_string() })
            })
            .collect();
        let (mut nodes, mut all) = (Vec::new(), Vec::new());
        for (node, (client, raft)) in (1..).zip(listeners) {
            let mut options = Options {
                node_id: node,
                listen: address(&client),
                raft_listen: address(&raft),
                data_dir: data.path().join(node.to_string()),
                bootstrap: node == 1,
                initial_masters: if node == 1 { members.clone() } else { BTreeMap::new() },
                allocation_interval_ms: 50,
                ..Options::default()
            };
            change(&mut options);
            let deps = Deps { client_listener: Some(client), raft_listener: Some(raft), ..Deps::default() };
            nodes.push(Some(Master::start(options.clone(), deps).await.expect("a master")));
            all.push(Options { bootstrap: false, initial_masters: BTreeMap::new(), ..options });
        }
        Self { nodes, options: all, _data: data }
    }

    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        self.options[node].listen
    }

    /// Which node serves as leader.
    pub(crate) async fn leader(&self) -> usize {
        wait_for("a leader", || async {
            for node in 0..self.nodes.len() {
                if self.nodes[node].is_some() && self.is_leading(node).await {
                    return Some(node);
                }
            }
            None
        })
        .await
    }

    async fn is_leading(&self, node: usize) -> bool {
        let reply = client::get(self.address(node), "/metrics/snapshot").await;
        reply.json()["master/elected"] == 1.0
    }

    /// A node that follows, once it knows the leader.
    pub(crate) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let location = format!("//{}", self.address(leader));
        wait_for("a follower that knows the leader", || async {
            for node in (0..self.nodes.len()).filter(|node| *node != leader) {
                if self.nodes[node].is_some() {
                    let reply = client::get(self.address(node), "/redirect").await;
                    if reply.header("location") == Some(location.as_str()) {
                        return Some(node);
                    }
                }
            }
            None
        })
        .await
    }

    pub(crate) async fn shutdown(&mut self, node: usize) {
        let running = self.nodes[node].take().expect("it runs");
        soon("an orderly end", running.shutdown()).await;
    }

    /// Ends a node as if its process had died.
    pub(crate) async fn kill(&mut self, node: usize) {
        let running = self.nodes[node].take().expect("it runs");
        soon("an end", running.kill()).await;
    }

    pub(crate) async fn restart(&mut self, node: usize) {
        assert!(self.nodes[node].is_none(), "it still runs");
        let running = Master::start(self.options[node].clone(), Deps::default()).await.expect("a master");
        self.nodes[node] = Some(running);
    }
}
