//! Bits that flip on a disk.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use mesarch_testkit::wait_for;
use rand::{Rng, rngs::StdRng};
use tokio::time::sleep;

use super::{Scene, Trouble, leading};

/// Part of what is said to an operator whose master cannot use its data any more.
const ADVICE: &str = "new id and an empty directory";
/// How long a master with a flipped bit that has come back takes part at least.
const TAKES_PART: Duration = Duration::from_secs(2);

impl Scene<'_> {
    /// A bit of a dead master's data flips. Either it says so and does not start, or the bit was nobody's; it never
    /// spreads, which the logs and states of the others show in the end. An operator then replaces it.
    pub(crate) async fn flip_bit(&mut self, master: usize, random: &mut StdRng) -> Result<String, Trouble> {
        self.kill(master)?;
        leading(self.cluster, &[master]).await?;
        let flipped = flip(&self.cluster.data_dir(master), random).map_err(Trouble::Harness)?;
        self.cluster.masters[master].start().map_err(Trouble::Harness)?;
        let address = self.cluster.masters[master].address.to_string();
        let name = self.name(master);
        let what = format!("{name} to join or to refuse");
        let ended = wait_for(&what, async || match self.cluster.masters[master].ended() {
            Some(status) => Some(Some(status)),
            None => {
                let reply = mesarch_client::operator::get(&address, "/redirect").await.ok()?;
                reply.redirect.map(|_| None)
            }
        });
        let ended = ended.await.map_err(|error| Trouble::Cluster(error.context(flipped.clone())))?;
        let then = match ended {
            Some(status) => {
                // Whoever reads the end of its log must learn which folder is meant, and what to do.
                let (tail, dir) = (self.cluster.masters[master].log_tail(), self.cluster.data_dir(master));
                let told = tail.contains(&dir.display().to_string()) && tail.contains(ADVICE);
                if status.success() || !told {
                    let error =
                        anyhow!("{flipped}, and {name} ended with {status} and without advice:\n{tail}");
                    return Err(Trouble::Cluster(error));
                }
                "did not start and said why"
            }
            None => {
                sleep(TAKES_PART).await;
                "took part"
            }
        };
        let replaced = self.replace(master, ended.is_none()).await?;
        Ok(format!("{flipped}; {name} {then}; {replaced}"))
    }
}

/// Flips one bit of one file, each byte being as likely. Says which.
fn flip(dir: &Path, random: &mut StdRng) -> anyhow::Result<String> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let total: u64 = files.iter().map(|(_, length)| length).sum();
    ensure!(total > 0, "{} is empty", dir.display());
    let mut at = random.random_range(0..total);
    let mut files = files.into_iter();
    let path = loop {
        let (path, length) = files.next().context("a place within the files")?;
        if at < length {
            break path;
        }
        at -= length;
    };
    let bit = random.random_range(0..8);
    let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, at)?;
    let path = path.strip_prefix(dir).unwrap_or(&path);
    Ok(format!("bit {bit} of byte {at} of {} flipped", path.display()))
}

fn collect(dir: &Path, files: &mut Vec<(PathBuf, u64)>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push((entry.path(), about.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn exactly_one_bit_flips_in_any_of_the_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let files = [dir.path().join("a"), dir.path().join("log/b")];
        let mut random = StdRng::seed_from_u64(3);
        let mut hit = [0, 0];
        for _ in 0..50 {
            files.iter().for_each(|file| fs::write(file, [0_u8; 40]).unwrap());
            flip(dir.path(), &mut random).unwrap();
            for (file, hit) in files.iter().zip(&mut hit) {
                let ones: u32 = fs::read(file).unwrap().iter().map(|byte| byte.count_ones()).sum();
                *hit += ones;
            }
        }
        assert_eq!(hit[0] + hit[1], 50);
        assert!(hit[0] > 10 && hit[1] > 10, "{hit:?}");
        assert!(flip(&dir.path().join("none"), &mut random).is_err());
    }
}
