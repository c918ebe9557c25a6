//! Refuses proposals before disk, memory or descriptors run out, so that Raft and the operator keep a reserve.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::control::Control;
use crate::leadership::Leadership;
use crate::metrics::FULL;
use crate::options::Reserve;
use crate::stop::{Stopping, stopped};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// After the leadership was handed on: for so long it is kept if it comes back, lest nodes that are all short pass it
/// around.
const STEP_ASIDE_PAUSE: Duration = Duration::from_secs(10);
/// After it could not be handed on: the others may still be starting.
const STEP_ASIDE_RETRY: Duration = Duration::from_secs(1);

/// What can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes on the data directory's file system.
    Disk,
    /// Bytes of memory.
    Memory,
    /// File descriptors.
    Descriptors,
}

/// A resource is down to its reserve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what:?} is running out: {free} free, {reserve} kept in reserve")]
pub struct Full {
    /// What runs out.
    pub what: Resource,
    /// How much is left, in bytes or descriptors.
    pub free: u64,
    /// How much is kept.
    pub reserve: u64,
}

/// Looks again and again until `stop`.
pub(crate) async fn watch_resources(
    path: PathBuf,
    reserve: Reserve,
    full: watch::Sender<Option<Full>>,
    mut stop: Stopping,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        let look = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || shortage(&path, reserve)).await
        };
        if let Ok(found) = look {
            publish(&full, found);
        }
    }
}

/// Hands the leadership on while this node is short of something, if another one takes it. One that takes it may be as
/// short, and hands it on as well: so not too often.
pub(crate) async fn step_aside(
    control: Arc<dyn Control>,
    mut leadership: watch::Receiver<Leadership>,
    mut full: watch::Receiver<Option<Full>>,
    mut stop: Stopping,
) {
    loop {
        let short_leader = async {
            loop {
                full.wait_for(Option::is_some).await.ok()?;
                leadership.wait_for(|now| now.is_self).await.ok()?;
                if full.borrow().is_some() {
                    return Some(());
                }
            }
        };
        tokio::select! {
            () = stopped(&mut stop) => return,
            short = short_leader => if short.is_none() { return },
        }
        let pause = match control.transfer(None, leadership.clone()).await {
            Ok(()) => {
                tracing::warn!("handed the leadership over: this node is short of a resource");
                STEP_ASIDE_PAUSE
            }
            Err(error) => {
                tracing::warn!(%error, "leading on although this node is short of a resource");
                STEP_ASIDE_RETRY
            }
        };
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What is down to its reserve, if anything is. Blocks. What cannot be measured is not refused.
pub(crate) fn shortage(path: &Path, reserve: Reserve) -> Option<Full> {
    let looks = [
        (Resource::Disk, free_disk(path), reserve.disk_bytes),
        (Resource::Memory, free_memory(), reserve.memory_bytes),
        (Resource::Descriptors, free_descriptors(), reserve.descriptors),
    ];
    looks.into_iter().find_map(|(what, free, reserve)| {
        let free = free.filter(|free| *free < reserve)?;
        Some(Full { what, free, reserve })
    })
}

fn publish(full: &watch::Sender<Option<Full>>, found: Option<Full>) {
    full.send_if_modified(|current| {
        let changed = current.as_ref().map(|full| full.what) != found.as_ref().map(|full| full.what);
        if changed {
            metrics::gauge!(FULL).set(f64::from(u8::from(found.is_some())));
            match &found {
                Some(full) => tracing::error!(%full, "proposals are refused"),
                None => tracing::info!("proposals are taken again"),
            }
        }
        *current = found;
        changed
    });
}

fn free_disk(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The least of what the machine and the process's cgroup have left.
fn free_memory() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let cgroup = read_number("/sys/fs/cgroup/memory.max")
        .zip(read_number("/sys/fs/cgroup/memory.current"))
        .map(|(max, used)| max.saturating_sub(used).saturating_add(reclaimable()));
    [machine, cgroup].into_iter().flatten().min()
}

/// File pages count as used by a cgroup although the kernel takes them back when it must.
fn reclaimable() -> u64 {
    let stat = fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn free_descriptors() -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    Some(limit.saturating_sub(open_descriptors()?))
}

/// Since Linux 6.2 the folder's size is how many there are; before, it is 0 and they are counted, which takes a
/// millisecond for some thousand.
fn open_descriptors() -> Option<u64> {
    let folder = Path::new("/proc/self/fd");
    match fs::metadata(folder).ok()?.len() {
        0 => Some(fs::read_dir(folder).ok()?.count() as u64),
        size => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reserve_is_watched() {
        let none = Reserve { disk_bytes: 0, memory_bytes: 0, descriptors: 0 };
        let short = |reserve| shortage(Path::new("/"), reserve).map(|full| full.what);
        assert_eq!(short(none), None);
        assert_eq!(short(Reserve { disk_bytes: u64::MAX, ..none }), Some(Resource::Disk));
        assert_eq!(short(Reserve { memory_bytes: u64::MAX, ..none }), Some(Resource::Memory));
        assert_eq!(short(Reserve { descriptors: u64::MAX, ..none }), Some(Resource::Descriptors));
    }

    #[test]
    fn descriptors_are_counted() {
        let few = open_descriptors().expect("a proc file system");
        let more: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").expect("readable")).collect();
        let counted = open_descriptors().expect("a proc file system");
        // Other tests of this process open and close some as well.
        assert!(counted > few + 50, "{few} before, {counted} with {} more", more.len());
    }

    #[test]
    fn available_memory_is_read_in_bytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:     2 kB\n"), Some(2048));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
