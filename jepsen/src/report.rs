//! What a run showed, for people and for the exit status.

use std::{collections::BTreeSet, path::PathBuf};

use mesarch_client::v1::TaskState;

use crate::{
    checker::Anomaly,
    history::{Entry, Event, Kind},
    nemesis::Nemesis,
};

/// Anomalies that are shown; the history has them all.
const SHOWN_MAX: usize = 20;

/// How a run ended.
pub(crate) struct Verdict {
    anomalies: Vec<Anomaly>,
    /// Why it proves nothing, if so.
    worthless: Option<String>,
    summary: String,
}

impl Verdict {
    /// From a finished run. `kept` are files for a person to look into.
    pub(crate) fn new(
        nemesis: Nemesis,
        faults: usize,
        anomalies: Vec<Anomaly>,
        entries: &[Entry],
        kept: &[PathBuf],
    ) -> Self {
        let counts = Counts::of(entries);
        let worthless = match faults {
            0 if nemesis != Nemesis::None => Some("the fault did not take place".to_owned()),
            _ if counts.finished == 0 => Some("not one task finished".to_owned()),
            _ if counts.unreadable > 0 => {
                Some(format!("{} of the agents' accounts lacked something", counts.unreadable))
            }
            _ if counts.accounts == 0 => Some("not one account of an agent was seen".to_owned()),
            _ => None,
        };
        let summary = format!(
            "faults {faults}; ACCEPT ok {}, fail {}, unknown {}; tasks finished {}; updates {}; accounts {}{}",
            counts.accepts[0],
            counts.accepts[1],
            counts.accepts[2],
            counts.finished,
            counts.updates,
            counts.accounts,
            kept.iter().fold(String::new(), |text, path| text + &format!("\nkept: {}", path.display()))
        );
        Self { anomalies, worthless, summary }
    }

    /// The harness itself failed.
    pub(crate) fn of_harness(error: anyhow::Error) -> Self {
        let worthless = Some(format!("the harness failed: {error:#}"));
        Self { anomalies: Vec::new(), worthless, summary: String::new() }
    }

    /// 0 clean, 1 an anomaly, 2 it proves nothing.
    pub(crate) fn status(&self) -> u8 {
        match (&self.anomalies[..], &self.worthless) {
            ([], None) => 0,
            ([], Some(_)) => 2,
            _ => 1,
        }
    }
}

#[derive(Default)]
struct Counts {
    /// ok, fail, unknown
    accepts: [usize; 3],
    finished: usize,
    updates: usize,
    accounts: usize,
    unreadable: usize,
}

impl Counts {
    fn of(entries: &[Entry]) -> Self {
        let mut counts = Self::default();
        let mut finished = BTreeSet::new();
        for entry in entries {
            match (&entry.event, entry.kind) {
                (Event::Accept { .. }, Kind::Ok) => counts.accepts[0] += 1,
                (Event::Accept { .. }, Kind::Fail) => counts.accepts[1] += 1,
                (Event::Accept { .. }, Kind::Unknown) => counts.accepts[2] += 1,
                (Event::Told(told), _) => {
                    counts.updates += 1;
                    if told.uuid.is_some() && told.state == TaskState::TaskFinished {
                        finished.insert(&told.task);
                    }
                }
                (Event::Account { .. }, _) => counts.accounts += 1,
                (Event::Unreadable { .. }, _) => counts.unreadable += 1,
                _ => {}
            }
        }
        Self { finished: finished.len(), ..counts }
    }
}

/// Prints it; the last line is the verdict.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn tell(verdict: &Verdict) {
    println!("{}", verdict.summary);
    for anomaly in verdict.anomalies.iter().take(SHOWN_MAX) {
        println!("ANOMALY {:?}: {}: {}", anomaly.promise, anomaly.about, anomaly.seen);
    }
    let hidden = verdict.anomalies.len().saturating_sub(SHOWN_MAX);
    if hidden > 0 {
        println!("and {hidden} more");
    }
    match (verdict.status(), &verdict.worthless) {
        (0, _) => println!("clean"),
        (_, Some(why)) => println!("proves nothing: {why}"),
        (_, None) => println!("{} anomalies", verdict.anomalies.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Promise;

    fn verdict(nemesis: Nemesis, faults: usize, anomalies: Vec<Anomaly>, entries: &[Entry]) -> u8 {
        Verdict::new(nemesis, faults, anomalies, entries, &[]).status()
    }

    #[test]
    fn only_a_run_that_proves_something_is_clean() {
        let told = crate::history::Told {
            task: "t".to_owned(),
            state: TaskState::TaskFinished,
            reason: None,
            uuid: Some("a".to_owned()),
        };
        let account = Event::Account { agent: "S".to_owned(), resource: "cpus", total: 1.0, given: 0.0 };
        let unreadable = Event::Unreadable { agent: "S".to_owned(), resource: "cpus" };
        let entry = |event| Entry { at: std::time::Duration::ZERO, process: 1, kind: Kind::Info, event };
        let done = [entry(Event::Told(told.clone())), entry(account.clone())];
        let blind = [entry(Event::Told(told.clone()))];
        let half_blind = [entry(Event::Told(told)), entry(account), entry(unreadable)];
        let anomaly = Anomaly { promise: Promise::RunsOnce, about: "t".to_owned(), seen: String::new() };
        assert_eq!(verdict(Nemesis::None, 0, vec![], &done), 0);
        assert_eq!(verdict(Nemesis::KillAll, 1, vec![], &done), 0);
        assert_eq!(verdict(Nemesis::KillAll, 0, vec![], &done), 2);
        assert_eq!(verdict(Nemesis::KillAll, 1, vec![], &[]), 2);
        assert_eq!(verdict(Nemesis::KillAll, 1, vec![], &blind), 2);
        assert_eq!(verdict(Nemesis::KillAll, 1, vec![], &half_blind), 2);
        assert_eq!(verdict(Nemesis::KillAll, 1, vec![anomaly.clone()], &done), 1);
        assert_eq!(verdict(Nemesis::KillAll, 0, vec![anomaly], &[]), 1);
        assert_eq!(Verdict::of_harness(anyhow::anyhow!("no port")).status(), 2);
    }
}
