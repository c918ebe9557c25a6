//! What the stopped masters' disks say: one log, one leader in each term, one state after each entry, and nothing given away
//! twice in any of them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, ensure};
use mesarch_testkit::Cluster;
use serde_json::Value;

use crate::checker::{Anomaly, Promise};

/// So many of the last entries are gone through one by one, at least; and so far back a log reaches, whatever was made a
/// snapshot and dropped.
const GONE_THROUGH: u64 = 4000;
/// Anomalies of one kind that are told; what breaks once mostly stays broken.
const TOLD_MAX: usize = 3;

/// A term, and the master that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reign {
    pub(crate) term: u64,
    /// Its number, from 1.
    pub(crate) master: u64,
    /// Wall time of its first command, in ms.
    pub(crate) from_ms: u64,
}

/// What was found on the disks.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) anomalies: Vec<Anomaly>,
    /// In order.
    pub(crate) reigns: Vec<Reign>,
    /// Entries that all masters have.
    pub(crate) entries: u64,
    /// Entries after which all states were compared, and the invariants looked at.
    pub(crate) places: usize,
}

/// One line of the log: what has to be the same on all masters.
type Log = BTreeMap<(u64, u64), Line>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    term: u64,
    /// The leader, its time and the command's name, if it is a command.
    proposer: Option<u64>,
    wall_ms: u64,
    text: String,
}

/// Stops the masters and looks. An error is a failure of the harness; that a directory cannot be read is an anomaly.
pub(crate) async fn look(cluster: &mut Cluster) -> anyhow::Result<Found> {
    for master in &mut cluster.masters {
        if master.pid().is_some() && master.ended().is_none() {
            master.terminate().await?;
        }
    }
    let nodes = cluster.masters.iter().chain(&cluster.agents).chain(&cluster.replaced);
    let mut anomalies: Vec<Anomaly> = nodes.filter_map(|node| panicked(&node.name, &node.log())).collect();
    let dirs: Vec<PathBuf> = (0..cluster.masters.len()).map(|master| cluster.data_dir(master)).collect();
    let program = cluster.program();
    let (mut logs, mut committed) = (Vec::new(), u64::MAX);
    for dir in &dirs {
        match (known_committed(program, dir)?, read_log(program, dir)?) {
            (Ok(index), Ok(log)) => {
                committed = committed.min(index);
                logs.push(log);
            }
            (Err(why), _) | (_, Err(why)) => anomalies.push(broken(&name(dir), why)),
        }
    }
    let (reigns, of_logs) = compare(&logs, committed);
    anomalies.extend(of_logs);
    let mut found = Found { anomalies, reigns, entries: committed, places: 0 };
    if logs.len() == dirs.len() {
        compare_states(program, &dirs, committed, &mut found)?;
    }
    Ok(found)
}

/// After each entry one state on all masters, in which everything holds that must.
fn compare_states(program: &Path, dirs: &[PathBuf], committed: u64, found: &mut Found) -> anyhow::Result<()> {
    let from = committed.saturating_sub(GONE_THROUGH);
    let mut states = Vec::new();
    for dir in dirs {
        match after_each(program, "digest", dir, from, committed)? {
            Ok(digests) => states.push((name(dir), digests)),
            Err(why) => found.anomalies.push(broken(&name(dir), why)),
        }
    }
    found.anomalies.extend(differences(&states));
    let violations = match after_each(program, "invariants", &dirs[0], from, committed)? {
        Ok(violations) => violations,
        Err(why) => {
            found.anomalies.push(broken(&name(&dirs[0]), why));
            return Ok(());
        }
    };
    found.places = violations.len();
    let violated = violations.iter().filter(|(_, violation)| violation.is_string());
    found.anomalies.extend(violated.take(TOLD_MAX).map(|(index, violation)| Anomaly {
        promise: Promise::NothingTwice,
        about: name(&dirs[0]),
        seen: format!("after entry {index}: {violation}"),
    }));
    Ok(())
}

/// What was said after each entry; a master has no entry for what a snapshot of others brought it.
type AfterEach = BTreeMap<u64, Value>;

/// What `mesarch debug replay` says of the state after each entry; or why it cannot.
fn after_each(
    program: &Path,
    query: &str,
    dir: &Path,
    from: u64,
    to: u64,
) -> anyhow::Result<Result<AfterEach, String>> {
    let (from, to) = (format!("--from={from}"), format!("--to={to}"));
    let output = mesarch(program, &["debug", "replay", query, "-o", "json", &from, &to], dir)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let one = |line: &str| {
        let mut value: Value = serde_json::from_str(line).context("a line of it is no JSON")?;
        let index = value["index"].as_u64().context("a line of it has no index")?;
        let what = if query == "digest" { "digest" } else { "violation" };
        Ok((index, value[what].take()))
    };
    let said_of_each = text.lines().map(one).collect::<anyhow::Result<AfterEach>>()?;
    let is_whole = output.status.success() || is_violated(&said_of_each, query);
    Ok(if is_whole { Ok(said_of_each) } else { Err(said(&output)) })
}

/// Whether a violation explains why the answer was a failure. Nothing explains that of a digest: the rest is missing.
fn is_violated(said_of_each: &AfterEach, query: &str) -> bool {
    query == "invariants" && said_of_each.values().any(Value::is_string)
}

/// Where the states of two masters differ, at first.
fn differences(states: &[(String, AfterEach)]) -> Vec<Anomaly> {
    let Some(((first, of_first), others)) = states.split_first() else { return Vec::new() };
    let differs = |(other, of_other): &(String, AfterEach)| {
        let both = of_first.iter().filter_map(|(index, digest)| Some((index, digest, of_other.get(index)?)));
        let (index, ..) = both.into_iter().find(|(_, one, another)| one != another)?;
        let seen = format!("after entry {index} the states of {first} and {other} differ");
        Some(broken("the masters", seen))
    };
    others.iter().filter_map(differs).collect()
}

/// One log on all masters, as far as each knows it to be committed, and one leader in each term.
fn compare(logs: &[Log], committed: u64) -> (Vec<Reign>, Vec<Anomaly>) {
    let mut anomalies = Vec::new();
    let mut all: BTreeMap<(u64, u64), &Line> = BTreeMap::new();
    let mut leaders: BTreeMap<u64, Reign> = BTreeMap::new();
    for log in logs {
        for (place, line) in log.range(..=(committed, u64::MAX)) {
            let known = all.entry(*place).or_insert(line);
            if *known != line {
                let seen = format!("entry {}: {} and {}", place.0, known.text, line.text);
                anomalies.push(broken("the masters' logs", seen));
            }
        }
        // What was never committed counts here too: nobody else may lead in a term.
        for line in log.values() {
            let Some(master) = line.proposer else { continue };
            let reign = Reign { term: line.term, master, from_ms: line.wall_ms };
            let known = leaders.entry(line.term).or_insert(reign);
            if known.master != master {
                let seen = format!("masters {} and {master} both led", known.master);
                anomalies.push(broken(&format!("term {}", line.term), seen));
            }
        }
    }
    (leaders.into_values().collect(), anomalies)
}

fn read_log(program: &Path, dir: &Path) -> anyhow::Result<Result<Log, String>> {
    let output = mesarch(program, &["debug", "log", "-o", "json"], dir)?;
    if !output.status.success() {
        return Ok(Err(said(&output)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(line).collect::<anyhow::Result<Log>>().map(Ok)
}

fn line(text: &str) -> anyhow::Result<((u64, u64), Line)> {
    let value: Value = serde_json::from_str(text).context("a line of the log is no JSON")?;
    let number = |name: &str| value[name].as_u64();
    let (index, term) = number("index").zip(number("term")).context("a line of the log has no place")?;
    let line = Line {
        term,
        proposer: number("proposer"),
        wall_ms: number("wall_ms").unwrap_or_default(),
        text: text.to_owned(),
    };
    Ok(((index, number("position").unwrap_or_default()), line))
}

/// The last entry that the master knew to be committed; or why nobody knows.
fn known_committed(program: &Path, dir: &Path) -> anyhow::Result<Result<u64, String>> {
    let output = mesarch(program, &["debug", "replay", "digest", "-o", "json"], dir)?;
    if !output.status.success() {
        return Ok(Err(said(&output)));
    }
    let value: Value = serde_json::from_slice(&output.stdout).context("a digest is no JSON")?;
    Ok(Ok(value["index"].as_u64().context("a digest has no index")?))
}

fn mesarch(program: &Path, words: &[&str], dir: &Path) -> anyhow::Result<Output> {
    let output = Command::new(program).args(words).arg("--data-dir").arg(dir).output();
    let output = output.context("cannot run mesarch debug")?;
    ensure!(output.status.code() != Some(2), "mesarch {}: {}", words.join(" "), said(&output));
    Ok(output)
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).trim().to_owned()).join(" ")
}

fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn panicked(name: &str, log: &str) -> Option<Anomaly> {
    let line = log.lines().find(|line| line.contains("panicked at"))?;
    Some(Anomaly { promise: Promise::ComesBack, about: name.to_owned(), seen: line.to_owned() })
}

fn broken(about: &str, seen: String) -> Anomaly {
    Anomaly { promise: Promise::OneLog, about: about.to_owned(), seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[(u64, u64, u64)]) -> Log {
        let one = |(index, term, proposer): &(u64, u64, u64)| {
            let text = format!(
                r#"{{"index":{index},"term":{term},"position":0,"proposer":{proposer},"wall_ms":{index},"command":"Tick"}}"#
            );
            line(&text).unwrap()
        };
        lines.iter().map(one).collect()
    }

    #[test]
    fn one_log_is_one_log() {
        let (one, shorter) = (log(&[(1, 1, 1), (2, 1, 1), (3, 2, 2)]), log(&[(1, 1, 1), (2, 1, 1)]));
        let (reigns, found) = compare(&[one.clone(), shorter], 2);
        assert_eq!(found, []);
        assert_eq!(reigns[1], Reign { term: 2, master: 2, from_ms: 3 });
        let tail = log(&[(1, 1, 1), (2, 1, 1), (3, 3, 3)]);
        assert_eq!(compare(&[one.clone(), tail.clone()], 2).1, [], "what was not committed may give way");
        assert_eq!(compare(&[one.clone(), tail], 3).1.len(), 1, "what was committed may not");
        let two_leaders = log(&[(1, 1, 1), (2, 1, 3)]);
        assert_eq!(compare(&[two_leaders], 0).1.len(), 1);
        assert!(line("{}").is_err());
    }

    #[test]
    fn states_are_compared_wherever_two_masters_have_them() {
        let of = |name: &str, states: &[(u64, &str)]| {
            (name.to_owned(), states.iter().map(|(index, digest)| (*index, Value::from(*digest))).collect())
        };
        let (one, late) = (of("1", &[(1, "a"), (2, "b"), (3, "c")]), of("2", &[(3, "c"), (4, "d")]));
        assert_eq!(differences(&[one.clone(), late]), []);
        let found = differences(&[one, of("2", &[(1, "a"), (2, "x"), (3, "y")])]);
        assert_eq!(found.len(), 1);
        assert!(found[0].seen.contains("after entry 2 "), "{found:?}");
    }

    #[test]
    fn only_a_violation_explains_a_failed_answer() {
        let of = |value: Value| AfterEach::from([(1, value)]);
        assert!(is_violated(&of(Value::from("resources")), "invariants"));
        assert!(!is_violated(&of(Value::Null), "invariants"));
        assert!(!is_violated(&of(Value::from("0a")), "digest"), "digests that end too early hide nothing");
    }

    #[test]
    fn a_panic_is_seen() {
        assert!(panicked("m", "a\nthread 'x' panicked at y.rs:1").is_some());
        assert!(panicked("m", "all is well").is_none());
    }
}
