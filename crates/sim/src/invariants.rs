//! What must hold, whatever goes wrong: one file each. The first violation ends the run.

mod accepted_known;
mod executors_charged;
mod liveness;
mod replicas_agree;
mod resources_stored;
mod runs_once;
mod state_sound;
mod terminal_final;
mod updates_in_order;

use mesarch_agent_core::Record;
use mesarch_state::{Applied, Command, Outcome, State, outcome::LaunchResult};
use mesarch_types::{FrameworkId, TaskId, TaskState, UpdateUuid};

pub(crate) use executors_charged::check as check_executors;
pub(crate) use liveness::check as check_liveness;
pub(crate) use replicas_agree::check as check_replicas;
pub(crate) use resources_stored::check as check_resources;

/// The tasks that a command launched.
pub(crate) fn launched<'a>(
    command: &'a Command,
    outcome: &'a Outcome,
) -> impl Iterator<Item = (&'a FrameworkId, &'a TaskId)> {
    let accepted = match (command, outcome) {
        (Command::AcceptOffers(accept), Outcome::Accepted(results)) => Some((accept, results)),
        _ => None,
    };
    accepted.into_iter().flat_map(|(accept, results)| {
        let launched = accept.launches.iter().zip(results);
        let launched = launched.filter(|(_, result)| matches!(result, LaunchResult::Launched(_)));
        launched.map(|(launch, _)| (&accept.framework, launch.task_id()))
    })
}

/// Something that must hold did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen instead.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

/// What the watchers remember, and the first thing that was wrong.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) accepted: accepted_known::Accepted,
    runs: runs_once::Runs,
    ends: terminal_final::Ends,
    updates: updates_in_order::Updates,
    pub(crate) violation: Option<Violation>,
}

impl Watch {
    /// A command was applied.
    pub(crate) fn applied(&mut self, state: &State, command: &Command, applied: &Applied) {
        for (framework, task) in launched(command, &applied.outcome) {
            self.accepted.note(framework.clone(), task.clone());
            self.ends.begin(framework, task);
        }
        let sound = state_sound::check(state, command);
        let ends = self.ends.check(&applied.changes);
        self.note(sound.and(ends));
    }

    /// A leader begins: what was accepted before must be known to it.
    pub(crate) fn term_began(&mut self, state: &State) {
        let known = self.accepted.check(state);
        self.note(known);
    }

    /// An executor began to run a task.
    pub(crate) fn started(&mut self, framework: &FrameworkId, task: &TaskId, life: u64) {
        let once = self.runs.started(framework, task, life);
        self.note(once);
    }

    /// An agent stored a fact.
    pub(crate) fn stored(&mut self, record: &Record) {
        if let Record::Update(key, update) = record {
            self.updates.stored(key, update.uuid);
        }
    }

    /// A scheduler was told an update.
    pub(crate) fn updated(
        &mut self,
        framework: &FrameworkId,
        task: &TaskId,
        uuid: UpdateUuid,
        state: TaskState,
    ) {
        let in_order = self.updates.told(framework, task, uuid, state);
        self.note(in_order);
    }

    pub(crate) fn note(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.violation.get_or_insert(violation);
        }
    }
}
