//! Groups of tasks: taken together or not at all, delivered in one event, and killed as one before that.
//!
//! All records of a group are of one step and so are stored together: an agent that has spoken of one task of it has all.

use mesarch_types::{Reason, TaskState};

use crate::{
    Agent, RunTaskGroup,
    agent::Out,
    task::{Objection, Standing},
};

impl Agent {
    pub(crate) fn run_group(&mut self, out: &mut Out, group: RunTaskGroup) {
        let RunTaskGroup { tasks, size } = group;
        let Some(first) = tasks.first().map(|launch| launch.key.clone()) else { return };
        // An agent without an id was sent nothing that it could run.
        if self.durable.agent.is_none() || self.ending(&first.framework) {
            return;
        }
        let standings: Vec<Standing> = tasks.iter().map(|launch| self.standing(&launch.key)).collect();
        let whole = tasks.len() == size && standings.iter().all(|known| matches!(known, Standing::New));
        let objection = match whole {
            true => self.objection(out, &tasks),
            false => Some(broken()),
        };
        let Some(objection) = objection else {
            return self.admit(out, tasks, Some(first.launch));
        };
        for (launch, standing) in tasks.into_iter().zip(standings) {
            match standing {
                Standing::New => self.object(out, launch, &objection),
                known => self.heard_before(out, launch, &known),
            }
        }
    }
}

/// Some of it was killed, or given up by the masters, before the rest came.
fn broken() -> Objection {
    let message = "Another task of its group was over before the group reached the agent";
    Objection::new(TaskState::Dropped, Reason::TaskKilledDuringLaunch, message)
}
