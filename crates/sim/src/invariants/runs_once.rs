//! No task runs twice. Schedulers here never use an id again, so an id may be started once, by one executor.

use std::collections::BTreeSet;

use mesarch_types::{FrameworkId, TaskId};

use super::Violation;

#[derive(Debug, Default)]
pub(crate) struct Runs {
    started: BTreeSet<(FrameworkId, TaskId)>,
}

impl Runs {
    pub(crate) fn started(&mut self, framework: &FrameworkId, task: &TaskId) -> Result<(), Violation> {
        match self.started.insert((framework.clone(), task.clone())) {
            true => Ok(()),
            false => {
                Err(Violation::new("no task runs twice", format!("{framework}/{task} was started again")))
            }
        }
    }
}
