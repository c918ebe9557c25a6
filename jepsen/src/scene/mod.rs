//! What is done to a cluster, and how it is made whole again.

mod bits;
mod clocks;
mod cuts;
mod disks;
mod members;

use std::time::Duration;

use mesarch_client::operator;
use mesarch_testkit::{Cluster, Node, wait_for};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    clocks::Clocks,
    disk::Disks,
    history::{Event, Kind, Recorder},
    network::Network,
    wire::{self, Answer},
};

/// How long a paused master is silent: longer than an election takes and than a client waits for an answer, so that the next
/// leader has done things before questions are asked that the paused one will answer.
const PAUSE: Duration = Duration::from_secs(5);

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The harness could not do its part, which says nothing about the cluster.
    #[error("the harness could not do its part")]
    Harness(#[source] anyhow::Error),
    /// The cluster did not come back.
    #[error("the cluster did not come back")]
    Cluster(#[source] anyhow::Error),
}

/// A cluster under a fault, and where it is written down who ends.
pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a mut Cluster,
    /// None if all nodes are on loopback, which nobody can cut.
    pub(crate) network: Option<&'a Network>,
    /// None if the masters' data lies on the machine's own disk, which nobody can break.
    pub(crate) disks: Option<&'a Disks>,
    /// None if the nodes run by the machine's own clock, which nobody moves.
    pub(crate) clocks: Option<&'a Clocks>,
    pub(crate) recorder: &'a Recorder,
}

impl Scene<'_> {
    fn name(&self, master: usize) -> String {
        self.cluster.masters[master].name.clone()
    }

    /// Written down before and after: what is answered in between is still the word of the one that ends.
    fn note_end(&self, node: &Node) {
        self.recorder.record(Kind::Info, Event::Ends { node: node.address.to_string() });
    }

    fn kill(&mut self, master: usize) -> Result<(), Trouble> {
        self.note_end(&self.cluster.masters[master]);
        self.cluster.masters[master].kill().map_err(Trouble::Harness)?;
        self.note_end(&self.cluster.masters[master]);
        Ok(())
    }

    pub(crate) async fn kill_leader(&mut self, leader: usize) -> Result<String, Trouble> {
        self.kill(leader)?;
        let next = leading(self.cluster, &[leader]).await?;
        start(self.cluster, leader).await?;
        Ok(format!("killed {}, then {} led", self.name(leader), self.name(next)))
    }

    pub(crate) async fn kill_follower(&mut self, follower: usize) -> Result<String, Trouble> {
        self.kill(follower)?;
        start(self.cluster, follower).await?;
        Ok(format!("killed {}, which followed", self.name(follower)))
    }

    pub(crate) async fn kill_all(&mut self) -> Result<String, Trouble> {
        self.cluster.masters.iter().for_each(|master| self.note_end(master));
        // All are stopped first: none may act on another's end.
        let masters = &mut self.cluster.masters;
        masters.iter().try_for_each(Node::pause).map_err(Trouble::Harness)?;
        masters.iter_mut().try_for_each(Node::kill).map_err(Trouble::Harness)?;
        self.cluster.masters.iter().for_each(|master| self.note_end(master));
        let masters = &mut self.cluster.masters;
        masters.iter_mut().try_for_each(Node::start).map_err(Trouble::Harness)?;
        let next = leading(self.cluster, &[]).await?;
        Ok(format!("killed all, then {} led", self.name(next)))
    }

    pub(crate) async fn pause(&mut self, master: usize) -> Result<String, Trouble> {
        self.cluster.masters[master].pause().map_err(Trouble::Harness)?;
        sleep(PAUSE).await;
        // A paused process cannot be asked, whether it leads or not.
        let others = leading(self.cluster, &[master]).await;
        self.cluster.masters[master].resume().map_err(Trouble::Harness)?;
        let next = others?;
        self.cluster.wait_until_joined(master).await.map_err(Trouble::Cluster)?;
        Ok(format!("paused {}, then {} led", self.name(master), self.name(next)))
    }

    pub(crate) async fn terminate(&mut self, master: usize) -> Result<String, Trouble> {
        self.note_end(&self.cluster.masters[master]);
        // That it ends in time when it is asked to is promised.
        let status = self.cluster.masters[master].terminate().await.map_err(Trouble::Cluster)?;
        self.note_end(&self.cluster.masters[master]);
        start(self.cluster, master).await?;
        Ok(format!("terminated {}, which ended with {status}", self.name(master)))
    }

    pub(crate) async fn kill_agent(
        &mut self,
        agent: usize,
        leader: Option<usize>,
    ) -> Result<String, Trouble> {
        let node = self.cluster.agents[agent].address.to_string();
        self.recorder.record(Kind::Info, Event::AgentEnds { node });
        self.cluster.agents[agent].kill().map_err(Trouble::Harness)?;
        let also = match leader {
            Some(leader) => format!(" and {}", self.kill_leader(leader).await?),
            None => String::new(),
        };
        self.cluster.agents[agent].start().map_err(Trouble::Harness)?;
        self.wait_for_agents().await?;
        Ok(format!("killed {}{also}", self.cluster.agents[agent].name))
    }
}

/// What must be so again after a fault.
impl Scene<'_> {
    pub(super) async fn wait_until_whole(&mut self) -> Result<(), Trouble> {
        for master in 0..self.cluster.masters.len() {
            self.cluster.wait_until_joined(master).await.map_err(Trouble::Cluster)?;
        }
        leading(self.cluster, &[]).await?;
        self.wait_for_agents().await
    }

    pub(super) async fn wait_for_agents(&mut self) -> Result<(), Trouble> {
        self.cluster.wait_until_ready().await.map_err(Trouble::Cluster)?;
        self.recorder.record(Kind::Info, Event::AgentsBack);
        Ok(())
    }

    /// Waits until a quorum does an operation, asked at any master but these, and writes down how long that took.
    pub(crate) async fn serves(&self, but: &[usize]) -> Result<(), Trouble> {
        let (since, call) = (Instant::now(), json!({ "type": "GET_WEIGHTS" }));
        let masters = self.cluster.addresses().into_iter().enumerate();
        let masters: Vec<_> = masters.filter(|(number, _)| !but.contains(number)).collect();
        let after = wait_for("an operation after a fault", async || {
            for (_, master) in &masters {
                if let Answer::Done(_) = wire::post(master, "?consistency=linearizable", &call).await {
                    return Some(since.elapsed());
                }
            }
            None
        });
        let after = after.await.map_err(Trouble::Cluster)?;
        self.recorder.record(Kind::Info, Event::Serves { after });
        Ok(())
    }
}

pub(super) async fn start(cluster: &mut Cluster, master: usize) -> Result<(), Trouble> {
    cluster.masters[master].start().map_err(Trouble::Harness)?;
    cluster.wait_until_joined(master).await.map_err(Trouble::Cluster)
}

/// The master that says of itself that it leads; those in `but` are not asked.
pub(crate) async fn leading(cluster: &Cluster, but: &[usize]) -> Result<usize, Trouble> {
    wait_for("a leader", async || {
        for (number, master) in cluster.masters.iter().enumerate().filter(|(number, _)| !but.contains(number))
        {
            let address = master.address.to_string();
            let Ok(reply) = operator::get(&address, "/redirect").await else {
                continue;
            };
            if reply.redirect.as_deref() == Some(&address) {
                return Some(number);
            }
        }
        None
    })
    .await
    .map_err(Trouble::Cluster)
}
