//! A scheduler is told a task's updates in the order in which the agent stored them: none is skipped, none comes after
//! a later one, and each may come more than once. Nothing of an earlier life comes after something of a later one.

use std::collections::BTreeMap;

use mesarch_agent_core::TaskKey;
use mesarch_types::{FrameworkId, LaunchId, TaskId, TaskState, UpdateUuid};

use super::Violation;

#[derive(Debug, Default)]
pub(crate) struct Updates {
    /// How many updates of each life have been stored.
    stored: BTreeMap<TaskKey, usize>,
    /// The life that an update is of, and its place there.
    places: BTreeMap<UpdateUuid, (TaskKey, usize)>,
    /// How many of the stored ones have been told.
    told: BTreeMap<TaskKey, usize>,
    /// The newest life of which something was told.
    newest: BTreeMap<(FrameworkId, TaskId), LaunchId>,
}

impl Updates {
    pub(crate) fn stored(&mut self, key: &TaskKey, uuid: UpdateUuid) {
        if !self.places.contains_key(&uuid) {
            let stored = self.stored.entry(key.clone()).or_default();
            self.places.insert(uuid, (key.clone(), *stored));
            *stored += 1;
        }
    }

    pub(crate) fn told(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        uuid: UpdateUuid,
        state: TaskState,
    ) -> Result<(), Violation> {
        let place =
            self.places.get(&uuid).filter(|(key, _)| (&key.framework, &key.task) == (framework, task));
        let Some((key, place)) = place.cloned() else {
            let what = format!("{framework}/{task} {state:?} was told before its agent had stored it");
            return Err(Violation::new("updates are durable first", what));
        };
        let newest = self.newest.entry((framework.clone(), task.clone())).or_insert(key.launch);
        if *newest > key.launch {
            let what = format!("{framework}/{task} {state:?} of {:?} was told after {newest:?}", key.launch);
            return Err(Violation::new("a life that was outlived is silent", what));
        }
        *newest = key.launch;
        let told = self.told.entry(key).or_default();
        // The newest may come again; the one after it may come for the first time.
        if place + 1 != *told && place != *told {
            let what =
                format!("update {place} ({state:?}) of {framework}/{task} was told after {told} others");
            return Err(Violation::new("updates come in order", what));
        }
        *told = (*told).max(place + 1);
        Ok(())
    }
}
