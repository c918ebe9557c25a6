//! Faults, each with its end.

use std::time::Duration;

use anyhow::Context;
use mesarch_client::operator;
use mesarch_testkit::{Cluster, Node, wait_for};
use rand::{Rng, rngs::StdRng, seq::IteratorRandom};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// How long a paused leader is silent: longer than any election takes.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a fault waits for an ACCEPT to begin.
const AMBUSH_MAX: Duration = Duration::from_secs(1);
/// About as long as an ACCEPT takes, so that faults hit every part of it.
const ACCEPT_TAKES_US: u64 = 4000;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Nemesis {
    /// Nothing.
    None,
    /// SIGKILL of the leader, which comes back after the next leader serves.
    KillLeader,
    /// SIGKILL of a follower, which comes back.
    KillFollower,
    /// SIGKILL of all masters at once, which come back.
    KillAll,
    /// SIGSTOP of the leader for two seconds.
    PauseLeader,
}

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

impl Nemesis {
    /// With fewer masters nobody is left to suffer it, or to go on.
    pub(crate) fn masters_min(self) -> u16 {
        match self {
            Nemesis::None | Nemesis::KillAll => 1,
            Nemesis::KillFollower => 2,
            Nemesis::KillLeader | Nemesis::PauseLeader => 3,
        }
    }

    /// The pause before the next fault.
    pub(crate) fn rest(random: &mut StdRng) -> Duration {
        Duration::from_millis(random.random_range(500..3000))
    }

    /// Brings the fault about and ends it; returns when the cluster is whole again. Says what it did.
    ///
    /// It comes while an ACCEPT is open, if there is one soon: `begun` tells.
    pub(crate) async fn strike(
        self,
        cluster: &mut Cluster,
        random: &mut StdRng,
        begun: &Notify,
    ) -> Result<String, Trouble> {
        let leader = leading(cluster, &[]).await?;
        // Without one within that time the fault comes all the same.
        let _ = timeout(AMBUSH_MAX, begun.notified()).await;
        sleep(Duration::from_micros(random.random_range(0..ACCEPT_TAKES_US))).await;
        let name = |cluster: &Cluster, master: usize| cluster.masters[master].name.clone();
        match self {
            Nemesis::None => Ok("nothing".to_owned()),
            Nemesis::KillLeader => {
                cluster.masters[leader].kill().map_err(Trouble::Harness)?;
                let next = leading(cluster, &[leader]).await?;
                start(cluster, leader).await?;
                Ok(format!("killed {}, then {} led", name(cluster, leader), name(cluster, next)))
            }
            Nemesis::KillFollower => {
                let followers = (0..cluster.masters.len()).filter(|master| *master != leader);
                let follower = followers.choose(random).context("there is no follower");
                let follower = follower.map_err(Trouble::Harness)?;
                cluster.masters[follower].kill().map_err(Trouble::Harness)?;
                start(cluster, follower).await?;
                Ok(format!("killed {}, which followed", name(cluster, follower)))
            }
            Nemesis::KillAll => {
                // All are stopped first: none may act on another's end.
                cluster.masters.iter().try_for_each(Node::pause).map_err(Trouble::Harness)?;
                cluster.masters.iter_mut().try_for_each(Node::kill).map_err(Trouble::Harness)?;
                cluster.masters.iter_mut().try_for_each(Node::start).map_err(Trouble::Harness)?;
                let next = leading(cluster, &[]).await?;
                Ok(format!("killed all, then {} led", name(cluster, next)))
            }
            Nemesis::PauseLeader => {
                cluster.masters[leader].pause().map_err(Trouble::Harness)?;
                sleep(PAUSE).await;
                let others = leading(cluster, &[leader]).await;
                cluster.masters[leader].resume().map_err(Trouble::Harness)?;
                let next = others?;
                cluster.wait_until_joined(leader).await.map_err(Trouble::Cluster)?;
                Ok(format!("paused {}, then {} led", name(cluster, leader), name(cluster, next)))
            }
        }
    }
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
