//! Refusals: stored on the agents, found again by their ends.

use std::collections::BTreeSet;

use mesarch_types::{Millis, RefuseFilter, Resources};

use crate::{
    agent::{Agent, Declined},
    allocator::Allocator,
    client::Clients,
    index::{AgentIx, ClientIx},
};

/// Most refusals of one client on one agent; the one that ends soonest gives way.
const FILTERS_PER_PAIR_MAX: usize = 8;

/// A refusal, on its agent.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) client: ClientIx,
    /// The client's life in which it refused.
    pub(crate) life: u32,
    pub(crate) refusal: RefuseFilter,
}

/// All refusals by their ends, with their count.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    ends: BTreeSet<(Millis, AgentIx, ClientIx)>,
    pub(crate) count: usize,
    pub(crate) evicted: u64,
}

impl Filters {
    pub(crate) fn first_end(&self) -> Option<Millis> {
        self.ends.first().map(|(until, ..)| *until)
    }

    /// Adds a refusal to the agent, unless one of the same client says as much and ends no sooner.
    fn insert(&mut self, slot: AgentIx, agent: &mut Agent, new: Filter) {
        self.retain(slot, agent, new.client, |old| {
            old.life == new.life
                && (old.refusal.until > new.refusal.until
                    || !new.refusal.refused.contains(&old.refusal.refused))
        });
        let mine = span(agent, new.client);
        let says_as_much = |old: &Filter| {
            old.refusal.until >= new.refusal.until && old.refusal.refused.contains(&new.refusal.refused)
        };
        if agent.filters[mine.clone()].iter().any(says_as_much) {
            return;
        }
        if mine.len() >= FILTERS_PER_PAIR_MAX {
            let soonest = agent.filters[mine.clone()].iter().map(|old| old.refusal.until).min();
            self.evicted += 1;
            self.retain(slot, agent, new.client, |old| Some(old.refusal.until) != soonest);
        }
        self.ends.insert((new.refusal.until, slot, new.client));
        let end = span(agent, new.client).end;
        agent.filters.insert(end, new);
        self.count += 1;
    }

    /// Keeps only those refusals of `client` that satisfy `keep`.
    fn retain(&mut self, slot: AgentIx, agent: &mut Agent, client: ClientIx, keep: impl Fn(&Filter) -> bool) {
        let mine = span(agent, client);
        let gone = agent.filters[mine.clone()].iter().filter(|filter| !keep(filter));
        let ends: Vec<Millis> = gone.map(|filter| filter.refusal.until).collect();
        if ends.is_empty() {
            return;
        }
        self.count -= ends.len();
        let kept: Vec<Filter> =
            agent.filters[mine.clone()].iter().filter(|filter| keep(filter)).cloned().collect();
        for until in ends {
            // Two refusals of one pair may share an end, and then its entry.
            if !kept.iter().any(|filter| filter.refusal.until == until) {
                self.ends.remove(&(until, slot, client));
            }
        }
        agent.filters.splice(mine, kept);
    }

    /// Forgets every refusal on the agent.
    pub(crate) fn forget_all(&mut self, slot: AgentIx, agent: &mut Agent) {
        self.count -= agent.filters.len();
        for filter in agent.filters.drain(..) {
            self.ends.remove(&(filter.refusal.until, slot, filter.client));
        }
        agent.declined.clear();
        agent.blocked.clear_all();
    }
}

/// Where the refusals of `client` are among those of the agent.
fn span(agent: &Agent, client: ClientIx) -> std::ops::Range<usize> {
    let start = agent.filters.partition_point(|filter| filter.client < client);
    let length = agent.filters[start..].iter().take_while(|filter| filter.client == client).count();
    start..start + length
}

/// Until when a refusal blocks an offer of `chunk` to `client`; none if nothing does.
pub(crate) fn blocked_until(
    agent: &Agent,
    clients: &Clients,
    client: ClientIx,
    chunk: &Resources,
    now: Millis,
) -> Option<Millis> {
    let life = clients.get(client).life;
    let blocking = agent.filters[span(agent, client)]
        .iter()
        .filter(|filter| filter.life == life && filter.refusal.blocks(chunk, now));
    blocking.map(|filter| filter.refusal.until).max()
}

/// Whether `client` declined all of `chunk` since the last tick.
pub(crate) fn just_declined(agent: &Agent, clients: &Clients, client: ClientIx, chunk: &Resources) -> bool {
    let life = clients.get(client).life;
    let mut own = agent.declined.iter().filter(|declined| (declined.client, declined.life) == (client, life));
    own.any(|declined| declined.resources.contains(chunk))
}

impl Agent {
    /// Notes that a client declined; with what it declined before since the last tick.
    pub(crate) fn note_declined(
        &mut self,
        client: ClientIx,
        life: u32,
        resources: &Resources,
        interval: u64,
    ) {
        self.begin_interval(interval);
        match self.declined.iter_mut().find(|declined| (declined.client, declined.life) == (client, life)) {
            Some(declined) => declined.resources += resources,
            None => self.declined.push(Declined { client, life, resources: resources.clone() }),
        }
    }

    /// Notes that a client took what it may have declined before: only what still lies there counts as declined.
    pub(crate) fn note_taken(&mut self, client: ClientIx, resources: &Resources) {
        for declined in self.declined.iter_mut().filter(|declined| declined.client == client) {
            declined.resources = declined.resources.saturating_sub(resources);
            self.blocked.clear(client.0);
        }
        self.declined.retain(|declined| !declined.resources.is_empty());
    }
}

impl Allocator {
    pub(crate) fn add_filter(&mut self, client: ClientIx, slot: AgentIx, refusal: RefuseFilter) {
        // Before something new is learnt about the client; else the next run would forget it.
        self.look_again_for_renewed();
        let life = self.clients.get(client).life;
        let agent = &mut self.agents.slots[slot];
        agent.learn_renewals(&self.clients);
        let free = agent.free(&mut self.kinds, &self.config.min_allocatable).resources;
        if !free.is_empty() && refusal.refused.contains(&free) {
            // Known now and cheap: a new leader that is told of a million refusals need not find out in its first run.
            agent.check_blocked(&free);
            agent.block([client], &free);
        }
        self.filters.insert(slot, agent, Filter { client, life, refusal });
        while self.filters.count > self.config.filters_max {
            let Some((until, agent, client)) = self.filters.ends.first().copied() else {
                return;
            };
            self.filters.evicted += 1;
            self.end_filters(until, agent, client);
        }
    }

    /// Ends what is over by `now` and has its agents looked at again.
    pub(crate) fn end_old_filters(&mut self, now: Millis) {
        while let Some((until, agent, client)) =
            self.filters.ends.first().copied().filter(|(until, ..)| *until <= now)
        {
            self.end_filters(until, agent, client);
        }
    }

    fn end_filters(&mut self, until: Millis, slot: AgentIx, client: ClientIx) {
        let agent = &mut self.agents.slots[slot];
        self.filters.retain(slot, agent, client, |filter| filter.refusal.until != until);
        agent.blocked.clear(client.0);
        if self.agents.idle.has(slot.0) && agent.is_active() && self.clients.wanting.has(client.0) {
            self.agents.dirty.set(slot.0);
        }
    }
}
