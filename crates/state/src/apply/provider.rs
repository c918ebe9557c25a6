//! Resource providers: what they have, and the operations that only they can carry out.
//!
//! A provider's own word, numbered by a version that it draws, says what it has; operations change that in the masters'
//! books as they are accepted (or when they end, if only the provider knows what comes of them), until its next word.
//! Such a word names the operations that the provider knew then. So of every operation one of these holds, and exactly
//! one of them has changed the total: the word has it in, the operation is still to end and has it in, or it was dropped.
//!
//! - The word does not name it: the provider never got it and will refuse it, for it goes out under the older version.
//! - The word says that it has ended: what it did is in the word, and its end, when that comes, is only told.
//! - The word says that it has not: it goes on under the new version.

use std::sync::Arc;

use mesarch_types::{AgentId, OperationState, ProviderId, UpdateUuid, resource::Resources};

use crate::{
    change::Change,
    command::{OperationUpdate, ProviderState, ProviderWord, RecordOperations, UpdateProviders},
    effect::Effect,
    machine::{LEVEL_PROVIDERS, State},
    model::{Agent, Heard, OnProvider, Operation, OperationKey, PROVIDERS_MAX, Provider},
    open_work::finished,
    outcome::{Outcome, Refusal},
    sharing::Count,
    step::Step,
};

/// How an operation ended.
struct End {
    state: OperationState,
    message: Arc<str>,
    converted: Resources,
}

impl End {
    fn without_effect(state: OperationState, message: &str) -> Self {
        Self { state, message: message.into(), converted: Resources::default() }
    }
}

impl Step<'_> {
    pub(crate) fn update_providers(&mut self, c: UpdateProviders) -> Result<Outcome, Refusal> {
        if self.state.meta.level < LEVEL_PROVIDERS {
            return Err(Refusal::LevelTooLow);
        }
        let agent = self.state.agents.get(&c.agent).ok_or(Refusal::UnknownAgent)?;
        let heard = Heard { link: c.link, sequence: c.sequence };
        if agent.link != c.link || agent.heard >= heard {
            return Err(Refusal::StaleLink);
        }
        let gone: Vec<ProviderId> = agent.providers.keys().cloned().collect();
        let gone = gone.into_iter().filter(|id| c.providers.iter().all(|word| word.id != *id));
        for id in gone.collect::<Vec<_>>() {
            self.remove_provider(&c.agent, &id);
        }
        for word in c.providers {
            self.take_word(&c.agent, word);
        }
        if let Some(agent) = self.agent_mut(&c.agent) {
            agent.heard = heard;
        }
        Ok(Outcome::Done)
    }

    fn take_word(&mut self, id: &AgentId, word: ProviderWord) {
        let Some(agent) = self.state.agents.get(id) else { return };
        let known = agent.providers.get(&word.id).cloned();
        if known.is_none() && agent.providers.len() >= PROVIDERS_MAX {
            return;
        }
        let news =
            word.state.filter(|said| known.as_ref().is_none_or(|known| known.version != Some(said.version)));
        let mut provider = known.as_deref().cloned().unwrap_or_else(|| Provider {
            id: word.id.clone(),
            info: word.info.clone(),
            total: Resources::default(),
            version: None,
            connected: false,
            doubtful: false,
        });
        (provider.info, provider.connected) = (word.info, word.connected);
        if let Some(said) = &news {
            provider.total =
                said.total.filter(|resource| resource.provider.as_deref() == Some(word.id.as_str()));
            (provider.version, provider.doubtful) = (Some(said.version), false);
        }
        if known.as_deref() != Some(&provider) {
            self.put_provider(id, provider);
        }
        if let Some(said) = news {
            self.settle_operations(id, &word.id, &said);
        }
    }

    /// The agent has this of the provider from here on. Whatever was offered of the agent was so by what it had before.
    fn put_provider(&mut self, id: &AgentId, provider: Provider) {
        self.edit_providers(id, |agent| {
            agent.providers.insert(provider.id.clone(), Arc::new(provider));
        });
    }

    fn remove_provider(&mut self, id: &AgentId, provider: &ProviderId) {
        for key in self.pending_on(id, provider) {
            let why = "Resource provider has been marked gone";
            self.end_operation(&key, End::without_effect(OperationState::GoneByOperator, why));
        }
        self.edit_providers(id, |agent| {
            agent.providers.remove(provider);
        });
    }

    fn edit_providers(&mut self, id: &AgentId, edit: impl FnOnce(&mut Agent)) {
        self.withdraw_offers_of_agent(id);
        self.count_agent(id, Count::Out);
        let version = self.epoch();
        if let Some(agent) = self.agent_mut(id) {
            edit(agent);
            agent.version = version;
        }
        self.draw_up_uncounted_books(id);
        self.change(Change::Agent(id.clone()));
    }

    /// The operations on the provider's resources that have not ended, oldest first.
    fn pending_on(&self, id: &AgentId, provider: &ProviderId) -> Vec<OperationKey> {
        let Some(agent) = self.state.agents.get(id) else { return Vec::new() };
        let mut pending: Vec<&Operation> = agent
            .operations
            .iter()
            .filter_map(|key| self.state.operations.get(key).map(|operation| &**operation))
            .filter(|one| one.on_provider.as_ref().is_some_and(|on| on.provider == *provider))
            .collect();
        pending.sort_by_key(|operation| operation.on_provider.as_ref().map(|on| on.serial));
        pending.into_iter().map(Operation::key).collect()
    }

    /// A new word of a provider: what becomes of the operations that rested on an older one. See the module's text.
    fn settle_operations(&mut self, id: &AgentId, provider: &ProviderId, said: &ProviderState) {
        let mut under_way = Vec::new();
        for key in self.pending_on(id, provider) {
            let Some(operation) = self.state.operations.get(&key) else { continue };
            match said.operations.iter().find(|(uuid, _)| *uuid == operation.uuid) {
                None => {
                    let why = "The resource provider does not know the operation";
                    self.end_operation(&key, End::without_effect(OperationState::Dropped, why));
                }
                Some((_, true)) => {}
                Some((_, false)) => under_way.push(key),
            }
        }
        // One may rest on what another one made that was accepted with it: as long as any fits, others may.
        while let Some(place) = under_way.iter().position(|key| self.goes_on(id, key, said.version)) {
            under_way.remove(place);
        }
    }

    /// The operation changes the provider's new total as it did the old one; false if that does not hold what it needs.
    fn goes_on(&mut self, id: &AgentId, key: &OperationKey, version: UpdateUuid) -> bool {
        let Some(operation) = self.state.operations.get(key).cloned() else { return false };
        let Some(on) = &operation.on_provider else { return false };
        let Some(provider) = self.state.agents.get(id).and_then(|agent| agent.providers.get(&on.provider))
        else {
            return false;
        };
        let Some(total) = replaced(&provider.total, &on.taken, &operation.made) else { return false };
        let provider = Provider { total, ..(**provider).clone() };
        self.put_provider(id, provider);
        if let Some(operation) = self.state.operations.get_mut(key).map(Arc::make_mut) {
            operation.on_provider = Some(Arc::new(OnProvider { version, ..(**on).clone() }));
        }
        true
    }

    pub(crate) fn record_operations(&mut self, c: RecordOperations) -> Result<Outcome, Refusal> {
        if self.state.meta.level < LEVEL_PROVIDERS {
            return Err(Refusal::LevelTooLow);
        }
        self.state.agents.get(&c.agent).ok_or(Refusal::UnknownAgent)?;
        for update in c.updates {
            self.record_operation(&c.agent, update);
        }
        Ok(Outcome::Done)
    }

    /// An end that is known, or that of an operation which nobody waits for, is acknowledged again: the provider repeats it
    /// until it hears that.
    fn record_operation(&mut self, id: &AgentId, update: OperationUpdate) {
        let OperationUpdate { provider, operation, state, status, message, converted } = update;
        if state.is_terminal() {
            let is_named = |key: &&OperationKey| {
                self.state.operations.get(*key).is_some_and(|known| known.uuid == operation)
            };
            let pending = self.pending_on(id, &provider);
            if let Some(key) = pending.iter().find(is_named).cloned() {
                let converted = converted.filter(|one| one.provider.as_deref() == Some(provider.as_str()));
                self.end_operation(&key, End { state, message, converted });
            }
        }
        if let Some(status) = status {
            self.effect(Effect::AcknowledgeOperation { agent: id.clone(), provider, operation, status });
        }
    }

    fn end_operation(&mut self, key: &OperationKey, end: End) {
        let Some(operation) = self.state.operations.get(key).cloned() else { return };
        let Some(on) = operation.on_provider.clone() else { return };
        self.settle_total(&operation, &on, &end);
        if let Some(agent) = self.agent_mut(&operation.agent) {
            agent.operations.remove(key);
        }
        self.emptied.push(operation.agent.clone());
        if !on.told || self.state.frameworks.get(&key.0).is_none() {
            self.state.operations.remove(key);
            return;
        }
        let Some(operation) = self.state.operations.get_mut(key).map(Arc::make_mut) else { return };
        operation.finished = true;
        if end.state != OperationState::Finished {
            operation.made = Resources::default();
        } else if on.is_open {
            operation.made = end.converted;
        }
        let (end, message) = (Some(end.state), end.message);
        operation.on_provider = Some(Arc::new(OnProvider { end, message, ..(*on).clone() }));
        let effect = finished(operation);
        if self.is_connected(&key.0) {
            self.effect(effect);
        }
    }

    /// What the provider has after the end, unless a later word of it says that already.
    fn settle_total(&mut self, operation: &Operation, on: &OnProvider, end: &End) {
        let agent = self.state.agents.get(&operation.agent);
        let Some(provider) = agent.and_then(|agent| agent.providers.get(&on.provider)) else { return };
        if provider.version != Some(on.version) {
            return;
        }
        let is_finished = end.state == OperationState::Finished;
        let total = match (is_finished, on.is_open) {
            (true, false) => return,
            (true, true) => provider.total.checked_add(&end.converted),
            (false, _) => replaced(&provider.total, &operation.made, &on.taken),
        };
        let provider = (**provider).clone();
        self.put_provider(
            &operation.agent,
            match total {
                Some(total) => Provider { total, ..provider },
                None => Provider { doubtful: true, ..provider },
            },
        );
    }

    /// The cluster was restored from an older copy: which operations its providers have carried out since only their next
    /// words say.
    pub(super) fn doubt_providers(&mut self, id: &AgentId) {
        self.edit_providers(id, |agent| {
            for provider in agent.providers.values_mut().map(Arc::make_mut) {
                (provider.version, provider.doubtful) = (None, true);
            }
        });
    }

    /// Whoever asked for it is gone: it goes on, for the provider has it, and nobody is told.
    pub(super) fn orphan_operation(&mut self, key: &OperationKey) {
        if let Some(operation) = self.state.operations.get_mut(key).map(Arc::make_mut)
            && let Some(on) = operation.on_provider.as_deref()
        {
            operation.on_provider = Some(Arc::new(OnProvider { told: false, ..on.clone() }));
        }
    }
}

impl State {
    /// For the next operation on what a provider of the agent brings.
    pub(super) fn next_serial(&self, agent: &Agent) -> u64 {
        let serial = |key| Some(self.operations.get(key)?.on_provider.as_ref()?.serial);
        1 + agent.operations.iter().filter_map(serial).max().unwrap_or(0)
    }
}

/// `made` in place of `taken`.
fn replaced(total: &Resources, taken: &Resources, made: &Resources) -> Option<Resources> {
    total.checked_sub(taken)?.checked_add(made)
}
