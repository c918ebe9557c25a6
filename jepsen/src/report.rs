//! What a run showed, for people and for the exit status.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use mesarch_client::v1::TaskState;

use crate::{
    aftermath::Found,
    bounds::Grown,
    checker::Anomaly,
    history::{Entry, Event, Kind, Op},
    nemesis::Nemesis,
    workload::Manner,
};

/// Anomalies that are shown; the history has them all.
const SHOWN_MAX: usize = 20;

/// Which checkers judged, and what they could not decide.
pub(crate) enum Judged {
    /// Those of tasks and agents.
    Tasks(Manner),
    /// Those of registers.
    Registers { registers: usize, undecided: Vec<String> },
    /// Those of stale reads.
    StaleReads,
}

/// How a run ended.
pub(crate) struct Verdict {
    anomalies: Vec<Anomaly>,
    /// Why it proves nothing, if so.
    worthless: Option<String>,
    summary: String,
    /// For a person to look into.
    kept: Vec<PathBuf>,
}

impl Verdict {
    /// From a finished run.
    pub(crate) fn new(
        nemesis: Nemesis,
        faults: usize,
        anomalies: Vec<Anomaly>,
        entries: &[Entry],
        judged: &Judged,
        (found, grown): (&Found, &Grown),
        kept: Vec<PathBuf>,
    ) -> Self {
        let counts = Counts::of(entries);
        let worthless = match faults {
            0 if nemesis != Nemesis::None => Some("the fault did not take place".to_owned()),
            _ => counts.want(judged),
        };
        let summary = format!(
            "faults {faults}; served within {} ms of each; {}; terms {}; entries that all masters hold {}, states equal and sound \
             after {} of them; at most {} MB of memory and {} MB on disk",
            counts.serves.as_millis(),
            counts.tell(judged),
            found.reigns.len(),
            found.entries,
            found.places,
            grown.memory_mb(),
            grown.disk_mb()
        );
        Self { anomalies, worthless, summary, kept }
    }

    /// The harness itself failed.
    pub(crate) fn of_harness(error: anyhow::Error) -> Self {
        let worthless = Some(format!("the harness failed: {error:#}"));
        Self { anomalies: Vec::new(), worthless, summary: String::new(), kept: Vec::new() }
    }

    pub(crate) fn anomalies(&self) -> &[Anomaly] {
        &self.anomalies
    }

    /// Counts, and the verdict.
    pub(crate) fn lines(&self) -> Vec<String> {
        vec![self.summary.clone(), self.word()]
    }

    fn word(&self) -> String {
        match (self.status(), &self.worthless) {
            (0, _) => "clean".to_owned(),
            (2, Some(why)) => format!("proves nothing: {why}"),
            _ => format!("{} anomalies", self.anomalies.len()),
        }
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
    /// Answers to reconciliation.
    answers: usize,
    /// Schedulers that were taken over.
    successors: usize,
    accounts: usize,
    unreadable: usize,
    /// Operations on registers that were read, and that were changed, each ok, fail, unknown.
    reads: [usize; 3],
    changes: [usize; 3],
    /// Stale reads that were answered, and those that were not.
    stale: [usize; 2],
    /// The longest that the cluster took to serve after the end of a fault.
    serves: Duration,
}

/// Where an outcome is counted.
fn place(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Ok => Some(0),
        Kind::Fail => Some(1),
        Kind::Unknown => Some(2),
        Kind::Invoke | Kind::Info => None,
    }
}

impl Counts {
    /// What is missing for the run to prove anything.
    fn want(&self, judged: &Judged) -> Option<String> {
        match judged {
            Judged::Tasks(_) if self.finished == 0 => Some("not one task finished".to_owned()),
            Judged::Tasks(_) if self.unreadable > 0 => {
                Some(format!("{} of the agents' accounts lacked something", self.unreadable))
            }
            Judged::Tasks(Manner::Reconcile) if self.answers == 0 => {
                Some("not one task was reconciled".to_owned())
            }
            Judged::Tasks(Manner::FailOver) if self.successors == 0 => {
                Some("not one scheduler was taken over".to_owned())
            }
            Judged::Tasks(_) if self.accounts == 0 => Some("not one account of an agent was seen".to_owned()),
            Judged::Registers { undecided, .. } if !undecided.is_empty() => {
                Some(format!("the search was given up on {}", undecided.join(", ")))
            }
            Judged::Registers { .. } if self.reads[0] == 0 => Some("not one read was answered".to_owned()),
            Judged::StaleReads if self.stale[0] == 0 => {
                Some("not one stale read was answered with its index".to_owned())
            }
            Judged::Registers { .. } | Judged::StaleReads if self.changes[0] == 0 => {
                Some("not one change was done".to_owned())
            }
            Judged::Tasks(_) | Judged::Registers { .. } | Judged::StaleReads => None,
        }
    }

    fn tell(&self, judged: &Judged) -> String {
        let three = |of: [usize; 3]| format!("ok {}, fail {}, unknown {}", of[0], of[1], of[2]);
        match judged {
            Judged::Tasks(_) => format!(
                "ACCEPT {}; tasks finished {}; updates {}; of them reconciled {}; schedulers taken over {}; accounts {}",
                three(self.accepts),
                self.finished,
                self.updates,
                self.answers,
                self.successors,
                self.accounts
            ),
            Judged::Registers { registers, .. } => {
                format!("registers {registers}; reads {}; changes {}", three(self.reads), three(self.changes))
            }
            Judged::StaleReads => format!(
                "changes {}; stale reads answered {}, not answered {}",
                three(self.changes),
                self.stale[0],
                self.stale[1]
            ),
        }
    }

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
                    counts.answers += usize::from(told.is_answer());
                    if told.uuid.is_some() && told.state == TaskState::TaskFinished {
                        finished.insert(&told.task);
                    }
                }
                (Event::Register { op, .. }, kind) => {
                    let of = if matches!(op, Op::Read(_)) { &mut counts.reads } else { &mut counts.changes };
                    if let Some(place) = place(kind) {
                        of[place] += 1;
                    }
                }
                (Event::StaleRead { .. }, Kind::Ok) => counts.stale[0] += 1,
                (Event::StaleRead { .. }, Kind::Fail) => counts.stale[1] += 1,
                (Event::Serves { after }, _) => counts.serves = counts.serves.max(*after),
                (Event::FrameworkEnds, _) => counts.successors += 1,
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
    verdict.kept.iter().for_each(|path| println!("kept: {}", path.display()));
    for anomaly in verdict.anomalies.iter().take(SHOWN_MAX) {
        println!("ANOMALY {:?}: {}: {}", anomaly.promise, anomaly.about, anomaly.seen);
    }
    let hidden = verdict.anomalies.len().saturating_sub(SHOWN_MAX);
    if hidden > 0 {
        println!("and {hidden} more");
    }
    println!("{}", verdict.word());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Promise;

    fn verdict(nemesis: Nemesis, faults: usize, anomalies: Vec<Anomaly>, entries: &[Entry]) -> u8 {
        Verdict::new(
            nemesis,
            faults,
            anomalies,
            entries,
            &Judged::Tasks(Manner::Launch),
            (&Found::default(), &Grown::default()),
            vec![],
        )
        .status()
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
        let of_registers = |undecided: &[&str], entries: &[Entry]| {
            let undecided = undecided.iter().map(|key| (*key).to_owned()).collect();
            let judged = Judged::Registers { registers: 1, undecided };
            Verdict::new(
                Nemesis::None,
                0,
                vec![],
                entries,
                &judged,
                (&Found::default(), &Grown::default()),
                vec![],
            )
            .status()
        };
        let register = |op| Event::Register { key: "w".to_owned(), op, by: String::new() };
        let ok = |op| Entry { kind: Kind::Ok, ..entry(register(op)) };
        let used = [ok(Op::Write(1)), ok(Op::Read(crate::history::Seen::Holds(1)))];
        assert_eq!(of_registers(&[], &used), 0);
        assert_eq!(of_registers(&["w"], &used), 2);
        assert_eq!(of_registers(&[], &used[..1]), 2);
        assert_eq!(of_registers(&[], &used[1..]), 2);
        assert_eq!(Verdict::of_harness(anyhow::anyhow!("no port")).status(), 2);
    }
}
