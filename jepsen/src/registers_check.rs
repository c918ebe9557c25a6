//! Sorts a history into registers and has each of them judged.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    checker::{Anomaly, Promise},
    history::{Entry, Event, Kind, Op, Seen},
    linear::{self, CONFIGURATIONS_MAX, Judgement, Operation},
};

/// What the judges said of all registers.
pub(crate) struct Found {
    pub(crate) anomalies: Vec<Anomaly>,
    /// Registers on which the search was given up.
    pub(crate) undecided: Vec<String>,
    /// Registers that were judged.
    pub(crate) registers: usize,
}

/// Judges every register. A read may be older than its question by `lease`.
pub(crate) fn check(entries: &[Entry], lease: Duration) -> Found {
    let registers = operations(entries, lease);
    let mut found = Found { anomalies: Vec::new(), undecided: Vec::new(), registers: registers.len() };
    for (key, operations) in registers {
        match linear::judge(&operations, CONFIGURATIONS_MAX) {
            Judgement::Linearizable => {}
            Judgement::Undecided => found.undecided.push(key.to_owned()),
            Judgement::Not(index) => {
                let Operation { op, begun, ended } = operations[index];
                let seen = format!(
                    "nothing explains {op:?}, begun at {begun} ns and done at {} ns",
                    ended.unwrap_or_default()
                );
                let (promise, about) = (Promise::Linearizable, key.to_owned());
                found.anomalies.push(Anomaly { promise, about, seen });
            }
        }
    }
    found
}

/// The operations on each register: those that failed, and reads that nobody heard of, say nothing.
fn operations(entries: &[Entry], lease: Duration) -> BTreeMap<&str, Vec<Operation>> {
    let mut open: BTreeMap<u32, (&str, Operation)> = BTreeMap::new();
    let mut registers: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for entry in entries {
        let Event::Register { key, op, .. } = &entry.event else { continue };
        let ended = match entry.kind {
            Kind::Invoke => {
                let back = if matches!(op, Op::Read(_)) { lease } else { Duration::ZERO };
                let begun = entry.at.saturating_sub(back).as_nanos();
                open.insert(entry.process, (key, Operation { op: *op, begun, ended: None }));
                continue;
            }
            Kind::Ok => Some(entry.at.as_nanos()),
            Kind::Unknown | Kind::Info => None,
            Kind::Fail => {
                open.remove(&entry.process);
                continue;
            }
        };
        if let Some((key, begun)) = open.remove(&entry.process) {
            registers.entry(key).or_default().push(Operation { op: *op, ended, ..begun });
        }
    }
    // Whatever is open at the end has no outcome either.
    for (key, operation) in open.into_values() {
        registers.entry(key).or_default().push(operation);
    }
    for operations in registers.values_mut() {
        operations.retain(|operation| operation.op != Op::Read(Seen::Unread));
    }
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: u64, process: u32, kind: Kind, op: Op) -> Entry {
        let event = Event::Register { key: "w".to_owned(), op, by: String::new() };
        Entry { at: Duration::from_millis(at), process, kind, event }
    }

    fn whole(at: u64, op: Op, kind: Kind) -> [Entry; 2] {
        let asked = if matches!(op, Op::Read(_)) { Op::Read(Seen::Unread) } else { op };
        [entry(at, 1, Kind::Invoke, asked), entry(at + 1, 1, kind, op)]
    }

    #[test]
    fn outcomes_mean_what_the_readme_says() {
        let read = |at, seen| whole(at, Op::Read(seen), Kind::Ok);
        let check_all = |parts: &[[Entry; 2]], lease, anomalies| {
            let found = check(&parts.concat(), Duration::from_millis(lease));
            assert_eq!((found.anomalies.len(), found.registers), (anomalies, 1), "{:?}", found.anomalies);
            assert!(found.undecided.is_empty());
        };
        let write = |at, value, kind| whole(at, Op::Write(value), kind);
        check_all(&[write(0, 1, Kind::Ok), read(2, Seen::Holds(1))], 0, 0);
        check_all(&[write(0, 1, Kind::Ok), read(2, Seen::Absent)], 0, 1);
        check_all(&[write(0, 1, Kind::Unknown), read(2, Seen::Absent), read(4, Seen::Holds(1))], 0, 0);
        check_all(&[write(0, 1, Kind::Fail), read(2, Seen::Absent)], 0, 0);
        check_all(&[write(0, 1, Kind::Fail), read(2, Seen::Holds(1))], 0, 1);
        check_all(&[write(0, 1, Kind::Ok), read(9, Seen::Absent)], 20, 0);
        check_all(&[write(0, 1, Kind::Ok), read(90, Seen::Absent)], 20, 1);
    }
}
