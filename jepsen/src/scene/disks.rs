//! Disks that lose power or are sick.

use std::time::Duration;

use anyhow::anyhow;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::{Scene, Trouble, leading, start};
use crate::disk::{Disks, Health};

/// How long a disk is sick at least.
const SICK: Duration = Duration::from_secs(2);

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
