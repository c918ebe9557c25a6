//! A program that runs beside the steps, on what they leave of the processor.

use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// For how long random texts are tried in each `verify`.
const FUZZ_SECONDS: &str = "60";

/// The program, until its end is waited for.
pub(crate) struct Aside(Child);

impl Aside {
    /// Starts a minute of random texts with the lowest priority. It must have been built, beside this program.
    pub(crate) fn fuzz() -> Result<Self> {
        let here = std::env::current_exe().context("cannot find this program")?;
        let program = here.with_file_name("mesarch-fuzz");
        let child = Command::new("nice")
            .args(["-n", "19"])
            .arg(&program)
            .args(["--seconds", FUZZ_SECONDS])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self(child))
    }

    /// Waits for its end: its lines of both outputs, and how it ended. It bounds its own time.
    pub(crate) fn finish(self) -> Result<(Vec<String>, ExitStatus)> {
        let output = self.0.wait_with_output().context("cannot wait for random texts")?;
        let both = [output.stdout, output.stderr];
        let lines = both
            .iter()
            .flat_map(|text| String::from_utf8_lossy(text).lines().map(str::to_owned).collect::<Vec<_>>());
        Ok((lines.collect(), output.status))
    }
}
