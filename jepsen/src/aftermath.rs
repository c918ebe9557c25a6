//! What the stopped masters' disks say: one log, one leader in each term, one state at each place, and nothing given away
//! twice at any of those that are looked at.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, ensure};
use mesarch_testkit::Cluster;
use serde_json::Value;

use crate::checker::{Anomaly, Promise};

/// Places in the log at which states are built and compared.
const PLACES: u64 = 5;
/// So far back from the end a log reaches, whatever was made a snapshot and dropped.
const REACHES_BACK: u64 = 5000;

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
    /// Places at which all states were compared.
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
    let nodes = cluster.masters.iter().chain(&cluster.agents);
    let mut anomalies: Vec<Anomaly> = nodes.filter_map(|node| panicked(&node.name, &node.log())).collect();
    let dirs: Vec<PathBuf> = (0..cluster.masters.len()).map(|master| cluster.data_dir(master)).collect();
    let program = cluster.program();
    let (mut logs, mut committed) = (Vec::new(), u64::MAX);
    for dir in &dirs {
        match (digest(program, dir, None)?, read_log(program, dir)?) {
            (Ok((index, _)), Ok(log)) => {
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

fn compare_states(program: &Path, dirs: &[PathBuf], committed: u64, found: &mut Found) -> anyhow::Result<()> {
    for place in places(committed) {
        let mut digests = BTreeMap::new();
        for dir in dirs {
            match digest(program, dir, Some(place))? {
                Ok((_, digest)) => drop(digests.insert(name(dir), digest)),
                Err(why) => found.anomalies.push(broken(&name(dir), why)),
            }
        }
        let mut values: Vec<&String> = digests.values().collect();
        values.dedup();
        if values.len() > 1 {
            let seen = format!("after entry {place} the states differ: {digests:?}");
            found.anomalies.push(broken("the masters", seen));
        }
        let held = mesarch(program, &["debug", "replay", "invariants"], &dirs[0], Some(place))?;
        if !held.status.success() {
            let seen = format!("after entry {place}: {}", said(&held));
            let about = name(&dirs[0]);
            found.anomalies.push(Anomaly { promise: Promise::NothingTwice, about, seen });
        }
        found.places += 1;
    }
    Ok(())
}

/// Places that are spread over the end of a log, the last one included.
fn places(committed: u64) -> Vec<u64> {
    let first = committed.saturating_sub(REACHES_BACK);
    let mut places: Vec<u64> = (1..=PLACES).map(|part| first + (committed - first) * part / PLACES).collect();
    places.dedup();
    places
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
    let output = mesarch(program, &["debug", "log", "-o", "json"], dir, None)?;
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

/// The index that the state stands at, and its digest; or why there is none.
fn digest(program: &Path, dir: &Path, to: Option<u64>) -> anyhow::Result<Result<(u64, String), String>> {
    let output = mesarch(program, &["debug", "replay", "digest", "-o", "json"], dir, to)?;
    if !output.status.success() {
        return Ok(Err(said(&output)));
    }
    let value: Value = serde_json::from_slice(&output.stdout).context("a digest is no JSON")?;
    let index = value["index"].as_u64().context("a digest has no index")?;
    Ok(Ok((index, value["digest"].to_string())))
}

fn mesarch(program: &Path, words: &[&str], dir: &Path, to: Option<u64>) -> anyhow::Result<Output> {
    let mut command = Command::new(program);
    command.args(words).arg("--data-dir").arg(dir);
    command.args(to.map(|to| format!("--to={to}")));
    let output = command.output().context("cannot run mesarch debug")?;
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
    fn states_are_looked_at_where_every_log_reaches() {
        assert_eq!(places(0), [0]);
        assert_eq!(places(10), [2, 4, 6, 8, 10]);
        let far = places(100_000);
        assert!(far.iter().all(|place| *place > 100_000 - REACHES_BACK) && far.contains(&100_000));
    }

    #[test]
    fn a_panic_is_seen() {
        assert!(panicked("m", "a\nthread 'x' panicked at y.rs:1").is_some());
        assert!(panicked("m", "all is well").is_none());
    }
}
