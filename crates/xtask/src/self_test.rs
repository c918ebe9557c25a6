//! `self-test`: known bugs are switched on one after the other, and the chaos suite has to catch each.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::steps::{cargo, root, say};

/// Where the program with the known bugs is built: no other build may be mistaken for it.
const TARGET: &str = "target/faults";
/// How long a run goes on, in seconds, unless a bug needs longer.
const SECONDS: u64 = 15;
/// Long enough for the masters to compare their states.
const STATES_COMPARED: u64 = 90;
/// Exit statuses of a run: a clean one, one with an anomaly, and one that proves nothing.
const CLEAN: i32 = 0;
const CAUGHT: i32 = 1;
const PROVES_NOTHING: i32 = 2;

/// One known bug, and the load and nemesis that are to show it.
struct Bug {
    /// As `mesarch-jepsen --fault` takes it; empty for the run without one, which has to be clean.
    fault: &'static str,
    workload: &'static str,
    nemesis: &'static str,
    seconds: u64,
    /// More arguments.
    also: &'static [&'static str],
}

const fn bug(fault: &'static str, workload: &'static str, nemesis: &'static str) -> Bug {
    Bug { fault, workload, nemesis, seconds: SECONDS, also: &[] }
}

const BUGS: [Bug; 15] = [
    bug("", "launch", "kill-leader"),
    bug("ack-before-sync", "register", "kill-all"),
    bug("sync-skipped", "register", "power-loss-all"),
    bug("vote-unsaved", "register", "kill-all"),
    Bug { also: &["--reads", "lease"], ..bug("lease-ignored", "register", "isolate-leader") },
    bug("barrier-ignored", "register", "isolate-leader"),
    bug("answer-before-commit", "launch", "isolate-leader"),
    bug("quota-at-the-edge", "register", "none"),
    bug("update-acknowledged-early", "updates", "none"),
    bug("open-work-forgotten", "launch", "kill-agent-and-leader"),
    bug("duplicate-launch", "launch", "none"),
    bug("launch-unstored", "launch", "kill-agent"),
    bug("over-offer", "launch", "none"),
    Bug { seconds: STATES_COMPARED, ..bug("replica-differs@master-3", "launch", "none") },
    bug("index-unapplied", "stale-reads", "none"),
];

/// What became of one bug.
struct Hunt {
    /// The seed of the run that caught it, and what that run said first.
    caught: Option<(u64, String)>,
    runs: u64,
    took: Duration,
}

/// Builds both programs, hunts each bug (or the one that is named) with up to so many seeds, and prints a table in Markdown.
pub(crate) fn self_test(only: Option<&str>, seeds: u64) -> Result<ExitCode> {
    let bugs: Vec<&Bug> = BUGS.iter().filter(|bug| only.is_none_or(|only| is_of(bug, only))).collect();
    ensure!(!bugs.is_empty(), "--only {}: no such bug", only.unwrap_or_default());
    say("self-test: building the chaos suite, and a mesarch with known bugs")?;
    built(&["build", "--release", "--workspace", "--bins"])?;
    built(&[
        "build",
        "--release",
        "--workspace",
        "--bins",
        "--features",
        "mesarch/faults",
        "--target-dir",
        TARGET,
    ])?;
    let (mut rows, mut good) = (Vec::new(), true);
    for bug in bugs {
        let hunt = hunt(bug, seeds)?;
        // The run without a bug is there to show that what catches the others is the bug.
        let is_good = hunt.caught.is_some() != bug.fault.is_empty();
        good &= is_good;
        rows.push(row(bug, &hunt));
        say(&format!("self-test: {}", rows.last().map_or("", String::as_str)))?;
    }
    say(
        "| bug | workload | nemesis | caught by seed | runs | s | the first anomaly |\n|---|---|---|---|---|---|---|",
    )?;
    rows.iter().try_for_each(|row| say(row))?;
    say(if good { "self-test: good" } else { "self-test: FAILED" })?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A bug goes by its name alone too, whichever node it is in.
fn is_of(bug: &Bug, name: &str) -> bool {
    bug.fault.split('@').next() == Some(name) || bug.fault == name
}

fn built(arguments: &[&str]) -> Result<()> {
    ensure!(cargo(arguments)?.status().context("cannot start cargo")?.success(), "it cannot be built");
    Ok(())
}

/// Runs with one seed after the other until one has caught it.
fn hunt(bug: &Bug, seeds: u64) -> Result<Hunt> {
    let started = Instant::now();
    // Without a bug more runs could only show less.
    let seeds = if bug.fault.is_empty() { 1 } else { seeds };
    for seed in 1..=seeds {
        if let Some(anomaly) = run(bug, seed)? {
            return Ok(Hunt { caught: Some((seed, anomaly)), runs: seed, took: started.elapsed() });
        }
    }
    Ok(Hunt { caught: None, runs: seeds, took: started.elapsed() })
}

/// The first anomaly of a run, if it has any.
fn run(bug: &Bug, seed: u64) -> Result<Option<String>> {
    let mut suite = Command::new(program("target", "mesarch-jepsen")?);
    suite.args(["--workload", bug.workload, "--nemesis", bug.nemesis, "--time", &bug.seconds.to_string()]);
    suite.args(["--seed", &seed.to_string()]).args(bug.also);
    suite.arg("--binary").arg(program(TARGET, "mesarch")?);
    if !bug.fault.is_empty() {
        suite.args(["--fault", bug.fault]);
    }
    let output = suite.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let anomaly = said.lines().find_map(|line| line.strip_prefix("ANOMALY "));
    match (output.status.code(), anomaly) {
        (Some(CLEAN), _) => Ok(None),
        (Some(CAUGHT), Some(anomaly)) => Ok(Some(anomaly.to_owned())),
        // A bug may well keep a run from doing anything; that is not what catches it.
        (Some(PROVES_NOTHING), _) => {
            say(&format!("self-test: {}, seed {seed}: {}", bug.fault, said.trim()))?;
            Ok(None)
        }
        _ => bail!("{:?}, seed {seed}: {}\n{said}", bug.fault, output.status),
    }
}

fn program(target: &str, name: &str) -> Result<PathBuf> {
    Ok(root()?.join(target).join("release").join(name))
}

fn row(bug: &Bug, hunt: &Hunt) -> String {
    let fault = if bug.fault.is_empty() { "none".to_owned() } else { format!("`{}`", bug.fault) };
    let workload = [&[bug.workload], bug.also].concat().join(" ");
    let (seed, anomaly) = match &hunt.caught {
        Some((seed, anomaly)) => (seed.to_string(), anomaly.replace('|', "/")),
        None if bug.fault.is_empty() => ("clean".to_owned(), String::new()),
        None => ("NOT CAUGHT".to_owned(), String::new()),
    };
    let (nemesis, runs, seconds) = (bug.nemesis, hunt.runs, hunt.took.as_secs());
    format!("| {fault} | `{workload}` | `{nemesis}` | {seed} | {runs} | {seconds} | {anomaly} |")
}
