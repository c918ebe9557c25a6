//! Executors and tasks survive their agent: that is their virtue, and what must be cleaned up after a local cluster.
//! For whoever starts one, as [`readiness`](crate::readiness) is.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, Signal, getsid, kill_process};

/// The variables by which an agent tells its executors, and they their tasks, where their sandbox is.
const SANDBOX_VARIABLES: [&[u8]; 2] = [b"MESOS_SANDBOX=", b"MESOS_DIRECTORY="];
/// A process may start another while we look.
const ROUNDS_MAX: usize = 10;

/// Kills every process of this user whose sandbox lies below `dir`, with its session. Nothing happens unless `dir` is
/// absolute and below the root.
pub fn end_all(dir: &Path) {
    if !dir.is_absolute() || dir.parent().is_none() {
        return;
    }
    for _ in 0..ROUNDS_MAX {
        let pids = with_sandbox_below(dir);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // It may have ended meanwhile, which is what we want.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The processes that name a sandbox below `dir`, and whoever is in the session of such a one: a task may start a process with an
/// environment of its own.
pub fn with_sandbox_below(dir: &Path) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all: Vec<Pid> = pids.filter_map(Pid::from_raw).collect();
    let names_it = |pid: &Pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ"));
        environment.is_ok_and(|environment| names_sandbox_below(&environment, dir))
    };
    let ours: Vec<Pid> = all.iter().copied().filter(names_it).collect();
    if ours.is_empty() {
        return ours;
    }
    let follows = |pid: &Pid| getsid(Some(*pid)).is_ok_and(|leader| ours.contains(&leader));
    all.into_iter().filter(|pid| ours.contains(pid) || follows(pid)).collect()
}

fn names_sandbox_below(environment: &[u8], dir: &Path) -> bool {
    environment.split(|byte| *byte == 0).any(|variable| {
        let value = SANDBOX_VARIABLES.iter().find_map(|name| variable.strip_prefix(*name));
        value.is_some_and(|value| Path::new(std::ffi::OsStr::from_bytes(value)).starts_with(dir))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_with_a_sandbox_below_are_ours() {
        let table: [(&[u8], bool); 5] = [
            (b"A=b\0MESOS_SANDBOX=/d/agent-1/slaves/x\0", true),
            (b"MESOS_DIRECTORY=/d/agent-1\0B=c\0", true),
            (b"MESOS_SANDBOX=/dd/agent-1\0", false),
            (b"PWD=/d/agent-1\0", false),
            (b"", false),
        ];
        for (environment, expect) in table {
            assert_eq!(names_sandbox_below(environment, Path::new("/d")), expect);
        }
    }
}
