//! What attached agents report: into the log, unless the state has it already.

use mesarch_faults::{Fault, on};
use mesarch_state::{
    Command, Effect, LEVEL_PROVIDERS, State,
    command::{
        ExecutorExited, ExecutorKey, Link, ProviderWord, RecordOperations, RecordUpdates, ResourcesStored,
        StatusUpdate, UpdateProviders,
    },
    model::Agent,
};
use mesarch_types::{AgentId, FrameworkId, LaunchId, TaskState};

use crate::{
    batch::Forgotten,
    desk::Purpose,
    leader::Parts,
    message::{FromAgent, ToAgent},
    turn::Turn,
};

/// About the most bytes of statuses in one command; a longer status goes alone.
const UPDATES_BYTES_MAX: usize = 64 * 1024;

impl Parts {
    /// A message of an agent; one on a link that is not attached is ignored.
    pub(crate) fn reported(&mut self, turn: &mut Turn<'_>, link: Link, message: FromAgent) {
        let Some(agent) = self.links.agent_of(link).cloned() else {
            turn.counters.ignored += 1;
            return;
        };
        match message {
            FromAgent::Updates(updates) => self.updates(turn, agent, updates),
            FromAgent::Forgot { acknowledged, frameworks } => {
                self.forgot(turn, &agent, acknowledged, frameworks);
            }
            FromAgent::ResourcesStored(version) => {
                let known = turn.state.agent(&agent).is_some_and(|known| known.stored >= version);
                if !known {
                    turn.surely(Command::ResourcesStored(ResourcesStored { agent, version }));
                }
            }
            FromAgent::Providers { sequence, providers } => {
                let is_news = turn.state.agent(&agent).is_some_and(|known| says_more(known, &providers));
                if is_news && turn.state.level() >= LEVEL_PROVIDERS {
                    let command = UpdateProviders { agent, link, sequence, providers };
                    turn.surely(Command::UpdateProviders(command));
                }
            }
            FromAgent::Operations(updates) => {
                if turn.state.level() >= LEVEL_PROVIDERS {
                    turn.surely(Command::RecordOperations(RecordOperations { agent, updates }));
                }
            }
            FromAgent::ExecutorExited { framework, executor, newest, status } => {
                let executor = ExecutorKey { framework, agent, executor };
                let purpose = Purpose::Exit(executor.clone(), newest);
                let command = ExecutorExited { executor, newest: Some(newest), status };
                turn.desk.propose(purpose, Command::ExecutorExited(command));
            }
        }
    }

    /// Puts updates into the log, except those that the state has already.
    fn updates(&mut self, turn: &mut Turn<'_>, agent: AgentId, updates: Vec<StatusUpdate>) {
        let (repeated, updates): (Vec<_>, Vec<_>) = updates
            .into_iter()
            .map(|update| (known(turn.state, &agent, &update), update))
            .partition(|it| it.0.is_some());
        for effect in repeated.into_iter().filter_map(|(effect, _)| effect) {
            turn.counters.updates_repeated += 1;
            self.effect(turn, effect);
        }
        if on(Fault::UpdateAcknowledgedEarly) || on(Fault::DuplicateLaunch) {
            updates.iter().for_each(|(_, update)| self.broken(turn, &agent, update));
        }
        for updates in pieces(updates.into_iter().map(|(_, update)| update)) {
            let agent = agent.clone();
            turn.desk.propose(Purpose::Once, Command::RecordUpdates(RecordUpdates { agent, updates }));
        }
    }

    /// Puts into the log what is still owed to the agent. One that comes back tells again what it forgot lately, for the
    /// last leader may not have heard it; nearly always it has.
    fn forgot(
        &mut self,
        turn: &Turn<'_>,
        agent: &AgentId,
        mut acknowledged: Vec<Forgotten>,
        frameworks: Vec<FrameworkId>,
    ) {
        acknowledged.retain(|(framework, task, launch, uuid)| {
            turn.state.owes_acknowledgement(agent, framework, task, *launch, *uuid)
        });
        if !acknowledged.is_empty() || !frameworks.is_empty() {
            self.batch.forgot(turn.now, agent, acknowledged, frameworks);
        }
    }

    /// Breaks a promise about an update.
    fn broken(&self, turn: &mut Turn<'_>, agent: &AgentId, update: &StatusUpdate) {
        let Some(link) = self.links.attached(agent) else { return };
        let (framework, task, launch) = (update.framework.clone(), update.task.clone(), update.launch);
        // Broken: the agent forgets an update once its framework's acknowledgement is committed.
        if on(Fault::UpdateAcknowledgedEarly) {
            let (framework, task, uuid) = (framework.clone(), task.clone(), update.uuid);
            turn.desk.send(link, ToAgent::Acknowledged { framework, task, launch, uuid });
        }
        // Not broken yet: it may be told again at any time, and the agent breaks its promise then.
        if on(Fault::DuplicateLaunch) && update.latest == TaskState::Running {
            turn.desk.send(link, ToAgent::RunTask { framework, task, launch });
        }
    }

    /// The end of an executor is judged: its agent need not tell it again. If this does not arrive, it does.
    pub(crate) fn exit_noted(&self, turn: &mut Turn<'_>, key: ExecutorKey, newest: LaunchId) {
        let ExecutorKey { framework, agent, executor } = key;
        if let Some(link) = self.links.attached(&agent) {
            turn.desk.send(link, ToAgent::ExecutorExitNoted { framework, executor, newest });
        }
    }
}

/// Whether an agent says of its resource providers what the state does not hold: it repeats itself from time to time.
fn says_more(agent: &Agent, words: &[ProviderWord]) -> bool {
    let is_known = |word: &ProviderWord| {
        agent.providers.get(&word.id).is_some_and(|known| {
            let version = word.state.as_ref().map(|said| said.version);
            known.info == word.info
                && known.connected == word.connected
                && version.is_none_or(|version| known.version == Some(version))
        })
    };
    agent.providers.len() != words.len() || !words.iter().all(is_known)
}

/// Cuts updates, in their order, so that any agent's fit into the log, however much they say.
fn pieces(updates: impl Iterator<Item = StatusUpdate>) -> Vec<Vec<StatusUpdate>> {
    let mut pieces: Vec<Vec<StatusUpdate>> = Vec::new();
    let mut bytes = 0;
    for update in updates {
        bytes += update.status.len();
        match pieces.last_mut().filter(|_| bytes <= UPDATES_BYTES_MAX) {
            Some(piece) => piece.push(update),
            None => {
                bytes = update.status.len();
                pieces.push(vec![update]);
            }
        }
    }
    pieces
}

/// What a repeated update leads to, if the state holds all that it says: to its framework again while that has not
/// acknowledged it, and back to the agent once it has.
fn known(state: &State, agent: &AgentId, update: &StatusUpdate) -> Option<Effect> {
    let acknowledged = || Effect::SendAcknowledgement {
        agent: agent.clone(),
        framework: update.framework.clone(),
        task: update.task.clone(),
        launch: update.launch,
        uuid: update.uuid,
    };
    let forgetting = (update.framework.clone(), update.task.clone(), update.launch);
    if state.agent(agent)?.forgetting.get(&forgetting) == Some(&update.uuid) {
        return Some(acknowledged());
    }
    let task = state.task(&update.framework, &update.task)?;
    let is_news = task.state != update.latest && !task.state.is_terminal();
    if task.launch != update.launch || task.agent != *agent || is_news {
        return None;
    }
    if task.pending().is_some_and(|pending| pending.uuid == Some(update.uuid)) {
        let (framework, task) = (update.framework.clone(), update.task.clone());
        return Some(Effect::SendUpdate { framework, task, uuid: update.uuid });
    }
    (task.acknowledged == Some(update.uuid)).then(acknowledged)
}
