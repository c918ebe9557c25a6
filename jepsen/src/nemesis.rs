//! Faults, each with its end.

use std::time::Duration;

use rand::{Rng, rngs::StdRng, seq::IteratorRandom};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    cut::Cut,
    disk::Health,
    scene::{Scene, Trouble, leading},
};

/// How long a fault waits for an operation to begin.
const AMBUSH_MAX: Duration = Duration::from_secs(1);
/// About as long as an operation takes, so that faults hit every part of it.
const OPERATION_TAKES_US: u64 = 4000;

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
    /// SIGSTOP of the leader for five seconds.
    PauseLeader,
    /// SIGSTOP of a follower for five seconds.
    PauseFollower,
    /// SIGTERM of the leader, which hands over, ends and comes back.
    TermLeader,
    /// SIGTERM of a follower, which comes back.
    TermFollower,
    /// The leader is asked to hand over, and lives on.
    Transfer,
    /// SIGTERM of one master after the other, each of which comes back before the next one goes.
    Rolling,
    /// A master is lost with its machine, or removed while it lives, and another one with an empty disk takes its place.
    Replace,
    /// A bit flips on a dead master's disk; another master takes its place in the end.
    FlipBit,
    /// The wall clock of a node jumps by up to a year, and back; the leader may die meanwhile.
    Clocks,
    /// SIGKILL of an agent, which comes back.
    KillAgent,
    /// SIGKILL of an agent and of the leader, which come back.
    KillAgentAndLeader,
    /// The leader is cut off from all other nodes.
    IsolateLeader,
    /// Two sides with about half of the masters and agents each, cut off from each other.
    Halves,
    /// The leader and another master are cut off from each other, and both reach all others.
    Bridge,
    /// What the leader sends to other nodes is lost, or what they send to it.
    OneWay,
    /// All agents are cut off from all masters.
    AgentsOnly,
    /// The leader is cut off and reached again, many times.
    Flapping,
    /// A fifth of all packets between nodes is lost.
    Loss,
    /// A master loses power: it ends, and what it has not synced is lost.
    PowerLoss,
    /// All masters lose power at once.
    PowerLossAll,
    /// The leader's disk has no room left, for some seconds.
    DiskFull,
    /// The leader's disk fails to sync, for some seconds.
    DiskFails,
    /// The leader's disk takes no changes, for some seconds.
    DiskReadOnly,
    /// Any of the faults of disks, a new one each time, as the seed says.
    Disks,
    /// Any of the cuts, a new one each time, as the seed says.
    Cuts,
    /// Any of all the others but those of disks, a new one each time, as the seed says; cuts only in a private network.
    Mix,
}

/// What `mix` chooses from.
const MIXED: [Nemesis; 14] = [
    Nemesis::KillLeader,
    Nemesis::KillFollower,
    Nemesis::KillAll,
    Nemesis::PauseLeader,
    Nemesis::PauseFollower,
    Nemesis::TermLeader,
    Nemesis::TermFollower,
    Nemesis::Transfer,
    Nemesis::Rolling,
    Nemesis::Replace,
    Nemesis::FlipBit,
    Nemesis::Clocks,
    Nemesis::KillAgent,
    Nemesis::KillAgentAndLeader,
];

/// What `cuts` chooses from.
const CUTS: [Nemesis; 7] = [
    Nemesis::IsolateLeader,
    Nemesis::Halves,
    Nemesis::Bridge,
    Nemesis::OneWay,
    Nemesis::AgentsOnly,
    Nemesis::Flapping,
    Nemesis::Loss,
];

/// What `disks` chooses from.
const OF_DISKS: [Nemesis; 5] =
    [Nemesis::PowerLoss, Nemesis::PowerLossAll, Nemesis::DiskFull, Nemesis::DiskFails, Nemesis::DiskReadOnly];

impl Nemesis {
    /// Whether it needs disks of the run's own, which are mounted where nobody else sees them.
    pub(crate) fn breaks_disks(self) -> bool {
        self == Nemesis::Disks || OF_DISKS.contains(&self)
    }

    /// Whether it needs clocks of the run's own.
    pub(crate) fn moves_clocks(self) -> bool {
        matches!(self, Nemesis::Clocks | Nemesis::Mix)
    }

    /// Whether it needs namespaces of the run's own.
    pub(crate) fn is_private(self) -> bool {
        self.cuts() || self.breaks_disks()
    }

    /// Whether it cuts the network: only a private one can be cut.
    pub(crate) fn cuts(self) -> bool {
        self == Nemesis::Cuts || CUTS.contains(&self)
    }

    /// With fewer masters nobody is left to suffer it, or to go on.
    pub(crate) fn masters_min(self) -> u16 {
        match self {
            Nemesis::None
            | Nemesis::KillAll
            | Nemesis::PowerLossAll
            | Nemesis::KillAgent
            | Nemesis::AgentsOnly
            | Nemesis::Loss => 1,
            Nemesis::KillFollower | Nemesis::TermFollower | Nemesis::Transfer => 2,
            Nemesis::KillLeader
            | Nemesis::PauseLeader
            | Nemesis::PauseFollower
            | Nemesis::TermLeader
            | Nemesis::Rolling
            | Nemesis::Replace
            | Nemesis::FlipBit
            | Nemesis::Clocks
            | Nemesis::KillAgentAndLeader
            | Nemesis::IsolateLeader
            | Nemesis::Halves
            | Nemesis::Bridge
            | Nemesis::OneWay
            | Nemesis::Flapping
            | Nemesis::PowerLoss
            | Nemesis::DiskFull
            | Nemesis::DiskFails
            | Nemesis::DiskReadOnly
            | Nemesis::Disks
            | Nemesis::Cuts
            | Nemesis::Mix => 3,
        }
    }

    /// The pause before the next fault.
    pub(crate) fn rest(random: &mut StdRng) -> Duration {
        Duration::from_millis(random.random_range(500..3000))
    }

    /// The fault that comes next.
    pub(crate) fn choose(self, random: &mut StdRng, can_cut: bool) -> Self {
        match self {
            Nemesis::Mix if can_cut => MIXED.into_iter().chain(CUTS).choose(random).unwrap_or(self),
            Nemesis::Mix => MIXED.into_iter().choose(random).unwrap_or(self),
            Nemesis::Disks => OF_DISKS.into_iter().choose(random).unwrap_or(self),
            Nemesis::Cuts => CUTS.into_iter().choose(random).unwrap_or(self),
            other => other,
        }
    }

    /// Brings the fault about and ends it; returns when the cluster is whole again. Says what it did.
    ///
    /// It comes while an operation is open, if there is one soon: `begun` tells.
    pub(crate) async fn strike(
        self,
        scene: &mut Scene<'_>,
        random: &mut StdRng,
        begun: &Notify,
    ) -> Result<String, Trouble> {
        let leader = leading(scene.cluster, &[]).await?;
        let follower = (0..scene.cluster.masters.len()).filter(|master| *master != leader).choose(random);
        let follower = follower.unwrap_or(leader);
        let agent = random.random_range(0..scene.cluster.agents.len());
        // Without one within that time the fault comes all the same.
        let _ = timeout(AMBUSH_MAX, begun.notified()).await;
        sleep(Duration::from_micros(random.random_range(0..OPERATION_TAKES_US))).await;
        match self {
            Nemesis::None | Nemesis::Mix | Nemesis::Cuts | Nemesis::Disks => Ok("nothing".to_owned()),
            Nemesis::KillLeader => scene.kill_leader(leader).await,
            Nemesis::KillFollower => scene.kill_follower(follower).await,
            Nemesis::KillAll => scene.kill_all().await,
            Nemesis::PauseLeader => scene.pause(leader).await,
            Nemesis::PauseFollower => scene.pause(follower).await,
            Nemesis::TermLeader | Nemesis::TermFollower => {
                let master = if self == Nemesis::TermLeader { leader } else { follower };
                scene.terminate(master).await
            }
            Nemesis::Transfer => scene.transfer(leader).await,
            Nemesis::Rolling => {
                for master in 0..scene.cluster.masters.len() {
                    scene.terminate(master).await?;
                }
                Ok("terminated every master in turn".to_owned())
            }
            Nemesis::Replace | Nemesis::FlipBit => {
                let master = if random.random_bool(0.5) { leader } else { follower };
                match self {
                    Nemesis::FlipBit => scene.flip_bit(master, random).await,
                    _ => scene.replace(master, random.random_bool(0.5)).await,
                }
            }
            Nemesis::Clocks => scene.jump(leader, random).await,
            Nemesis::KillAgent => scene.kill_agent(agent, None).await,
            Nemesis::KillAgentAndLeader => scene.kill_agent(agent, Some(leader)).await,
            Nemesis::IsolateLeader
            | Nemesis::Halves
            | Nemesis::Bridge
            | Nemesis::OneWay
            | Nemesis::AgentsOnly
            | Nemesis::Loss => {
                let nodes = (scene.cluster.masters.len(), scene.cluster.agents.len());
                scene.cut(Cut::choose(self, nodes, leader, random)).await
            }
            Nemesis::Flapping => scene.flap(leader, random).await,
            Nemesis::PowerLoss => {
                let master = if random.random_bool(0.5) { leader } else { follower };
                scene.lose_power(&[master], random).await
            }
            Nemesis::PowerLossAll => {
                let all: Vec<usize> = (0..scene.cluster.masters.len()).collect();
                scene.lose_power(&all, random).await
            }
            Nemesis::DiskFull => scene.sicken_disk(leader, Health::Full).await,
            Nemesis::DiskFails => scene.sicken_disk(leader, Health::FailsToSync).await,
            Nemesis::DiskReadOnly => scene.sicken_disk(leader, Health::ReadOnly).await,
        }
    }
}
