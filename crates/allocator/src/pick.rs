//! Who is served next of an agent: the candidates, narrowed down by what is known without looking at each, in order.

use std::{cmp::Reverse, collections::BinaryHeap};

use mesarch_types::{Millis, Resource, Role};

use crate::{
    allocator::Allocator,
    bits::Bits,
    eligible::{Case, Chunk},
    index::{AgentIx, ClientIx, NodeIx, QuotaIx, Slot},
    kinds::{Facts, Stock},
    plan::{Run, Slate},
    quota::Room,
    tree::Turn,
};

/// Up to so many candidates are sorted; among more, the tree is walked from the front.
const SORTED_MAX: u32 = 16;

impl Allocator {
    /// The first client in order of the roles whose guarantees are open, with what it gets for their sake.
    pub(crate) fn pick_guaranteed(&self, slate: &Slate, run: &Run) -> Option<(ClientIx, Chunk)> {
        let turn = self.turn_of(slate.slot, run.draw);
        // Roles with quota are siblings, so their places compare.
        let place = |(quota, node): &(QuotaIx, NodeIx)| (self.tree.place_in(*node, &turn), *node, *quota);
        let is_hungry = |(quota, _): &&(QuotaIx, NodeIx)| self.quotas.is_hungry_for(*quota);
        let hungry = || run.guaranteed.iter().filter(is_hungry).map(place);
        let case = self.case(slate.slot, run.now);
        let blocked = &self.agents.slots[slate.slot].blocked;
        let serve = |node: NodeIx, quota: QuotaIx| {
            self.tree.first(node, &turn, &mut |client: ClientIx| {
                if blocked.has(client.0) {
                    return None;
                }
                Some((client, case.guaranteed_chunk(client, quota, &slate.stock).ok()?))
            })
        };
        let (first, node, quota) = hungry().min()?;
        serve(node, quota).or_else(|| {
            // Rare: the others are sorted only now.
            let mut others: BinaryHeap<_> = hungry().filter(|other| other.0 > first).map(Reverse).collect();
            std::iter::from_fn(|| others.pop()).find_map(|Reverse((_, node, quota))| serve(node, quota))
        })
    }

    /// The roles whose guarantees are open and in which somebody wants offers.
    pub(crate) fn guaranteed_roles(&self) -> Vec<(QuotaIx, NodeIx)> {
        let wanting = |(quota, role): (QuotaIx, &Role)| {
            let node = self.tree.role_node(role.as_str())?;
            (self.tree.wanting(node) > 0).then_some((quota, node))
        };
        self.quotas.hungry().filter_map(wanting).collect()
    }

    /// The first client in order for whom there is something, and what. While the stock is all that is free, for whom
    /// there is nothing now is not asked again until something changes.
    pub(crate) fn pick(&mut self, slate: &Slate, run: &mut Run) -> Option<(ClientIx, Chunk)> {
        let (slot, stock) = (slate.slot, &slate.stock);
        self.find_candidates(slot, &stock.facts, run);
        let count = run.candidates.count_to(SORTED_MAX + 1);
        if count == 0 {
            return None;
        }
        let (case, turn) = (self.case(slot, run.now), self.turn_of(slot, run.draw));
        let (candidates, newly_blocked) = (&run.candidates, &mut run.newly_blocked);
        let mut withheld = false;
        let mut serve = |client: ClientIx| {
            if !candidates.has(client.0) {
                return None;
            }
            match case.chunk(client, stock) {
                Ok(chunk) => return Some((client, chunk)),
                Err(no) if no.withheld => withheld = true,
                Err(_) => newly_blocked.push(client),
            }
            None
        };
        let picked = if count <= SORTED_MAX {
            self.sorted(candidates, &turn).into_iter().find_map(&mut serve)
        } else {
            self.first_of(stock, &turn, &mut serve)
        };
        if withheld {
            self.agents.held_back.set(slot.0);
        }
        if slate.whole && !run.newly_blocked.is_empty() {
            self.agents.slots[slot].block(run.newly_blocked.iter().copied(), &stock.resources);
        }
        run.newly_blocked.clear();
        picked
    }

    /// All that decides about one agent.
    pub(crate) fn case(&self, slot: AgentIx, now: Millis) -> Case<'_> {
        Case {
            config: &self.config,
            clients: &self.clients,
            kinds: &self.kinds,
            quotas: &self.quotas,
            agent: &self.agents.slots[slot],
            now,
        }
    }

    /// All clients that may be served, by what is known without looking at each.
    fn find_candidates(&mut self, slot: AgentIx, facts: &Facts, run: &mut Run) {
        let out = &mut run.candidates;
        out.assign_difference(&self.clients.wanting, &self.agents.slots[slot].blocked);
        if facts.all_revocable {
            out.intersect(&self.clients.take_revocable);
        }
        if !facts.enough {
            out.intersect(&self.clients.own_least);
        }
        if !facts.plain || self.quotas.is_empty() {
            return;
        }
        let before = out.count();
        if run.no_headroom {
            out.intersect(&self.clients.own_least);
        } else {
            out.subtract(&run.exhausted);
        }
        if out.count() < before {
            self.agents.held_back.set(slot.0);
        }
    }

    /// Learns which clients need not be asked about what is not reserved.
    pub(crate) fn find_exhausted(&self, run: &mut Run) {
        if self.quotas.is_empty() {
            return;
        }
        self.find_no_headroom(run);
        self.quotas.all().for_each(|quota| self.note_if_exhausted(quota, run));
    }

    pub(crate) fn find_no_headroom(&self, run: &mut Run) {
        let room = self.quotas.room(None);
        run.no_headroom = room.is_short_of(&self.kinds, &self.config.min_allocatable);
    }

    pub(crate) fn note_if_exhausted(&self, quota: QuotaIx, run: &mut Run) {
        // The headroom may grow in a run, when a guarantee is fulfilled; what limits leave only shrinks.
        let limit = Room { headroom: Default::default(), ..self.quotas.room(Some(quota)) };
        if limit.is_short_of(&self.kinds, &self.config.min_allocatable) {
            let mut clients = self.quotas.clients(quota).clone();
            clients.subtract(&self.clients.own_least);
            run.exhausted.unite(&clients);
        }
    }

    fn sorted(&self, candidates: &Bits, turn: &Turn<'_>) -> Vec<ClientIx> {
        let mut sorted: Vec<ClientIx> = candidates.ones().map(ClientIx::new).collect();
        let leaf = |client: &ClientIx| self.clients.get(*client).leaf;
        sorted.sort_unstable_by(|left, right| self.tree.compare(leaf(left), leaf(right), turn));
        sorted
    }

    /// The first in order of all, or, if nothing is unreserved, of those in and below each role in turn that something is
    /// reserved to.
    fn first_of<T>(
        &self,
        stock: &Stock,
        turn: &Turn<'_>,
        serve: &mut impl FnMut(ClientIx) -> Option<T>,
    ) -> Option<T> {
        let is_open = |(resource, _): (&Resource, u32)| resource.reservations.is_empty();
        if stock.resources.iter_counted().any(is_open) {
            return self.tree.first(self.tree.root(), turn, serve);
        }
        let mut asked = Vec::new();
        let mut roles = stock.resources.iter_counted().filter_map(|(resource, _)| resource.reserved_role());
        roles.find_map(|role| {
            if asked.contains(&role) {
                return None;
            }
            asked.push(role);
            self.tree.first(self.tree.role_node(role.as_str())?, turn, serve)
        })
    }
}
