//! The state as bytes, and back.
//!
//! A snapshot is a header and records, each a length, a kind and a body: facts first, then each table in the order of
//! its keys, then a record that counts the others, so that a cut-off file is noticed. Only facts are stored: what
//! follows from them is made anew. Equal states have equal bytes.

mod administration;
mod entities;
mod operations;
mod sharing;
mod values;

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use mesarch_types::{AgentId, FrameworkId, Role, Weight, filter::RefuseFilter};

use crate::{
    filters::FilterKey,
    machine::{FEATURE_LEVEL_MAX, Meta, State},
    model::{Agent, Executor, Framework, Offer, RemovedFramework, Task, UnreachableAgent},
};
use values::{Input, Malformed, Stored};

/// What every snapshot starts with.
const MAGIC: [u8; 8] = *b"mesarch\0";
/// The present form of records. A later one keeps reading this one, and is written from a feature level on only: masters
/// compare the digests of what they would write.
const FORMAT: u8 = 1;
/// Longest record that is read. The longest are an unreachable agent with its tasks, and a framework with its outbox and
/// history: a thousand tasks of a mebibyte each, and its executors'. Memory is taken only for bytes that are there.
const RECORD_BYTES_MAX: u64 = 1 << 36;

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The source failed or ended early.
    #[error("cannot read the snapshot")]
    Read(#[source] io::Error),
    /// It is something else.
    #[error("not a snapshot of a cluster's state")]
    Foreign,
    /// It was written by a later version.
    #[error("snapshot format {0} is unknown to this version")]
    Format(u8),
    /// Its content is not what this version writes.
    #[error("the snapshot's record {record} is malformed")]
    Malformed {
        /// Counted from zero.
        record: u64,
    },
    /// The cluster has gone on to a level that this version does not know.
    #[error(
        "the snapshot's feature level {0} is above {FEATURE_LEVEL_MAX}, the highest that this version knows"
    )]
    Level(u32),
}

/// Kinds of records. The numbers are stored.
mod kind {
    pub(super) const META: u8 = 1;
    pub(super) const AGENT: u8 = 2;
    pub(super) const UNREACHABLE: u8 = 3;
    pub(super) const FRAMEWORK: u8 = 4;
    pub(super) const REMOVED: u8 = 5;
    pub(super) const TASK: u8 = 6;
    pub(super) const EXECUTOR: u8 = 7;
    pub(super) const OFFER: u8 = 8;
    pub(super) const WEIGHT: u8 = 9;
    pub(super) const FILTER: u8 = 10;
    /// An agent that owes its inventory. A record of its own: states of level 1 have none, and keep their bytes.
    pub(super) const OWES_INVENTORY: u8 = 11;
    pub(super) const POLICY: u8 = 40;
    pub(super) const QUOTA: u8 = 41;
    pub(super) const ROLE_PRIORITY: u8 = 42;
    pub(super) const FRAMEWORK_PRIORITY: u8 = 43;
    pub(super) const WHITELIST: u8 = 44;
    pub(super) const OFFER_RULES: u8 = 45;
    pub(super) const CONVERTED: u8 = 46;
    pub(super) const ADMINISTRATION: u8 = 60;
    pub(super) const GONE: u8 = 61;
    pub(super) const WINDOW: u8 = 62;
    pub(super) const MACHINE: u8 = 63;
    pub(super) const INVERSE_OFFER: u8 = 64;
    pub(super) const INVERSE_ANSWER: u8 = 65;
    /// What an agent's resources are at, and what it has stored; of agents of which something was made since level 3.
    pub(super) const RESOURCES: u8 = 80;
    pub(super) const OPERATION: u8 = 81;
    /// Of agents that have told of resource providers, and so from level 4 on only.
    pub(super) const HEARD: u8 = 120;
    pub(super) const PROVIDER: u8 = 121;
    pub(super) const ON_PROVIDER: u8 = 122;
    pub(super) const END: u8 = 255;
}

/// Writes a state, record by record.
pub fn encode(state: &State, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&[FORMAT])?;
    let mut records = Records { out, buffer: Vec::new(), count: 0 };
    let filters = (state.filters.next_serial, state.filters.evicted);
    records.put(kind::META, &(state.meta.clone(), filters))?;
    records.put_all(kind::AGENT, state.agents.values())?;
    records.put_all(kind::UNREACHABLE, state.unreachable.values())?;
    records.put_all(kind::FRAMEWORK, state.frameworks.values())?;
    state
        .removed
        .iter()
        .try_for_each(|(id, removed)| records.put(kind::REMOVED, &(id.clone(), removed.clone())))?;
    records.put_all(kind::TASK, state.tasks.values())?;
    records.put_all(kind::EXECUTOR, state.executors.values())?;
    records.put_all(kind::OFFER, state.offers.values())?;
    state
        .sharing
        .weights
        .iter()
        .try_for_each(|(role, weight)| records.put(kind::WEIGHT, &(role.clone(), *weight)))?;
    let mut filters = state.filters.entries.iter();
    filters.try_for_each(|(key, filter)| records.put(kind::FILTER, &(key.clone(), filter.clone())))?;
    let owing = state.agents.values().filter(|agent| agent.owes_inventory);
    records.put_all(kind::OWES_INVENTORY, owing.map(|agent| &agent.id))?;
    records.put_sharing(state)?;
    records.put_administration(state)?;
    records.put_operations(state)?;
    let count = records.count;
    records.put(kind::END, &count)
}

struct Records<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    count: u64,
}

impl Records<'_> {
    fn put(&mut self, kind: u8, body: &impl Stored) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(kind);
        body.put(&mut self.buffer);
        self.count += 1;
        self.out.write_all(&(self.buffer.len() as u64).to_le_bytes())?;
        self.out.write_all(&self.buffer)
    }

    fn put_all<'e, T: Stored + 'e>(
        &mut self,
        kind: u8,
        entities: impl Iterator<Item = &'e T>,
    ) -> io::Result<()> {
        let mut entities = entities;
        entities.try_for_each(|entity| self.put(kind, entity))
    }
}

/// Reads a state. What follows its end record is left in the source.
pub fn decode(input: &mut dyn Read) -> Result<State, RestoreError> {
    let mut header = [0; MAGIC.len() + 1];
    input.read_exact(&mut header).map_err(RestoreError::Read)?;
    if header[..MAGIC.len()] != MAGIC {
        return Err(RestoreError::Foreign);
    }
    if header[MAGIC.len()] != FORMAT {
        return Err(RestoreError::Format(header[MAGIC.len()]));
    }
    let mut state = State::new();
    for record in 0.. {
        let bytes = read_record(input)?.ok_or(RestoreError::Malformed { record })?;
        if state.restore_record(&bytes, record).map_err(|Malformed| RestoreError::Malformed { record })? {
            break;
        }
    }
    if state.level() > FEATURE_LEVEL_MAX {
        return Err(RestoreError::Level(state.level()));
    }
    state.reindex();
    Ok(state)
}

/// One record's bytes; none if it is longer than any record.
fn read_record(input: &mut dyn Read) -> Result<Option<Vec<u8>>, RestoreError> {
    let mut length = [0; 8];
    input.read_exact(&mut length).map_err(RestoreError::Read)?;
    let length = u64::from_le_bytes(length);
    if length > RECORD_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = input.take(length).read_to_end(&mut bytes).map_err(RestoreError::Read)?;
    if read as u64 == length {
        Ok(Some(bytes))
    } else {
        Err(RestoreError::Read(io::ErrorKind::UnexpectedEof.into()))
    }
}

impl State {
    /// Takes one record over; says whether it was the last.
    fn restore_record(&mut self, bytes: &[u8], record: u64) -> Result<bool, Malformed> {
        let (kind, body) = bytes.split_first().ok_or(Malformed)?;
        let mut input = Input::new(body);
        match *kind {
            kind::META => self.restore_meta(&mut input)?,
            kind::AGENT => {
                let agent = Arc::<Agent>::take(&mut input)?;
                self.agents.insert(agent.id.clone(), agent);
            }
            kind::UNREACHABLE => {
                let away = Arc::<UnreachableAgent>::take(&mut input)?;
                self.unreachable.insert(away.agent.id.clone(), away);
            }
            kind::FRAMEWORK => {
                let framework = Arc::<Framework>::take(&mut input)?;
                self.frameworks.insert(framework.id.clone(), framework);
            }
            kind::REMOVED => {
                let (id, removed) = <(FrameworkId, Arc<RemovedFramework>)>::take(&mut input)?;
                self.removed.insert(id, removed);
            }
            kind::TASK => self.restore_task(Task::take(&mut input)?),
            kind::EXECUTOR => {
                let executor = Arc::<Executor>::take(&mut input)?;
                self.executors.insert(executor.key.clone(), executor);
            }
            kind::OFFER => {
                let offer = Arc::<Offer>::take(&mut input)?;
                self.offers.insert(offer.id.clone(), offer);
            }
            kind::WEIGHT => {
                let (role, weight) = <(Role, Weight)>::take(&mut input)?;
                self.sharing.weights.insert(role, weight);
            }
            kind::FILTER => {
                let (key, filter) = <(FilterKey, RefuseFilter)>::take(&mut input)?;
                self.filters.entries.insert(key, filter);
            }
            kind::OWES_INVENTORY => {
                let agent = self.agents.get_mut(&AgentId::take(&mut input)?).ok_or(Malformed)?;
                Arc::make_mut(agent).owes_inventory = true;
            }
            kind::RESOURCES | kind::OPERATION | kind::HEARD | kind::PROVIDER | kind::ON_PROVIDER => {
                self.restore_operations(*kind, &mut input)?
            }
            kind::END if u64::take(&mut input)? != record => return Err(Malformed),
            kind::END => {}
            other @ kind::ADMINISTRATION..=kind::INVERSE_ANSWER => {
                self.restore_administration(other, &mut input)?;
            }
            other => self.restore_sharing(other, &mut input)?,
        }
        if input.is_empty() { Ok(*kind == kind::END) } else { Err(Malformed) }
    }

    fn restore_meta(&mut self, input: &mut Input<'_>) -> Result<(), Malformed> {
        let (meta, (next_serial, evicted)) = <(Meta, (u64, u64))>::take(input)?;
        self.meta = meta;
        self.filters.next_serial = next_serial;
        self.filters.evicted = evicted;
        Ok(())
    }

    /// Tasks are many: they share the ids of their agents and frameworks again.
    fn restore_task(&mut self, mut task: Task) {
        if let Some((id, _)) = self.frameworks.get_key_value(&task.framework) {
            task.framework = id.clone();
        }
        if let Some((id, _)) = self.agents.get_key_value(&task.agent) {
            task.agent = id.clone();
        }
        self.tasks.insert(task.key(), Arc::new(task));
    }
}

/// The hash of a state's snapshot.
pub(crate) fn digest(state: &State) -> u128 {
    let mut hasher = Hasher(xxhash_rust::xxh3::Xxh3::new());
    encode(state, &mut hasher).expect("a hasher takes every byte");
    hasher.0.digest128()
}

struct Hasher(xxhash_rust::xxh3::Xxh3);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
