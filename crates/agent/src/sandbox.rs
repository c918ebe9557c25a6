//! Folders and files of one run, in the layout that tools know.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use mesarch_agent_core::Run;
use mesarch_types::AgentId;

/// The places of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// `<work_dir>/slaves/<agent>/frameworks/<fw>/executors/<ex>/runs/<container>`
    pub(crate) sandbox: PathBuf,
    /// Which process the run is, written by the process itself.
    pub(crate) run_file: PathBuf,
}

impl Places {
    pub(crate) fn new(work_dir: &Path, agent: &AgentId, run: &Run) -> Self {
        let sandbox = [
            "slaves",
            agent.as_str(),
            "frameworks",
            run.framework.as_str(),
            "executors",
            run.executor.as_str(),
            "runs",
            run.container.as_str(),
        ];
        Self {
            sandbox: work_dir.join(sandbox.iter().collect::<PathBuf>()),
            run_file: run_file(work_dir, run),
        }
    }

    /// Makes the folders and the `latest` link beside the sandbox. Blocking.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.sandbox)?;
        if let Some(folder) = self.run_file.parent() {
            fs::create_dir_all(folder)?;
        }
        self.point_latest()
    }

    /// The files that take the executor's output.
    pub(crate) fn outputs(&self) -> io::Result<(File, File)> {
        let open = |name| File::options().create(true).append(true).open(self.sandbox.join(name));
        Ok((open("stdout")?, open("stderr")?))
    }

    /// A link cannot be overwritten: a fresh one is renamed over the old.
    fn point_latest(&self) -> io::Result<()> {
        let (Some(runs), Some(name)) = (self.sandbox.parent(), self.sandbox.file_name()) else {
            return Ok(());
        };
        let fresh = runs.join(".latest.new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::os::unix::fs::symlink(name, &fresh)?;
        fs::rename(&fresh, runs.join("latest"))
    }
}

/// Where a run's process writes who it is. Known without the agent's id: a recovering agent looks here first.
pub(crate) fn run_file(work_dir: &Path, run: &Run) -> PathBuf {
    work_dir.join("meta").join("runs").join(run.container.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(container: &str) -> Run {
        Run { framework: "F".into(), executor: "e".into(), container: container.into() }
    }

    #[test]
    fn latest_points_at_the_newest_run() {
        let dir = tempfile::tempdir().unwrap();
        for container in ["c1", "c2"] {
            let places = Places::new(dir.path(), &"S1".into(), &run(container));
            places.create().unwrap();
            places.create().unwrap();
            let latest = places.sandbox.parent().unwrap().join("latest");
            assert_eq!(fs::read_link(latest).unwrap(), PathBuf::from(container));
            assert!(places.outputs().is_ok());
        }
        let expect = dir.path().join("slaves/S1/frameworks/F/executors/e/runs/c2/stdout");
        assert!(expect.exists());
    }
}
