//! A machine with a slow disk or a wall clock that jumps, for one master: a library that is loaded before the C library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mesarch_testkit::Node;

/// What the machine is like, and how often that was felt, for every process that runs on it.
pub(crate) struct OddMachine {
    library: PathBuf,
    state: PathBuf,
}

impl OddMachine {
    /// A machine that is like any other yet. Its files are in `folder`.
    pub(crate) fn build(folder: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("support/odd_machine.c");
        let (library, state) = (folder.join("odd_machine.so"), folder.join("odd_machine"));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status()
            .context("cannot run the C compiler cc")?;
        ensure!(built.success(), "{} is not built: {built}", source.display());
        fs::write(&state, [0; 24])?;
        Ok(Self { library, state })
    }

    /// Runs `node` on it from its next start on.
    pub(crate) fn carry(&self, node: &mut Node) {
        let preload = format!("LD_PRELOAD={}", self.library.display());
        let state = format!("ODD_MACHINE={}", self.state.display());
        node.enter_by(vec!["env".into(), preload, state]);
    }

    /// Every sync takes longer by so many ms, and the wall clock is ahead by so many seconds; at once, for running processes too.
    pub(crate) fn set(&self, sync_ms: i64, ahead_s: i64) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&self.state)?;
        Ok(file.write_all_at(&[sync_ms.to_ne_bytes(), ahead_s.to_ne_bytes()].concat(), 0)?)
    }

    /// How often a process felt it.
    pub(crate) fn felt(&self) -> Result<i64> {
        let bytes = fs::read(&self.state)?;
        let felt = bytes.get(16..24).context("three numbers")?;
        Ok(i64::from_ne_bytes(felt.try_into()?))
    }
}
