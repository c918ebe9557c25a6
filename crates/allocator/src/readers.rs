//! What others may want to know of the books.

use mesarch_types::{AgentId, FrameworkId, Quantities, Resources, Role};

use crate::{
    Share,
    allocator::{Allocator, STARVING_TICKS, Stats},
    index::{ClientIx, NodeIx},
};

impl Allocator {
    /// What is free on an agent; none if it is not known.
    pub fn free(&self, agent: &AgentId) -> Option<Resources> {
        let agent = &self.agents.slots[self.agents.find(agent)?];
        agent.view.as_ref().map(|_| agent.free_resources())
    }

    /// What a framework holds in a role on an agent, offered or in use.
    pub fn held(&self, framework: &FrameworkId, role: &Role, agent: &AgentId) -> Resources {
        let find = || {
            let (client, slot) = self.pair(framework, role, agent)?;
            let mut holders = self.agents.slots[slot].holders.iter();
            holders.find(|holder| holder.client == client).map(|holder| holder.held.clone())
        };
        find().unwrap_or_default()
    }

    /// The dominant share, without weight, of a role with all below it.
    pub fn role_share(&self, role: &Role) -> Share {
        self.tree.role_node(role.as_str()).map_or(Share::NONE, |node| self.share_of(&[node]))
    }

    /// The dominant share, without weight, of a framework over all its roles.
    pub fn framework_share(&self, framework: &FrameworkId) -> Share {
        let Some(slot) = self.clients.framework(framework) else {
            return Share::NONE;
        };
        let clients = &self.clients.frameworks[slot].clients;
        let leaves: Vec<NodeIx> = clients.iter().map(|client| self.clients.get(*client).leaf).collect();
        self.share_of(&leaves)
    }

    /// Whether a framework is in the role or below it, or holds something there.
    pub fn knows_role(&self, role: &Role) -> bool {
        self.tree.role_node(role.as_str()).is_some()
    }

    /// What a role with all below it holds, by kind.
    pub fn role_holds(&self, role: &Role) -> Quantities {
        let node = self.tree.role_node(role.as_str());
        node.map(|node| self.kinds.quantities(&self.tree.node(node).held)).unwrap_or_default()
    }

    /// What a role consumes of its quota, as the limits see it: reserved for it or below, or held of what is unreserved
    /// and not revocable. None if it has no quota.
    pub fn consumed(&self, role: &Role) -> Option<Quantities> {
        self.quotas.consumed(role, &self.kinds)
    }

    fn share_of(&self, nodes: &[NodeIx]) -> Share {
        let mut held: Vec<i64> = Vec::new();
        for node in nodes {
            let more = &self.tree.node(*node).held;
            held.resize(held.len().max(more.len()), 0);
            held.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.wrapping_add(*more));
        }
        self.kinds.usage(&held).dominant_share()
    }

    /// Counts for metrics.
    pub fn stats(&self) -> Stats {
        Stats {
            agents: self.agents.slots.count(),
            frameworks: self.clients.frameworks.count(),
            agents_dirty: self.agents.dirty.count(),
            agents_waiting: self.agents.waiting.count(),
            clients_wanting: self.clients.wanting.count(),
            starving: self.starving(),
            agents_held_back: self.agents.held_back.count(),
            filters: self.filters.count,
            filters_evicted: self.filters.evicted,
            mismatches: self.mismatches,
        }
    }

    fn starving(&self) -> u32 {
        let wanting = self.clients.wanting.ones().map(|number| self.clients.get(ClientIx(number)));
        let starving = wanting.filter(|client| {
            client.holds_on == 0 && self.round.saturating_sub(client.unserved_since) >= STARVING_TICKS
        });
        starving.count() as u32
    }
}
