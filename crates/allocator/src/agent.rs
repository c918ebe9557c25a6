//! Agents: what they have, who holds what of it, and who need not be asked.

use std::sync::Arc;

use mesarch_types::{AgentCapability, AgentId, AgentView, Quantities, Resource, Resources};
use smallvec::SmallVec;

use crate::{
    Config,
    allocator::Allocator,
    bits::Bits,
    client::Clients,
    draw::salt,
    filter::Filter,
    index::{AgentIx, ClientIx, Index, Slab},
    inverse::Asked,
    kinds::{Amount, Facts, Kinds, Stock},
};

/// What a client holds on an agent.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) client: ClientIx,
    pub(crate) held: Resources,
    /// About `held`, if that is all that the agent has and nothing of it is shared: so that it can go back without being
    /// looked at. None: to be found out.
    pub(crate) facts: Option<Arc<Facts>>,
}

/// What a client declined, in one of its lives.
#[derive(Clone, Debug)]
pub(crate) struct Declined {
    pub(crate) client: ClientIx,
    pub(crate) life: u32,
    pub(crate) resources: Resources,
}

/// What of the view each decision looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    pub(crate) active: bool,
    pub(crate) gpus: bool,
    /// In another region than the masters.
    pub(crate) away: bool,
    pub(crate) multi_role: bool,
    pub(crate) hierarchical_role: bool,
}

/// Small, and without memory of its own for what is usual (one holder, one refusal): a run over many agents waits for
/// memory, not for the processor.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) version: u64,
    pub(crate) traits: Traits,
    /// None: it is not known yet, but something on it is held.
    pub(crate) view: Option<Box<AgentView>>,
    /// The view's total.
    total: Stock,
    pub(crate) holders: SmallVec<[Holder; 1]>,
    /// What is not held, shared resources always; none: to be computed.
    free: Option<Stock>,
    /// Refusals, sorted by client.
    pub(crate) filters: Vec<Filter>,
    /// The interval that the next field is about; in a later one it is void.
    declined_in: u64,
    /// What clients declined in that interval and did not take again, with their life.
    pub(crate) declined: SmallVec<[Declined; 1]>,
    /// Clients for whom there was nothing here when `blocked_for` was free; still true while no more than that is.
    pub(crate) blocked: Bits,
    blocked_for: Resources,
    /// How many renewals of clients the agent knows of.
    renewals_seen: u64,
    pub(crate) seldom: Box<Seldom>,
}

/// What a plan does not look at.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// The total as it counts in the cluster's: a shared resource once.
    total_amounts: Vec<Amount>,
    pub(crate) asked: Asked,
}

/// All agents, and sets of them.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    pub(crate) slots: Slab<AgentIx, Agent>,
    by_id: Index<AgentId, AgentIx>,
    /// By slot. Mixed with the round it gives the agent's place in a run: an order that no event can bend.
    pub(crate) salts: Vec<u64>,
    /// To be looked at by the next plan.
    pub(crate) dirty: Bits,
    /// To be looked at from the next tick on.
    pub(crate) waiting: Bits,
    /// May have something free. What is not in here has nothing.
    pub(crate) idle: Bits,
    /// Have something that quota kept from somebody: to be looked at when there is more room.
    pub(crate) held_back: Bits,
    /// Counts the intervals that ended, at a tick or before.
    pub(crate) interval: u64,
}

impl Agent {
    fn new(id: AgentId) -> Self {
        Self {
            id,
            view: None,
            version: 0,
            traits: Traits::default(),
            total: Stock::default(),
            holders: SmallVec::new(),
            free: None,
            filters: Vec::new(),
            declined_in: 0,
            declined: SmallVec::new(),
            blocked: Bits::default(),
            blocked_for: Resources::default(),
            renewals_seen: 0,
            seldom: Box::default(),
        }
    }

    /// Reads something of each part of it.
    fn touch(&self) -> usize {
        let id = self.id.as_str().as_bytes().first().copied().map_or(0, usize::from);
        let lists = self.holders.len() ^ self.declined.len() ^ self.filters.len();
        id ^ lists ^ self.version as usize ^ self.renewals_seen as usize ^ self.declined_in as usize
    }

    pub(crate) fn is_active(&self) -> bool {
        self.traits.active
    }

    /// What can be offered: all that is not held, and shared resources in any case.
    pub(crate) fn free(&mut self, kinds: &mut Kinds, least: &[Quantities]) -> Stock {
        let (total, holders) = (&self.total, &self.holders);
        if holders.is_empty() {
            return total.clone();
        }
        let find = || kinds.stock(free_of(&total.resources, holders), least);
        self.free.get_or_insert_with(find).clone()
    }

    /// The same for readers.
    pub(crate) fn free_resources(&self) -> Resources {
        match &self.free {
            Some(free) => free.resources.clone(),
            None => free_of(&self.total.resources, &self.holders),
        }
    }

    /// Clients that are new, revived or changed since may be served again.
    pub(crate) fn learn_renewals(&mut self, clients: &Clients) {
        let seen = std::mem::replace(&mut self.renewals_seen, clients.renewals());
        if seen == self.renewals_seen {
            return;
        }
        match clients.renewals_after(seen) {
            Some(renewed) => renewed.for_each(|client| self.blocked.clear(client.0)),
            None => self.blocked.clear_all(),
        }
    }

    /// What was declined in an earlier interval may be offered again.
    pub(crate) fn begin_interval(&mut self, interval: u64) {
        if self.declined_in != interval {
            self.forget_declined();
            self.declined_in = interval;
        }
    }

    fn forget_declined(&mut self) {
        for declined in self.declined.drain(..) {
            self.blocked.clear(declined.client.0);
        }
    }

    /// All that the agent has, if it is `resources`, nobody holds anything of it, and nothing of it is shared.
    pub(crate) fn whole(&self, resources: &Resources) -> Option<Stock> {
        let is_whole =
            self.holders.is_empty() && !self.total.facts.shares && *resources == self.total.resources;
        is_whole.then(|| self.total.clone())
    }

    pub(crate) fn held_changed(&mut self) {
        self.free = None;
    }

    /// Keeps what is known about blocked clients only if no more is free than when it was learnt.
    pub(crate) fn check_blocked(&mut self, free: &Resources) {
        if !self.blocked_for.ptr_eq(free) && !self.blocked_for.contains(free) {
            self.blocked.clear_all();
        }
    }

    /// Learns that there is nothing for these clients in all that is free.
    pub(crate) fn block(&mut self, clients: impl IntoIterator<Item = ClientIx>, free: &Resources) {
        // With less free than before, what was known stays true, but only for as much as this.
        self.blocked_for = free.clone();
        clients.into_iter().for_each(|client| self.blocked.set(client.0));
    }
}

/// What is held is summed up here and not kept: with every offer of an agent declined, nobody asks for the sums between.
fn free_of(total: &Resources, holders: &[Holder]) -> Resources {
    let held = Resources::sum(holders.iter().map(|holder| &holder.held));
    let is_shared = |resource: &Resource| resource.shared;
    if !held.iter().any(is_shared) {
        return total.saturating_sub(&held);
    }
    total.non_shared().saturating_sub(&held.non_shared()).saturating_add(&total.shared())
}

impl Agents {
    pub(crate) fn find(&self, id: &AgentId) -> Option<AgentIx> {
        self.by_id.get(id)
    }

    pub(crate) fn find_or_new(&mut self, id: &AgentId) -> AgentIx {
        self.by_id.get(id).unwrap_or_else(|| {
            let slot = self.slots.insert(Agent::new(id.clone()));
            self.by_id.insert(id.clone(), slot);
            self.salts.resize(self.salts.len().max(slot.0 as usize + 1), 0);
            self.salts[slot.0 as usize] = salt(id.as_str());
            slot
        })
    }

    /// Has what a plan looks at come from memory for all of these at once.
    pub(crate) fn fetch(&self, slots: &[AgentIx]) {
        let touch = |slot: &AgentIx| self.slots[*slot].touch();
        std::hint::black_box(slots.iter().map(touch).fold(0, usize::wrapping_add));
    }

    /// What was declined on the agent in this interval may be offered again.
    pub(crate) fn end_wait(&mut self, slot: AgentIx) {
        self.slots[slot].forget_declined();
        self.waiting.clear(slot.0);
        self.dirty.set(slot.0);
    }

    fn forget(&mut self, slot: AgentIx) -> Option<Agent> {
        let agent = self.slots.remove(slot)?;
        self.by_id.remove(&agent.id);
        for set in [&mut self.dirty, &mut self.waiting, &mut self.idle, &mut self.held_back] {
            set.clear(slot.0);
        }
        Some(agent)
    }
}

impl Allocator {
    /// Forgets an agent that is not known and on which nothing is held any more.
    pub(crate) fn forget_if_ghost(&mut self, slot: AgentIx) {
        let agent = &mut self.agents.slots[slot];
        if agent.view.is_none() && agent.holders.is_empty() {
            self.filters.forget_all(slot, agent);
            self.agents.forget(slot);
            self.inverse.forget(slot);
        }
    }

    /// Puts a new or changed agent in the place of the old one.
    pub(crate) fn replace_agent(&mut self, view: AgentView) {
        let slot = self.agents.find_or_new(&view.id);
        let agent = &mut self.agents.slots[slot];
        agent.version = view.version;
        agent.traits = traits_of(&view, &self.config);
        let old = agent.view.replace(Box::new(view));
        let (Some(new), old) = (&agent.view, old.as_deref()) else {
            return;
        };
        let same_outage =
            old.map_or(new.unavailability.is_none(), |old| old.unavailability == new.unavailability);
        let same_total = old.is_some_and(|old| old.total == new.total);
        let same_attributes = old.is_none_or(|old| old.attributes == new.attributes);
        if old.is_some_and(|old| only_version_differs(old, new)) {
            return;
        }
        if !same_total {
            self.kinds.subtract_total(&agent.seldom.total_amounts);
            self.quotas.book_total(&mut self.kinds, &agent.total.resources, -1);
            self.quotas.book_total(&mut self.kinds, &new.total, 1);
            let amounts = self.kinds.amounts_of(&new.total, |_| true);
            self.kinds.add_total(&amounts);
            agent.seldom.total_amounts = amounts;
            agent.total = self.kinds.shared_stock(new.total.clone(), &self.config.min_allocatable);
            agent.free = None;
            self.tree.mark_all_stale();
        }
        agent.blocked.clear_all();
        self.agents.idle.set(slot.0);
        self.agents.dirty.put(slot.0, agent.is_active());
        if !same_attributes {
            self.filters.forget_all(slot, agent);
        }
        if !same_outage {
            self.unavailability_changed(slot);
        } else if self.agents.slots[slot].is_active() {
            self.inverse.note_now(slot);
        }
    }

    /// The agent is gone, with all that is held on it.
    pub(crate) fn drop_agent(&mut self, id: &AgentId) {
        let Some(slot) = self.agents.find(id) else { return };
        for holder in self.agents.slots[slot].holders.clone() {
            self.release(holder.client, slot, &holder.held);
            self.release_if_idle(holder.client);
        }
        self.filters.forget_all(slot, &mut self.agents.slots[slot]);
        if let Some(agent) = self.agents.forget(slot) {
            self.kinds.subtract_total(&agent.seldom.total_amounts);
            self.quotas.book_total(&mut self.kinds, &agent.total.resources, -1);
            self.inverse.forget(slot);
            self.tree.mark_all_stale();
        }
    }
}

fn traits_of(view: &AgentView, config: &Config) -> Traits {
    Traits {
        active: view.active,
        gpus: view.total.iter_counted().any(|(resource, _)| &*resource.name == "gpus"),
        // Masters without a region of their own cannot call any agent remote.
        away: config.region.is_some() && view.region.is_some() && view.region != config.region,
        multi_role: view.capabilities.has(AgentCapability::MultiRole),
        hierarchical_role: view.capabilities.has(AgentCapability::HierarchicalRole),
    }
}

fn only_version_differs(old: &AgentView, new: &AgentView) -> bool {
    AgentView { version: new.version, ..old.clone() } == *new
}
