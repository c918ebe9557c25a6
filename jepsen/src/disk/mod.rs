//! Disks that can lose power, be full, or fail: one for each master, in memory, mounted where its data lies.
//!
//! They exist only in the mount namespace of a private run, and end with the run's process.

mod mount;
mod store;

use std::path::{Path, PathBuf};

use anyhow::Context;
use rand::{Rng, rngs::StdRng};
use tempfile::TempDir;

use mount::Mount;
pub(crate) use store::Health;

/// How often a write that was not synced is kept all the same, in those losses of power in which any is.
const KEPT: f64 = 0.5;

/// The masters' disks, in their order.
pub(crate) struct Disks {
    // Unmounted before the folder is removed.
    mounts: Vec<Mount>,
    folder: TempDir,
}

impl Disks {
    /// So many, empty.
    ///
    /// # Errors
    /// There is no FUSE, or this process may not mount.
    pub(crate) fn mount(count: usize) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("mesarch-disks-").tempdir()?;
        let mut disks = Self { mounts: Vec::new(), folder };
        for disk in 0..count {
            let at = disks.place(disk);
            std::fs::create_dir(&at).with_context(|| format!("cannot make {}", at.display()))?;
            disks.mounts.push(Mount::new(&at).context("there is no FUSE, and no other disk loses power")?);
        }
        Ok(disks)
    }

    /// Where the masters keep their data.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        (0..self.mounts.len()).map(|disk| self.place(disk).join(format!("master-{}", disk + 1))).collect()
    }

    /// Whoever used it has to be dead. Either all that was not synced is lost, or each write by chance. Says which, and how
    /// many changes are gone.
    pub(crate) fn lose_power(&self, disk: usize, random: &mut StdRng) -> String {
        let (kept, which) = if random.random_bool(0.5) { (0.0, "all") } else { (KEPT, "some") };
        let lost = self.mounts[disk].store().lose_power(|| random.random_bool(kept));
        format!("{which} that was not synced, {lost} changes")
    }

    /// From now on. Says how often the one before was felt.
    pub(crate) fn set_health(&self, disk: usize, health: Health) -> u64 {
        let mut store = self.mounts[disk].store();
        store.health = health;
        std::mem::take(&mut store.felt)
    }

    /// Copies everything to a folder of the machine's own, where it outlasts the run.
    pub(crate) fn save(&self, to: &Path) -> anyhow::Result<()> {
        let copied = std::process::Command::new("cp").arg("-r").arg(self.folder.path()).arg(to).status();
        anyhow::ensure!(copied.context("cannot run cp")?.success(), "cannot copy the disks");
        Ok(())
    }

    fn place(&self, disk: usize) -> PathBuf {
        self.folder.path().join(format!("disk-{}", disk + 1))
    }
}
