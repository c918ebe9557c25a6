//! The steps of `verify` and `fix`, each with its time.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{aside::Aside, total::Total};

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

/// The step of [`VERIFY`] beside which random texts are tried: all is built, and the tests leave a processor idle at times.
const WITH_FUZZ: &str = "tests";

/// Runs all of [`VERIFY`], also after a failed step, and ends with the total of all tests that ran.
pub(crate) fn verify() -> Result<ExitCode> {
    let (mut total, mut failed) = (Total::default(), Vec::new());
    for step in VERIFY {
        let aside = (step.name == WITH_FUZZ).then(Aside::fuzz);
        if !run_and_tell(step, &mut total)? {
            failed.push(step.name);
        }
        // It cannot be started if the build failed, which is the failure to tell then.
        if let Some(aside) = aside
            && (failed.is_empty() || aside.is_ok())
            && !tell_of(aside?)?
        {
            failed.push("fuzz");
        }
    }
    let code = close(&failed)?;
    say(&total.closing_line(failed.len()))?;
    Ok(code)
}

/// Runs [`FIX`].
pub(crate) fn fix() -> Result<ExitCode> {
    let mut failed = Vec::new();
    for step in FIX {
        if !run_and_tell(step, &mut Total::default())? {
            failed.push(step.name);
        }
    }
    close(&failed)
}

/// Random texts for so many seconds.
pub(crate) fn fuzz(seconds: u64, seed: Option<u64>) -> Result<ExitCode> {
    let mut cargo =
        cargo(&["run", "--release", "--quiet", "--package", "mesarch-sim", "--bin", "mesarch-fuzz", "--"])?;
    cargo.args(["--seconds", &seconds.to_string()]);
    cargo.args(seed.map(|seed| format!("--seed={seed}")));
    finish(cargo)
}

/// Random texts and, half of the time, random bytes over the sockets of a master and an agent; all of them even if one
/// fails.
pub(crate) fn fuzz_all(minutes: u64, seed: Option<u64>) -> Result<ExitCode> {
    let quarter = minutes.saturating_mul(60).div_ceil(4).max(1);
    let mut good = fuzz(2 * quarter, seed)? == ExitCode::SUCCESS;
    for (test, filter) in [("one_process", "edge_test::random"), ("agent", "edge::random")] {
        let mut cargo =
            cargo(&["test", "--release", "--workspace", "--test", test, "--", "--nocapture", filter])?;
        cargo.env("MESARCH_FUZZ_SECONDS", quarter.to_string());
        cargo.envs(seed.map(|seed| ("MESARCH_FUZZ_SEED", seed.to_string())));
        good &= finish(cargo)? == ExitCode::SUCCESS;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tests of these packages, each property with so many cases.
pub(crate) fn laws(cases: u32, packages: &[String]) -> Result<ExitCode> {
    let mut cargo = cargo(&["test", "--release", "--no-fail-fast", "--tests"])?;
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    cargo.env("PROPTEST_CASES", cases.to_string());
    finish(cargo)
}

pub(crate) fn finish(mut cargo: Command) -> Result<ExitCode> {
    let good = cargo.status().context("cannot start cargo")?.success();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn close(failed: &[&str]) -> Result<ExitCode> {
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("failed steps: {}", failed.join(", ")))?;
    Ok(ExitCode::FAILURE)
}

fn tell_of(aside: Aside) -> Result<bool> {
    let (lines, status) = aside.finish()?;
    lines.iter().try_for_each(|line| say(line))?;
    let verdict = if status.success() { "good" } else { "FAILED" };
    say(&format!("== fuzz, beside the tests: {verdict}"))?;
    Ok(status.success())
}

fn run_and_tell(step: &Step, total: &mut Total) -> Result<bool> {
    let started = Instant::now();
    say(&format!("== {}: cargo {}", step.name, step.arguments.join(" ")))?;
    let good = run(step, total)?;
    let verdict = if good { "good" } else { "FAILED" };
    say(&format!("== {}: {verdict} after {:.1} s", step.name, started.elapsed().as_secs_f64()))?;
    Ok(good)
}

/// A call of cargo at the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root()?).stdin(Stdio::null());
    Ok(cargo)
}

/// Runs one step at the workspace's root; its standard output passes through and is counted.
fn run(step: &Step, total: &mut Total) -> Result<bool> {
    let mut child = cargo(step.arguments)?.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("the child's output is piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        say(&line)?;
        total.count(&line);
    }
    Ok(child.wait().context("cannot wait for cargo")?.success())
}

pub(crate) fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("this crate lies two folders below the root")?;
    Ok(root.to_path_buf())
}

pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to standard output")
}
