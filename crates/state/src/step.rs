//! One command being applied: the state under change, and what is said about it.
//!
//! Everything that several command families do to the state is here: books, offers, outboxes, the ends of tasks and
//! executors. Each method leaves indexes and books in agreement and pushes the changes and effects that follow.

use std::sync::Arc;

use mesarch_types::{AgentId, At, Epoch, FrameworkId, OfferId, TaskId, resource::Resources};

use crate::{
    change::{Change, Holding, Released},
    command::{ExecutorKey, OutboxPosition},
    effect::Effect,
    machine::State,
    model::{Agent, Executor, Framework, Holder, Ledger, Offer, OutboxItem, Task, TaskKey, ledger::Side},
    sharing::Count,
};

/// One command being applied.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) at: At,
    pub(crate) changes: Vec<Change>,
    pub(crate) effects: Vec<Effect>,
    /// Agents from which the last task may be gone: see [`Step::settle_drains`].
    pub(crate) emptied: Vec<AgentId>,
}

/// Whether a framework hears of the end of its offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rescind {
    /// By a RESCIND in its outbox.
    Told,
    /// It knows, or there is nobody to tell.
    Silent,
}

impl<'a> Step<'a> {
    pub(crate) fn new(state: &'a mut State, at: At) -> Self {
        Self { state, at, changes: Vec::new(), effects: Vec::new(), emptied: Vec::new() }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.at.epoch()
    }

    pub(crate) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The agent, to be changed.
    pub(crate) fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.state.agents.get_mut(id).map(Arc::make_mut)
    }

    /// The framework, to be changed.
    pub(crate) fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.state.frameworks.get_mut(id).map(Arc::make_mut)
    }

    /// The task, to be changed. Its state, acknowledgement and `reported` go through the methods for that.
    pub(crate) fn task_mut(&mut self, key: &TaskKey) -> Option<&mut Task> {
        self.state.tasks.get_mut(key).map(Arc::make_mut)
    }

    /// The executor, to be changed.
    pub(crate) fn executor_mut(&mut self, key: &ExecutorKey) -> Option<&mut Executor> {
        self.state.executors.get_mut(key).map(Arc::make_mut)
    }

    pub(crate) fn is_attached(&self, agent: &AgentId) -> bool {
        self.state.agents.get(agent).is_some_and(|agent| agent.is_attached())
    }

    pub(crate) fn is_connected(&self, framework: &FrameworkId) -> bool {
        self.state.frameworks.get(framework).is_some_and(|framework| framework.is_connected())
    }

    // Books.

    /// Enters a holding, whose resources carry no mark; `Change::Taken` says so.
    pub(crate) fn take(&mut self, side: Side, agent: &AgentId, holder: &Holder, resources: &Resources) {
        self.enter(side, agent, holder, resources);
        self.taken(agent, holder, resources);
    }

    pub(crate) fn taken(&mut self, agent: &AgentId, holder: &Holder, resources: &Resources) {
        if !resources.is_empty() {
            self.change(Change::Taken(holding(agent, holder, resources)));
        }
    }

    /// Enters a holding without saying so: it only moves from one book to the other.
    pub(crate) fn enter(&mut self, side: Side, agent: &AgentId, holder: &Holder, resources: &Resources) {
        self.enter_with(side, agent, holder, resources, |_| ());
    }

    /// The same, and `change` on the way: an agent is looked up once.
    pub(crate) fn enter_with(
        &mut self,
        side: Side,
        agent: &AgentId,
        holder: &Holder,
        resources: &Resources,
        change: impl FnOnce(&mut Agent),
    ) {
        let Some(known) = self.agent_mut(agent) else {
            return;
        };
        change(known);
        match known.ledger.hold(side, holder.clone(), resources) {
            true => self.count_held(&holder.1, resources, Count::In),
            false => self.draw_up_books(agent),
        }
    }

    /// Takes a holding out; `Change::Released` says so.
    pub(crate) fn release(
        &mut self,
        side: Side,
        agent: &AgentId,
        holder: &Holder,
        resources: &Resources,
        how: Released,
    ) {
        self.strike(side, agent, holder, resources);
        self.released(agent, holder, resources, how);
    }

    /// Takes a holding out without saying so. The entity that held it is already gone or holds nothing any more.
    pub(crate) fn strike(&mut self, side: Side, agent: &AgentId, holder: &Holder, resources: &Resources) {
        self.strike_with(side, agent, holder, resources, |_| ());
    }

    /// The same, and `change` on the way: an agent is looked up once.
    fn strike_with(
        &mut self,
        side: Side,
        agent: &AgentId,
        holder: &Holder,
        resources: &Resources,
        change: impl FnOnce(&mut Agent),
    ) {
        let Some(known) = self.agent_mut(agent) else {
            return;
        };
        change(known);
        match known.ledger.release(side, holder, resources) {
            true => self.count_held(&holder.1, resources, Count::Out),
            false => self.draw_up_books(agent),
        }
    }

    pub(crate) fn released(
        &mut self,
        agent: &AgentId,
        holder: &Holder,
        resources: &Resources,
        how: Released,
    ) {
        if !resources.is_empty() {
            self.change(Change::Released { holding: holding(agent, holder, resources), how });
        }
    }

    /// Draws an agent's books up from all that is held of it.
    pub(crate) fn draw_up_books(&mut self, agent: &AgentId) {
        self.count_agent(agent, Count::Out);
        self.draw_up_uncounted_books(agent);
    }

    /// The same after [`Step::count_agent`] took out what the agent counted for before.
    pub(crate) fn draw_up_uncounted_books(&mut self, agent: &AgentId) {
        let Some(ledger) = self.state.books(agent) else {
            return;
        };
        if let Some(known) = self.agent_mut(agent) {
            known.ledger = ledger;
        }
        self.count_agent(agent, Count::In);
    }

    // Offers.

    /// Ends an offer and its holding. What becomes of the resources is the caller's to say.
    pub(crate) fn remove_offer(&mut self, id: &OfferId) -> Option<Arc<Offer>> {
        let offer = self.state.offers.remove(id)?;
        if let Some(framework) = self.framework_mut(&offer.framework) {
            framework.offers.remove(id);
        }
        let holder = (offer.framework.clone(), offer.role.clone());
        let resources = offer.resources.without_allocation();
        self.strike_with(Side::Offered, &offer.agent, &holder, &resources, |agent| {
            agent.offers.remove(id);
        });
        self.change(Change::OfferRemoved { offer: id.clone(), framework: offer.framework.clone() });
        Some(offer)
    }

    /// Ends an offer and frees its resources at once.
    pub(crate) fn withdraw_offer(&mut self, id: &OfferId, rescind: Rescind) {
        let Some(offer) = self.remove_offer(id) else {
            return;
        };
        let holder = (offer.framework.clone(), offer.role.clone());
        self.released(&offer.agent, &holder, &offer.resources.without_allocation(), Released::Freed);
        if rescind == Rescind::Told {
            self.post(&offer.framework, OutboxItem::Rescind(id.clone()));
        }
    }

    /// Ends all offers of an agent.
    pub(crate) fn withdraw_offers_of_agent(&mut self, agent: &AgentId) {
        let Some(known) = self.state.agents.get(agent) else {
            return;
        };
        for offer in known.offers.clone() {
            self.withdraw_offer(&offer, Rescind::Told);
        }
    }

    /// Ends all offers of a framework; it does not hear of it.
    pub(crate) fn withdraw_offers_of_framework(&mut self, framework: &FrameworkId) {
        self.withdraw_inverse_offers_of_framework(framework);
        let Some(known) = self.state.frameworks.get(framework) else {
            return;
        };
        for offer in known.offers.clone() {
            self.withdraw_offer(&offer, Rescind::Silent);
        }
    }

    // Outboxes.

    /// Puts something in a framework's outbox, to be sent as soon as it has a stream.
    pub(crate) fn post(&mut self, framework: &FrameworkId, item: OutboxItem) {
        let Some(known) = self.framework_mut(framework) else {
            return;
        };
        let position = known.post(item);
        if known.is_connected() {
            self.effect(Effect::SendOutbox { framework: framework.clone(), position });
        }
    }

    // Executors.

    /// Ends an executor and frees its resources; its tasks stay.
    pub(crate) fn remove_executor(&mut self, key: &ExecutorKey) -> Option<Arc<Executor>> {
        let executor = self.state.executors.remove(key)?;
        if let Some(agent) = self.agent_mut(&key.agent) {
            agent.executors.remove(&(key.framework.clone(), key.executor.clone()));
        }
        let holder = (key.framework.clone(), executor.role.clone());
        let resources = executor.spec.resources.without_allocation();
        self.release(Side::Used, &key.agent, &holder, &resources, Released::Freed);
        self.change(Change::ExecutorRemoved(key.clone()));
        Some(executor)
    }

    /// Adds an executor; the caller enters what it holds. Tasks of a former run of it that wait for an acknowledgement
    /// count as its own.
    pub(crate) fn add_executor(&mut self, mut executor: Executor) {
        let key = executor.key.clone();
        executor.tasks = self.state.tasks_of_executor(&key);
        if let Some(agent) = self.agent_mut(&key.agent) {
            agent.executors.insert((key.framework.clone(), key.executor.clone()));
        }
        self.state.executors.insert(key.clone(), Arc::new(executor));
        self.change(Change::ExecutorAdded(key));
    }

    pub(crate) fn task_ids_on(&self, agent: &AgentId) -> Vec<TaskKey> {
        self.state.agents.get(agent).map(|agent| agent.tasks.iter().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn task_ids_of(&self, framework: &FrameworkId) -> Vec<TaskId> {
        self.state
            .frameworks
            .get(framework)
            .map(|known| known.tasks.iter().cloned().collect())
            .unwrap_or_default()
    }
}

impl Framework {
    /// Adds to the outbox; when it is full, the oldest of what says least gives way: a RESCIND or FAILURE if there is one,
    /// else an update, which reconciliation repairs.
    pub(crate) fn post(&mut self, item: OutboxItem) -> OutboxPosition {
        if self.outbox.len() >= crate::model::OUTBOX_MAX {
            let oldest = self.outbox_minor.get_min().copied();
            if let Some(victim) = oldest.or_else(|| self.outbox.get_min().map(|(position, _)| *position)) {
                self.outbox.remove(&victim);
                self.outbox_minor.remove(&victim);
                self.outbox_dropped += 1;
            }
        }
        let position = self.outbox_next;
        self.outbox_next = OutboxPosition(position.0 + 1);
        if item.is_minor() {
            self.outbox_minor.insert(position);
        }
        self.outbox.insert(position, Arc::new(item));
        position
    }
}

impl State {
    /// The books of an agent as they follow from its tasks, executors and offers.
    pub(crate) fn books(&self, agent: &AgentId) -> Option<Ledger> {
        let known = self.agents.get(agent)?;
        let executors = known.executors.iter().filter_map(|(framework, executor)| {
            let key = ExecutorKey {
                framework: framework.clone(),
                agent: agent.clone(),
                executor: executor.clone(),
            };
            let executor = self.executors.get(&key)?;
            let holder = (framework.clone(), executor.role.clone());
            Some((Side::Used, holder, executor.spec.resources.without_allocation()))
        });
        let tasks = known.tasks.iter().filter_map(|key| {
            let task = self.tasks.get(key).filter(|task| !task.state.is_terminal())?;
            let holder = (task.framework.clone(), task.role.clone());
            Some((Side::Used, holder, task.spec.resources.without_allocation()))
        });
        let offers = known.offers.iter().filter_map(|id| {
            let offer = self.offers.get(id)?;
            let holder = (offer.framework.clone(), offer.role.clone());
            Some((Side::Offered, holder, offer.resources.without_allocation()))
        });
        Some(Ledger::draw_up(&known.total(), executors.chain(tasks).chain(offers)))
    }
}

fn holding(agent: &AgentId, holder: &Holder, resources: &Resources) -> Holding {
    Holding {
        framework: holder.0.clone(),
        role: holder.1.clone(),
        agent: agent.clone(),
        resources: resources.clone(),
    }
}
