//! Who holds what: the only place that books.

use std::sync::Arc;

use mesarch_types::{Resource, Resources};

use crate::{
    agent::Holder,
    allocator::Allocator,
    index::{AgentIx, ClientIx, NodeIx},
    kinds::Facts,
};

impl Holder {
    /// Takes out as much of `resources` as is there; counts it if that is not all.
    fn give_back(&mut self, resources: &Resources, mismatches: &mut u64) -> Resources {
        let before = std::mem::take(&mut self.held);
        self.held = before.saturating_sub(resources);
        if before.contains(resources) {
            return resources.clone();
        }
        *mismatches += 1;
        before.saturating_sub(&self.held)
    }
}

impl Allocator {
    /// Books `resources` (not empty, not stamped) on the agent to the client: as a turn that it had, unless they only
    /// replace others.
    pub(crate) fn hold(&mut self, client: ClientIx, slot: AgentIx, resources: &Resources, is_turn: bool) {
        // The agent's own copy is kept, not the one that the log brought: many agents share it, and it compares at once.
        let whole = self.agents.slots[slot].whole(resources);
        let (resources, facts) = match &whole {
            Some(whole) => (&whole.resources, Some(whole.facts.clone())),
            None => (resources, None),
        };
        let mut found = std::mem::take(&mut self.scratch);
        if facts.is_none() {
            self.kinds.amounts(resources, &mut found, |resource| !resource.shared);
        }
        let amounts = facts.as_ref().map_or(&found, |facts| &facts.amounts);
        let entry = self.clients.get_mut(client);
        match is_turn {
            true => {
                entry.unserved_since = self.round;
                self.tree.add_held(entry.leaf, amounts);
            }
            false => self.tree.replace_held(entry.leaf, amounts),
        }
        self.quotas.book(&mut self.kinds, entry.quota, resources, 1);
        self.inverse.note_now(slot);
        self.book_shared(client, slot, resources, 1);
        let agent = &mut self.agents.slots[slot];
        match agent.holders.iter_mut().find(|holder| holder.client == client) {
            Some(holder) => {
                holder.held += resources;
                holder.facts = None;
            }
            None => {
                agent.holders.push(Holder { client, held: resources.clone(), facts });
                self.clients.get_mut(client).holds_on += 1;
            }
        }
        agent.held_changed();
        agent.note_taken(client, resources);
        found.clear();
        self.scratch = found;
    }

    /// Takes out of the books what of `resources` the client holds on the agent, and returns it.
    pub(crate) fn release(&mut self, client: ClientIx, slot: AgentIx, resources: &Resources) -> Resources {
        let agent = &mut self.agents.slots[slot];
        let Some(position) = agent.holders.iter().position(|holder| holder.client == client) else {
            self.mismatches += 1;
            return Resources::default();
        };
        let holder = &mut agent.holders[position];
        let known = holder.facts.take();
        let (given, known) = match holder.held == *resources {
            true => (std::mem::take(&mut holder.held), known),
            false => (holder.give_back(resources, &mut self.mismatches), None),
        };
        if holder.held.is_empty() {
            agent.holders.swap_remove(position);
            self.clients.get_mut(client).holds_on -= 1;
        }
        agent.held_changed();
        self.unbook(client, slot, &given, known);
        given
    }

    /// `known` is about `given`; none if it is to be found out.
    fn unbook(&mut self, client: ClientIx, slot: AgentIx, given: &Resources, known: Option<Arc<Facts>>) {
        let leaf = self.clients.get(client).leaf;
        match known {
            Some(known) => self.tree.subtract_held(leaf, &known.amounts),
            None => {
                let amounts = self.kinds.amounts_of(given, |resource| !resource.shared);
                self.book_shared(client, slot, given, -1);
                self.tree.subtract_held(leaf, &amounts);
            }
        }
        let entry = self.clients.get(client);
        self.quotas.book(&mut self.kinds, entry.quota, given, -1);
    }

    /// A shared resource counts once per agent for each framework, role and ancestor that holds copies of it: the first
    /// copy counts and the last one. Called before a copy comes and after one went, so that the others are there.
    fn book_shared(&mut self, client: ClientIx, slot: AgentIx, resources: &Resources, sign: i64) {
        for (resource, _) in resources.iter_counted().filter(|(resource, _)| resource.shared) {
            let Some(amount) = resource.value.as_scalar() else {
                continue;
            };
            let amount = (self.kinds.number(&resource.name), sign * amount.0);
            let line: Vec<NodeIx> = self.tree.line(self.clients.get(client).leaf).collect();
            for node in line {
                if !self.others_share(node, slot, resource) {
                    self.tree.add_at(node, &amount);
                }
            }
        }
    }

    fn others_share(&self, node: NodeIx, slot: AgentIx, resource: &Resource) -> bool {
        let mut holders = self.agents.slots[slot].holders.iter();
        holders.any(|holder| {
            holder.held.iter_counted().any(|(one, _)| one == resource)
                && self.tree.is_within(self.clients.get(holder.client).leaf, node)
        })
    }
}
