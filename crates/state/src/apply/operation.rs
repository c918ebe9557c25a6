//! Frameworks' operations on what they were offered, and agents that store what came of them.
//!
//! An operation takes effect with the ACCEPT that holds it: whatever comes behind it may use what it made. It *ends* when
//! its agent has stored that. The masters' log is the truth about an agent's resources; the agent's copy is numbered by
//! the place in the log, and one that is behind is told. Only after a restore of the cluster from an older copy, or once
//! they have forgotten an agent that was away, can the masters be behind: then what the agent stored is adopted, as the
//! tasks are that it runs. For there was a committed entry that said so, and volumes hold what cannot be made again.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_types::{
    AgentCapability, AgentId, Conversion, FrameworkId, OperationId, OperationState, ProviderId,
    ResourceVersion, UpdateUuid, resource::Resources,
};

use super::accept::Basket;
use crate::{
    change::{Change, Holding},
    command::{self, AcknowledgeOperation, ResourcesStored, StoredResources},
    effect::Effect,
    machine::LEVEL_OPERATIONS,
    model::{
        Agent, Converted, OPERATIONS_MAX, OnProvider, Operation, OperationKey, OperationNews, OutboxItem,
        unnamed,
    },
    open_work::finished,
    outcome::{Outcome, Refusal},
    sharing::Count,
    step::Step,
};

/// What an operation did.
struct Done {
    made: Resources,
    version: ResourceVersion,
    /// Present if it is a provider's to carry out.
    on_provider: Option<OnProvider>,
}

impl Step<'_> {
    /// Carries one operation out on what is left of the offers. One that is refused changes nothing; its framework hears
    /// of it if it wants to.
    pub(super) fn operate(&mut self, basket: &mut Basket, operation: command::Operation) {
        let command::Operation { id, uuid, info, judged, .. } = operation;
        if id.as_ref().is_some_and(|id| self.tell_known_operation(&basket.framework, id)) {
            return;
        }
        let done = judged.and_then(|conversion| self.convert_basket(basket, id.as_ref(), &conversion));
        match (done, id) {
            (Ok(done), id) => self.note_operation(basket, (id, uuid, info), done),
            (Err(why), Some(id)) => self.tell_operation(
                &basket.framework,
                OperationNews { operation: id, agent: None, state: OperationState::Error, message: why },
            ),
            (Err(_), None) => {}
        }
    }

    /// Keeps one of which somebody has still to hear: its framework, or the provider that is to carry it out.
    fn note_operation(
        &mut self,
        basket: &Basket,
        (id, uuid, info): (Option<OperationId>, UpdateUuid, Bytes),
        done: Done,
    ) {
        let Done { made, version, on_provider } = done;
        if id.is_none() && on_provider.is_none() {
            return;
        }
        self.add_operation(Operation {
            framework: basket.framework.clone(),
            id: id.unwrap_or_else(|| unnamed(uuid)),
            agent: basket.agent.clone(),
            uuid,
            info,
            made,
            version,
            finished: false,
            on_provider: on_provider.map(Arc::new),
        });
    }

    /// An operation on offers that are not good: its framework hears of it if it wants to.
    pub(super) fn reject_operation(&mut self, framework: &FrameworkId, id: &OperationId, message: &Arc<str>) {
        if !self.tell_known_operation(framework, id) {
            let (operation, message) = (id.clone(), message.clone());
            let state = OperationState::Error;
            self.tell_operation(framework, OperationNews { operation, agent: None, state, message });
        }
    }

    /// An ACCEPT may come twice: an operation that is known is told as it is, and not carried out again.
    fn tell_known_operation(&mut self, framework: &FrameworkId, id: &OperationId) -> bool {
        let Some(known) = self.state.operation(framework, id) else { return false };
        let news = OperationNews {
            operation: id.clone(),
            agent: Some(known.agent.clone()),
            state: known.state(),
            message: "The operation id is in use by an earlier operation; nothing was done".into(),
        };
        self.tell_operation(framework, news);
        true
    }

    fn tell_operation(&mut self, framework: &FrameworkId, news: OperationNews) {
        self.post(framework, OutboxItem::Operation(news));
    }

    fn convert_basket(
        &mut self,
        basket: &mut Basket,
        id: Option<&OperationId>,
        conversion: &Conversion,
    ) -> Result<Done, Arc<str>> {
        let why = |error: mesarch_types::ConversionError| Arc::from(error.to_string());
        let agent = self.state.agents.get(&basket.agent).ok_or("the agent is gone")?;
        let provider = asked_provider(agent, conversion)?;
        check_able(agent, id.is_some() || provider.is_some(), conversion)?;
        if (id.is_some() || provider.is_some())
            && self.state.operations_of(&basket.framework).count() >= OPERATIONS_MAX
        {
            return Err(format!("{OPERATIONS_MAX} operations are not yet acknowledged").into());
        }
        let (consumed, made) = conversion.sides().map_err(why)?;
        agent.check_left(conversion).map_err(why)?;
        let left = basket.left.apply(conversion).map_err(why)?;
        let total = agent.total().apply(conversion).map_err(why)?;
        let on_provider = provider.map(|(provider, version)| OnProvider {
            provider,
            version,
            serial: self.state.next_serial(agent),
            taken: consumed.clone(),
            is_open: matches!(conversion, Conversion::ChangeDisk(_)),
            told: id.is_some(),
            end: None,
            message: Arc::from(""),
        });
        basket.left = left;
        self.set_total(&basket.agent, &total);
        if on_provider.is_none() {
            self.note_leaving(&basket.agent, conversion);
        }
        let holding = Holding {
            framework: basket.framework.clone(),
            role: basket.role.clone(),
            agent: basket.agent.clone(),
            resources: consumed,
        };
        self.change(Change::Converted { holding, made: made.clone() });
        Ok(Done { made, version: self.resource_version(), on_provider })
    }

    fn add_operation(&mut self, operation: Operation) {
        let (key, agent) = (operation.key(), operation.agent.clone());
        let of_provider = operation.on_provider.is_some();
        self.state.operations.insert(key.clone(), Arc::new(operation));
        if let Some(known) = self.agent_mut(&agent) {
            known.operations.insert(key.clone());
        }
        if of_provider && self.is_attached(&agent) {
            let (framework, operation) = key;
            self.effect(Effect::ApplyOperation { agent, framework, operation });
        }
    }

    // What agents store.

    fn resource_version(&self) -> ResourceVersion {
        ResourceVersion { incarnation: self.state.meta.incarnation, epoch: self.epoch() }
    }

    /// What the agent's resources are made into is new at this place of the log.
    pub(super) fn version_resources_of(&mut self, id: &AgentId) {
        let version = self.resource_version();
        let Some(agent) = self.state.agent_record_mut(id) else { return };
        agent.converted_at = version;
        let effect = Effect::SendResources { agent: id.clone() };
        // One message tells what all operations of a command made.
        if agent.is_attached() && agent.stores_resources() && !self.effects.contains(&effect) {
            self.effect(effect);
        }
    }

    /// The agent may keep what these volumes held until it has stored that they are gone.
    pub(super) fn note_leaving(&mut self, id: &AgentId, conversion: &Conversion) {
        let Conversion::Destroy(volumes) = conversion else { return };
        if let Some(agent) = self.agent_mut(id).filter(|agent| agent.is_owed_resources()) {
            agent.leaving = agent.leaving.saturating_add(volumes);
        }
    }

    /// What was made below the level that has agents store it is told them from now on.
    pub(super) fn version_resources(&mut self) {
        let away = self.state.unreachable_agents().map(|away| &*away.agent);
        let converted = self.state.agents().chain(away).filter(|agent| agent.converted.is_some());
        for id in converted.map(|agent| agent.id.clone()).collect::<Vec<AgentId>>() {
            self.version_resources_of(&id);
        }
    }

    /// An agent that attaches says what it has stored. See the module's text for who is right.
    pub(super) fn settle_resources(
        &mut self,
        id: &AgentId,
        stored: ResourceVersion,
        told: Option<&StoredResources>,
    ) {
        if self.state.meta.level < LEVEL_OPERATIONS {
            return;
        }
        if let Some(told) = told {
            self.adopt_resources(id, told);
        }
        let Some(agent) = self.agent_mut(id) else { return };
        // It may have less than it once said, and what it has of another history than the masters' counts for nothing: in
        // either case it is told again.
        agent.stored = agent.stored.min(stored);
        self.note_stored(id, stored);
    }

    /// Takes over what an agent has stored at a place of the log that these masters have lost.
    fn adopt_resources(&mut self, id: &AgentId, told: &StoredResources) {
        let Some(agent) = self.state.agents.get(id) else { return };
        let sound = told.taken.quantities() == told.made.quantities();
        if told.version <= agent.converted_at || !sound {
            return;
        }
        self.withdraw_offers_of_agent(id);
        self.count_agent(id, Count::Out);
        let version = self.epoch();
        let converted = Converted { taken: told.taken.clone(), made: told.made.clone() };
        if let Some(agent) = self.agent_mut(id) {
            let is_any = !converted.taken.is_empty() || !converted.made.is_empty();
            agent.converted = is_any.then(|| Arc::new(converted));
            agent.converted_at = told.version;
            agent.version = version;
        }
        self.draw_up_uncounted_books(id);
        self.change(Change::Agent(id.clone()));
    }

    pub(crate) fn resources_stored(&mut self, c: &ResourcesStored) -> Result<Outcome, Refusal> {
        if self.state.meta.level < LEVEL_OPERATIONS {
            return Err(Refusal::LevelTooLow);
        }
        self.state.agents.get(&c.agent).ok_or(Refusal::UnknownAgent)?;
        self.note_stored(&c.agent, c.version);
        Ok(Outcome::Done)
    }

    /// The operations up to the version have ended.
    fn note_stored(&mut self, id: &AgentId, version: ResourceVersion) {
        let Some(agent) = self.agent_mut(id) else { return };
        if version <= agent.stored || version > agent.converted_at {
            return;
        }
        agent.stored = version;
        if version == agent.converted_at {
            agent.leaving = Resources::default();
        }
        for key in agent.operations.clone() {
            self.finish_operation(&key, version);
        }
    }

    fn finish_operation(&mut self, key: &OperationKey, stored: ResourceVersion) {
        let operation = self.state.operations.get_mut(key).map(Arc::make_mut);
        let Some(operation) = operation.filter(|one| one.on_provider.is_none() && one.version <= stored)
        else {
            return;
        };
        operation.finished = true;
        let (agent, effect) = (operation.agent.clone(), finished(operation));
        if let Some(agent) = self.agent_mut(&agent) {
            agent.operations.remove(key);
        }
        self.emptied.push(agent);
        if self.is_connected(&key.0) {
            self.effect(effect);
        }
    }

    pub(crate) fn acknowledge_operation(&mut self, c: AcknowledgeOperation) -> Result<Outcome, Refusal> {
        self.state.known_framework(&c.framework)?;
        let key: OperationKey = (c.framework, c.operation);
        match self.state.operations.get(&key) {
            Some(operation) if operation.finished && operation.uuid == c.uuid => {
                self.state.operations.remove(&key);
                Ok(Outcome::Done)
            }
            _ => Err(Refusal::UnknownOperation),
        }
    }

    /// Tells the frameworks what becomes of their pending operations on an agent; they stay.
    pub(crate) fn tell_operations_on(&mut self, agent: &AgentId, state: OperationState, message: &str) {
        let pending = self.state.agents.get(agent).map(|agent| agent.operations.clone());
        let is_told = |key: &OperationKey| self.state.operations.get(key).is_some_and(|one| one.is_told());
        let pending: Vec<OperationKey> = pending.unwrap_or_default().into_iter().filter(is_told).collect();
        for (framework, operation) in pending {
            let news =
                OperationNews { operation, agent: Some(agent.clone()), state, message: message.into() };
            self.tell_operation(&framework, news);
        }
    }

    /// Nobody will ever say that the agent stored them.
    pub(crate) fn forget_operations_on(&mut self, agent: &AgentId) {
        let pending = self.state.agent_record_mut(agent).map(|agent| std::mem::take(&mut agent.operations));
        for key in pending.unwrap_or_default() {
            self.state.operations.remove(&key);
        }
    }

    /// Nobody is left to hear of them; what they made stays.
    pub(crate) fn forget_operations_of(&mut self, framework: &FrameworkId) {
        let own = self.state.operations_of(framework);
        let list =
            |one: &Operation| (one.key(), one.agent.clone(), one.on_provider.is_some() && !one.finished);
        for (key, agent, goes_on) in own.map(list).collect::<Vec<_>>() {
            if goes_on {
                self.orphan_operation(&key);
                continue;
            }
            self.state.operations.remove(&key);
            if let Some(agent) = self.state.agent_record_mut(&agent) {
                agent.operations.remove(&key);
            }
            self.emptied.push(agent);
        }
    }
}

/// The provider that is to carry it out, and its word that this rests on; none if the agent does.
fn asked_provider(
    agent: &Agent,
    conversion: &Conversion,
) -> Result<Option<(ProviderId, UpdateUuid)>, Arc<str>> {
    let asked = match agent.providers.is_empty() {
        true => None,
        false => conversion.provider().map_err(|error| Arc::from(error.to_string()))?,
    };
    let known = asked.as_ref().and_then(|id| agent.providers.get(id)?.version);
    match (asked, known) {
        (Some(id), Some(version)) => Ok(Some((id, version))),
        (None, _) if !matches!(conversion, Conversion::ChangeDisk(_)) => Ok(None),
        _ => Err("the resource provider is not there".into()),
    }
}

/// What the agent's software must be able to do.
fn check_able(agent: &Agent, feedback: bool, conversion: &Conversion) -> Result<(), Arc<str>> {
    let volumes = matches!(conversion, Conversion::Create(_) | Conversion::Destroy(_));
    let resizes = matches!(conversion, Conversion::Grow { .. } | Conversion::Shrink { .. });
    let has = |capability| agent.spec.capabilities.has(capability);
    if (feedback || volumes || resizes) && !has(AgentCapability::AgentOperationFeedback) {
        return Err("the agent does not have AGENT_OPERATION_FEEDBACK".into());
    }
    let changes_disk = matches!(conversion, Conversion::ChangeDisk(_));
    if changes_disk && !has(AgentCapability::ResourceProvider) {
        return Err("the agent does not have RESOURCE_PROVIDER".into());
    }
    if resizes && !has(AgentCapability::ResizeVolume) {
        return Err("the agent does not have RESIZE_VOLUME".into());
    }
    Ok(())
}
