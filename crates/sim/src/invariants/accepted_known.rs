//! No accepted task is unknown: from its acceptance on it is in the table, with an unreachable agent, or in the
//! history of its framework, until the framework itself is removed.

use std::collections::BTreeSet;

use mesarch_state::State;
use mesarch_types::{FrameworkId, TaskId};

use super::Violation;

#[derive(Debug, Default)]
pub(crate) struct Accepted {
    tasks: BTreeSet<(FrameworkId, TaskId)>,
}

impl Accepted {
    pub(crate) fn note(&mut self, framework: FrameworkId, task: TaskId) {
        self.tasks.insert((framework, task));
    }

    pub(crate) fn of<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = &'a TaskId> {
        self.tasks.iter().filter(move |(owner, _)| owner == framework).map(|(_, task)| task)
    }

    pub(crate) fn count(&self) -> usize {
        self.tasks.len()
    }

    pub(crate) fn check(&self, state: &State) -> Result<(), Violation> {
        let unknown = |(framework, task): &&(FrameworkId, TaskId)| {
            let Some(owner) = state.framework(framework) else {
                return state.removed_framework(framework).is_none();
            };
            let live = owner.tasks.contains(task) || owner.unreachable.contains_key(task);
            !live && !owner.completed.iter().any(|past| past.spec.id == *task)
        };
        match self.tasks.iter().find(unknown) {
            Some((framework, task)) => {
                Err(Violation::new("no accepted task is unknown", format!("{framework}/{task} is nowhere")))
            }
            None => Ok(()),
        }
    }
}
