//! Whether the answers of followers show what the log says up to the index that they name.
//!
//! Each register has one writer, which writes rising numbers, so of two values the later one is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    checker::{Anomaly, Promise},
    history::{Entry, Event, Kind, Op, Shown},
};

/// Everything that is wrong with the stale reads of a history.
pub(crate) fn check(entries: &[Entry]) -> Vec<Anomaly> {
    let mut walk = Walk::default();
    entries.iter().for_each(|entry| walk.take(entry));
    walk.compare();
    walk.found
}

/// What a read that is open must not fall behind.
struct Floor {
    index: u64,
    /// Of its master; another one by its end means that the process ended in between.
    life: u32,
    /// Writes that this master had said were done.
    said: BTreeMap<String, u64>,
}

/// One master, as far as the history has been read.
#[derive(Default)]
struct Master {
    /// The number of its last end; 0 if there was none.
    life: u32,
    index: u64,
    said: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Walk<'a> {
    masters: BTreeMap<&'a str, Master>,
    open: BTreeMap<u32, Floor>,
    /// Writes that are open, by process: how many ends of masters had been seen when they were begun.
    begun: BTreeMap<u32, u32>,
    /// Ends of masters so far.
    ends: u32,
    /// The highest index in any answer so far: the log is settled up to there.
    settled: u64,
    /// A write that began after the log was settled up to this index.
    born: BTreeMap<(&'a str, u64), u64>,
    unknown: BTreeSet<(&'a str, u64)>,
    /// From this index on a register shows at least that.
    owed: BTreeSet<(u64, String, u64)>,
    /// What was shown at each index.
    shown: BTreeMap<u64, &'a BTreeMap<String, u64>>,
    found: Vec<Anomaly>,
}

impl<'a> Walk<'a> {
    fn take(&mut self, entry: &'a Entry) {
        match (&entry.event, entry.kind) {
            (Event::Ends { node }, _) => {
                let master = self.masters.entry(node).or_default();
                self.ends += 1;
                *master = Master { life: self.ends, ..Master::default() };
            }
            (Event::Register { key, op: Op::Write(value), .. }, Kind::Invoke) => {
                self.born.insert((key, *value), self.settled);
                self.unknown.insert((key, *value));
                self.begun.insert(entry.process, self.ends);
            }
            (Event::Register { key, op: Op::Write(value), by }, Kind::Ok) => {
                self.unknown.remove(&(key.as_str(), *value));
                let begun = self.begun.remove(&entry.process).unwrap_or_default();
                let by = self.masters.entry(by).or_default();
                // What an ended process said binds its log, but not the copy that the next one begins with.
                if by.life <= begun {
                    by.said.insert(key.clone(), *value);
                }
            }
            (Event::StaleRead { master, .. }, Kind::Invoke) => {
                let master = self.masters.entry(master).or_default();
                let floor = Floor { index: master.index, life: master.life, said: master.said.clone() };
                self.open.insert(entry.process, floor);
            }
            (Event::StaleRead { master, shown: Some(shown) }, Kind::Ok) => {
                self.answer(entry.process, master, shown);
            }
            _ => {}
        }
    }

    fn answer(&mut self, process: u32, name: &'a str, shown: &'a Shown) {
        let Some(floor) = self.open.remove(&process) else { return };
        let master = self.masters.entry(name).or_default();
        let same_life = master.life == floor.life;
        if same_life {
            master.index = master.index.max(shown.index);
            self.owed.extend(floor.said.into_iter().map(|(key, value)| (shown.index, key, value)));
        }
        self.settled = self.settled.max(shown.index);
        if same_life && shown.index < floor.index {
            self.find(name, format!("index {} after it had shown {}", shown.index, floor.index));
        }
        match self.shown.insert(shown.index, &shown.values) {
            Some(before) if *before != shown.values => {
                self.find(name, format!("at index {} {:?}, elsewhere {before:?}", shown.index, shown.values));
            }
            _ => {}
        }
    }

    /// What only shows once the whole history is known: answers in the order of the log.
    fn compare(&mut self) {
        let (shown, owed) = (std::mem::take(&mut self.shown), std::mem::take(&mut self.owed));
        let mut owed = owed.into_iter().peekable();
        let mut least: BTreeMap<String, u64> = BTreeMap::new();
        let mut past: BTreeSet<(&str, u64)> = BTreeSet::new();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for (index, values) in shown {
            while let Some((_, key, value)) = owed.next_if(|(from, ..)| *from <= index) {
                let held = least.entry(key).or_default();
                *held = value.max(*held);
            }
            for (key, value) in &least {
                let seen = values.get(key).copied().unwrap_or_default();
                if seen < *value && !self.unknown.contains(&(key.as_str(), seen)) {
                    self.find(key, format!("{seen} at index {index}, but {value} was done before"));
                }
            }
            for (key, value) in values {
                self.compare_one(index, key, *value, &mut past, &mut last);
            }
        }
    }

    fn compare_one(
        &mut self,
        index: u64,
        key: &'a str,
        value: u64,
        past: &mut BTreeSet<(&'a str, u64)>,
        last: &mut BTreeMap<&'a str, u64>,
    ) {
        match self.born.get(&(key, value)) {
            None => self.find(key, format!("{value} at index {index} was never written")),
            Some(born) if index <= *born => {
                let seen = format!("{value} at index {index}, which was settled before it was written");
                self.find(key, seen);
            }
            Some(_) => {}
        }
        let before = last.insert(key, value).filter(|before| *before != value);
        if let Some(before) = before {
            past.insert((key, before));
            if past.contains(&(key, value)) {
                self.find(key, format!("{value} came back at index {index}"));
            } else if value < before && !self.unknown.contains(&(key, value)) {
                self.find(key, format!("{value} at index {index} after {before}"));
            }
        }
    }

    fn find(&mut self, about: &str, seen: String) {
        self.found.push(Anomaly { promise: Promise::StaleAsItSays, about: about.to_owned(), seen });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(process: u32, kind: Kind, event: Event) -> Entry {
        Entry { at: Duration::ZERO, process, kind, event }
    }

    fn write(kind: Kind, value: u64, by: &str) -> Entry {
        let event = Event::Register { key: "w".to_owned(), op: Op::Write(value), by: by.to_owned() };
        entry(1, kind, event)
    }

    /// A whole read, one after the other.
    fn read(master: &str, index: u64, value: u64) -> [Entry; 2] {
        let values = [("w".to_owned(), value)].into_iter().filter(|(_, value)| *value > 0).collect();
        let event = |shown| Event::StaleRead { master: master.to_owned(), shown };
        [entry(2, Kind::Invoke, event(None)), entry(2, Kind::Ok, event(Some(Shown { index, values })))]
    }

    fn done(value: u64, by: &str) -> [Entry; 2] {
        [write(Kind::Invoke, value, by), write(Kind::Ok, value, by)]
    }

    fn open(value: u64) -> [Entry; 2] {
        [write(Kind::Invoke, value, ""), write(Kind::Unknown, value, "")]
    }

    fn ends(master: &str) -> Entry {
        entry(0, Kind::Info, Event::Ends { node: master.to_owned() })
    }

    fn check_all(name: &str, parts: &[[Entry; 2]], expect: bool) {
        let found = check(&parts.concat());
        assert_eq!(found.is_empty(), expect, "{name}: {found:?}");
    }

    #[test]
    fn good_histories_pass() {
        let plain = [read("a", 1, 0), done(1, "a"), read("a", 5, 1), read("b", 3, 0), read("b", 5, 1)];
        check_all("a follower lags and says so", &plain, true);
        let late = [open(1), done(2, "a"), read("a", 5, 2), read("a", 7, 1), done(3, "a"), read("a", 9, 3)];
        check_all("an unknown write comes after a later one", &late, true);
        let mut again = [done(1, "a"), read("a", 5, 1), read("a", 3, 0)].concat();
        again.insert(4, ends("a"));
        assert_eq!(check(&again), [], "a master that was restarted may lag");
        let mut last = [done(1, "a"), read("a", 5, 0)].concat();
        last.insert(1, ends("a"));
        assert_eq!(check(&last), [], "the last word of a master that was killed");
    }

    #[test]
    fn bad_histories_do_not() {
        check_all("an index falls", &[read("a", 5, 0), read("a", 4, 0)], false);
        check_all("one index shows two states", &[done(1, "b"), read("a", 5, 0), read("c", 5, 1)], false);
        check_all("a done write is missing", &[done(1, "a"), read("a", 5, 0)], false);
        let missing = [done(1, "a"), read("a", 5, 1), read("b", 6, 0)];
        check_all("a done write is missing elsewhere, later in the log", &missing, false);
        check_all("newer than the index says", &[read("a", 5, 0), done(1, "a"), read("b", 4, 1)], false);
        check_all("from nowhere", &[read("a", 5, 9)], false);
        let back = [open(1), open(2), read("a", 5, 1), read("a", 6, 2), read("a", 7, 1)];
        check_all("an unknown write happens twice", &back, false);
        let falls = [done(1, "b"), done(2, "b"), read("a", 5, 2), read("a", 6, 1)];
        check_all("a done write is undone", &falls, false);
    }
}
