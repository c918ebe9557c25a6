//! Virtual paths: which file of which sandbox a client means, and how it is opened without ever leaving that sandbox.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use mesarch_types::AgentId;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// How often an open is tried again that the kernel could not finish because something was being renamed.
const TRIES: usize = 8;

/// What a path names: a run's sandbox, and something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder that holds the sandboxes of one executor, from the work directory.
    runs: PathBuf,
    /// The container, or `latest`.
    container: String,
    /// From the sandbox; empty for the sandbox itself.
    rest: PathBuf,
}

/// Reads a path: that of a sandbox on disk, or `/frameworks/F/executors/E/runs/C`, which means this agent's; either with
/// something below it. None if it names neither.
pub(super) fn find(work_dir: &Path, agent: Option<&AgentId>, path: &str) -> Option<Place> {
    let work_dir: Vec<&str> = plain_parts(work_dir.to_str()?)?;
    let parts = plain_parts(path)?;
    let (agent, below) = match parts.strip_prefix(&work_dir[..]) {
        Some(["slaves", agent, below @ ..]) => ((*agent).to_owned(), below),
        _ => (agent?.to_string(), &parts[..]),
    };
    let ["frameworks", framework, "executors", executor, "runs", container, rest @ ..] = below else {
        return None;
    };
    let runs = ["slaves", &agent, "frameworks", framework, "executors", executor, "runs"];
    let (runs, rest) = (runs.iter().collect(), rest.iter().collect());
    Some(Place { runs, container: (*container).to_owned(), rest })
}

/// Most bytes of a path, as in the kernel: it stands before each name that is listed.
const PATH_BYTES_MAX: usize = 4096;

/// The names in a path; none if one of them climbs up, or if it is longer than any path on disk.
fn plain_parts(path: &str) -> Option<Vec<&str>> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (path.starts_with('/') && !parts.iter().any(|part| *part == ".." || part.contains('\0'))).then_some(parts)
}

/// Opens what a place names for reading. Never waits for a writer. Blocking.
///
/// Each step is opened relative to the one before it, by the kernel's own rule that nothing may lead out of there:
/// links within the sandbox are followed, links out of it are refused, whatever a task changes meanwhile.
///
/// # Errors
/// Those of the system; `EXDEV` if the path leads out of the sandbox.
pub(super) fn open(work_dir: &Path, place: &Place) -> io::Result<File> {
    let root = File::open(work_dir)?;
    let runs = beneath(&root, &place.runs, OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)?;
    let sandbox = beneath(&runs, Path::new(&place.container), OFlags::DIRECTORY, ResolveFlags::empty())?;
    if place.rest.as_os_str().is_empty() {
        return Ok(sandbox.into());
    }
    beneath(&sandbox, &place.rest, OFlags::empty(), ResolveFlags::empty()).map(File::from)
}

fn beneath(folder: impl AsFd, path: &Path, kind: OFlags, further: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | kind;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | further;
    let mut tries = 0;
    loop {
        match openat2(folder.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::AGAIN) if tries < TRIES => tries += 1,
            opened => return Ok(opened?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink};

    use super::*;

    fn place(runs: &str, container: &str, rest: &str) -> Option<Place> {
        Some(Place { runs: runs.into(), container: container.into(), rest: rest.into() })
    }

    #[test]
    fn paths_are_those_of_sandboxes() {
        let agent = AgentId::from("S1");
        let runs = "slaves/S1/frameworks/F/executors/e/runs";
        let older = "slaves/S0/frameworks/F/executors/e/runs";
        let table = [
            ("/w/d/slaves/S1/frameworks/F/executors/e/runs/c", place(runs, "c", "")),
            ("/w/d/slaves/S0/frameworks/F/executors/e/runs/c/a/b", place(older, "c", "a/b")),
            ("/frameworks/F/executors/e/runs/latest/stdout", place(runs, "latest", "stdout")),
            ("//frameworks/F/executors/./e/runs/c/", place(runs, "c", "")),
            ("/frameworks/F/executors/e/runs/c/../../x", None),
            ("/frameworks/../executors/e/runs/c", None),
            ("/frameworks/F/executors/e/runs", None),
            ("frameworks/F/executors/e/runs/c", None),
            ("/w/d/meta/runs/c", None),
            ("/etc/passwd", None),
            ("/w/d", None),
            ("/", None),
            ("", None),
        ];
        for (path, expect) in table {
            assert_eq!(find(Path::new("/w/d"), Some(&agent), path), expect, "{path}");
        }
        assert_eq!(find(Path::new("/w/d"), None, "/frameworks/F/executors/e/runs/c"), None);
    }

    /// What a path shows, or the number of the error.
    fn shown(work_dir: &Path, path: &str) -> Result<String, Option<i32>> {
        let place = find(work_dir, Some(&"S1".into()), path).expect("a place");
        let mut text = String::new();
        let read = open(work_dir, &place).and_then(|mut file| file.read_to_string(&mut text));
        read.map(|_| text).map_err(|error| error.raw_os_error())
    }

    #[test]
    fn nothing_leads_out_of_a_sandbox() {
        let dir = tempfile::tempdir().expect("a folder");
        let work_dir = dir.path();
        let runs = work_dir.join("slaves/S1/frameworks/F/executors/e/runs");
        let sandbox = runs.join("c");
        fs::create_dir_all(sandbox.join("logs/v1")).expect("folders");
        fs::write(work_dir.join("secret"), "secret").expect("a file");
        fs::write(sandbox.join("logs/v1/out"), "out").expect("a file");
        symlink("c", runs.join("latest")).expect("a link");
        symlink("../../../../../../..", runs.join("away")).expect("a link");
        symlink("v1", sandbox.join("logs/current")).expect("a link");
        symlink("/etc/passwd", sandbox.join("absolute")).expect("a link");
        symlink("../../../../../../../../secret", sandbox.join("relative")).expect("a link");
        symlink("/proc/self/environ", sandbox.join("magic")).expect("a link");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            sandbox.join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("a pipe");
        let base = "/frameworks/F/executors/e/runs";
        assert_eq!(shown(work_dir, &format!("{base}/c/logs/v1/out")), Ok("out".into()));
        assert_eq!(shown(work_dir, &format!("{base}/latest/logs/current/out")), Ok("out".into()));
        let out = Some(rustix::io::Errno::XDEV.raw_os_error());
        for path in ["c/absolute", "c/relative", "c/magic", "away/secret"] {
            assert_eq!(shown(work_dir, &format!("{base}/{path}")), Err(out), "{path}");
        }
        // Nobody writes to it, and nobody waits for that.
        assert_eq!(shown(work_dir, &format!("{base}/c/pipe")), Ok(String::new()));
    }
}
