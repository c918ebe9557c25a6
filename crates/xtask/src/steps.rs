//! The steps of `verify` and `fix`, each with its time.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::total::Total;

/// One `cargo` command.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
}

/// Order: cheap before dear, and the binaries before the tests that start them.
const VERIFY: &[Step] = &[
    Step { name: "format", arguments: &["fmt", "--all", "--", "--check"] },
    Step {
        name: "layers",
        arguments: &["test", "--release", "--package", "mesarch-xtask", "--test", "layers", "--", "--quiet"],
    },
    Step {
        name: "lints",
        arguments: &["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"],
    },
    Step { name: "build", arguments: &["build", "--release", "--workspace", "--bins", "--examples"] },
    Step { name: "tests", arguments: &["test", "--release", "--workspace", "--no-fail-fast"] },
];

const FIX: &[Step] = &[
    Step {
        name: "lints",
        arguments: &[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--fix",
            "--allow-dirty",
            "--allow-staged",
        ],
    },
    Step { name: "format", arguments: &["fmt", "--all"] },
];

/// Runs all of [`VERIFY`], also after a failed step, and ends with the total of all tests that ran.
pub(crate) fn verify() -> Result<ExitCode> {
    run_all(VERIFY, true)
}

/// Runs [`FIX`].
pub(crate) fn fix() -> Result<ExitCode> {
    run_all(FIX, false)
}

fn run_all(steps: &[Step], with_total: bool) -> Result<ExitCode> {
    let mut total = Total::default();
    let mut failed = Vec::new();
    for step in steps {
        let started = Instant::now();
        say(&format!("== {}: cargo {}", step.name, step.arguments.join(" ")))?;
        let good = run(step, &mut total)?;
        let verdict = if good { "good" } else { "FAILED" };
        say(&format!("== {}: {verdict} after {:.1} s", step.name, started.elapsed().as_secs_f64()))?;
        if !good {
            failed.push(step.name);
        }
    }
    if !failed.is_empty() {
        say(&format!("failed steps: {}", failed.join(", ")))?;
    }
    if with_total {
        say(&total.closing_line(failed.len()))?;
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one step at the workspace's root; its standard output passes through and is counted.
fn run(step: &Step, total: &mut Total) -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(&cargo)
        .args(step.arguments)
        .current_dir(root()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", cargo.display()))?;
    let output = child.stdout.take().context("the child's output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        say(&line)?;
        total.count(&line);
    }
    Ok(child.wait().context("cannot wait for cargo")?.success())
}

fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("this crate lies two folders below the root")?;
    Ok(root.to_path_buf())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}
