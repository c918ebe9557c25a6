//! An end that an agent reported is final: the state never says anything else of that life of the task again.
//!
//! What the masters concluded themselves (LOST, GONE, DROPPED) may be corrected by the agent.

use std::collections::BTreeMap;

use mesarch_state::Change;
use mesarch_types::{FrameworkId, TaskId, TaskState};

use super::Violation;

#[derive(Debug, Default)]
pub(crate) struct Ends {
    ends: BTreeMap<(FrameworkId, TaskId), TaskState>,
}

impl Ends {
    /// A new life of the task begins.
    pub(crate) fn begin(&mut self, framework: &FrameworkId, task: &TaskId) {
        self.ends.remove(&(framework.clone(), task.clone()));
    }

    pub(crate) fn check(&mut self, changes: &[Change]) -> Result<(), Violation> {
        for change in changes {
            let Change::TaskUpdated { framework, task, state } = change else {
                continue;
            };
            let key = (framework.clone(), task.clone());
            if let Some(end) = self.ends.get(&key).filter(|end| *end != state) {
                let what = format!("{framework}/{task} was {end:?} and is {state:?}");
                return Err(Violation::new("a reported end is final", what));
            }
            if matches!(state, TaskState::Finished | TaskState::Failed | TaskState::Error) {
                self.ends.insert(key, *state);
            }
        }
        Ok(())
    }
}
