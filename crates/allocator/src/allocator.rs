//! The calls: what changed, what to offer, why.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesarch_types::{AgentId, AgentView, FrameworkId, FrameworkView, Millis, RefuseFilter, Resources, Role};

use crate::{
    Config, Plan,
    agent::Agents,
    client::Clients,
    filter::Filters,
    index::{AgentIx, ClientIx},
    inverse::Inverse,
    kinds::{Amount, Kinds},
    pace::Pace,
    quota::Quotas,
    tree::{Standing, Tree},
};

/// For so many ticks a framework-role wants offers, holds nothing and gets nothing before it counts as starving.
pub(crate) const STARVING_TICKS: u64 = 10;

/// The planner's index over agents, frameworks, what is held and what was refused.
///
/// Facts may arrive in any order: what is held may be known before its agent or framework is.
#[derive(Debug)]
pub struct Allocator {
    pub(crate) config: Config,
    pub(crate) kinds: Kinds,
    pub(crate) tree: Tree,
    /// Weights and priorities of roles, there or not.
    pub(crate) standings: BTreeMap<Role, Standing>,
    /// Priorities of frameworks, there or not.
    pub(crate) priorities: BTreeMap<FrameworkId, i32>,
    pub(crate) quotas: Quotas,
    /// The hosts that may be offered; none: all.
    pub(crate) whitelist: Option<BTreeSet<Arc<str>>>,
    pub(crate) agents: Agents,
    pub(crate) clients: Clients,
    pub(crate) filters: Filters,
    pub(crate) inverse: Inverse,
    pub(crate) pace: Pace,
    /// How many plans were made: what policies that draw begin with.
    pub(crate) sequence: u64,
    /// The last tick that was handled.
    pub(crate) round: u64,
    /// Refusals that are over are to be forgotten at the next opportunity.
    interval_ended: bool,
    /// Memory for lists of amounts, empty between two calls.
    pub(crate) scratch: Vec<Amount>,
    /// Gave back what was not held: a sign of a bug in the caller.
    pub(crate) mismatches: u64,
}

/// Why resources come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveBack {
    /// The framework declined them, at this cluster time: they wait for the next tick, and the framework is not offered
    /// them again before it.
    Declined {
        /// Cluster time.
        now: Millis,
    },
    /// A task ended, an offer was rescinded, a framework was lost: they are offered again at once.
    Freed,
}

/// Counts for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Agents known.
    pub agents: usize,
    /// Frameworks known.
    pub frameworks: usize,
    /// Agents that the next plan looks at.
    pub agents_dirty: u32,
    /// Agents that wait for the next tick.
    pub agents_waiting: u32,
    /// Framework-roles that want offers.
    pub clients_wanting: u32,
    /// Framework-roles that want offers, hold nothing and were given nothing for ten ticks. Under strict priority, these
    /// are those that starve.
    pub starving: u32,
    /// Agents of which quota keeps something from somebody.
    pub agents_held_back: u32,
    /// Refusals remembered.
    pub filters: usize,
    /// Refusals forgotten before their end, for lack of room.
    pub filters_evicted: u64,
    /// Times that more came back than was held; always 0 unless the caller has a bug.
    pub mismatches: u64,
}

impl Allocator {
    /// An empty index.
    pub fn new(config: Config) -> Self {
        Self {
            kinds: Kinds::new(config.excluded_names.clone()),
            pace: Pace::new(config.offers_per_second_max),
            config,
            tree: Tree::new(),
            standings: BTreeMap::new(),
            priorities: BTreeMap::new(),
            quotas: Quotas::default(),
            whitelist: None,
            agents: Agents::default(),
            clients: Clients::default(),
            filters: Filters::default(),
            inverse: Inverse::default(),
            sequence: 0,
            round: 0,
            interval_ended: false,
            scratch: Vec::new(),
            mismatches: 0,
        }
    }

    /// Adds an agent or replaces what is known of it. A change (beyond the version) has it looked at again; new
    /// attributes void its refusals.
    pub fn set_agent(&mut self, view: AgentView) {
        self.replace_agent(view);
    }

    /// Removes an agent with everything that is held on it; what is given back there later is ignored.
    pub fn remove_agent(&mut self, id: &AgentId) {
        self.drop_agent(id);
    }

    /// Adds a framework or replaces what is known of it. A role for which it now wants offers, and new capabilities,
    /// have all agents looked at again; being deactivated, leaving a role and the end of a suppression void refusals.
    pub fn set_framework(&mut self, view: FrameworkView) {
        self.replace_framework(view);
    }

    /// Removes a framework: it gets no more offers. What it holds counts until it is given back.
    pub fn remove_framework(&mut self, id: &FrameworkId) {
        self.drop_framework(id);
    }

    /// Books resources that are now offered to or used by a framework in a role on an agent. Not to be called again when
    /// an offer becomes a task.
    pub fn take(&mut self, framework: &FrameworkId, role: &Role, agent: &AgentId, resources: &Resources) {
        let resources = resources.without_allocation();
        if resources.is_empty() {
            return;
        }
        let client = self.client_or_new(framework, role);
        let slot = self.agents.find_or_new(agent);
        self.hold(client, slot, &resources, true);
    }

    /// Books resources as free again. What the framework does not hold there (its agent was removed) is ignored.
    pub fn give_back(
        &mut self,
        framework: &FrameworkId,
        role: &Role,
        agent: &AgentId,
        resources: &Resources,
        why: GiveBack,
    ) {
        let Some((client, slot)) = self.pair(framework, role, agent) else {
            return;
        };
        let given = self.release(client, slot, &resources.without_allocation());
        if given.is_empty() {
            return;
        }
        self.agents.idle.set(slot.0);
        match why {
            GiveBack::Freed => self.agents.dirty.set(slot.0),
            GiveBack::Declined { now } => {
                self.turn(now);
                let life = self.clients.get(client).life;
                let interval = self.agents.interval;
                self.agents.slots[slot].note_declined(client, life, &given, interval);
                self.agents.waiting.set(slot.0);
            }
        }
        self.release_if_idle(client);
        self.forget_if_ghost(slot);
    }

    /// Books that an operation turned some of what a framework holds into something else: it is no new turn, and nothing is
    /// looked at. The agent's new total comes with [`Allocator::set_agent`], before or after.
    pub fn convert(
        &mut self,
        framework: &FrameworkId,
        role: &Role,
        agent: &AgentId,
        from: &Resources,
        to: &Resources,
    ) {
        if let Some((client, slot)) = self.pair(framework, role, agent) {
            let given = self.release(client, slot, &from.without_allocation());
            if !given.is_empty() {
                self.hold(client, slot, &to.without_allocation(), false);
            }
        }
    }

    /// Remembers that a framework refuses resources of an agent. Without effect if the framework is not in that role or
    /// the agent is not known.
    pub fn refuse(&mut self, framework: &FrameworkId, role: &Role, agent: &AgentId, filter: RefuseFilter) {
        if let Some((client, slot)) = self.pair(framework, role, agent) {
            let refused = filter.refused.without_allocation();
            self.add_filter(client, slot, RefuseFilter { refused, ..filter });
        }
    }

    /// Forgets all that a framework refused and declined, in these of its roles (none named: in all), and has all agents
    /// looked at again for it. That it is no longer suppressed comes with [`Allocator::set_framework`].
    pub fn revive(&mut self, framework: &FrameworkId, roles: &[Role]) {
        let Some(slot) = self.clients.framework(framework) else {
            return;
        };
        for client in self.clients.frameworks[slot].clients.clone() {
            if roles.is_empty() || roles.contains(&self.clients.get(client).role) {
                self.clients.begin_life(client);
            }
        }
        self.forget_inverse_refusals(slot);
    }

    /// Has an agent looked at by the next plan: after an item for it was refused or could not be proposed.
    pub fn mark_dirty(&mut self, agent: &AgentId) {
        if let Some(slot) = self.agents.find(agent) {
            self.agents.idle.set(slot.0);
            self.agents.dirty.set(slot.0);
            self.inverse.note_now(slot);
            // What the plan withheld from others for the sake of this item is there again.
            self.quotas.loosened |= !self.quotas.is_empty();
        }
    }

    /// Ends the allocation interval now, as if a tick had come: what waits is due, what was just declined may be offered
    /// again, every agent with something free is looked at.
    pub fn end_interval(&mut self) {
        self.end_waits();
        self.interval_ended = true;
        let Agents { dirty, idle, .. } = &mut self.agents;
        dirty.unite(idle);
    }

    /// A run over these agents only, as if their interval had ended: what is to be looked at elsewhere stays so. For
    /// what-if players; otherwise as [`Allocator::plan`].
    pub fn plan_only(&mut self, agents: &[AgentId], now: Millis, offers_max: usize) -> Vec<Plan> {
        self.turn(now);
        self.look_again_for_renewed();
        self.end_old_filters(now);
        let later = std::mem::take(&mut self.agents.dirty);
        let slots: Vec<AgentIx> = agents.iter().filter_map(|id| self.agents.find(id)).collect();
        for slot in slots {
            self.agents.end_wait(slot);
        }
        let plans = self.run(now, offers_max);
        self.agents.dirty.unite(&later);
        plans
    }

    /// When there is something to plan, at the earliest: now, at a tick, or never.
    pub fn next_wake(&self, now: Millis) -> Option<Millis> {
        self.next_plan_wake(now).into_iter().chain(self.next_inverse_wake(now)).min()
    }

    /// When [`Allocator::plan`] has something to do, at the earliest.
    pub fn next_plan_wake(&self, now: Millis) -> Option<Millis> {
        if !self.agents.dirty.is_empty() || !self.clients.renewed.is_empty() {
            return Some(self.pace.ready(now));
        }
        let next_tick = self.config.tick(self.round.saturating_add(1));
        let loosened = self.quotas.loosened && !self.agents.held_back.is_empty();
        let waits = !self.agents.waiting.is_empty() || loosened;
        let ends = self.filters.first_end().into_iter();
        let ticks = ends.map(|until| self.config.tick_from(until).max(next_tick));
        ticks.chain(waits.then_some(next_tick)).min().map(|wake| wake.max(now))
    }

    /// The offers to propose now, at most `offers_max` and as many as the pace allows. Books nothing: see the crate's
    /// contract. `now` is cluster time.
    pub fn plan(&mut self, now: Millis, offers_max: usize) -> Vec<Plan> {
        self.run(now, offers_max)
    }

    /// Handles the ticks up to `now`.
    pub(crate) fn turn(&mut self, now: Millis) {
        let round = self.config.round(now);
        if round > self.round {
            self.round = round;
            self.end_waits();
            self.interval_ended = true;
        }
        if std::mem::take(&mut self.interval_ended) {
            self.end_old_filters(now);
            self.inverse.turn(now);
        }
    }

    fn end_waits(&mut self) {
        let waiting = std::mem::take(&mut self.agents.waiting);
        self.agents.dirty.unite(&waiting);
        self.agents.interval += 1;
        self.inverse.end_waits();
        if std::mem::take(&mut self.quotas.loosened) {
            let Agents { dirty, held_back, .. } = &mut self.agents;
            dirty.unite(held_back);
        }
    }

    pub(crate) fn pair(
        &self,
        framework: &FrameworkId,
        role: &Role,
        agent: &AgentId,
    ) -> Option<(ClientIx, AgentIx)> {
        Some((self.clients.by_names(framework, role)?, self.agents.find(agent)?))
    }
}
