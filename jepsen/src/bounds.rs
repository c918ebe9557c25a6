//! What a run must not leave or let grow: processes, memory, and what lies on disks.

use std::{fs, path::Path, time::Duration};

use mesarch_testkit::{Cluster, wait_for_within};

use crate::checker::{Anomaly, Promise};

/// Most that a master of a run may ever have in memory, in bytes. They have 60 to 150 MB: thread stacks, queues, the newest
/// 1,000 finished tasks of each framework, and what sled caches.
const MEMORY_MAX: u64 = 512 << 20;
/// Most that a master of a run may have on its disk at the end, in bytes: log entries that are kept for followers, two snapshots,
/// and what sled has not yet swept.
const DISK_MAX: u64 = 512 << 20;
/// How long executors may take to end after their last task.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// The most that any master took, in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Grown {
    memory: Option<(String, u64)>,
    disk: Option<(String, u64)>,
}

impl Grown {
    /// Both looks together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { memory: self.memory.or(other.memory), disk: self.disk.or(other.disk) }
    }

    pub(crate) fn memory_mb(&self) -> u64 {
        mb(self.memory.as_ref())
    }

    pub(crate) fn disk_mb(&self) -> u64 {
        mb(self.disk.as_ref())
    }

    /// What went beyond its bound.
    pub(crate) fn anomalies(&self) -> Vec<Anomaly> {
        let memory = beyond(self.memory.as_ref(), MEMORY_MAX, "in memory");
        memory.into_iter().chain(beyond(self.disk.as_ref(), DISK_MAX, "on its disk")).collect()
    }
}

fn mb(most: Option<&(String, u64)>) -> u64 {
    most.map_or(0, |(_, bytes)| bytes >> 20)
}

fn beyond(most: Option<&(String, u64)>, bound: u64, place: &str) -> Option<Anomaly> {
    let (name, bytes) = most.filter(|(_, bytes)| *bytes > bound)?;
    let seen = format!("{} MB {place}, and {} MB are the most", bytes >> 20, bound >> 20);
    Some(Anomaly { promise: Promise::Bounded, about: name.clone(), seen })
}

/// The most that a running master has ever had in memory.
pub(crate) fn memory(cluster: &Cluster) -> Grown {
    let of = |pid: u32| resident_peak(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?);
    let masters = cluster.masters.iter();
    let all = masters.filter_map(|master| Some((master.name.clone(), of(master.pid()?)?)));
    Grown { memory: all.max_by_key(|(_, bytes)| *bytes), disk: None }
}

/// The most that a master has on its disk.
///
/// # Errors
/// It cannot be read.
pub(crate) fn disks(cluster: &Cluster) -> anyhow::Result<Grown> {
    let mut most = None;
    for (index, master) in cluster.masters.iter().enumerate() {
        let found = (master.name.clone(), size(&cluster.data_dir(index))?);
        most = most.into_iter().chain([found]).max_by_key(|(_, bytes)| *bytes);
    }
    Ok(Grown { memory: None, disk: most })
}

/// Executors that run on though every task has ended.
pub(crate) async fn processes(cluster: &Cluster) -> Option<Anomaly> {
    let gone = async || (cluster.executor_processes() == 0).then_some(());
    let left = wait_for_within(GONE_WITHIN, "the end of every executor", gone).await.err()?;
    let seen = format!("{} executors or tasks run on: {left}", cluster.executor_processes());
    Some(Anomaly { promise: Promise::Bounded, about: "the agents".to_owned(), seen })
}

/// As the kernel tells it, in bytes.
fn resident_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb << 10)
}

/// All files below, in bytes.
fn size(dir: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_beyond_its_bound_is_told() {
        let grown = |memory, disk| Grown {
            memory: Some(("master-1".to_owned(), memory)),
            disk: Some(("master-2".to_owned(), disk)),
        };
        assert_eq!(grown(MEMORY_MAX, DISK_MAX).anomalies(), []);
        let about = |grown: Grown| grown.anomalies().into_iter().map(|it| it.about).collect::<Vec<_>>();
        assert_eq!(about(grown(MEMORY_MAX + 1, DISK_MAX)), ["master-1"]);
        assert_eq!(about(grown(MEMORY_MAX, DISK_MAX + 1)), ["master-2"]);
    }

    #[test]
    fn memory_and_files_are_read_as_they_are() {
        assert_eq!(resident_peak("Name:\tx\nVmHWM:\t    1024 kB\nVmRSS:\t 5 kB\n"), Some(1 << 20));
        assert_eq!(resident_peak("Name:\tx\n"), None);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/a"), [0; 10]).unwrap();
        fs::write(dir.path().join("b"), [0; 5]).unwrap();
        assert_eq!(size(dir.path()).unwrap(), 15);
    }
}
