//! No task runs twice: each launch that a scheduler asks for may be started once, by one executor. Schedulers use the ids
//! of ended tasks again, so a life is what they numbered.

use std::collections::BTreeSet;

use mesarch_types::{FrameworkId, TaskId};

use super::Violation;

#[derive(Debug, Default)]
pub(crate) struct Runs {
    started: BTreeSet<(FrameworkId, TaskId, u64)>,
}

impl Runs {
    pub(crate) fn started(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        life: u64,
    ) -> Result<(), Violation> {
        match self.started.insert((framework.clone(), task.clone(), life)) {
            true => Ok(()),
            false => {
                let what = format!("life {life} of {framework}/{task} was started again");
                Err(Violation::new("no task runs twice", what))
            }
        }
    }
}
