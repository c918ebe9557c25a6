//! Launches that wait for resource providers to make resources usable.
//!
//! What is for an executor keeps its order: while a launch waits, whatever comes for the same executor waits behind it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mesarch_agent_core::{ExecutorKey, Run};
use mesarch_proto::mesos::v1::{Resource, TaskInfo, executor::Event};
use mesarch_types::{ProviderId, UpdateUuid};

/// Most events of one executor that wait behind a launch; with more, it is ended.
const HELD_MAX: usize = 1024;

/// All that waits.
#[derive(Debug, Default)]
pub(crate) struct Publishing {
    held: BTreeMap<ExecutorKey, Held>,
    asked: BTreeMap<UpdateUuid, Asked>,
}

/// What waits for one executor, on its present stream.
#[derive(Debug)]
struct Held {
    run: Run,
    stream: u64,
    /// The first is the launch.
    events: VecDeque<Event>,
    awaits: BTreeSet<UpdateUuid>,
}

/// One request to a provider.
#[derive(Debug)]
struct Asked {
    provider: ProviderId,
    resources: Vec<Resource>,
    executor: ExecutorKey,
}

/// What these tasks use of what providers bring, by provider.
pub(super) fn wanted(tasks: &[TaskInfo]) -> BTreeMap<ProviderId, Vec<Resource>> {
    let mut wanted: BTreeMap<ProviderId, Vec<Resource>> = BTreeMap::new();
    for resource in tasks.iter().flat_map(|task| &task.resources) {
        if let Some(provider) = &resource.provider_id {
            let id = ProviderId::from(provider.value.as_str());
            let unmarked = Resource { allocation_info: None, ..resource.clone() };
            wanted.entry(id).or_default().push(unmarked);
        }
    }
    wanted
}

impl Publishing {
    /// Puts an event behind a launch that waits; gives it back if none does. An error: too many wait.
    pub(super) fn queue(&mut self, run: &Run, stream: u64, event: Event) -> Result<Option<Event>, ()> {
        let key = run.key();
        if self.held.get(&key).is_some_and(|held| held.run != *run || held.stream != stream) {
            // Of a stream that is gone: the executor is told anew what it does not know.
            self.forget(&key);
        }
        match self.held.get_mut(&key) {
            None => Ok(Some(event)),
            Some(held) if held.events.len() < HELD_MAX => {
                held.events.push_back(event);
                Ok(None)
            }
            Some(_) => Err(()),
        }
    }

    /// Holds a launch until all of this is usable. Gives what to ask of whom.
    pub(super) fn hold(
        &mut self,
        run: &Run,
        stream: u64,
        launch: Event,
        wanted: BTreeMap<ProviderId, Vec<Resource>>,
    ) -> Vec<UpdateUuid> {
        let executor = run.key();
        let mut awaits = BTreeSet::new();
        for (provider, resources) in wanted {
            let uuid = UpdateUuid(uuid::Uuid::new_v4().into_bytes());
            self.asked.insert(uuid, Asked { provider, resources, executor: executor.clone() });
            awaits.insert(uuid);
        }
        let all = awaits.iter().copied().collect();
        let held = Held { run: run.clone(), stream, events: VecDeque::from([launch]), awaits };
        self.held.insert(executor, held);
        all
    }

    /// What is asked under this name: of whom, and which resources.
    pub(super) fn asked(&self, uuid: UpdateUuid) -> Option<(&ProviderId, &[Resource])> {
        self.asked.get(&uuid).map(|asked| (&asked.provider, asked.resources.as_slice()))
    }

    /// What a provider has not answered.
    pub(super) fn asked_of(&self, provider: &ProviderId) -> Vec<UpdateUuid> {
        let open = self.asked.iter().filter(|(_, asked)| asked.provider == *provider);
        open.map(|(uuid, _)| *uuid).collect()
    }

    /// The resources are usable. If nothing else is awaited: who is to be told what, on which stream.
    pub(super) fn done(&mut self, uuid: UpdateUuid) -> Option<(Run, u64, VecDeque<Event>)> {
        let executor = self.asked.remove(&uuid)?.executor;
        let held = self.held.get_mut(&executor)?;
        held.awaits.remove(&uuid);
        if !held.awaits.is_empty() {
            return None;
        }
        self.held.remove(&executor).map(|held| (held.run, held.stream, held.events))
    }

    /// They will not be: whose launch comes to nothing.
    pub(super) fn failed(&mut self, uuid: UpdateUuid) -> Option<Run> {
        let executor = self.asked.get(&uuid)?.executor.clone();
        self.forget(&executor)
    }

    fn forget(&mut self, executor: &ExecutorKey) -> Option<Run> {
        self.asked.retain(|_, asked| asked.executor != *executor);
        self.held.remove(executor).map(|held| held.run)
    }
}
