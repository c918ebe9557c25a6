//! One run: from what is free to a list of offers. First what is guaranteed, then everything.

use mesarch_types::{AgentId, FrameworkId, Millis, Resources, Role};

use crate::{
    allocator::Allocator,
    bits::Bits,
    draw::mix,
    eligible::{Case, Chunk},
    index::{AgentIx, ClientIx, NodeIx, QuotaIx, Slot},
    kinds::{Amount, Facts, Stock},
    quota::counts,
    tree::{Ranker, Turn},
};

/// An offer to be proposed. `apply` refuses it if a version or the free resources changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// To whom.
    pub framework: FrameworkId,
    /// In which of its roles.
    pub role: Role,
    /// On which agent.
    pub agent: AgentId,
    /// What, not stamped with the role.
    pub resources: Resources,
    /// The framework's version that was seen.
    pub framework_version: u64,
    /// The agent's version that was seen.
    pub agent_version: u64,
}

/// Up to so many candidates are sorted; among more, the tree is walked from the front.
const SORTED_MAX: u32 = 16;

/// What a run keeps beside its result.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) now: Millis,
    offers_max: usize,
    plans: Vec<Plan>,
    /// What is booked for the time of the run, so that shares and rooms move with each offer.
    booked: Vec<Booking>,
    amounts: Vec<Amount>,
    candidates: Bits,
    newly_blocked: Vec<ClientIx>,
    /// Clients whose limits leave no room for one of the smallest offers.
    exhausted: Bits,
    /// Guarantees leave no room for one of the smallest offers to anybody.
    no_headroom: bool,
    pub(crate) draw: u64,
}

/// A piece of the run's `amounts`, up to `end`, booked to a leaf and, from `countable` on, to a quota.
#[derive(Clone, Copy, Debug)]
struct Booking {
    leaf: NodeIx,
    quota: Option<QuotaIx>,
    countable: usize,
    end: usize,
}

/// What is left of an agent in a run.
#[derive(Debug)]
pub(crate) struct Slate {
    pub(crate) slot: AgentIx,
    pub(crate) stock: Stock,
    /// The stock is all that is free.
    pub(crate) whole: bool,
    /// Who was given something of it, and where that stands in the plan.
    pub(crate) given: Vec<(ClientIx, usize)>,
}

impl Run {
    /// To look only: what the next plan would be about.
    pub(crate) fn to_look(now: Millis, draw: u64) -> Self {
        Self { now, draw, ..Self::default() }
    }

    /// About an offer for each of so many agents is to come.
    fn expect(&mut self, agents: usize) {
        let offers = agents.min(self.offers_max);
        self.plans.reserve(offers);
        self.booked.reserve(offers);
        self.amounts.reserve(4 * offers);
    }
}

impl Allocator {
    /// The run itself: see [`Allocator::plan`].
    pub(crate) fn run(&mut self, now: Millis, offers_max: usize) -> Vec<Plan> {
        self.turn(now);
        self.look_again_for_renewed();
        let offers_max = offers_max.min(self.pace.room(now));
        let mut run =
            Run { now, offers_max, draw: mix(self.config.seed ^ mix(self.sequence)), ..Run::default() };
        if offers_max > 0 && !self.agents.dirty.is_empty() {
            self.sequence += 1;
            self.refresh_order();
            self.find_exhausted(&mut run);
            if self.quotas.is_hungry() {
                self.run_both_stages(&mut run);
            } else {
                self.run_one_stage(&mut run);
            }
            self.undo_bookings(&run);
        }
        self.pace.spend(run.plans.len());
        run.plans
    }

    /// No guarantee is open: each agent once.
    fn run_one_stage(&mut self, run: &mut Run) {
        let order = self.dirty_in_order();
        run.expect(order.len());
        for slot in order {
            if run.plans.len() >= run.offers_max {
                return;
            }
            self.agents.dirty.clear(slot.0);
            if let Some(mut slate) = self.slate(slot) {
                self.serve_all(&mut slate, run);
            }
        }
    }

    /// Guarantees on all agents before anything else on any.
    fn run_both_stages(&mut self, run: &mut Run) {
        let order = self.dirty_in_order();
        let mut slates = Vec::with_capacity(order.len());
        for slot in order {
            match self.slate(slot) {
                None => self.agents.dirty.clear(slot.0),
                Some(mut slate) => {
                    self.serve_guarantees(&mut slate, run);
                    slates.push(slate);
                }
            }
        }
        for mut slate in slates {
            if run.plans.len() >= run.offers_max {
                return;
            }
            self.agents.dirty.clear(slate.slot.0);
            self.serve_all(&mut slate, run);
        }
    }

    /// What can be given of an agent; none if it must not be given, or nothing is free.
    fn slate(&mut self, slot: AgentIx) -> Option<Slate> {
        self.agents.held_back.clear(slot.0);
        if !self.is_offerable(slot) {
            return None;
        }
        let interval = self.agents.interval;
        let agent = &mut self.agents.slots[slot];
        agent.begin_interval(interval);
        let stock = agent.free(&mut self.kinds, &self.config.min_allocatable);
        agent.check_blocked(&stock.resources);
        if stock.resources.is_empty() {
            self.agents.idle.clear(slot.0);
            return None;
        }
        Some(Slate { slot, stock, whole: true, given: Vec::new() })
    }

    /// Clients that are new, revived or changed: no agent may believe any more that there is nothing for them.
    pub(crate) fn look_again_for_renewed(&mut self) {
        let renewed = std::mem::take(&mut self.clients.renewed);
        if renewed.is_empty() {
            return;
        }
        for (_, agent) in self.agents.slots.iter_mut() {
            agent.blocked.subtract(&renewed);
        }
        let mut wanted = renewed;
        wanted.intersect(&self.clients.wanting);
        if !wanted.is_empty() {
            let (idle, dirty) = (&self.agents.idle, &mut self.agents.dirty);
            dirty.unite(idle);
        }
    }

    pub(crate) fn refresh_order(&mut self) {
        self.tree.refresh(&Ranker { policies: &self.config.policies, kinds: &self.kinds });
    }

    /// Ranks as they are for one agent.
    pub(crate) fn turn_of(&self, slot: AgentIx, draw: u64) -> Turn<'_> {
        Turn {
            ranker: Ranker { policies: &self.config.policies, kinds: &self.kinds },
            agent: self.agents.slots[slot].view.as_deref(),
            draw: mix(draw ^ self.agents.salts[slot.0 as usize]),
        }
    }

    /// The agents to look at, in an order that only the round and their ids decide.
    fn dirty_in_order(&self) -> Vec<AgentIx> {
        let key = |number: u32| (mix(self.agents.salts[number as usize] ^ self.round), AgentIx(number));
        let mut keyed: Vec<(u64, AgentIx)> = self.agents.dirty.ones().map(key).collect();
        keyed.sort_unstable_by(|left, right| {
            let by_id = || self.agents.slots[left.1].id.cmp(&self.agents.slots[right.1].id);
            left.0.cmp(&right.0).then_with(by_id)
        });
        keyed.into_iter().map(|(_, slot)| slot).collect()
    }

    /// First stage, one agent: roles whose guarantees are not fulfilled, each with all below it.
    fn serve_guarantees(&mut self, slate: &mut Slate, run: &mut Run) {
        while run.plans.len() < run.offers_max && self.quotas.is_hungry() && !slate.stock.resources.is_empty()
        {
            let Some((client, chunk)) = self.pick_guaranteed(slate, run) else {
                return;
            };
            self.give(slate, client, chunk.resources, run);
        }
    }

    pub(crate) fn pick_guaranteed(&self, slate: &Slate, run: &Run) -> Option<(ClientIx, Chunk)> {
        let turn = self.turn_of(slate.slot, run.draw);
        let node = |(quota, role): (QuotaIx, &Role)| Some((quota, self.tree.role_node(role.as_str())?));
        let mut hungry: Vec<(QuotaIx, NodeIx)> = self.quotas.hungry().filter_map(node).collect();
        hungry.retain(|(_, node)| self.tree.wanting(*node) > 0);
        hungry.sort_unstable_by(|left, right| self.tree.compare(left.1, right.1, &turn));
        let case = self.case(slate.slot, run.now);
        let blocked = &self.agents.slots[slate.slot].blocked;
        hungry.into_iter().find_map(|(quota, node)| {
            self.tree.first(node, &turn, &mut |client: ClientIx| {
                if blocked.has(client.0) {
                    return None;
                }
                Some((client, case.guaranteed_chunk(client, quota, &slate.stock).ok()?))
            })
        })
    }

    /// Second stage, one agent: all roles, as far as limits and open guarantees allow.
    fn serve_all(&mut self, slate: &mut Slate, run: &mut Run) {
        while !slate.stock.resources.is_empty() {
            if run.plans.len() >= run.offers_max {
                self.agents.dirty.set(slate.slot.0);
                return;
            }
            let Some((client, chunk)) = self.pick(slate, run) else {
                return;
            };
            if chunk.withheld {
                self.agents.held_back.set(slate.slot.0);
            }
            self.give(slate, client, chunk.resources, run);
        }
    }

    /// Plans an offer and takes it off the slate; two pieces for one client become one offer.
    fn give(&mut self, slate: &mut Slate, client: ClientIx, chunk: Resources, run: &mut Run) {
        self.book_for_run(client, &chunk, &slate.stock, run);
        let rest = slate.stock.resources.saturating_sub(&chunk);
        match slate.given.iter().find(|(who, _)| *who == client) {
            Some((_, place)) => run.plans[*place].resources += &chunk,
            None => {
                if !rest.is_empty() {
                    slate.given.push((client, run.plans.len()));
                }
                run.plans.extend(self.plan_of(client, slate.slot, chunk));
            }
        }
        slate.whole = false;
        match rest.is_empty() {
            true => slate.stock.resources = rest,
            false => slate.stock = self.kinds.stock(rest, &self.config.min_allocatable),
        }
    }

    /// The first client in order for whom there is something, and what. While the stock is all that is free, for whom
    /// there is nothing now is not asked again until something changes.
    fn pick(&mut self, slate: &Slate, run: &mut Run) -> Option<(ClientIx, Chunk)> {
        let (slot, stock) = (slate.slot, &slate.stock);
        self.find_candidates(slot, &stock.facts, run);
        let count = run.candidates.count();
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
            match self.starts(stock) {
                None => self.tree.first(self.tree.root(), &turn, &mut serve),
                Some(nodes) => nodes.into_iter().find_map(|node| self.tree.first(node, &turn, &mut serve)),
            }
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
    fn find_exhausted(&self, run: &mut Run) {
        if self.quotas.is_empty() {
            return;
        }
        self.find_no_headroom(run);
        self.quotas.all().for_each(|quota| self.note_if_exhausted(quota, run));
    }

    fn find_no_headroom(&self, run: &mut Run) {
        let room = self.quotas.room(None);
        run.no_headroom = room.is_short_of(&self.kinds, &self.config.min_allocatable);
    }

    fn note_if_exhausted(&self, quota: QuotaIx, run: &mut Run) {
        if self.quotas.room(Some(quota)).is_short_of(&self.kinds, &self.config.min_allocatable) {
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

    /// Where to look in the tree: everywhere (none) if something is unreserved, else below the roles it is reserved to.
    fn starts(&self, stock: &Stock) -> Option<Vec<NodeIx>> {
        let mut roles = Vec::new();
        for (resource, _) in stock.resources.iter_counted() {
            match resource.reserved_role() {
                None => return None,
                Some(role) if !roles.contains(&role) => roles.push(role),
                Some(_) => {}
            }
        }
        Some(roles.into_iter().filter_map(|role| self.tree.role_node(role.as_str())).collect())
    }

    /// Books for the time of the run. Shared resources are left out: that they count once is for the real books.
    fn book_for_run(&mut self, client: ClientIx, chunk: &Resources, stock: &Stock, run: &mut Run) {
        let begin = run.amounts.len();
        if chunk.ptr_eq(&stock.resources) {
            run.amounts.extend_from_slice(&stock.facts.amounts);
        } else {
            self.kinds.amounts(chunk, &mut run.amounts, |resource| !resource.shared);
        }
        let (leaf, quota) = (self.clients.get(client).leaf, self.clients.get(client).quota);
        self.tree.add_held(leaf, &run.amounts[begin..]);
        let countable = run.amounts.len();
        if !self.quotas.is_empty() {
            self.kinds.amounts(chunk, &mut run.amounts, counts);
            for (kind, amount) in &run.amounts[countable..] {
                self.quotas.give(quota, *kind, *amount);
            }
            self.find_no_headroom(run);
            quota.into_iter().for_each(|quota| self.note_if_exhausted(quota, run));
        }
        run.booked.push(Booking { leaf, quota, countable, end: run.amounts.len() });
        self.refresh_order();
    }

    fn undo_bookings(&mut self, run: &Run) {
        let mut begin = 0;
        for Booking { leaf, quota, countable, end } in &run.booked {
            self.tree.undo_held(*leaf, &run.amounts[begin..*countable]);
            for (kind, amount) in &run.amounts[*countable..*end] {
                self.quotas.give(*quota, *kind, -amount);
            }
            begin = *end;
        }
    }

    fn plan_of(&self, client: ClientIx, slot: AgentIx, resources: Resources) -> Option<Plan> {
        let agent = &self.agents.slots[slot];
        let framework = self.clients.view_of(client)?;
        Some(Plan {
            framework: framework.id.clone(),
            role: self.clients.get(client).role.clone(),
            agent: agent.id.clone(),
            resources,
            framework_version: framework.version,
            agent_version: agent.version,
        })
    }
}
