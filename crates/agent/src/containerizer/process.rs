//! Processes that may not be our children: who they are, when they end, and how all of a session is ended.

use std::{fmt, fs, io, path::Path, str::FromStr, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::{io::unix::AsyncFd, time::Instant};

/// How often a session is searched, without a pause, for processes that were born while the others were being killed.
const ROUNDS_AT_ONCE: usize = 8;
/// First and longest pause before a session is searched again.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A session that lives on for so long is told of in the log, and again after each further such time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(5);

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
        Ok(Self { pid, start: stat.start, boot: boot()? })
    }

    /// What a starting process noted in `path`; none if there is no note, or not a whole one.
    pub(crate) fn noted(path: &Path) -> Option<Self> {
        fs::read_to_string(path).ok()?.parse().ok()
    }

    /// What has become of it; an error if that cannot be found out now.
    pub(crate) fn fate(&self) -> io::Result<Fate> {
        if boot()? != self.boot {
            return Ok(Fate::Replaced);
        }
        match Stat::read(self.pid) {
            Ok(stat) if stat.start != self.start => Ok(Fate::Replaced),
            Ok(stat) if stat.is_alive() => Ok(Fate::Runs),
            Ok(_) => Ok(Fate::Ended),
            Err(error) if is_gone(&error) => Ok(Fate::Ended),
            Err(error) => Err(error),
        }
    }

    /// As [`ProcessId::fate`], asked until it can be found out.
    pub(crate) async fn fate_at_last(&self) -> Fate {
        loop {
            match self.fate() {
                Ok(fate) => return fate,
                Err(error) => tracing::error!(pid = self.pid, %error, "a process cannot be looked at"),
            }
            tokio::time::sleep(PAUSE_MAX).await;
        }
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
        if self.fate()? != Fate::Runs {
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

/// What has become of a process that led a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs.
    Runs,
    /// It has ended. What it started may run on in its session: as long as it does, the kernel gives the number of the
    /// session to no other process.
    Ended,
    /// The number belongs to another process, or is of another boot: nothing of the session is left.
    Replaced,
}

/// Changes with every boot.
fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Whether reading about a process failed because there is none.
fn is_gone(error: &io::Error) -> bool {
    let gone = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(gone)
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    state: char,
    pub(super) parent: i32,
    group: i32,
    pub(super) session: i32,
    start: u64,
    /// Clock ticks, its own and those of children that it has waited for.
    pub(super) user_ticks: u64,
    /// The same, in the kernel.
    pub(super) system_ticks: u64,
    pub(super) threads: u64,
    /// Resident.
    pub(super) pages: u64,
}

impl Stat {
    /// One that runs, with two threads, three pages and some ticks.
    #[cfg(test)]
    pub(super) fn made_up(parent: i32, session: i32) -> Self {
        Self {
            state: 'S',
            parent,
            group: session,
            session,
            start: 1,
            user_ticks: 5,
            system_ticks: 2,
            threads: 2,
            pages: 3,
        }
    }

    /// One that has ended and was not yet reaped is not alive.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in parentheses and may hold anything, even parentheses.
        let after_name = text.rfind(')').and_then(|end| text.get(end + 1..));
        let fields: Vec<&str> = after_name.unwrap_or_default().split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let number = |text: &str| text.parse().map_err(|_| io::Error::other("not a process status"));
        // Only shown to people: what the kernel does not tell is none.
        let amount = |number: usize| field(number).parse::<u64>().unwrap_or_default();
        Ok(Self {
            state: field(3).chars().next().unwrap_or('?'),
            parent: number(field(4))?,
            group: number(field(5))?,
            session: number(field(6))?,
            start: field(22).parse().map_err(|_| io::Error::other("not a process status"))?,
            user_ticks: amount(14).saturating_add(amount(16)),
            system_ticks: amount(15).saturating_add(amount(17)),
            threads: amount(20),
            pages: amount(24),
        })
    }
}

/// SIGKILL for every process of the session, again and again until none is left.
///
/// It never gives up: what a process holds must not be given away while it lives, even if it cannot die because it waits
/// inside the kernel. Such a one is named in the log.
pub(crate) async fn end_session(session: i32) {
    let (began, mut pause, mut complain_at) = (Instant::now(), PAUSE_MIN, COMPLAIN_EVERY);
    loop {
        let left = tokio::task::spawn_blocking(move || kill_session(session)).await;
        let left = left.map_err(io::Error::other).flatten();
        if left.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        if began.elapsed() >= complain_at {
            let seconds = began.elapsed().as_secs();
            tracing::error!(session, ?left, seconds, "a session does not end; its resources stay in use");
            complain_at += COMPLAIN_EVERY;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// SIGKILL for every process of the session; those that are left all the same. Blocking.
fn kill_session(session: i32) -> io::Result<Vec<i32>> {
    for _ in 0..ROUNDS_AT_ONCE {
        let members = members(session)?;
        if members.is_empty() {
            return Ok(members);
        }
        members.into_iter().for_each(|pid| send(pid, Signal::KILL));
        std::thread::yield_now();
    }
    members(session)
}

/// What belongs to a task beside the descendants of its first process: some have lost their parents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    /// Everything in this session.
    Session(i32),
    /// Everything in this process group.
    Group(i32),
}

/// Sends a signal to a process, its descendants, and whatever else is in `scope` except `spared`. Blocking.
pub(crate) fn signal_tree(root: i32, scope: Scope, spared: i32, signal: Signal) {
    let all = processes().unwrap_or_else(|error| {
        tracing::error!(%error, "the processes cannot be listed; only one is signalled");
        Vec::new()
    });
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let is_inside = |stat: &Stat| match scope {
        Scope::Session(session) => stat.session == session,
        Scope::Group(group) => stat.group == group,
    };
    let strays = all.iter().filter(|(_, stat)| is_inside(stat)).map(|(pid, _)| *pid);
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

/// The processes of a session that have not ended. Blocking.
pub(crate) fn members(session: i32) -> io::Result<Vec<i32>> {
    let all = processes()?.into_iter();
    Ok(all.filter(|(_, stat)| stat.is_alive() && stat.session == session).map(|(pid, _)| pid).collect())
}

/// All of the machine. An error if one that is there cannot be looked at: it must not pass for gone.
pub(super) fn processes() -> io::Result<Vec<(i32, Stat)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match Stat::read(pid) {
            Ok(stat) => all.push((pid, stat)),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let own = ProcessId::own().unwrap();
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        assert_eq!(own.fate().unwrap(), Fate::Runs);
        for bad in ["", "1 2 x", "5", "5 6", "5 6 b more", "x 6 b"] {
            assert_eq!(bad.parse::<ProcessId>(), Err(BadNote), "{bad:?}");
        }
    }

    #[test]
    fn a_number_that_was_given_to_another_process_is_not_the_same_one() {
        let own = ProcessId::own().unwrap();
        let later = ProcessId { start: own.start + 1, ..own.clone() };
        assert_eq!(later.fate().unwrap(), Fate::Replaced);
        assert_eq!(ProcessId { boot: "another".into(), ..own }.fate().unwrap(), Fate::Replaced);
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
        assert_eq!(id.fate().unwrap(), Fate::Ended, "ended and not reaped");
        child.wait().unwrap();
        assert_eq!(id.fate().unwrap(), Fate::Ended);
        id.ended().await.unwrap();
    }

    #[tokio::test]
    async fn a_session_ends_without_its_leader() {
        // The shell leads the session, starts one that ignores all it can, and ends.
        let mut command = std::process::Command::new("setsid");
        command.args(["--fork", "--wait", "sh", "-c", "(trap '' TERM HUP; exec sleep 1000) & echo $$"]);
        let output = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let mut child = output.spawn().unwrap();
        let mut line = String::new();
        let mut pipe = io::BufReader::new(child.stdout.take().unwrap());
        io::BufRead::read_line(&mut pipe, &mut line).unwrap();
        let session = line.trim().parse().unwrap();
        child.wait().unwrap();
        assert_eq!(members(session).unwrap().len(), 1);
        end_session(session).await;
        assert!(members(session).unwrap().is_empty());
    }
}
