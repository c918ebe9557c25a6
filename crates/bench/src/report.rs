//! The form in which every measurement is told: a table for people, one JSON object for programs.

use std::{collections::BTreeMap, io::Write};

use serde_json::{Value, json};

/// Figures of one bench, with the conditions under which they were taken.
pub(crate) struct Report {
    bench: &'static str,
    conditions: BTreeMap<String, Value>,
    series: Vec<Series>,
    failures: u64,
}

struct Series {
    name: &'static str,
    unit: &'static str,
    labels: BTreeMap<String, String>,
    values: Vec<f64>,
}

impl Report {
    /// Starts a report; the machine's own conditions are filled in.
    pub(crate) fn new(bench: &'static str) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut conditions = BTreeMap::new();
        conditions.insert("cores".into(), json!(cores));
        conditions.insert("version".into(), json!(env!("CARGO_PKG_VERSION")));
        conditions.insert("commit".into(), json!(commit()));
        Self { bench, conditions, series: Vec::new(), failures: 0 }
    }

    /// States a condition of the measurement.
    pub(crate) fn condition(&mut self, name: &str, value: impl Into<Value>) {
        self.conditions.insert(name.into(), value.into());
    }

    /// Adds the values of one figure; they are sorted here.
    pub(crate) fn figure(&mut self, name: &'static str, unit: &'static str, values: Vec<f64>) {
        self.labelled(name, unit, &[], values);
    }

    /// As [`Self::figure`], for one of several of that name.
    pub(crate) fn labelled(
        &mut self,
        name: &'static str,
        unit: &'static str,
        labels: &[(&str, &str)],
        mut values: Vec<f64>,
    ) {
        values.sort_by(f64::total_cmp);
        let labels = labels.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect();
        self.series.push(Series { name, unit, labels, values });
    }

    /// Counts a try that failed or timed out.
    pub(crate) fn failed(&mut self) {
        self.failures += 1;
    }

    /// Writes the report to standard output; the exit status is 1 if any try failed.
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<std::process::ExitCode> {
        let mut out = std::io::stdout().lock();
        if as_json {
            writeln!(out, "{}", self.to_json())?;
        } else {
            self.print_table(&mut out)?;
        }
        Ok(if self.failures == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE })
    }

    fn to_json(&self) -> Value {
        let results: Vec<Value> = self.series.iter().map(Series::to_json).collect();
        json!({ "bench": self.bench, "conditions": self.conditions, "failed": self.failures, "results": results })
    }

    fn print_table(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let conditions: Vec<String> =
            self.conditions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        writeln!(out, "{}: {}", self.bench, conditions.join(" "))?;
        let heads = ["", "unit", "n", "median", "p90", "p99", "min", "max"];
        writeln!(
            out,
            "{:<26} {:<8} {:>6} {:>11} {:>11} {:>11} {:>11} {:>11}",
            heads[0], heads[1], heads[2], heads[3], heads[4], heads[5], heads[6], heads[7]
        )?;
        for series in &self.series {
            let [median, p90, p99, min, max] = series.summary();
            writeln!(
                out,
                "{:<26} {:<8} {:>6} {median:>11.3} {p90:>11.3} {p99:>11.3} {min:>11.3} {max:>11.3}",
                series.title(),
                series.unit,
                series.values.len()
            )?;
        }
        if self.failures > 0 {
            writeln!(out, "{} tries failed", self.failures)?;
        }
        Ok(())
    }
}

impl Series {
    /// The name, with the labels' values if there are any.
    fn title(&self) -> String {
        let values = self.labels.values().map(|value| format!(" {value}"));
        self.name.to_owned() + &values.collect::<String>()
    }

    /// Median, p90, p99, least and greatest; nearest rank.
    fn summary(&self) -> [f64; 5] {
        [0.5, 0.9, 0.99, 0.0, 1.0].map(|share| percentile(&self.values, share))
    }

    fn to_json(&self) -> Value {
        let [median, p90, p99, min, max] = self.summary();
        json!({
            "name": self.name, "labels": self.labels, "unit": self.unit, "n": self.values.len(),
            "median": median, "p90": p90, "p99": p99, "min": min, "max": max,
        })
    }
}

/// Nearest-rank percentile of sorted values; zero if there are none.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn commit() -> String {
    let asked = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    match asked {
        Ok(answer) if answer.status.success() => String::from_utf8_lossy(&answer.stdout).trim().to_owned(),
        _ => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (share, expected) in [(0.0, 1.0), (0.5, 50.0), (0.9, 90.0), (0.99, 99.0), (1.0, 100.0)] {
            assert_eq!(percentile(&values, share), expected, "share {share}");
        }
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_failed_try_sets_the_exit_status() {
        let mut report = Report::new("test");
        report.figure("latency", "ms", vec![3.0, 1.0, 2.0]);
        assert_eq!(report.to_json()["results"][0]["median"], 2.0);
        report.failed();
        assert_eq!(report.to_json()["failed"], 1);
    }
}
