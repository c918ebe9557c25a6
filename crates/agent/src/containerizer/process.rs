//! Processes that may not be our children: who they are, when they end, and how all of a session is ended.

use std::{fmt, fs, io, path::Path, str::FromStr};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::unix::AsyncFd;

/// How often a session is searched for processes that were born while the others were being killed.
const KILL_ROUNDS_MAX: usize = 8;

/// A process, told apart from every other one that had or will have its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Clock ticks since boot.
    start: u64,
    boot: String,
}

impl ProcessId {
    /// This process.
    pub(crate) fn own() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        Self::of(pid)
    }

    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let stat = Stat::read(pid)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { pid, start: stat.start, boot })
    }

    /// What a starting process noted in `path`; none if there is no note, or not a whole one.
    pub(crate) fn noted(path: &Path) -> Option<Self> {
        fs::read_to_string(path).ok()?.parse().ok()
    }

    /// Whether this very process still runs (one that has ended and was not yet reaped does not).
    pub(crate) fn is_alive(&self) -> bool {
        let running = Stat::read(self.pid).is_ok_and(|stat| stat.state != 'Z' && stat.state != 'X');
        running && Self::of(self.pid).is_ok_and(|now| now == *self)
    }

    /// Waits until the process has ended. Works for processes that are not our children.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(());
        };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Opened by number: only now it is sure that the descriptor means the process that was noted.
        if !self.is_alive() {
            return Ok(());
        }
        #[expect(
            deprecated,
            reason = "sound for an OwnedFd; the replacement is an unsafe function, forbidden here"
        )]
        let descriptor = AsyncFd::new(descriptor)?;
        descriptor.readable().await.map(drop)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.pid, self.start, self.boot)
    }
}

/// The text is not `pid start boot`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadNote;

impl FromStr for ProcessId {
    type Err = BadNote;

    fn from_str(text: &str) -> Result<Self, BadNote> {
        let mut words = text.split_whitespace();
        let (Some(pid), Some(start), Some(boot), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BadNote);
        };
        let pid = pid.parse().ok().filter(|pid| *pid > 1).ok_or(BadNote)?;
        Ok(Self { pid, start: start.parse().map_err(|_| BadNote)?, boot: boot.to_owned() })
    }
}

/// The fields of `/proc/<pid>/stat` that matter here.
struct Stat {
    state: char,
    parent: i32,
    session: i32,
    start: u64,
}

impl Stat {
    fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in parentheses and may hold anything, even parentheses.
        let after_name = text.rfind(')').and_then(|end| text.get(end + 1..));
        let fields: Vec<&str> = after_name.unwrap_or_default().split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let number = |text: &str| text.parse().map_err(|_| io::Error::other("not a process status"));
        Ok(Self {
            state: field(3).chars().next().unwrap_or('?'),
            parent: number(field(4))?,
            session: number(field(6))?,
            start: field(22).parse().map_err(|_| io::Error::other("not a process status"))?,
        })
    }
}

/// SIGKILL for every process of the session, until none is left. Blocking.
pub(crate) fn kill_session(session: i32) {
    for _ in 0..KILL_ROUNDS_MAX {
        let members = members(|stat| stat.session == session);
        if members.is_empty() {
            return;
        }
        members.into_iter().for_each(|pid| send(pid, Signal::KILL));
        std::thread::yield_now();
    }
}

/// Sends a signal to a process, its descendants, and whatever else is in `session` except `spared`. Blocking.
pub(crate) fn signal_tree(root: i32, session: i32, spared: i32, signal: Signal) {
    let all = processes();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let strays = all.iter().filter(|(_, stat)| stat.session == session).map(|(pid, _)| *pid);
    tree.extend(strays);
    tree.sort_unstable();
    tree.dedup();
    tree.into_iter().filter(|pid| *pid != spared).for_each(|pid| send(pid, signal));
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // The process may have ended by itself meanwhile, which is what was wanted.
        let _ = kill_process(pid, signal);
    }
}

fn members(wanted: impl Fn(&Stat) -> bool) -> Vec<i32> {
    let alive = |stat: &Stat| stat.state != 'Z' && stat.state != 'X';
    processes().into_iter().filter(|(_, stat)| alive(stat) && wanted(stat)).map(|(pid, _)| pid).collect()
}

fn processes() -> Vec<(i32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, Stat::read(pid).ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let own = ProcessId::own().unwrap();
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        assert!(own.is_alive());
        for bad in ["", "1 2 x", "5", "5 6", "5 6 b more", "x 6 b"] {
            assert_eq!(bad.parse::<ProcessId>(), Err(BadNote), "{bad:?}");
        }
    }

    #[test]
    fn a_number_that_was_given_to_another_process_is_not_the_same_one() {
        let own = ProcessId::own().unwrap();
        assert!(!ProcessId { start: own.start + 1, ..own.clone() }.is_alive());
        assert!(!ProcessId { boot: "another".into(), ..own }.is_alive());
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap();
        let waiting = tokio::spawn({
            let id = id.clone();
            async move { id.ended().await }
        });
        child.kill().unwrap();
        waiting.await.unwrap().unwrap();
        child.wait().unwrap();
        assert!(!id.is_alive());
        id.ended().await.unwrap();
    }
}
