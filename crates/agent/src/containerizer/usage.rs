//! What executors use of the machine, with all that they started.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use rustix::param::{clock_ticks_per_second, page_size};

use super::process::{Stat, processes};

/// What the processes of one executor have used, and hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of processors, in programs. Processes that have ended count once somebody has waited for them.
    pub(crate) user: Duration,
    /// Of processors, in the kernel.
    pub(crate) system: Duration,
    /// Memory that is resident. What processes share is counted once for each.
    pub(crate) resident_bytes: u64,
    /// That have not ended.
    pub(crate) processes: u32,
    /// Of these.
    pub(crate) threads: u32,
}

/// All processes of the machine at one moment: looked at once, however many executors are asked about.
#[derive(Debug)]
pub(crate) struct Census {
    processes: BTreeMap<i32, Stat>,
    children: BTreeMap<i32, Vec<i32>>,
    sessions: BTreeMap<i32, Vec<i32>>,
}

impl Census {
    /// Blocking.
    ///
    /// # Errors
    /// If a process that is there cannot be looked at.
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self::of(processes()?))
    }

    fn of(all: Vec<(i32, Stat)>) -> Self {
        let (mut children, mut sessions) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (pid, stat) in &all {
            children.entry(stat.parent).or_default().push(*pid);
            sessions.entry(stat.session).or_default().push(*pid);
        }
        Self { processes: all.into_iter().collect(), children, sessions }
    }

    /// Of the process that leads a session, the session, and all descendants of both. None if it is not there.
    pub(crate) fn usage(&self, leader: i32) -> Option<Usage> {
        let mut found: BTreeSet<i32> = self.sessions.get(&leader).into_iter().flatten().copied().collect();
        if self.processes.contains_key(&leader) {
            found.insert(leader);
        }
        let mut open: Vec<i32> = found.iter().copied().collect();
        while let Some(pid) = open.pop() {
            let new = self.children.get(&pid).into_iter().flatten().filter(|child| found.insert(**child));
            open.extend(new.copied().collect::<Vec<_>>());
        }
        let stats = found.iter().filter_map(|pid| self.processes.get(pid));
        (!found.is_empty()).then(|| stats.fold(Usage::default(), Usage::plus))
    }
}

impl Usage {
    fn plus(self, stat: &Stat) -> Self {
        let time = |ticks: u64| {
            let per_second = clock_ticks_per_second().max(1);
            Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second))
        };
        let bytes = stat.pages.saturating_mul(page_size() as u64);
        let alive = u32::from(stat.is_alive());
        Self {
            user: self.user + time(stat.user_ticks),
            system: self.system + time(stat.system_ticks),
            resident_bytes: self.resident_bytes.saturating_add(bytes),
            processes: self.processes + alive,
            threads: self.threads.saturating_add(alive * u32::try_from(stat.threads).unwrap_or(u32::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: i32, session: i32) -> Stat {
        Stat::made_up(parent, session)
    }

    #[test]
    fn an_executor_has_its_session_and_what_left_it() {
        // 11 and 12 are of the session of 10; 13 made one of its own; 14 was orphaned in the session; 99 is another's.
        let all = [
            (10, stat(1, 10)),
            (11, stat(10, 10)),
            (12, stat(11, 10)),
            (13, stat(12, 13)),
            (14, stat(1, 10)),
            (15, stat(13, 13)),
            (99, stat(1, 99)),
        ];
        let census = Census::of(all.to_vec());
        let usage = census.usage(10).expect("it is there");
        assert_eq!((usage.processes, usage.threads), (6, 12));
        assert_eq!(usage.resident_bytes, 6 * 3 * page_size() as u64);
        assert!(usage.user > usage.system && usage.system > Duration::ZERO);
        assert_eq!(census.usage(99).map(|usage| usage.processes), Some(1));
        assert_eq!(census.usage(7), None);
    }

    #[test]
    fn this_very_process_is_counted() {
        let own = i32::try_from(std::process::id()).expect("a small number");
        let usage = Census::take().expect("/proc is there").usage(own).expect("it runs");
        assert!(usage.processes >= 1 && usage.threads >= 1 && usage.resident_bytes > 0, "{usage:?}");
    }
}
