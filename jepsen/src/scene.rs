//! What is done to a cluster, and how it is made whole again.

use std::time::Duration;

use anyhow::anyhow;
use mesarch_client::operator;
use mesarch_testkit::{Cluster, Node, wait_for, wait_for_within};
use rand::{Rng, rngs::StdRng};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    cut::Cut,
    disk::{Disks, Health},
    history::{Event, Kind, Recorder},
    nemesis::Nemesis,
    network::Network,
    wire::{self, Answer},
};

/// How long a paused master is silent: longer than an election takes and than a client waits for an answer, so that the next
/// leader has done things before questions are asked that the paused one will answer.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a disk is sick at least.
const SICK: Duration = Duration::from_secs(2);
/// Within this time a cut drops something: agents are pinged every 15 seconds.
const FELT_WITHIN: Duration = Duration::from_secs(30);
/// How often a flapping leader is cut off in one fault.
const FLAPS: usize = 6;
/// How long it is cut off, and then reached, each time, in ms: about as long as elections take.
const FLAP_MS: std::ops::Range<u64> = 100..700;

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

    /// As an operator asks for it. It is asked for again while the one that is to lead lags: that passes.
    pub(crate) async fn transfer(&mut self, leader: usize) -> Result<String, Trouble> {
        let program = self.cluster.program().to_owned();
        let masters = self.cluster.addresses().join(",");
        wait_for("the leader to hand over", async || {
            let mut command = tokio::process::Command::new(&program);
            let ended = command.args(["members", "transfer", "--master", &masters]).output().await.ok()?;
            ended.status.success().then_some(())
        })
        .await
        .map_err(Trouble::Cluster)?;
        let next = leading(self.cluster, &[]).await?;
        Ok(format!("{} handed over, then {} led", self.name(leader), self.name(next)))
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

/// Disks.
impl Scene<'_> {
    fn disks(&self) -> Result<&Disks, Trouble> {
        self.disks.ok_or_else(|| Trouble::Harness(anyhow!("the masters have no disks of the run's own")))
    }

    /// All of these at once.
    pub(crate) async fn lose_power(
        &mut self,
        masters: &[usize],
        random: &mut StdRng,
    ) -> Result<String, Trouble> {
        // All are stopped first: none may act on another's end.
        for master in masters {
            self.note_end(&self.cluster.masters[*master]);
            self.cluster.masters[*master].pause().map_err(Trouble::Harness)?;
        }
        let mut lost = Vec::new();
        for master in masters {
            self.kill(*master)?;
            let of_disk = self.disks()?.lose_power(*master, random);
            lost.push(format!("{} lost power and {of_disk}", self.name(*master)));
        }
        if masters.len() < self.cluster.masters.len() {
            leading(self.cluster, masters).await?;
        }
        for master in masters {
            self.cluster.masters[*master].start().map_err(Trouble::Harness)?;
        }
        let lost = lost.join("; ");
        for master in masters {
            let joined = self.cluster.wait_until_joined(*master).await;
            joined.map_err(|error| Trouble::Cluster(error.context(lost.clone())))?;
        }
        Ok(lost)
    }

    /// The others must serve meanwhile; that master may end, and is started again when its disk is sound.
    pub(crate) async fn sicken_disk(&mut self, master: usize, health: Health) -> Result<String, Trouble> {
        self.disks()?.set_health(master, health);
        // It may end at any moment from now on.
        self.note_end(&self.cluster.masters[master]);
        sleep(SICK).await;
        let served = self.serves(&[master]).await;
        let felt = self.disks()?.set_health(master, Health::Sound);
        served?;
        if felt == 0 {
            return Err(Trouble::Harness(anyhow!("nobody felt that a disk was {health:?}")));
        }
        let ended = self.cluster.masters[master].ended();
        let also = ended.map_or(String::new(), |status| format!(" and ended with {status}"));
        if ended.is_some() {
            self.kill(master)?;
            start(self.cluster, master).await?;
        }
        self.wait_until_whole().await?;
        Ok(format!("{}'s disk was {health:?}, which was felt {felt} times{also}", self.name(master)))
    }
}

/// Cuts.
impl Scene<'_> {
    fn network(&self) -> Result<&Network, Trouble> {
        self.network.ok_or_else(|| Trouble::Harness(anyhow!("there is no private network to cut")))
    }

    /// Those that keep a majority together must serve while the others are cut off.
    pub(crate) async fn cut(&mut self, cut: Cut) -> Result<String, Trouble> {
        if cut.agents_away {
            self.recorder.record(Kind::Info, Event::AgentsAway);
        }
        self.network()?.cut(&cut.drops).map_err(Trouble::Harness)?;
        sleep(cut.lasts).await;
        self.wait_for_a_drop().await?;
        let served = match cut.may_fail {
            true => Ok(()),
            false => self.serves(&cut.apart).await,
        };
        let dropped = self.heal()?;
        served?;
        self.wait_until_whole().await?;
        Ok(format!("{}: {dropped} packets dropped", cut.name))
    }

    pub(crate) async fn flap(&mut self, leader: usize, random: &mut StdRng) -> Result<String, Trouble> {
        let nodes = (self.cluster.masters.len(), self.cluster.agents.len());
        let mut dropped = 0;
        for _ in 0..FLAPS {
            let cut = Cut::choose(Nemesis::IsolateLeader, nodes, leader, random);
            self.network()?.cut(&cut.drops).map_err(Trouble::Harness)?;
            sleep(Duration::from_millis(random.random_range(FLAP_MS))).await;
            dropped += self.network()?.heal().map_err(Trouble::Harness)?;
            sleep(Duration::from_millis(random.random_range(FLAP_MS))).await;
        }
        if dropped == 0 {
            return Err(nothing_dropped());
        }
        self.wait_until_whole().await?;
        Ok(format!("cut {} off {FLAPS} times: {dropped} packets dropped", self.name(leader)))
    }

    /// Idle nodes say little: the cut lasts until it has been felt.
    async fn wait_for_a_drop(&self) -> Result<(), Trouble> {
        let network = self.network()?;
        let felt = async || network.dropped().ok().filter(|dropped| *dropped > 0);
        wait_for_within(FELT_WITHIN, "a packet to drop", felt).await.map(drop).map_err(Trouble::Harness)
    }

    fn heal(&self) -> Result<u64, Trouble> {
        match self.network()?.heal().map_err(Trouble::Harness)? {
            0 => Err(nothing_dropped()),
            dropped => Ok(dropped),
        }
    }

    async fn wait_until_whole(&mut self) -> Result<(), Trouble> {
        for master in 0..self.cluster.masters.len() {
            self.cluster.wait_until_joined(master).await.map_err(Trouble::Cluster)?;
        }
        leading(self.cluster, &[]).await?;
        self.wait_for_agents().await
    }

    async fn wait_for_agents(&mut self) -> Result<(), Trouble> {
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

fn nothing_dropped() -> Trouble {
    Trouble::Harness(anyhow!("a cut dropped not one packet"))
}

async fn start(cluster: &mut Cluster, master: usize) -> Result<(), Trouble> {
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
