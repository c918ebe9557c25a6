//! A machine with a slow disk or a wall clock that jumps: a library that is loaded before the C library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const SOURCE: &str = include_str!("odd_machine.c");

/// What the machine is like, and how often that was felt, for every process that runs on it.
#[derive(Debug)]
pub struct OddMachine {
    library: PathBuf,
    state: PathBuf,
}

impl OddMachine {
    /// A machine that is like any other yet. Its files are in `folder`, which is its own.
    ///
    /// # Errors
    /// There is no C compiler, or no room.
    pub fn build(folder: &Path) -> Result<Self> {
        let in_folder = |name| folder.join(name);
        let (source, library) = (in_folder("odd_machine.c"), in_folder("odd_machine.so"));
        fs::write(&source, SOURCE)?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status()
            .context("cannot run the C compiler cc")?;
        ensure!(built.success(), "{} is not built: {built}", source.display());
        let state = in_folder("odd_machine");
        fs::write(&state, [0; 24])?;
        Ok(Self { library, state })
    }

    /// What a process must have in its environment to run on it.
    pub fn environment(&self) -> [(String, String); 2] {
        let path = |path: &Path| path.display().to_string();
        [("LD_PRELOAD".to_owned(), path(&self.library)), ("ODD_MACHINE".to_owned(), path(&self.state))]
    }

    /// Every sync takes longer by so many ms, and the wall clock is ahead by so many seconds; at once, for running processes too.
    pub fn set(&self, sync_ms: i64, ahead_s: i64) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let file = fs::OpenOptions::new().write(true).open(&self.state)?;
        Ok(file.write_all_at(&[sync_ms.to_ne_bytes(), ahead_s.to_ne_bytes()].concat(), 0)?)
    }

    /// How often a process felt it.
    pub fn felt(&self) -> Result<i64> {
        let bytes = fs::read(&self.state)?;
        let felt = bytes.get(16..24).context("three numbers")?;
        Ok(i64::from_ne_bytes(felt.try_into()?))
    }
}
