//! Cuts of the network.

use std::time::Duration;

use anyhow::anyhow;
use mesarch_testkit::wait_for_within;
use rand::{Rng, rngs::StdRng};
use tokio::time::sleep;

use super::{Scene, Trouble};
use crate::{cut::Cut, history::Event, history::Kind, nemesis::Nemesis, network::Network};

/// Within this time a cut drops something: agents are pinged every 15 seconds.
const FELT_WITHIN: Duration = Duration::from_secs(30);
/// How often a flapping leader is cut off in one fault.
const FLAPS: usize = 6;
/// How long it is cut off, and then reached, each time, in ms: about as long as elections take.
const FLAP_MS: std::ops::Range<u64> = 100..700;

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
}

fn nothing_dropped() -> Trouble {
    Trouble::Harness(anyhow!("a cut dropped not one packet"))
}
