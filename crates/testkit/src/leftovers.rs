//! Executors and tasks outlive their agent by design; after a test they are ended by their sandbox.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

const SANDBOX_VARIABLES: [&[u8]; 2] = [b"MESOS_SANDBOX=", b"MESOS_DIRECTORY="];
/// A process may start another while we look.
const ROUNDS_MAX: usize = 10;

/// Kills every process of this user whose sandbox lies below `dir`.
pub(crate) fn end_all(dir: &Path) {
    for _ in 0..ROUNDS_MAX {
        let pids = with_sandbox_below(dir);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The processes that belong to executors of agents below `dir`.
pub(crate) fn with_sandbox_below(dir: &Path) -> Vec<Pid> {
    let prefix = dir.as_os_str().as_encoded_bytes();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| {
            let value = SANDBOX_VARIABLES.iter().find_map(|name| variable.strip_prefix(*name));
            value.is_some_and(|value| value.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(b"/")))
        })
    };
    pids.filter(ours).filter_map(Pid::from_raw).collect()
}
