//! Operators that use the weights and quotas of roles as registers, through all masters at once.
//!
//! A value is thousandths of a weight, or of the cores in a limit, and is written once in a run. Conditional writes are
//! what the API has of them: SET_QUOTA refuses a role that has a quota, REMOVE_QUOTA one that has none.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::sleep,
};

use crate::{
    history::{Event, Kind, Op, Recorder, Seen, Shown},
    wire::{self, Answer},
};

/// Operators for each master who read and change.
const OPERATORS_PER_MASTER: usize = 2;
/// Registers that are in use at the same time: every other one is a quota.
const KEYS: usize = 4;
/// A register is left after so many operations: a history that goes on for ever cannot be judged.
const OPERATIONS_MAX: usize = 80;
/// A register is left after so many unknown outcomes, which stay open to its end.
const UNKNOWN_MAX: usize = 5;
/// The longest an operator rests between operations, in ms.
const REST_MAX_MS: u64 = 40;
/// The same of one who only reads: there is one more of them for each master, who go on asking it while all changes wait for
/// a leader that is cut off.
const READER_REST_MAX_MS: u64 = 200;
/// The first value: above a weight of one, which is the same as none.
const VALUE_FIRST: u64 = 1001;

/// The load while it runs.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// What every operator shares.
struct Shared {
    keys: Mutex<Vec<Key>>,
    value: AtomicU64,
    recorder: Recorder,
    begun: Arc<Notify>,
    query: &'static str,
}

struct Key {
    slot: usize,
    life: usize,
    operations: usize,
    unknown: usize,
}

impl Key {
    fn new(slot: usize, life: usize) -> Self {
        Self { slot, life, operations: 0, unknown: 0 }
    }

    fn name(&self) -> String {
        let kind = if self.slot.is_multiple_of(2) { "weight" } else { "quota" };
        format!("{kind}-{}-{}", self.slot, self.life)
    }
}

impl Load {
    /// Operators that read and write registers; `query` says how fresh their reads have to be.
    pub(crate) fn registers(
        masters: &[String],
        seed: u64,
        recorder: &Recorder,
        begun: &Arc<Notify>,
        query: &'static str,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            keys: Mutex::new((0..KEYS).map(|slot| Key::new(slot, 0)).collect()),
            value: AtomicU64::new(VALUE_FIRST),
            recorder: recorder.clone(),
            begun: begun.clone(),
            query,
        });
        let operators = masters.iter().cycle().take(masters.len() * OPERATORS_PER_MASTER);
        let operators =
            operators.map(|master| (master, false)).chain(masters.iter().map(|master| (master, true)));
        let tasks = operators.zip(1_u32..).map(|((master, only_reads), number)| {
            let random = StdRng::seed_from_u64(seed ^ u64::from(number));
            let who = (number, only_reads);
            tokio::spawn(operate(shared.clone(), master.clone(), who, random, stopped.clone()))
        });
        Self { tasks: tasks.collect(), stop }
    }

    /// A writer of one register and a reader of all of them at each master.
    pub(crate) fn stale_reads(masters: &[String], recorder: &Recorder, begun: &Arc<Notify>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        for (master, number) in masters.iter().zip(1_u32..) {
            let of_writer = recorder.of_process(number);
            let of_reader =
                recorder.of_process(number + u32::try_from(masters.len()).unwrap_or(u32::MAX / 2));
            tasks.push(tokio::spawn(write_on(
                master.clone(),
                number,
                of_writer,
                begun.clone(),
                stopped.clone(),
            )));
            tasks.push(tokio::spawn(read_on(master.clone(), of_reader, stopped.clone())));
        }
        Self { stop, tasks }
    }

    /// Ends it once every open operation has its outcome. An error if an operator ended by itself.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await?;
        }
        Ok(())
    }
}

async fn operate(
    shared: Arc<Shared>,
    master: String,
    (number, only_reads): (u32, bool),
    mut random: StdRng,
    stopped: watch::Receiver<bool>,
) {
    let rest_max_ms = if only_reads { READER_REST_MAX_MS } else { REST_MAX_MS };
    let recorder = shared.recorder.of_process(number);
    while !*stopped.borrow() {
        let slot = random.random_range(0..KEYS);
        let key = shared.keys.lock().unwrap_or_else(PoisonError::into_inner)[slot].name();
        let op = match only_reads {
            true => Op::Read(Seen::Unread),
            false => choose(slot, &mut random, &shared.value),
        };
        let event = |op, by: &str| Event::Register { key: key.clone(), op, by: by.to_owned() };
        recorder.record(Kind::Invoke, event(op, ""));
        shared.begun.notify_waiters();
        let query = if matches!(op, Op::Read(_)) { shared.query } else { "" };
        let answer = wire::post(&master, query, &call(slot, &key, op)).await;
        let unknown = matches!(answer, Answer::Unknown);
        match answer {
            Answer::Done(done) => {
                let op = if matches!(op, Op::Read(_)) { Op::Read(seen(slot, &key, &done.value)) } else { op };
                recorder.record(Kind::Ok, event(op, &done.by));
            }
            Answer::Not => recorder.record(Kind::Fail, event(op, "")),
            Answer::Unknown => recorder.record(Kind::Unknown, event(op, "")),
        }
        count(&mut shared.keys.lock().unwrap_or_else(PoisonError::into_inner)[slot], &key, unknown);
        sleep(Duration::from_millis(random.random_range(0..rest_max_ms))).await;
    }
}

/// Counts an operation on the register of this name, and leaves it for a new one after enough of them.
fn count(key: &mut Key, name: &str, unknown: bool) {
    if key.name() != name {
        return;
    }
    key.operations += 1;
    key.unknown += usize::from(unknown);
    if key.operations >= OPERATIONS_MAX || key.unknown >= UNKNOWN_MAX {
        *key = Key::new(key.slot, key.life + 1);
    }
}

fn choose(slot: usize, random: &mut StdRng, value: &AtomicU64) -> Op {
    let next = || value.fetch_add(1, Ordering::Relaxed);
    match (random.random_range(0..10), slot.is_multiple_of(2)) {
        (0..=4, _) => Op::Read(Seen::Unread),
        (5 | 6, _) | (_, true) => Op::Write(next()),
        (7 | 8, false) => Op::Create(next()),
        (_, false) => Op::Remove,
    }
}

/// The call of the operator API.
fn call(slot: usize, key: &str, op: Op) -> Value {
    let amount = |value: u64| value as f64 / 1000.0;
    match (op, slot.is_multiple_of(2)) {
        (Op::Read(_), true) => json!({ "type": "GET_WEIGHTS" }),
        (Op::Read(_), false) => json!({ "type": "GET_QUOTA" }),
        (Op::Write(value), true) => json!({ "type": "UPDATE_WEIGHTS",
            "update_weights": { "weight_infos": [{ "role": key, "weight": amount(value) }] } }),
        (Op::Write(value), false) => json!({ "type": "UPDATE_QUOTA", "update_quota": { "force": true,
            "quota_configs": [{ "role": key, "limits": { "cpus": { "value": amount(value) } } }] } }),
        (Op::Create(value), _) => json!({ "type": "SET_QUOTA", "set_quota": { "quota_request": {
            "force": true, "role": key,
            "guarantee": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": amount(value) } }] } } }),
        (Op::Remove, _) => json!({ "type": "REMOVE_QUOTA", "remove_quota": { "role": key } }),
    }
}

fn seen(slot: usize, key: &str, answer: &Value) -> Seen {
    let held = if slot.is_multiple_of(2) { weights(answer).remove(key) } else { limit(answer, key) };
    held.map_or(Seen::Absent, Seen::Holds)
}

/// Every weight that is set, in thousandths.
fn weights(answer: &Value) -> BTreeMap<String, u64> {
    let infos = answer["get_weights"]["weight_infos"].as_array().into_iter().flatten();
    let one = |info: &Value| Some((info["role"].as_str()?.to_owned(), thousandths(&info["weight"])?));
    infos.filter_map(one).collect()
}

fn limit(answer: &Value, role: &str) -> Option<u64> {
    let configs = answer["get_quota"]["status"]["configs"].as_array()?;
    let config = configs.iter().find(|config| config["role"] == role)?;
    thousandths(&config["limits"]["cpus"]["value"])
}

fn thousandths(amount: &Value) -> Option<u64> {
    Some((amount.as_f64()? * 1000.0).round() as u64)
}

/// Writes rising values to a register of its own, and after each one asks the master that took it.
async fn write_on(
    master: String,
    number: u32,
    recorder: Recorder,
    begun: Arc<Notify>,
    stopped: watch::Receiver<bool>,
) {
    let key = format!("rising-{number}");
    let mut value = VALUE_FIRST;
    while !*stopped.borrow() {
        let event = |by: &str| Event::Register { key: key.clone(), op: Op::Write(value), by: by.to_owned() };
        recorder.record(Kind::Invoke, event(""));
        begun.notify_waiters();
        match wire::post(&master, "", &call(0, &key, Op::Write(value))).await {
            Answer::Done(done) => {
                recorder.record(Kind::Ok, event(&done.by));
                read_stale(&done.by, &recorder).await;
            }
            Answer::Not => recorder.record(Kind::Fail, event("")),
            Answer::Unknown => recorder.record(Kind::Unknown, event("")),
        }
        value += 1;
        sleep(Duration::from_millis(REST_MAX_MS / 2)).await;
    }
}

async fn read_on(master: String, recorder: Recorder, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        read_stale(&master, &recorder).await;
        sleep(Duration::from_millis(REST_MAX_MS / 4)).await;
    }
}

async fn read_stale(master: &str, recorder: &Recorder) {
    let event = |shown| Event::StaleRead { master: master.to_owned(), shown };
    recorder.record(Kind::Invoke, event(None));
    match wire::post(master, "?consistency=stale", &json!({ "type": "GET_WEIGHTS" })).await {
        Answer::Done(wire::Done { value, index: Some(index), .. }) => {
            recorder.record(Kind::Ok, event(Some(Shown { index, values: weights(&value) })));
        }
        // Without its index an answer proves nothing; a run of such reads is not clean.
        Answer::Done(_) | Answer::Not | Answer::Unknown => recorder.record(Kind::Fail, event(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_is_what_the_answer_says() {
        let answer = json!({ "get_weights": { "weight_infos": [{ "role": "a", "weight": 1.234 }] } });
        assert_eq!(seen(0, "a", &answer), Seen::Holds(1234));
        assert_eq!(seen(0, "b", &answer), Seen::Absent);
        let answer = json!({ "get_quota": { "status": { "configs": [
            { "role": "a", "limits": { "cpus": { "value": 2.001 } } }] } } });
        assert_eq!(seen(1, "a", &answer), Seen::Holds(2001));
        assert_eq!(seen(1, "b", &answer), Seen::Absent);
        assert_eq!(seen(1, "b", &Value::Null), Seen::Absent);
    }

    #[test]
    fn a_register_is_left_before_it_cannot_be_judged() {
        let mut key = Key::new(1, 0);
        (0..UNKNOWN_MAX).for_each(|_| count(&mut key, "quota-1-0", true));
        assert_eq!(key.name(), "quota-1-1");
        count(&mut key, "quota-1-0", true);
        assert_eq!(key.unknown, 0, "a late outcome is not the new one's");
        (0..OPERATIONS_MAX).for_each(|_| count(&mut key, "quota-1-1", false));
        assert_eq!(key.name(), "quota-1-2");
    }
}
