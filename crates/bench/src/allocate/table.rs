//! The shapes of the design's targets. Every run of every shape is a process of its own, so that one does not measure the
//! memory of another.

use std::{
    io::Write,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::report::Report;

use super::Args;

/// One shape, with what Apache Mesos takes for it (see `ops/benchmarks.md`) and what is aimed at.
struct Row {
    name: &'static str,
    arguments: &'static str,
    mesos: &'static str,
    target_ms: Option<f64>,
    target_mb: Option<f64>,
}

const fn row(name: &'static str, arguments: &'static str, mesos: &'static str, target_ms: f64) -> Row {
    Row { name, arguments, mesos, target_ms: Some(target_ms), target_mb: None }
}

const fn more(name: &'static str, arguments: &'static str) -> Row {
    Row { name, arguments, mesos: "–", target_ms: None, target_mb: None }
}

const ROWS: [Row; 15] = [
    row("1,000 × 200, one role", "--agents 1000 --frameworks 200", "37 ms", 1.0),
    row("1,000 × 200, a role each", "--agents 1000 --frameworks 200 --roles each", "40 ms", 1.0),
    row("5,000 × 1,000, one role", "--agents 5000 --frameworks 1000", "272 ms", 6.0),
    row("5,000 × 1,000, a role each", "--agents 5000 --frameworks 1000 --roles each", "438 ms", 6.0),
    Row {
        target_mb: Some(300.0),
        ..row("10,000 × 1,000, one role", "--agents 10000 --frameworks 1000", "618 ms, 0.9 GB", 12.0)
    },
    Row {
        target_mb: Some(300.0),
        ..row(
            "10,000 × 1,000, a role each",
            "--agents 10000 --frameworks 1000 --roles each",
            "998 ms, 6.4 GB",
            12.0,
        )
    },
    row("20,000 × 2,000, one role", "--agents 20000 --frameworks 2000", "3.8 s (published, 1.8)", 40.0),
    row("20,000 × 2,000, a role each", "--agents 20000 --frameworks 2000 --roles each", "–", 40.0),
    row("50,000 × 6,000, one role", "--agents 50000 --frameworks 6000", "–", 250.0),
    row("50,000 × 6,000, a role each", "--agents 50000 --frameworks 6000 --roles each", "–", 250.0),
    more("10,000 × 1,000, half suppressed", "--roles 100 --suppressed 0.5"),
    more("2,000 × 1,000, all refused", "--agents 2000 --roles 100 --filtered"),
    more("10,000 × 1,000, 10 labelled reservations per agent", "--roles 100 --reservations 10"),
    more("10,000 × 1,000, 100 roles with quota", "--roles 100 --quota-roles 100"),
    more("10,000 × 1,000, three levels of roles", "--roles 100 --depth 3"),
];

/// The shape whose single decisions have a target.
const DECISION: &str = "50,000 × 6,000, a role each";
const DECISION_TARGET_MS: f64 = 1.0;

/// The figures of one shape: one value per run.
struct Measured {
    row: &'static Row,
    cycle_ms: Vec<f64>,
    cycle_cpu_ms: Vec<f64>,
    task_end_ms: Vec<f64>,
    peak_rss_mb: Vec<f64>,
}

/// All shapes as one report, told apart by the label `shape`. Values are medians of single runs.
pub(super) fn report(runs: u64, rounds: u64) -> anyhow::Result<Report> {
    let mut report = Report::new("allocate");
    report.condition("rounds_per_run", rounds);
    report.condition("masters", 0);
    for measured in measure_all(runs, rounds)? {
        let labels = [("shape", measured.row.name)];
        report.labelled("cycle_ms", "ms", &labels, measured.cycle_ms);
        report.labelled("cycle_cpu_ms", "ms", &labels, measured.cycle_cpu_ms);
        if !measured.task_end_ms.is_empty() {
            report.labelled("task_end_ms", "ms", &labels, measured.task_end_ms);
        }
        report.labelled("peak_rss_mb", "MB", &labels, measured.peak_rss_mb);
    }
    Ok(report)
}

/// Measures all shapes and prints them beside the targets, as a table in Markdown.
pub(crate) fn print(args: &Args) -> anyhow::Result<ExitCode> {
    let all = measure_all(args.runs, args.rounds)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "Medians of {} runs of {} rounds each (least to most).\n", args.runs, args.rounds)?;
    writeln!(
        out,
        "| agents × frameworks | options | Apache Mesos 1.11 | measured | of it CPU | peak memory | target |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for measured in &all {
        writeln!(out, "{}", line(measured))?;
    }
    if let Some(single) = all.iter().find(|measured| measured.row.name == DECISION) {
        let (values, peak) = (spread(&single.task_end_ms, 4), spread(&single.peak_rss_mb, 0));
        writeln!(
            out,
            "| one task ends, {DECISION} | `{}` | next tick of 1 s | {values} ms | – | {peak} MB | ≤ {DECISION_TARGET_MS} ms |",
            single.row.arguments
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(measured: &Measured) -> String {
    let row = measured.row;
    let targets =
        [row.target_ms.map(|most| format!("≤ {most} ms")), row.target_mb.map(|most| format!("≤ {most} MB"))];
    let targets: Vec<String> = targets.into_iter().flatten().collect();
    let target = if targets.is_empty() { "–".to_owned() } else { targets.join(", ") };
    let [cycle, cpu] = [&measured.cycle_ms, &measured.cycle_cpu_ms].map(|values| spread(values, 2));
    let (Row { name, arguments, mesos, .. }, peak) = (row, spread(&measured.peak_rss_mb, 0));
    format!("| {name} | `{arguments}` | {mesos} | {cycle} ms | {cpu} ms | {peak} MB | {target} |")
}

/// Median, least and most.
fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(least), Some(median), Some(most)) => {
            format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
        }
        _ => "–".to_owned(),
    }
}

fn measure_all(runs: u64, rounds: u64) -> anyhow::Result<Vec<Measured>> {
    ROWS.iter().map(|row| measure(row, runs, rounds).with_context(|| row.name)).collect()
}

fn measure(row: &'static Row, runs: u64, rounds: u64) -> anyhow::Result<Measured> {
    let mut measured = Measured {
        row,
        cycle_ms: Vec::new(),
        cycle_cpu_ms: Vec::new(),
        task_end_ms: Vec::new(),
        peak_rss_mb: Vec::new(),
    };
    for _ in 0..runs {
        let answer = one_run(row.arguments, rounds)?;
        measured.cycle_ms.push(median(&answer, "cycle_ms").context("no cycle_ms")?);
        measured.cycle_cpu_ms.push(median(&answer, "cycle_cpu_ms").context("no cycle_cpu_ms")?);
        measured.peak_rss_mb.push(median(&answer, "peak_rss_mb").context("no peak_rss_mb")?);
        measured.task_end_ms.extend(median(&answer, "task_end_ms"));
    }
    Ok(measured)
}

/// Waits for a process without a deadline: it is this program itself, and its work is bounded.
fn one_run(arguments: &str, rounds: u64) -> anyhow::Result<Value> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--json", "allocate", "--runs", "1", "--rounds", &rounds.to_string()])
        .args(arguments.split_whitespace())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start a run")?;
    if !output.status.success() {
        bail!("a run ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("a run did not answer in JSON")
}

fn median(answer: &Value, name: &str) -> Option<f64> {
    let results = answer["results"].as_array()?;
    results.iter().find(|result| result["name"] == name)?["median"].as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_every_row_are_a_shape() {
        for row in &ROWS {
            let line = super::super::tests::shape(row.arguments);
            assert!(line.is_ok(), "{}: {line:?}", row.name);
        }
        assert!(ROWS.iter().any(|row| row.name == DECISION));
    }

    #[test]
    fn a_row_tells_median_spread_and_targets() {
        let measured = Measured {
            row: &ROWS[4],
            cycle_ms: vec![3.0, 1.0, 2.0],
            cycle_cpu_ms: vec![1.5],
            task_end_ms: Vec::new(),
            peak_rss_mb: vec![80.0],
        };
        assert_eq!(
            line(&measured),
            "| 10,000 × 1,000, one role | `--agents 10000 --frameworks 1000` | 618 ms, 0.9 GB | 2.00 (1.00 to 3.00) ms | 1.50 (1.50 to 1.50) ms | 80 (80 to 80) MB | ≤ 12 ms, ≤ 300 MB |"
        );
    }
}
