//! Wall clocks that jump.

use std::time::Duration;

use anyhow::anyhow;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use tokio::time::sleep;

use super::{Scene, Trouble};

/// How far a clock may be off, in seconds: a moment, a time zone, a year.
const AHEAD_S: [i64; 6] = [-31_536_000, -3_600, -60, 60, 3_600, 31_536_000];
/// How long a clock is wrong at least.
const WRONG: Duration = Duration::from_secs(2);

impl Scene<'_> {
    /// A clock jumps, and back after a while; half of the times the leader is killed meanwhile, so that the next one goes
    /// by another clock. The cluster must serve all the time.
    pub(crate) async fn jump(&mut self, leader: usize, random: &mut StdRng) -> Result<String, Trouble> {
        let clocks = self
            .clocks
            .ok_or_else(|| Trouble::Harness(anyhow!("the nodes have no clocks of the run's own")))?;
        let nodes = self.cluster.masters.len() + self.cluster.agents.len();
        let node = if random.random_bool(0.5) { leader } else { random.random_range(0..nodes) };
        let ahead_s = AHEAD_S.choose(random).copied().unwrap_or_default();
        let before = clocks.felt().map_err(Trouble::Harness)?;
        clocks.set(node, ahead_s).map_err(Trouble::Harness)?;
        sleep(WRONG).await;
        let served = self.serves(&[]).await;
        let killed = match random.random_bool(0.5) {
            true if served.is_ok() => self.kill_leader(leader).await.map(|what| format!("; {what}")),
            _ => Ok(String::new()),
        };
        clocks.set(node, 0).map_err(Trouble::Harness)?;
        served?;
        let killed = killed?;
        self.wait_until_whole().await?;
        if clocks.felt().map_err(Trouble::Harness)? == before {
            return Err(Trouble::Harness(anyhow!("nobody looked at a clock that was wrong")));
        }
        let nodes = self.cluster.masters.iter().chain(&self.cluster.agents);
        let name = nodes.map(|node| node.name.clone()).nth(node).unwrap_or_default();
        Ok(format!("{name}'s clock was {ahead_s} s ahead{killed}"))
    }
}
