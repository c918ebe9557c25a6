//! A scheduler is told a task's updates in the order in which the agent stored them: none is skipped, none comes after
//! a later one, and each may come more than once.

use std::collections::BTreeMap;

use mesarch_types::{FrameworkId, TaskId, TaskState, UpdateUuid};

use super::Violation;

type Key = (FrameworkId, TaskId);

#[derive(Debug, Default)]
pub(crate) struct Updates {
    stored: BTreeMap<Key, Vec<UpdateUuid>>,
    /// How many of the stored ones have been told.
    told: BTreeMap<Key, usize>,
}

impl Updates {
    pub(crate) fn stored(&mut self, framework: &FrameworkId, task: &TaskId, uuid: UpdateUuid) {
        let stored = self.stored.entry((framework.clone(), task.clone())).or_default();
        if !stored.contains(&uuid) {
            stored.push(uuid);
        }
    }

    pub(crate) fn told(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        uuid: UpdateUuid,
        state: TaskState,
    ) -> Result<(), Violation> {
        let key = (framework.clone(), task.clone());
        let place = self.stored.get(&key).and_then(|stored| stored.iter().position(|known| *known == uuid));
        let told = self.told.entry(key).or_default();
        let Some(place) = place else {
            let what = format!("{framework}/{task} {state:?} was told before its agent had stored it");
            return Err(Violation::new("updates are durable first", what));
        };
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
